//! Calls of both services, counted and timed.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;

use super::health::{CONTROL_SERVICE, JUDGE_SERVICE};
use super::status::Failure;
use crate::stages;

/// Counts since the start; a clone counts on.
#[derive(Clone, Debug)]
pub struct Meter {
    pub judge: Calls,
    /// Apart, so that who asks for the status hides no refused request.
    pub control: Calls,
    pub stages: Family<StageLabel, Histogram>,
    /// Calls of both that were refused unseen, or took too long.
    pub refused: Family<ReasonLabel, Counter>,
}

/// Those of one service.
#[derive(Clone, Debug)]
pub struct Calls {
    /// From a call's arrival to its answer or failure.
    pub seconds: Family<MethodLabel, Histogram>,
    pub failed: Family<FailureLabels, Counter>,
}

/// Something that can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    pub service: &'static str,
    pub name: &'static str,
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

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReasonLabel {
    reason: &'static str,
}

pub const JUDGE: Method = of_judge("Judge");
/// Each request of a stream counts for itself.
pub const JUDGE_STREAM: Method = of_judge("JudgeStream");
pub const REPORT_OUTCOME: Method = of_judge("ReportOutcome");
pub const GET_STATUS: Method = of_control("GetStatus");
pub const SET_MODE: Method = of_control("SetMode");
pub const LIST_DECISIONS: Method = of_control("ListDecisions");
pub const GET_DECISION: Method = of_control("GetDecision");
/// Until its last message.
pub const RUN_SPOT_CHECK: Method = of_control("RunSpotCheck");
pub const RE_ARM: Method = of_control("ReArm");
const METHODS: [Method; 9] = [
    JUDGE,
    JUDGE_STREAM,
    REPORT_OUTCOME,
    GET_STATUS,
    SET_MODE,
    LIST_DECISIONS,
    GET_DECISION,
    RUN_SPOT_CHECK,
    RE_ARM,
];

const fn of_judge(name: &'static str) -> Method {
    let service = JUDGE_SERVICE;
    Method { service, name }
}

const fn of_control(name: &'static str) -> Method {
    let service = CONTROL_SERVICE;
    Method { service, name }
}

/// Upper bounds in seconds, from a write to the disk to the longest deadline.
const SECONDS: [f64; 17] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0, 120.0,
];

impl Default for Meter {
    /// Every method and stage is there from the start: a rate begins at nought.
    fn default() -> Self {
        let meter = Self {
            judge: Calls::default(),
            control: Calls::default(),
            stages: Family::new_with_constructor(histogram),
            refused: Family::default(),
        };
        for method in METHODS {
            let label = MethodLabel {
                method: method.name,
            };
            drop(meter.calls(method).seconds.get_or_create(&label));
        }
        // Of load: what else is refused shows itself.
        for failure in [Failure::TooManyCalls, Failure::MessageLate] {
            let reason = failure.reason();
            drop(meter.refused.get_or_create(&ReasonLabel { reason }));
        }
        for stage in stages::NAMES {
            drop(meter.stages.get_or_create(&StageLabel { stage }));
        }
        meter
    }
}

impl Default for Calls {
    fn default() -> Self {
        Self {
            seconds: Family::new_with_constructor(histogram),
            failed: Family::default(),
        }
    }
}

fn histogram() -> Histogram {
    Histogram::new(SECONDS)
}

impl Meter {
    pub fn count(&self, method: Method, took: Duration) {
        let label = MethodLabel {
            method: method.name,
        };
        let seconds = self.calls(method).seconds.get_or_create(&label);
        seconds.observe(took.as_secs_f64());
    }

    pub fn count_failure(&self, method: Method, code: &'static str, reason: &'static str) {
        let labels = FailureLabels {
            method: method.name,
            code,
            reason,
        };
        self.calls(method).failed.get_or_create(&labels).inc();
    }

    /// A call that was refused unseen, or took too long.
    pub fn count_refused(&self, reason: &'static str) {
        self.refused.get_or_create(&ReasonLabel { reason }).inc();
    }

    pub fn count_stage(&self, stage: &'static str, took: Duration) {
        let seconds = self.stages.get_or_create(&StageLabel { stage });
        seconds.observe(took.as_secs_f64());
    }

    fn calls(&self, method: Method) -> &Calls {
        match method.service == CONTROL_SERVICE {
            true => &self.control,
            false => &self.judge,
        }
    }
}
