//! Why something was not recorded, or not found.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::ErrorCode;
use rusqlite::ffi::SQLITE_READONLY_DBMOVED;

#[derive(Clone, Debug, thiserror::Error)]
pub enum LogError {
    #[error(
        "no space is left for the decision log `{}`: it goes on by itself once there is some",
        .0.display()
    )]
    Full(PathBuf),
    #[error(
        "the decision log `{}` cannot be written: make its file and folder writable for the daemon",
        .0.display()
    )]
    ReadOnly(PathBuf),
    #[error(
        "another process holds the decision log `{}` locked: end its transaction",
        .0.display()
    )]
    Busy(PathBuf),
    #[error("cannot {action} the decision log `{}`: {reason}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        reason: Arc<str>,
    },
    #[error(
        "the decision log `{}` is damaged: {found}; stop the daemon, move the file away together \
         with its -wal and -shm, and restore a copy or start with a new file \
         (`sqlite3 FILE .recover` saves what can be read); an old copy or a new file \
         forgets a trip of the kill switch",
        path.display()
    )]
    Corrupt { path: PathBuf, found: Arc<str> },
    #[error(
        "the decision log's file `{}` was deleted or replaced while the daemon wrote to it: \
         restart the daemon, which goes on with the file that is there then; a new one \
         forgets a trip of the kill switch",
        .0.display()
    )]
    Gone(PathBuf),
    #[error("`{}` is a database of another program, not a decision log", .0.display())]
    NotALog(PathBuf),
    #[error(
        "the decision log `{}` has version {found}, and this daemon knows none above {known}: \
         start a newer daemon, or give this one a state folder of its own, which \
         forgets a trip of the kill switch",
        path.display()
    )]
    Newer {
        path: PathBuf,
        found: i64,
        known: i64,
    },
    #[error("the decision log is closed")]
    Closed,
    #[error("decision `{0}` is not in the log")]
    UnknownDecision(String),
    #[error("decision id `{0}` is in the log already")]
    DecisionIdTaken(String),
    #[error("request id `{0}` stands for another decision")]
    RequestIdTaken(String),
    #[error("decision `{decision_id}` has its {what} already")]
    AlreadyThere {
        decision_id: String,
        what: &'static str,
    },
    #[error("decision `{decision_id}` has {limit} outcomes already, which is the most it may have")]
    TooManyOutcomes { decision_id: String, limit: u32 },
    #[error(
        "decision `{0}` let its draft go, so it is no false positive: report `missed-violation` \
         where a rule was violated, else `right`"
    )]
    Dispatched(String),
    #[error("spot check `{0}` is in the log already")]
    SpotCheckTaken(String),
    #[error("`{}` is no page token of this log", .0.escape_debug())]
    PageToken(String),
    #[error("not a row of the decision log: {0}")]
    Unwritable(Arc<str>),
    #[error("{what} is not readable: {reason}")]
    Unreadable { what: String, reason: Arc<str> },
}

impl LogError {
    pub(super) fn io(
        action: &'static str,
        path: &Path,
        reason: impl std::fmt::Display,
    ) -> LogError {
        LogError::Io {
            action,
            path: path.to_owned(),
            reason: reason.to_string().into(),
        }
    }

    pub(super) fn unreadable(what: String, reason: impl std::fmt::Display) -> LogError {
        LogError::Unreadable {
            what,
            reason: reason.to_string().into(),
        }
    }

    /// What SQLite said while it did `action`.
    pub(super) fn of_sqlite(
        action: &'static str,
        path: &Path,
        error: &rusqlite::Error,
    ) -> LogError {
        if error.sqlite_extended_error_code() == Some(SQLITE_READONLY_DBMOVED) {
            return LogError::Gone(path.to_owned());
        }
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => LogError::Full(path.to_owned()),
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
                LogError::ReadOnly(path.to_owned())
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                LogError::Busy(path.to_owned())
            }
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => LogError::Corrupt {
                path: path.to_owned(),
                found: error.to_string().into(),
            },
            _ => {
                let code = error.sqlite_extended_error_code();
                let code = code.map_or_else(String::new, |code| format!(" (code {code})"));
                LogError::io(action, path, format_args!("{error}{code}"))
            }
        }
    }

    /// The file cannot be written: it concerns every command, not one.
    pub fn is_of_storage(&self) -> bool {
        match self {
            LogError::Full(_) | LogError::ReadOnly(_) | LogError::Busy(_) | LogError::Io { .. } => {
                true
            }
            LogError::NotALog(_) | LogError::Newer { .. } | LogError::Closed => true,
            LogError::Corrupt { .. } | LogError::Gone(_) => true,
            LogError::UnknownDecision(_)
            | LogError::DecisionIdTaken(_)
            | LogError::RequestIdTaken(_)
            | LogError::AlreadyThere { .. }
            | LogError::TooManyOutcomes { .. }
            | LogError::Dispatched(_)
            | LogError::SpotCheckTaken(_)
            | LogError::PageToken(_)
            | LogError::Unwritable(_)
            | LogError::Unreadable { .. } => false,
        }
    }

    /// Nothing is recorded any more until a restart.
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            LogError::Corrupt { .. } | LogError::Gone(_) | LogError::Closed
        )
    }
}
