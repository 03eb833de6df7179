//! What changed since an earlier run, case by case.

use std::collections::HashMap;

use serde::Serialize;

use super::mcnemar;
use super::record::{Answer, Record};
use crate::dataset::case::Case;
use crate::verdict::Label;

/// An earlier run's records; of one case the last counts.
pub struct Baseline(HashMap<String, Record>);

/// Over the cases that both runs answered.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    pub common: u64,
    pub exact: Change,
    pub caught: Change,
    pub false_positives: Change,
    /// `None` where the model has not scored a case both times.
    pub scores: Option<ScoreChange>,
}

/// How far labels' probabilities moved, over the cases that the model scored both times.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScoreChange {
    pub cases: u64,
    /// Of any label of any case.
    pub largest: f64,
    /// Of each case's largest.
    pub mean: f64,
    /// Ids of cases that got another label, be it right or wrong.
    pub other_label: Vec<String>,
}

/// By one measure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// Ids of cases that were wrong and now are right.
    pub fixed: Vec<String>,
    /// Ids of cases that were right and now are wrong.
    pub broken: Vec<String>,
    /// McNemar's exact test.
    pub p: f64,
}

/// Beyond this a change is taken for chance.
const SIGNIFICANT: f64 = 0.05;

impl Baseline {
    pub fn new(records: Vec<Record>) -> Self {
        let by_id = records
            .into_iter()
            .map(|record| (record.id.clone(), record));
        Self(by_id.collect())
    }

    /// How many of these cases it answered; one that was changed since is another.
    pub fn common(&self, cases: &[Case]) -> usize {
        let common = cases
            .iter()
            .filter(|case| self.of(&case.id, &case.hash()).is_some());
        common.count()
    }

    pub fn compare(&self, answers: &[Answer<'_>]) -> Comparison {
        let pairs: Vec<(&Record, &Record)> = answers
            .iter()
            .filter_map(|answer| {
                let now = &answer.record;
                Some((self.of(&now.id, &now.hash)?, now))
            })
            .collect();
        let violation = |now: &Record| now.expected != Label::Pass;
        Comparison {
            common: pairs.len() as u64,
            exact: Change::of(&pairs, |now| now.exact, Record::is_exact),
            caught: Change::of(&pairs, violation, Record::is_stopped_rightly),
            false_positives: Change::of(&pairs, |now| !violation(now), Record::is_stopped_rightly),
            scores: ScoreChange::of(&pairs),
        }
    }

    fn of(&self, id: &str, hash: &str) -> Option<&Record> {
        self.0.get(id).filter(|record| record.hash == hash)
    }
}

impl Comparison {
    pub fn rows(&self) -> [(&'static str, &Change); 3] {
        [
            ("exact", &self.exact),
            ("caught", &self.caught),
            ("false positives", &self.false_positives),
        ]
    }

    /// Whether by any measure more broke than was fixed, beyond chance; strictly, anything at all.
    pub fn is_worse(&self, strict: bool) -> bool {
        let worse = |change: &Change| match strict {
            true => !change.broken.is_empty(),
            false => change.broken.len() > change.fixed.len() && change.p < SIGNIFICANT,
        };
        self.rows().into_iter().any(|(_, change)| worse(change))
    }
}

impl ScoreChange {
    fn of(pairs: &[(&Record, &Record)]) -> Option<Self> {
        let mut other_label = Vec::new();
        let mut moved = Vec::new();
        for (before, now) in pairs {
            let (Some(old), Some(new)) = (&before.scores, &now.scores) else {
                continue;
            };
            let of_label = |label| Some((new.get(label)? - old.get(label)?).abs());
            moved.push(Label::ALL.iter().filter_map(of_label).fold(0.0, f64::max));
            if before.label != now.label {
                other_label.push(now.id.clone());
            }
        }
        if moved.is_empty() {
            return None;
        }
        Some(Self {
            cases: moved.len() as u64,
            largest: moved.iter().copied().fold(0.0, f64::max),
            mean: moved.iter().sum::<f64>() / moved.len() as f64,
            other_label,
        })
    }
}

impl Change {
    fn of(
        pairs: &[(&Record, &Record)],
        applies: impl Fn(&Record) -> bool,
        right: impl Fn(&Record) -> bool,
    ) -> Self {
        let (mut fixed, mut broken) = (Vec::new(), Vec::new());
        for (before, now) in pairs.iter().filter(|(_, now)| applies(now)) {
            match (right(before), right(now)) {
                (false, true) => fixed.push(now.id.clone()),
                (true, false) => broken.push(now.id.clone()),
                (true, true) | (false, false) => {}
            }
        }
        let p = mcnemar::exact_p(fixed.len() as u64, broken.len() as u64);
        Self { fixed, broken, p }
    }
}
