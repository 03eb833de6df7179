//! Whether two runs over the same cases really differ.

use statrs::distribution::{Binomial, DiscreteCDF};

/// McNemar's exact test, two-sided: the chance that of all cases that changed at least so many
/// changed in one direction, were both directions equally likely (twice the tail of a binomial
/// distribution with one half; McNemar 1947, Psychometrika 12, 153-157).
pub fn exact_p(fixed: u64, broken: u64) -> f64 {
    let Ok(changed) = Binomial::new(0.5, fixed + broken) else {
        return 1.0;
    };
    (2.0 * changed.cdf(fixed.min(broken))).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tails of a fair coin, to be counted by hand: 2 (1 + 10) / 2^10.
    #[test]
    fn nine_of_ten_changes_in_one_direction_are_a_chance_of_22_in_1024() {
        assert!((exact_p(9, 1) - 22.0 / 1024.0).abs() < 1e-12);
        assert!((exact_p(1, 9) - 22.0 / 1024.0).abs() < 1e-12);
    }

    /// Agresti, Categorical Data Analysis (1990), p. 350: approval in two surveys, also the
    /// worked example of R's `mcnemar.test`, with 150 and 86 changes.
    #[test]
    fn the_approval_ratings_of_agresti_differ_beyond_chance() {
        let p = exact_p(86, 150);
        assert!((p - 3.715_936e-5).abs() < 1e-11, "{p}");
    }

    #[test]
    fn no_change_or_as_many_one_way_as_the_other_is_pure_chance() {
        assert_eq!(exact_p(0, 0), 1.0);
        assert_eq!(exact_p(5, 5), 1.0);
    }
}
