//! What a person later found of a decision.

use crate::proto;
use crate::verdict::Label;

/// A report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Of the verdict.
    pub decision_id: String,
    /// What was found.
    pub finding: Finding,
    /// Who found it.
    pub by: String,
    /// Anything else worth to be kept.
    pub note: String,
    /// The probe that the draft is a case of, such as `E01`; else empty.
    pub probe: String,
}

/// What can be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The label was right.
    Right,
    /// It should have passed.
    FalsePositive,
    /// It passed, and should have had this label.
    MissedViolation(Label),
    /// What went out did harm.
    Incident {
        /// 1, the worst, to 3.
        tier: u32,
    },
}

impl Report {
    /// Without a note and a probe.
    pub fn new(decision_id: impl Into<String>, finding: Finding, by: impl Into<String>) -> Self {
        Self {
            decision_id: decision_id.into(),
            finding,
            by: by.into(),
            note: String::new(),
            probe: String::new(),
        }
    }

    pub(crate) fn to_wire(&self) -> proto::ReportOutcomeRequest {
        let (kind, true_label, incident_tier) = match self.finding {
            Finding::Right => (proto::OutcomeKind::Right, None, 0),
            Finding::FalsePositive => (proto::OutcomeKind::FalsePositive, None, 0),
            Finding::MissedViolation(label) => {
                (proto::OutcomeKind::MissedViolation, Some(label), 0)
            }
            Finding::Incident { tier } => (proto::OutcomeKind::Incident, None, tier),
        };
        proto::ReportOutcomeRequest {
            decision_id: self.decision_id.clone(),
            kind: kind.into(),
            true_label: true_label.unwrap_or_default().to_wire(),
            incident_tier,
            reported_by: self.by.clone(),
            note: self.note.clone(),
            probe: self.probe.clone(),
        }
    }
}
