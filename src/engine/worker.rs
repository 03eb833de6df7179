//! The engine thread's loop: takes jobs, asks the scheduler what comes next,
//! has the backend do it, and reports to the jobs' owners.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::Sender;

use super::meter::Meter;
use super::scheduler::{Arrival, JobId, Limits, Scheduler, Step};
use crate::backend::{Backend, DecodeError, SequenceId, Span, Token};
use crate::grammar::{Answer, Grammar, GrammarError, Progress};
use crate::verdict::{RationaleMode, Scores, Timings, Usage};

/// One prompt to answer.
pub struct Job {
    pub prompt: Vec<Token>,
    pub rationale: RationaleMode,
    pub arrived: Instant,
    pub deadline: Instant,
    /// Closed by its receiver once nobody waits for the answer.
    pub events: Sender<Event>,
    /// The place in the queue, given back when the job gets a slot.
    pub place: Option<OwnedSemaphorePermit>,
}

/// What a job's owner learns, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The label is certain.
    Scored(Scored),
    /// The job is done. Without a rationale it follows at once.
    Answered(Answered),
    /// The job is done and has no (full) answer.
    Failed(JobError),
}

/// Events of one job: the sender never waits.
pub const EVENTS_PER_JOB: usize = 2;

#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    pub scores: Scores,
    pub usage: Usage,
    pub timings: Timings,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    pub rationale: String,
    pub usage: Usage,
    pub timings: Timings,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    #[error("the deadline passed")]
    DeadlineExceeded,
    #[error("the answer could not be completed: {0}")]
    Malformed(GrammarError),
    #[error("the engine failed: {0}")]
    Decode(DecodeError),
    #[error("the kill switch has taken the adapter off")]
    AdapterOff,
}

/// How long an idle loop sleeps between two heartbeats.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// The sequence of the prompt's shared part.
const SHARED: SequenceId = SequenceId(0);

/// Why the loop ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// All handles are gone.
    Closed,
    /// The backend does not work any more.
    Broken(DecodeError),
}

pub struct Worker<'a> {
    backend: &'a mut dyn Backend,
    grammar: &'a Grammar,
    /// The tokens with which every prompt begins.
    shared: Vec<Token>,
    meter: Arc<Meter>,
    scheduler: Scheduler,
    epoch: Instant,
    jobs: HashMap<JobId, Active<'a>>,
    /// The job in each slot.
    slots: Vec<Option<JobId>>,
    next_id: JobId,
    /// Whether it is on.
    adapter: bool,
}

struct Active<'a> {
    job: Job,
    answer: Option<Answer<'a>>,
    /// Tokens of its sequence in the KV cache.
    length: usize,
    cached: usize,
    admitted: Option<Instant>,
    scored: Option<Instant>,
}

impl<'a> Worker<'a> {
    pub fn new(
        backend: &'a mut dyn Backend,
        grammar: &'a Grammar,
        shared: Vec<Token>,
        limits: Limits,
        meter: Arc<Meter>,
    ) -> Self {
        Self {
            backend,
            grammar,
            shared,
            meter,
            scheduler: Scheduler::new(limits),
            epoch: Instant::now(),
            jobs: HashMap::new(),
            slots: vec![None; limits.slots],
            next_id: 0,
            adapter: true,
        }
    }

    /// Computes the shared part and proves, by a real decode, that the
    /// backend works. A worker without it must not run.
    pub fn warm_up(&mut self) -> Result<(), DecodeError> {
        self.backend.clear();
        self.decode_shared()?;
        let probe = SequenceId(1);
        let token = self.grammar.probe_token();
        self.backend.share(SHARED, probe, self.shared.len())?;
        let span = Span {
            sequence: probe,
            start: self.shared.len(),
            tokens: &[token],
            logits: true,
        };
        self.backend.decode(&[span])?;
        let finite = self
            .backend
            .logits(0)
            .is_some_and(|row| row.iter().all(|logit| logit.is_finite()));
        self.backend.release(probe)?;
        if !finite {
            let reason = "the warm-up's logits are not finite".to_owned();
            return Err(DecodeError::Runtime(reason));
        }
        Ok(())
    }

    /// Serves until every handle is gone or the backend breaks. Follows the wish
    /// for the adapter, and tells when it has.
    pub fn run(
        &mut self,
        jobs: &Receiver<Job>,
        adapter: &AtomicBool,
        followed: &dyn Fn(bool),
    ) -> End {
        loop {
            self.meter.beat();
            if let Err(error) = self.heed(adapter.load(Relaxed), followed) {
                return End::Broken(error);
            }
            self.meter.set_running(self.scheduler.running());
            if self.scheduler.is_idle() {
                match jobs.recv_timeout(HEARTBEAT) {
                    Ok(job) => self.accept(job),
                    Err(RecvTimeoutError::Timeout) => continue,
                    Err(RecvTimeoutError::Disconnected) => return End::Closed,
                }
            }
            loop {
                match jobs.try_recv() {
                    Ok(job) => self.accept(job),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) if self.scheduler.is_idle() => {
                        return End::Closed;
                    }
                    // What was accepted is finished.
                    Err(TryRecvError::Disconnected) => break,
                }
            }
            if let Err(error) = self.heed(adapter.load(Relaxed), followed) {
                return End::Broken(error);
            }
            if let Err(error) = self.step()
                && let Err(error) = self.recover(error)
            {
                return End::Broken(error);
            }
        }
    }

    fn accept(&mut self, job: Job) {
        let id = self.next_id;
        self.next_id += 1;
        let common = job.prompt.iter().zip(&self.shared);
        let common = common.take_while(|(a, b)| a == b).count();
        // The last token is evaluated in any case: the label comes from its logits.
        let cached = common.min(job.prompt.len().saturating_sub(1));
        self.scheduler.submit(Arrival {
            id,
            deadline: job.deadline.saturating_duration_since(self.epoch),
            cached,
            prompt: job.prompt.len(),
        });
        let active = Active {
            job,
            answer: None,
            length: cached,
            cached,
            admitted: None,
            scored: None,
        };
        self.jobs.insert(id, active);
    }

    /// Drops what nobody waits for, then does one step.
    fn step(&mut self) -> Result<(), DecodeError> {
        for ended in self.scheduler.expire(self.epoch.elapsed()) {
            self.close(ended.id, Some(Event::Failed(JobError::DeadlineExceeded)));
            self.free(ended.slot)?;
        }
        let departed: Vec<JobId> = self
            .jobs
            .iter()
            .filter(|(_, active)| active.job.events.is_closed())
            .map(|(id, _)| *id)
            .collect();
        for id in departed {
            self.meter.count_abandoned();
            self.end(id, None)?;
        }
        let admitted = self.scheduler.admit();
        // All of them before anything can fail: recovery ends what has a slot.
        for (id, slot) in &admitted {
            self.slots[*slot] = Some(*id);
        }
        for (id, slot) in admitted {
            if let Some(active) = self.jobs.get_mut(&id) {
                active.admitted = Some(Instant::now());
                active.job.place = None;
                let cached = active.cached;
                self.backend.share(SHARED, sequence(slot), cached)?;
                self.meter.count_cached(cached);
            }
        }
        self.meter.set_running(self.scheduler.running());
        match self.scheduler.next() {
            Step::Prefill { slot, tokens, last } => self.prefill(slot, tokens, last),
            Step::Decode { slots } => self.decode(&slots),
            Step::Idle => Ok(()),
        }
    }

    fn prefill(
        &mut self,
        slot: usize,
        tokens: std::ops::Range<usize>,
        last: bool,
    ) -> Result<(), DecodeError> {
        let Some((id, active)) = job_in(&self.slots, &mut self.jobs, slot) else {
            return Ok(());
        };
        let span = Span {
            sequence: sequence(slot),
            start: tokens.start,
            tokens: &active.job.prompt[tokens.clone()],
            logits: last,
        };
        let started = self.meter.begin_step();
        let outcome = self.backend.decode(&[span]);
        self.meter.end_prefill(started, tokens.len());
        outcome?;
        active.length = tokens.end;
        self.scheduler.prefilled(slot, tokens.end);
        if !last {
            return Ok(());
        }
        let row = self.backend.logits(0);
        let scores = row.map(|row| self.grammar.score(row));
        let Some(scores) = scores.filter(|scores| scores.legal_mass.is_finite()) else {
            let reason = "no finite logits after prefill".to_owned();
            return Err(DecodeError::Runtime(reason));
        };
        active.scored = Some(Instant::now());
        let usage = active.usage();
        let timings = active.timings();
        let scored = Scored {
            scores,
            usage,
            timings,
        };
        let _ = active.job.events.try_send(Event::Scored(scored));
        if active.job.rationale == RationaleMode::None {
            let answered = Event::Answered(active.answered());
            return self.end(id, Some(answered));
        }
        match self.grammar.begin(scores.best()) {
            Ok(answer) => {
                active.answer = Some(answer);
                Ok(())
            }
            Err(error) => self.end(id, Some(Event::Failed(JobError::Malformed(error)))),
        }
    }

    fn decode(&mut self, slots: &[usize]) -> Result<(), DecodeError> {
        let mut spans = Vec::with_capacity(slots.len());
        let mut ids = Vec::with_capacity(slots.len());
        // Answers that begin bring several tokens each: who finds the batch
        // full takes part in the next step.
        let mut room = self.backend.capacity().batch;
        for slot in slots {
            let id = self.slots[*slot];
            let active = id.and_then(|id| Some((id, self.jobs.get(&id)?)));
            if let Some((id, active)) = active
                && let Some(answer) = &active.answer
                && answer.pending().len() <= room
            {
                room -= answer.pending().len();
                ids.push(id);
                spans.push(Span {
                    sequence: sequence(*slot),
                    start: active.length,
                    tokens: answer.pending(),
                    logits: true,
                });
            }
        }
        let tokens = spans.iter().map(|span| span.tokens.len()).sum();
        let started = self.meter.begin_step();
        let outcome = self.backend.decode(&spans);
        self.meter.end_decode(started, tokens);
        outcome?;
        self.scheduler.decoded();
        let mut ended = Vec::new();
        for (index, id) in ids.into_iter().enumerate() {
            let Some(active) = self.jobs.get_mut(&id) else {
                continue;
            };
            let Some(answer) = &mut active.answer else {
                continue;
            };
            active.length += answer.pending().len();
            let row = self.backend.logits(index).unwrap_or_default();
            match answer.advance(row) {
                Ok(Progress::More) => {}
                Ok(Progress::Finished) => ended.push((id, Event::Answered(active.answered()))),
                Err(error) => ended.push((id, Event::Failed(JobError::Malformed(error)))),
            }
        }
        for (id, event) in ended {
            self.end(id, Some(event))?;
        }
        Ok(())
    }

    /// Ends a job at whatever stage, and frees what it holds.
    fn end(&mut self, id: JobId, event: Option<Event>) -> Result<(), DecodeError> {
        let ended = self.scheduler.remove(id);
        self.close(id, event);
        self.free(ended.and_then(|ended| ended.slot))
    }

    fn close(&mut self, id: JobId, event: Option<Event>) {
        if let Some(active) = self.jobs.remove(&id)
            && let Some(event) = event
        {
            let _ = active.job.events.try_send(event);
        }
    }

    fn free(&mut self, slot: Option<usize>) -> Result<(), DecodeError> {
        let Some(slot) = slot else { return Ok(()) };
        self.slots[slot] = None;
        self.backend.release(sequence(slot))
    }

    /// After a failed decode the jobs that run are lost, and with them the
    /// cache; the others go on if a warm-up succeeds.
    fn recover(&mut self, error: DecodeError) -> Result<(), DecodeError> {
        tracing::error!(%error, "a decode failed: recomputing the shared part of the prompt");
        self.meter.count_failure();
        for slot in 0..self.slots.len() {
            if let Some(id) = self.slots[slot].take() {
                self.scheduler.remove(id);
                let failed = Event::Failed(JobError::Decode(error.clone()));
                self.close(id, Some(failed));
            }
        }
        self.warm_up()
    }

    /// Follows the wish for the adapter. What the cache holds was computed otherwise.
    fn heed(&mut self, wanted: bool, followed: &dyn Fn(bool)) -> Result<(), DecodeError> {
        if wanted != self.adapter {
            self.adapter = wanted;
            self.end_all();
            self.backend.clear();
            self.backend.set_adapter(wanted)?;
            if wanted {
                self.warm_up()?;
            }
            tracing::warn!(on = wanted, "the adapter was put on, or taken off");
            followed(wanted);
        }
        if !wanted {
            self.end_all();
        }
        Ok(())
    }

    /// Nobody is answered without the adapter.
    fn end_all(&mut self) {
        let ids: Vec<JobId> = self.jobs.keys().copied().collect();
        for id in ids {
            self.scheduler.remove(id);
            self.close(id, Some(Event::Failed(JobError::AdapterOff)));
        }
        self.slots.fill(None);
    }

    fn decode_shared(&mut self) -> Result<(), DecodeError> {
        let chunk = self.backend.capacity().batch.max(1);
        let mut start = 0;
        for tokens in self.shared.chunks(chunk) {
            let span = Span {
                sequence: SHARED,
                start,
                tokens,
                logits: false,
            };
            let started = self.meter.begin_step();
            let outcome = self.backend.decode(&[span]);
            self.meter.end_prefill(started, tokens.len());
            outcome?;
            start += tokens.len();
        }
        Ok(())
    }
}

impl Active<'_> {
    fn usage(&self) -> Usage {
        Usage {
            prompt_tokens: count(self.job.prompt.len()),
            cached_tokens: count(self.cached),
            generated_tokens: count(self.answer.as_ref().map_or(0, Answer::generated)),
        }
    }

    fn timings(&self) -> Timings {
        let now = Instant::now();
        let admitted = self.admitted.unwrap_or(now);
        let scored = self.scored.unwrap_or(now);
        Timings {
            queue: admitted.duration_since(self.job.arrived),
            prefill: scored.duration_since(admitted),
            decode: now.duration_since(scored),
            total: now.duration_since(self.job.arrived),
        }
    }

    fn answered(&self) -> Answered {
        Answered {
            rationale: self
                .answer
                .as_ref()
                .map(Answer::sentence)
                .unwrap_or_default(),
            usage: self.usage(),
            timings: self.timings(),
        }
    }
}

fn job_in<'j, 'a>(
    slots: &[Option<JobId>],
    jobs: &'j mut HashMap<JobId, Active<'a>>,
    slot: usize,
) -> Option<(JobId, &'j mut Active<'a>)> {
    let id = slots[slot]?;
    Some((id, jobs.get_mut(&id)?))
}

/// Slots follow the shared part's sequence.
fn sequence(slot: usize) -> SequenceId {
    SequenceId(count(slot) + 1)
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
