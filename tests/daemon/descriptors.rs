//! Promise: where no file descriptor is left, those who are connected are still served, and
//! others again once there are some.

use std::fs;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::command::{Served, Shell};
use judged::client::{Client, Question};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

const SOON: Duration = Duration::from_secs(30);
/// Beyond what is open when the test begins.
const ROOM: u64 = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_file_descriptors_the_connected_are_served_and_others_once_there_are_some() {
    let shell = Shell::new();
    let served = shell.serve(&["--mode", "rules-only"]);
    let mut connected = Client::connect(&served.judge).await.unwrap();
    let mut operator = Client::connect(&served.control).await.unwrap();
    let first = connected.judge(question()).await.unwrap();
    operator.decision(&first.decision_id).await.unwrap();
    limit(&served, open(&served) + ROOM);
    let began = Instant::now();

    // More than may be accepted: the rest waits in the kernel.
    let crowd = (0..4 * ROOM).map(|_| TcpStream::connect(&served.judge).unwrap());
    let crowd: Vec<TcpStream> = crowd.collect();
    until("none is left", || open(&served) >= limit_of(&served)).await;
    assert!(is_refused(&served).await, "one more was served");
    for _ in 0..50 {
        let decision = connected.judge(question()).await.unwrap();
        let entry = operator.decision(&decision.decision_id).await.unwrap();
        assert_eq!(entry.record.decision, decision, "it is recorded");
    }
    assert!(operator.status().await.is_ok());

    drop(crowd);
    let end = Instant::now() + SOON;
    while is_refused(&served).await {
        assert!(Instant::now() < end, "nobody is let in any more");
    }
    served.signal("TERM");
    let ran = served.end(SOON);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("cannot accept a connection"));
    let told = ran.stderr.matches("cannot accept a connection").count();
    let seconds = began.elapsed().as_secs() as usize;
    assert!(
        told <= seconds + 2,
        "told {told} times: once a second is enough"
    );
}

fn question() -> Question {
    Question {
        context_json: "{}".to_owned(),
        draft: "A word about your roadmap?".to_owned(),
        timeout: Some(SOON),
        ..Question::default()
    }
}

/// Whether a caller who comes now gets no answer soon.
async fn is_refused(served: &Served) -> bool {
    let asked = async {
        let mut client = Client::connect(&served.judge).await?;
        client.judge(question()).await
    };
    let answer = tokio::time::timeout(Duration::from_millis(500), asked).await;
    !matches!(answer, Ok(Ok(_)))
}

fn open(served: &Served) -> u64 {
    let folder = format!("/proc/{}/fd", served.id());
    fs::read_dir(folder).unwrap().count() as u64
}

fn limit(served: &Served, files: u64) {
    let limit = Rlimit {
        current: Some(files),
        maximum: getrlimit(Resource::Nofile).maximum,
    };
    prlimit(pid(served), Resource::Nofile, limit).unwrap();
}

fn limit_of(served: &Served) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/limits", served.id())).unwrap();
    let line = text.lines().find(|line| line.starts_with("Max open files"));
    let soft = line.unwrap().split_whitespace().nth(3);
    soft.unwrap().parse().unwrap()
}

fn pid(served: &Served) -> Option<Pid> {
    Pid::from_raw(i32::try_from(served.id()).unwrap())
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + SOON;
    while !holds() {
        assert!(Instant::now() < end, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
