//! The kill switch off the wire.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::ClientError;
use crate::rpc::proto;

/// Whether the model may decide.
#[derive(Clone, Debug)]
pub struct KillSwitch {
    pub state: SwitchState,
    /// When it came into this state; `None` if it never left the first one.
    pub since: Option<SystemTime>,
    /// Why it tripped; who armed it again, and why.
    pub reason: String,
    pub conditions: Vec<Condition>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwitchState {
    Armed,
    Shadowing,
    Tripped,
}

/// How far a condition is from its trip.
#[derive(Clone, Debug)]
pub struct Condition {
    pub name: String,
    /// Bad ones among the samples; right ones for the accuracy of a probe.
    pub count: u32,
    pub samples: u32,
    pub least_samples: u32,
    /// A share of 0 to 1.
    pub limit: f64,
    /// So many bad ones more would trip it.
    pub more: Option<u32>,
}

impl SwitchState {
    pub const fn as_str(self) -> &'static str {
        match self {
            SwitchState::Armed => "armed",
            SwitchState::Shadowing => "shadowing",
            SwitchState::Tripped => "tripped",
        }
    }

    pub const fn is_armed(self) -> bool {
        matches!(self, SwitchState::Armed)
    }
}

/// What a spot check found.
#[derive(Clone, Debug)]
pub struct Checked {
    /// Right ones, of how many, by probe.
    pub probes: BTreeMap<String, (u32, u32)>,
    pub suite_sha256: String,
    pub tripped: bool,
}

/// When the weekly spot check was and will be, and how it did.
#[derive(Clone, Debug, Default)]
pub struct SpotChecks {
    pub last: Option<SystemTime>,
    pub next: Option<SystemTime>,
    /// The last one that was due did not come to its end.
    pub missed: bool,
    pub probes: BTreeMap<String, (u32, u32)>,
}

pub(super) fn spot_checks(checks: proto::SpotChecks) -> SpotChecks {
    let time = |time: prost_types::Timestamp| SystemTime::try_from(time).ok();
    SpotChecks {
        last: checks.last.and_then(time),
        next: checks.next.and_then(time),
        missed: checks.missed,
        probes: accuracies(checks.probes),
    }
}

/// Right ones, of how many, by probe.
pub(super) fn accuracies(probes: Vec<proto::ProbeAccuracy>) -> BTreeMap<String, (u32, u32)> {
    let probes = probes.into_iter();
    probes
        .map(|probe| (probe.probe, (probe.right, probe.total)))
        .collect()
}

pub(super) fn checked(result: proto::SpotCheckResult) -> Checked {
    Checked {
        probes: accuracies(result.probes),
        suite_sha256: result.suite_sha256,
        tripped: result.tripped,
    }
}

pub(super) fn switch(switch: proto::KillSwitch) -> Result<KillSwitch, ClientError> {
    let state = match switch.state() {
        proto::kill_switch::State::Unspecified => {
            let what = "its kill switch has no known state".to_owned();
            return Err(ClientError::Answer(what));
        }
        proto::kill_switch::State::Armed => SwitchState::Armed,
        proto::kill_switch::State::Shadowing => SwitchState::Shadowing,
        proto::kill_switch::State::Tripped => SwitchState::Tripped,
    };
    let conditions = switch.conditions.into_iter().map(|condition| Condition {
        name: condition.name,
        count: condition.count,
        samples: condition.samples,
        least_samples: condition.least_samples,
        limit: condition.limit,
        more: condition.more,
    });
    Ok(KillSwitch {
        state,
        since: switch
            .since
            .and_then(|since| SystemTime::try_from(since).ok()),
        reason: switch.reason,
        conditions: conditions.collect(),
    })
}
