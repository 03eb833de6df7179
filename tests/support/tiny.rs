//! Makes a Qwen2 model of a few hundred kilobytes, and LoRA adapters for it.
//!
//! The weights come from a generator of our own, so the same settings give the same bytes on every
//! machine, and a test can have any matrix again as numbers. Untied, as by default, the next token
//! depends on the whole prompt; tied, a random model mostly repeats the last token.

#![allow(dead_code, reason = "each test crate uses its own part")]
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that goes wrong here should stop"
)]

use std::path::Path;

use half::f16;

use super::gguf_writer::{F16, Field, GgufWriter};
use super::tiny_vocabulary::{self as vocabulary, TokenType};

/// All matrices of a layer that an adapter can change.
pub const MODULES: [&str; 7] = [
    "attn_q",
    "attn_k",
    "attn_v",
    "attn_output",
    "ffn_gate",
    "ffn_up",
    "ffn_down",
];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TinyModel {
    pub seed: u64,
    pub n_layer: u32,
    pub n_embd: u32,
    pub n_head: u32,
    pub n_head_kv: u32,
    pub n_ff: u32,
    pub n_ctx: u32,
    pub tied: bool,
}

impl Default for TinyModel {
    fn default() -> Self {
        Self {
            seed: 1,
            n_layer: 2,
            n_embd: 64,
            n_head: 4,
            n_head_kv: 2,
            n_ff: 128,
            n_ctx: 4096,
            tied: false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoraKind {
    F32,
    F16,
}

#[derive(Clone, Debug, PartialEq)]
pub struct LoraSpec {
    pub seed: u64,
    pub rank: u32,
    pub alpha: f32,
    pub layers: Vec<u32>,
    pub modules: Vec<&'static str>,
    pub kind: LoraKind,
    /// Size of the update beside the matrix it changes, for an alpha equal to the rank: at 0.01
    /// hardly any answer changes, at 1 most do.
    pub magnitude: f32,
}

impl Default for LoraSpec {
    fn default() -> Self {
        Self {
            seed: 7,
            rank: 4,
            alpha: 8.0,
            layers: vec![0, 1],
            modules: MODULES.to_vec(),
            kind: LoraKind::F32,
            magnitude: 0.5,
        }
    }
}

impl TinyModel {
    pub fn write_base(&self, path: &Path) {
        self.base().write(path);
    }

    pub fn base(&self) -> GgufWriter {
        let mut file = GgufWriter::new();
        file.str("general.architecture", "qwen2")
            .str("general.type", "model")
            .str("general.name", "tiny")
            .field("qwen2.block_count", Field::U32(self.n_layer))
            .field("qwen2.context_length", Field::U32(self.n_ctx))
            .field("qwen2.embedding_length", Field::U32(self.n_embd))
            .field("qwen2.feed_forward_length", Field::U32(self.n_ff))
            .field("qwen2.attention.head_count", Field::U32(self.n_head))
            .field("qwen2.attention.head_count_kv", Field::U32(self.n_head_kv))
            .field("qwen2.rope.freq_base", Field::F32(1_000_000.0))
            .field(
                "qwen2.attention.layer_norm_rms_epsilon",
                Field::F32(0.000_001),
            )
            .field("general.file_type", Field::U32(0));
        vocabulary::add_fields(&mut file);
        for (name, shape) in self.tensors() {
            file.f32_tensor(&name, &shape, &self.weight(&name));
        }
        file
    }

    /// The names and shapes of all tensors, innermost dimension first, in file order.
    pub fn tensors(&self) -> Vec<(String, Vec<u64>)> {
        let embd = u64::from(self.n_embd);
        let tokens = vocabulary::tokens().len() as u64;
        let mut tensors = vec![("token_embd.weight".to_owned(), vec![embd, tokens])];
        for layer in 0..self.n_layer {
            let mut add = |part: &str, shape: Vec<u64>| {
                tensors.push((format!("blk.{layer}.{part}"), shape));
            };
            add("attn_norm.weight", vec![embd]);
            add("ffn_norm.weight", vec![embd]);
            for module in MODULES {
                let [inputs, outputs] = self.module_shape(module);
                add(&format!("{module}.weight"), vec![inputs, outputs]);
                if matches!(module, "attn_q" | "attn_k" | "attn_v") {
                    add(&format!("{module}.bias"), vec![outputs]);
                }
            }
        }
        tensors.push(("output_norm.weight".to_owned(), vec![embd]));
        if !self.tied {
            tensors.push(("output.weight".to_owned(), vec![embd, tokens]));
        }
        tensors
    }

    pub fn shape(&self, name: &str) -> Vec<u64> {
        let tensors = self.tensors();
        let found = tensors.into_iter().find(|(other, _)| other == name);
        found.expect("a tensor of the tiny model").1
    }

    /// The values of a base tensor, row by row: element `(input, output)` of a matrix is at
    /// `output * inputs + input`.
    pub fn weight(&self, name: &str) -> Vec<f32> {
        let shape = self.shape(name);
        let count = shape.iter().product::<u64>() as usize;
        let mut noise = Noise::new(self.seed, name);
        let (mean, spread) = match name.rsplit_once('.') {
            Some((_, "bias")) => (0.0, 0.2),
            Some((part, _)) if part.ends_with("_norm") => (1.0, 0.1),
            Some(("token_embd", _)) => (0.0, 0.5),
            // Wide enough that attention looks at some tokens much more than at others, and that
            // the best logit stands out.
            Some(("output", _)) => (0.0, 4.0 / (shape[0] as f32).sqrt()),
            _ => (0.0, 2.0 / (shape[0] as f32).sqrt()),
        };
        (0..count).map(|_| mean + spread * noise.next()).collect()
    }

    pub fn write_lora(&self, path: &Path, spec: &LoraSpec) {
        self.lora(spec).write(path);
    }

    pub fn lora(&self, spec: &LoraSpec) -> GgufWriter {
        let mut file = GgufWriter::new();
        file.str("general.architecture", "qwen2")
            .str("general.type", "adapter")
            .str("general.name", "tiny adapter")
            .str("adapter.type", "lora")
            .field("adapter.lora.alpha", Field::F32(spec.alpha));
        for &layer in &spec.layers {
            for module in &spec.modules {
                for half in ["lora_a", "lora_b"] {
                    let name = format!("blk.{layer}.{module}.weight.{half}");
                    let values = self.lora_weight(spec, &name);
                    let shape = self.lora_shape(spec, &name);
                    match spec.kind {
                        LoraKind::F32 => file.f32_tensor(&name, &shape, &values),
                        LoraKind::F16 => {
                            let halves = values.iter().map(|&value| f16::from_f32(value));
                            let bytes = halves.flat_map(f16::to_le_bytes).collect();
                            file.tensor(&name, &shape, F16, bytes)
                        }
                    };
                }
            }
        }
        file
    }

    /// The values of an adapter's tensor as llama.cpp will see them, rounded if they are f16.
    /// What the adapter adds to the matrix is `scale * alpha / rank * B * A`.
    pub fn lora_weight(&self, spec: &LoraSpec, name: &str) -> Vec<f32> {
        let shape = self.lora_shape(spec, name);
        let count = shape.iter().product::<u64>() as usize;
        // With A and B alike in size, the entries of B * A have a spread of size^2 * sqrt(rank).
        let inputs = self.lora_shape(spec, &name.replace(".lora_b", ".lora_a"))[0] as f32;
        let update = spec.magnitude * 2.0 / inputs.sqrt();
        let spread = (update / (spec.rank as f32).sqrt()).sqrt();
        let mut noise = Noise::new(spec.seed, name);
        let values = (0..count).map(|_| spread * noise.next());
        match spec.kind {
            LoraKind::F32 => values.collect(),
            LoraKind::F16 => values.map(|v| f16::from_f32(v).to_f32()).collect(),
        }
    }

    pub fn lora_shape(&self, spec: &LoraSpec, name: &str) -> Vec<u64> {
        let module = name
            .split('.')
            .nth(2)
            .expect("blk.N.<module>.weight.<half>");
        let [inputs, outputs] = self.module_shape(module);
        let rank = u64::from(spec.rank);
        if name.ends_with(".lora_a") {
            vec![inputs, rank]
        } else {
            vec![rank, outputs]
        }
    }

    pub fn token_id(&self, text: &str) -> u32 {
        vocabulary::token_id(text)
    }

    pub fn control_tokens(&self) -> Vec<(String, u32)> {
        vocabulary::tokens()
            .into_iter()
            .zip(0..)
            .filter(|((_, kind), _)| *kind == TokenType::Control)
            .map(|((text, _), id)| (text, id))
            .collect()
    }

    fn module_shape(&self, module: &str) -> [u64; 2] {
        let embd = u64::from(self.n_embd);
        let ff = u64::from(self.n_ff);
        match module {
            "attn_q" | "attn_output" => [embd, embd],
            "attn_k" | "attn_v" => [
                embd,
                embd / u64::from(self.n_head) * u64::from(self.n_head_kv),
            ],
            "ffn_gate" | "ffn_up" => [embd, ff],
            "ffn_down" => [ff, embd],
            other => panic!("no module `{other}`"),
        }
    }
}

/// Numbers of mean 0 and variance 1, nearly normal: sums of four even ones from splitmix64.
struct Noise(u64);

impl Noise {
    /// Each tensor has a stream of its own, whatever else is in the file.
    fn new(seed: u64, name: &str) -> Self {
        let mix = |state: u64, byte: u8| (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Self(name.bytes().fold(seed ^ 0xcbf2_9ce4_8422_2325, mix))
    }

    fn next(&mut self) -> f32 {
        let sum: f32 = (0..4).map(|_| self.even()).sum();
        (sum - 2.0) * 3.0_f32.sqrt()
    }

    fn even(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        (z >> 40) as f32 / (1_u64 << 24) as f32
    }
}
