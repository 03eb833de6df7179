//! Recent decisions by request id: a repeated request gets its decision again,
//! and of concurrent ones only the first does the work.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::verdict::Decision;

/// Tells the contents of two requests apart.
pub type ContentHash = [u8; 32];

pub struct Recent {
    entries: Cache<String, Entry>,
}

type Entry = Arc<Mutex<Option<(ContentHash, Decision)>>>;

impl Recent {
    /// Keeps at most `limit` decisions, each for `time`.
    pub fn new(limit: u64, time: Duration) -> Self {
        let entries = Cache::builder()
            .max_capacity(limit)
            // The default one turns newcomers away from a full cache.
            .eviction_policy(EvictionPolicy::lru())
            .time_to_live(time)
            .build();
        Self { entries }
    }

    /// Takes the id for this content, after whoever has it now is done;
    /// `None` if the id stands for a decision on another content.
    pub async fn claim(&self, id: &str, content: ContentHash) -> Option<Claim> {
        let entry = self.entries.get_with_by_ref(id, Entry::default);
        let decided = entry.lock_owned().await;
        match &*decided {
            Some((other, _)) if *other != content => None,
            _ => Some(Claim {
                content,
                decided,
                recalled: None,
            }),
        }
    }
}

/// The right to decide for a request id. Dropped without a decision, the next
/// one with the same id decides, on whatever content.
pub struct Claim {
    content: ContentHash,
    decided: OwnedMutexGuard<Option<(ContentHash, Decision)>>,
    recalled: Option<Decision>,
}

impl Claim {
    /// What was decided for this id before.
    pub fn decision(&self) -> Option<Decision> {
        let decided = self.decided.as_ref().map(|(_, decision)| decision);
        self.recalled.as_ref().or(decided).cloned()
    }

    /// Takes what the log had for this id. It is not kept here, where its time would begin anew:
    /// the next one asks the log again.
    pub fn recall(&mut self, decision: Decision) {
        self.recalled = Some(decision);
    }

    pub fn set(&mut self, decision: &Decision) {
        *self.decided = Some((self.content, decision.clone()));
    }
}
