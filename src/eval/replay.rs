//! Recorded decisions, judged again: what another bundle, other rules or another mode would change.

pub mod recorded;
#[cfg(test)]
mod tests;
pub mod text;

use std::collections::BTreeMap;

use serde::Serialize;

use self::recorded::{Export, Recorded};
use super::confusion::Confusion;
use super::record::{Answer, Record, Setup};
use super::report::Run;
use crate::decision_log::FindingKind;
use crate::verdict::{DecidedBy, Disposition, Label};

/// All that a replay tells; as JSON its keys are stable: they are only ever added to.
#[derive(Debug, Serialize)]
pub struct Replay {
    /// The version of this program.
    pub judged: &'static str,
    /// Who judged again.
    pub setup: Setup,
    pub run: Run,
    /// Decisions by the bundle that they rest on, `rules` where no model took part.
    pub recorded: BTreeMap<String, u64>,
    /// Decisions that could not be judged again, since their texts are not whole.
    pub left_out: u64,
    /// Judged again with texts of which something was masked: that alone may change an answer.
    pub masked: u64,
    /// Counts by recorded label, then by the label now.
    pub labels: Confusion,
    pub reported: Vec<Reported>,
    pub changed: Vec<Change>,
}

/// Decisions of which people found the same.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Reported {
    pub finding: FindingKind,
    pub decisions: u64,
    /// Those whose label now is what the report says that it should be.
    pub right_now: u64,
}

/// A decision that would have another label or another disposition.
#[derive(Debug, Serialize)]
pub struct Change {
    pub decision_id: String,
    pub received: String,
    pub prospect: String,
    pub masked: bool,
    pub finding: Option<FindingKind>,
    pub was: Side,
    pub now: Side,
    pub draft: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Side {
    pub label: Label,
    /// Absent in results files of earlier versions.
    pub disposition: Option<Disposition>,
    pub decided_by: DecidedBy,
    /// The label's probability.
    pub score: Option<f64>,
    pub rules: Vec<String>,
    pub rationale: String,
}

impl Change {
    pub fn is_of_label(&self) -> bool {
        self.was.label != self.now.label
    }
}

impl Replay {
    /// Of the answers to the export's cases.
    pub fn new(setup: Setup, run: Run, export: &Export, answers: &[Answer<'_>]) -> Self {
        let by_id: BTreeMap<&str, &Recorded> = export
            .decisions
            .iter()
            .map(|recorded| (recorded.case.id.as_str(), recorded))
            .collect();
        let pairs: Vec<(&Recorded, &Record)> = answers
            .iter()
            .filter_map(|answer| Some((*by_id.get(answer.case.id.as_str())?, &answer.record)))
            .collect();
        let by_rules = |(_, now): &&(&Recorded, &Record)| now.decided_by == DecidedBy::Rules;
        let mut recorded = BTreeMap::new();
        for (was, _) in &pairs {
            let bundle = was.bundle.as_deref().unwrap_or("rules");
            *recorded.entry(bundle.to_owned()).or_insert(0) += 1;
        }
        Self {
            judged: env!("CARGO_PKG_VERSION"),
            setup,
            run: Run {
                answered: pairs.len() as u64,
                decided_by_rules: pairs.iter().filter(by_rules).count() as u64,
                ..run
            },
            recorded,
            left_out: export.left_out,
            masked: pairs.iter().filter(|(was, _)| was.masked).count() as u64,
            labels: Confusion::of(answers),
            reported: reported(&pairs),
            changed: pairs
                .iter()
                .filter_map(|(was, now)| change(was, now))
                .collect(),
        }
    }
}

fn reported(pairs: &[(&Recorded, &Record)]) -> Vec<Reported> {
    // An incident says that harm was done, not which label would have been right.
    let kinds = [
        FindingKind::Right,
        FindingKind::FalsePositive,
        FindingKind::MissedViolation,
    ];
    let of_kind = |finding| {
        let of_it = pairs.iter().filter_map(|(was, now)| {
            let found = was.finding.filter(|found| found.kind() == finding)?;
            Some(was.right_label(found) == Some(now.label))
        });
        let right: Vec<bool> = of_it.collect();
        (!right.is_empty()).then(|| Reported {
            finding,
            decisions: right.len() as u64,
            right_now: right.iter().filter(|right| **right).count() as u64,
        })
    };
    kinds.into_iter().filter_map(of_kind).collect()
}

fn change(was: &Recorded, now: &Record) -> Option<Change> {
    let now = Side {
        label: now.label,
        disposition: now.disposition,
        decided_by: now.decided_by,
        score: now.score(),
        rules: now.rules.clone(),
        rationale: now.rationale.clone(),
    };
    let differs = now.disposition.is_some() && now.disposition != was.side.disposition;
    (was.side.label != now.label || differs).then(|| Change {
        decision_id: was.case.id.clone(),
        received: was.received.clone(),
        prospect: was.prospect.clone(),
        masked: was.masked,
        finding: was.finding.map(|finding| finding.kind()),
        was: was.side.clone(),
        now,
        draft: was.case.draft.clone(),
    })
}
