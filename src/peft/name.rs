//! PEFT's tensor names, and llama.cpp's for the same matrices.

use std::fmt;

use super::PeftProblem;

/// A module of Qwen2's layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ModuleKind {
    Query,
    Key,
    Value,
    Output,
    Gate,
    Up,
    Down,
}

/// A module of one layer. Shown as PEFT's patterns see it: `model.layers.3.self_attn.q_proj`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub layer: u32,
    pub kind: ModuleKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Half {
    A,
    B,
}

impl ModuleKind {
    pub const ALL: [Self; 7] = [
        Self::Query,
        Self::Key,
        Self::Value,
        Self::Output,
        Self::Gate,
        Self::Up,
        Self::Down,
    ];

    /// Below `model.layers.N.`.
    fn path(self) -> &'static str {
        match self {
            Self::Query => "self_attn.q_proj",
            Self::Key => "self_attn.k_proj",
            Self::Value => "self_attn.v_proj",
            Self::Output => "self_attn.o_proj",
            Self::Gate => "mlp.gate_proj",
            Self::Up => "mlp.up_proj",
            Self::Down => "mlp.down_proj",
        }
    }

    /// As PEFT's `target_modules` lists it: `q_proj`.
    pub fn name(self) -> &'static str {
        let (_, name) = self.path().split_once('.').unwrap_or_default();
        name
    }

    /// Below `blk.N.`.
    fn gguf(self) -> &'static str {
        match self {
            Self::Query => "attn_q",
            Self::Key => "attn_k",
            Self::Value => "attn_v",
            Self::Output => "attn_output",
            Self::Gate => "ffn_gate",
            Self::Up => "ffn_up",
            Self::Down => "ffn_down",
        }
    }
}

impl Place {
    /// The matrix's name in a GGUF base: `blk.3.attn_q.weight`.
    pub fn gguf(&self) -> String {
        format!("blk.{}.{}.weight", self.layer, self.kind.gguf())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "model.layers.{}.{}", self.layer, self.kind.path())
    }
}

/// Takes `base_model.model.model.layers.3.self_attn.q_proj.lora_A.weight` apart. Each name has one
/// meaning and each meaning one name, so no tensor can take another's place.
pub(super) fn parse(name: &str) -> Result<(Place, Half), PeftProblem> {
    if let Some(reason) = foreign(name) {
        let name = name.to_owned();
        return Err(PeftProblem::Foreign { name, reason });
    }
    parse_half(name).ok_or_else(|| PeftProblem::UnknownModule {
        name: name.to_owned(),
    })
}

fn parse_half(name: &str) -> Option<(Place, Half)> {
    let rest = name.strip_prefix("base_model.model.model.layers.")?;
    let (number, rest) = rest.split_once('.')?;
    let layer: u32 = number.parse().ok()?;
    if layer.to_string() != number {
        return None;
    }
    let (path, half) = match rest.strip_suffix(".lora_A.weight") {
        Some(path) => (path, Half::A),
        None => (rest.strip_suffix(".lora_B.weight")?, Half::B),
    };
    let kind = ModuleKind::ALL
        .into_iter()
        .find(|kind| kind.path() == path)?;
    Some((Place { layer, kind }, half))
}

/// Why a tensor is none of plain LoRA's, where its name tells.
fn foreign(name: &str) -> Option<&'static str> {
    let has = |part: &str| name.contains(part);
    if has("lora_magnitude_vector") {
        Some("is of DoRA, which also scales each row of the base")
    } else if has("trainable_tokens") {
        Some("holds trained tokens, which change the embeddings")
    } else if has("lora_embedding_") || has("embed_tokens") || has("lm_head") {
        Some("changes the embeddings or the output, which this base shares")
    } else if has("modules_to_save") || name.ends_with("norm.weight") {
        Some("is a whole module trained beside the adapter, as by `modules_to_save`")
    } else if name.ends_with(".bias") {
        Some("is a trained bias")
    } else {
        None
    }
}
