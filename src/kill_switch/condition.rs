//! What trips the switch, with its numbers.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::share::Share;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Condition {
    FalsePositives {
        count: u32,
        samples: u32,
        limit: Share,
    },
    ProbeAccuracy {
        probe: String,
        right: u32,
        total: u32,
        limit: Share,
    },
    AdapterNotLoadable {
        reason: String,
    },
    MalformedOutput {
        count: u32,
        samples: u32,
        limit: Share,
    },
    Incident {
        tier: u8,
        decision: Option<String>,
        probe: Option<String>,
    },
    StateUnreadable {
        reason: String,
    },
}

impl Condition {
    /// The stable name, for records and metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Condition::FalsePositives { .. } => "false_positives",
            Condition::ProbeAccuracy { .. } => "probe_accuracy",
            Condition::AdapterNotLoadable { .. } => "adapter_not_loadable",
            Condition::MalformedOutput { .. } => "malformed_output",
            Condition::Incident { .. } => "incident",
            Condition::StateUnreadable { .. } => "state_unreadable",
        }
    }

    /// Whether the other one tells nothing new: numbers and reasons may differ, but each probe and
    /// each incident stands for itself.
    pub(super) fn covers(&self, other: &Condition) -> bool {
        match (self, other) {
            (
                Condition::ProbeAccuracy { probe, .. },
                Condition::ProbeAccuracy { probe: new, .. },
            ) => probe == new,
            (Condition::Incident { .. }, Condition::Incident { .. }) => self == other,
            _ => self.name() == other.name(),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Condition::FalsePositives {
                count,
                samples,
                limit,
            } => write!(
                f,
                "{count} of the last {samples} prospects had a false positive, more than {limit}"
            ),
            Condition::ProbeAccuracy {
                probe,
                right,
                total,
                limit,
            } => write!(
                f,
                "a spot check had {right} of {total} cases of probe {} right, under {limit}",
                probe.escape_debug()
            ),
            Condition::AdapterNotLoadable { reason } => {
                write!(f, "the adapter cannot be loaded: {reason}")
            }
            Condition::MalformedOutput {
                count,
                samples,
                limit,
            } => write!(
                f,
                "{count} of the last {samples} calls gave malformed output, more than {limit}"
            ),
            Condition::Incident {
                tier,
                decision,
                probe,
            } => {
                write!(f, "an incident of tier {tier} was reported")?;
                if let Some(decision) = decision {
                    write!(f, " for decision {}", decision.escape_debug())?;
                }
                if let Some(probe) = probe {
                    write!(f, ", traced to probe {}", probe.escape_debug())?;
                }
                Ok(())
            }
            Condition::StateUnreadable { reason } => {
                write!(f, "its kept state cannot be read: {reason}")
            }
        }
    }
}
