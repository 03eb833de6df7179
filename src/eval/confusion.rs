//! Which label was answered where which was expected.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::record::Answer;
use crate::verdict::Label;

/// Counts by expected, then by answered label.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Confusion([[u64; 5]; 5]);

impl Confusion {
    /// Of the cases whose label is scored.
    pub fn of(answers: &[Answer<'_>]) -> Self {
        let mut counts = [[0; 5]; 5];
        for answer in answers.iter().filter(|answer| answer.case.exact) {
            counts[answer.case.expected.index()][answer.record.label.index()] += 1;
        }
        Self(counts)
    }

    pub fn count(&self, expected: Label, answered: Label) -> u64 {
        self.0[expected.index()][answered.index()]
    }

    pub fn row(&self, expected: Label) -> [u64; 5] {
        self.0[expected.index()]
    }
}

/// By name: `{"BLOCK": {"SUPPRESS": 1, …}, …}`.
impl Serialize for Confusion {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let row = |expected| {
            let cells = Label::ALL.map(|answered| {
                let count = self.count(expected, answered);
                (answered.to_string(), json!(count))
            });
            Value::Object(Map::from_iter(cells))
        };
        let rows = Label::ALL.map(|expected| (expected.to_string(), row(expected)));
        Map::from_iter(rows).serialize(serializer)
    }
}
