//! What a supervisor remembers of the daemons before this one.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::cause::Cause;

/// Crashes since the supervisor's start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    counts: BTreeMap<Cause, u64>,
    pub last: Option<Last>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Last {
    pub time: SystemTime,
    /// For a person.
    pub reason: String,
}

impl History {
    pub(super) fn note(&mut self, cause: Cause, reason: &str, time: SystemTime) {
        *self.counts.entry(cause).or_default() += 1;
        let reason = reason.to_owned();
        self.last = Some(Last { time, reason });
    }

    pub fn count(&self) -> u64 {
        self.counts.values().sum()
    }

    pub fn of(&self, cause: Cause) -> u64 {
        self.counts.get(&cause).copied().unwrap_or(0)
    }
}
