//! A job, and what its askers learn of it.

use std::time::{Duration, Instant};

use tokio::sync::mpsc::Sender;

use super::places::Place;
use super::scheduler::Caller;
use crate::backend::{DecodeError, Token};
use crate::grammar::{Answer, GrammarError};
use crate::verdict::{RationaleMode, Scores, Timings, Usage};

/// One prompt to answer.
pub struct Job {
    pub prompt: Vec<Token>,
    pub rationale: RationaleMode,
    pub caller: Caller,
    pub asker: Asker,
}

/// Who waits for a job's answer.
pub struct Asker {
    pub arrived: Instant,
    pub deadline: Instant,
    /// Closed by its receiver once nobody waits for the answer.
    pub events: Sender<Event>,
    /// The place in the queue, given back when the job gets a slot.
    pub place: Option<Place>,
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
    /// At the pace of what was measured, what is left would take so long.
    #[error("the deadline cannot be met: the label would take about {0:.1?} more")]
    DeadlineOutOfReach(Duration),
    #[error("the queue is full, and another caller had fewer places in it")]
    Displaced,
    #[error("the answer could not be completed: {0}")]
    Malformed(GrammarError),
    #[error("the engine failed: {0}")]
    Decode(DecodeError),
    #[error("the kill switch has taken the adapter off")]
    AdapterOff,
}

/// A job that waits or runs.
pub(super) struct Active<'a> {
    pub(super) prompt: Vec<Token>,
    pub(super) rationale: RationaleMode,
    /// Whose turn it takes.
    pub(super) caller: Caller,
    /// Several callers may have asked for the same at the same time.
    pub(super) askers: Vec<Asker>,
    pub(super) answer: Option<Answer<'a>>,
    /// Tokens of its sequence in the KV cache.
    pub(super) length: usize,
    pub(super) cached: usize,
    pub(super) admitted: Option<Instant>,
    scored: Option<(Instant, Scores)>,
}

impl Active<'_> {
    pub(super) fn new(job: Job) -> Self {
        Self {
            prompt: job.prompt,
            rationale: job.rationale,
            caller: job.caller,
            askers: vec![job.asker],
            answer: None,
            length: 0,
            cached: 0,
            admitted: None,
            scored: None,
        }
    }

    /// One more waits for the same answer.
    pub(super) fn join(&mut self, mut asker: Asker) {
        if self.admitted.is_some() {
            asker.place = None;
        }
        if let Some((_, scores)) = self.scored {
            asker.tell(Event::Scored(self.scored_event(scores, &asker)));
        }
        self.askers.push(asker);
    }

    pub(super) fn score(&mut self, scores: Scores) {
        self.scored = Some((Instant::now(), scores));
        for asker in &self.askers {
            asker.tell(Event::Scored(self.scored_event(scores, asker)));
        }
    }

    fn scored_event(&self, scores: Scores, asker: &Asker) -> Scored {
        Scored {
            scores,
            usage: self.usage(),
            timings: self.timings(asker),
        }
    }

    fn usage(&self) -> Usage {
        let generated = self
            .answer
            .as_ref()
            .map_or(0, |answer| answer.tokens().len());
        Usage {
            prompt_tokens: count(self.prompt.len()),
            cached_tokens: count(self.cached),
            generated_tokens: count(generated),
        }
    }

    /// As this asker has seen them: who came later has waited less.
    fn timings(&self, asker: &Asker) -> Timings {
        let now = Instant::now();
        let arrived = asker.arrived;
        let admitted = self.admitted.unwrap_or(now).max(arrived);
        let scored = self.scored.map_or(now, |(at, _)| at).max(arrived);
        Timings {
            queue: admitted.duration_since(arrived),
            prefill: scored.duration_since(admitted),
            decode: now.duration_since(scored),
            total: now.duration_since(arrived),
        }
    }

    pub(super) fn answered(&self, asker: &Asker) -> Answered {
        let sentence = self.answer.as_ref().map(Answer::sentence);
        Answered {
            rationale: sentence.unwrap_or_default(),
            usage: self.usage(),
            timings: self.timings(asker),
        }
    }
}

impl Asker {
    /// Whether another caller has its place, as its owner knows.
    pub(super) fn is_displaced(&self) -> bool {
        self.place.as_ref().is_some_and(Place::is_lost)
    }

    /// Never waits.
    pub(super) fn tell(&self, event: Event) {
        let _ = self.events.try_send(event);
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
