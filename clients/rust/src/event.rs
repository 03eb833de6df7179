//! What a stream of drafts gives back.

use tonic::Streaming;

use crate::error::JudgeError;
use crate::proto::{JudgeStreamResponse, judge_stream_response};
use crate::verdict::{Timings, Usage, Verdict};

/// What became of one draft, matched by its request id.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The label is certain. A rationale, if one was asked for, is still to come.
    Judged(Verdict),
    /// The rationale of what was judged before.
    Reasoned {
        /// Of the draft.
        request_id: String,
        /// That of its verdict.
        decision_id: String,
        /// One sentence, or evidence; empty if it failed.
        rationale: String,
        /// Tokens in all.
        usage: Usage,
        /// Times in all.
        timings: Timings,
    },
    /// No verdict, or no rationale of one that came before; the others go on.
    Failed {
        /// Of the draft.
        request_id: String,
        /// Why.
        error: JudgeError,
    },
}

/// Events in the order in which they come. Dropped, the daemon stops working for it.
#[derive(Debug)]
pub struct Events(pub(crate) Streaming<JudgeStreamResponse>);

impl Events {
    /// The next one; `None` once the drafts have ended and each has its last word.
    ///
    /// # Errors
    /// The stream broke. Send what has no verdict again, with the same ids.
    pub async fn next(&mut self) -> Result<Option<Event>, JudgeError> {
        loop {
            let message = self.0.message().await;
            let Some(message) = message.map_err(|status| JudgeError::of_status(&status))? else {
                return Ok(None);
            };
            // Of a newer daemon may come what this client does not know.
            if let Some(event) = Event::of_wire(message) {
                return Ok(Some(event));
            }
        }
    }
}

impl Event {
    fn of_wire(message: JudgeStreamResponse) -> Option<Self> {
        let request_id = message.request_id;
        Some(match message.event? {
            judge_stream_response::Event::Verdict(answer) => {
                Event::Judged(Verdict::of_wire(request_id, answer))
            }
            judge_stream_response::Event::Rationale(event) => Event::Reasoned {
                request_id,
                decision_id: event.decision_id,
                rationale: event.rationale,
                usage: event.usage.map(Usage::of_wire).unwrap_or_default(),
                timings: event.timings.map(Timings::of_wire).unwrap_or_default(),
            },
            judge_stream_response::Event::Error(event) => Event::Failed {
                request_id,
                error: JudgeError::of_event(event),
            },
        })
    }
}
