//! What a worker has done, counted.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

#[derive(Debug, Default)]
pub(super) struct Tally {
    judged: AtomicU64,
    published: AtomicU64,
    known: AtomicU64,
    buried: AtomicU64,
    failed: AtomicU64,
    given_back: AtomicU64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Decisions that the daemon gave.
    pub judged: u64,
    /// Verdicts that a stream took.
    pub published: u64,
    /// Verdicts that it had already.
    pub known: u64,
    /// Dead letters.
    pub buried: u64,
    /// Tries that failed, to be tried again.
    pub failed: u64,
    /// Drafts that came and were given back, those that failed included.
    pub given_back: u64,
}

impl Tally {
    pub(super) fn judged(&self) {
        self.judged.fetch_add(1, Relaxed);
    }

    pub(super) fn published(&self) {
        self.published.fetch_add(1, Relaxed);
    }

    pub(super) fn known(&self) {
        self.known.fetch_add(1, Relaxed);
    }

    pub(super) fn buried(&self) {
        self.buried.fetch_add(1, Relaxed);
    }

    pub(super) fn failed(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    pub(super) fn given_back(&self) {
        self.given_back.fetch_add(1, Relaxed);
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            judged: self.judged.load(Relaxed),
            published: self.published.load(Relaxed),
            known: self.known.load(Relaxed),
            buried: self.buried.load(Relaxed),
            failed: self.failed.load(Relaxed),
            given_back: self.given_back.load(Relaxed),
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} judged, {} published, {} known already, {} dead letters, {} failed, {} given back",
            self.judged, self.published, self.known, self.buried, self.failed, self.given_back
        )
    }
}
