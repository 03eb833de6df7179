//! judged: a gRPC daemon that decides whether an AI-written sales e-mail may be
//! sent. ARCHITECTURE.md tells the way of one request; modules use only those
//! listed above them.

// They panic where nobody reads: `cli::print` does not.
#![warn(clippy::print_stdout, clippy::print_stderr)]

/// Cheaper than the C library's for the many small texts of a decision by rules.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub mod names;

pub mod channel;

pub mod context;

pub mod verdict;

pub mod decision_json;

pub mod rules;

pub mod decision_log;

pub mod dataset;

pub mod kill_switch;

pub mod spot_check;

pub mod gguf;

pub mod base;

pub mod adapter;

pub mod peft;

pub mod models;

pub mod convert;

pub mod merge;

pub mod backend;

pub mod grammar;
pub mod prompt;

pub mod engine;

pub mod stages;

pub mod judge;

pub mod traces;

pub mod tokens;

pub mod supervisor;

pub mod rpc;

pub mod edge;

pub mod metrics;

pub mod client;

pub mod config;

pub mod app;

pub mod eval;

pub mod bench;

pub mod worker;

pub mod exit_code;

pub mod cli;

#[cfg(test)]
mod tests;
