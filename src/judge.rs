//! One request's way to its decision: idempotency, hard rules, prompt, engine,
//! the rules again where no model can serve, and the decision log.

mod ask;
mod authority;
mod oversight;
mod policy;
mod recent;
mod spot_check;
mod verdict;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::decision_log::{DecisionLog, LogError, Origin, Record, ShadowAnswer, Subject};
use crate::engine::job::{Event, Scored};
use crate::engine::scheduler::Caller;
use crate::engine::{Engine, Ready};
use crate::kill_switch;
use crate::models::Bundle;
use crate::prompt::PromptTooLong;
use crate::rules::RuleVerdict;
use crate::verdict::{
    Case, DecidedBy, Decision, Disposition, Label, Mode, ModelRevision, RationaleMode, Timings,
    Usage,
};

use self::ask::LEGAL_MASS_FLOOR;
pub use self::authority::{Authority, AuthorityError, Standing};
pub use self::policy::{Dispositions, Policy};
pub use self::recent::ContentHash;
use self::recent::{Claim, Recent};
pub use self::spot_check::{Checked, Schedule, SpotCheckError};
pub use self::verdict::Verdict;

/// One validated request.
#[derive(Clone, Debug)]
pub struct Request {
    /// Empty: no idempotency.
    pub id: String,
    pub content: ContentHash,
    pub case: Case,
    /// Of the context and the draft, as they came.
    pub bytes: usize,
    pub rationale: RationaleMode,
    pub caller: Caller,
    /// The name of the token that it came with.
    pub caller_name: Option<Arc<str>>,
    pub arrived: Instant,
    /// When the caller stops waiting, if it said so.
    pub deadline: Option<Instant>,
}

/// Decides requests. Shared by all connections.
pub struct Judge {
    engine: Engine,
    log: DecisionLog,
    authority: Authority,
    policy: Policy,
    revision: ModelRevision,
    recent: Recent,
    /// Requests under way.
    open: TaskTracker,
    started: SystemTime,
    /// Held while a spot check runs.
    checking: tokio::sync::Mutex<()>,
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

#[derive(Clone, Debug, thiserror::Error)]
pub enum JudgeError {
    #[error("the daemon is draining")]
    Draining,
    #[error("the queue is full")]
    QueueFull,
    #[error("the deadline passed before the answer was there")]
    DeadlineExceeded,
    #[error(
        "the deadline cannot be met: with what is read before it the label would take about {0:.1?} more"
    )]
    DeadlineOutOfReach(Duration),
    #[error(transparent)]
    PromptTooLong(#[from] PromptTooLong),
    #[error("request id `{0}` was used for another content")]
    RequestIdReused(String),
    #[error("the decision cannot be recorded, so no verdict leaves: {0}")]
    NotRecorded(LogError),
}

impl Judge {
    pub fn new(
        engine: Engine,
        log: DecisionLog,
        authority: Authority,
        policy: Policy,
        bundle: &Bundle,
    ) -> Self {
        Self {
            recent: Recent::new(policy.recent_limit, policy.request_window),
            engine,
            log,
            authority,
            policy,
            revision: revision_of(bundle),
            open: TaskTracker::new(),
            started: SystemTime::now(),
            checking: tokio::sync::Mutex::default(),
            draining: CancellationToken::new(),
            counts: Counts::default(),
        }
    }

    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    pub fn log(&self) -> &DecisionLog {
        &self.log
    }

    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// How the adapter is put on the weights is known once they are loaded.
    pub fn revision(&self) -> ModelRevision {
        let state = self.engine.state();
        let merged = |ready: &Arc<Ready>| ready.description.adapter_merged;
        ModelRevision {
            adapter_merged: state.ready().is_some_and(merged),
            ..self.revision.clone()
        }
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
        let standing = self.authority.standing();
        match standing.mode {
            Mode::RulesOnly => standing.reason,
            Mode::Enforce | Mode::Shadow => self.engine.state().trouble().or(standing.reason),
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

    /// Carries something to its end, though whoever asked for it may leave; a
    /// drain waits for it. `None` if it panics.
    async fn carry<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        self.open.spawn(work).await.ok()
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
            return Ok(Verdict::new(self, decision, deadline, open));
        }
        let (decision, rest) = self.judge(&request, deadline).await?;
        let mut verdict = Verdict::new(self, decision, deadline, open);
        verdict.claim = claim;
        verdict.unrecorded = Some(request);
        verdict.rest = rest;
        if verdict.rest.is_none() {
            verdict.publish().await?;
        }
        Ok(verdict)
    }

    /// The right to decide for the request's id; with it what was decided before, if it was.
    async fn claim(
        &self,
        request: &Request,
        deadline: Instant,
    ) -> Result<Option<Claim>, JudgeError> {
        if request.id.is_empty() {
            return Ok(None);
        }
        let reused = || JudgeError::RequestIdReused(request.id.clone());
        let claim = self.recent.claim(&request.id, request.content);
        let mut claim = within(deadline, claim).await?.ok_or_else(reused)?;
        if claim.decision().is_none()
            && let Some(decision) = self.recorded(request, deadline).await?
        {
            claim.recall(decision);
        }
        Ok(Some(claim))
    }

    /// What the log has for the request's id, which may stand for no other content.
    async fn recorded(
        &self,
        request: &Request,
        deadline: Instant,
    ) -> Result<Option<Decision>, JudgeError> {
        let since = SystemTime::now() - self.policy.request_window;
        let recorded = within(deadline, self.log.find_request(&request.id, since)).await?;
        let Some(recorded) = recorded.map_err(JudgeError::NotRecorded)? else {
            return Ok(None);
        };
        if recorded.content_hash != request.content {
            return Err(JudgeError::RequestIdReused(request.id.clone()));
        }
        let mut decision = recorded.decision;
        if recorded.rationale_pending && decision.degraded_reason.is_none() {
            let reason = "no rationale: the try that asked for it was cut off";
            decision.degraded_reason = Some(reason.to_owned());
        }
        Ok(Some(decision))
    }

    async fn judge(
        &self,
        request: &Request,
        deadline: Instant,
    ) -> Result<(Decision, Option<mpsc::Receiver<Event>>), JudgeError> {
        if self.authority.standing().mode != Mode::Enforce {
            return Ok((self.revert(request, None), None));
        }
        let hard = self
            .policy
            .rulebook
            .judge_by(&self.policy.hard_rules, &request.case);
        if !hard.fired.is_empty() {
            return Ok((self.by_rules(request, hard, None), None));
        }
        Ok(match self.ask_model(request, deadline).await? {
            Ok((scored, events)) => {
                let rest = (request.rationale != RationaleMode::None).then_some(events);
                (self.by_model(request, &scored), rest)
            }
            Err(reason) => (self.revert(request, Some(reason)), None),
        })
    }

    /// To the rules alone, as they stand now.
    fn revert(&self, request: &Request, reason: Option<String>) -> Decision {
        let before = self.authority.standing().reason;
        let verdict = self.policy.rulebook.judge(&request.case);
        // The rules take a while: it may have tripped, or been re-armed.
        let reason = self.authority.standing().reason.or(before).or(reason);
        self.by_rules(request, verdict, reason)
    }

    fn by_model(&self, request: &Request, scored: &Scored) -> Decision {
        let label = scored.scores.best();
        let mass = scored.scores.legal_mass;
        let (disposition, reason) = match self.policy.dispositions.of(label) {
            Disposition::Dispatch if mass < LEGAL_MASS_FLOOR => {
                let share = mass * 100.0;
                let reason = format!(
                    "the model hardly meant it: the labels hold {share:.1} % of its probability"
                );
                (Disposition::HoldForReview, Some(reason))
            }
            disposition => (disposition, None),
        };
        Decision {
            degraded_reason: reason,
            scores: Some(scored.scores),
            model: Some(self.revision()),
            usage: scored.usage,
            timings: Timings {
                total: request.arrived.elapsed(),
                ..scored.timings
            },
            ..self.decision(label, DecidedBy::Model, disposition)
        }
    }

    fn by_rules(
        &self,
        request: &Request,
        verdict: RuleVerdict,
        reason: Option<String>,
    ) -> Decision {
        let disposition = match verdict.label {
            Label::Pass => self.policy.rules_pass,
            label => self.policy.dispositions.of(label),
        };
        let rationale = match request.rationale {
            RationaleMode::None => String::new(),
            RationaleMode::Sentence | RationaleMode::Evidence => verdict.rationale,
        };
        let fired = verdict.fired.iter().map(|rule| rule.name().to_owned());
        Decision {
            rationale,
            degraded_reason: reason,
            rules: fired.collect(),
            timings: Timings {
                total: request.arrived.elapsed(),
                ..Timings::default()
            },
            ..self.decision(verdict.label, DecidedBy::Rules, disposition)
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
            mode: self.authority.standing().mode,
            degraded_reason: None,
            rules: Vec::new(),
            model: None,
            usage: Usage::default(),
            timings: Timings::default(),
        }
    }

    /// Records what is about to leave, and tells the kill switch.
    async fn record(
        self: &Arc<Self>,
        request: &Request,
        decision: &Decision,
        origin: Origin,
        rationale_pending: bool,
        deadline: Instant,
    ) -> Result<(), JudgeError> {
        if self.authority.standing().tripped {
            // A crash after this answer must find the trip that it tells of.
            let kept = within(deadline, self.authority.keep()).await?;
            kept.map_err(JudgeError::NotRecorded)?;
        }
        let subject = Subject::of(&request.case, &self.policy.mask);
        let prospect = subject.prospect.clone();
        let record = Record {
            decision: decision.clone(),
            request_id: (!request.id.is_empty()).then(|| request.id.clone()),
            caller: request.caller_name.as_deref().map(str::to_owned),
            content_hash: request.content,
            received: SystemTime::now() - request.arrived.elapsed(),
            origin,
            rationale_pending,
            subject,
        };
        let judge = Arc::clone(self);
        let (id, decided_by) = (decision.decision_id.clone(), decision.decided_by);
        let record = async move {
            judge.log.record(record).await?;
            match (origin, decided_by) {
                (Origin::SpotCheck, _) => {}
                (Origin::Traffic, DecidedBy::Rules) => {
                    judge.counts.by_rules.fetch_add(1, Relaxed);
                }
                (Origin::Traffic, DecidedBy::Model) => {
                    judge.counts.by_model.fetch_add(1, Relaxed);
                    judge.authority.note(kill_switch::Event::Judged {
                        prospect,
                        decision: id,
                    });
                }
            }
            Ok(())
        };
        let recorded = within(deadline, self.carry(record)).await?;
        let recorded = recorded.unwrap_or(Err(LogError::Closed));
        recorded.map_err(JudgeError::NotRecorded)
    }

    /// Asks the model beside the rules, and keeps its answer. Never a reason to
    /// fail: the rules have decided.
    fn shadow(self: &Arc<Self>, request: Request, deadline: Instant, decision: &Decision) {
        let judge = Arc::clone(self);
        let (id, by_rules) = (decision.decision_id.clone(), decision.label);
        self.open.spawn(async move {
            let request = Request {
                rationale: RationaleMode::None,
                ..request
            };
            let scores = match judge.ask_model(&request, deadline).await {
                Ok(Ok((scored, _))) => scored.scores,
                Ok(Err(reason)) => {
                    return tracing::warn!(decision_id = id, reason, "no shadow answer");
                }
                Err(error) => return tracing::warn!(decision_id = id, %error, "no shadow answer"),
            };
            let by_model = scores.best();
            tracing::info!(decision_id = id, %by_rules, %by_model, "shadow");
            let answer = ShadowAnswer {
                label: by_model,
                scores,
                model: judge.revision(),
            };
            if let Err(error) = judge.log.attach_shadow(&id, &answer).await {
                tracing::warn!(decision_id = id, %error, "the shadow answer is not recorded");
            }
        });
    }
}

/// What comes before the deadline.
async fn within<T>(deadline: Instant, future: impl Future<Output = T>) -> Result<T, JudgeError> {
    let timely = tokio::time::timeout_at(deadline.into(), future).await;
    timely.map_err(|_| JudgeError::DeadlineExceeded)
}

fn revision_of(bundle: &Bundle) -> ModelRevision {
    let adapter = bundle.adapter.as_ref();
    ModelRevision {
        bundle: format!("{}@{}", bundle.name, bundle.revision),
        base_sha256: bundle.base.sha256.clone(),
        adapter_sha256: adapter.map(|adapter| adapter.sha256.clone()),
        adapter_scale: adapter.map_or(0.0, |adapter| adapter.scale),
        adapter_merged: false,
        template_sha256: bundle.prompt.template_sha256.clone(),
    }
}
