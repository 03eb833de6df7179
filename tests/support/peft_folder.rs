//! Writes folders as PEFT saves them, good ones and bad ones.

#![allow(dead_code, reason = "each test crate uses its own part")]
#![expect(
    clippy::expect_used,
    reason = "a test that goes wrong here should stop"
)]

use std::path::Path;

use serde_json::{Map, Value, json};

/// PEFT's names of a layer's modules, with llama.cpp's.
pub const MODULES: [(&str, &str); 7] = [
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
];

#[derive(Clone, Debug)]
pub struct Entry {
    pub name: String,
    pub dtype: &'static str,
    pub shape: Vec<u64>,
    pub data: Vec<u8>,
    /// Written in place of the true offsets.
    pub offsets: Option<[u64; 2]>,
}

/// A folder in the making. Everything is public, so that a test can spoil just one thing.
#[derive(Clone, Debug)]
pub struct PeftFolder {
    pub config: Value,
    pub tensors: Vec<Entry>,
    /// Written in place of the header's true length.
    pub header_length: Option<u64>,
}

impl PeftFolder {
    /// An adapter without tensors.
    pub fn new(rank: u64, alpha: u64) -> Self {
        Self {
            config: json!({
                "peft_type": "LORA",
                "task_type": "CAUSAL_LM",
                "base_model_name_or_path": "tiny",
                "bias": "none",
                "fan_in_fan_out": false,
                "inference_mode": true,
                "init_lora_weights": true,
                "lora_alpha": alpha,
                "lora_dropout": 0,
                "modules_to_save": null,
                "peft_version": "0.21.2",
                "r": rank,
                "rank_pattern": {},
                "alpha_pattern": {},
                "target_modules": ["q_proj"],
                "use_dora": false,
                "use_rslora": false,
            }),
            tensors: Vec::new(),
            header_length: None,
        }
    }

    pub fn set(&mut self, key: &str, value: Value) -> &mut Self {
        self.config[key] = value;
        self
    }

    pub fn remove(&mut self, key: &str) -> &mut Self {
        let settings = self.config.as_object_mut().expect("an object");
        settings.remove(key);
        self
    }

    /// Adds both halves of a module, such as `self_attn.q_proj`, in 32 bits.
    pub fn module(
        &mut self,
        layer: u32,
        module: &str,
        [inputs, outputs]: [u64; 2],
        rank: u64,
    ) -> &mut Self {
        for (half, shape) in [("A", [rank, inputs]), ("B", [outputs, rank])] {
            let name = format!("base_model.model.model.layers.{layer}.{module}.lora_{half}.weight");
            let values = numbers(&name, (shape[0] * shape[1]) as usize);
            self.f32(&name, &shape, &values);
        }
        self
    }

    pub fn f32(&mut self, name: &str, shape: &[u64], values: &[f32]) -> &mut Self {
        let data = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.tensor(name, "F32", shape, data)
    }

    pub fn tensor(
        &mut self,
        name: &str,
        dtype: &'static str,
        shape: &[u64],
        data: Vec<u8>,
    ) -> &mut Self {
        self.tensors.push(Entry {
            name: name.to_owned(),
            dtype,
            shape: shape.to_vec(),
            data,
            offsets: None,
        });
        self
    }

    /// The first tensor whose name ends so.
    pub fn entry(&mut self, end: &str) -> &mut Entry {
        let found = self
            .tensors
            .iter_mut()
            .find(|entry| entry.name.ends_with(end));
        found.expect("a tensor of this name")
    }

    pub fn write(&self, folder: &Path) {
        let write = |name: &str, bytes: &[u8]| {
            std::fs::write(folder.join(name), bytes).expect("a writable folder");
        };
        write("adapter_config.json", self.config.to_string().as_bytes());
        write("adapter_model.safetensors", &self.safetensors());
    }

    pub fn safetensors(&self) -> Vec<u8> {
        let mut header = Vec::new();
        let mut data = Vec::new();
        for entry in &self.tensors {
            let start = data.len() as u64;
            data.extend_from_slice(&entry.data);
            let mut info = Map::new();
            info.insert("dtype".to_owned(), json!(entry.dtype));
            info.insert("shape".to_owned(), json!(entry.shape));
            let offsets = entry.offsets.unwrap_or([start, data.len() as u64]);
            info.insert("data_offsets".to_owned(), json!(offsets));
            // Written by hand, so that a name can be there twice.
            header.push(format!("{}:{}", json!(entry.name), Value::Object(info)));
        }
        let header = format!("{{{}}}", header.join(","));
        let length = self.header_length.unwrap_or(header.len() as u64);
        [&length.to_le_bytes(), header.as_bytes(), &data].concat()
    }
}

/// The same for the same name; small enough for every number format.
pub fn numbers(name: &str, count: usize) -> Vec<f32> {
    let mut state = name.bytes().fold(7_u64, |state, byte| {
        state.wrapping_mul(31) + u64::from(byte)
    });
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32 / (1_u64 << 24) as f32 - 0.5) * 0.2
    };
    (0..count).map(|_| next()).collect()
}
