//! What a process tells Prometheus: counters that others keep, and what holds at
//! the moment of a scrape. docs/observability.md has the daemon's table, and
//! `tests/daemon/metrics.rs` holds it against this.

mod certificate;
mod daemon;
pub mod endpoint;
mod process;
mod restarts;
pub mod sheet;

use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::registry::Registry;

use self::certificate::Expiry;
use self::daemon::DaemonState;
use self::process::ProcessState;
use self::restarts::Restarts;
use crate::edge::Certificate;
use crate::judge::Judge;
use crate::rpc::meter::Meter;
use crate::supervisor::History;

/// All that can be scraped.
pub struct Metrics(Registry);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format, 0.0.4.
    Text,
    /// OpenMetrics, 1.0.
    OpenMetrics,
}

impl Metrics {
    /// Of a daemon, which lives as long as these.
    pub fn new(
        judge: Arc<Judge>,
        calls: &Meter,
        certificate: Certificate,
        restarts: History,
    ) -> Self {
        let mut registry = Registry::default();
        registry.register(
            "judged_request_seconds",
            "Time from a request's arrival to its answer or failure, by method",
            calls.judge.seconds.clone(),
        );
        registry.register(
            "judged_requests_failed",
            "Requests without an answer, by method, gRPC code and reason",
            calls.judge.failed.clone(),
        );
        registry.register(
            "judged_control_seconds",
            "Time from a call of ControlService to its end, by method",
            calls.control.seconds.clone(),
        );
        registry.register(
            "judged_control_failed",
            "Calls of ControlService without an answer, by method, gRPC code and reason",
            calls.control.failed.clone(),
        );
        registry.register(
            "judged_edge_refused",
            "Calls of both services that were refused unseen or took too long, by reason",
            calls.refused.clone(),
        );
        registry.register(
            "judged_stage_seconds",
            "Time that newly decided requests spent in each stage",
            calls.stages.clone(),
        );
        registry.register(
            "judged_decisions",
            "Decisions recorded, spot checks left out",
            judge.log().meter().decisions.clone(),
        );
        registry.register_collector(Box::new(DaemonState(judge)));
        registry.register_collector(Box::new(Expiry(certificate)));
        registry.register_collector(Box::new(Restarts(restarts)));
        Self::of(registry)
    }

    /// What is registered, and what the kernel knows of this process.
    pub fn of(mut registry: Registry) -> Self {
        registry.register_collector(Box::new(ProcessState));
        Self(registry)
    }

    pub fn write(&self, format: Format) -> Result<String, fmt::Error> {
        let mut page = String::new();
        match format {
            Format::Text => prometheus_text::encode(&mut page, &self.0)?,
            Format::OpenMetrics => text::encode(&mut page, &self.0)?,
        }
        Ok(page)
    }
}

impl Format {
    /// What a scraper asks for with its `Accept` header; the text where it asks for
    /// nothing that we know.
    pub fn accepted(header: &str) -> Self {
        match header.contains("application/openmetrics-text") {
            true => Format::OpenMetrics,
            false => Format::Text,
        }
    }

    pub const fn content_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}
