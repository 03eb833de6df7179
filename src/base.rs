//! Checks that a GGUF file is a Qwen2 model that llama.cpp can load and run.
//!
//! llama.cpp trusts a model's metadata: layer counts, expert counts, rope settings and duplicate
//! tokens are asserted, and an assertion ends the process. So only the keys and tensors that a
//! Qwen2 model needs are let through, each with the type and shape that the loader expects.

mod error;
mod tensors;
mod vocabulary;

pub use self::error::{BaseError, BaseProblem};
use crate::gguf::Gguf;

/// The size of llama.cpp's per-layer tables.
const LAYERS_LIMIT: u32 = 512;
/// The alignment of ggml's CPU buffers: a mapped file must have it, or the loader asserts.
const DATA_ALIGNMENT: u32 = 32;
const HYPERPARAMETERS: [&str; 10] = [
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.layer_norm_rms_epsilon",
    "rope.freq_base",
    "rope.dimension_count",
    "vocab_size",
];

#[derive(Clone, Debug, PartialEq)]
pub struct BaseInfo {
    pub layers: u32,
    pub embedding_length: u32,
    pub feed_forward_length: u32,
    pub heads: u32,
    pub kv_heads: u32,
    pub tokens: u64,
    /// Whether the token embeddings are the output matrix too.
    pub tied: bool,
}

/// Checks metadata, vocabulary and tensor list; the tensor data is not looked at.
pub fn check_base(base: &Gguf) -> Result<BaseInfo, BaseError> {
    examine(base).map_err(|problem| BaseError {
        path: base.path().to_owned(),
        problem,
    })
}

fn examine(base: &Gguf) -> Result<BaseInfo, BaseProblem> {
    expect(base, "general.architecture", "qwen2")?;
    check_single_file(base)?;
    check_keys(base)?;
    let tokens = vocabulary::check(base)?;
    let info = hyperparameters(base, tokens)?;
    tensors::check(base, &info)?;
    if base.alignment < DATA_ALIGNMENT {
        let expected = "at least `32`, so that the data can be mapped";
        return Err(setting("general.alignment", base.alignment, expected));
    }
    Ok(info)
}

fn check_single_file(base: &Gguf) -> Result<(), BaseProblem> {
    match base.optional::<u16>("split.count")? {
        None | Some(0 | 1) => Ok(()),
        Some(parts) => Err(BaseProblem::Split { parts }),
    }
}

/// Refuses settings that we do not check: experts, rope scaling, sliding windows and their like.
fn check_keys(base: &Gguf) -> Result<(), BaseProblem> {
    let unknown = base.metadata.keys().find(|key| {
        key.strip_prefix("qwen2.")
            .is_some_and(|setting| !HYPERPARAMETERS.contains(&setting))
    });
    match unknown {
        None => Ok(()),
        Some(key) => Err(BaseProblem::UnknownKey { key: key.clone() }),
    }
}

fn hyperparameters(base: &Gguf, tokens: u64) -> Result<BaseInfo, BaseProblem> {
    let heads = positive(base, "qwen2.attention.head_count")?;
    let kv_heads = positive(base, "qwen2.attention.head_count_kv")?;
    let embedding_length = positive(base, "qwen2.embedding_length")?;
    // llama.cpp reads them too.
    base.optional::<&str>("general.name")?;
    positive(base, "qwen2.context_length")?;
    let info = BaseInfo {
        layers: positive(base, "qwen2.block_count")?,
        embedding_length,
        feed_forward_length: positive(base, "qwen2.feed_forward_length")?,
        heads,
        kv_heads,
        tokens,
        tied: base.tensor("output.weight").is_none(),
    };
    if info.layers > LAYERS_LIMIT {
        return Err(setting("qwen2.block_count", info.layers, "at most `512`"));
    }
    if !heads.is_multiple_of(kv_heads) {
        let key = "qwen2.attention.head_count_kv";
        return Err(setting(key, kv_heads, "a divisor of the head count"));
    }
    // Rope turns pairs of numbers, so a head has an even number of them.
    if !embedding_length.is_multiple_of(heads) || !(embedding_length / heads).is_multiple_of(2) {
        let key = "qwen2.embedding_length";
        return Err(setting(key, embedding_length, "an even multiple of heads"));
    }
    if let Some(found) = base.optional::<u32>("qwen2.rope.dimension_count")?
        && found != embedding_length / heads
    {
        let key = "qwen2.rope.dimension_count";
        return Err(setting(key, found, "the length of a head"));
    }
    if let Some(found) = base.optional::<u32>("qwen2.vocab_size")?
        && u64::from(found) != tokens
    {
        return Err(setting("qwen2.vocab_size", found, "the number of tokens"));
    }
    for key in [
        "qwen2.attention.layer_norm_rms_epsilon",
        "qwen2.rope.freq_base",
    ] {
        let found = base.f32(key)?;
        if !found.is_finite() || found <= 0.0 {
            return Err(setting(key, found, "finite and over `0`"));
        }
    }
    Ok(info)
}

fn positive(base: &Gguf, key: &'static str) -> Result<u32, BaseProblem> {
    match base.u32(key)? {
        0 => Err(setting(key, 0, "over `0`")),
        found => Ok(found),
    }
}

fn expect(base: &Gguf, key: &'static str, expected: &'static str) -> Result<(), BaseProblem> {
    let found = base.string(key)?;
    if found == expected {
        return Ok(());
    }
    Err(BaseProblem::Metadata {
        key,
        expected,
        found: found.to_owned(),
    })
}

fn setting(key: &'static str, found: impl ToString, expected: &'static str) -> BaseProblem {
    BaseProblem::Setting {
        key,
        found: found.to_string(),
        expected,
    }
}
