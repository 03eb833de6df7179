//! Requests of JudgeService, counted and timed.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;

use crate::stages;

/// Counts since the start; a clone counts on.
#[derive(Clone, Debug)]
pub struct Meter {
    /// From a call's arrival to its answer or failure.
    pub seconds: Family<MethodLabel, Histogram>,
    pub failed: Family<FailureLabels, Counter>,
    pub stages: Family<StageLabel, Histogram>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct MethodLabel {
    method: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FailureLabels {
    method: &'static str,
    code: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StageLabel {
    stage: &'static str,
}

pub const JUDGE: &str = "Judge";
/// Each request of a stream counts for itself.
pub const JUDGE_STREAM: &str = "JudgeStream";
pub const REPORT_OUTCOME: &str = "ReportOutcome";
const METHODS: [&str; 3] = [JUDGE, JUDGE_STREAM, REPORT_OUTCOME];

/// Upper bounds in seconds, from a write to the disk to the longest deadline.
const SECONDS: [f64; 17] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0, 120.0,
];

impl Default for Meter {
    /// Every method and stage is there from the start: a rate begins at nought.
    fn default() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(SECONDS);
        let meter = Self {
            seconds: Family::new_with_constructor(histogram),
            failed: Family::default(),
            stages: Family::new_with_constructor(histogram),
        };
        for method in METHODS {
            drop(meter.seconds.get_or_create(&MethodLabel { method }));
        }
        for stage in stages::NAMES {
            drop(meter.stages.get_or_create(&StageLabel { stage }));
        }
        meter
    }
}

impl Meter {
    pub fn count(&self, method: &'static str, took: Duration) {
        let seconds = self.seconds.get_or_create(&MethodLabel { method });
        seconds.observe(took.as_secs_f64());
    }

    pub fn count_failure(&self, method: &'static str, code: &'static str, reason: &'static str) {
        let labels = FailureLabels {
            method,
            code,
            reason,
        };
        self.failed.get_or_create(&labels).inc();
    }

    pub fn count_stage(&self, stage: &'static str, took: Duration) {
        let seconds = self.stages.get_or_create(&StageLabel { stage });
        seconds.observe(took.as_secs_f64());
    }
}
