//! The example of a worker, against daemons without a model: $JUDGED is the executable.

#![expect(clippy::unwrap_used, reason = "a test that goes wrong should stop")]

#[path = "support/daemon.rs"]
mod daemon;
#[allow(dead_code, reason = "the rest runs in a process of its own")]
#[path = "../examples/worker.rs"]
mod example_worker;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use daemon::Daemon;
use judged_client::{Channel, Draft};
use serde_json::{Value, json};

const DISPATCH: [&str; 2] = ["--rules-pass", "DISPATCH"];

/// Built beside the tests.
fn example(name: &str) -> Command {
    let tests = env::current_exe().unwrap();
    let built = tests.parent().unwrap().parent().unwrap();
    Command::new(built.join("examples").join(name))
}

struct Worker {
    process: Child,
    stdin: ChildStdin,
    verdicts: PathBuf,
    outbox: PathBuf,
}

impl Worker {
    fn start(daemon: &Daemon) -> Self {
        let file = |name: &str| daemon.folder.path().join(name);
        let (verdicts, outbox) = (file("verdicts.jsonl"), file("outbox.jsonl"));
        let mut process = example("worker")
            .args([&verdicts, &outbox])
            .env("JUDGED_ADDR", &daemon.addr)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            stdin: process.stdin.take().unwrap(),
            process,
            verdicts,
            outbox,
        }
    }

    fn send(&mut self, id: &str, context: Value) {
        let line = json!({"id": id, "context": context, "draft": format!("Hi, {id}")});
        writeln!(self.stdin, "{line}").unwrap();
    }

    /// Its exit code, verdicts by id, and what it let out.
    fn end(mut self) -> (Option<i32>, BTreeMap<String, Value>, Vec<String>) {
        drop(self.stdin);
        let code = self.process.wait().unwrap().code();
        let id = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let verdicts = rows(&self.verdicts).into_iter();
        let verdicts = verdicts.map(|row| (id(&row, "request_id"), row));
        let outbox = rows(&self.outbox);
        let mut sent: Vec<_> = outbox.iter().map(|row| id(row, "id")).collect();
        sent.sort();
        (code, verdicts.collect(), sent)
    }
}

fn rows(path: &PathBuf) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn offshore() -> Value {
    json!({"disqualifiers": ["anti_offshore"]})
}

#[test]
fn it_puts_into_the_outbox_only_what_may_be_sent() {
    let daemon = Daemon::start(&DISPATCH);
    let mut worker = Worker::start(&daemon);
    for number in 0..40 {
        let context = if number % 2 == 0 {
            offshore()
        } else {
            json!({})
        };
        worker.send(&format!("{number:02}"), context);
    }
    writeln!(worker.stdin, "{}", json!({"id": "no draft"})).unwrap();
    worker.send("array", json!([]));
    let (code, verdicts, sent) = worker.end();
    assert_eq!(code, Some(1));
    assert_eq!(verdicts.len(), 42);
    assert_eq!(verdicts["00"]["label"], "SUPPRESS");
    assert!(
        verdicts["00"]["rationale"]
            .as_str()
            .unwrap()
            .contains("anti_offshore")
    );
    assert!(
        verdicts["array"]["error"]
            .as_str()
            .unwrap()
            .contains("MALFORMED_REQUEST")
    );
    let odd = (0..20).map(|number| format!("{:02}", 2 * number + 1));
    assert_eq!(sent, odd.collect::<Vec<_>>());
}

/// An id stands for its content, and the channel is part of that.
#[tokio::test]
async fn a_draft_goes_by_the_channel_of_its_line() {
    let daemon = Daemon::start(&DISPATCH);
    let mut worker = Worker::start(&daemon);
    let channels = [
        ("email", json!("EMAIL"), Some(Channel::Email)),
        ("linkedin", json!("LINKEDIN"), Some(Channel::Linkedin)),
        ("none", Value::Null, None),
        ("sms", json!("SMS"), Some(Channel::Sms)),
    ];
    let mut send = |id: &str, channel: &Value| {
        let line = json!({"id": id, "context": {}, "draft": "Hi", "channel": channel});
        writeln!(worker.stdin, "{line}").unwrap();
    };
    for (id, named, _) in &channels {
        send(id, named);
    }
    send("fax", &json!("FAX"));
    let (code, verdicts, sent) = worker.end();
    assert_eq!(code, Some(1));
    assert_eq!(verdicts[""]["error"], r#"there is no channel "FAX""#);
    assert_eq!(sent, ["email", "linkedin", "none", "sms"]);
    for (id, _, channel) in channels {
        let draft = Draft {
            request_id: id.to_owned(),
            channel,
            ..Draft::new("{}", "Hi")
        };
        let known = daemon.judge().judge(&draft).await.unwrap();
        assert_eq!(verdicts[id]["decision_id"], known.decision_id);
    }
}

#[test]
fn it_goes_on_after_a_crash_of_the_daemon() {
    let mut daemon = Daemon::start(&DISPATCH);
    let mut worker = Worker::start(&daemon);
    worker.send("before", json!({}));
    while rows(&worker.verdicts).is_empty() {
        std::thread::sleep(Duration::from_millis(10));
    }
    daemon.kill();
    worker.send("while it is away", json!({}));
    daemon.again();
    worker.send("after", json!({}));
    let (code, _, sent) = worker.end();
    assert_eq!(code, Some(0));
    assert_eq!(sent, ["after", "before", "while it is away"]);
}

#[test]
fn the_example_of_one_draft_runs() {
    let daemon = Daemon::start(&[]);
    let ran = example("judge")
        .env("JUDGED_ADDR", &daemon.addr)
        .output()
        .unwrap();
    let told = String::from_utf8(ran.stdout).unwrap();
    assert!(told.starts_with("SUPPRESS DO_NOT_SEND "), "{told}");
}
