//! What goes wrong, by what a caller can do about it.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use tonic::{Code, Status, TimeoutExpired};
use tonic_types::StatusExt;

use crate::proto;

/// There is no verdict: send nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JudgeError {
    /// gRPC's code.
    pub code: Code,
    /// For a person.
    pub message: String,
    /// The stable name of the cause, such as `QUEUE_FULL`; empty where the daemon was not reached.
    pub reason: String,
    /// What is wrong with the request.
    pub field_violations: Vec<FieldViolation>,
    /// After which to try again; `None` where the daemon does not say so.
    pub retry_delay: Option<Duration>,
}

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldViolation {
    /// Its name.
    pub field: String,
    /// What is wrong with it.
    pub description: String,
}

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Mend what the violations name.
    InvalidRequest,
    /// Bring a token with the scope that the message names.
    Denied,
    /// Try again later, with the same id.
    Unavailable,
    /// The same, with more time.
    DeadlineExceeded,
    /// Tell whoever runs the daemon.
    Other,
}

impl JudgeError {
    /// What to do about it.
    pub fn kind(&self) -> Kind {
        match self.code {
            Code::InvalidArgument
            | Code::OutOfRange
            | Code::AlreadyExists
            | Code::NotFound
            | Code::FailedPrecondition => Kind::InvalidRequest,
            Code::Unauthenticated | Code::PermissionDenied => Kind::Denied,
            Code::Unavailable | Code::ResourceExhausted => Kind::Unavailable,
            Code::DeadlineExceeded => Kind::DeadlineExceeded,
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::Aborted
            | Code::Unimplemented
            | Code::Internal
            | Code::DataLoss => Kind::Other,
        }
    }

    pub(crate) fn deadline_exceeded() -> Self {
        Self::here(Code::DeadlineExceeded, "no answer came before the deadline")
    }

    /// Found without the daemon.
    pub(crate) fn here(code: Code, message: &str) -> Self {
        Self {
            code,
            message: message.to_owned(),
            reason: String::new(),
            field_violations: Vec::new(),
            retry_delay: None,
        }
    }

    pub(crate) fn of_status(status: &Status) -> Self {
        // A status of the daemon has no source: the connection failed, or our own timer has.
        if let Some(source) = status.source() {
            return match causes(source).any(|cause| cause.is::<TimeoutExpired>()) {
                true => Self::deadline_exceeded(),
                false => Self::here(Code::Unavailable, &told(source)),
            };
        }
        let details = status.get_error_details();
        let violations = details.bad_request();
        let violations = violations.map(|bad| bad.field_violations.clone());
        let violations = violations.unwrap_or_default().into_iter();
        Self {
            code: status.code(),
            message: status.message().to_owned(),
            reason: details
                .error_info()
                .map(|info| info.reason.clone())
                .unwrap_or_default(),
            field_violations: violations
                .map(|violation| FieldViolation {
                    field: violation.field,
                    description: violation.description,
                })
                .collect(),
            retry_delay: details.retry_info().and_then(|info| info.retry_delay),
        }
    }

    pub(crate) fn of_event(event: proto::ErrorEvent) -> Self {
        let violations = event.field_violations.into_iter();
        let delay = event
            .retry_delay
            .and_then(|delay| Duration::try_from(delay).ok());
        Self {
            code: Code::from(event.code),
            message: event.message,
            reason: event.reason,
            field_violations: violations
                .map(|violation| FieldViolation {
                    field: violation.field,
                    description: violation.description,
                })
                .collect(),
            retry_delay: delay,
        }
    }
}

/// What the transport says alone is often `transport error`.
fn told(error: &(dyn Error + 'static)) -> String {
    let causes: Vec<String> = causes(error).map(ToString::to_string).collect();
    causes.join(": ")
}

/// An error, and what is behind it.
fn causes<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |cause| (*cause).source())
}

impl fmt::Display for JudgeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason.as_str() {
            "" => write!(f, "{:?}: {}", self.code, self.message),
            reason => write!(f, "{:?} ({reason}): {}", self.code, self.message),
        }
    }
}

impl Error for JudgeError {}
