//! All that a run tells; as JSON its keys are stable: they are only ever added to.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;

use super::baseline::{Baseline, Comparison};
use super::calibration::Calibration;
use super::confusion::Confusion;
use super::latency::Latency;
use super::measure::{Group, Measures};
use super::rationale::Agreement;
use super::record::{Answer, Setup};
use crate::verdict::{DecidedBy, Label, Usage};

#[derive(Debug, Serialize)]
pub struct Report {
    /// The version of this program.
    pub judged: &'static str,
    pub setup: Setup,
    pub run: Run,
    pub overall: Measures,
    pub by_probe: Vec<Group>,
    pub by_difficulty: Vec<Group>,
    /// Counts by expected, then by answered label.
    pub confusion: Confusion,
    /// Absent where no answer has scores.
    pub calibration: Option<Calibration>,
    pub seconds: Latency,
    pub tokens: Tokens,
    /// Absent where no rationale can be compared.
    pub rationales: Option<Agreement>,
    pub baseline: Option<Comparison>,
    pub wrong: Vec<Wrong>,
}

/// How far it came.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Run {
    /// Cases that were to be asked.
    pub selected: u64,
    pub answered: u64,
    /// Of the answered, those that an earlier run had asked.
    pub reused: u64,
    pub decided_by_rules: u64,
    /// Answered cases whose label is not scored, only PASS against all others.
    pub left_out_of_exact: u64,
    /// Answers that are not of the setup that is measured, such as those of a degraded daemon.
    pub objected: u64,
    /// Why, each reason once.
    pub objections: Vec<String>,
}

impl Run {
    pub fn is_complete(&self) -> bool {
        self.answered == self.selected
    }
}

/// Sums.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Tokens {
    pub prompt: u64,
    pub cached: u64,
    pub generated: u64,
}

/// A case that was judged otherwise than it should be.
#[derive(Debug, Serialize)]
pub struct Wrong {
    pub id: String,
    pub probe: Option<String>,
    pub difficulty: Option<String>,
    pub expected: Label,
    pub answered: Label,
    /// The answered label's probability.
    pub score: Option<f64>,
    pub scores: Option<BTreeMap<Label, f64>>,
    pub decided_by: DecidedBy,
    pub rules: Vec<String>,
    pub rationale: String,
    pub draft: String,
    pub context: Option<Box<RawValue>>,
}

impl Report {
    pub fn new(
        setup: Setup,
        run: Run,
        answers: &[Answer<'_>],
        rules: &BTreeMap<String, Label>,
        baseline: Option<&Baseline>,
    ) -> Self {
        let by_rules = |answer: &&Answer<'_>| answer.record.decided_by == DecidedBy::Rules;
        let is_wrong = |answer: &&Answer<'_>| !answer.case.is_right(answer.record.label);
        let wrong = answers.iter().filter(is_wrong);
        Self {
            judged: env!("CARGO_PKG_VERSION"),
            setup,
            run: Run {
                answered: answers.len() as u64,
                decided_by_rules: answers.iter().filter(by_rules).count() as u64,
                left_out_of_exact: answers.iter().filter(|answer| !answer.case.exact).count()
                    as u64,
                ..run
            },
            overall: Measures::of(answers),
            by_probe: Group::all(answers, |answer| answer.case.probe.clone()),
            by_difficulty: Group::all(answers, |answer| answer.case.difficulty.clone()),
            confusion: Confusion::of(answers),
            calibration: Calibration::of(answers),
            seconds: Latency::of(answers),
            tokens: Tokens::of(answers.iter().map(|answer| answer.record.usage)),
            rationales: Agreement::of(answers, rules),
            baseline: baseline.map(|baseline| baseline.compare(answers)),
            wrong: wrong.map(Wrong::from).collect(),
        }
    }
}

impl Tokens {
    fn of(usages: impl Iterator<Item = Usage>) -> Self {
        usages.fold(Self::default(), |sum, usage| Self {
            prompt: sum.prompt + u64::from(usage.prompt_tokens),
            cached: sum.cached + u64::from(usage.cached_tokens),
            generated: sum.generated + u64::from(usage.generated_tokens),
        })
    }
}

impl From<&Answer<'_>> for Wrong {
    fn from(answer: &Answer<'_>) -> Self {
        let (case, record) = (answer.case, &answer.record);
        Self {
            id: case.id.clone(),
            probe: case.probe.clone(),
            difficulty: case.difficulty.clone(),
            expected: case.expected,
            answered: record.label,
            score: record.score(),
            scores: record.scores.clone(),
            decided_by: record.decided_by,
            rules: record.rules.clone(),
            rationale: record.rationale.clone(),
            draft: case.draft.clone(),
            context: RawValue::from_string(case.context_json.clone()).ok(),
        }
    }
}
