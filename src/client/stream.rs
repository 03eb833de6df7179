//! One request over JudgeStream: its label comes before its sentence.

use std::collections::HashMap;
use std::time::Duration;

use tonic::{Code, Request};
use tonic_types::{ErrorDetails, StatusExt};

use super::decision::{decision, duration, timings, usage};
use super::error::refused;
use super::{Client, ClientError, Question};
use crate::rpc::proto;
use crate::rpc::proto::judge_stream_response::Event;
use crate::rpc::status::DOMAIN;
use crate::verdict::Decision;

impl Client {
    /// Judges over a stream of its own. `labelled` is told once the label is certain; what is
    /// returned has the sentence too. The question needs a request id.
    pub async fn judge_in_steps(
        &mut self,
        question: Question,
        labelled: impl FnOnce(&Decision),
    ) -> Result<Decision, ClientError> {
        let timeout = question.timeout;
        let message = proto::JudgeStreamRequest {
            request: Some(question.into_message()),
        };
        let mut request = Request::new(tokio_stream::once(message));
        if let Some(timeout) = timeout {
            request.set_timeout(timeout);
        }
        let response = self.judge.judge_stream(request).await.map_err(refused)?;
        let mut events = response.into_inner();
        let mut judged = None;
        let mut labelled = Some(labelled);
        while let Some(message) = events.message().await.map_err(refused)? {
            match (message.event, &mut judged) {
                (Some(Event::Verdict(verdict)), None) => {
                    let verdict = decision(verdict)?;
                    if let Some(labelled) = labelled.take() {
                        labelled(&verdict);
                    }
                    judged = Some(verdict);
                }
                (Some(Event::Rationale(event)), Some(judged)) => {
                    judged.rationale = event.rationale;
                    judged.usage = event.usage.map_or(judged.usage, usage);
                    judged.timings = event.timings.map_or(judged.timings, timings);
                }
                (Some(Event::Error(event)), _) => return Err(refused_by(event)),
                (event, _) => {
                    let unexpected = format!("an event came out of order: {event:?}");
                    return Err(ClientError::Answer(unexpected));
                }
            }
        }
        judged.ok_or_else(|| ClientError::Answer("the stream ended without a verdict".to_owned()))
    }
}

/// As a unary call would have been refused.
fn refused_by(event: proto::ErrorEvent) -> ClientError {
    let mut details = ErrorDetails::with_error_info(event.reason, DOMAIN, HashMap::new());
    let delay = event.retry_delay.map(|delay| duration(Some(delay)));
    if delay.is_some_and(|delay| delay > Duration::ZERO) {
        details.set_retry_info(delay);
    }
    refused(tonic::Status::with_error_details(
        Code::from(event.code),
        event.message,
        details,
    ))
}
