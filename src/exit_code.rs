//! How every subcommand ends: the one list, also shown by `judged --help`.

use crate::client::ClientError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// Done.
    Ok = 0,
    /// Something failed; stderr says what.
    Failed = 1,
    /// The command line or the settings are wrong.
    Usage = 2,
    /// No daemon answers at the address, or no NATS server.
    Unreachable = 3,
    /// The daemon refused at least one request; the others were answered.
    Refused = 4,
    /// The daemon, or this machine, cannot judge by the model.
    Degraded = 5,
    /// `judged serve --supervise`: the daemon crashed again and again.
    Crashing = 6,
    /// `judged judge --fail-on` met what it names.
    LabelMet = 10,
    /// `judged eval --baseline`: the judge has become worse.
    Worse = 11,
    /// `judged spot-check`: the kill switch tripped.
    Tripped = 12,
    /// Who read stdout left before all was written.
    ReaderGone = 141,
}

/// For `judged --help`.
pub const HELP: &str = "\
Exit codes:
   0  done
   1  something failed; stderr says what
   2  the command line or the settings are wrong
   3  no daemon answers at the address, or no NATS server
   4  the daemon refused at least one request; the others were answered
   5  the daemon, or this machine, cannot judge by the model
   6  `judged serve --supervise`: the daemon crashed again and again
  10  `judged judge --fail-on` met what it names
  11  `judged eval --baseline`: the judge has become worse
  12  `judged spot-check` has tripped the kill switch
 141  who read stdout left before all was written, as `head` does";

impl From<&ClientError> for ExitCode {
    fn from(error: &ClientError) -> Self {
        match error {
            ClientError::Address { .. }
            | ClientError::TokenInClear { .. }
            | ClientError::Token
            | ClientError::Tls { .. } => ExitCode::Usage,
            ClientError::Answer(_) => ExitCode::Failed,
            error if error.is_unavailable() => ExitCode::Unreachable,
            ClientError::Unreachable { .. } | ClientError::Refused { .. } => ExitCode::Refused,
        }
    }
}
