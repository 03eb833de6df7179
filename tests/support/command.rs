//! The real binary, as a shell would start it, in an environment of its own.

#![allow(dead_code, reason = "each test crate uses its own part")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that goes wrong should stop"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// A port that nobody has, for who must be told one. It is below those that the kernel gives to
/// whoever asks for any: nobody else gets it before, or between two that listen there.
pub fn free_port() -> u16 {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    // Other test processes begin elsewhere.
    let own = (std::process::id() % u32::from(COUNT)) as u16;
    loop {
        let next = TAKEN.fetch_add(1, Relaxed);
        assert!(next < COUNT, "every port is taken");
        let port = FIRST + (own + next) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// What a command left behind.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// Its output, a JSON value a line.
    pub fn json(&self) -> Vec<Value> {
        let lines = self.stdout.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// A home folder, and commands that know no other.
pub struct Shell {
    pub home: TempDir,
}

impl Shell {
    pub fn new() -> Shell {
        Shell {
            home: TempDir::new().unwrap(),
        }
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_judged"));
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.home.path())
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, &[], "")
    }

    pub fn run_with(&self, arguments: &[&str], env: &[(&str, &str)], stdin: &str) -> Ran {
        let mut child = self
            .command(arguments)
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that needs no input may be gone already.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        let output = child.wait_with_output().unwrap();
        Ran {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.home.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// A daemon without a model, on free ports.
    pub fn serve(&self, more: &[&str]) -> Served {
        self.start(&[], "127.0.0.1:0", more)
    }

    /// The same, where callers expect it.
    pub fn serve_on(&self, listen: &str, more: &[&str]) -> Served {
        self.start(&[], listen, more)
    }

    /// The same, run by a program that gets the command as its last arguments.
    pub fn serve_by(&self, program: &[&str], more: &[&str]) -> Served {
        self.start(program, "127.0.0.1:0", more)
    }

    fn start(&self, program: &[&str], listen: &str, more: &[&str]) -> Served {
        let mut line = program.to_vec();
        line.extend([env!("CARGO_BIN_EXE_judged"), "serve"]);
        line.extend(["--log-format", "json", "--log", "info"]);
        line.extend(["--listen", listen, "--control-listen", "127.0.0.1:0"]);
        line.extend(more);
        let mut child = Command::new(line[0])
            .args(&line[1..])
            .env_clear()
            .env("HOME", self.home.path())
            .env("PATH", "/usr/bin:/bin")
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut seen = String::new();
        let listening = loop {
            let mut line = String::new();
            assert!(log.read_line(&mut line).unwrap() > 0, "it ended:\n{seen}");
            let value: Value = serde_json::from_str(&line).unwrap_or_default();
            if value["fields"]["message"] == "listening" {
                break value;
            }
            seen.push_str(&line);
        };
        let addr = |name: &str| listening["fields"][name].as_str().unwrap().to_owned();
        // Who does not read it would stop the daemon once the pipe is full.
        let log = std::thread::spawn(move || {
            let mut text = String::new();
            log.read_to_string(&mut text).unwrap();
            text
        });
        Served {
            judge: addr("judge_addr"),
            control: addr("control_addr"),
            log: Some(log),
            child,
        }
    }
}

/// A daemon in a process of its own; dropped, it is killed.
pub struct Served {
    pub judge: String,
    pub control: String,
    log: Option<JoinHandle<String>>,
    child: Child,
}

impl Served {
    /// Of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its exit code, and what it wrote to stdout and still to its log.
    pub fn end(mut self, limit: Duration) -> Ran {
        let end = Instant::now() + limit;
        let code = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status.code().unwrap(),
                None => assert!(Instant::now() < end, "it did not end"),
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let mut stdout = String::new();
        let mut pipe = self.child.stdout.take().unwrap();
        pipe.read_to_string(&mut stdout).unwrap();
        Ran {
            code,
            stdout,
            stderr: self.log.take().unwrap().join().unwrap(),
        }
    }
}

/// Sends a signal such as `TERM` to a process.
pub fn signal(pid: u32, name: &str) {
    let pid = pid.to_string();
    let status = Command::new("kill").args(["-s", name, &pid]).status();
    assert!(status.unwrap().success());
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
