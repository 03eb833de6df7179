//! What makes settings a configuration.

mod network;
mod policy;

use std::fmt;
use std::time::Duration;

use super::{Config, ModeName, Resolved, Settings};
use crate::backend::llama::{MAX_SEQUENCES, available_threads};
use crate::backend::offload::{Layers, Wish};
use crate::decision_log::{self, Retention};
use crate::edge;
use crate::engine;
use crate::judge::Policy;
use crate::supervisor;
use crate::verdict::Mode;

/// The configuration, or all that is wrong.
pub(super) fn config(settings: Settings, resolved: &Resolved) -> Result<Config, Vec<String>> {
    let mut checks = Checks {
        resolved,
        problems: Vec::new(),
    };
    match checks.config(settings) {
        Some(config) if checks.problems.is_empty() => Ok(config),
        _ => Err(checks.problems),
    }
}

/// Gathers problems, each with the setting's name and origin.
struct Checks<'r> {
    resolved: &'r Resolved,
    problems: Vec<String>,
}

impl Checks<'_> {
    fn config(&mut self, settings: Settings) -> Option<Config> {
        let mode = match self.given("mode", settings.mode) {
            Some(ModeName::Enforce) => Mode::Enforce,
            Some(ModeName::Shadow) => Mode::Shadow,
            Some(ModeName::RulesOnly) | None => Mode::RulesOnly,
        };
        let hard_rules = self.hard_rules(settings.hard_rules.as_deref());
        let rulebook = self.rulebook(&settings);
        let dispositions = self.dispositions(settings.dispositions.as_deref());
        let rules_pass = settings.rules_pass.as_deref().unwrap_or_default();
        let rules_pass = self.disposition("rules_pass", rules_pass);
        let slots = self.within("slots", settings.slots, 1, MAX_SEQUENCES);
        let queue = self.within("queue", settings.queue, 1, 100_000);
        let chunk = self.within("prefill_chunk", settings.prefill_chunk, 16, 4096);
        let prefix_cache = self.within("prefix_cache", settings.prefix_cache, 0, 1 << 24);
        let exact = settings.exact.unwrap_or(false);
        let threads = self.within("threads", settings.threads, 0, 512);
        let gpu_layers = self.gpu_layers(settings.gpu_layers.as_deref());
        let max_deadline = self.seconds("max_deadline", settings.max_deadline, 0.1);
        // An idle engine shows a sign of life each half second.
        let stuck_after = self.seconds("stuck_after", settings.stuck_after, 1.0);
        let abort_stuck = self.abort_stuck(settings.abort_stuck, stuck_after);
        let restart_limit = self.within("restart_limit", settings.restart_limit, 0, 1000);
        let restart_window = self.seconds("restart_window", settings.restart_window, 1.0);
        let drain_timeout = self.seconds("drain_timeout", settings.drain_timeout, 0.0);
        let kill_switch = self.kill_switch(settings.kill_switch.as_deref());
        let request_window = self.seconds("request_window", settings.request_window, 1.0);
        let mask = self.mask(settings.mask.as_deref());
        let retention_days = self.within("retention_days", settings.retention_days, 0, MOST_DAYS);
        let retention_mib = self.within("retention_mib", settings.retention_mib, 0, u32::MAX);
        if let (Some(days @ 1..), Some(window)) = (retention_days, request_window)
            && window > DAY * days
        {
            let problem = "it is longer than `retention_days` keeps decisions: shorten it, or keep \
                           them for longer";
            self.problem("request_window", problem);
        }
        let max_message_bytes = self.within(
            "max_message_bytes",
            settings.max_message_bytes,
            1024,
            64 << 20,
        );
        let guard = self.guard(&settings);
        let limits = self.limits(&settings, max_deadline);
        let insecure = settings.allow_insecure_listen.unwrap_or(false);
        let allowed = insecure || guard.keeps_strangers_out();
        let listen = self.address("listen", settings.listen, allowed);
        let control_listen = self.address("control_listen", settings.control_listen, allowed);
        let public = insecure || settings.allow_insecure_metrics.unwrap_or(false);
        let metrics_listen = self.metrics_address(settings.metrics_listen.as_deref(), public);
        let otlp_endpoint = self.collector(settings.otlp_endpoint);
        Some(Config {
            listen: listen?,
            control_listen: control_listen?,
            metrics_listen,
            otlp_endpoint,
            bundle: self.given("bundle", settings.bundle)?,
            model_dir: self.given("model_dir", settings.model_dir)?,
            state_dir: self.given("state_dir", settings.state_dir)?,
            policy: Policy {
                mode,
                rulebook,
                hard_rules,
                dispositions,
                rules_pass: rules_pass?,
                max_deadline: max_deadline?,
                recent_limit: RECENT_LIMIT,
                request_window: request_window?,
                mask: mask?,
            },
            kill_switch: kill_switch?,
            spot_checks: settings.spot_checks.unwrap_or(true),
            log: decision_log::Config {
                retention: Retention {
                    max_age: some(retention_days?).map(|days| DAY * days),
                    max_bytes: some(retention_mib?).map(|mib| u64::from(mib) << 20),
                },
                request_window: request_window?,
                ..decision_log::Config::default()
            },
            engine: engine::Config {
                slots: if exact { 1 } else { slots? as usize },
                queue: queue? as usize,
                chunk: chunk? as usize,
                // Where a prompt goes on from moves the last bits of its scores.
                prefix_cells: if exact { 0 } else { prefix_cache? as usize },
                speculate: settings.speculation.unwrap_or(false) && !exact,
                stuck_after: stuck_after?,
                abort_stuck,
                ..engine::Config::default()
            },
            threads: match threads? {
                0 => available_threads(),
                threads => threads,
            },
            merge_adapter: settings.merge_adapter.unwrap_or(false),
            gpu: Wish {
                layers: gpu_layers?,
                device: settings.gpu_device.filter(|name| !name.is_empty()),
            },
            supervise: match settings.supervise.unwrap_or(false) {
                true => Some(supervisor::Limit {
                    crashes: restart_limit?,
                    window: restart_window?,
                }),
                false => None,
            },
            drain_timeout: drain_timeout?,
            max_message_bytes: max_message_bytes? as usize,
            edge: edge::Config {
                guard,
                limits: limits?,
            },
        })
    }

    fn problem(&mut self, name: &str, what: impl fmt::Display) {
        let origin = self
            .resolved
            .get(name)
            .map(|sourced| format!(" ({})", sourced.origin))
            .unwrap_or_default();
        self.problems.push(format!("`{name}`{origin}: {what}"));
    }

    fn given<T>(&mut self, name: &str, value: Option<T>) -> Option<T> {
        if value.is_none() {
            self.problem(name, "has no value and this system gives no default");
        }
        value
    }

    fn within(&mut self, name: &str, value: Option<u32>, least: u32, most: u32) -> Option<u32> {
        let value = self.given(name, value)?;
        if (least..=most).contains(&value) {
            return Some(value);
        }
        self.problem(name, format!("`{value}` is not between {least} and {most}"));
        None
    }

    fn seconds(&mut self, name: &str, value: Option<f64>, least: f64) -> Option<Duration> {
        let value = self.given(name, value)?;
        if value >= least && value <= MOST_SECONDS {
            return Some(Duration::from_secs_f64(value));
        }
        let range = format!("`{value}` is not between {least} and {MOST_SECONDS} seconds");
        self.problem(name, range);
        None
    }

    /// `None` for never.
    fn abort_stuck(
        &mut self,
        value: Option<f64>,
        stuck_after: Option<Duration>,
    ) -> Option<Duration> {
        let limit = self.seconds("abort_stuck", value, 0.0)?;
        if limit.is_zero() {
            return None;
        }
        if stuck_after.is_some_and(|stuck_after| limit <= stuck_after) {
            let problem = "it is not longer than `stuck_after`, from which on the rules decide";
            self.problem("abort_stuck", problem);
        }
        Some(limit)
    }

    fn gpu_layers(&mut self, text: Option<&str>) -> Option<Layers> {
        match text.unwrap_or_default().parse() {
            Ok(layers) => Some(layers),
            Err(error) => {
                self.problem("gpu_layers", error);
                None
            }
        }
    }
}

/// A week: longer than any sensible limit, short enough for every clock.
const MOST_SECONDS: f64 = 604_800.0;
/// A century.
const MOST_DAYS: u32 = 36_500;
const DAY: Duration = Duration::from_secs(86_400);
const RECENT_LIMIT: u64 = 10_000;

/// Zero means no limit.
fn some(number: u32) -> Option<u32> {
    (number > 0).then_some(number)
}
