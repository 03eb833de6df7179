//! judged: a gRPC daemon that decides whether an AI-written sales e-mail may be
//! sent. ARCHITECTURE.md tells the way of one request; modules use only those
//! listed above them.

pub mod channel;
pub mod context;
pub mod names;
pub mod verdict;

pub mod rules;

pub mod gguf;

pub mod adapter;
pub mod base;
pub mod models;

pub mod engine;
pub mod grammar;
pub mod prompt;

pub mod judge;

pub mod client;
pub mod rpc;

pub mod app;
pub mod config;

pub mod cli;
pub mod exit_code;
