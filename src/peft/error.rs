//! Why a PEFT folder is refused.

use std::io;
use std::path::{Path, PathBuf};

use safetensors::Dtype;

/// A folder, or a file of it, that cannot be converted. Says all there is to say: it has no source
/// of its own.
#[derive(Debug, thiserror::Error)]
#[error("PEFT adapter `{}` cannot be used: {problem}", path.display())]
pub struct PeftError {
    pub path: PathBuf,
    pub problem: PeftProblem,
}

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeftProblem {
    #[error("reading failed: {0}")]
    Io(io::Error),
    #[error("it is not a regular file")]
    NotRegular,
    #[error("it has more than `{limit}` bytes")]
    TooLarge { limit: u64 },
    #[error("there is no `{name}` in it: is it the folder that PEFT's `save_pretrained` wrote?")]
    NoFile { name: &'static str },
    #[error(
        "its weights are in `adapter_model.bin`, a pickle, which can run code and is not read: \
         load it with PEFT where you trust it, and save it with \
         `save_pretrained(folder, safe_serialization=True)`"
    )]
    Pickle,
    #[error(
        "its weights are in several files (`{name}`): load it with PEFT, and save it in one \
         with `save_pretrained(folder, safe_serialization=True)`"
    )]
    Sharded { name: String },
    #[error("it is not a JSON object: {0}")]
    Json(serde_json::Error),
    /// All that is wrong with the settings, each naming its key.
    #[error("{}", .0.join("; "))]
    Settings(Vec<String>),
    #[error("it is not a whole safetensors file: {0}")]
    Safetensors(safetensors::SafeTensorError),
    #[error("the tensor `{}` is there twice", name.escape_debug())]
    Duplicate { name: String },
    #[error("it has no LoRA tensors")]
    Empty,
    #[error("the tensor `{}` {reason}: only plain LoRA can be converted", name.escape_debug())]
    Foreign { name: String, reason: &'static str },
    #[error(
        "the tensor `{}` is no LoRA half of a Qwen2 module: expected \
         `base_model.model.model.layers.N.self_attn.{{q,k,v,o}}_proj` or \
         `….mlp.{{gate,up,down}}_proj` with `.lora_A.weight` or `.lora_B.weight`",
        name.escape_debug()
    )]
    UnknownModule { name: String },
    #[error("the module `{module}` has no `{missing}`")]
    HalfMissing {
        module: String,
        missing: &'static str,
    },
    #[error("the tensor `{name}` has the type `{found}`, expected `F32`, `F16` or `BF16`")]
    Type { name: String, found: Dtype },
    #[error("the tensor `{name}` has the shape `{shape:?}`, which is no matrix")]
    Shape { name: String, shape: Vec<usize> },
    #[error("the module `{module}` has the rank `{a}` in `lora_A` and `{b}` in `lora_B`")]
    RanksDiffer { module: String, a: u64, b: u64 },
    #[error("the module `{module}` has the rank `{found}`, but the config says `{expected}`")]
    Rank {
        module: String,
        found: u64,
        expected: u64,
    },
}

impl PeftProblem {
    pub(super) fn at(self, path: &Path) -> PeftError {
        PeftError {
            path: path.to_owned(),
            problem: self,
        }
    }
}
