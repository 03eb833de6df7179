//! Times as the log keeps them: whole microseconds since 1970, UTC.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub fn to_micros(time: SystemTime) -> i64 {
    let micros = |span: Duration| i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => micros(after),
        Err(before) => -micros(before.duration()),
    }
}

pub fn from_micros(micros: i64) -> SystemTime {
    let span = Duration::from_micros(micros.unsigned_abs());
    let time = if micros < 0 {
        UNIX_EPOCH.checked_sub(span)
    } else {
        UNIX_EPOCH.checked_add(span)
    };
    time.unwrap_or(UNIX_EPOCH)
}

/// The time so long before another one.
pub fn before(micros: i64, span: Duration) -> i64 {
    micros.saturating_sub(i64::try_from(span.as_micros()).unwrap_or(i64::MAX))
}
