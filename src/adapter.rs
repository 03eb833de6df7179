//! Checks a LoRA adapter against its base model before llama.cpp sees the file.
//!
//! llama.cpp answers a bad adapter with a null pointer and a line in the log, or aborts the
//! process: at load for metadata of the wrong type, at the first decode for shapes that its loader
//! lets through and its graph cannot multiply. Each of these is refused here, with the reason.

mod error;
mod pair;
mod values;

use std::collections::BTreeSet;
use std::path::Path;

pub use self::error::{AdapterError, AdapterProblem};
pub(crate) use self::pair::Pair;
use crate::gguf::{self, Gguf, TensorKind};

const FILE_LIMIT: u64 = 1024 * 1024 * 1024;
/// llama.cpp keeps all metadata in memory, several times as large as in the file.
const HEADER_LIMIT: u64 = 16 * 1024 * 1024;

/// Hundreds of times what is in use. Far higher ones make the numbers overflow, and NaN the answer.
const ALPHA_LIMIT: f32 = 65_536.0;

/// What a good adapter says about itself.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterInfo {
    /// llama.cpp multiplies by `alpha / rank`, or not at all when alpha is 0.
    pub alpha: f32,
    pub ranks: BTreeSet<u64>,
    /// Halves of LoRA pairs. Norm tensors are not counted: the loader skips them.
    pub tensors: usize,
    pub layers: BTreeSet<u32>,
}

/// Checks the whole file, tensor data included; blocks for as long as reading it takes.
///
/// The file must not change between this check and its loading. Values within bounds may still
/// overflow in the model's arithmetic: who reads logits has to look for NaN all the same.
pub fn check(path: &Path, base: &Gguf) -> Result<AdapterInfo, AdapterError> {
    examine(path, base.string("general.architecture")?, Some(base))
}

/// As [`check`], for an adapter whose base is not at hand: whether it fits is left open.
pub fn check_alone(path: &Path, architecture: &str) -> Result<AdapterInfo, AdapterError> {
    examine(path, architecture, None)
}

/// The pairs of a file that has passed [`check`].
pub(crate) fn pairs<'a>(path: &Path, adapter: &'a Gguf) -> Result<Vec<Pair<'a>>, AdapterError> {
    pair::collect(adapter).map_err(|problem| AdapterError {
        path: path.to_owned(),
        problem,
    })
}

fn examine(
    path: &Path,
    architecture: &str,
    base: Option<&Gguf>,
) -> Result<AdapterInfo, AdapterError> {
    let adapter = gguf::read(path)?;
    let refuse = |problem| AdapterError {
        path: path.to_owned(),
        problem,
    };
    check_size(&adapter).map_err(refuse)?;
    let alpha = check_metadata(&adapter, architecture).map_err(refuse)?;
    let pairs = pair::collect(&adapter).map_err(refuse)?;
    for pair in &pairs {
        if let Some(base) = base {
            pair::check_shape(pair, base).map_err(refuse)?;
        }
        check_kinds(pair).map_err(refuse)?;
    }
    values::check(&adapter, pairs.iter().flat_map(Pair::halves)).map_err(refuse)?;
    // A name of another type is refused too.
    adapter.optional::<&str>("general.name")?;
    Ok(AdapterInfo {
        alpha,
        ranks: pairs.iter().map(Pair::rank).collect(),
        tensors: 2 * pairs.len(),
        layers: pairs.iter().filter_map(|pair| layer(pair.name)).collect(),
    })
}

fn check_size(adapter: &Gguf) -> Result<(), AdapterProblem> {
    let too_large = |what, found, limit| AdapterProblem::TooLarge { what, found, limit };
    if adapter.file_len > FILE_LIMIT {
        return Err(too_large("file", adapter.file_len, FILE_LIMIT));
    }
    if adapter.data_start > HEADER_LIMIT {
        return Err(too_large("header", adapter.data_start, HEADER_LIMIT));
    }
    Ok(())
}

/// Gives alpha.
fn check_metadata(adapter: &Gguf, architecture: &str) -> Result<f32, AdapterProblem> {
    for (key, expected) in [
        ("general.type", "adapter"),
        ("general.architecture", architecture),
        ("adapter.type", "lora"),
    ] {
        let found = adapter.string(key)?;
        if found != expected {
            return Err(AdapterProblem::Metadata {
                key,
                expected: expected.to_owned(),
                found: found.to_owned(),
            });
        }
    }
    // llama.cpp parses the tokens and never waits for them: the adapter would always be on.
    if adapter
        .metadata
        .contains_key("adapter.alora.invocation_tokens")
    {
        return Err(AdapterProblem::Activated);
    }
    let alpha = adapter.f32("adapter.lora.alpha")?;
    if !(0.0..=ALPHA_LIMIT).contains(&alpha) {
        return Err(AdapterProblem::Alpha {
            found: alpha,
            limit: ALPHA_LIMIT,
        });
    }
    Ok(alpha)
}

/// Only kinds that every backend multiplies, and whose values can be checked for NaN.
fn check_kinds(pair: &Pair<'_>) -> Result<(), AdapterProblem> {
    use TensorKind::{BF16, F16, F32, Q8_0};

    let odd = pair
        .halves()
        .into_iter()
        .find(|tensor| !matches!(tensor.kind, F32 | F16 | BF16 | Q8_0));
    match odd {
        None => Ok(()),
        Some(tensor) => Err(AdapterProblem::Kind {
            name: tensor.name.clone(),
            found: tensor.kind,
        }),
    }
}

/// `Some(3)` for `blk.3.attn_q.weight`.
fn layer(name: &str) -> Option<u32> {
    let (number, _) = name.strip_prefix("blk.")?.split_once('.')?;
    number.parse().ok()
}
