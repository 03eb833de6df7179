//! ControlService.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::call::{Call, Watch};
use super::meter::{GET_DECISION, GET_STATUS, LIST_DECISIONS, RE_ARM, RUN_SPOT_CHECK, SET_MODE};
use super::proto::control_service_server::ControlService;
use super::proto::{
    Counters, Device, EngineInfo, GetDecisionRequest, GetDecisionResponse, GetStatusRequest,
    GetStatusResponse, ListDecisionsRequest, ListDecisionsResponse, ReArmRequest, ReArmResponse,
    RunSpotCheckRequest, RunSpotCheckResponse, SetModeRequest, SetModeResponse,
};
use super::status::Failure;
use super::{convert, proto, record, switch};
use crate::decision_log::{Contents, LogError};
use crate::engine::Ready;
use crate::judge::Judge;
use crate::models::Bundle;
use crate::spot_check::Suite;
use crate::supervisor::History;
use crate::verdict::Label;

pub struct ControlRpc {
    judge: Arc<Judge>,
    watch: Arc<Watch>,
    answer_rules: BTreeMap<String, Label>,
    /// `None` where nobody supervises.
    restarts: Option<History>,
    started: Instant,
}

impl ControlRpc {
    pub fn new(
        judge: Arc<Judge>,
        watch: Arc<Watch>,
        bundle: &Bundle,
        restarts: Option<History>,
    ) -> Self {
        Self {
            judge,
            watch,
            restarts,
            answer_rules: bundle.answer.rules.clone(),
            started: Instant::now(),
        }
    }
}

#[tonic::async_trait]
impl ControlService for ControlRpc {
    async fn get_status(
        &self,
        request: Request<GetStatusRequest>,
    ) -> Result<Response<GetStatusResponse>, Status> {
        let call = Call::of(&self.watch, GET_STATUS, &request);
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
        // Where the log cannot be read, its trouble is told.
        let schedule = judge.spot_check_schedule().await.ok();
        let since = SystemTime::now() - REPORTED;
        let reported = judge.log().reported_accuracy(since).await;
        let trouble = judge.log().health().borrow().clone();
        let response = GetStatusResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            mode: convert::mode(judge.authority().standing().mode).into(),
            engine_state: convert::engine_state(&state).into(),
            degraded_reason: judge.trouble().unwrap_or_default(),
            model: ready.map(|_| convert::revision(&judge.revision())),
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
                decode_steps: meter.decode_steps,
                joined: meter.joined,
                guessed_tokens: meter.guessed_tokens,
                held_tokens: meter.held_tokens,
                kept_tokens: meter.prefix_cells,
            }),
            draining: judge.is_draining(),
            hard_rules: hard_rules.filter_map(|rule| rule.number()).collect(),
            answer_rules: answer_rules.collect(),
            kill_switch: Some(switch::status(judge.authority())),
            decision_log: Some(proto::DecisionLog {
                trouble: trouble.map(|error| error.to_string()).unwrap_or_default(),
            }),
            spot_checks: schedule.as_ref().map(switch::schedule),
            reported: switch::accuracies(&reported.unwrap_or_default()),
            restarts: self.restarts.as_ref().map(convert::restarts),
        };
        call.answer(Ok(response))
    }

    async fn set_mode(
        &self,
        request: Request<SetModeRequest>,
    ) -> Result<Response<SetModeResponse>, Status> {
        let call = Call::of(&self.watch, SET_MODE, &request);
        let request = request.into_inner();
        let set = async {
            let mode = match convert::mode_named(request.mode) {
                Some(mode) => mode,
                None => {
                    let description = format!("`mode` has no value `{}`", request.mode);
                    return Err(Failure::malformed("mode", description));
                }
            };
            let (by, reason) = (request.by, request.reason);
            let previous = self.judge.set_mode(mode, by, reason).await?;
            let previous = convert::mode(previous).into();
            Ok(SetModeResponse { previous })
        };
        call.answer(set.await)
    }

    async fn re_arm(
        &self,
        request: Request<ReArmRequest>,
    ) -> Result<Response<ReArmResponse>, Status> {
        let call = Call::of(&self.watch, RE_ARM, &request);
        let ReArmRequest {
            by,
            reason,
            via_shadow,
        } = request.into_inner();
        let arm = async {
            self.judge.re_arm(by, reason, via_shadow).await?;
            let kill_switch = Some(switch::status(self.judge.authority()));
            Ok(ReArmResponse { kill_switch })
        };
        call.answer(arm.await)
    }

    type RunSpotCheckStream = ReceiverStream<Result<RunSpotCheckResponse, Status>>;

    async fn run_spot_check(
        &self,
        request: Request<RunSpotCheckRequest>,
    ) -> Result<Response<Self::RunSpotCheckStream>, Status> {
        let call = Call::of(&self.watch, RUN_SPOT_CHECK, &request);
        let text = request.into_inner().suite_jsonl;
        let suite = match text.as_str() {
            "" => Suite::own(),
            text => Suite::parse(text),
        };
        let suite = match suite {
            Ok(suite) => suite,
            Err(error) => {
                let description = format!("`suite_jsonl`: {error}");
                return call.answer(Err(Failure::malformed("suite_jsonl", description)));
            }
        };
        let (events, receiver) = mpsc::channel(16);
        let judge = Arc::clone(&self.judge);
        tokio::spawn(async move {
            let progress = |done, total| {
                // Who reads slowly, or not at all, misses some.
                let _ = events.try_send(Ok(RunSpotCheckResponse {
                    done: count(done),
                    total: count(total),
                    result: None,
                }));
            };
            let checked = judge.spot_check(&suite, progress).await;
            let checked = checked.map(|checked| switch::checked(&suite, &checked));
            let end = call.answer(checked.map_err(Failure::from));
            let _ = events.send(end.map(Response::into_inner)).await;
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn list_decisions(
        &self,
        request: Request<ListDecisionsRequest>,
    ) -> Result<Response<ListDecisionsResponse>, Status> {
        let call = Call::of(&self.watch, LIST_DECISIONS, &request);
        let request = request.into_inner();
        let page = async {
            let filter = record::filter(request.filter.unwrap_or_default())?;
            let contents = match request.with_content {
                true => Contents::With,
                false => Contents::Without,
            };
            let size = match request.page_size {
                0 => PAGE_SIZE,
                size => size as usize,
            };
            let log = self.judge.log();
            let page = log.list(filter, contents, size, &request.page_token);
            let page = page.await?;
            Ok(ListDecisionsResponse {
                decisions: page.entries.iter().map(record::recorded).collect(),
                next_page_token: page.next_page_token,
            })
        };
        call.answer(page.await)
    }

    async fn get_decision(
        &self,
        request: Request<GetDecisionRequest>,
    ) -> Result<Response<GetDecisionResponse>, Status> {
        let call = Call::of(&self.watch, GET_DECISION, &request);
        let id = request.into_inner().decision_id;
        let entry = async {
            let id = record::decision_id(id)?;
            let entry = self.judge.log().get(&id).await?;
            let entry = entry.ok_or(LogError::UnknownDecision(id))?;
            let decision = Some(record::recorded(&entry));
            Ok(GetDecisionResponse { decision })
        };
        call.answer(entry.await)
    }
}

/// How far back reports count for a probe's accuracy: 30 days.
const REPORTED: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Decisions on a page, unless the caller says.
const PAGE_SIZE: usize = 100;

fn info(ready: &Ready, slots: usize) -> EngineInfo {
    let description = &ready.description;
    let devices = description.devices.iter().map(|device| Device {
        name: device.name.clone(),
        description: device.description.clone(),
        kind: device.kind.to_owned(),
        memory_free_bytes: device.memory_free_bytes,
        memory_total_bytes: device.memory_total_bytes,
    });
    let gpu = description.gpu.as_ref();
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
        gpu_device: gpu.map_or_else(String::new, |gpu| gpu.device.clone()),
        gpu_layers: gpu.map_or(0, |gpu| gpu.layers),
        gpu_reason: description.gpu_reason.clone(),
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
