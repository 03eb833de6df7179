//! A daemon of one's own, without a model: $JUDGED is the executable.

#![allow(dead_code, reason = "each test file uses its own part")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that goes wrong should stop"
)]

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use judged_client::{Connection, Judge};
use tempfile::TempDir;

/// Killed when dropped; it can be started again at the same address.
pub struct Daemon {
    pub folder: TempDir,
    pub addr: String,
    arguments: Vec<String>,
    process: Child,
}

impl Daemon {
    pub fn start(arguments: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let arguments: Vec<_> = arguments.iter().map(ToString::to_string).collect();
        let (process, addr) = start(&folder, "127.0.0.1:0", &arguments);
        Self {
            folder,
            addr,
            arguments,
            process,
        }
    }

    pub fn again(&mut self) {
        self.kill();
        (self.process, _) = start(&self.folder, &self.addr, &self.arguments);
    }

    /// By SIGKILL.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Such as `STOP`.
    pub fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(status.unwrap().success());
    }

    pub fn connection(&self) -> Connection {
        Connection {
            timeout: Duration::from_secs(20),
            ..Connection::to(&self.addr)
        }
    }

    pub fn judge(&self) -> Judge {
        Judge::new(&self.connection()).unwrap()
    }

    /// One whose calls are sent once.
    pub fn impatient(&self) -> Judge {
        let connection = Connection {
            attempts: 1,
            ..self.connection()
        };
        Judge::new(&connection).unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

fn start(folder: &TempDir, addr: &str, arguments: &[String]) -> (Child, String) {
    let path: PathBuf = folder.path().join("judged.log");
    let log = fs::File::create(&path).unwrap();
    let mut process = Command::new(std::env::var_os("JUDGED").unwrap())
        .args(["serve", "--mode", "rules-only", "--listen", addr])
        .args([
            "--control-listen",
            "127.0.0.1:0",
            "--log",
            "info",
            "--log-format",
            "text",
        ])
        .arg("--state-dir")
        .arg(folder.path().join("state"))
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let text = fs::read_to_string(&path).unwrap();
        if let Some((_, told)) = text.split_once("judge_addr=") {
            return (process, told.split(' ').next().unwrap().to_owned());
        }
        let over = process.try_wait().unwrap().is_some() || Instant::now() > end;
        if over {
            let _ = process.kill();
            panic!("the daemon did not start:\n{text}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
