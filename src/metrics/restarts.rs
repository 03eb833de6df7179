//! How often a supervisor has started the daemon again.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::sheet::Sheet;
use crate::supervisor::{Cause, History};

#[derive(Debug)]
pub struct Restarts(pub History);

impl Collector for Restarts {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let counts = Cause::ALL.map(|cause| (cause.as_str(), self.0.of(cause) as f64));
        Sheet(encoder).counters(
            "judged_restarts",
            "Starts after a crash, by what ended the daemon, since the supervisor's start.",
            "cause",
            counts,
        )
    }
}
