//! What changed since an earlier run, case by case.

use std::collections::HashMap;

use serde::Serialize;

use super::mcnemar;
use super::record::{Answer, Record};
use crate::dataset::case::Case;

/// An earlier run's records; of one case the last counts.
pub struct Baseline(HashMap<String, Record>);

/// Over the cases that both runs answered.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    pub common: u64,
    pub exact: Change,
    pub caught: Change,
    pub false_positives: Change,
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
        let violation = |now: &Record| now.expected != crate::verdict::Label::Pass;
        Comparison {
            common: pairs.len() as u64,
            exact: Change::of(&pairs, |now| now.exact, Record::is_exact),
            caught: Change::of(&pairs, violation, Record::is_stopped_rightly),
            false_positives: Change::of(&pairs, |now| !violation(now), Record::is_stopped_rightly),
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
