//! Promise: what the daemon holds does not grow with what it has answered. The
//! daemon, its log and llama.cpp are in this process; `JUDGED_MEMORY_REQUESTS`
//! makes a drill of it.

#![expect(clippy::unwrap_used, reason = "a test that goes wrong should stop")]

mod support {
    pub mod anonymous;
    pub mod gguf_writer;
    pub mod hostile;
    pub mod tiny;
    pub mod tiny_daemon;
    pub mod tiny_vocabulary;
}

use std::time::Duration;

use judged::client::Client;
use support::anonymous::resident;
use support::hostile::{Chance, question};
use support::tiny_daemon::{TinyBundle, TinyDaemon};

const CALLERS: u64 = 8;

/// One percent of what a daemon with the default model holds, in KiB: caches of the
/// log, the windows of the kill switch and recent request ids fill up to their bounds.
const ALLOWANCE: u64 = 16 << 10;

/// Asks so many mixed questions, hostile ones among them; one caller in eight
/// leaves before its answers.
async fn ask(daemon: &TinyDaemon, from: u64, count: u64) {
    let callers = (0..CALLERS).map(|caller| {
        let mut client: Client = daemon.client.clone();
        tokio::spawn(async move {
            for number in (from..from + count).filter(|number| number % CALLERS == caller) {
                let (question, _) = question(&mut Chance(number));
                let answer = client.judge(question);
                match caller {
                    0 => drop(tokio::time::timeout(Duration::from_millis(5), answer).await),
                    _ => drop(answer.await),
                }
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    daemon.idle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_after_all_requests_is_about_that_after_the_first_of_them() {
    let asked = std::env::var("JUDGED_MEMORY_REQUESTS");
    let requests: u64 = asked.map_or(1_000, |count| count.parse().unwrap());
    // What is kept of prompts must be full after the first tenth.
    let daemon = TinyBundle::new().with(|config| config.engine.prefix_cells = 4_096);
    let daemon = daemon.serve().await;
    let tenth = requests / 10;
    let mut held = Vec::new();
    for part in 0..10 {
        ask(&daemon, part * tenth, tenth).await;
        held.push(resident());
        println!(
            "{} KiB after {} requests",
            held[held.len() - 1],
            (part + 1) * tenth
        );
    }
    // The allocator keeps what was freed, now more of it, now less: the highest of the first
    // readings, and the lowest of the last.
    let (first, last) = (held[..3].iter().max(), held[7..].iter().min());
    let growth = last.unwrap().saturating_sub(*first.unwrap());
    println!("from the first three tenths to the last: {growth} KiB more");
    assert!(growth < ALLOWANCE, "{growth} KiB");
    daemon.app.shut_down().await;
}
