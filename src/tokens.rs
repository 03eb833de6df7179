//! Bearer tokens: who may call what. The file holds hashes, never tokens.
//!
//! A token is 32 random bytes, so that a plain SHA-256 of it tells nothing: there
//! are no likely ones to try. Passwords would need a slow hash.

mod denied;
mod error;
mod file;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::watch;

pub use self::denied::Denied;
pub use self::error::TokensError;
pub use self::file::entry_text;
use crate::names::UnknownName;

/// What a token lets its bearer do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// `Judge` and `JudgeStream`.
    Judge,
    /// `ReportOutcome`, which can trip the kill switch.
    Feedback,
    /// All of ControlService.
    Control,
}

impl Scope {
    pub const ALL: [Scope; 3] = [Scope::Judge, Scope::Feedback, Scope::Control];

    pub const fn as_str(self) -> &'static str {
        match self {
            Scope::Judge => "judge",
            Scope::Feedback => "feedback",
            Scope::Control => "control",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Scope::ALL.into_iter().find(|scope| scope.as_str() == text);
        known.ok_or_else(|| UnknownName::new("scope", text))
    }
}

/// Those that a file names. None at all lets nobody in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    name: Arc<str>,
    sha256: [u8; 32],
    scopes: BTreeSet<Scope>,
}

impl Tokens {
    /// Reads the text of a file.
    pub fn parse(text: &str) -> Result<Self, TokensError> {
        file::parse(text)
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Who bears the token of this hash, if they may do this; with no scope, any
    /// token will do. Every entry is compared, each in constant time.
    fn admit(&self, sha256: &[u8; 32], scope: Option<Scope>) -> Result<Arc<str>, Denied> {
        let mut found = None;
        for entry in &self.entries {
            if bool::from(entry.sha256.ct_eq(sha256)) {
                found = Some(entry);
            }
        }
        let entry = found.ok_or(Denied::Unknown)?;
        match scope {
            Some(scope) if !entry.scopes.contains(&scope) => Err(Denied::Scope {
                caller: Arc::clone(&entry.name),
                scope,
            }),
            _ => Ok(Arc::clone(&entry.name)),
        }
    }
}

/// The tokens that hold now, which may change; none where none are asked for.
pub type Current = watch::Receiver<Option<Arc<Tokens>>>;

/// What a call showed, which may hold no longer when the call still goes on.
#[derive(Clone, Debug)]
pub struct Pass {
    current: Current,
    sha256: [u8; 32],
    scope: Option<Scope>,
}

impl Pass {
    pub fn new(current: Current, token: &[u8], scope: Option<Scope>) -> Self {
        let sha256 = Sha256::digest(token).into();
        Self {
            current,
            sha256,
            scope,
        }
    }

    /// The bearer's name, if the token still is in the file with its scope.
    pub fn check(&self) -> Result<Arc<str>, Denied> {
        match &*self.current.borrow() {
            Some(tokens) => tokens.admit(&self.sha256, self.scope),
            None => Err(Denied::Unknown),
        }
    }
}

/// What our tokens begin with, so that scanners for secrets can know them.
const PREFIX: &str = "judged_";

/// A new token, by the system's generator.
pub fn fresh() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(format!("{PREFIX}{}", const_hex::encode(bytes)))
}
