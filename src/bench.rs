//! Puts a load on a judge, and measures how it bears it. All but [`drive`] and the two targets is
//! pure.

pub mod arrivals;
pub mod compare;
pub mod daemon;
pub mod drive;
pub mod engine;
pub mod html;
pub mod llama_server;
pub mod report;
pub mod sample;
pub mod text;
pub mod workload;
