//! What can be wrong with a file of tokens.

use crate::names::UnknownName;

#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    #[error("it is no TOML of `[[token]]` tables: {0}")]
    Syntax(String),
    #[error("the name `{0}` is not 1 to 64 letters, digits, `-`, `_` or `.`")]
    Name(String),
    #[error("two tokens have the name `{0}`: logs could not tell them apart")]
    NameTwice(String),
    #[error("`{name}`: `sha256` is not 64 hexadecimal digits")]
    Sha256 { name: String },
    #[error("`{name}` has the hash of another token: make each its own with `judged token new`")]
    HashTwice { name: String },
    #[error("`{name}`: {source}")]
    Scope { name: String, source: UnknownName },
    #[error("`{name}` has no scope: give it some of `judge`, `feedback`, `control`")]
    NoScope { name: String },
}
