//! What the operator decided.

use std::time::Duration;

use crate::decision_log::Mask;
use crate::rules::{Rule, Rulebook};
use crate::verdict::{Disposition, Label, Mode};

/// Who may decide, what the labels mean, and how long it may take.
#[derive(Clone, Debug)]
pub struct Policy {
    pub mode: Mode,
    /// All rules, with the operator's lists.
    pub rulebook: Rulebook,
    /// Those that decide alone, before the model.
    pub hard_rules: Vec<Rule>,
    pub dispositions: Dispositions,
    /// What a PASS means that no model confirmed.
    pub rules_pass: Disposition,
    /// No request may take longer, whatever its caller allows.
    pub max_deadline: Duration,
    /// How long a request id stands for one decision, and how many of these
    /// are kept in memory.
    pub request_window: Duration,
    pub recent_limit: u64,
    /// What the decision log must not keep.
    pub mask: Mask,
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
