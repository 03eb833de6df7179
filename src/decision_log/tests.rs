mod formats;
mod listing;
mod masking;
mod opening;
mod reading;
mod recording;
mod retaining;
mod trouble;
mod writing;

use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use tempfile::TempDir;

use super::*;
use crate::channel::Channel;
use crate::context::Context;
use crate::verdict::{
    Case, DecidedBy, Decision, Disposition, Label, Mode, ModelRevision, Scores, Timings, Usage,
};

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join(FILE_NAME)
    }

    fn open(&self) -> DecisionLog {
        DecisionLog::open(&self.file(), Config::default()).unwrap()
    }

    fn reader(&self) -> Reader {
        Reader::open(&self.file()).unwrap()
    }
}

/// So many seconds after the first record of a test.
fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds)
}

fn case(context: &str, draft: &str) -> Case {
    Case {
        context: Context::parse(context).unwrap(),
        draft: draft.to_owned(),
        requested_channel: Some(Channel::Linkedin),
    }
}

fn model() -> ModelRevision {
    ModelRevision {
        bundle: "tiny@1".to_owned(),
        base_sha256: "ab".repeat(32),
        adapter_sha256: None,
        adapter_scale: 0.7,
        adapter_merged: true,
        template_sha256: "cd".repeat(32),
    }
}

fn scores() -> Scores {
    Scores {
        probabilities: [0.1 + 0.2, 1.0 / 3.0, 5e-324, 0.0, 0.366_666_666_666_666_6],
        legal_mass: 0.999_999_999_999_999_9,
    }
}

fn decision(id: &str) -> Decision {
    Decision {
        decision_id: id.to_owned(),
        label: Label::Block,
        rationale: "Rule 5: „$5M“ is stated as fact.".to_owned(),
        scores: Some(scores()),
        disposition: Disposition::DoNotSend,
        decided_by: DecidedBy::Model,
        mode: Mode::Enforce,
        degraded_reason: None,
        rules: vec!["funding".to_owned()],
        model: Some(model()),
        usage: Usage {
            prompt_tokens: 900,
            cached_tokens: 512,
            generated_tokens: 31,
        },
        timings: Timings {
            queue: Duration::from_nanos(1),
            prefill: Duration::from_micros(1_500),
            decode: Duration::from_secs(2),
            total: Duration::from_nanos(2_001_500_003),
        },
    }
}

/// A decision `id` for prospect `p`, at a time of its own.
fn record(id: &str, seconds: u64) -> Record {
    Record {
        decision: decision(id),
        request_id: None,
        caller: None,
        content_hash: [7; 32],
        received: at(seconds),
        origin: Origin::Traffic,
        rationale_pending: false,
        subject: Subject::of(
            &case(r#"{"prospect_id":"p","headcount":12}"#, "Hi there"),
            &Mask::default(),
        ),
    }
}

fn outcome(decision_id: &str, finding: Finding) -> Outcome {
    Outcome {
        decision_id: decision_id.to_owned(),
        time: at(1_000),
        finding,
        probe: None,
        who: "Ada".to_owned(),
        note: "seen".to_owned(),
    }
}

fn shadow(label: Label) -> ShadowAnswer {
    ShadowAnswer {
        label,
        scores: scores(),
        model: model(),
    }
}

fn ids(entries: &[Entry]) -> Vec<&str> {
    entries
        .iter()
        .map(|entry| entry.record.decision.decision_id.as_str())
        .collect()
}

/// Holds the writer until the returned sender is dropped: what is asked of it
/// meanwhile waits.
async fn hold(log: &DecisionLog) -> std::sync::mpsc::Sender<()> {
    let (release, released) = std::sync::mpsc::channel::<()>();
    let (holding, held) = oneshot::channel();
    let log = log.clone();
    tokio::spawn(async move {
        log.run(move |_| {
            let _ = holding.send(());
            let _ = released.recv();
        })
        .await;
    });
    held.await.unwrap();
    release
}

/// Until the log can record, or cannot any more.
async fn health_is(log: &DecisionLog, good: bool) {
    let mut health = log.health();
    let change = health.wait_for(|trouble| trouble.is_none() == good);
    let waited = tokio::time::timeout(Duration::from_secs(20), change).await;
    waited.expect("the health does not change").unwrap();
}
