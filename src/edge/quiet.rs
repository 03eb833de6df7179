//! A line of the log that strangers can cause: at most one a second.

use std::sync::Mutex;
use std::time::{Duration, Instant};

const APART: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub struct Quiet {
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    last: Option<Instant>,
    untold: u64,
}

impl Quiet {
    /// Whether to tell now, and how many times it was not told before.
    pub fn due(&self, now: Instant) -> Option<u64> {
        let mut told = self.told.lock().unwrap_or_else(|held| held.into_inner());
        let recent = told
            .last
            .is_some_and(|last| now.saturating_duration_since(last) < APART);
        if recent {
            told.untold += 1;
            return None;
        }
        told.last = Some(now);
        Some(std::mem::take(&mut told.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_within_a_second_is_counted_and_told_later() {
        let quiet = Quiet::default();
        let start = Instant::now();
        assert_eq!(quiet.due(start), Some(0));
        for _ in 0..5 {
            assert_eq!(quiet.due(start + APART / 2), None);
        }
        assert_eq!(quiet.due(start + APART), Some(5));
        assert_eq!(quiet.due(start + APART * 3), Some(0));
    }
}
