use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use super::control::Control;
use super::{print, record};
use crate::client::{Access, Client, ClientError, EngineState, Restarts, SpotChecks, Status};
use crate::exit_code::ExitCode;

/// Tell what serves, how well, and why not better.
///
/// Ends with 0 if requests are decided and recorded as the mode asks, with 5 if
/// the daemon is degraded to its rules, its kill switch not armed or its log in
/// trouble, with 3 if no daemon answers.
#[derive(Args, Debug)]
pub struct StatusArgs {
    #[command(flatten)]
    control: Control,

    /// Wait until the model decides, at most so many seconds.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "120")]
    wait: Option<u64>,

    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let access = args.control.access.read()?;
    let status = super::runtime()?.block_on(ask(args, &access));
    let status = match status {
        Ok(status) => status,
        Err(error) => {
            print::error_chain(&error);
            return Ok(ExitCode::from(&error));
        }
    };
    if args.json {
        print::out!("{}", to_json(&status));
    } else {
        print_text(&status)?;
    }
    let judges = status.degraded_reason.is_none() && status.log_trouble.is_none();
    Ok(match judges && status.kill_switch.state.is_armed() {
        true => ExitCode::Ok,
        false => ExitCode::Degraded,
    })
}

async fn ask(args: &StatusArgs, access: &Access) -> Result<Status, ClientError> {
    let end = Instant::now() + Duration::from_secs(args.wait.unwrap_or(0));
    loop {
        let answer = match Client::connect_with(&args.control.addr, access).await {
            Ok(mut client) => client.status().await,
            Err(error) => Err(error),
        };
        let settled = match &answer {
            Ok(status) => {
                status.degraded_reason.is_none()
                    || status.engine_state == EngineState::Failed
                    || !status.kill_switch.state.is_armed()
            }
            Err(_) => false,
        };
        if settled || Instant::now() >= end {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn print_text(status: &Status) -> anyhow::Result<()> {
    print::out!("judged {}  mode {}", status.version, status.mode);
    print::out!("engine    {}", status.engine_state.as_str());
    if let Some(reason) = &status.degraded_reason {
        print::out!("degraded  {reason}");
    }
    if status.draining {
        print::out!("draining  yes");
    }
    if let Some(restarts) = &status.restarts
        && let Some(last) = restarts.last
    {
        let Restarts { count, reason, .. } = restarts;
        print::out!(
            "restarts  {count}, the last {}: {reason}",
            record::time(last)
        );
    }
    if let Some(model) = &status.model {
        print::out!("bundle    {}", model.bundle);
        print::out!("base      sha256 {}", model.base_sha256);
        let adapter = model.adapter_sha256.as_deref();
        print::out!("adapter   {}", adapter.unwrap_or("none"));
    }
    if let Some(engine) = &status.engine {
        print::out!("adapted   {}", engine.adapter);
        print::out!("runtime   {}", engine.runtime);
        print::out!(
            "cpu       {}, {} threads",
            engine.cpu_variant,
            engine.threads
        );
        for device in &engine.devices {
            print::out!(
                "device    {} ({}): {}",
                device.name,
                device.kind,
                device.description
            );
        }
        print::out!(
            "gpu       {}",
            print::gpu(engine.gpu.as_ref(), &engine.gpu_reason)
        );
        print::out!(
            "context   {} cells, {} slots, {} prompt tokens shared, loaded in {:.1} s",
            engine.context_cells,
            engine.slots,
            engine.shared_prefix_tokens,
            engine.load_time.as_secs_f64()
        );
    }
    print::out!(
        "queue     {} of {} waiting, {} running",
        status.queue_depth,
        status.queue_limit,
        status.running
    );
    print::out!(
        "decided   {} by the model, {} by rules, {} refused, {} abandoned",
        status.decisions_by_model,
        status.decisions_by_rules,
        status.refused,
        status.abandoned
    );
    print::out!(
        "tokens    {} prefilled in {:.1} s, {} spared by the cache, {} decoded in {:.1} s",
        status.prefill_tokens,
        status.prefill_time.as_secs_f64(),
        status.cached_tokens,
        status.decode_tokens,
        status.decode_time.as_secs_f64()
    );
    let switch = &status.kill_switch;
    match switch.reason.as_str() {
        "" => print::out!("switch    {}", switch.state.as_str()),
        reason => print::out!("switch    {}: {reason}", switch.state.as_str()),
    }
    print::out!("checked   {}", checked(&status.spot_checks));
    if !status.reported.is_empty() {
        let probes = status.reported.iter();
        let probes =
            probes.map(|(probe, (right, total))| format!("{probe} {right} of {total} right"));
        print::out!("reported  {}", probes.collect::<Vec<_>>().join(", "));
    }
    if let Some(trouble) = &status.log_trouble {
        print::out!("log       {trouble}");
    }
    print::out!("uptime    {:.0} s", status.uptime.as_secs_f64());
    Ok(())
}

fn checked(checks: &SpotChecks) -> String {
    let last = checks.last.map_or("never".to_owned(), record::time);
    let next = checks.next.map_or("unknown".to_owned(), record::time);
    match checks.missed {
        true => format!("{last}: MISSED, run `judged spot-check`"),
        false => format!("{last}, next {next}"),
    }
}

fn to_json(status: &Status) -> serde_json::Value {
    json!({
        "version": status.version,
        "mode": status.mode.as_str(),
        "engine_state": status.engine_state.as_str(),
        "degraded_reason": status.degraded_reason,
        "draining": status.draining,
        "kill_switch": super::kill_switch::to_json(&status.kill_switch),
        "spot_checks": {
            "last": status.spot_checks.last.map(record::time),
            "next": status.spot_checks.next.map(record::time),
            "missed": status.spot_checks.missed,
            "probes": accuracies(&status.spot_checks.probes),
        },
        "reported": accuracies(&status.reported),
        "log_trouble": status.log_trouble,
        "hard_rules": status.hard_rules,
        "answer_rules": status.answer_rules,
        "model": status.model.as_ref().map(print::revision),
        "engine": status.engine.as_ref().map(|engine| json!({
            "runtime": engine.runtime,
            "cpu_variant": engine.cpu_variant,
            "threads": engine.threads,
            "adapter": engine.adapter,
            "context_cells": engine.context_cells,
            "slots": engine.slots,
            "shared_prefix_tokens": engine.shared_prefix_tokens,
            "load_seconds": engine.load_time.as_secs_f64(),
            "gpu_device": engine.gpu.as_ref().map(|gpu| &gpu.device),
            "gpu_layers": engine.gpu.as_ref().map_or(0, |gpu| gpu.layers),
            "gpu_reason": engine.gpu_reason,
            "devices": engine.devices.iter().map(print::device).collect::<Vec<_>>(),
        })),
        "queue_depth": status.queue_depth,
        "queue_limit": status.queue_limit,
        "running": status.running,
        "uptime_seconds": status.uptime.as_secs_f64(),
        "restarts": status.restarts.as_ref().map(|restarts| json!({
            "count": restarts.count,
            "last": restarts.last.map(record::time),
            "reason": restarts.reason,
        })),
        "decisions_by_model": status.decisions_by_model,
        "decisions_by_rules": status.decisions_by_rules,
        "refused": status.refused,
        "abandoned": status.abandoned,
        "prefill_tokens": status.prefill_tokens,
        "prefill_seconds": status.prefill_time.as_secs_f64(),
        "cached_tokens": status.cached_tokens,
        "decode_tokens": status.decode_tokens,
        "decode_seconds": status.decode_time.as_secs_f64(),
        "decode_steps": status.decode_steps,
        "joined": status.joined,
        "guessed_tokens": status.guessed_tokens,
        "held_tokens": status.held_tokens,
        "kept_tokens": status.kept_tokens,
    })
}

fn accuracies(probes: &BTreeMap<String, (u32, u32)>) -> serde_json::Value {
    let probes = probes
        .iter()
        .map(|(probe, (right, total))| (probe.clone(), json!({"right": right, "total": total})));
    serde_json::Value::Object(probes.collect())
}
