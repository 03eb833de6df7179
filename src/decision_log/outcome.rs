//! What a person later found of a decision.

use std::fmt;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::verdict::Label;

/// One report. A decision may have many: later ones do not undo earlier ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub decision_id: String,
    pub time: SystemTime,
    pub finding: Finding,
    /// What it is a case of, such as `E01`, where somebody knows.
    pub probe: Option<String>,
    pub who: String,
    pub note: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    Right,
    /// A draft was held that could have gone.
    FalsePositive,
    /// A draft was let through, or held for less than it did: its true label.
    MissedViolation(Label),
    /// Harm was done; tier 1 is the worst.
    Incident {
        tier: u8,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FindingKind {
    Right,
    FalsePositive,
    MissedViolation,
    Incident,
}

impl Finding {
    pub const fn kind(self) -> FindingKind {
        match self {
            Finding::Right => FindingKind::Right,
            Finding::FalsePositive => FindingKind::FalsePositive,
            Finding::MissedViolation(_) => FindingKind::MissedViolation,
            Finding::Incident { .. } => FindingKind::Incident,
        }
    }
}

impl FindingKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            FindingKind::Right => "RIGHT",
            FindingKind::FalsePositive => "FALSE_POSITIVE",
            FindingKind::MissedViolation => "MISSED_VIOLATION",
            FindingKind::Incident => "INCIDENT",
        }
    }
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
