//! A share with its uncertainty.

use serde::Serialize;

/// `k` of `n`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    pub k: u64,
    pub n: u64,
}

/// The two-sided 95 % quantile of the standard normal distribution.
const Z: f64 = 1.959_963_984_540_054;

impl Share {
    pub fn add(&mut self, hit: bool) {
        self.n += 1;
        self.k += u64::from(hit);
    }

    /// `None` of nothing.
    pub fn fraction(self) -> Option<f64> {
        (self.n > 0).then(|| self.k as f64 / self.n as f64)
    }

    /// The 95 % score interval of Wilson (1927), without continuity correction:
    /// `(p + z²/2n ± z √(p(1−p)/n + z²/4n²)) / (1 + z²/n)`.
    pub fn interval(self) -> Option<(f64, f64)> {
        let p = self.fraction()?;
        let n = self.n as f64;
        let z2 = Z * Z;
        let centre = p + z2 / (2.0 * n);
        let half = Z * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
        let scale = 1.0 + z2 / n;
        // Of none and of all one bound is exact, which rounding would miss.
        let low = if self.k == 0 {
            0.0
        } else {
            (centre - half) / scale
        };
        let high = if self.k == self.n {
            1.0
        } else {
            (centre + half) / scale
        };
        Some((low, high))
    }
}

impl Serialize for Share {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Written {
            k: u64,
            n: u64,
            share: Option<f64>,
            low: Option<f64>,
            high: Option<f64>,
        }
        let interval = self.interval();
        let written = Written {
            k: self.k,
            n: self.n,
            share: self.fraction(),
            low: interval.map(|(low, _)| low),
            high: interval.map(|(_, high)| high),
        };
        written.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_interval(k: u64, n: u64, low: f64, high: f64) {
        let (got_low, got_high) = Share { k, n }.interval().unwrap();
        assert!((got_low - low).abs() < 5e-5, "{k}/{n}: {got_low}");
        assert!((got_high - high).abs() < 5e-5, "{k}/{n}: {got_high}");
    }

    /// Newcombe (1998), Statistics in Medicine 17, 857-872, table I, method 3.
    #[test]
    fn the_interval_is_that_of_newcombes_worked_examples() {
        assert_interval(81, 263, 0.2553, 0.3662);
        assert_interval(15, 148, 0.0624, 0.1605);
        assert_interval(0, 20, 0.0000, 0.1611);
        assert_interval(1, 29, 0.0061, 0.1718);
    }

    #[test]
    fn the_interval_of_all_ends_at_one_and_mirrors_that_of_none() {
        assert_interval(20, 20, 1.0 - 0.1611, 1.0);
        assert_eq!(Share { k: 0, n: 7 }.interval().unwrap().0, 0.0);
        assert_eq!(Share { k: 7, n: 7 }.interval().unwrap().1, 1.0);
    }

    #[test]
    fn a_share_of_nothing_is_no_number() {
        let nothing = Share::default();
        assert_eq!((nothing.fraction(), nothing.interval()), (None, None));
        let json = serde_json::to_value(nothing).unwrap();
        assert_eq!(json["share"], serde_json::Value::Null);
    }
}
