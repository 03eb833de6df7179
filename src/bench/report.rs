//! What a load showed, in numbers.

use std::collections::BTreeMap;

use serde::Serialize;

use super::compare::Comparison;
use super::drive::{Driven, Load};
use super::engine::Engine;
use super::llama_server::ServerInfo;
use super::sample::{Failure, Measured, Sample};
use crate::eval::latency::Percentiles;
use crate::verdict::{Label, RationaleMode};

/// All runs of one command; keys of its JSON are only ever added.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// This program's version.
    pub judged: &'static str,
    pub setup: Setup,
    pub runs: Vec<Run>,
    /// Absent where no other server was driven.
    pub comparison: Option<Comparison>,
    /// What else is to be known of the figures.
    pub notes: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Setup {
    pub addr: String,
    pub connections: usize,
    pub against: Option<ServerInfo>,
    /// Different drafts with their contexts.
    pub drafts: usize,
    pub repeat_contexts: f64,
    pub rationale: RationaleMode,
    pub deadline_seconds: f64,
    pub seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetName {
    Daemon,
    LlamaServer,
}

impl TargetName {
    pub const fn as_str(self) -> &'static str {
        match self {
            TargetName::Daemon => "daemon",
            TargetName::LlamaServer => "llama-server",
        }
    }
}

/// One load on one target.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Run {
    pub target: TargetName,
    pub load: Load,
    /// Up to the last answer.
    pub seconds: f64,
    pub sent: u64,
    pub answered: u64,
    /// Of these, decided by rules without the model.
    pub by_rules: u64,
    pub decisions_per_second: f64,
    /// Seconds since a request was due; absent where none was answered.
    pub to_label: Option<Percentiles>,
    pub to_answer: Option<Percentiles>,
    /// Requests for which there was no room. They are among the errors.
    pub shed: u64,
    pub errors: Vec<Errors>,
    pub labels: BTreeMap<Label, u64>,
    pub tokens: Tokens,
    /// Absent where the target's counters cannot be read.
    pub engine: Option<Engine>,
}

/// Requests that failed alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Errors {
    pub status: String,
    pub reason: String,
    pub count: u64,
}

/// Sums over all answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tokens {
    pub prompt: u64,
    pub evaluated: u64,
    /// That a cache spared.
    pub cached: u64,
    pub generated: u64,
}

impl Run {
    pub fn new(target: TargetName, load: Load, driven: &Driven, engine: Option<Engine>) -> Self {
        let answers: Vec<&Measured> = answers(&driven.samples).collect();
        let seconds = driven.elapsed.as_secs_f64();
        let mut labels = BTreeMap::new();
        let mut tokens = Tokens::default();
        for answer in &answers {
            *labels.entry(answer.label).or_default() += 1;
            let usage = answer.usage;
            tokens.prompt += u64::from(usage.prompt_tokens);
            tokens.cached += u64::from(usage.cached_tokens);
            tokens.generated += u64::from(usage.generated_tokens);
        }
        tokens.evaluated = tokens.prompt.saturating_sub(tokens.cached);
        Self {
            target,
            load,
            seconds,
            sent: driven.samples.len() as u64,
            answered: answers.len() as u64,
            by_rules: answers.iter().filter(|answer| answer.by_rules).count() as u64,
            decisions_per_second: rate(answers.len(), seconds),
            to_label: percentiles(&answers, |answer| answer.to_label.as_secs_f64()),
            to_answer: percentiles(&answers, |answer| answer.to_answer.as_secs_f64()),
            shed: failures(&driven.samples)
                .filter(|failure| failure.shed)
                .count() as u64,
            errors: errors(&driven.samples),
            labels,
            tokens,
            engine,
        }
    }

    /// Requests that failed, and not for want of room or time.
    pub fn broken(&self) -> u64 {
        let late = self
            .errors
            .iter()
            .filter(|errors| errors.status == "DeadlineExceeded");
        let late: u64 = late.map(|errors| errors.count).sum();
        (self.sent - self.answered).saturating_sub(self.shed + late)
    }
}

pub(super) fn answers(samples: &[Sample]) -> impl Iterator<Item = &Measured> {
    samples
        .iter()
        .filter_map(|sample| sample.outcome.as_ref().ok())
}

fn failures(samples: &[Sample]) -> impl Iterator<Item = &Failure> {
    samples
        .iter()
        .filter_map(|sample| sample.outcome.as_ref().err())
}

pub(super) fn rate(count: usize, seconds: f64) -> f64 {
    if seconds > 0.0 {
        count as f64 / seconds
    } else {
        0.0
    }
}

pub(super) fn percentiles(
    answers: &[&Measured],
    seconds: impl Fn(&Measured) -> f64,
) -> Option<Percentiles> {
    let of = || Percentiles::of(answers.iter().map(|answer| seconds(answer)));
    (!answers.is_empty()).then(of)
}

fn errors(samples: &[Sample]) -> Vec<Errors> {
    let mut counts: BTreeMap<&Failure, u64> = BTreeMap::new();
    for failure in failures(samples) {
        *counts.entry(failure).or_default() += 1;
    }
    let rows = counts.into_iter().map(|(failure, count)| Errors {
        status: failure.status.clone(),
        reason: failure.reason.clone(),
        count,
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::bench::sample::Answer;
    use crate::verdict::Usage;

    fn answered(number: usize, millis: u64) -> Sample {
        let due = Instant::now();
        let answer = Answer {
            label: Label::Block,
            labelled: due + Duration::from_millis(millis / 2),
            done: due + Duration::from_millis(millis),
            by_rules: false,
            usage: Usage {
                prompt_tokens: 300,
                cached_tokens: 270,
                generated_tokens: 20,
            },
        };
        Sample::new(number, due, Ok(answer))
    }

    fn failed(number: usize, status: &str, shed: bool) -> Sample {
        let failure = Failure {
            status: status.to_owned(),
            reason: "WHY".to_owned(),
            shed,
        };
        Sample::new(number, Instant::now(), Err(failure))
    }

    fn run(samples: Vec<Sample>) -> Run {
        let driven = Driven {
            samples,
            elapsed: Duration::from_secs(4),
        };
        Run::new(
            TargetName::Daemon,
            Load::Closed { concurrency: 1 },
            &driven,
            None,
        )
    }

    #[test]
    fn latency_and_rate_are_of_the_answers_and_each_failure_is_counted_by_its_reason() {
        let mut samples: Vec<Sample> = (1..=100).map(|n| answered(n, n as u64 * 10)).collect();
        samples.extend([
            failed(101, "ResourceExhausted", true),
            failed(102, "ResourceExhausted", true),
            failed(103, "DeadlineExceeded", false),
            failed(104, "Internal", false),
        ]);
        let run = run(samples);
        assert_eq!(
            (run.sent, run.answered, run.shed, run.broken()),
            (104, 100, 2, 1)
        );
        assert_eq!(run.decisions_per_second, 25.0);
        let total = run.to_answer.unwrap();
        assert_eq!((total.p50, total.p90, total.p99), (0.5, 0.9, 0.99));
        assert_eq!(run.to_label.unwrap().p50, 0.25);
        let counts: Vec<u64> = run.errors.iter().map(|errors| errors.count).collect();
        assert_eq!(counts, [1, 1, 2]);
        assert_eq!(run.labels[&Label::Block], 100);
        assert_eq!((run.tokens.evaluated, run.tokens.cached), (3000, 27_000));
    }

    #[test]
    fn nothing_answered_has_no_latency() {
        let run = run(vec![failed(0, "Unavailable", false)]);
        assert_eq!((run.to_answer, run.decisions_per_second), (None, 0.0));
    }
}
