//! A daemon and a llama-server that were asked the same, in turns.

use std::collections::HashMap;

use serde::Serialize;

use super::drive::Driven;
use super::report::{answers, percentiles, rate};
use super::sample::Measured;
use crate::eval::latency::Percentiles;
use crate::eval::wilson::Share;

/// The same requests to both, one after the other.
#[derive(Clone, Debug, Default)]
pub struct Round {
    pub daemon: Driven,
    pub llama_server: Driven,
}

/// Over all rounds together.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    pub decisions_per_second: Ratio,
    pub to_label: Ratios,
    pub to_answer: Ratios,
    /// Of the requests that both models answered.
    pub equal_labels: Share,
    /// Whose prompts have as many tokens at both: all, unless something is amiss.
    pub equal_prompts: Share,
}

#[derive(Clone, Debug, Serialize)]
pub struct Ratios {
    pub p50: Ratio,
    pub p90: Ratio,
    pub p99: Ratio,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ratio {
    pub daemon: Option<f64>,
    pub llama_server: Option<f64>,
    /// The daemon's over the server's.
    pub ratio: Option<f64>,
    /// The same of each round: how much they differ tells how far to trust it.
    pub by_round: Vec<Option<f64>>,
}

impl Comparison {
    pub fn of(rounds: &[Round]) -> Self {
        type Seconds = fn(&Measured) -> f64;
        let of = |seconds: Seconds| {
            let ratio = |pick: fn(&Percentiles) -> f64| {
                Ratio::new(rounds, |driven| {
                    let answers: Vec<&Measured> =
                        driven.iter().flat_map(|d| answers(&d.samples)).collect();
                    percentiles(&answers, seconds).map(|found| pick(&found))
                })
            };
            Ratios {
                p50: ratio(|found| found.p50),
                p90: ratio(|found| found.p90),
                p99: ratio(|found| found.p99),
            }
        };
        let both = rounds.iter().flat_map(both).collect::<Vec<_>>();
        Self {
            decisions_per_second: Ratio::new(rounds, |driven| {
                let count = driven.iter().map(|d| answers(&d.samples).count()).sum();
                let seconds = driven.iter().map(|d| d.elapsed.as_secs_f64()).sum();
                (count > 0).then(|| rate(count, seconds))
            }),
            to_label: of(|answer| answer.to_label.as_secs_f64()),
            to_answer: of(|answer| answer.to_answer.as_secs_f64()),
            equal_labels: share(&both, |one, other| one.label == other.label),
            equal_prompts: share(&both, |one, other| {
                one.usage.prompt_tokens == other.usage.prompt_tokens
            }),
        }
    }

    /// The ratios with their names, for people.
    pub fn rows(&self) -> [(&'static str, &Ratio); 7] {
        [
            ("decisions/s", &self.decisions_per_second),
            ("to label p50", &self.to_label.p50),
            ("to label p90", &self.to_label.p90),
            ("to label p99", &self.to_label.p99),
            ("to answer p50", &self.to_answer.p50),
            ("to answer p90", &self.to_answer.p90),
            ("to answer p99", &self.to_answer.p99),
        ]
    }
}

impl Ratio {
    fn new(rounds: &[Round], measure: impl Fn(&[&Driven]) -> Option<f64>) -> Self {
        let over = |one: Option<f64>, other: Option<f64>| {
            one.zip(other.filter(|other| *other > 0.0))
                .map(|(one, other)| one / other)
        };
        let all =
            |side: fn(&Round) -> &Driven| measure(&rounds.iter().map(side).collect::<Vec<_>>());
        let daemon = all(|round| &round.daemon);
        let llama_server = all(|round| &round.llama_server);
        let each = rounds
            .iter()
            .map(|round| over(measure(&[&round.daemon]), measure(&[&round.llama_server])));
        Self {
            daemon,
            llama_server,
            ratio: over(daemon, llama_server),
            by_round: each.collect(),
        }
    }
}

/// The two answers of each request that both models answered.
fn both(round: &Round) -> Vec<(Measured, Measured)> {
    let numbered = |driven: &Driven| -> HashMap<usize, Measured> {
        let samples = driven.samples.iter();
        let answered =
            samples.filter_map(|sample| Some((sample.number, *sample.outcome.as_ref().ok()?)));
        answered.filter(|(_, answer)| !answer.by_rules).collect()
    };
    let (daemon, server) = (numbered(&round.daemon), numbered(&round.llama_server));
    let pairs = daemon
        .iter()
        .filter_map(|(number, one)| Some((*one, *server.get(number)?)));
    pairs.collect()
}

fn share(pairs: &[(Measured, Measured)], holds: impl Fn(&Measured, &Measured) -> bool) -> Share {
    let mut share = Share::default();
    for (one, other) in pairs {
        share.add(holds(one, other));
    }
    share
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bench::sample::Sample;
    use crate::verdict::{Label, Usage};

    fn driven(answers: &[(Label, u64)], seconds: u64, by_rules: bool) -> Driven {
        let samples = answers
            .iter()
            .enumerate()
            .map(|(number, (label, millis))| Sample {
                number,
                outcome: Ok(Measured {
                    label: *label,
                    to_label: Duration::from_millis(*millis / 2),
                    to_answer: Duration::from_millis(*millis),
                    by_rules,
                    usage: Usage::default(),
                }),
            });
        Driven {
            samples: samples.collect(),
            elapsed: Duration::from_secs(seconds),
        }
    }

    #[test]
    fn ratios_are_over_all_rounds_and_each_rounds_own() {
        let pass = |millis| [(Label::Pass, millis); 10];
        let rounds = [
            Round {
                daemon: driven(&pass(100), 1, false),
                llama_server: driven(&pass(200), 2, false),
            },
            Round {
                daemon: driven(&pass(100), 1, false),
                llama_server: driven(&pass(400), 4, false),
            },
        ];
        let comparison = Comparison::of(&rounds);
        let rates = &comparison.decisions_per_second;
        assert_eq!((rates.daemon, rates.ratio), (Some(10.0), Some(3.0)));
        assert_eq!(rates.by_round, [Some(2.0), Some(4.0)]);
        assert_eq!(comparison.to_answer.p90.ratio, Some(0.25));
        assert_eq!(
            (comparison.equal_labels.k, comparison.equal_labels.n),
            (20, 20)
        );
    }

    #[test]
    fn labels_are_compared_request_by_request_and_those_of_rules_not_at_all() {
        let one = [(Label::Pass, 1), (Label::Block, 1), (Label::Pass, 1)];
        let other = [(Label::Pass, 1), (Label::Pass, 1)];
        let round = |by_rules| Round {
            daemon: driven(&one, 1, by_rules),
            llama_server: driven(&other, 1, false),
        };
        let equal = Comparison::of(&[round(false)]).equal_labels;
        assert_eq!((equal.k, equal.n), (1, 2));
        assert_eq!(Comparison::of(&[round(true)]).equal_labels.n, 0);
    }

    #[test]
    fn what_was_not_answered_has_no_ratio() {
        let comparison = Comparison::of(&[Round::default()]);
        assert_eq!(comparison.decisions_per_second.ratio, None);
        assert_eq!(comparison.to_label.p50.by_round, [None]);
    }
}
