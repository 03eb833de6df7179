//! Which work comes next: pure, so that its fairness can be tested from text.
//!
//! A job waits for a slot, reads its prompt in chunks (prefill), answers with
//! its label, then writes its rationale token by token (decode). Callers get
//! slots in turn, so that none waits behind all that another has sent. Labels come
//! first: a prefill goes before decode, but after [`Limits::prefill_run`]
//! chunks in a row the waiting rationales get one step, so that neither
//! starves. A prefill never shares its batch: a label must not depend on who
//! else is being judged. Time, and the pace of prefill, arrive as arguments.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

/// A job, as its owner names it.
pub type JobId = u64;

/// Who sent a job, as its owner tells callers apart.
pub type Caller = u64;

/// The daemon's own questions, for which no caller gives anything up.
pub const OWN: Caller = 0;

/// Time since the engine's start.
pub type Time = Duration;

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Jobs that run at the same time.
    pub slots: usize,
    /// Prompt tokens evaluated in one step: deadlines and cancellation take
    /// effect between steps.
    pub chunk: usize,
    /// Prompt tokens of a step at the least: a prompt's last step takes a rest of fewer along.
    pub least: usize,
    /// Chunks in a row after which waiting rationales get a step.
    pub prefill_run: usize,
}

impl Limits {
    /// Where a step ends that goes on after `done` of so many tokens.
    pub fn end(&self, done: usize, tokens: usize) -> usize {
        match tokens.saturating_sub(done) < self.chunk + self.least {
            true => tokens,
            false => done + self.chunk,
        }
    }
}

/// What a job brings to the queue.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    pub id: JobId,
    pub caller: Caller,
    pub deadline: Time,
    /// Prompt tokens that need not be read, as far as can be told by now.
    pub cached: usize,
    /// Prompt tokens in all.
    pub prompt: usize,
}

/// The next thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Evaluate these tokens of the prompt in `slot`; after the `last` chunk
    /// the label is known.
    Prefill {
        slot: usize,
        tokens: Range<usize>,
        last: bool,
    },
    /// One step of each of these rationales.
    Decode { slots: Vec<usize> },
    /// Nothing runs and nothing waits.
    Idle,
}

pub struct Scheduler {
    limits: Limits,
    /// Each caller's jobs, in the order in which callers get their turn.
    waiting: VecDeque<(Caller, VecDeque<Arrival>)>,
    slots: Vec<Option<Running>>,
    /// Running jobs in the order of their admission.
    order: VecDeque<usize>,
    /// Chunks since the last decode step, of those that a rationale waited for.
    run: usize,
}

#[derive(Clone, Copy, Debug)]
struct Running {
    arrival: Arrival,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Prompt tokens done.
    Prefill(usize),
    Decode,
}

impl Running {
    fn begin(arrival: Arrival) -> Self {
        Self {
            arrival,
            phase: Phase::Prefill(arrival.cached),
        }
    }

    /// Prompt tokens that are still to be read.
    fn unread(&self) -> usize {
        match self.phase {
            Phase::Prefill(done) => self.arrival.prompt.saturating_sub(done),
            Phase::Decode => 0,
        }
    }
}

impl Arrival {
    pub fn unread(&self) -> usize {
        self.prompt.saturating_sub(self.cached)
    }
}

impl Scheduler {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            waiting: VecDeque::new(),
            slots: vec![None; limits.slots],
            order: VecDeque::new(),
            run: 0,
        }
    }

    pub fn submit(&mut self, arrival: Arrival) {
        let mut callers = self.waiting.iter_mut();
        match callers.find(|(caller, _)| *caller == arrival.caller) {
            Some((_, jobs)) => jobs.push_back(arrival),
            None => self
                .waiting
                .push_back((arrival.caller, VecDeque::from([arrival]))),
        }
    }

    /// Prompt tokens that are read before those of a job that this caller would
    /// submit now.
    pub fn tokens_ahead(&self, caller: Caller) -> usize {
        let running = self.slots.iter().flatten().map(Running::unread);
        let place = self.waiting.iter().position(|(other, _)| *other == caller);
        let turns = place.map_or(0, |place| self.waiting[place].1.len());
        let waiting = self.waiting.iter().enumerate();
        let waiting = waiting.flat_map(|(index, (_, jobs))| {
            // Whose turn comes first has it first in the round of the new job too.
            let first = place.is_none_or(|place| index < place);
            jobs.iter().take(turns + usize::from(first))
        });
        running.sum::<usize>() + waiting.map(Arrival::unread).sum::<usize>()
    }

    /// Somebody waits longer for a job than was known.
    pub fn extend(&mut self, id: JobId, deadline: Time) {
        let waiting = self.waiting.iter_mut().flat_map(|(_, jobs)| jobs);
        let running = self.slots.iter_mut().flatten().map(|job| &mut job.arrival);
        for arrival in waiting.chain(running).filter(|arrival| arrival.id == id) {
            arrival.deadline = arrival.deadline.max(deadline);
        }
    }

    /// Ends jobs whose deadline has passed, or will have when their prompt is read at
    /// `pace`, the time of one token.
    pub fn expire(&mut self, now: Time, pace: Duration) -> Vec<Ended> {
        self.end_where(|job| job.arrival.deadline <= now + times(pace, job.unread()))
    }

    /// Ends a job, at whatever stage.
    pub fn remove(&mut self, id: JobId) -> Option<Ended> {
        self.end_where(|job| job.arrival.id == id).pop()
    }

    /// Moves waiting jobs to free slots: callers in turn, the jobs of each in their order.
    pub fn admit(&mut self) -> Vec<(JobId, usize)> {
        let mut admitted = Vec::new();
        while let Some(slot) = self.slots.iter().position(Option::is_none) {
            let Some((caller, mut jobs)) = self.waiting.pop_front() else {
                break;
            };
            let Some(arrival) = jobs.pop_front() else {
                continue;
            };
            if !jobs.is_empty() {
                self.waiting.push_back((caller, jobs));
            }
            self.slots[slot] = Some(Running::begin(arrival));
            self.order.push_back(slot);
            admitted.push((arrival.id, slot));
        }
        admitted
    }

    /// The job in `slot` begins with `cached` prompt tokens that need not be read.
    pub fn restored(&mut self, slot: usize, cached: usize) {
        if let Some(Some(running)) = self.slots.get_mut(slot) {
            running.phase = Phase::Prefill(cached);
        }
    }

    /// Chooses the next step. The owner carries it out and reports it with
    /// [`Scheduler::prefilled`] or [`Scheduler::decoded`].
    pub fn next(&self) -> Step {
        let prefill = self.order.iter().find_map(|slot| {
            let running = self.slots[*slot]?;
            match running.phase {
                Phase::Prefill(done) => Some((*slot, done, running.arrival.prompt)),
                Phase::Decode => None,
            }
        });
        let decoding: Vec<usize> = self.decoding().collect();
        match prefill {
            Some((slot, done, prompt))
                if decoding.is_empty() || self.run < self.limits.prefill_run =>
            {
                let end = self.limits.end(done, prompt);
                Step::Prefill {
                    slot,
                    tokens: done..end,
                    last: end == prompt,
                }
            }
            _ if !decoding.is_empty() => Step::Decode { slots: decoding },
            _ => Step::Idle,
        }
    }

    /// A chunk up to the prompt token `done` has been evaluated.
    pub fn prefilled(&mut self, slot: usize, done: usize) {
        if self.decoding().next().is_some() {
            self.run += 1;
        }
        if let Some(Some(running)) = self.slots.get_mut(slot) {
            running.phase = if done >= running.arrival.prompt {
                Phase::Decode
            } else {
                Phase::Prefill(done)
            };
        }
    }

    /// A decode step has been carried out.
    pub fn decoded(&mut self) {
        self.run = 0;
    }

    fn decoding(&self) -> impl Iterator<Item = usize> {
        let slots = self.order.iter().copied();
        slots.filter(|slot| self.slots[*slot].is_some_and(|job| job.phase == Phase::Decode))
    }

    pub fn running(&self) -> usize {
        self.order.len()
    }

    pub fn is_idle(&self) -> bool {
        self.order.is_empty() && self.waiting.is_empty()
    }

    /// Ends every job.
    pub fn clear(&mut self) -> Vec<Ended> {
        self.end_where(|_| true)
    }

    fn end_where(&mut self, matches: impl Fn(&Running) -> bool) -> Vec<Ended> {
        let mut ended = Vec::new();
        for (_, jobs) in &mut self.waiting {
            jobs.retain(|arrival| {
                let ends = matches(&Running::begin(*arrival));
                if ends {
                    ended.push(Ended {
                        id: arrival.id,
                        slot: None,
                        unread: arrival.unread(),
                    });
                }
                !ends
            });
        }
        self.waiting.retain(|(_, jobs)| !jobs.is_empty());
        let slots = &mut self.slots;
        self.order.retain(|slot| {
            let ends = slots[*slot].is_none_or(|running| matches(&running));
            if ends && let Some(running) = slots[*slot].take() {
                ended.push(Ended {
                    id: running.arrival.id,
                    slot: Some(*slot),
                    unread: running.unread(),
                });
            }
            !ends
        });
        ended
    }
}

/// How long so many tokens take.
pub fn times(pace: Duration, tokens: usize) -> Duration {
    pace.saturating_mul(u32::try_from(tokens).unwrap_or(u32::MAX))
}

/// A job that is no longer the scheduler's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    pub id: JobId,
    /// The slot that it leaves, whose sequence is to be released.
    pub slot: Option<usize>,
    /// Prompt tokens that were still to be read.
    pub unread: usize,
}
