//! A person takes responsibility for the adapter again.

use serde::{Deserialize, Serialize};

use super::UnixMicros;

const BY_CHARS: usize = 200;
const REASON_CHARS: usize = 2_000;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rearm {
    pub by: String,
    pub reason: String,
    pub at: UnixMicros,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("`{0}` is empty: say who re-arms the kill switch, and why")]
    Empty(&'static str),
    #[error("`{field}` has {chars} characters, more than {limit}")]
    TooLong {
        field: &'static str,
        chars: usize,
        limit: usize,
    },
    #[error("the kill switch is armed: there is nothing to re-arm")]
    Armed,
    #[error("the kill switch is in SHADOW already: re-arm it in full, or leave it so")]
    InShadow,
    #[error("the adapter cannot be loaded, put that right first: {reason}")]
    AdapterNotLoadable { reason: String },
}

impl Rearm {
    pub(super) fn checked(self) -> Result<Self, Refusal> {
        let rearm = Self {
            by: self.by.trim().to_owned(),
            reason: self.reason.trim().to_owned(),
            at: self.at,
        };
        let texts = [
            ("by", &rearm.by, BY_CHARS),
            ("reason", &rearm.reason, REASON_CHARS),
        ];
        for (field, text, limit) in texts {
            let chars = text.chars().count();
            if chars == 0 {
                return Err(Refusal::Empty(field));
            }
            if chars > limit {
                return Err(Refusal::TooLong {
                    field,
                    chars,
                    limit,
                });
            }
        }
        Ok(rearm)
    }
}
