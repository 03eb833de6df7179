//! Why a message is dead.

use crate::client::ClientError;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Poison {
    pub cause: Cause,
    /// Stable.
    pub reason: String,
    /// One line, for people.
    pub error: String,
}

/// What it died of, in few words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    NoDraft,
    TooOften,
    Refused,
}

impl Cause {
    /// In the order of their numbers.
    pub const ALL: [Self; 3] = [Self::NoDraft, Self::TooOften, Self::Refused];

    /// The stable name, for metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::NoDraft => "no_draft",
            Cause::TooOften => "delivered_too_often",
            Cause::Refused => "refused",
        }
    }
}

/// In characters: headers count towards what a message may have.
const LONGEST_ERROR: usize = 500;

impl Poison {
    pub(super) fn no_draft(error: impl Into<String>) -> Self {
        Self::new(Cause::NoDraft, "NO_DRAFT", error)
    }

    /// With how it ended the last time.
    pub(super) fn too_often(deliveries: i64, last: &str) -> Self {
        let error = format!("it was delivered {deliveries} times without an end: {last}");
        Self::new(Cause::TooOften, "DELIVERED_TOO_OFTEN", error)
    }

    /// By the daemon, which gives a reason; by what is between, perhaps without one.
    pub(super) fn refused(error: &ClientError) -> Self {
        let reason = error.reason().filter(|reason| !reason.is_empty());
        let reason = reason.unwrap_or("REFUSED".to_owned());
        Self::new(Cause::Refused, reason, error.to_string())
    }

    fn new(cause: Cause, reason: impl Into<String>, error: impl Into<String>) -> Self {
        let error: String = error.into();
        let plain = error.chars().map(|letter| match letter.is_control() {
            true => ' ',
            false => letter,
        });
        Self {
            cause,
            reason: reason.into(),
            error: plain.take(LONGEST_ERROR).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_of_bounded_length() {
        let poison = Poison::no_draft(format!("a\r\nb{}", "c".repeat(1000)));
        assert!(poison.error.starts_with("a  bccc"));
        assert_eq!(poison.error.len(), 500);
    }
}
