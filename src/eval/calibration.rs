//! Whether the scores mean what they say.

use serde::Serialize;

use super::record::Answer;
use crate::verdict::Label;

/// Over answers with scores, where the label is scored. An answer's confidence is its own
/// label's probability.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Calibration {
    pub cases: u64,
    /// Expected calibration error: the bins' distances between confidence and accuracy, weighed
    /// by their cases (Naeini, Cooper and Hauskrecht 2015; Guo et al. 2017).
    pub ece: f64,
    /// The mean over cases of the sum over the labels of `(p − o)²`, `o` being 1 for the expected
    /// label and 0 for others (Brier 1950): 0 is best, 2 worst.
    pub brier: f64,
    pub bins: Vec<Bin>,
}

/// Answers whose confidence is over `low` and not over `high`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bin {
    pub low: f64,
    pub high: f64,
    pub cases: u64,
    /// Means over the bin's cases.
    pub confidence: Option<f64>,
    pub accuracy: Option<f64>,
}

/// What calibration needs of one answer.
#[derive(Clone, Copy, Debug)]
pub struct Scored {
    pub probabilities: [f64; 5],
    pub answered: Label,
    pub expected: Label,
}

const BINS: usize = 10;

impl Calibration {
    pub fn of(answers: &[Answer<'_>]) -> Option<Self> {
        let exact = answers.iter().filter(|answer| answer.case.exact);
        let scored = exact.filter_map(|answer| {
            let scores = answer.record.scores.as_ref()?;
            Some(Scored {
                probabilities: Label::ALL.map(|label| scores.get(&label).copied().unwrap_or(0.0)),
                answered: answer.record.label,
                expected: answer.case.expected,
            })
        });
        Self::of_scored(&scored.collect::<Vec<_>>())
    }

    /// `None` of nothing.
    pub fn of_scored(scored: &[Scored]) -> Option<Self> {
        let mut sums = [(0_u64, 0.0, 0_u64); BINS];
        let mut squares = 0.0;
        for case in scored {
            let confidence = case.probabilities[case.answered.index()];
            let (cases, confidences, right) = &mut sums[bin(confidence)];
            *cases += 1;
            *confidences += confidence;
            *right += u64::from(case.answered == case.expected);
            squares += Label::ALL
                .map(|label| square(case, label))
                .iter()
                .sum::<f64>();
        }
        if scored.is_empty() {
            return None;
        }
        let count = scored.len() as f64;
        let edge = |index: usize| index as f64 / BINS as f64;
        let bins = sums
            .iter()
            .enumerate()
            .map(|(index, (cases, confidences, right))| {
                let mean = |sum: f64| (*cases > 0).then(|| sum / *cases as f64);
                Bin {
                    low: edge(index),
                    high: edge(index + 1),
                    cases: *cases,
                    confidence: mean(*confidences),
                    accuracy: mean(*right as f64),
                }
            });
        let gaps = sums
            .iter()
            .map(|(_, confidences, right)| (confidences - *right as f64).abs());
        Some(Self {
            cases: scored.len() as u64,
            ece: gaps.sum::<f64>() / count,
            brier: squares / count,
            bins: bins.collect(),
        })
    }
}

fn square(case: &Scored, label: Label) -> f64 {
    let outcome = f64::from(u8::from(label == case.expected));
    (case.probabilities[label.index()] - outcome).powi(2)
}

/// The first bin takes 0 too.
fn bin(confidence: f64) -> usize {
    let above = (confidence * BINS as f64).ceil() as usize;
    above.clamp(1, BINS) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(confidence: f64, right: bool) -> Scored {
        let rest = (1.0 - confidence) / 4.0;
        Scored {
            probabilities: [confidence, rest, rest, rest, rest],
            answered: Label::Suppress,
            expected: if right { Label::Suppress } else { Label::Pass },
        }
    }

    fn of(cases: &[(f64, bool)]) -> Calibration {
        let cases: Vec<_> = cases
            .iter()
            .map(|(confidence, right)| scored(*confidence, *right))
            .collect();
        Calibration::of_scored(&cases).unwrap()
    }

    #[test]
    fn confidence_that_comes_true_as_often_as_it_says_has_no_error() {
        let calibration = of(&[(0.75, true), (0.75, true), (0.75, true), (0.75, false)]);
        assert!(calibration.ece.abs() < 1e-12);
        let bin = calibration.bins[7];
        assert_eq!((bin.cases, bin.accuracy), (4, Some(0.75)));
    }

    /// Two bins by hand: 3/4 |0.95 − 2/3| + 1/4 |0.45 − 1|.
    #[test]
    fn the_error_weighs_each_bins_gap_by_its_cases() {
        let calibration = of(&[(0.95, true), (0.95, true), (0.95, false), (0.45, true)]);
        let by_hand = 0.75 * (0.95 - 2.0 / 3.0) + 0.25 * 0.55;
        assert!(
            (calibration.ece - by_hand).abs() < 1e-12,
            "{}",
            calibration.ece
        );
    }

    /// A bin is open below and closed above, as Guo et al. have it.
    #[test]
    fn a_confidence_on_a_bins_edge_belongs_to_the_lower_bin() {
        for (confidence, expected) in [(0.0, 0), (0.1, 0), (0.11, 1), (0.5, 4), (1.0, 9)] {
            assert_eq!(bin(confidence), expected, "{confidence}");
        }
    }

    #[test]
    fn the_brier_score_is_0_for_certain_truth_and_2_for_certain_error() {
        assert_eq!(of(&[(1.0, true)]).brier, 0.0);
        assert_eq!(of(&[(1.0, false)]).brier, 2.0);
    }

    /// Five equal scores: 4 · 0.2² + 0.8².
    #[test]
    fn the_brier_score_of_knowing_nothing_is_four_fifths() {
        assert!((of(&[(0.2, true)]).brier - 0.8).abs() < 1e-12);
    }

    #[test]
    fn answers_without_scores_have_no_calibration() {
        assert_eq!(Calibration::of_scored(&[]), None);
    }
}
