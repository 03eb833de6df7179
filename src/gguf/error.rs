//! What can be wrong with a GGUF header.

use std::path::{Path, PathBuf};

use super::ValueKind;

/// A file whose header cannot be used. Says all there is to say: it has no source of its own.
#[derive(Debug, thiserror::Error)]
#[error("GGUF file `{path}` cannot be used: {problem}")]
pub struct GgufError {
    pub path: PathBuf,
    pub problem: Problem,
}

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    #[error("reading failed: {0}")]
    Io(#[source] std::io::Error),
    #[error("it is not a regular file")]
    NotRegular,
    #[error("it begins with `{}`, not with `GGUF`", found.escape_ascii())]
    Magic { found: [u8; 4] },
    #[error("its version is `{found}`, but only little-endian versions `2` and `3` are read")]
    Version { found: u32 },
    #[error("it is truncated: at least `{expected}` bytes expected, `{found}` found")]
    Truncated { expected: u64, found: u64 },
    #[error("{what} is `{found}`, over the limit of `{limit}`")]
    OverLimit {
        what: &'static str,
        found: u64,
        limit: u64,
    },
    /// Only visible ASCII is taken. llama.cpp compares names as C strings, so a zero byte would
    /// let it see another key or tensor than the one we checked.
    #[error("the {what} `{}` is empty or not made of visible ASCII characters", name.escape_ascii())]
    Name { what: &'static str, name: Vec<u8> },
    #[error("the {what} `{name}` occurs twice")]
    Duplicate { what: &'static str, name: String },
    #[error("the value of `{key}` is not valid UTF-8")]
    NotUtf8 { key: String },
    #[error("the value of `{key}` has the unknown type number `{number}`")]
    UnknownValueKind { key: String, number: u32 },
    #[error("the value of `{key}` is an array of arrays")]
    NestedArray { key: String },
    #[error("the key `{key}` of type `{expected}` is missing")]
    MissingKey { key: String, expected: ValueKind },
    #[error("the value of `{key}` has type `{found}`, expected `{expected}`")]
    WrongType {
        key: String,
        expected: ValueKind,
        found: ValueKind,
    },
    #[error("the array `{key}` has elements of type `{found}`, expected `{expected}`")]
    WrongElements {
        key: String,
        expected: ValueKind,
        found: ValueKind,
    },
    #[error("`general.alignment` is `{found}`, not a power of two")]
    Alignment { found: u32 },
    #[error("the tensor `{name}` has the unknown type number `{number}`")]
    UnknownTensorKind { name: String, number: u32 },
    #[error("the tensor `{name}` has `{found}` dimensions, expected `1` to `4`")]
    Dimensions { name: String, found: u32 },
    #[error("the tensor `{name}` has the shape `{shape:?}`, which {reason}")]
    Shape {
        name: String,
        shape: Vec<u64>,
        reason: &'static str,
    },
    #[error("the tensor `{name}` lies at offset `{found}` of the data, expected `{expected}`")]
    Offset {
        name: String,
        expected: u64,
        found: u64,
    },
}

impl GgufError {
    pub(super) fn new(path: &Path, problem: Problem) -> Self {
        Self {
            path: path.to_owned(),
            problem,
        }
    }
}
