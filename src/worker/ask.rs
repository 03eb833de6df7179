//! Asking the daemon about one draft, with patience.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Limits;
use crate::client::{Client, ClientError, Question, Remedy};
use crate::verdict::{Decision, RationaleMode};

/// What came of it.
pub(super) enum Asked {
    Decided(Box<Decision>),
    /// The draft is refused for what it is.
    Refused(ClientError),
    /// Another time it may succeed.
    Failed(ClientError),
    /// The daemon is away or full, or is not at this address; another worker may have the draft after
    /// the delay.
    Away(Option<Duration>),
}

pub(super) struct Asker {
    client: Client,
    timeout: Duration,
    patience: Duration,
    rationale: RationaleMode,
    /// Held by the one draft that waits for an absent daemon without an end, so that an outage
    /// costs each draft one delivery at most.
    watch: Arc<Semaphore>,
    /// What is asked about now.
    asking: TaskTracker,
    stop: CancellationToken,
}

/// The daemon is there, and has no time for a draft within its deadline.
const OUT_OF_REACH: &str = "DEADLINE_OUT_OF_REACH";

/// The request id stands for the decision on another content.
const REUSED: &str = "REQUEST_ID_REUSED";

const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

impl Asker {
    pub(super) fn new(client: Client, limits: &Limits, stop: CancellationToken) -> Self {
        Self {
            client,
            timeout: limits.timeout,
            patience: limits.patience,
            rationale: limits.rationale,
            watch: Arc::new(Semaphore::new(1)),
            asking: TaskTracker::new(),
            stop,
        }
    }

    /// Returns at once, unless a draft watches for the daemon's return.
    pub(super) async fn until_present(&self) {
        drop(self.watch.acquire().await);
    }

    /// Whether a draft watches for the daemon's return.
    pub(super) fn waits(&self) -> bool {
        self.watch.available_permits() == 0
    }

    pub(super) async fn ask(&self, question: Question) -> Asked {
        let mut question = Question {
            rationale: self.rationale,
            timeout: Some(self.timeout),
            ..question
        };
        let _asking = self.asking.token();
        let started = Instant::now();
        let mut wait = FIRST_WAIT;
        let mut watching = None;
        let mut late: Option<Instant> = None;
        let mut other_asked = false;
        loop {
            let error = match self.client.clone().judge(question.clone()).await {
                Ok(decision) => {
                    if watching.is_some() {
                        tracing::info!("the daemon answers again");
                    }
                    return Asked::Decided(Box::new(decision));
                }
                Err(error) => error,
            };
            // `--no-rationale` is part of the content: before it was changed, this very draft may have
            // got a decision, which stands.
            if !other_asked && error.reason().as_deref() == Some(REUSED) {
                other_asked = true;
                question.rationale = other(question.rationale);
                continue;
            }
            match error.remedy() {
                Remedy::Mend => return Asked::Refused(error),
                Remedy::Retry => return Asked::Failed(error),
                Remedy::Wait => {}
            }
            // This worker has nothing else at the daemon, and what others had there at the first refusal
            // is done by now: it is the draft that is too long for the deadline.
            late = match error.reason().as_deref() {
                Some(OUT_OF_REACH) => Some(late.unwrap_or_else(Instant::now)),
                _ => None,
            };
            let too_long = late.is_some_and(|since| since.elapsed() > self.patience + self.timeout);
            if too_long && watching.is_some() && self.asking.len() == 1 {
                return Asked::Failed(error);
            }
            let asked_for = error.retry_delay().unwrap_or_default();
            let delay = asked_for.max(wait).min(LONGEST_WAIT);
            if watching.is_none() && started.elapsed() + delay > self.patience {
                match self.watch.try_acquire() {
                    Ok(permit) => watching = Some(permit),
                    Err(_) => return Asked::Away(Some(delay)),
                }
                tracing::warn!(%error, "the daemon is away or full: nothing is pulled until it answers");
            }
            tokio::select! {
                () = self.stop.cancelled() => return Asked::Away(None),
                () = tokio::time::sleep(delay) => {}
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }
}

/// What `--no-rationale` makes of the one, or of the other.
fn other(rationale: RationaleMode) -> RationaleMode {
    match rationale {
        RationaleMode::None => RationaleMode::Sentence,
        RationaleMode::Sentence | RationaleMode::Evidence => RationaleMode::None,
    }
}
