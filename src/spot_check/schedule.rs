//! Once a week.

use crate::kill_switch::UnixMicros;

const HOUR: UnixMicros = 60 * 60 * 1_000_000;
const DAY: UnixMicros = 24 * HOUR;
const WEEK: UnixMicros = 7 * DAY;

/// How long after it was due a spot check counts as missed.
const GRACE: UnixMicros = 24 * HOUR;

/// Weeks begin on Monday, UTC; they are counted from the one of 1 January 1970.
pub fn week_of(at: UnixMicros) -> i64 {
    // That day was a Thursday.
    (at.div_euclid(DAY) + 3).div_euclid(7)
}

/// A week after the last one. Without any, when the daemon first could have run one: `since`.
pub fn next_due(last: Option<UnixMicros>, since: UnixMicros, now: UnixMicros) -> UnixMicros {
    match last {
        // A clock that was wrong once must not put the next one off.
        Some(last) if last > now => now,
        Some(last) => last.saturating_add(WEEK),
        None => since.min(now),
    }
}

pub fn is_missed(last: Option<UnixMicros>, since: UnixMicros, now: UnixMicros) -> bool {
    now > next_due(last, since, now).saturating_add(GRACE)
}
