//! The two halves of a LoRA update, and whether they fit the matrix they are for.

use std::collections::BTreeMap;

use super::AdapterProblem;
use crate::gguf::{Gguf, Tensor};

/// The one matrix whose halves are stored the other way round.
const TOKEN_EMBEDDING: &str = "token_embd.weight";
const OUTPUT: &str = "output.weight";

pub(crate) struct Pair<'a> {
    /// Of the base tensor.
    pub(crate) name: &'a str,
    pub(crate) a: &'a Tensor,
    pub(crate) b: &'a Tensor,
}

impl<'a> Pair<'a> {
    pub(super) fn halves(&self) -> [&'a Tensor; 2] {
        [self.a, self.b]
    }

    /// As llama.cpp takes it, for the scale.
    pub(crate) fn rank(&self) -> u64 {
        self.b.shape.first().copied().unwrap_or_default()
    }

    /// Whether the halves are stored the other way round.
    pub(crate) fn is_embedding(&self) -> bool {
        self.name == TOKEN_EMBEDDING
    }
}

pub(super) fn collect(adapter: &Gguf) -> Result<Vec<Pair<'_>>, AdapterProblem> {
    let mut halves: BTreeMap<&str, [Option<&Tensor>; 2]> = BTreeMap::new();
    for tensor in &adapter.tensors {
        let name = tensor.name.as_str();
        if let Some(base) = name.strip_suffix(".lora_a") {
            halves.entry(base).or_default()[0] = Some(tensor);
        } else if let Some(base) = name.strip_suffix(".lora_b") {
            halves.entry(base).or_default()[1] = Some(tensor);
        } else if !name.ends_with("_norm.weight") {
            return Err(AdapterProblem::UnexpectedTensor { name: name.into() });
        }
    }
    if halves.is_empty() {
        return Err(AdapterProblem::Empty);
    }
    halves
        .into_iter()
        .map(|(name, halves)| {
            // llama.cpp removes the suffix wherever it stands, so `x.lora_a.lora_a` would take
            // the place of `x.lora_a`.
            if name.contains(".lora_a") || name.contains(".lora_b") {
                return Err(AdapterProblem::UnexpectedTensor { name: name.into() });
            }
            let missing = |missing| AdapterProblem::HalfMissing {
                name: name.into(),
                missing,
            };
            let a = halves[0].ok_or_else(|| missing("lora_a"))?;
            let b = halves[1].ok_or_else(|| missing("lora_b"))?;
            Ok(Pair { name, a, b })
        })
        .collect()
}

pub(super) fn check_shape(pair: &Pair<'_>, base: &Gguf) -> Result<(), AdapterProblem> {
    let name = || pair.name.to_owned();
    let Some(matrix) = base.tensor(pair.name) else {
        return Err(AdapterProblem::NotInBase { name: name() });
    };
    let &[inputs, outputs] = matrix.shape.as_slice() else {
        return Err(AdapterProblem::NotMatrix {
            name: name(),
            shape: matrix.shape.clone(),
        });
    };
    let embedding = pair.is_embedding();
    if embedding && base.tensor(OUTPUT).is_none() {
        return Err(AdapterProblem::TiedEmbedding { name: name() });
    }
    let fits = match (pair.a.shape.as_slice(), pair.b.shape.as_slice()) {
        (&[a0, a1], &[b0, b1]) if embedding => a0 == b0 && a1 == outputs && b1 == inputs,
        (&[a0, a1], &[b0, b1]) => a1 == b0 && a0 == inputs && b1 == outputs,
        _ => false,
    };
    if fits {
        return Ok(());
    }
    Err(AdapterProblem::Shape {
        name: name(),
        base: matrix.shape.clone(),
        a: pair.a.shape.clone(),
        b: pair.b.shape.clone(),
    })
}
