//! A label that is certain, and its rationale to come.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::recent::Claim;
use super::{Judge, JudgeError, Request, within};
use crate::decision_log::{Completion, LogError, Origin};
use crate::engine::job::{Answered, Event, JobError};
use crate::stages::Stages;
use crate::verdict::{DecidedBy, Decision, Disposition, Mode};

/// A decided label, whose rationale may still be on its way. It may leave once
/// it is published or finished.
pub struct Verdict {
    /// Final but for the rationale, the usage and the timings.
    pub decision: Decision,
    judge: Arc<Judge>,
    deadline: Instant,
    /// Keeps a drain waiting.
    _open: TaskTrackerToken,
    pub(super) claim: Option<Claim>,
    /// What the log does not hold yet.
    pub(super) unrecorded: Option<Request>,
    /// Where the rationale comes from.
    pub(super) rest: Option<mpsc::Receiver<Event>>,
    /// When the request came, where the log waits for the rationale.
    incomplete: Option<Instant>,
}

impl Verdict {
    pub(super) fn new(
        judge: &Arc<Judge>,
        decision: Decision,
        deadline: Instant,
        open: TaskTrackerToken,
    ) -> Self {
        Self {
            decision,
            judge: Arc::clone(judge),
            deadline,
            _open: open,
            claim: None,
            unrecorded: None,
            rest: None,
            incomplete: None,
        }
    }

    /// Records the decision as it is: it may leave then, before its rationale. Where an earlier
    /// try has been recorded meanwhile, its decision is the one that leaves.
    pub async fn publish(&mut self) -> Result<(), JudgeError> {
        let Some(request) = self.unrecorded.take() else {
            return Ok(());
        };
        let judge = Arc::clone(&self.judge);
        // Decided by a model that may not decide any more, or might not when its label came.
        let (then, now) = (self.decision.mode, judge.authority().standing().mode);
        if self.decision.decided_by == DecidedBy::Model
            && (then != Mode::Enforce || now != Mode::Enforce)
        {
            let hidden = now == Mode::Enforce;
            let reason = hidden.then(|| format!("the mode was {then} when the model's label came"));
            self.decision = judge.revert(&request, reason);
            self.rest = None;
        }
        let pending = self.rest.is_some();
        let started = Instant::now();
        let recorded = judge.record(
            &request,
            &self.decision,
            Origin::Traffic,
            pending,
            self.deadline,
        );
        let recorded = recorded.await;
        // The caller of an earlier try left, and its record went on.
        if let Err(JudgeError::NotRecorded(LogError::RequestIdTaken(_))) = &recorded
            && let Some(earlier) = judge.recorded(&request, self.deadline).await?
        {
            self.decision = earlier;
            self.rest = None;
            self.claim = None;
            return Ok(());
        }
        recorded?;
        Stages::logged(started);
        if pending {
            self.incomplete = Some(request.arrived);
        } else {
            self.settle();
        }
        if self.decision.mode == Mode::Shadow {
            judge.shadow(request, self.deadline, &self.decision);
        }
        Ok(())
    }

    /// Waits for the rationale, and records what is not recorded yet. If the
    /// engine breaks meanwhile, the rules are not asked: the label was certain,
    /// and stands without a sentence.
    pub async fn finish(mut self) -> Result<Decision, JudgeError> {
        let finished = self.complete().await;
        if let Err(error) = finished {
            self.judge.count_refused();
            return Err(error);
        }
        Ok(self.decision)
    }

    async fn complete(&mut self) -> Result<(), JudgeError> {
        let arrived = self
            .incomplete
            .or(self.unrecorded.as_ref().map(|request| request.arrived));
        if let Some(mut events) = self.rest.take() {
            let event = self.judge.next_event(&mut events, self.deadline).await?;
            self.judge
                .note_call(event.as_ref(), self.decision.scores.as_ref());
            self.add_rationale(event)?;
            if let Some(arrived) = arrived {
                self.decision.timings.total = arrived.elapsed();
            }
        }
        self.publish().await?;
        if self.incomplete.take().is_some() {
            let completion = Completion::of(&self.decision);
            let log = self.judge.log();
            let completed = log.complete(&self.decision.decision_id, completion);
            let completed = within(self.deadline, completed).await?;
            completed.map_err(JudgeError::NotRecorded)?;
            self.settle();
        }
        Ok(())
    }

    fn add_rationale(&mut self, event: Option<Event>) -> Result<(), JudgeError> {
        let trouble = match event {
            Some(Event::Answered(Answered {
                rationale,
                usage,
                timings,
            })) => {
                self.decision.rationale = rationale;
                self.decision.usage = usage;
                self.decision.timings = timings;
                return Ok(());
            }
            Some(Event::Failed(JobError::DeadlineExceeded)) => {
                return Err(JudgeError::DeadlineExceeded);
            }
            Some(Event::Failed(error)) => error.to_string(),
            Some(Event::Scored(_)) | None => self.judge.engine_trouble(),
        };
        let reasons = self.decision.degraded_reason.take().into_iter();
        let reasons = reasons.chain([format!("no rationale: {trouble}")]);
        self.decision.degraded_reason = Some(reasons.collect::<Vec<_>>().join("; "));
        // Nothing goes out on an answer that broke off, unless it has left already.
        if self.unrecorded.is_some() && self.decision.disposition == Disposition::Dispatch {
            self.decision.disposition = Disposition::HoldForReview;
        }
        Ok(())
    }

    /// Who asks with the same id gets this decision from now on.
    fn settle(&mut self) {
        if let Some(mut claim) = self.claim.take() {
            claim.set(&self.decision);
        }
    }
}
