//! Which work comes next: pure, so that its fairness can be tested from text.
//!
//! A job waits for a slot, reads its prompt in chunks (prefill), answers with
//! its label, then writes its rationale token by token (decode). Labels come
//! first: a prefill goes before decode, but after [`Limits::prefill_run`]
//! chunks in a row the waiting rationales get one step, so that neither
//! starves. A prefill never shares its batch: a label must not depend on who
//! else is being judged. Time arrives as an argument.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

/// A job, as its owner names it.
pub type JobId = u64;

/// Time since the engine's start.
pub type Time = Duration;

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Jobs that run at the same time.
    pub slots: usize,
    /// Prompt tokens evaluated in one step: deadlines and cancellation take
    /// effect between steps.
    pub chunk: usize,
    /// Chunks in a row after which waiting rationales get a step.
    pub prefill_run: usize,
}

/// What a job brings to the queue.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    pub id: JobId,
    pub deadline: Time,
    /// Prompt tokens that are cached already.
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
    waiting: VecDeque<Arrival>,
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
        self.waiting.push_back(arrival);
    }

    /// Ends jobs whose deadline has passed, waiting or running.
    pub fn expire(&mut self, now: Time) -> Vec<Ended> {
        self.end_where(|arrival| arrival.deadline <= now)
    }

    /// Ends a job, at whatever stage.
    pub fn remove(&mut self, id: JobId) -> Option<Ended> {
        self.end_where(|arrival| arrival.id == id).pop()
    }

    /// Moves waiting jobs to free slots, first come, first served.
    pub fn admit(&mut self) -> Vec<(JobId, usize)> {
        let mut admitted = Vec::new();
        while let Some(slot) = self.slots.iter().position(Option::is_none) {
            let Some(arrival) = self.waiting.pop_front() else {
                break;
            };
            self.slots[slot] = Some(Running {
                arrival,
                phase: Phase::Prefill(arrival.cached),
            });
            self.order.push_back(slot);
            admitted.push((arrival.id, slot));
        }
        admitted
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
                let end = prompt.min(done + self.limits.chunk);
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

    fn end_where(&mut self, matches: impl Fn(&Arrival) -> bool) -> Vec<Ended> {
        let mut ended = Vec::new();
        self.waiting.retain(|arrival| {
            let ends = matches(arrival);
            if ends {
                ended.push(Ended {
                    id: arrival.id,
                    slot: None,
                });
            }
            !ends
        });
        let slots = &mut self.slots;
        self.order.retain(|slot| {
            let ends = slots[*slot].is_none_or(|running| matches(&running.arrival));
            if ends && let Some(running) = slots[*slot].take() {
                ended.push(Ended {
                    id: running.arrival.id,
                    slot: Some(*slot),
                });
            }
            !ends
        });
        ended
    }
}

/// A job that is no longer the scheduler's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    pub id: JobId,
    /// The slot that it leaves, whose sequence is to be released.
    pub slot: Option<usize>,
}
