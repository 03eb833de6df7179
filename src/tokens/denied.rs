//! Why a call was not let in.

use std::sync::Arc;

use super::Scope;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    #[error("this daemon asks for a token: send the header `authorization: Bearer TOKEN`")]
    Missing,
    #[error(
        "the token is not known here: it was revoked or mistyped; `judged token new` makes one"
    )]
    Unknown,
    #[error("the token of `{caller}` lacks the scope `{scope}`, which this call needs")]
    Scope { caller: Arc<str>, scope: Scope },
}
