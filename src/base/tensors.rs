//! The tensors of a Qwen2 model: all that are needed, with their shapes, and no others.

use std::collections::HashSet;

use super::{BaseInfo, BaseProblem};
use crate::gguf::{Gguf, Tensor, TensorKind};

pub(super) fn check(base: &Gguf, info: &BaseInfo) -> Result<(), BaseProblem> {
    let embedding = u64::from(info.embedding_length);
    let hidden = u64::from(info.feed_forward_length);
    let keys = embedding / u64::from(info.heads) * u64::from(info.kv_heads);
    let mut needed = Needed {
        base,
        known: HashSet::new(),
    };

    needed.matrix("token_embd.weight", embedding, info.tokens)?;
    needed.vector("output_norm.weight", embedding)?;
    if !info.tied {
        needed.matrix("output.weight", embedding, info.tokens)?;
    }
    for layer in 0..info.layers {
        let name = |part: &str| format!("blk.{layer}.{part}");
        for (part, inputs, outputs) in [
            ("attn_q.weight", embedding, embedding),
            ("attn_k.weight", embedding, keys),
            ("attn_v.weight", embedding, keys),
            ("attn_output.weight", embedding, embedding),
            ("ffn_gate.weight", embedding, hidden),
            ("ffn_up.weight", embedding, hidden),
            ("ffn_down.weight", hidden, embedding),
        ] {
            needed.matrix(&name(part), inputs, outputs)?;
        }
        for part in ["attn_norm.weight", "ffn_norm.weight"] {
            needed.vector(&name(part), embedding)?;
        }
        for (part, length) in [
            ("attn_q.bias", embedding),
            ("attn_k.bias", keys),
            ("attn_v.bias", keys),
        ] {
            needed.vector_if_there(&name(part), length)?;
        }
    }
    needed.nothing_else()
}

/// Ticks off the tensors of the file.
struct Needed<'a> {
    base: &'a Gguf,
    known: HashSet<&'a str>,
}

impl<'a> Needed<'a> {
    fn matrix(&mut self, name: &str, inputs: u64, outputs: u64) -> Result<(), BaseProblem> {
        match self.find(name, &[inputs, outputs])?.kind {
            kind if kind.multiplies() => Ok(()),
            found => Err(BaseProblem::Kind {
                name: name.to_owned(),
                found,
            }),
        }
    }

    /// Norms and biases: ggml scales and adds them in f32.
    fn vector(&mut self, name: &str, length: u64) -> Result<(), BaseProblem> {
        match self.find(name, &[length])?.kind {
            TensorKind::F32 => Ok(()),
            found => Err(BaseProblem::Kind {
                name: name.to_owned(),
                found,
            }),
        }
    }

    fn vector_if_there(&mut self, name: &str, length: u64) -> Result<(), BaseProblem> {
        match self.base.tensor(name) {
            None => Ok(()),
            Some(_) => self.vector(name, length),
        }
    }

    fn find(&mut self, name: &str, expected: &[u64]) -> Result<&'a Tensor, BaseProblem> {
        let Some(tensor) = self.base.tensor(name) else {
            return Err(BaseProblem::MissingTensor {
                name: name.to_owned(),
            });
        };
        if tensor.shape != expected {
            return Err(BaseProblem::Shape {
                name: name.to_owned(),
                expected: expected.to_owned(),
                found: tensor.shape.clone(),
            });
        }
        self.known.insert(&tensor.name);
        Ok(tensor)
    }

    /// llama.cpp counts too, and gives up when a tensor is left over.
    fn nothing_else(&self) -> Result<(), BaseProblem> {
        let mut names = self.base.tensors.iter().map(|tensor| &tensor.name);
        match names.find(|name| !self.known.contains(name.as_str())) {
            None => Ok(()),
            Some(name) => Err(BaseProblem::UnknownTensor { name: name.clone() }),
        }
    }
}
