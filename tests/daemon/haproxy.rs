//! Promise: behind HAProxy, set up as `deploy/haproxy/haproxy.cfg` says, a daemon may be killed,
//! drained and replaced under load, and callers who try again as our clients do miss no answer.
//! The daemons are real and decide by rules. `JUDGED_HAPROXY_SECONDS=60` makes it a drill.

use std::env;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::support::command::{Served, Shell, free_port};
use crate::support::daemon::until;
use judged::client::{Client, ClientError, Question};
use judged::decision_log::{Contents, Filter};
use tempfile::TempDir;

const CALLERS: u64 = 8;

/// What our clients do: five times in all, where the daemon is away or full.
const PAUSES: [f64; 4] = [0.5, 1.0, 2.0, 4.0];

/// HAProxy with the example's settings; dropped, it is killed.
struct Proxy {
    addr: String,
    child: Child,
}

impl Proxy {
    fn start(log: &Path, daemons: [&str; 2]) -> Self {
        let addr = format!("127.0.0.1:{}", free_port());
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/haproxy/haproxy.cfg");
        // In the service's path, not in everybody's.
        let path = format!("{}:/usr/sbin", env::var("PATH").unwrap());
        let log = File::create(log).unwrap();
        let child = Command::new("haproxy")
            .args(["-db", "-f", config.to_str().unwrap()])
            .env("PATH", path)
            .env("JUDGED_PROXY", &addr)
            .env("JUDGED_A", daemons[0])
            .env("JUDGED_B", daemons[1])
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("haproxy: {error}; scripts/setup test installs it"));
        Self { addr, child }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Default)]
struct Counts {
    sent: AtomicU64,
    answered: AtomicU64,
    tried_again: AtomicU64,
    failed: AtomicU64,
    stop: AtomicBool,
}

/// A place for a daemon: what runs there may be replaced.
struct Place {
    addr: String,
    state: TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            addr: format!("127.0.0.1:{}", free_port()),
            state: TempDir::new().unwrap(),
        }
    }

    fn serve(&self) -> Served {
        let state = self.state.path().to_str().unwrap();
        Shell::new().serve_on(&self.addr, &["--mode", "rules-only", "--state-dir", state])
    }
}

async fn call_on(mut client: Client, caller: u64, counts: Arc<Counts>) {
    for number in 0.. {
        if counts.stop.load(Relaxed) {
            return;
        }
        counts.sent.fetch_add(1, Relaxed);
        let question = Question {
            request_id: format!("{caller}-{number}"),
            context_json: format!(r#"{{"prospect_id": "p_{caller}_{number}"}}"#),
            draft: "A word about your roadmap?".to_owned(),
            timeout: Some(Duration::from_secs(20)),
            ..Question::default()
        };
        match patiently(&mut client, question, &counts).await {
            Ok(()) => counts.answered.fetch_add(1, Relaxed),
            Err(error) => {
                eprintln!("{caller}-{number}: {error}, {:?}", error.code());
                counts.failed.fetch_add(1, Relaxed)
            }
        };
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn patiently(
    client: &mut Client,
    question: Question,
    counts: &Counts,
) -> Result<(), ClientError> {
    for pause in PAUSES {
        match client.judge(question.clone()).await {
            Err(error) if error.is_transient() => {
                counts.tried_again.fetch_add(1, Relaxed);
                tokio::time::sleep(Duration::from_secs_f64(pause)).await;
            }
            outcome => return outcome.map(drop),
        }
    }
    client.judge(question).await.map(drop)
}

/// How many decisions a daemon has recorded.
async fn recorded(served: &Served) -> u64 {
    let mut control = Client::connect(&served.control).await.unwrap();
    let (mut count, mut token) = (0, String::new());
    loop {
        let filter = Filter::default();
        let page = control.decisions(&filter, 500, &token, Contents::Without);
        let page = page.await.unwrap();
        count += page.entries.len() as u64;
        if page.next_page_token.is_empty() {
            return count;
        }
        token = page.next_page_token;
    }
}

/// Until HAProxy's log has a line for each time that a daemon came or went.
async fn until_told(log: &Path, what: &str, times: usize) {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let text = std::fs::read_to_string(log).unwrap();
        // Each is told twice: to the log, and to who started it.
        let lines = text.lines().filter(|line| line.starts_with("Server "));
        if lines.filter(|line| line.contains(what)).count() >= times {
            return;
        }
        assert!(Instant::now() < end, "not {times} times `{what}`:\n{text}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn daemons_are_killed_drained_and_replaced_behind_haproxy_and_no_caller_misses_an_answer() {
    let seconds = env::var("JUDGED_HAPROXY_SECONDS").map_or(8.0, |text| text.parse().unwrap());
    let step = Duration::from_secs_f64(seconds / 4.0);
    let (places, logs) = ([Place::new(), Place::new()], TempDir::new().unwrap());
    let mut a = places[0].serve();
    let b = places[1].serve();
    let log = logs.path().join("haproxy.log");
    let proxy = Proxy::start(&log, [&places[0].addr, &places[1].addr]);
    let counts = Arc::new(Counts::default());
    let end = Instant::now() + Duration::from_secs(60);
    let mut callers = Vec::new();
    for caller in 0..CALLERS {
        let client = loop {
            match Client::connect(&proxy.addr).await {
                Ok(client) => break client,
                Err(error) => assert!(Instant::now() < end, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        callers.push(tokio::spawn(call_on(client, caller, Arc::clone(&counts))));
    }
    tokio::time::sleep(step).await;
    until("something is answered", || {
        counts.answered.load(Relaxed) > 0
    })
    .await;
    let before = counts.answered.load(Relaxed);

    // SIGKILL.
    drop(a);
    until_told(&log, "is DOWN", 1).await;
    tokio::time::sleep(step).await;
    a = places[0].serve();
    until_told(&log, "is UP", 1).await;
    tokio::time::sleep(step).await;
    b.signal("TERM");
    let ended = b.end(Duration::from_secs(60));
    assert_eq!(ended.code, 0, "{ended:?}");
    until_told(&log, "is DOWN", 2).await;
    let b = places[1].serve();
    until_told(&log, "is UP", 2).await;
    tokio::time::sleep(step).await;
    counts.stop.store(true, Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }

    let [sent, answered, tried_again, failed] = [
        &counts.sent,
        &counts.answered,
        &counts.tried_again,
        &counts.failed,
    ]
    .map(|count| count.load(Relaxed));
    let by_each = [recorded(&a).await, recorded(&b).await];
    eprintln!(
        "{sent} requests by {CALLERS} callers, {answered} answered, {tried_again} tries more, \
         {failed} failed; {by_each:?} decisions recorded, {} of them a second one of a request",
        by_each.iter().sum::<u64>() - answered
    );
    assert_eq!((answered, failed), (sent, 0));
    assert!(answered > before);
    // Both have had their share, which is smaller the longer the other took to start again.
    assert!(
        by_each.iter().all(|count| count * 10 > answered),
        "{by_each:?}"
    );
}
