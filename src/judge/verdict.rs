//! A label that is certain, and its rationale to come.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::recent::Claim;
use super::{Judge, JudgeError};
use crate::engine::worker::{Answered, Event, JobError};
use crate::verdict::Decision;

/// A decided label, whose rationale may still be on its way.
pub struct Verdict {
    /// Final but for the rationale, the usage and the timings.
    pub decision: Decision,
    pub(super) rest: Option<Rest>,
    pub(super) claim: Option<Claim>,
    /// Keeps a drain waiting.
    pub(super) open: Option<TaskTrackerToken>,
}

/// What it takes to get the rationale.
pub(super) struct Rest {
    pub(super) judge: Arc<Judge>,
    pub(super) events: mpsc::Receiver<Event>,
    pub(super) deadline: Instant,
    pub(super) arrived: Instant,
}

impl Verdict {
    /// A recorded decision, given again.
    pub(super) fn complete(decision: Decision, open: TaskTrackerToken) -> Self {
        Self {
            decision,
            rest: None,
            claim: None,
            open: Some(open),
        }
    }

    /// Waits for the rationale. If the engine breaks meanwhile, the rules are
    /// not asked: the label was certain, and stands without a sentence.
    pub async fn finish(mut self) -> Result<Decision, JudgeError> {
        if let Some(mut rest) = self.rest.take() {
            let judge = Arc::clone(&rest.judge);
            let event = judge.next_event(&mut rest.events, rest.deadline).await;
            let refused = |error| {
                judge.count_refused();
                error
            };
            match event.map_err(refused)? {
                Some(Event::Answered(Answered {
                    rationale,
                    usage,
                    timings,
                })) => {
                    self.decision.rationale = rationale;
                    self.decision.usage = usage;
                    self.decision.timings = timings;
                }
                Some(Event::Failed(JobError::DeadlineExceeded)) => {
                    return Err(refused(JudgeError::DeadlineExceeded));
                }
                Some(Event::Failed(error)) => {
                    self.decision.degraded_reason = Some(format!("no rationale: {error}"));
                }
                Some(Event::Scored(_)) | None => {
                    let reason = judge.engine_trouble();
                    self.decision.degraded_reason = Some(format!("no rationale: {reason}"));
                }
            }
            self.decision.timings.total = rest.arrived.elapsed();
            self.record();
        }
        Ok(self.decision)
    }

    pub(super) fn record(&mut self) {
        if let Some(claim) = self.claim.take() {
            claim.record(&self.decision);
        }
    }
}
