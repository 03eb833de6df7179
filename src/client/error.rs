//! Why no answer came.

use std::fmt;
use std::time::Duration;

use tonic::{Code, TimeoutExpired};
use tonic_types::StatusExt;

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("`{addr}` is no address: {reason}")]
    Address { addr: String, reason: String },
    #[error(
        "`{addr}` is not on this machine, and the token would go there in the clear: use https://"
    )]
    TokenInClear { addr: String },
    #[error("the token cannot be sent: it is not one line of plain letters")]
    Token,
    #[error("the certificates cannot be used")]
    Tls { source: tonic::transport::Error },
    #[error("no daemon answers at `{addr}`: is `judged serve` running there?")]
    Unreachable {
        addr: String,
        source: tonic::transport::Error,
    },
    #[error("{}{}", told(status), Hints(status))]
    Refused { status: Box<tonic::Status> },
    #[error("the daemon's answer cannot be read: {0}")]
    Answer(String),
}

/// What helps against an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// The request is refused for what it is, and always will be.
    Mend,
    /// The daemon is away, full, or does not know us, or something else answers in its place: the
    /// request may stay as it is.
    Wait,
    /// Another try, which may end like this one: a deadline has passed, a connection broke.
    Retry,
}

impl ClientError {
    pub fn remedy(&self) -> Remedy {
        let status = match self {
            ClientError::Refused { status } => status,
            ClientError::Unreachable { .. } => return Remedy::Wait,
            ClientError::Address { .. }
            | ClientError::TokenInClear { .. }
            | ClientError::Token
            | ClientError::Tls { .. }
            | ClientError::Answer(_) => return Remedy::Retry,
        };
        match status.code() {
            Code::InvalidArgument | Code::AlreadyExists | Code::OutOfRange => Remedy::Mend,
            Code::Unavailable
            | Code::ResourceExhausted
            | Code::Unauthenticated
            | Code::PermissionDenied
            | Code::Unimplemented => Remedy::Wait,
            Code::DeadlineExceeded if retry_delay(status).is_some() => Remedy::Wait,
            _ => Remedy::Retry,
        }
    }

    /// The gRPC code's name, where the daemon gave one.
    pub fn code(&self) -> Option<String> {
        match self {
            ClientError::Refused { status } => Some(format!("{:?}", status.code())),
            _ => None,
        }
    }

    /// The stable reason, where the daemon gave one.
    pub fn reason(&self) -> Option<String> {
        match self {
            ClientError::Refused { status } => {
                Some(status.get_error_details().error_info()?.reason.clone())
            }
            _ => None,
        }
    }

    /// Whether the same request may well succeed a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            ClientError::Refused { status } => match status.code() {
                Code::Unavailable | Code::ResourceExhausted => true,
                // Out of reach for what is read before it; one that has passed names no delay.
                Code::DeadlineExceeded => retry_delay(status).is_some(),
                _ => false,
            },
            _ => false,
        }
    }

    /// When to try again, where the daemon said so.
    pub fn retry_delay(&self) -> Option<Duration> {
        match self {
            ClientError::Refused { status } => retry_delay(status),
            _ => None,
        }
    }

    /// Whether no daemon answered, or one that is about to end.
    pub fn is_unavailable(&self) -> bool {
        match self {
            ClientError::Unreachable { .. } => true,
            ClientError::Refused { status } => status.code() == Code::Unavailable,
            ClientError::Address { .. }
            | ClientError::TokenInClear { .. }
            | ClientError::Token
            | ClientError::Tls { .. }
            | ClientError::Answer(_) => false,
        }
    }
}

/// A server that does not know a call often says no word of it.
fn told(status: &tonic::Status) -> &str {
    match (status.code(), status.message()) {
        (Code::Unimplemented, "") => {
            "no such call is known there: is it the address of another service?"
        }
        (_, message) => message,
    }
}

/// When to try again, from a status's details.
fn retry_delay(status: &tonic::Status) -> Option<Duration> {
    let details = status.get_error_details();
    details.retry_info().and_then(|info| info.retry_delay)
}

struct Hints<'s>(&'s tonic::Status);

impl fmt::Display for Hints<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match retry_delay(self.0) {
            Some(delay) => write!(f, " (try again in {} s)", delay.as_secs_f64()),
            None => Ok(()),
        }
    }
}

pub(super) fn refused(status: tonic::Status) -> ClientError {
    let first = std::error::Error::source(&status);
    let mut causes = std::iter::successors(first, |cause| cause.source());
    // To the transport, our own deadline is a cancellation.
    let status = match causes.any(|cause| cause.is::<TimeoutExpired>()) {
        true => tonic::Status::deadline_exceeded("no answer came before the deadline"),
        false => status,
    };
    ClientError::Refused {
        status: Box::new(status),
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    fn out_of_reach() -> ClientError {
        let mut details = ErrorDetails::new();
        details.set_retry_info(Some(Duration::from_secs(1)));
        let status = tonic::Status::with_error_details(Code::DeadlineExceeded, "", details);
        refused(status)
    }

    #[test]
    fn what_helps_depends_on_the_code_and_on_when_to_try_again() {
        let remedy = |code| refused(tonic::Status::new(code, "")).remedy();
        assert_eq!(remedy(Code::InvalidArgument), Remedy::Mend);
        assert_eq!(remedy(Code::AlreadyExists), Remedy::Mend);
        assert_eq!(remedy(Code::Unavailable), Remedy::Wait);
        assert_eq!(remedy(Code::PermissionDenied), Remedy::Wait);
        assert_eq!(remedy(Code::Unimplemented), Remedy::Wait);
        assert_eq!(remedy(Code::Unknown), Remedy::Retry);
        assert_eq!(remedy(Code::DeadlineExceeded), Remedy::Retry);
        assert_eq!(out_of_reach().remedy(), Remedy::Wait);
    }

    #[test]
    fn where_a_call_is_not_known_and_nothing_is_said_the_address_is_asked_about() {
        let told = |message: &str| refused(tonic::Status::unimplemented(message)).to_string();
        assert!(told("").contains("the address of another service"));
        assert_eq!(told("not here"), "not here");
    }

    #[test]
    fn a_deadline_that_is_out_of_reach_may_be_met_a_little_later_and_one_that_passed_may_not() {
        let is_transient = |code| refused(tonic::Status::new(code, "")).is_transient();
        assert!(out_of_reach().is_transient());
        assert!(is_transient(Code::Unavailable) && is_transient(Code::ResourceExhausted));
        assert!(!is_transient(Code::DeadlineExceeded) && !is_transient(Code::InvalidArgument));
    }
}
