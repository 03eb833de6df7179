//! Why a base model is refused.

use std::path::PathBuf;

use crate::gguf::{GgufError, Problem, TensorKind};

/// A base model that must not be loaded. Says all there is to say: it has no source of its own.
#[derive(Debug, thiserror::Error)]
#[error("base model `{path}` is refused: {problem}")]
pub struct BaseError {
    pub path: PathBuf,
    pub problem: BaseProblem,
}

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BaseProblem {
    #[error(transparent)]
    Gguf(#[from] Problem),
    #[error("`{key}` is `{found}`, expected `{expected}`")]
    Metadata {
        key: &'static str,
        expected: &'static str,
        found: String,
    },
    #[error("`{key}` is `{found}`, which is not {expected}")]
    Setting {
        key: &'static str,
        found: String,
        expected: &'static str,
    },
    #[error("it is the first of `{parts}` parts, but only models in one file are loaded")]
    Split { parts: u16 },
    #[error("the setting `{key}` is not one of a plain qwen2 model")]
    UnknownKey { key: String },
    #[error("the vocabulary has `{found}` tokens, expected `1` to `{limit}`")]
    TokenCount { found: u64, limit: u64 },
    #[error("the vocabulary takes more than `{limit}` bytes")]
    TokenBytes { limit: u64 },
    #[error("token `{place}` is empty or has a zero byte")]
    BadToken { place: u64 },
    #[error("the token `{token}` occurs twice, the second time at `{place}`")]
    DuplicateToken { token: String, place: u64 },
    #[error("the vocabulary has no token for the byte `{byte:#04x}`")]
    MissingByte { byte: u8 },
    #[error("the array `{key}` has `{found}` elements, expected `{expected}`")]
    ArrayLength {
        key: &'static str,
        expected: u64,
        found: u64,
    },
    #[error("the tensor `{name}` is missing")]
    MissingTensor { name: String },
    #[error("the tensor `{name}` is not part of a plain qwen2 model")]
    UnknownTensor { name: String },
    #[error("the tensor `{name}` has the shape `{found:?}`, expected `{expected:?}`")]
    Shape {
        name: String,
        expected: Vec<u64>,
        found: Vec<u64>,
    },
    #[error("the tensor `{name}` has type `{found}`, which llama.cpp cannot use there")]
    Kind { name: String, found: TensorKind },
}

impl From<GgufError> for BaseProblem {
    fn from(error: GgufError) -> Self {
        error.problem.into()
    }
}
