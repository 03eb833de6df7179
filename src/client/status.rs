//! What GetStatus tells.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use super::ClientError;
use super::decision::{duration, revision, some};
use super::record::time;
use super::switch::{KillSwitch, SpotChecks, accuracies, spot_checks, switch};
use crate::backend::Device;
use crate::backend::offload::Placement;
use crate::rpc::{convert, proto};
use crate::verdict::{Label, Mode, ModelRevision};

/// What serves, how well, and why not better.
#[derive(Clone, Debug)]
pub struct Status {
    pub version: String,
    pub mode: Mode,
    pub engine_state: EngineState,
    pub degraded_reason: Option<String>,
    pub draining: bool,
    pub model: Option<ModelRevision>,
    pub engine: Option<EngineInfo>,
    pub queue_depth: u32,
    pub queue_limit: u32,
    pub running: u32,
    pub uptime: Duration,
    pub decisions_by_model: u64,
    pub decisions_by_rules: u64,
    pub refused: u64,
    pub abandoned: u64,
    pub prefill_tokens: u64,
    pub prefill_time: Duration,
    pub cached_tokens: u64,
    pub decode_tokens: u64,
    pub decode_steps: u64,
    /// Requests that were answered with another one of the same content.
    pub joined: u64,
    pub guessed_tokens: u64,
    pub held_tokens: u64,
    pub kept_tokens: u64,
    pub decode_time: Duration,
    /// Numbers of the rules that decide before the model.
    pub hard_rules: Vec<u32>,
    /// The label of each rule that a rationale may name.
    pub answer_rules: BTreeMap<String, Label>,
    pub kill_switch: KillSwitch,
    pub spot_checks: SpotChecks,
    /// Right ones, of how many, by probe, as people reported in the last 30 days.
    pub reported: BTreeMap<String, (u32, u32)>,
    /// Why nothing can be recorded.
    pub log_trouble: Option<String>,
    /// `None` where no supervisor has started the daemon.
    pub restarts: Option<Restarts>,
}

/// Starts after a crash, since the supervisor's start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restarts {
    pub count: u64,
    pub last: Option<SystemTime>,
    pub reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineState {
    Absent,
    Loading,
    Ready,
    Stuck,
    Failed,
    Suspended,
}

impl EngineState {
    pub const fn as_str(self) -> &'static str {
        match self {
            EngineState::Absent => "absent",
            EngineState::Loading => "loading",
            EngineState::Ready => "ready",
            EngineState::Stuck => "stuck",
            EngineState::Failed => "failed",
            EngineState::Suspended => "suspended",
        }
    }
}

#[derive(Clone, Debug)]
pub struct EngineInfo {
    pub runtime: String,
    pub cpu_variant: String,
    pub devices: Vec<Device>,
    pub threads: u32,
    pub adapter: String,
    pub context_cells: u32,
    pub slots: u32,
    pub shared_prefix_tokens: u32,
    pub load_time: Duration,
    pub gpu: Option<Placement>,
    pub gpu_reason: String,
}

pub(super) fn status(response: proto::GetStatusResponse) -> Result<Status, ClientError> {
    let unknown = |what: &str| ClientError::Answer(format!("it has no known {what}"));
    let engine_state = match response.engine_state() {
        proto::EngineState::Unspecified => return Err(unknown("engine state")),
        proto::EngineState::Absent => EngineState::Absent,
        proto::EngineState::Loading => EngineState::Loading,
        proto::EngineState::Ready => EngineState::Ready,
        proto::EngineState::Stuck => EngineState::Stuck,
        proto::EngineState::Failed => EngineState::Failed,
        proto::EngineState::Suspended => EngineState::Suspended,
    };
    let mode = convert::mode_named(response.mode).ok_or_else(|| unknown("mode"))?;
    let counters = response.counters.unwrap_or_default();
    let rules = response.answer_rules.iter().map(|(rule, number)| {
        let named = convert::label_named(*number);
        Ok((rule.clone(), named.ok_or_else(|| unknown("label"))?))
    });
    let answer_rules = rules.collect::<Result<_, ClientError>>()?;
    Ok(Status {
        mode,
        engine_state,
        version: response.version,
        degraded_reason: some(response.degraded_reason),
        draining: response.draining,
        model: response.model.map(revision),
        engine: response.engine.map(engine_info),
        queue_depth: response.queue_depth,
        queue_limit: response.queue_limit,
        running: response.running,
        uptime: duration(response.uptime),
        decisions_by_model: counters.decisions_by_model,
        decisions_by_rules: counters.decisions_by_rules,
        refused: counters.refused,
        abandoned: counters.abandoned,
        prefill_tokens: counters.prefill_tokens,
        prefill_time: duration(counters.prefill_time),
        cached_tokens: counters.cached_tokens,
        decode_tokens: counters.decode_tokens,
        decode_steps: counters.decode_steps,
        joined: counters.joined,
        guessed_tokens: counters.guessed_tokens,
        held_tokens: counters.held_tokens,
        kept_tokens: counters.kept_tokens,
        decode_time: duration(counters.decode_time),
        hard_rules: response.hard_rules,
        answer_rules,
        kill_switch: switch(response.kill_switch.unwrap_or_default())?,
        spot_checks: spot_checks(response.spot_checks.unwrap_or_default()),
        reported: accuracies(response.reported),
        log_trouble: some(response.decision_log.unwrap_or_default().trouble),
        restarts: response.restarts.map(restarts).transpose()?,
    })
}

fn restarts(restarts: proto::Restarts) -> Result<Restarts, ClientError> {
    Ok(Restarts {
        count: restarts.count,
        last: restarts.last.map(|last| time(Some(last))).transpose()?,
        reason: restarts.reason,
    })
}

fn engine_info(info: proto::EngineInfo) -> EngineInfo {
    let devices = info.devices.into_iter().map(|device| Device {
        name: device.name,
        description: device.description,
        kind: match device.kind.as_str() {
            "cpu" => "cpu",
            "gpu" => "gpu",
            _ => "accelerator",
        },
        memory_free_bytes: device.memory_free_bytes,
        memory_total_bytes: device.memory_total_bytes,
    });
    EngineInfo {
        runtime: info.runtime,
        cpu_variant: info.cpu_variant,
        devices: devices.collect(),
        threads: info.threads,
        adapter: info.adapter,
        context_cells: info.context_cells,
        slots: info.slots,
        shared_prefix_tokens: info.shared_prefix_tokens,
        load_time: duration(info.load_time),
        gpu: (info.gpu_layers > 0).then_some(Placement {
            device: info.gpu_device,
            layers: info.gpu_layers,
        }),
        gpu_reason: info.gpu_reason,
    }
}
