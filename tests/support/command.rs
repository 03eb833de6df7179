//! The real binary, as a shell would start it, in an environment of its own.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that goes wrong should stop"
)]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

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
        let mut arguments = vec!["serve", "--log-format", "json", "--log", "info"];
        arguments.extend(["--listen", "127.0.0.1:0", "--control-listen", "127.0.0.1:0"]);
        arguments.extend(more);
        let mut child = self
            .command(&arguments)
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
        Served {
            judge: addr("judge_addr"),
            control: addr("control_addr"),
            log,
            child,
        }
    }
}

/// A daemon in a process of its own; dropped, it is killed.
pub struct Served {
    pub judge: String,
    pub control: String,
    log: BufReader<std::process::ChildStderr>,
    child: Child,
}

impl Served {
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
        let read = |from: &mut dyn std::io::Read| {
            let mut text = String::new();
            from.read_to_string(&mut text).unwrap();
            text
        };
        Ran {
            code,
            stdout: read(&mut self.child.stdout.take().unwrap()),
            stderr: read(&mut self.log),
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
