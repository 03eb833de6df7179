//! How long a prompt's token takes at the least, by the steps of the last minute: pure.

use std::collections::VecDeque;
use std::time::Duration;

use super::scheduler::Time;

/// Steps that are remembered.
const STEPS: usize = 16;
/// What was measured longer ago tells nothing of a machine that others use too.
const FRESH: Duration = Duration::from_secs(60);
/// A step of fewer tokens takes longer for each.
const LEAST_TOKENS: usize = 32;

#[derive(Default)]
pub struct Pace {
    /// When each ended, and what each of its tokens took.
    steps: VecDeque<(Time, Duration)>,
}

impl Pace {
    /// A prefill step of so many tokens has ended.
    pub fn note(&mut self, now: Time, tokens: usize, took: Duration) {
        if tokens >= LEAST_TOKENS {
            self.steps.truncate(STEPS - 1);
            let tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
            self.steps.push_front((now, took / tokens));
        }
    }

    /// Three quarters of the fastest; zero where fewer than two were measured lately. So one step
    /// that hung tells nothing, also where it hung for so long that no other is fresh.
    pub fn per_token(&self, now: Time) -> Duration {
        let fresh = || self.steps.iter().filter(|(then, _)| now < *then + FRESH);
        if fresh().nth(1).is_none() {
            return Duration::ZERO;
        }
        let fastest = fresh().map(|(_, each)| *each).min();
        fastest.unwrap_or_default() * 3 / 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_step_that_hung_changes_nothing() {
        let mut pace = Pace::default();
        pace.note(SECOND, 100, SECOND);
        pace.note(2 * SECOND, 100, SECOND);
        let before = pace.per_token(2 * SECOND);
        assert_eq!(before, Duration::from_micros(7_500));
        pace.note(22 * SECOND, 100, 20 * SECOND);
        assert_eq!(pace.per_token(22 * SECOND), before);
        pace.note(700 * SECOND, 100, 600 * SECOND);
        assert_eq!(pace.per_token(700 * SECOND), Duration::ZERO);
    }

    #[test]
    fn what_was_slow_for_long_is_believed_and_forgotten_after_a_minute() {
        let mut pace = Pace::default();
        pace.note(SECOND, 100, SECOND);
        for _ in 0..STEPS {
            pace.note(2 * SECOND, 100, 10 * SECOND);
        }
        assert_eq!(pace.per_token(2 * SECOND), Duration::from_millis(75));
        assert_eq!(pace.per_token(61 * SECOND), Duration::from_millis(75));
        assert_eq!(pace.per_token(62 * SECOND), Duration::ZERO);
    }

    #[test]
    fn short_steps_tell_nothing() {
        let mut pace = Pace::default();
        pace.note(SECOND, LEAST_TOKENS - 1, SECOND);
        pace.note(SECOND, LEAST_TOKENS - 1, SECOND);
        assert_eq!(pace.per_token(SECOND), Duration::ZERO);
    }
}
