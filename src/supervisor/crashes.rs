//! When a daemon that crashed is started again, and when no more: pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Limit;

pub struct Crashes {
    limit: Limit,
    /// Those within the window, oldest first.
    recent: VecDeque<Instant>,
}

/// After the first crash; each further one within the window doubles it. Callers
/// hardly notice it beside what the model takes to load.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

impl Crashes {
    pub fn new(limit: Limit) -> Self {
        Self {
            limit,
            recent: VecDeque::new(),
        }
    }

    /// A crash: how long to wait before the next start, or `None` if there have been too many.
    pub fn note(&mut self, now: Instant) -> Option<Duration> {
        while let Some(oldest) = self.recent.front()
            && now.duration_since(*oldest) > self.limit.window
        {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
        let count = u32::try_from(self.recent.len()).unwrap_or(u32::MAX);
        if count > self.limit.crashes {
            return None;
        }
        let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(count - 1));
        Some(pause.min(LONGEST_PAUSE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit {
        crashes: 3,
        window: Duration::from_secs(60),
    };

    #[test]
    fn pauses_grow_until_there_were_too_many_crashes() {
        let now = Instant::now();
        let mut crashes = Crashes::new(LIMIT);
        let pauses: Vec<_> = (0..4).map(|_| crashes.note(now)).collect();
        let millis = |millis| Some(Duration::from_millis(millis));
        assert_eq!(pauses, [millis(100), millis(200), millis(400), None]);
    }

    #[test]
    fn what_is_long_ago_does_not_count() {
        let start = Instant::now();
        let mut crashes = Crashes::new(LIMIT);
        for minute in 0..100 {
            let now = start + Duration::from_secs(61) * minute;
            assert_eq!(crashes.note(now), Some(FIRST_PAUSE));
        }
    }

    #[test]
    fn a_pause_has_an_end() {
        let mut crashes = Crashes::new(Limit {
            crashes: 100,
            ..LIMIT
        });
        let now = Instant::now();
        let pauses = (0..100).filter_map(|_| crashes.note(now));
        assert_eq!(pauses.max(), Some(LONGEST_PAUSE));
    }
}
