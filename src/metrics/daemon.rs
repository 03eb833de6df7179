//! How the daemon is at the moment of a scrape.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::sheet::{Sheet, truth};
use crate::engine::State;
use crate::judge::Judge;
use crate::kill_switch;
use crate::verdict::Mode;

pub struct DaemonState(pub Arc<Judge>);

impl fmt::Debug for DaemonState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DaemonState")
    }
}

impl Collector for DaemonState {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut sheet = Sheet(encoder);
        let judge = &self.0;
        who_decides(&mut sheet, judge)?;
        room(&mut sheet, judge)?;
        work(&mut sheet, judge)?;
        kill_switch(&mut sheet, judge)?;
        log(&mut sheet, judge)
    }
}

const MODES: [Mode; 3] = [Mode::Enforce, Mode::Shadow, Mode::RulesOnly];
const ENGINE_STATES: [&str; 7] = [
    "missing",
    "loading",
    "ready",
    "stuck",
    "suspended",
    "failed",
    "adapter_failed",
];

fn engine_state(state: &State) -> &'static str {
    match state {
        State::Missing(_) => "missing",
        State::Loading => "loading",
        State::Ready(_) => "ready",
        State::Stuck(_) => "stuck",
        State::Suspended(_) => "suspended",
        State::Failed(_) => "failed",
        State::AdapterFailed(_) => "adapter_failed",
    }
}

fn who_decides(sheet: &mut Sheet<'_>, judge: &Judge) -> fmt::Result {
    sheet.info(
        "judged_build_info",
        "The daemon's version.",
        &[("version", env!("CARGO_PKG_VERSION"))],
    )?;
    let revision = judge.revision();
    let adapter = revision.adapter_sha256.as_deref().unwrap_or_default();
    sheet.info(
        "judged_model_info",
        "The model bundle that is served, loaded or not.",
        &[
            ("bundle", &revision.bundle),
            ("base_sha256", &revision.base_sha256),
            ("adapter_sha256", adapter),
        ],
    )?;
    sheet.states(
        "judged_mode",
        "1 for the mode that holds, under the kill switch.",
        "mode",
        &MODES.map(Mode::as_str),
        judge.authority().standing().mode.as_str(),
    )?;
    sheet.gauge(
        "judged_degraded",
        "1 while the rules decide although the mode asks for the model, or the kill switch has tripped.",
        truth(judge.trouble().is_some()),
    )?;
    sheet.gauge(
        "judged_draining",
        "1 while nothing new is accepted.",
        truth(judge.is_draining()),
    )?;
    sheet.states(
        "judged_engine_state",
        "1 for the state that the engine is in.",
        "state",
        &ENGINE_STATES,
        engine_state(&judge.engine().state()),
    )
}

fn room(sheet: &mut Sheet<'_>, judge: &Judge) -> fmt::Result {
    let engine = judge.engine();
    let config = engine.config();
    let mut gauge = |name, help, number: usize| sheet.gauge(name, help, number as f64);
    gauge(
        "judged_open_tasks",
        "What a drain waits for: requests under way, and records that are written for them.",
        judge.open_requests(),
    )?;
    gauge(
        "judged_queue_depth",
        "Requests that wait for a slot.",
        engine.queue_depth(),
    )?;
    gauge(
        "judged_queue_capacity",
        "Requests that may wait; one more is refused.",
        config.queue,
    )?;
    gauge(
        "judged_running_jobs",
        "Requests that the model works on.",
        usize::try_from(engine.meter().read().running).unwrap_or(usize::MAX),
    )?;
    gauge(
        "judged_slots",
        "Requests that the model can work on at the same time.",
        config.slots,
    )?;
    let state = engine.state();
    let cells = state.ready().map_or(0, |ready| ready.capacity.cells);
    gauge(
        "judged_kv_cells",
        "Tokens that the KV cache has room for; 0 until the model is loaded.",
        cells,
    )?;
    let gpu = state
        .ready()
        .and_then(|ready| ready.description.gpu.as_ref());
    sheet.gauge(
        "judged_gpu_layers",
        "Layers of the model that a GPU holds; 0 where the CPU has them all.",
        gpu.map_or(0.0, |gpu| f64::from(gpu.layers)),
    )?;
    sheet.gauge(
        "judged_max_deadline_seconds",
        "The longest that a request may take.",
        judge.policy().max_deadline.as_secs_f64(),
    )
}

fn work(sheet: &mut Sheet<'_>, judge: &Judge) -> fmt::Result {
    let meter = judge.engine().meter();
    let read = meter.read();
    sheet.counter(
        "judged_engine_prefill_tokens",
        "Prompt tokens that were evaluated.",
        read.prefill_tokens,
    )?;
    sheet.counter(
        "judged_engine_cached_tokens",
        "Prompt tokens that the KV cache spared.",
        read.cached_tokens,
    )?;
    sheet.counter(
        "judged_engine_decode_tokens",
        "Tokens of rationales that were evaluated.",
        read.decode_tokens,
    )?;
    sheet.counter(
        "judged_engine_decode_steps",
        "Decode calls for rationales, each with a token or more of each that is written.",
        read.decode_steps,
    )?;
    sheet.counters(
        "judged_engine_guessed_tokens",
        "Tokens of rationales that were guessed and read ahead, by whether they held.",
        "held",
        [
            ("true", read.held_tokens as f64),
            ("false", (read.guessed_tokens - read.held_tokens) as f64),
        ],
    )?;
    sheet.counter(
        "judged_engine_joined_jobs",
        "Jobs that were answered with another one of the same content.",
        read.joined,
    )?;
    sheet.gauge(
        "judged_engine_kept_tokens",
        "Prompt tokens whose KV cells are kept, beside those that all prompts share.",
        read.prefix_cells as f64,
    )?;
    sheet.counters(
        "judged_engine_busy_seconds",
        "Time in decode calls, by what they did.",
        "phase",
        [
            ("prefill", read.prefill.as_secs_f64()),
            ("decode", read.decode.as_secs_f64()),
        ],
    )?;
    sheet.counter(
        "judged_engine_abandoned_jobs",
        "Jobs that were dropped since nobody waited for them any more.",
        read.abandoned,
    )?;
    sheet.counter(
        "judged_engine_failed_decodes",
        "Decode calls that failed.",
        read.failures,
    )?;
    sheet.gauge(
        "judged_engine_silence_seconds",
        "Time since the engine's thread last showed a sign of life.",
        meter.silence().as_secs_f64(),
    )
}

const SWITCH_STATES: [&str; 3] = ["armed", "shadowing", "tripped"];
const CONDITIONS: [&str; 6] = [
    "false_positives",
    "probe_accuracy",
    "adapter_not_loadable",
    "malformed_output",
    "incident",
    "state_unreadable",
];

fn kill_switch(sheet: &mut Sheet<'_>, judge: &Judge) -> fmt::Result {
    let state = judge.authority().state();
    let distance = judge.authority().distance();
    sheet.states(
        "judged_kill_switch_state",
        "1 for the state that the kill switch is in.",
        "state",
        &SWITCH_STATES,
        state.name(),
    )?;
    let met: BTreeSet<&str> = match &state {
        kill_switch::State::Tripped { first, later } => [first]
            .into_iter()
            .chain(later)
            .map(|trip| trip.condition.name())
            .collect(),
        kill_switch::State::Armed { .. } | kill_switch::State::Shadowing { .. } => BTreeSet::new(),
    };
    sheet.gauges(
        "judged_kill_switch_condition_met",
        "1 for each condition that the present trip has met.",
        "condition",
        CONDITIONS.map(|condition| (condition, truth(met.contains(condition)))),
    )?;
    let measures = [
        ("false_positives", distance.false_positives),
        ("malformed_output", distance.malformed),
    ];
    sheet.gauges(
        "judged_kill_switch_samples",
        "Prospects or calls in the window.",
        "condition",
        measures.map(|(name, measure)| (name, f64::from(measure.samples))),
    )?;
    sheet.gauges(
        "judged_kill_switch_bad_samples",
        "Those in the window with a false positive, or with malformed output.",
        "condition",
        measures.map(|(name, measure)| (name, f64::from(measure.count))),
    )?;
    sheet.gauges(
        "judged_kill_switch_minimum_samples",
        "With fewer samples it never trips.",
        "condition",
        measures.map(|(name, measure)| (name, f64::from(measure.minimum))),
    )?;
    sheet.gauges(
        "judged_kill_switch_limit_ratio",
        "The share of bad samples above which it trips.",
        "condition",
        measures.map(|(name, measure)| (name, f64::from(measure.limit))),
    )?;
    let left = measures.iter().filter_map(|(name, measure)| {
        let left = measure.more?;
        Some((*name, f64::from(left)))
    });
    sheet.gauges(
        "judged_kill_switch_bad_samples_left",
        "The fewest further bad samples that trip it; none where none can.",
        "condition",
        left,
    )?;
    probes(sheet, &distance)
}

fn probes(sheet: &mut Sheet<'_>, distance: &kill_switch::Distance) -> fmt::Result {
    let probes = || distance.probes.iter().filter(|probe| probe.tally.total > 0);
    sheet.gauges(
        "judged_kill_switch_probe_accuracy_ratio",
        "Share of a probe's cases that the last spot check found right.",
        "probe",
        probes().map(|probe| {
            let right = f64::from(probe.tally.right) / f64::from(probe.tally.total);
            (probe.probe.as_str(), right)
        }),
    )?;
    sheet.gauges(
        "judged_kill_switch_probe_limit_ratio",
        "The share of right cases under which a probe trips it.",
        "probe",
        probes().map(|probe| (probe.probe.as_str(), f64::from(probe.limit))),
    )
}

fn log(sheet: &mut Sheet<'_>, judge: &Judge) -> fmt::Result {
    let log = judge.log();
    let written = log.written();
    sheet.gauge(
        "judged_log_writable",
        "1 while decisions can be recorded: without a record no verdict leaves.",
        truth(log.health().borrow().is_none()),
    )?;
    sheet.counter(
        "judged_log_commands",
        "What was written to the decision log.",
        written.commands,
    )?;
    sheet.counter(
        "judged_log_commits",
        "Commits of the decision log, each of all commands that waited.",
        written.commits,
    )?;
    sheet.gauge(
        "judged_log_bytes",
        "What the decision log takes on the disk, its WAL included.",
        log.bytes() as f64,
    )
}
