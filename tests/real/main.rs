//! Promises of the model that is served: its weights, its adapter.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that goes wrong should stop"
)]

mod judge;
mod training_tokens;

#[path = "../support"]
mod support {
    pub mod command;
    pub mod gguf_writer;
    pub mod peft_folder;
    pub mod processes;
    pub mod real_daemon;
    pub mod tiny;
    pub mod tiny_backend;
    pub mod tiny_vocabulary;
    pub mod well_formed;
}
