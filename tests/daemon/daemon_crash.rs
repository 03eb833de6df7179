//! Promise: `kill -9` of the daemon at any moment loses no decision that a
//! client received. `JUDGED_KILL_CYCLES=2000` makes it a long drill.

use std::collections::BTreeMap;
use std::env;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use crate::support::command::{Served, Shell};
use crate::support::daemon::until;
use judged::client::{Client, Question};
use judged::decision_log::{Contents, Filter, Finding, Outcome};
use judged::verdict::{Decision, RationaleMode};
use tempfile::TempDir;

const CALLERS: usize = 8;
/// Cycles that share a state folder.
const CYCLES_A_FOLDER: usize = 50;

/// What clients were told.
#[derive(Clone, Default)]
struct Told {
    decisions: BTreeMap<String, (Question, Decision)>,
    reported: Vec<String>,
}

#[derive(Debug, Default)]
struct Counts {
    acknowledged: usize,
    reported: usize,
    /// In the log; those whose answer was cut off are there too.
    found: usize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_is_killed_loses_no_decision_that_a_client_received() {
    let cycles = env::var("JUDGED_KILL_CYCLES").map_or(8, |text| text.parse().unwrap());
    let mut counts = Counts::default();
    let mut left = cycles;
    while left > 0 {
        let group = left.min(CYCLES_A_FOLDER);
        drill(group, &mut counts).await;
        left -= group;
        eprintln!("{} of {cycles} kills: {counts:?}", cycles - left);
    }
    eprintln!("{cycles} kills: {counts:?}, missing 0, torn 0");
    assert!(counts.acknowledged > 0 && counts.found >= counts.acknowledged);
}

/// Kills daemons on one state folder, each of which answers for the one before.
async fn drill(cycles: usize, counts: &mut Counts) {
    let folder = TempDir::new().unwrap();
    let mut all = Told::default();
    let mut last = Told::default();
    for cycle in 0..cycles {
        let served = serve(&folder);
        check(&served, &last).await;
        last = ask_until_killed(served, cycle % 2 == 0).await;
        all.decisions.extend(last.decisions.clone());
        all.reported.extend(last.reported.clone());
    }
    let served = serve(&folder);
    check(&served, &last).await;
    counts.found += check_all(&served, &all).await;
    counts.acknowledged += all.decisions.len();
    counts.reported += all.reported.len();
}

/// No model is needed: the rules decide.
fn serve(folder: &TempDir) -> Served {
    let state = folder.path().to_str().unwrap();
    Shell::new().serve(&["--mode", "rules-only", "--state-dir", state])
}

/// Callers ask on until the daemon is gone, which is some milliseconds later: in every other cycle
/// after the first answer, which on a busy machine may take longer than that.
async fn ask_until_killed(served: Served, answered: bool) -> Told {
    let told = Arc::new(Mutex::new(Told::default()));
    let client = Client::connect(&served.judge).await.unwrap();
    let callers = (0..CALLERS).map(|_| tokio::spawn(ask_on(client.clone(), Arc::clone(&told))));
    let callers: Vec<_> = callers.collect();
    if answered {
        until("somebody is answered", || {
            !told.lock().unwrap().decisions.is_empty()
        })
        .await;
    }
    tokio::time::sleep(Duration::from_micros(random(60_000))).await;
    // SIGKILL.
    drop(served);
    for caller in callers {
        caller.await.unwrap();
    }
    let told = told.lock().unwrap();
    told.clone()
}

async fn ask_on(mut client: Client, told: Arc<Mutex<Told>>) {
    loop {
        let question = question();
        let Ok(decision) = client.judge(question.clone()).await else {
            return;
        };
        let id = decision.decision_id.clone();
        told.lock()
            .unwrap()
            .decisions
            .insert(id.clone(), (question, decision));
        if random(5) == 0 {
            let outcome = Outcome {
                decision_id: id.clone(),
                time: SystemTime::now(),
                finding: Finding::Right,
                probe: None,
                who: "Ida".to_owned(),
                note: id.clone(),
            };
            if client.report(&outcome).await.is_err() {
                return;
            }
            told.lock().unwrap().reported.push(id);
        }
    }
}

fn question() -> Question {
    let opted_out = random(2) == 0;
    let number = random(1_000_000);
    Question {
        request_id: uuid::Uuid::now_v7().to_string(),
        context_json: format!(r#"{{"prospect_id":"p_{number}","unsubscribed":{opted_out}}}"#),
        draft: "A word about your roadmap. ".repeat(1 + usize::try_from(random(200)).unwrap()),
        channel: None,
        rationale: RationaleMode::Sentence,
        timeout: Some(Duration::from_secs(20)),
    }
}

/// Each decision is there as it was told, and its request id still stands for it.
async fn check(served: &Served, told: &Told) {
    let mut client = Client::connect(&served.judge).await.unwrap();
    let mut control = Client::connect(&served.control).await.unwrap();
    for (id, (question, decision)) in &told.decisions {
        let entry = control.decision(id).await.unwrap();
        assert_eq!(entry.record.decision, *decision);
        assert_eq!(entry.record.request_id.as_ref(), Some(&question.request_id));
        if random(10) == 0 {
            let again = client.judge(question.clone()).await.unwrap();
            assert_eq!(again, *decision);
        }
    }
    for id in &told.reported {
        let entry = control.decision(id).await.unwrap();
        assert_eq!(entry.outcomes.len(), 1, "{id}");
        assert_eq!(entry.outcomes[0].note, *id);
    }
}

/// The same for all of the folder, by its list; how many it has.
async fn check_all(served: &Served, told: &Told) -> usize {
    let mut control = Client::connect(&served.control).await.unwrap();
    let mut found = BTreeMap::new();
    let filter = Filter::default();
    let mut token = String::new();
    loop {
        let page = control.decisions(&filter, 500, &token, Contents::With);
        let page = page.await.unwrap();
        for entry in page.entries {
            let decision = entry.record.decision;
            found.insert(decision.decision_id.clone(), decision);
        }
        if page.next_page_token.is_empty() {
            break;
        }
        token = page.next_page_token;
    }
    for (id, (_, decision)) in &told.decisions {
        assert_eq!(found.get(id), Some(decision), "{id} is missing or torn");
    }
    found.len()
}

/// Below the limit.
fn random(limit: u64) -> u64 {
    RandomState::new().build_hasher().finish() % limit
}
