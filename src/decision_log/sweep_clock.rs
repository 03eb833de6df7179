//! The time by which decisions are old: a clock that runs ahead makes all of them old at once.

use std::time::{Duration, Instant, SystemTime};

/// For so long the wall clock has to be ahead before it is believed.
const BELIEVED_AFTER: Duration = Duration::from_hours(24);
/// A smaller lead is none: the two clocks are not read in one moment.
const SLACK: Duration = Duration::from_secs(60);

/// Goes on as time passes, and is never later than the wall clock. The one that it begins with is
/// believed: there is nothing to hold it against.
#[derive(Debug)]
pub struct SweepClock {
    now: SystemTime,
    looked: Instant,
    waiting: Option<Lead>,
}

/// What the wall clock is ahead, not believed yet.
#[derive(Clone, Copy, Debug)]
struct Lead {
    since: Instant,
    /// The smallest since then: so much has lasted.
    by: Duration,
}

impl SweepClock {
    pub fn new(at: Instant, wall: SystemTime) -> Self {
        Self {
            now: wall,
            looked: at,
            waiting: None,
        }
    }

    /// As of the last look.
    pub fn now(&self) -> SystemTime {
        self.now
    }

    /// Takes in what the clocks show: how far the wall clock is ahead, where the wait for it
    /// begins.
    pub fn look(&mut self, at: Instant, wall: SystemTime) -> Option<Duration> {
        let passed = at.saturating_duration_since(self.looked);
        self.looked = at;
        let due = self.now.checked_add(passed).unwrap_or(wall);
        self.now = due.min(wall);
        let lead = wall.duration_since(self.now).unwrap_or_default();
        if lead <= SLACK {
            self.waiting = None;
            return None;
        }
        let Some(waiting) = &mut self.waiting else {
            self.waiting = Some(Lead {
                since: at,
                by: lead,
            });
            return Some(lead);
        };
        waiting.by = waiting.by.min(lead);
        if at.saturating_duration_since(waiting.since) >= BELIEVED_AFTER {
            self.now += waiting.by;
            self.waiting = None;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    const HOUR: Duration = Duration::from_hours(1);
    const YEARS: Duration = Duration::from_hours(10 * 365 * 24);
    /// What the wall clock shows at first.
    const FIRST: Duration = Duration::from_hours(500_000);

    struct Clocks {
        start: Instant,
        clock: SweepClock,
    }

    impl Clocks {
        fn new() -> Self {
            let start = Instant::now();
            Self {
                start,
                clock: SweepClock::new(start, UNIX_EPOCH + FIRST),
            }
        }

        /// Looks so long after the start. The clock's time, and whether it begins to wait.
        fn look(&mut self, elapsed: Duration, wall: Duration) -> (Duration, bool) {
            let begins = self.clock.look(self.start + elapsed, UNIX_EPOCH + wall);
            let now = self.clock.now().duration_since(UNIX_EPOCH).unwrap();
            (now, begins.is_some())
        }
    }

    #[test]
    fn a_clock_that_runs_ahead_is_believed_once_it_has_done_so_for_a_day() {
        let mut clocks = Clocks::new();
        assert_eq!(clocks.look(HOUR, FIRST + HOUR), (FIRST + HOUR, false));
        for hour in 2..26 {
            let elapsed = HOUR * hour;
            let looked = clocks.look(elapsed, FIRST + YEARS + elapsed);
            assert_eq!(looked, (FIRST + elapsed, hour == 2), "{hour}");
        }
        for hour in 26..60 {
            let right = FIRST + YEARS + HOUR * hour;
            assert_eq!(clocks.look(HOUR * hour, right), (right, false), "{hour}");
        }
    }

    #[test]
    fn a_jump_that_is_undone_within_a_day_changes_nothing() {
        let mut clocks = Clocks::new();
        assert_eq!(clocks.look(HOUR, FIRST + YEARS), (FIRST + HOUR, true));
        for hours in [24, 25] {
            let right = FIRST + HOUR * hours;
            assert_eq!(clocks.look(HOUR * hours, right), (right, false));
        }
        // The day of the next one begins anew.
        for (hours, begins) in [(26, true), (49, false)] {
            let looked = clocks.look(HOUR * hours, FIRST + YEARS);
            assert_eq!(looked, (FIRST + HOUR * hours, begins));
        }
    }

    #[test]
    fn only_what_has_lasted_a_day_is_believed() {
        let mut clocks = Clocks::new();
        let ahead = |hours: u32, lead: Duration| (HOUR * hours, FIRST + HOUR * hours + lead);
        let mut look = |(elapsed, wall)| clocks.look(elapsed, wall);
        assert_eq!(look(ahead(1, HOUR * 3)), (FIRST + HOUR, true));
        assert_eq!(look(ahead(24, YEARS)), (FIRST + HOUR * 24, false));
        // Three hours of it have; the rest waits for a day of its own.
        assert_eq!(look(ahead(25, YEARS)), (FIRST + HOUR * 28, false));
        assert_eq!(look(ahead(26, YEARS)), (FIRST + HOUR * 29, true));
        assert_eq!(look(ahead(49, YEARS)), (FIRST + HOUR * 52, false));
        assert_eq!(look(ahead(50, YEARS)), (FIRST + HOUR * 50 + YEARS, false));
    }

    #[test]
    fn a_clock_that_goes_back_is_followed_at_once() {
        let mut clocks = Clocks::new();
        for (hours, wall) in [(1, FIRST - YEARS), (2, FIRST - YEARS + HOUR), (3, HOUR)] {
            assert_eq!(clocks.look(HOUR * hours, wall), (wall, false));
        }
        // Right again, it has jumped ahead.
        assert_eq!(clocks.look(HOUR * 4, FIRST), (HOUR * 2, true));
    }

    #[test]
    fn reading_one_clock_after_the_other_is_no_jump() {
        let mut clocks = Clocks::new();
        for second in 1..100 {
            let late = Duration::from_secs(second % 3);
            let elapsed = Duration::from_secs(second * 60);
            let (now, begins) = clocks.look(elapsed, FIRST + elapsed - late);
            assert!(!begins && now <= FIRST + elapsed - late);
            assert!(FIRST + elapsed - now <= SLACK);
        }
    }
}
