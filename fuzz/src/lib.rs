//! What is asked of each reader of untrusted bytes, whatever the bytes: it answers or
//! refuses, and what it lets pass is what it says.
//!
//! The targets of `cargo fuzz` are these functions, and so are the tests in
//! `tests/untrusted_bytes.rs`, which give them the kept corpus on every run.

pub mod config;
pub mod context;
pub mod dataset;
pub mod gguf;
pub mod parts;
pub mod peft;
pub mod prompt;
pub mod rules;
pub mod tokens;
pub mod wire;

#[path = "../../tests/support"]
pub mod support {
    pub mod gguf_writer;
    pub mod json;
    pub mod tiny;
    pub mod tiny_backend;
    pub mod tiny_vocabulary;
    pub mod valid;
}

pub type Check = fn(&[u8]);

/// By the names of their targets and of the folders in `corpus/`.
pub const READERS: [(&str, Check); 9] = [
    ("config", config::check),
    ("context", context::check),
    ("dataset", dataset::check),
    ("gguf", gguf::check),
    ("peft", peft::check),
    ("prompt", prompt::check),
    ("rules", rules::check),
    ("tokens", tokens::check),
    ("wire", wire::check),
];
