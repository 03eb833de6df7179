//! One answered case, as a line of a results file.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::dataset::case::Case;
use crate::verdict::{
    DecidedBy, Decision, Disposition, Label, Mode, ModelRevision, RationaleMode, Timings, Usage,
};

/// Who was asked, and how: answers of different setups say nothing of each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Setup {
    pub decider: Decider,
    pub mode: Mode,
    /// Rules that decide before the model.
    pub hard_rules: Vec<u32>,
    pub rationale: RationaleMode,
    /// Absent where the rules decide alone.
    pub model: Option<ModelRevision>,
}

/// Whose judgement is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Decider {
    /// The model alone, without hard rules.
    Model,
    /// The daemon as it is configured.
    Daemon,
    /// The rules alone, without a model.
    Rules,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub id: String,
    pub hash: String,
    pub probe: Option<String>,
    pub difficulty: Option<String>,
    pub expected: Label,
    /// Whether the label itself is scored.
    pub exact: bool,
    pub setup: Setup,
    pub label: Label,
    /// Absent in the files of earlier versions.
    pub disposition: Option<Disposition>,
    pub scores: Option<BTreeMap<Label, f64>>,
    pub legal_mass: Option<f64>,
    pub rationale: String,
    pub decided_by: DecidedBy,
    pub rules: Vec<String>,
    pub usage: Usage,
    pub seconds: Seconds,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Seconds {
    pub queue: f64,
    pub prefill: f64,
    pub decode: f64,
    pub total: f64,
}

/// A case with its record.
#[derive(Clone, Debug)]
pub struct Answer<'c> {
    pub case: &'c Case,
    pub record: Record,
}

/// Why an answer is not one of the setup that is measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Objection {
    Degraded(String),
    DecidedByRules,
    OtherMode(Mode),
    OtherModel(String),
}

impl Setup {
    /// Who is measured, for people.
    pub fn judge(&self) -> String {
        match self.decider {
            Decider::Model => "the model alone".to_owned(),
            Decider::Daemon => format!("the daemon in mode {}", self.mode),
            Decider::Rules => "the rules alone".to_owned(),
        }
    }

    pub fn objection(&self, decision: &Decision) -> Option<Objection> {
        // What the model decided is its answer, be it held or without a sentence.
        if decision.decided_by == DecidedBy::Rules
            && let Some(reason) = &decision.degraded_reason
        {
            return Some(Objection::Degraded(reason.clone()));
        }
        if decision.mode != self.mode {
            return Some(Objection::OtherMode(decision.mode));
        }
        match (decision.decided_by, self.decider) {
            (DecidedBy::Rules, Decider::Model) => Some(Objection::DecidedByRules),
            (DecidedBy::Model, _) if decision.model != self.model => {
                let other = decision.model.as_ref().map(|model| model.bundle.clone());
                Some(Objection::OtherModel(other.unwrap_or_default()))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Objection::Degraded(reason) => write!(f, "degraded: {reason}"),
            Objection::DecidedByRules => f.write_str("the rules decided, not the model"),
            Objection::OtherMode(mode) => write!(f, "the mode has become {mode}"),
            Objection::OtherModel(name) => write!(f, "another model answered: `{name}`"),
        }
    }
}

impl Record {
    pub fn new(case: &Case, setup: &Setup, decision: Decision) -> Self {
        let scores = decision.scores.map(|scores| {
            let rows = Label::ALL.into_iter().zip(scores.probabilities);
            rows.collect()
        });
        Self {
            id: case.id.clone(),
            hash: case.hash(),
            probe: case.probe.clone(),
            difficulty: case.difficulty.clone(),
            expected: case.expected,
            exact: case.exact,
            setup: setup.clone(),
            label: decision.label,
            disposition: Some(decision.disposition),
            scores,
            legal_mass: decision.scores.map(|scores| scores.legal_mass),
            rationale: decision.rationale,
            decided_by: decision.decided_by,
            rules: decision.rules,
            usage: decision.usage,
            seconds: decision.timings.into(),
        }
    }

    /// The answered label's probability.
    pub fn score(&self) -> Option<f64> {
        self.scores.as_ref()?.get(&self.label).copied()
    }

    pub fn is_exact(&self) -> bool {
        self.label == self.expected
    }

    /// Whether the draft was let out or stopped as it should be, by whatever label.
    pub fn is_stopped_rightly(&self) -> bool {
        (self.label == Label::Pass) == (self.expected == Label::Pass)
    }
}

impl From<Timings> for Seconds {
    fn from(timings: Timings) -> Self {
        Self {
            queue: timings.queue.as_secs_f64(),
            prefill: timings.prefill.as_secs_f64(),
            decode: timings.decode.as_secs_f64(),
            total: timings.total.as_secs_f64(),
        }
    }
}
