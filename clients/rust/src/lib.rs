//! A client of judged, which decides whether an AI-written sales e-mail may be sent.
//!
//! Send nothing without a verdict whose [`Verdict::may_send`] is true. An error is no verdict.

mod connection;
mod draft;
mod error;
mod event;
mod judge;
mod report;
mod verdict;

pub use self::connection::{Connection, ConnectionError};
pub use self::draft::{Channel, Draft, Rationale};
pub use self::error::{FieldViolation, JudgeError, Kind};
pub use self::event::{Event, Events};
pub use self::judge::Judge;
pub use self::report::{Finding, Report};
pub use self::verdict::{DecidedBy, Disposition, Label, Mode, Revision, Timings, Usage, Verdict};
pub use tonic::Code;

/// The wire types, generated from `proto/`.
mod proto {
    #![expect(clippy::all, reason = "generated")]
    tonic::include_proto!("judge.v1");
}
