//! What is recorded, and what is read back.

use std::fmt;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::outcome::Outcome;
use super::subject::Subject;
use crate::verdict::{Decision, Label, ModelRevision, Scores, Timings, Usage};

/// One decision, with all that it rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub decision: Decision,
    /// `None`: no idempotency.
    pub request_id: Option<String>,
    /// The name of the token that the request came with; `None` without one.
    pub caller: Option<String>,
    /// Tells the contents of two requests apart.
    pub content_hash: [u8; 32],
    pub received: SystemTime,
    pub origin: Origin,
    /// The label is certain, and the rationale still to come; see
    /// [`complete`](super::DecisionLog::complete).
    pub rationale_pending: bool,
    pub subject: Subject,
}

/// Why something was judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Origin {
    Traffic,
    /// A labelled case: never counted as traffic.
    SpotCheck,
}

impl Origin {
    pub const fn as_str(self) -> &'static str {
        match self {
            Origin::Traffic => "TRAFFIC",
            Origin::SpotCheck => "SPOT_CHECK",
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What comes after the label.
#[derive(Clone, Debug, PartialEq)]
pub struct Completion {
    pub rationale: String,
    pub usage: Usage,
    pub timings: Timings,
    pub degraded_reason: Option<String>,
}

impl Completion {
    pub fn of(decision: &Decision) -> Self {
        Self {
            rationale: decision.rationale.clone(),
            usage: decision.usage,
            timings: decision.timings,
            degraded_reason: decision.degraded_reason.clone(),
        }
    }
}

/// What the model said where the rules decided.
#[derive(Clone, Debug, PartialEq)]
pub struct ShadowAnswer {
    pub label: Label,
    pub scores: Scores,
    pub model: ModelRevision,
}

/// A recorded decision with what came later.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub record: Record,
    pub shadow: Option<ShadowAnswer>,
    /// In the order of their reports.
    pub outcomes: Vec<Outcome>,
}

/// What was decided for a request id.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    pub content_hash: [u8; 32],
    pub decision: Decision,
    /// Its rationale never came, or has not come yet.
    pub rationale_pending: bool,
}
