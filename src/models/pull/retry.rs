use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use super::PullOptions;
use super::error::SourceError;

/// A server may ask for patience, but not for an afternoon.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Decides whether a failed source is asked again, and when.
pub(super) struct Retry {
    allowed: u32,
    done: u32,
    first_wait: Duration,
    /// Another source may do better than one that cannot be reached.
    last_source: bool,
}

impl Retry {
    pub(super) fn new(options: &PullOptions, last_source: bool) -> Retry {
        Retry {
            allowed: options.retries,
            done: 0,
            first_wait: options.backoff,
            last_source,
        }
    }

    /// The wait before the next try, or none if there should be no next one.
    pub(super) fn after(&mut self, error: &SourceError) -> Option<Duration> {
        let (allowed, asked_wait) = match error {
            SourceError::Unreachable { .. } if self.last_source => (self.allowed, None),
            SourceError::Unreachable { .. } => (self.allowed.min(1), None),
            SourceError::Broken { .. } => (self.allowed, None),
            SourceError::Status {
                status: 429 | 500..=599,
                retry_after,
                ..
            } => (self.allowed, *retry_after),
            _ => return None,
        };
        if self.done >= allowed {
            return None;
        }
        let doubled = self.first_wait.saturating_mul(1 << self.done.min(16));
        self.done += 1;
        Some(asked_wait.unwrap_or(jittered(doubled)).min(LONGEST_WAIT))
    }

    /// The source brought something new: patience starts afresh.
    pub(super) fn progressed(&mut self) {
        self.done = 0;
    }
}

/// From half the wait to all of it, so that many machines do not come at once.
fn jittered(wait: Duration) -> Duration {
    // The standard library's only source of chance, and good enough for this.
    let chance = RandomState::new().build_hasher().finish() % 1000;
    wait.mul_f64(0.5 + chance as f64 / 2000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry(last_source: bool) -> Retry {
        Retry::new(
            &PullOptions {
                retries: 3,
                ..PullOptions::default()
            },
            last_source,
        )
    }

    fn unreachable() -> SourceError {
        SourceError::Unreachable {
            url: "u".into(),
            why: "down".into(),
        }
    }

    fn status(status: u16, retry_after: Option<u64>) -> SourceError {
        let retry_after = retry_after.map(Duration::from_secs);
        SourceError::Status {
            url: "u".into(),
            status,
            retry_after,
        }
    }

    #[test]
    fn waits_double_and_end() {
        let mut retry = retry(true);
        for longest in [1, 2, 4] {
            let longest = Duration::from_secs(longest);
            let wait = retry.after(&status(503, None)).unwrap();
            assert!(wait >= longest / 2 && wait <= longest, "{wait:?}");
        }
        assert_eq!(retry.after(&status(503, None)), None);
    }

    #[test]
    fn a_source_out_of_reach_gets_one_more_try_while_another_is_left() {
        let mut retry = retry(false);
        assert!(retry.after(&unreachable()).is_some());
        assert!(retry.after(&unreachable()).is_none());
    }

    #[test]
    fn the_servers_own_wait_is_kept_but_capped() {
        assert_eq!(
            retry(true).after(&status(429, Some(7))),
            Some(Duration::from_secs(7))
        );
        assert_eq!(
            retry(true).after(&status(429, Some(86_400))),
            Some(LONGEST_WAIT)
        );
    }

    #[test]
    fn a_clear_no_is_not_asked_again() {
        for code in [401, 403, 404] {
            assert_eq!(retry(true).after(&status(code, None)), None);
        }
    }

    #[test]
    fn progress_renews_patience() {
        let mut retry = retry(true);
        while retry.after(&unreachable()).is_some() {}
        retry.progressed();
        assert!(retry.after(&unreachable()).is_some());
    }
}
