//! Errors to gRPC statuses: the failure table, in one place.

use std::collections::HashMap;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use super::proto;
use crate::decision_log::LogError;
use crate::judge::{AuthorityError, JudgeError, SpotCheckError};
use crate::kill_switch::Refusal;
use crate::tokens::Denied;

/// The domain of our ErrorInfo reasons.
pub const DOMAIN: &str = "judged";

/// The longest text in a status, in bytes. It may repeat what a caller sent, goes as a header, and
/// clients take 16 KiB of these.
const TEXT_LIMIT: usize = 1000;

/// When a refused caller may try again.
const RETRY_BUSY: Duration = Duration::from_secs(1);
/// Space has to be made, or a file put back.
const RETRY_STORAGE: Duration = Duration::from_secs(5);
/// A drain ends with this process: another one may be up by then.
const RETRY_DRAINING: Duration = Duration::from_secs(5);

/// Why a request got no verdict.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    #[error("{}", violations.first().map_or("malformed request", |violation| violation.description.as_str()))]
    Malformed { violations: Vec<Violation> },
    #[error(transparent)]
    Judge(#[from] JudgeError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error(transparent)]
    SpotCheck(#[from] SpotCheckError),
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error("as many calls as `max_calls` allows are under way")]
    TooManyCalls,
    #[error("as many health checks as one connection may have are under way")]
    TooManyHealthChecks,
    #[error("the call has more than one message")]
    SecondMessage,
    #[error("the message did not come, or the answer was not done, within the longest deadline")]
    MessageLate,
}

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub field: &'static str,
    pub description: String,
}

/// A row of the failure table.
struct Row {
    code: Code,
    reason: &'static str,
    retry: Option<Duration>,
    violations: Vec<Violation>,
}

impl Failure {
    /// One field that is wrong.
    pub fn malformed(field: &'static str, description: impl Into<String>) -> Self {
        let description = description.into();
        Failure::Malformed {
            violations: vec![Violation { field, description }],
        }
    }

    fn row(&self) -> Row {
        let row = |code, reason, retry| Row {
            code,
            reason,
            retry,
            violations: Vec::new(),
        };
        match self {
            Failure::Malformed { violations } => Row {
                violations: violations.clone(),
                ..row(Code::InvalidArgument, "MALFORMED_REQUEST", None)
            },
            Failure::Judge(error) => match error {
                JudgeError::Draining => row(Code::Unavailable, "DRAINING", Some(RETRY_DRAINING)),
                JudgeError::QueueFull => {
                    row(Code::ResourceExhausted, "QUEUE_FULL", Some(RETRY_BUSY))
                }
                JudgeError::DeadlineExceeded => {
                    row(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", None)
                }
                JudgeError::DeadlineOutOfReach(_) => row(
                    Code::DeadlineExceeded,
                    "DEADLINE_OUT_OF_REACH",
                    Some(RETRY_BUSY),
                ),
                JudgeError::PromptTooLong(error) => Row {
                    violations: vec![Violation {
                        field: "draft",
                        description: error.to_string(),
                    }],
                    ..row(Code::InvalidArgument, "PROMPT_TOO_LONG", None)
                },
                JudgeError::RequestIdReused(_) => {
                    row(Code::AlreadyExists, "REQUEST_ID_REUSED", None)
                }
                // It is the same at the next try, and concerns this request alone.
                JudgeError::NotRecorded(error) if !error.is_of_storage() => {
                    row(Code::Internal, "LOG_INCONSISTENT", None)
                }
                JudgeError::NotRecorded(_) => row(
                    Code::Unavailable,
                    "DECISION_NOT_RECORDED",
                    Some(RETRY_STORAGE),
                ),
            },
            Failure::Log(error) => log_row(error),
            Failure::Denied(denied) => match denied {
                Denied::Missing => row(Code::Unauthenticated, "TOKEN_MISSING", None),
                Denied::Unknown => row(Code::Unauthenticated, "TOKEN_UNKNOWN", None),
                Denied::Scope { .. } => row(Code::PermissionDenied, "SCOPE_MISSING", None),
            },
            Failure::TooManyCalls | Failure::TooManyHealthChecks => {
                row(Code::ResourceExhausted, "TOO_MANY_CALLS", Some(RETRY_BUSY))
            }
            Failure::SecondMessage => row(Code::InvalidArgument, "MALFORMED_REQUEST", None),
            Failure::MessageLate => row(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", None),
            Failure::SpotCheck(error) => match error {
                SpotCheckError::Running => row(Code::Aborted, "SPOT_CHECK_RUNS", None),
                SpotCheckError::NoModel(_) => row(Code::FailedPrecondition, "NO_MODEL", None),
                SpotCheckError::Case { source, .. } => Failure::from(source.clone()).row(),
                SpotCheckError::Log(error) => log_row(error),
            },
            Failure::Authority(error) => match error {
                AuthorityError::Empty(field) => Row {
                    violations: vec![Violation {
                        field,
                        description: error.to_string(),
                    }],
                    ..row(Code::InvalidArgument, "MALFORMED_REQUEST", None)
                },
                AuthorityError::Refused(refusal) => match refusal {
                    Refusal::Empty(field) | Refusal::TooLong { field, .. } => Row {
                        violations: vec![Violation {
                            field,
                            description: error.to_string(),
                        }],
                        ..row(Code::InvalidArgument, "MALFORMED_REQUEST", None)
                    },
                    Refusal::Armed | Refusal::InShadow => {
                        row(Code::FailedPrecondition, "NOT_TRIPPED", None)
                    }
                    Refusal::AdapterNotLoadable { .. } => {
                        row(Code::FailedPrecondition, "ADAPTER_NOT_LOADABLE", None)
                    }
                },
                AuthorityError::Overruled { .. } => {
                    row(Code::FailedPrecondition, "KILL_SWITCH_TRIPPED", None)
                }
                AuthorityError::Overtaken(_) => row(Code::Aborted, "KILL_SWITCH_OVERTAKEN", None),
                AuthorityError::Log(error) => log_row(error),
            },
        }
    }

    pub fn code(&self) -> Code {
        self.row().code
    }

    /// The stable reason.
    pub fn reason(&self) -> &'static str {
        self.row().reason
    }

    /// As a unary call's status.
    pub fn to_status(&self) -> Status {
        let row = self.row();
        let mut details = ErrorDetails::new();
        details.set_error_info(row.reason, DOMAIN, HashMap::new());
        if !row.violations.is_empty() {
            let violations = row.violations.into_iter();
            let violations = violations
                .map(|violation| FieldViolation::new(violation.field, cut(violation.description)));
            details.set_bad_request(violations.collect::<Vec<_>>());
        }
        if row.retry.is_some() {
            details.set_retry_info(row.retry);
        }
        Status::with_error_details(row.code, cut(self.to_string()), details)
    }

    /// As an event of a stream.
    pub fn to_event(&self) -> proto::ErrorEvent {
        let row = self.row();
        proto::ErrorEvent {
            code: row.code as i32,
            message: self.to_string(),
            reason: row.reason.to_owned(),
            field_violations: row
                .violations
                .into_iter()
                .map(|violation| proto::FieldViolation {
                    field: violation.field.to_owned(),
                    description: violation.description,
                })
                .collect(),
            retry_delay: row.retry.map(super::convert::duration),
        }
    }
}

fn cut(mut text: String) -> String {
    if text.len() > TEXT_LIMIT {
        text.truncate(text.floor_char_boundary(TEXT_LIMIT));
        text.push('…');
    }
    text
}

/// As the gRPC specification writes it.
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

fn log_row(error: &LogError) -> Row {
    let row = |code, reason, retry| Row {
        code,
        reason,
        retry,
        violations: Vec::new(),
    };
    match error {
        LogError::UnknownDecision(_) => row(Code::NotFound, "UNKNOWN_DECISION", None),
        LogError::PageToken(_) => Row {
            violations: vec![Violation {
                field: "page_token",
                description: error.to_string(),
            }],
            ..row(Code::InvalidArgument, "MALFORMED_REQUEST", None)
        },
        LogError::TooManyOutcomes { .. } => {
            row(Code::FailedPrecondition, "TOO_MANY_OUTCOMES", None)
        }
        LogError::Dispatched(_) => row(Code::FailedPrecondition, "DECISION_DISPATCHED", None),
        LogError::DecisionIdTaken(_)
        | LogError::RequestIdTaken(_)
        | LogError::AlreadyThere { .. }
        | LogError::SpotCheckTaken(_)
        | LogError::Unwritable(_)
        | LogError::Unreadable { .. } => row(Code::Internal, "LOG_INCONSISTENT", None),
        LogError::Full(_)
        | LogError::ReadOnly(_)
        | LogError::Busy(_)
        | LogError::Io { .. }
        | LogError::Corrupt { .. }
        | LogError::Gone(_)
        | LogError::NotALog(_)
        | LogError::Newer { .. }
        | LogError::Closed => row(Code::Unavailable, "LOG_UNAVAILABLE", Some(RETRY_STORAGE)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_has_room_for_the_start_of_a_long_text_only() {
        let status = Failure::malformed("suite_jsonl", "ä€".repeat(20_000)).to_status();
        let details = status.get_error_details();
        let violations = &details.bad_request().unwrap().field_violations;
        for text in [status.message(), &violations[0].description] {
            assert!(text.starts_with("ä€ä€") && text.ends_with('…'), "{text}");
            assert!((TEXT_LIMIT - 3..=TEXT_LIMIT + 3).contains(&text.len()));
        }
    }
}
