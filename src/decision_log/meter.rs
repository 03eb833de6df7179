//! Recorded decisions, counted by what they were.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use crate::verdict::Decision;

/// Counts since the start; a clone counts on.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    /// Of the traffic alone: a spot check is none.
    pub decisions: Family<DecisionLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DecisionLabels {
    label: &'static str,
    disposition: &'static str,
    decided_by: &'static str,
    mode: &'static str,
}

impl DecisionLabels {
    pub fn of(decision: &Decision) -> Self {
        Self {
            label: decision.label.as_str(),
            disposition: decision.disposition.as_str(),
            decided_by: decision.decided_by.as_str(),
            mode: decision.mode.as_str(),
        }
    }
}
