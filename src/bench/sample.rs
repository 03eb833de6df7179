//! What became of one request.

use std::time::{Duration, Instant};

use crate::verdict::{Label, Usage};

/// How a target answered.
#[derive(Clone, Debug)]
pub struct Answer {
    pub label: Label,
    /// When the label was known, and when all of the answer was.
    pub labelled: Instant,
    pub done: Instant,
    /// Rules decided, without the model.
    pub by_rules: bool,
    pub usage: Usage,
}

/// Why a target did not answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Failure {
    /// The gRPC code's name, or `HTTP` and a number.
    pub status: String,
    /// The stable reason where there is one, else what went wrong.
    pub reason: String,
    /// The target had no room, and said so.
    pub shed: bool,
}

/// One request of a run, the `number`th of its requests.
#[derive(Clone, Debug)]
pub struct Sample {
    pub number: usize,
    pub outcome: Result<Measured, Failure>,
}

/// An answer, with times since the request was due: before it was sent, if that was late.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    pub label: Label,
    pub to_label: Duration,
    pub to_answer: Duration,
    pub by_rules: bool,
    pub usage: Usage,
}

impl Sample {
    pub fn new(number: usize, due: Instant, outcome: Result<Answer, Failure>) -> Self {
        let outcome = outcome.map(|answer| Measured {
            label: answer.label,
            to_label: answer.labelled.saturating_duration_since(due),
            to_answer: answer.done.saturating_duration_since(due),
            by_rules: answer.by_rules,
            usage: answer.usage,
        });
        Self { number, outcome }
    }
}
