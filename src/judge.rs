//! One request's way to its decision: idempotency, hard rules, prompt, engine,
//! and the rules again where no model can serve.

mod policy;
mod recent;
mod verdict;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::engine::worker::{Event, JobError, Scored};
use crate::engine::{Engine, State, SubmitError};
use crate::models::Bundle;
use crate::prompt::PromptTooLong;
use crate::rules::{self, RuleVerdict};
use crate::verdict::{
    Case, DecidedBy, Decision, Disposition, Label, Mode, ModelRevision, RationaleMode, Scores,
    Timings, Usage,
};

pub use self::policy::{Dispositions, Policy};
pub use self::recent::ContentHash;
use self::recent::{Claim, Recent};
use self::verdict::Rest;
pub use self::verdict::Verdict;

/// One validated request.
#[derive(Clone, Debug)]
pub struct Request {
    /// Empty: no idempotency.
    pub id: String,
    pub content: ContentHash,
    pub case: Case,
    pub rationale: RationaleMode,
    pub arrived: Instant,
    /// When the caller stops waiting, if it said so.
    pub deadline: Option<Instant>,
}

/// Decides requests. Shared by all connections.
pub struct Judge {
    engine: Engine,
    policy: Policy,
    revision: ModelRevision,
    recent: Recent,
    /// Requests under way.
    open: TaskTracker,
    draining: CancellationToken,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    by_model: AtomicU64,
    by_rules: AtomicU64,
    refused: AtomicU64,
}

/// Decisions since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub by_model: u64,
    pub by_rules: u64,
    pub refused: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JudgeError {
    #[error("the daemon is draining")]
    Draining,
    #[error("the queue is full")]
    QueueFull,
    #[error("the deadline passed before the answer was there")]
    DeadlineExceeded,
    #[error(transparent)]
    PromptTooLong(#[from] PromptTooLong),
    #[error("request id `{0}` was used for another content")]
    RequestIdReused(String),
}

impl Judge {
    pub fn new(engine: Engine, policy: Policy, bundle: &Bundle) -> Self {
        Self {
            recent: Recent::new(policy.recent_limit, policy.recent_time),
            engine,
            policy,
            revision: revision_of(bundle),
            open: TaskTracker::new(),
            draining: CancellationToken::new(),
            counts: Counts::default(),
        }
    }

    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    pub fn revision(&self) -> &ModelRevision {
        &self.revision
    }

    pub fn tally(&self) -> Tally {
        Tally {
            by_model: self.counts.by_model.load(Relaxed),
            by_rules: self.counts.by_rules.load(Relaxed),
            refused: self.counts.refused.load(Relaxed),
        }
    }

    /// Counts a request that was refused before it could be read.
    pub fn count_refused(&self) {
        self.counts.refused.fetch_add(1, Relaxed);
    }

    /// Why the model does not decide although the mode asks for it.
    pub fn trouble(&self) -> Option<String> {
        match self.policy.mode {
            Mode::RulesOnly => None,
            Mode::Enforce | Mode::Shadow => self.engine.state().trouble(),
        }
    }

    /// Accepts nothing new from now on.
    pub fn drain(&self) {
        self.open.close();
        self.draining.cancel();
    }

    pub fn is_draining(&self) -> bool {
        self.open.is_closed()
    }

    /// Until a drain begins.
    pub async fn until_draining(&self) {
        self.draining.cancelled().await;
    }

    /// Requests under way.
    pub fn open_requests(&self) -> usize {
        self.open.len()
    }

    /// Until what was accepted is finished.
    pub async fn drained(&self) {
        self.open.wait().await;
    }

    /// Finds the label. Dropping the future, or the verdict, cancels the work.
    pub async fn decide(self: &Arc<Self>, request: Request) -> Result<Verdict, JudgeError> {
        let outcome = self.try_decide(request).await;
        if outcome.is_err() {
            self.count_refused();
        }
        outcome
    }

    async fn try_decide(self: &Arc<Self>, request: Request) -> Result<Verdict, JudgeError> {
        let open = self.open.token();
        if self.is_draining() {
            return Err(JudgeError::Draining);
        }
        let longest = request.arrived + self.policy.max_deadline;
        let deadline = request.deadline.map_or(longest, |own| own.min(longest));
        let claim = self.claim(&request, deadline).await?;
        if let Some(decision) = claim.as_ref().and_then(Claim::decision) {
            return Ok(Verdict::complete(decision, open));
        }
        let mut verdict = self.judge(request, deadline).await?;
        verdict.open = Some(open);
        verdict.claim = claim;
        if verdict.rest.is_none() {
            verdict.record();
        }
        Ok(verdict)
    }

    async fn claim(
        &self,
        request: &Request,
        deadline: Instant,
    ) -> Result<Option<Claim>, JudgeError> {
        if request.id.is_empty() {
            return Ok(None);
        }
        let claim = self.recent.claim(&request.id, request.content);
        match tokio::time::timeout_at(deadline.into(), claim).await {
            Err(_) => Err(JudgeError::DeadlineExceeded),
            Ok(None) => Err(JudgeError::RequestIdReused(request.id.clone())),
            Ok(claim) => Ok(claim),
        }
    }

    async fn judge(
        self: &Arc<Self>,
        request: Request,
        deadline: Instant,
    ) -> Result<Verdict, JudgeError> {
        let mode = self.policy.mode;
        if mode == Mode::Enforce {
            let hard = rules::judge_by(&self.policy.hard_rules, &request.case);
            if !hard.fired.is_empty() {
                return Ok(self.by_rules(&request, hard, None));
            }
            return match self.ask_model(&request, deadline).await? {
                Ok((scored, events)) => Ok(self.by_model(&request, deadline, &scored, events)),
                Err(reason) => {
                    let verdict = rules::judge(&request.case);
                    Ok(self.by_rules(&request, verdict, Some(reason)))
                }
            };
        }
        let verdict = self.by_rules(&request, rules::judge(&request.case), None);
        if mode == Mode::Shadow {
            self.shadow(request, deadline, &verdict.decision);
        }
        Ok(verdict)
    }

    /// Asks the model for the label; the inner error says why it cannot answer.
    async fn ask_model(
        &self,
        request: &Request,
        deadline: Instant,
    ) -> Result<Result<(Scored, mpsc::Receiver<Event>), String>, JudgeError> {
        let ready = match self.engine.state() {
            State::Ready(ready) => ready,
            other => return Ok(Err(other.trouble().unwrap_or_default())),
        };
        let case = request.case.clone();
        let long = case.draft.len() > INLINE_BYTES;
        let prompt = if long {
            let render = tokio::task::spawn_blocking(move || ready.prompt.render(&case));
            match render.await {
                Ok(prompt) => prompt?,
                Err(panic) => return Ok(Err(format!("the prompt was not rendered: {panic}"))),
            }
        } else {
            ready.prompt.render(&case)?
        };
        let submitted = self
            .engine
            .submit(prompt, request.rationale, request.arrived, deadline);
        let mut events = match submitted {
            Ok(events) => events,
            Err(SubmitError::QueueFull) => return Err(JudgeError::QueueFull),
            Err(SubmitError::Dead) => return Ok(Err(self.engine_trouble())),
        };
        match self.next_event(&mut events, deadline).await? {
            Some(Event::Scored(scored)) => Ok(Ok((scored, events))),
            Some(Event::Failed(JobError::DeadlineExceeded)) => Err(JudgeError::DeadlineExceeded),
            Some(Event::Failed(error)) => Ok(Err(error.to_string())),
            Some(Event::Answered(_)) | None => Ok(Err(self.engine_trouble())),
        }
    }

    /// The job's next event; `None` if the engine cannot give one.
    async fn next_event(
        &self,
        events: &mut mpsc::Receiver<Event>,
        deadline: Instant,
    ) -> Result<Option<Event>, JudgeError> {
        let mut state = self.engine.watch();
        tokio::select! {
            biased;
            event = events.recv() => Ok(event),
            () = tokio::time::sleep_until(deadline.into()) => Err(JudgeError::DeadlineExceeded),
            _ = state.wait_for(|state| !matches!(state, State::Ready(_))) => Ok(None),
        }
    }

    fn engine_trouble(&self) -> String {
        let state = self.engine.state();
        state
            .trouble()
            .unwrap_or_else(|| "the engine failed".to_owned())
    }

    fn by_model(
        self: &Arc<Self>,
        request: &Request,
        deadline: Instant,
        scored: &Scored,
        events: mpsc::Receiver<Event>,
    ) -> Verdict {
        let label = scored.scores.best();
        let timings = Timings {
            total: request.arrived.elapsed(),
            ..scored.timings
        };
        let decision = Decision {
            scores: Some(scored.scores),
            model: Some(self.revision.clone()),
            usage: scored.usage,
            timings,
            ..self.decision(label, DecidedBy::Model, self.policy.dispositions.of(label))
        };
        self.counts.by_model.fetch_add(1, Relaxed);
        let rest = (request.rationale == RationaleMode::Sentence).then(|| Rest {
            judge: Arc::clone(self),
            events,
            deadline,
            arrived: request.arrived,
        });
        Verdict {
            decision,
            rest,
            claim: None,
            open: None,
        }
    }

    fn by_rules(&self, request: &Request, verdict: RuleVerdict, reason: Option<String>) -> Verdict {
        let disposition = match verdict.label {
            Label::Pass => self.policy.rules_pass,
            label => self.policy.dispositions.of(label),
        };
        let rationale = match request.rationale {
            RationaleMode::None => String::new(),
            RationaleMode::Sentence => verdict.rationale,
        };
        let fired = verdict.fired.iter().map(|rule| rule.name().to_owned());
        let decision = Decision {
            rationale,
            degraded_reason: reason,
            rules: fired.collect(),
            timings: Timings {
                total: request.arrived.elapsed(),
                ..Timings::default()
            },
            ..self.decision(verdict.label, DecidedBy::Rules, disposition)
        };
        self.counts.by_rules.fetch_add(1, Relaxed);
        Verdict {
            decision,
            rest: None,
            claim: None,
            open: None,
        }
    }

    fn decision(&self, label: Label, decided_by: DecidedBy, disposition: Disposition) -> Decision {
        Decision {
            decision_id: uuid::Uuid::now_v7().to_string(),
            label,
            rationale: String::new(),
            scores: None,
            disposition,
            decided_by,
            mode: self.policy.mode,
            degraded_reason: None,
            rules: Vec::new(),
            model: None,
            usage: Usage::default(),
            timings: Timings::default(),
        }
    }

    /// Asks the model beside the rules and logs where they part. Never a
    /// reason to fail: the rules have decided.
    fn shadow(self: &Arc<Self>, request: Request, deadline: Instant, decision: &Decision) {
        let judge = Arc::clone(self);
        let (id, by_rules) = (decision.decision_id.clone(), decision.label);
        self.open.spawn(async move {
            let request = Request {
                rationale: RationaleMode::None,
                ..request
            };
            match judge.ask_model(&request, deadline).await {
                Ok(Ok((scored, _))) => {
                    let Scores { legal_mass, .. } = scored.scores;
                    let by_model = scored.scores.best();
                    tracing::info!(
                        decision_id = id,
                        %by_rules,
                        %by_model,
                        legal_mass,
                        agree = by_rules == by_model,
                        "shadow"
                    );
                }
                Ok(Err(reason)) => tracing::warn!(decision_id = id, reason, "no shadow answer"),
                Err(error) => tracing::warn!(decision_id = id, %error, "no shadow answer"),
            }
        });
    }
}

/// Drafts up to this size are tokenized at once, longer ones on a thread of their own.
const INLINE_BYTES: usize = 16 * 1024;

fn revision_of(bundle: &Bundle) -> ModelRevision {
    let adapter = bundle.adapter.as_ref();
    ModelRevision {
        bundle: format!("{}@{}", bundle.name, bundle.revision),
        base_sha256: bundle.base.sha256.clone(),
        adapter_sha256: adapter.map(|adapter| adapter.sha256.clone()),
        adapter_scale: adapter.map_or(0.0, |adapter| adapter.scale),
        template_sha256: bundle.prompt.template_sha256.clone(),
    }
}
