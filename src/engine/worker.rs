//! The engine thread's loop: takes jobs, asks the scheduler what comes next,
//! has the backend do it, and reports to the jobs' owners.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use super::job::{Active, Event, Job, JobError};
use super::meter::Meter;
use super::prefix::PrefixTree;
use super::scheduler::{Arrival, JobId, Limits, Scheduler, Step, times};
use super::speculate::Speculator;
use super::writer::Writer;
use crate::backend::{
    Backend, DecodeError, LEAST_ROWS, ROWS, SequenceId, Span, Token, gave_numbers,
};
use crate::grammar::{Grammar, GrammarError, Progress};
use crate::verdict::RationaleMode;

/// How long an idle loop sleeps between two heartbeats.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// Why the loop ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// All handles are gone.
    Closed,
    /// The backend does not work any more.
    Broken(DecodeError),
}

/// What a worker may use.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub limits: Limits,
    /// Cells of the prefix tree.
    pub prefix_cells: usize,
    pub speculate: bool,
}

pub struct Worker<'a> {
    backend: &'a mut dyn Backend,
    grammar: &'a Grammar,
    /// The tokens with which every prompt begins.
    shared: Vec<Token>,
    meter: Arc<Meter>,
    limits: Limits,
    scheduler: Scheduler,
    prefixes: PrefixTree,
    speculator: Speculator,
    epoch: Instant,
    jobs: HashMap<JobId, Active<'a>>,
    /// The job in each slot.
    slots: Vec<Option<JobId>>,
    next_id: JobId,
    /// Whether it is on.
    adapter: bool,
}

impl<'a> Worker<'a> {
    pub fn new(
        backend: &'a mut dyn Backend,
        grammar: &'a Grammar,
        shared: Vec<Token>,
        bounds: Bounds,
        meter: Arc<Meter>,
    ) -> Self {
        Self {
            backend,
            grammar,
            shared,
            meter,
            limits: bounds.limits,
            scheduler: Scheduler::new(bounds.limits),
            prefixes: PrefixTree::new(ROWS, bounds.prefix_cells),
            speculator: Speculator::new(bounds.speculate),
            epoch: Instant::now(),
            jobs: HashMap::new(),
            slots: vec![None; bounds.limits.slots],
            next_id: 0,
            adapter: true,
        }
    }

    /// Computes the shared part and proves, by a real decode after it, that the
    /// backend works. A worker without it must not run.
    pub fn warm_up(&mut self) -> Result<(), DecodeError> {
        self.backend.clear();
        self.prefixes.clear();
        let sequence = sequence(0);
        if !self.shared.is_empty() {
            self.decode_shared(sequence)?;
            let cells = self.backend.save(sequence, 0..self.shared.len())?;
            self.backend.release(sequence)?;
            self.prefixes.pin(&self.shared, cells);
            let runs = self.prefixes.find(&self.shared);
            self.backend.restore(sequence, &runs)?;
        }
        let token = self.grammar.probe_token();
        let span = Span {
            sequence,
            start: self.shared.len(),
            tokens: &[token],
            outputs: 1,
        };
        self.backend.decode(&[span])?;
        let works = gave_numbers(self.backend);
        self.backend.release(sequence)?;
        if !works {
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
            self.meter.set_prefix_cells(self.prefixes.used());
            if self.scheduler.is_idle() {
                match jobs.recv_timeout(HEARTBEAT) {
                    Ok(job) => {
                        if let Err(error) = self.accept(job) {
                            return End::Broken(error);
                        }
                    }
                    Err(RecvTimeoutError::Timeout) => continue,
                    Err(RecvTimeoutError::Disconnected) => return End::Closed,
                }
            }
            loop {
                match jobs.try_recv() {
                    Ok(job) => {
                        if let Err(error) = self.accept(job) {
                            return End::Broken(error);
                        }
                    }
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

    /// The error says that the backend does not work any more.
    fn accept(&mut self, job: Job) -> Result<(), DecodeError> {
        if job.asker.is_displaced() {
            return Ok(());
        }
        let deadline = self.time(job.asker.deadline);
        // One that still waits has its turn among its caller's, which is no other caller's turn.
        let same = self.jobs.iter_mut().find(|(_, active)| {
            active.rationale == job.rationale
                && (active.admitted.is_some() || active.caller == job.caller)
                && active.prompt == job.prompt
        });
        if let Some((id, active)) = same {
            self.scheduler.extend(*id, deadline);
            self.meter.count_joined();
            active.join(job.asker);
            return Ok(());
        }
        let epoch = self.epoch;
        let is_late = |needed: Duration| epoch.elapsed() + needed > deadline;
        let (mut arrival, mut needed) = self.arrival(&job);
        if is_late(needed) {
            // Some of what is ahead may have nobody left who waits for it. Only now: who asks for
            // the same again joins it, and what was read of it is not lost.
            self.dismiss().or_else(|error| self.recover(error))?;
            (arrival, needed) = self.arrival(&job);
        }
        if is_late(needed) {
            let error = match is_late(Duration::ZERO) {
                true => JobError::DeadlineExceeded,
                false => JobError::DeadlineOutOfReach(needed),
            };
            job.asker.tell(Event::Failed(error));
            return Ok(());
        }
        self.next_id += 1;
        self.scheduler.submit(arrival);
        self.jobs.insert(arrival.id, Active::new(job));
        Ok(())
    }

    /// What a new job brings to the queue, and how long it takes until its prompt is read.
    fn arrival(&self, job: &Job) -> (Arrival, Duration) {
        let arrival = Arrival {
            id: self.next_id,
            caller: job.caller,
            deadline: self.time(job.asker.deadline),
            cached: self.expected(reusable(&job.prompt)),
            prompt: job.prompt.len(),
        };
        let unread = self.scheduler.tokens_ahead(job.caller) + arrival.unread();
        (arrival, times(self.meter.pace(), unread))
    }

    /// How many of a prompt's tokens are kept, or will be, about, once the jobs before it are read.
    fn expected(&self, prompt: &[Token]) -> usize {
        let kept = self.prefixes.length_of(prompt);
        if !self.prefixes.grows() {
            return kept;
        }
        // Only behind what all have: many may wait.
        let shared = self.shared.len();
        let prompts = self.jobs.values().map(|other| reusable(&other.prompt));
        let common = prompts.map(|other| {
            let pairs = other.iter().zip(prompt).skip(shared);
            shared + pairs.take_while(|(one, other)| one == other).count()
        });
        common.max().unwrap_or(0).max(kept)
    }

    /// Since the epoch.
    fn time(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.epoch)
    }

    /// Drops what nobody waits for, then does one step.
    fn step(&mut self) -> Result<(), DecodeError> {
        self.dismiss()?;
        self.admit();
        self.meter.set_running(self.scheduler.running());
        if let Step::Prefill { slot, .. } = self.scheduler.next() {
            self.begin(slot)?;
        }
        match self.scheduler.next() {
            Step::Prefill { slot, tokens, last } => self.prefill(slot, tokens, last),
            Step::Decode { slots } => self.decode(&slots),
            Step::Idle => Ok(()),
        }
    }

    /// Lets go of askers who have left or whose deadline has passed, and of jobs
    /// that nobody asks for any more or that cannot be done in time.
    fn dismiss(&mut self) -> Result<(), DecodeError> {
        let now = Instant::now();
        let mut forsaken = Vec::new();
        for (id, active) in &mut self.jobs {
            active.askers.retain(|asker| {
                if asker.is_displaced() {
                    return false;
                }
                // Its owner may have given up at the same moment, and has not left.
                if asker.deadline <= now {
                    asker.tell(Event::Failed(JobError::DeadlineExceeded));
                    return false;
                }
                if asker.events.is_closed() {
                    self.meter.count_abandoned();
                    return false;
                }
                true
            });
            if active.askers.is_empty() {
                forsaken.push(*id);
            }
        }
        for id in forsaken {
            self.end(id, None)?;
        }
        let pace = self.meter.pace();
        // At the same moment: a deadline that has passed since is no deadline out of reach.
        for ended in self.scheduler.expire(self.time(now), pace) {
            let error = JobError::DeadlineOutOfReach(times(pace, ended.unread));
            self.close(ended.id, Some(Event::Failed(error)));
            self.free(ended.slot)?;
        }
        Ok(())
    }

    /// Gives free slots to waiting jobs.
    fn admit(&mut self) {
        for (id, slot) in self.scheduler.admit() {
            self.slots[slot] = Some(id);
            if let Some(active) = self.jobs.get_mut(&id) {
                active.admitted = Some(Instant::now());
                for asker in &mut active.askers {
                    asker.place = None;
                }
            }
        }
    }

    /// Lets a prompt begin with what is kept of it. Not before its first chunk: another draft for
    /// the same prospect may have been read since it got its slot.
    fn begin(&mut self, slot: usize) -> Result<(), DecodeError> {
        let Some((_, active)) = job_in(&self.slots, &mut self.jobs, slot) else {
            return Ok(());
        };
        if active.length > 0 {
            return Ok(());
        }
        let runs = self.prefixes.find(reusable(&active.prompt));
        let cached = runs.iter().map(|(_, tokens)| tokens).sum();
        self.backend.restore(sequence(slot), &runs)?;
        active.cached = cached;
        active.length = cached;
        self.scheduler.restored(slot, cached);
        self.meter.count_cached(cached);
        Ok(())
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
            tokens: &active.prompt[tokens.clone()],
            outputs: usize::from(last),
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
        let row = self.backend.logits(0, 0);
        let scores = row.map(|row| self.grammar.score(row));
        let Some(scores) = scores.filter(|scores| scores.legal_mass.is_finite()) else {
            let reason = "no finite logits after prefill".to_owned();
            return Err(DecodeError::Runtime(reason));
        };
        active.score(scores);
        let begun = match active.rationale {
            RationaleMode::None => None,
            mode => Some(self.grammar.begin(scores.best(), mode)),
        };
        self.keep_prefix(id, slot)?;
        match (begun, self.jobs.get_mut(&id)) {
            (Some(Ok(answer)), Some(active)) => {
                let whole = answer.is_whole();
                active.answer = Some(answer);
                if whole { self.finish(id) } else { Ok(()) }
            }
            (Some(Err(error)), _) => self.end(id, Some(Event::Failed(JobError::Malformed(error)))),
            (None, _) | (_, None) => self.finish(id),
        }
    }

    /// Keeps the cells of a prompt that was just evaluated.
    fn keep_prefix(&mut self, id: JobId, slot: usize) -> Result<(), DecodeError> {
        let Some(active) = self.jobs.get(&id) else {
            return Ok(());
        };
        let prompt = reusable(&active.prompt);
        let missing = self.prefixes.missing(prompt);
        if !missing.is_empty() {
            let cells = self.backend.save(sequence(slot), missing)?;
            self.prefixes.insert(prompt, cells);
        }
        Ok(())
    }

    /// Lets the answers in these slots go on: each reads what it has chosen, and
    /// what may come after it.
    fn decode(&mut self, slots: &[usize]) -> Result<(), DecodeError> {
        let mut writers = self.writers(slots);
        let spans: Vec<Span<'_>> = writers.iter().map(Writer::span).collect();
        let tokens = spans.iter().map(|span| span.tokens.len()).sum();
        let started = self.meter.begin_step();
        let outcome = self.backend.decode(&spans);
        self.speculator.note_step(tokens, started.elapsed());
        self.meter.end_decode(started, tokens);
        outcome?;
        self.scheduler.decoded();
        for (index, writer) in writers.iter_mut().enumerate() {
            match self.write(index, writer) {
                Ok(Progress::Finished) => self.finish(writer.id)?,
                Ok(Progress::More) => {}
                Err(error) => {
                    let failed = Event::Failed(JobError::Malformed(error));
                    self.end(writer.id, Some(failed))?;
                }
            }
            if let Some(active) = self.jobs.get(&writer.id)
                && writer.wrong
            {
                self.backend.truncate(writer.sequence, active.length)?;
            }
        }
        Ok(())
    }

    /// What each of the answers in these slots is to read.
    fn writers(&self, slots: &[usize]) -> Vec<Writer> {
        let answers = slots.iter().filter_map(|slot| {
            let id = self.slots[*slot]?;
            Some((id, sequence(*slot), self.jobs.get(&id)?))
        });
        Writer::of_step(answers, self.backend.capacity().batch, &self.speculator)
    }

    fn write(&mut self, index: usize, writer: &mut Writer) -> Result<Progress, GrammarError> {
        let Some(active) = self.jobs.get_mut(&writer.id) else {
            return Ok(Progress::More);
        };
        let row = |output| self.backend.logits(index, output).unwrap_or_default();
        writer.write(active, row, &mut self.speculator, &self.meter)
    }

    /// Tells the askers the answer.
    fn finish(&mut self, id: JobId) -> Result<(), DecodeError> {
        if let Some(active) = self.jobs.get(&id) {
            for asker in &active.askers {
                asker.tell(Event::Answered(active.answered(asker)));
            }
        }
        self.end(id, None)
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
            for asker in &active.askers {
                asker.tell(event.clone());
            }
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
            self.prefixes.clear();
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
        for ended in self.scheduler.clear() {
            self.close(ended.id, Some(Event::Failed(JobError::AdapterOff)));
        }
        self.slots.fill(None);
    }

    fn decode_shared(&mut self, sequence: SequenceId) -> Result<(), DecodeError> {
        let limits = Limits {
            chunk: self.backend.capacity().chunk(usize::MAX),
            ..self.limits
        };
        let mut start = 0;
        while start < self.shared.len() {
            let end = limits.end(start, self.shared.len());
            let span = Span {
                sequence,
                start,
                tokens: &self.shared[start..end],
                outputs: 0,
            };
            let started = self.meter.begin_step();
            let outcome = self.backend.decode(&[span]);
            self.meter.end_prefill(started, end - start);
            outcome?;
            start = end;
        }
        Ok(())
    }
}

/// What may be kept of a prompt, and found again: the rest is read in any case. The label comes
/// from the logits after the last token.
fn reusable(prompt: &[Token]) -> &[Token] {
    &prompt[..prompt.len().saturating_sub(LEAST_ROWS)]
}

fn job_in<'j, 'a>(
    slots: &[Option<JobId>],
    jobs: &'j mut HashMap<JobId, Active<'a>>,
    slot: usize,
) -> Option<(JobId, &'j mut Active<'a>)> {
    let id = slots[slot]?;
    Some((id, jobs.get_mut(&id)?))
}

/// Each slot has a sequence of its own.
fn sequence(slot: usize) -> SequenceId {
    SequenceId(u32::try_from(slot).unwrap_or(u32::MAX))
}
