//! Promises of llama.cpp below the daemon: the real library, on tiny models that the tests make.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that goes wrong should stop"
)]

mod adapter;
mod convert_adapter;
mod daemon;
mod ending;
mod engine;
mod gpu;
mod grammar;
mod grammar_oracle;
mod other_cpus;
mod peft_oracle;
mod tokenizer;

#[path = "../support"]
mod support {
    pub mod command;
    pub mod gguf_writer;
    pub mod hostile;
    pub mod peft_folder;
    pub mod tiny;
    pub mod tiny_backend;
    pub mod tiny_daemon;
    pub mod tiny_vocabulary;
    pub mod well_formed;
}
