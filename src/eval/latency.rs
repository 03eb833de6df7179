//! How long answers took.

use serde::Serialize;

use super::record::Answer;

/// Seconds, of every answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Latency {
    pub queue: Percentiles,
    pub prefill: Percentiles,
    pub decode: Percentiles,
    pub total: Percentiles,
    pub total_histogram: Vec<Bar>,
}

/// Of ordered values the one at rank `⌈p·n⌉`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
}

/// Answers that took from `low` to `high` seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bar {
    pub low: f64,
    pub high: f64,
    pub cases: u64,
}

const BARS: usize = 20;

impl Latency {
    pub fn of(answers: &[Answer<'_>]) -> Self {
        let seconds = || answers.iter().map(|answer| answer.record.seconds);
        Self {
            queue: Percentiles::of(seconds().map(|seconds| seconds.queue)),
            prefill: Percentiles::of(seconds().map(|seconds| seconds.prefill)),
            decode: Percentiles::of(seconds().map(|seconds| seconds.decode)),
            total: Percentiles::of(seconds().map(|seconds| seconds.total)),
            total_histogram: histogram(&seconds().map(|seconds| seconds.total).collect::<Vec<_>>()),
        }
    }

    pub fn rows(&self) -> [(&'static str, Percentiles); 4] {
        [
            ("queue", self.queue),
            ("prefill", self.prefill),
            ("decode", self.decode),
            ("total", self.total),
        ]
    }
}

impl Percentiles {
    /// All zero of nothing.
    pub fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let at = |percent: usize| {
            let rank = (values.len() * percent).div_ceil(100);
            let value = values.get(rank.saturating_sub(1));
            value.copied().unwrap_or(0.0)
        };
        Self {
            p50: at(50),
            p90: at(90),
            p99: at(99),
        }
    }
}

/// Bars of equal width from 0 to the longest.
fn histogram(values: &[f64]) -> Vec<Bar> {
    let longest = values.iter().copied().fold(0.0, f64::max);
    if longest <= 0.0 {
        return Vec::new();
    }
    let width = longest / BARS as f64;
    let mut bars: Vec<Bar> = (0..BARS)
        .map(|index| Bar {
            low: index as f64 * width,
            high: (index + 1) as f64 * width,
            cases: 0,
        })
        .collect();
    for value in values {
        bars[((value / width) as usize).min(BARS - 1)].cases += 1;
    }
    bars
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The nearest-rank example of NIST and of Wikipedia's "Percentile": 15, 20, 35, 40, 50.
    #[test]
    fn a_percentile_is_the_value_at_the_nearest_rank() {
        let five = Percentiles::of([40.0, 15.0, 50.0, 35.0, 20.0].into_iter());
        assert_eq!((five.p50, five.p90, five.p99), (35.0, 50.0, 50.0));
        let hundred = Percentiles::of((1..=100).map(f64::from));
        assert_eq!((hundred.p50, hundred.p90, hundred.p99), (50.0, 90.0, 99.0));
        assert_eq!(Percentiles::of(std::iter::once(7.0)).p50, 7.0);
    }

    #[test]
    fn no_answer_took_no_time() {
        assert_eq!(Percentiles::of(std::iter::empty()), Percentiles::default());
        assert_eq!(histogram(&[]), []);
    }

    #[test]
    fn every_answer_is_in_one_bar() {
        let bars = histogram(&[0.0, 0.1, 1.0, 2.0]);
        let counts: Vec<u64> = bars.iter().map(|bar| bar.cases).collect();
        assert_eq!(counts.iter().sum::<u64>(), 4);
        assert_eq!((counts[0], counts[1], counts[10], counts[19]), (1, 1, 1, 1));
    }
}
