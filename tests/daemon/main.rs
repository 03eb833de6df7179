//! Promises of the daemon, with a scripted engine behind it, or none: over real connections, as
//! callers, operators and those who mean harm meet it.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that goes wrong should stop"
)]

mod bench;
mod cli;
mod daemon_crash;
mod degraded;
mod descriptors;
mod drain;
mod edge;
mod eval;
mod failure_table;
mod haproxy;
mod health;
mod judging;
mod kill_switch;
mod malformed;
mod metrics;
mod recording;
mod replay;
mod serve;
mod sharing;
mod spot_checks;
mod stream;
mod supervisor;
mod tls;
mod tokens;
mod traces;
mod worker;

#[path = "../support"]
mod support {
    pub mod certificates;
    pub mod command;
    pub mod daemon;
    pub mod fake_llama_server;
    pub mod hostile;
    pub mod http2;
    pub mod json;
    pub mod malformed;
    pub mod nats;
    pub mod processes;
    pub mod scrape;
    pub mod valid;
}
