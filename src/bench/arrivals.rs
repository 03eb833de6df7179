//! When requests come that nobody coordinates: a Poisson process.

use std::time::Duration;

use fastrand::Rng;

/// The moments of arrival since the start, without end. The same seed gives the same ones.
#[derive(Clone, Debug)]
pub struct Arrivals {
    chance: Rng,
    /// A second.
    rate: f64,
    seconds: f64,
}

impl Arrivals {
    /// `rate` is above 0.
    pub fn new(rate: f64, seed: u64) -> Self {
        Self {
            chance: Rng::with_seed(seed),
            rate,
            seconds: 0.0,
        }
    }
}

impl Iterator for Arrivals {
    type Item = Duration;

    /// The gaps between arrivals are exponential.
    fn next(&mut self) -> Option<Duration> {
        self.seconds -= (1.0 - self.chance.f64()).ln() / self.rate;
        Duration::try_from_secs_f64(self.seconds).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of 20,000 exponential gaps the mean is within 3 % of 1/rate, and the deviation equals it.
    #[test]
    fn arrivals_have_the_asked_rate_and_exponential_gaps() {
        for rate in [0.2, 1.0, 250.0] {
            let moments: Vec<f64> = Arrivals::new(rate, 7)
                .take(20_000)
                .map(|moment| moment.as_secs_f64())
                .collect();
            let gaps: Vec<f64> = std::iter::once(moments[0])
                .chain(moments.windows(2).map(|pair| pair[1] - pair[0]))
                .collect();
            let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
            assert!((mean * rate - 1.0).abs() < 0.03, "{rate}: {mean}");
            let squares = gaps.iter().map(|gap| (gap - mean).powi(2));
            let deviation = (squares.sum::<f64>() / gaps.len() as f64).sqrt();
            assert!((deviation / mean - 1.0).abs() < 0.05, "{rate}: {deviation}");
            assert!(gaps.iter().all(|gap| *gap >= 0.0));
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_arrivals_and_another_one_others() {
        let first = |seed| Arrivals::new(3.0, seed).take(50).collect::<Vec<_>>();
        assert_eq!(first(1), first(1));
        assert_ne!(first(1), first(2));
    }
}
