//! `kill -9` at any moment loses no decision that was acknowledged, and leaves
//! none that is torn. `JUDGED_KILL_CYCLES=2000` makes it a long drill.

use std::collections::BTreeMap;
use std::env;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, UNIX_EPOCH};

use judged::context::Context;
use judged::decision_log::{
    Completion, Config, Contents, DecisionLog, Entry, Filter, Finding, Mask, Origin, Outcome,
    PAGE_LIMIT, Record, Subject,
};
use judged::verdict::{
    Case, DecidedBy, Decision, Disposition, Label, Mode, Scores, Timings, Usage,
};

const TEST: &str =
    "decision_log_crash::a_killed_daemon_loses_no_acknowledged_decision_and_leaves_none_torn";
/// Set in the process that is killed: the file to write to.
const FILE: &str = "JUDGED_KILL_FILE";
const WRITERS: usize = 16;
/// Cycles that share a file.
const CYCLES_A_FILE: usize = 50;

#[test]
fn a_killed_daemon_loses_no_acknowledged_decision_and_leaves_none_torn() {
    if let Some(file) = env::var_os(FILE) {
        write_until_killed(Path::new(&file));
        return;
    }
    let cycles = env::var("JUDGED_KILL_CYCLES").map_or(25, |text| text.parse().unwrap());
    let mut counts = Counts::default();
    let mut left = cycles;
    while left > 0 {
        let group = left.min(CYCLES_A_FILE);
        drill(group, &mut counts);
        left -= group;
    }
    eprintln!("{cycles} cycles: {counts:?}, missing 0, torn 0");
    assert!(counts.acknowledged > 0 && counts.found >= counts.acknowledged);
}

#[derive(Debug, Default)]
struct Counts {
    acknowledged: usize,
    /// Also those that were written, and killed before they were acknowledged.
    found: usize,
}

/// What the killed process said of one decision.
#[derive(Default)]
struct Said {
    completed: bool,
    reported: bool,
}

/// Kills writers of one file, again and again.
fn drill(cycles: usize, counts: &mut Counts) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("decisions.db");
    let mut said: BTreeMap<String, Said> = BTreeMap::new();
    for cycle in 1..=cycles {
        for line in kill_one(&file).lines() {
            let (word, id) = line.split_once(' ').unwrap();
            let of_id = said.entry(id.to_owned()).or_default();
            match word {
                "recorded" => {}
                "completed" => of_id.completed = true,
                "reported" => of_id.reported = true,
                other => panic!("{other}"),
            }
        }
        // Sometimes the next process finds what several have left.
        if cycle == cycles || random(2) == 0 {
            let found = check(&file, &said);
            if cycle == cycles {
                counts.acknowledged += said.len();
                counts.found += found;
            }
        }
    }
}

/// Starts a writer and kills it; the whole lines that it wrote.
fn kill_one(file: &Path) -> String {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", TEST, "--nocapture", "--quiet"])
        .env(FILE, file)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut text = Vec::new();
    // One in four may die before it has opened the file.
    if random(4) > 0 {
        let mut chunk = [0; 4096];
        while !String::from_utf8_lossy(&text).contains("recorded ") {
            let read = stdout.read(&mut chunk).unwrap();
            assert!(read > 0, "the writer ended: {:?}", child.wait());
            text.extend_from_slice(&chunk[..read]);
        }
    }
    std::thread::sleep(Duration::from_micros(random(40_000)));
    kill(&mut child);
    stdout.read_to_end(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    let lines = text[..whole].lines().filter(|line| {
        let word = line.split(' ').next();
        matches!(word, Some("recorded" | "completed" | "reported"))
    });
    lines.flat_map(|line| [line, "\n"]).collect()
}

fn kill(child: &mut Child) {
    // SIGKILL on Unix.
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), None, "the writer ended by itself");
}

/// Opens what was left, which checks the file, and reads every decision.
fn check(file: &Path, said: &BTreeMap<String, Said>) -> usize {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let log = DecisionLog::open(file, Config::default()).unwrap();
        let mut found = BTreeMap::new();
        let mut token = String::new();
        loop {
            let page = log.list(Filter::default(), Contents::With, PAGE_LIMIT, &token);
            let page = page.await.unwrap();
            for entry in page.entries {
                let id = entry.record.decision.decision_id.clone();
                assert_whole(&id, &entry);
                found.insert(id, entry);
            }
            if page.next_page_token.is_empty() {
                break;
            }
            token = page.next_page_token;
        }
        for (id, said) in said {
            let entry = found
                .get(id)
                .unwrap_or_else(|| panic!("{id} was acknowledged and is missing"));
            assert!(!said.completed || !entry.record.rationale_pending, "{id}");
            assert!(!said.reported || entry.outcomes.len() == 1, "{id}");
        }
        log.close().await;
        found.len()
    })
}

fn assert_whole(id: &str, entry: &Entry) {
    let mut expected = record(id);
    if expected.rationale_pending && !entry.record.rationale_pending {
        expected.decision.rationale = completion(id).rationale;
        expected.rationale_pending = false;
    }
    assert_eq!(entry.record, expected, "{id} is torn");
    for reported in &entry.outcomes {
        assert_eq!(*reported, outcome(id), "{id} has a torn outcome");
    }
}

fn write_until_killed(file: &Path) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let log = DecisionLog::open(file, Config::default()).unwrap();
        let writers = (0..WRITERS).map(|_| tokio::spawn(write_on(log.clone())));
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap();
        }
    });
}

async fn write_on(log: DecisionLog) {
    // The one who kills may die: then this ends by itself.
    for _ in 0..20_000 {
        let id = uuid::Uuid::now_v7().to_string();
        let record = record(&id);
        let pending = record.rationale_pending;
        log.record(record).await.unwrap();
        say("recorded", &id);
        if pending {
            log.complete(&id, completion(&id)).await.unwrap();
            say("completed", &id);
        }
        if sum(&id).is_multiple_of(5) {
            log.report(outcome(&id)).await.unwrap();
            say("reported", &id);
        }
    }
}

/// One write, so that a line is there whole or not at all.
fn say(word: &str, id: &str) {
    let line = format!("{word} {id}\n");
    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
}

/// All that is recorded follows from the id.
fn record(id: &str) -> Record {
    let sum = sum(id);
    let context = format!(r#"{{"prospect_id":"{id}","notes":["{}"]}}"#, id.repeat(3));
    let case = Case {
        context: Context::parse(&context).unwrap(),
        draft: id.repeat(1 + sum % 400),
        requested_channel: None,
    };
    Record {
        decision: Decision {
            decision_id: id.to_owned(),
            label: Label::ALL[sum % 5],
            rationale: String::new(),
            scores: Some(Scores {
                probabilities: [0.2; 5],
                legal_mass: 1.0 / (sum + 1) as f64,
            }),
            disposition: Disposition::HoldForReview,
            decided_by: DecidedBy::Model,
            mode: Mode::Enforce,
            degraded_reason: None,
            rules: vec![id.to_owned()],
            model: None,
            usage: Usage::default(),
            timings: Timings::default(),
        },
        request_id: Some(format!("r-{id}")),
        caller: None,
        content_hash: [sum.to_le_bytes()[0]; 32],
        received: UNIX_EPOCH + Duration::from_micros(sum as u64),
        origin: Origin::Traffic,
        rationale_pending: sum.is_multiple_of(3),
        subject: Subject::of(&case, &Mask::default()),
    }
}

fn completion(id: &str) -> Completion {
    Completion {
        rationale: format!("Because of {id}."),
        ..Completion::of(&record(id).decision)
    }
}

fn outcome(id: &str) -> Outcome {
    Outcome {
        decision_id: id.to_owned(),
        time: UNIX_EPOCH,
        finding: Finding::FalsePositive,
        probe: None,
        who: id.to_owned(),
        note: id.repeat(2),
    }
}

fn sum(id: &str) -> usize {
    let bytes = id.bytes().enumerate();
    bytes.map(|(at, byte)| (at + 1) * usize::from(byte)).sum()
}

/// Below the limit.
fn random(limit: u64) -> u64 {
    RandomState::new().build_hasher().finish() % limit
}
