//! Why an adapter is refused.

use std::path::PathBuf;

use crate::gguf::{GgufError, Problem, TensorKind};

/// An adapter that must not be loaded. Says all there is to say: it has no source of its own.
#[derive(Debug, thiserror::Error)]
#[error("LoRA adapter `{path}` is refused: {problem}")]
pub struct AdapterError {
    pub path: PathBuf,
    pub problem: AdapterProblem,
}

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdapterProblem {
    #[error(transparent)]
    Gguf(#[from] Problem),
    #[error("its {what} has `{found}` bytes, over the limit of `{limit}`")]
    TooLarge {
        what: &'static str,
        found: u64,
        limit: u64,
    },
    #[error("`{key}` is `{found}`, expected `{expected}`")]
    Metadata {
        key: &'static str,
        expected: String,
        found: String,
    },
    #[error("`adapter.lora.alpha` is `{found}`, expected a number from `0` to `{limit}`")]
    Alpha { found: f32, limit: f32 },
    #[error("it is an activated LoRA (`adapter.alora.invocation_tokens`), which is not supported")]
    Activated,
    #[error("it has no LoRA tensors")]
    Empty,
    #[error("the tensor `{name}` is neither `<base tensor>.lora_a` nor `.lora_b`")]
    UnexpectedTensor { name: String },
    #[error("the tensor `{name}` has no `{missing}` half")]
    HalfMissing { name: String, missing: &'static str },
    #[error("the base model has no tensor `{name}`")]
    NotInBase { name: String },
    #[error("the base tensor `{name}` is not a matrix: its shape is `{shape:?}`")]
    NotMatrix { name: String, shape: Vec<u64> },
    #[error(
        "the base model uses `{name}` as its output too, where an adapter for embeddings does not fit"
    )]
    TiedEmbedding { name: String },
    #[error(
        "the halves for `{name}` have the shapes `{a:?}` and `{b:?}`, which do not fit `{base:?}`"
    )]
    Shape {
        name: String,
        base: Vec<u64>,
        a: Vec<u64>,
        b: Vec<u64>,
    },
    #[error("the tensor `{name}` has type `{found}`, expected `f32`, `f16`, `bf16` or `q8_0`")]
    Kind { name: String, found: TensorKind },
    #[error(
        "the tensor `{name}` has a value that is not finite or over `65504`, in or after place `{place}`"
    )]
    OutOfRange { name: String, place: u64 },
}

impl From<GgufError> for AdapterError {
    fn from(error: GgufError) -> Self {
        Self {
            path: error.path,
            problem: error.problem.into(),
        }
    }
}

/// For errors about the adapter's own file, whose path the caller adds again.
impl From<GgufError> for AdapterProblem {
    fn from(error: GgufError) -> Self {
        error.problem.into()
    }
}
