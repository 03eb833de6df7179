//! What a worker has done, counted.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use prometheus_client::metrics::histogram::Histogram;

use super::poison::Cause;

#[derive(Debug)]
pub(super) struct Tally {
    delivered: AtomicU64,
    redelivered: AtomicU64,
    judged: AtomicU64,
    known: AtomicU64,
    published: AtomicU64,
    /// From a draft's arrival here to its verdict in the stream.
    pub publish_seconds: Histogram,
    buried: [AtomicU64; Cause::ALL.len()],
    failed: AtomicU64,
    given_back: AtomicU64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages that came.
    pub delivered: u64,
    /// Those of them that had come before, to this worker or another.
    pub redelivered: u64,
    /// Decisions that the daemon gave.
    pub judged: u64,
    /// Verdicts that a stream took.
    pub published: u64,
    /// Verdicts that it had already.
    pub known: u64,
    /// Dead letters, in the order of [`Cause::ALL`].
    pub buried: [u64; Cause::ALL.len()],
    /// Tries that failed, to be tried again.
    pub failed: u64,
    /// Drafts that came and were given back, those that failed included.
    pub given_back: u64,
}

/// Upper bounds in seconds, from a repeated id to a draft that waited for its daemon.
const SECONDS: [f64; 14] = [
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 600.0,
];

impl Default for Tally {
    fn default() -> Self {
        Self {
            delivered: AtomicU64::default(),
            redelivered: AtomicU64::default(),
            judged: AtomicU64::default(),
            known: AtomicU64::default(),
            published: AtomicU64::default(),
            publish_seconds: Histogram::new(SECONDS),
            buried: Default::default(),
            failed: AtomicU64::default(),
            given_back: AtomicU64::default(),
        }
    }
}

impl Tally {
    pub(super) fn delivered(&self, before: bool) {
        self.delivered.fetch_add(1, Relaxed);
        if before {
            self.redelivered.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn judged(&self) {
        self.judged.fetch_add(1, Relaxed);
    }

    pub(super) fn published(&self, after: Duration) {
        self.published.fetch_add(1, Relaxed);
        self.publish_seconds.observe(after.as_secs_f64());
    }

    pub(super) fn known(&self) {
        self.known.fetch_add(1, Relaxed);
    }

    pub(super) fn buried(&self, cause: Cause) {
        self.buried[cause as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn failed(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    pub(super) fn given_back(&self) {
        self.given_back.fetch_add(1, Relaxed);
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            delivered: self.delivered.load(Relaxed),
            redelivered: self.redelivered.load(Relaxed),
            judged: self.judged.load(Relaxed),
            published: self.published.load(Relaxed),
            known: self.known.load(Relaxed),
            buried: Cause::ALL.map(|cause| self.buried[cause as usize].load(Relaxed)),
            failed: self.failed.load(Relaxed),
            given_back: self.given_back.load(Relaxed),
        }
    }
}

impl Counts {
    /// Whatever they died of.
    pub fn dead_letters(&self) -> u64 {
        self.buried.iter().sum()
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} delivered, {} of them again, {} judged, {} published, {} known already, \
             {} dead letters, {} failed, {} given back",
            self.delivered,
            self.redelivered,
            self.judged,
            self.published,
            self.known,
            self.dead_letters(),
            self.failed,
            self.given_back
        )
    }
}
