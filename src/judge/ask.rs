//! Asking the model for a label, and for its rationale.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::{Judge, JudgeError, Request, within};
use crate::backend::Token;
use crate::engine::job::{Event, JobError, Scored};
use crate::engine::{Ready, State, SubmitError};
use crate::kill_switch;
use crate::prompt::PromptTooLong;
use crate::stages::Stages;
use crate::verdict::{RationaleMode, Scores};

/// Under a grammar every answer has a label. Whose five labels hold less of the
/// probability than this wanted to say something else: it is malformed, and lets
/// nothing out.
pub(super) const LEGAL_MASS_FLOOR: f64 = 0.5;

/// Cases up to this size are tokenized at once, longer ones on a thread of their own.
const INLINE_BYTES: usize = 16 * 1024;

/// Turns of the longer ones, also of those that nobody waits for any more.
static LONG: LazyLock<Arc<Semaphore>> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Arc::new(Semaphore::new(cores.max(2)))
});

impl Judge {
    /// Asks the model for the label; the inner error says why it cannot answer.
    pub(super) async fn ask_model(
        &self,
        request: &Request,
        deadline: Instant,
    ) -> Result<Result<(Scored, mpsc::Receiver<Event>), String>, JudgeError> {
        let ready = match self.engine.state() {
            State::Ready(ready) => ready,
            other => return Ok(Err(other.trouble().unwrap_or_default())),
        };
        let turn = match request.bytes > INLINE_BYTES {
            true => within(deadline, Arc::clone(&LONG).acquire_owned())
                .await?
                .ok(),
            false => None,
        };
        let started = Instant::now();
        let Some(prompt) = within(deadline, render(ready, request, turn)).await? else {
            return Ok(Err("the prompt was not rendered: see the log".to_owned()));
        };
        let prompt = prompt?;
        Stages::rendered(started);
        let submitted = self.engine.submit(
            prompt,
            request.rationale,
            request.caller,
            request.arrived,
            deadline,
        );
        let mut events = match submitted {
            Ok(events) => events,
            Err(SubmitError::QueueFull) => return Err(JudgeError::QueueFull),
            Err(SubmitError::Dead) => return Ok(Err(self.engine_trouble())),
        };
        let event = self.next_event(&mut events, deadline).await?;
        match &event {
            Some(Event::Scored(scored)) if request.rationale == RationaleMode::None => {
                self.note_call(event.as_ref(), Some(&scored.scores));
            }
            // It has not ended yet.
            Some(Event::Scored(_)) => {}
            _ => self.note_call(event.as_ref(), None),
        }
        match event {
            Some(Event::Scored(scored)) => Ok(Ok((scored, events))),
            Some(Event::Failed(JobError::DeadlineExceeded)) => Err(JudgeError::DeadlineExceeded),
            Some(Event::Failed(JobError::Displaced)) => Err(JudgeError::QueueFull),
            Some(Event::Failed(JobError::DeadlineOutOfReach(needed))) => {
                Err(JudgeError::DeadlineOutOfReach(needed))
            }
            Some(Event::Failed(error)) => Ok(Err(error.to_string())),
            Some(Event::Answered(_)) | None => Ok(Err(self.engine_trouble())),
        }
    }

    /// The job's next event; `None` if the engine cannot give one.
    pub(super) async fn next_event(
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

    /// Tells the kill switch how a call of the model ended.
    pub(super) fn note_call(&self, end: Option<&Event>, scores: Option<&Scores>) {
        let well_formed = match end {
            Some(Event::Scored(_) | Event::Answered(_)) => {
                scores.is_some_and(|scores| scores.legal_mass >= LEGAL_MASS_FLOOR)
            }
            Some(Event::Failed(JobError::Malformed(_) | JobError::Decode(_))) => false,
            // These tell nothing of the model.
            Some(Event::Failed(
                JobError::DeadlineExceeded
                | JobError::DeadlineOutOfReach(_)
                | JobError::Displaced
                | JobError::AdapterOff,
            ))
            | None => return,
        };
        self.authority
            .note(kill_switch::Event::Call { well_formed });
    }

    pub(super) fn engine_trouble(&self) -> String {
        let state = self.engine.state();
        state
            .trouble()
            .unwrap_or_else(|| "the engine failed".to_owned())
    }
}

/// The prompt's tokens; `None` if that panicked. With a turn it is done on a thread of its own.
async fn render(
    ready: Arc<Ready>,
    request: &Request,
    turn: Option<OwnedSemaphorePermit>,
) -> Option<Result<Vec<Token>, PromptTooLong>> {
    let Some(turn) = turn else {
        let render = AssertUnwindSafe(|| ready.prompt.render(&request.case));
        return catch_unwind(render).ok();
    };
    let case = request.case.clone();
    let render = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        ready.prompt.render(&case)
    });
    render.await.ok()
}
