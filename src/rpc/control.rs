//! ControlService.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tonic::{Request, Response, Status};

use super::convert;
use super::proto::control_service_server::ControlService;
use super::proto::{Counters, Device, EngineInfo, GetStatusRequest, GetStatusResponse};
use crate::engine::Ready;
use crate::judge::Judge;
use crate::models::Bundle;
use crate::verdict::Label;

pub struct ControlRpc {
    judge: Arc<Judge>,
    answer_rules: BTreeMap<String, Label>,
    started: Instant,
}

impl ControlRpc {
    pub fn new(judge: Arc<Judge>, bundle: &Bundle) -> Self {
        Self {
            judge,
            answer_rules: bundle.answer.rules.clone(),
            started: Instant::now(),
        }
    }
}

#[tonic::async_trait]
impl ControlService for ControlRpc {
    async fn get_status(
        &self,
        _: Request<GetStatusRequest>,
    ) -> Result<Response<GetStatusResponse>, Status> {
        let judge = &self.judge;
        let engine = judge.engine();
        let state = engine.state();
        let ready = state.ready();
        let meter = engine.meter().read();
        let tally = judge.tally();
        let hard_rules = judge.policy().hard_rules.iter();
        let answer_rules = self.answer_rules.iter();
        let answer_rules =
            answer_rules.map(|(rule, label)| (rule.clone(), convert::label(*label).into()));
        let response = GetStatusResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            mode: convert::mode(judge.policy().mode).into(),
            engine_state: convert::engine_state(&state).into(),
            degraded_reason: judge.trouble().unwrap_or_default(),
            model: ready.map(|_| convert::revision(judge.revision())),
            engine: ready.map(|ready| info(ready, engine.config().slots)),
            queue_depth: count(engine.queue_depth()),
            queue_limit: count(engine.config().queue),
            running: u32::try_from(meter.running).unwrap_or(u32::MAX),
            uptime: Some(convert::duration(self.started.elapsed())),
            counters: Some(Counters {
                decisions_by_model: tally.by_model,
                decisions_by_rules: tally.by_rules,
                refused: tally.refused,
                abandoned: meter.abandoned,
                prefill_tokens: meter.prefill_tokens,
                cached_tokens: meter.cached_tokens,
                decode_tokens: meter.decode_tokens,
                prefill_time: Some(convert::duration(meter.prefill)),
                decode_time: Some(convert::duration(meter.decode)),
            }),
            draining: judge.is_draining(),
            hard_rules: hard_rules.map(|rule| rule.number().into()).collect(),
            answer_rules: answer_rules.collect(),
        };
        Ok(Response::new(response))
    }
}

fn info(ready: &Ready, slots: usize) -> EngineInfo {
    let description = &ready.description;
    let devices = description.devices.iter().map(|device| Device {
        name: device.name.clone(),
        description: device.description.clone(),
        kind: device.kind.to_owned(),
        memory_free_bytes: device.memory_free_bytes,
        memory_total_bytes: device.memory_total_bytes,
    });
    EngineInfo {
        runtime: description.runtime.clone(),
        cpu_variant: description.cpu_variant.clone(),
        devices: devices.collect(),
        threads: description.threads,
        adapter: description.adapter.clone(),
        context_cells: count(ready.capacity.cells),
        slots: count(slots),
        shared_prefix_tokens: count(ready.shared_prefix_tokens),
        load_time: Some(convert::duration(ready.load_time)),
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
