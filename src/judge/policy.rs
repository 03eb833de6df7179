//! What the operator decided.

use std::time::Duration;

use crate::rules::Rule;
use crate::verdict::{Disposition, Label, Mode};

/// Who may decide, what the labels mean, and how long it may take.
#[derive(Clone, Debug)]
pub struct Policy {
    pub mode: Mode,
    /// Rules that decide alone, before the model.
    pub hard_rules: Vec<Rule>,
    pub dispositions: Dispositions,
    /// What a PASS means that no model confirmed.
    pub rules_pass: Disposition,
    /// No request may take longer, whatever its caller allows.
    pub max_deadline: Duration,
    /// How many recent decisions are kept for repeated request ids, and for how long.
    pub recent_limit: u64,
    pub recent_time: Duration,
}

/// What each label means for the draft.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dispositions([Disposition; 5]);

impl Default for Dispositions {
    fn default() -> Self {
        Self([
            Disposition::DoNotSend,
            Disposition::RouteToHuman,
            Disposition::DoNotSend,
            Disposition::HoldForReview,
            Disposition::Dispatch,
        ])
    }
}

impl Dispositions {
    pub fn of(&self, label: Label) -> Disposition {
        self.0[label.index()]
    }

    pub fn set(&mut self, label: Label, disposition: Disposition) {
        self.0[label.index()] = disposition;
    }
}
