//! Promises of what needs no model and no daemon: files that are read, kept, fetched, and the
//! repository itself.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that goes wrong should stop"
)]

mod adapter_files;
mod base_files;
mod decision_log_crash;
mod gguf_files;
mod peft_folders;
mod pull;
mod tidy;

#[path = "../support"]
mod support {
    pub mod fake_hub;
    pub mod fake_pip;
    pub mod gguf_writer;
    pub mod peft_folder;
    pub mod tiny;
    pub mod tiny_vocabulary;
}
