//! The JSON inside a row. Files of years hold it: a change of its shape is a
//! new format, and the old one stays readable.

use std::time::Duration;

use serde::de::value::{Error as NameError, StrDeserializer};
use serde::de::{DeserializeOwned, IntoDeserializer};
use serde::{Deserialize, Serialize};
use serde_json::Number;

use super::record::{Completion, ShadowAnswer};
use crate::verdict::{Decision, Label, ModelRevision, Scores, Timings, Usage};

/// The format that is written.
pub const FORMAT: i64 = 1;

/// What is certain with the label, beyond the columns.
#[derive(Serialize, Deserialize)]
pub struct Answer {
    pub disposition: String,
    pub scores: Option<StoredScores>,
    pub rules: Vec<String>,
    pub model: Option<ModelRevision>,
}

/// What comes with the rationale.
#[derive(Serialize, Deserialize)]
pub struct Rest {
    pub rationale: String,
    pub degraded_reason: Option<String>,
    pub usage: Usage,
    pub timings: StoredTimings,
}

#[derive(Serialize, Deserialize)]
pub struct Shadow {
    pub scores: StoredScores,
    pub model: ModelRevision,
}

/// Read as text, which gives the very same floats; `null` is no number.
#[derive(Serialize, Deserialize)]
pub struct StoredScores {
    probabilities: [Option<Number>; 5],
    legal_mass: Option<Number>,
}

#[derive(Serialize, Deserialize)]
pub struct StoredTimings {
    queue_nanos: u64,
    prefill_nanos: u64,
    decode_nanos: u64,
    total_nanos: u64,
}

impl From<&Decision> for Answer {
    fn from(decision: &Decision) -> Self {
        Self {
            disposition: decision.disposition.to_string(),
            scores: decision.scores.map(StoredScores::from),
            rules: decision.rules.clone(),
            model: decision.model.clone(),
        }
    }
}

impl From<Completion> for Rest {
    fn from(completion: Completion) -> Self {
        Self {
            rationale: completion.rationale,
            degraded_reason: completion.degraded_reason,
            usage: completion.usage,
            timings: completion.timings.into(),
        }
    }
}

impl From<&ShadowAnswer> for Shadow {
    fn from(answer: &ShadowAnswer) -> Self {
        Self {
            scores: answer.scores.into(),
            model: answer.model.clone(),
        }
    }
}

impl Shadow {
    pub fn answer(self, label: Label) -> ShadowAnswer {
        ShadowAnswer {
            label,
            scores: self.scores.into(),
            model: self.model,
        }
    }
}

impl From<Scores> for StoredScores {
    fn from(scores: Scores) -> Self {
        Self {
            probabilities: scores.probabilities.map(Number::from_f64),
            legal_mass: Number::from_f64(scores.legal_mass),
        }
    }
}

impl From<StoredScores> for Scores {
    fn from(stored: StoredScores) -> Self {
        let float = |number: Option<Number>| {
            let number = number.and_then(|number| number.as_f64());
            number.unwrap_or(f64::NAN)
        };
        Self {
            probabilities: stored.probabilities.map(float),
            legal_mass: float(stored.legal_mass),
        }
    }
}

impl From<Timings> for StoredTimings {
    fn from(timings: Timings) -> Self {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Self {
            queue_nanos: nanos(timings.queue),
            prefill_nanos: nanos(timings.prefill),
            decode_nanos: nanos(timings.decode),
            total_nanos: nanos(timings.total),
        }
    }
}

impl From<StoredTimings> for Timings {
    fn from(stored: StoredTimings) -> Self {
        Self {
            queue: Duration::from_nanos(stored.queue_nanos),
            prefill: Duration::from_nanos(stored.prefill_nanos),
            decode: Duration::from_nanos(stored.decode_nanos),
            total: Duration::from_nanos(stored.total_nanos),
        }
    }
}

/// The value that a name stands for, as `Label::Pass` for `PASS`.
pub fn named<T: DeserializeOwned>(name: &str) -> Result<T, NameError> {
    let name: StrDeserializer<'_, NameError> = name.into_deserializer();
    T::deserialize(name)
}
