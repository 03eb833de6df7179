//! Settings: each is a flag of `judged serve`, an environment variable and a
//! key of one TOML file, in this order of precedence, and has a default.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::Uri;
use clap::{ArgMatches, Args, ValueEnum, parser::ValueSource};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::backend::llama::{MAX_SEQUENCES, available_threads};
use crate::backend::offload::{Layers, Wish};
use crate::decision_log::{self, DEFAULT_PATHS, Mask, Retention};
use crate::edge::{self, Guard, Limits, TlsFiles};
use crate::engine;
use crate::judge::{Dispositions, Policy};
use crate::kill_switch::Thresholds;
use crate::models::Store;
use crate::rules::{Rule, Rulebook};
use crate::supervisor;
use crate::verdict::{Disposition, Label, Mode};

/// The settings as they are written: all of them optional, all of them here.
#[derive(Args, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where JudgeService listens.
    #[arg(long, value_name = "ADDR", env = "JUDGED_LISTEN")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,

    /// Where ControlService listens: for operators only.
    #[arg(long, value_name = "ADDR", env = "JUDGED_CONTROL_LISTEN")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_listen: Option<SocketAddr>,

    /// Where metrics are served for Prometheus, at /metrics, such as 127.0.0.1:9464;
    /// empty for nowhere.
    #[arg(long, value_name = "ADDR", env = "JUDGED_METRICS_LISTEN")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics_listen: Option<String>,

    /// A collector that takes traces by OTLP over gRPC, such as http://127.0.0.1:4317;
    /// empty for none. OTEL_EXPORTER_OTLP_ENDPOINT names one too.
    #[arg(long, value_name = "URL", env = "JUDGED_OTLP_ENDPOINT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp_endpoint: Option<String>,

    /// The daemon's certificate for TLS on both listeners, with those between it and its
    /// authority: a PEM file. Without one they are plaintext.
    #[arg(long, value_name = "FILE", env = "JUDGED_TLS_CERT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cert: Option<PathBuf>,

    /// The private key of `tls_cert`: a PEM file.
    #[arg(long, value_name = "FILE", env = "JUDGED_TLS_KEY")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_key: Option<PathBuf>,

    /// The authorities of client certificates, which every caller must then show: a PEM file.
    #[arg(long, value_name = "FILE", env = "JUDGED_TLS_CLIENT_CA")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_client_ca: Option<PathBuf>,

    /// The file of bearer tokens, one of which every call must then show, but for health
    /// checks; `judged token new` makes them.
    #[arg(long, value_name = "FILE", env = "JUDGED_TOKENS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<PathBuf>,

    /// Allow to listen beyond this machine without TLS, or without tokens and client
    /// certificates, where anyone who reaches the port may read or ask.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", env = "JUDGED_ALLOW_INSECURE_LISTEN")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_insecure_listen: Option<bool>,

    /// The model bundle: a name, or the path of a manifest.
    #[arg(long, value_name = "NAME", env = "JUDGED_BUNDLE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bundle: Option<String>,

    /// The store of model files, which `judged pull` fills.
    #[arg(long, value_name = "DIR", env = "JUDGED_MODEL_DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_dir: Option<PathBuf>,

    /// What the daemon keeps; one daemon holds it at a time.
    #[arg(long, value_name = "DIR", env = "JUDGED_STATE_DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_dir: Option<PathBuf>,

    /// Who decides: the model after the hard rules (enforce), the rules with
    /// the model only logged (shadow), or the rules alone (rules-only).
    #[arg(long, value_name = "MODE", value_enum, env = "JUDGED_MODE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<ModeName>,

    /// Rules that decide alone, before the model is asked, of 1 to 6; `none`
    /// for no rule.
    #[arg(long, value_name = "1,2,3", env = "JUDGED_HARD_RULES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hard_rules: Option<String>,

    /// Flags that disqualify a prospect (rule 1), beside `anti_offshore`,
    /// `local_only`, `do_not_contact` and `competitor`.
    #[arg(long, value_name = "FLAG,…", env = "JUDGED_DISQUALIFIERS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disqualifiers: Option<String>,

    /// Names that stand for no real peer (rule 6), beside those of
    /// `models/placeholder-peers.txt`, and written as there.
    #[arg(long, value_name = "NAME,…", env = "JUDGED_PLACEHOLDER_PEERS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placeholder_peers: Option<String>,

    /// What each label means, where it is not the default, such as
    /// `PENALISE=DISPATCH,ESCALATE=DO_NOT_SEND`.
    #[arg(long, value_name = "LABEL=DISPOSITION,…", env = "JUDGED_DISPOSITIONS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dispositions: Option<String>,

    /// What a PASS means that comes from the rules alone.
    #[arg(long, value_name = "DISPOSITION", env = "JUDGED_RULES_PASS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules_pass: Option<String>,

    /// Threads of the model; 0 means as many as the affinity mask and the
    /// cgroup's quota let run.
    #[arg(long, value_name = "N", env = "JUDGED_THREADS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<u32>,

    /// Layers of the model that a GPU takes: a number, or `auto` for as many as fit if that
    /// is faster than the CPU. A GPU is tried by another process first; what it cannot
    /// take, or all where it fails, stays on the CPU.
    #[arg(long, value_name = "auto|N", env = "JUDGED_GPU_LAYERS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu_layers: Option<String>,

    /// The GPU to take, such as CUDA0, as `judged doctor` names them; empty for the one
    /// with the most free memory.
    #[arg(long, value_name = "NAME", env = "JUDGED_GPU_DEVICE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu_device: Option<String>,

    /// Requests that the model works on at the same time.
    #[arg(long, value_name = "N", env = "JUDGED_SLOTS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slots: Option<u32>,

    /// Requests that wait for a slot; one more is refused.
    #[arg(long, value_name = "N", env = "JUDGED_QUEUE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<u32>,

    /// Prompt tokens evaluated in one step: deadlines and cancellation take
    /// effect between steps.
    #[arg(long, value_name = "TOKENS", env = "JUDGED_PREFILL_CHUNK")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefill_chunk: Option<u32>,

    /// Prompt tokens whose KV cells are kept, so that the next draft for the same
    /// prospect is read alone. With the default model a token takes 28 KiB.
    #[arg(long, value_name = "TOKENS", env = "JUDGED_PREFIX_CACHE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix_cache: Option<u32>,

    /// Guess a rationale's next words from earlier ones and from the prompt, where
    /// checking several tokens in one step is measured to be faster. What was guessed
    /// before can then change a word.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", env = "JUDGED_SPECULATION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speculation: Option<bool>,

    /// Judge one request at a time and guess nothing, so that a rationale, too, is the
    /// same to the last bit however often it is asked for. Labels always are.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", env = "JUDGED_EXACT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exact: Option<bool>,

    /// The longest a request may take, whatever deadline its caller set.
    #[arg(long, value_name = "SECONDS", env = "JUDGED_MAX_DEADLINE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_deadline: Option<f64>,

    /// The engine is stuck when it shows no sign of life for so long.
    #[arg(long, value_name = "SECONDS", env = "JUDGED_STUCK_AFTER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stuck_after: Option<f64>,

    /// An engine that is stuck for so long ends the daemon with an abort, so that --supervise,
    /// systemd or the like starts it again; 0 for never.
    #[arg(long, value_name = "SECONDS", env = "JUDGED_ABORT_STUCK")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub abort_stuck: Option<f64>,

    /// Run the daemon under a parent process that keeps its sockets and starts it again when
    /// it crashes.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", env = "JUDGED_SUPERVISE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub supervise: Option<bool>,

    /// Crashes within `restart_window` that --supervise puts up with; one more ends it.
    #[arg(long, value_name = "N", env = "JUDGED_RESTART_LIMIT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_limit: Option<u32>,

    /// How long a crash counts towards `restart_limit`.
    #[arg(long, value_name = "SECONDS", env = "JUDGED_RESTART_WINDOW")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_window: Option<f64>,

    /// On SIGTERM or SIGINT, how long accepted requests may still take.
    #[arg(long, value_name = "SECONDS", env = "JUDGED_DRAIN_TIMEOUT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain_timeout: Option<f64>,

    /// What trips the kill switch, where it is not as the model card says, such as
    /// `false_positive_share=0.1,probe_minimum=10`; docs/kill-switch.md tells them all.
    #[arg(long, value_name = "NAME=NUMBER,…", env = "JUDGED_KILL_SWITCH")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kill_switch: Option<String>,

    /// Ask the model labelled cases once a week, and hold the result against the
    /// kill switch.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", env = "JUDGED_SPOT_CHECKS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spot_checks: Option<bool>,

    /// How long a request id stands for one decision.
    #[arg(long, value_name = "SECONDS", env = "JUDGED_REQUEST_WINDOW")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_window: Option<f64>,

    /// What the decision log does not keep: JSON paths (RFC 9535) into
    /// `{"context": …, "draft": …}`, with `;` between them. Empty masks nothing.
    #[arg(long, value_name = "PATH;PATH;…", env = "JUDGED_MASK")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask: Option<String>,

    /// Recorded decisions that are older are deleted; 0 keeps them all.
    #[arg(long, value_name = "DAYS", env = "JUDGED_RETENTION_DAYS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_days: Option<u32>,

    /// Above this size of the decision log the oldest decisions are deleted; 0
    /// means no limit.
    #[arg(long, value_name = "MIB", env = "JUDGED_RETENTION_MIB")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_mib: Option<u32>,

    /// The largest message that is read, in bytes.
    #[arg(long, value_name = "BYTES", env = "JUDGED_MAX_MESSAGE_BYTES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_message_bytes: Option<u32>,

    /// Connections that each listener may have open; one more is closed at once.
    #[arg(long, value_name = "N", env = "JUDGED_MAX_CONNECTIONS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<u32>,

    /// Calls that each listener may have under way, health checks aside; one more is refused.
    #[arg(long, value_name = "N", env = "JUDGED_MAX_CALLS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_calls: Option<u32>,

    /// Streams that one connection may have open.
    #[arg(long, value_name = "N", env = "JUDGED_MAX_STREAMS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_streams: Option<u32>,

    /// Idle connections are asked for a sign of life this often.
    #[arg(long, value_name = "SECONDS", env = "JUDGED_KEEPALIVE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keepalive: Option<f64>,

    /// A connection whose TLS and HTTP/2 have not begun by then is closed.
    #[arg(long, value_name = "SECONDS", env = "JUDGED_HANDSHAKE_TIMEOUT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handshake_timeout: Option<f64>,

    /// A connection without a call for so long is closed.
    #[arg(long, value_name = "SECONDS", env = "JUDGED_IDLE_TIMEOUT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<f64>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum ModeName {
    Enforce,
    Shadow,
    RulesOnly,
}

/// The settings, read and checked.
#[derive(Clone, Debug)]
pub struct Config {
    pub listen: SocketAddr,
    pub control_listen: SocketAddr,
    pub metrics_listen: Option<SocketAddr>,
    pub otlp_endpoint: Option<String>,
    pub bundle: String,
    pub model_dir: PathBuf,
    pub state_dir: PathBuf,
    pub policy: Policy,
    pub log: decision_log::Config,
    pub kill_switch: Thresholds,
    pub spot_checks: bool,
    pub engine: engine::Config,
    pub threads: u32,
    pub gpu: Wish,
    /// `None` where nobody is to supervise.
    pub supervise: Option<supervisor::Limit>,
    pub drain_timeout: Duration,
    pub max_message_bytes: usize,
    pub edge: edge::Config,
}

/// A setting's value, and who gave it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sourced {
    pub value: Value,
    pub origin: Origin,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    File(PathBuf),
    Environment,
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(path) => write!(f, "file {}", path.display()),
            Origin::Environment => f.write_str("environment"),
            Origin::Flag => f.write_str("flag"),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read the settings file `{}`", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("settings file `{}`: {message}", path.display())]
    Syntax { path: PathBuf, message: String },
    #[error("the settings cannot be used:\n{}", list(.0))]
    Invalid(Vec<String>),
}

/// All settings by name, with their origins.
pub type Resolved = BTreeMap<String, Sourced>;

impl Settings {
    /// What holds where nobody says anything.
    pub fn defaults() -> Self {
        Self {
            listen: Some(SocketAddr::from(([127, 0, 0, 1], 50551))),
            control_listen: Some(SocketAddr::from(([127, 0, 0, 1], 50552))),
            metrics_listen: Some(String::new()),
            otlp_endpoint: Some(String::new()),
            tls_cert: Some(PathBuf::new()),
            tls_key: Some(PathBuf::new()),
            tls_client_ca: Some(PathBuf::new()),
            tokens: Some(PathBuf::new()),
            allow_insecure_listen: Some(false),
            bundle: Some("tenacious-judge".to_owned()),
            model_dir: Store::default_dir(),
            state_dir: default_state_dir(),
            mode: Some(ModeName::Enforce),
            hard_rules: Some("1,2,3".to_owned()),
            disqualifiers: Some(String::new()),
            placeholder_peers: Some(String::new()),
            dispositions: Some(String::new()),
            rules_pass: Some(Disposition::HoldForReview.as_str().to_owned()),
            threads: Some(0),
            gpu_layers: Some(Layers::Auto.to_string()),
            gpu_device: Some(String::new()),
            slots: Some(4),
            queue: Some(64),
            prefill_chunk: Some(256),
            prefix_cache: Some(16_384),
            speculation: Some(false),
            exact: Some(false),
            max_deadline: Some(120.0),
            stuck_after: Some(60.0),
            abort_stuck: Some(0.0),
            supervise: Some(false),
            restart_limit: Some(5),
            restart_window: Some(300.0),
            drain_timeout: Some(20.0),
            kill_switch: Some(String::new()),
            spot_checks: Some(true),
            request_window: Some(86_400.0),
            mask: Some(DEFAULT_PATHS.join(";")),
            retention_days: Some(400),
            retention_mib: Some(0),
            max_message_bytes: Some(1 << 20),
            max_connections: Some(256),
            max_calls: Some(1024),
            max_streams: Some(256),
            keepalive: Some(30.0),
            handshake_timeout: Some(10.0),
            idle_timeout: Some(600.0),
        }
    }

    /// What OpenTelemetry's own variables ask for.
    fn of_opentelemetry() -> Self {
        let variables = [
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "OTEL_EXPORTER_OTLP_ENDPOINT",
        ];
        let endpoints = variables
            .into_iter()
            .filter_map(|name| std::env::var(name).ok());
        Self {
            otlp_endpoint: endpoints.into_iter().find(|endpoint| !endpoint.is_empty()),
            ..Self::default()
        }
    }

    /// Puts the flags and environment over the file over the defaults.
    pub fn resolve(
        &self,
        matches: Option<&ArgMatches>,
        file: Option<&Path>,
    ) -> Result<Resolved, ConfigError> {
        let mut resolved = Resolved::new();
        let mut put = |settings: &Settings, origin: &dyn Fn(&str) -> Origin| {
            for (name, value) in settings.to_map() {
                let origin = origin(&name);
                resolved.insert(name, Sourced { value, origin });
            }
        };
        put(&Settings::defaults(), &|_| Origin::Default);
        if let Some(path) = file {
            put(&read(path)?, &|_| Origin::File(path.to_owned()));
        }
        if matches.is_some() {
            put(&Settings::of_opentelemetry(), &|_| Origin::Environment);
        }
        put(
            self,
            &|name| match matches.and_then(|matches| matches.value_source(name)) {
                Some(ValueSource::EnvVariable) => Origin::Environment,
                _ => Origin::Flag,
            },
        );
        Ok(resolved)
    }

    fn to_map(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(map)) => map,
            _ => Map::new(),
        }
    }
}

impl Config {
    /// Checks the settings, and reports all that is wrong together.
    pub fn new(resolved: &Resolved) -> Result<Self, ConfigError> {
        let map: Map<String, Value> = resolved
            .iter()
            .map(|(name, sourced)| (name.clone(), sourced.value.clone()))
            .collect();
        let settings: Settings = serde_json::from_value(Value::Object(map))
            .map_err(|error| ConfigError::Invalid(vec![error.to_string()]))?;
        let mut checks = Checks {
            resolved,
            problems: Vec::new(),
        };
        let config = checks.config(settings);
        match config {
            Some(config) if checks.problems.is_empty() => Ok(config),
            _ => Err(ConfigError::Invalid(checks.problems)),
        }
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
        let stuck_after = self.seconds("stuck_after", settings.stuck_after, 0.1);
        let abort_stuck = self.abort_stuck(settings.abort_stuck, stuck_after);
        let restart_limit = self.within("restart_limit", settings.restart_limit, 0, 1000);
        let restart_window = self.seconds("restart_window", settings.restart_window, 1.0);
        let drain_timeout = self.seconds("drain_timeout", settings.drain_timeout, 0.0);
        let kill_switch = self.kill_switch(settings.kill_switch.as_deref());
        let request_window = self.seconds("request_window", settings.request_window, 1.0);
        let mask = self.mask(settings.mask.as_deref());
        let retention_days = self.within("retention_days", settings.retention_days, 0, MOST_DAYS);
        let retention_mib = self.within("retention_mib", settings.retention_mib, 0, u32::MAX);
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
        // It knows neither TLS nor tokens.
        let metrics_listen = self.metrics_address(settings.metrics_listen.as_deref(), insecure);
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

    fn guard(&mut self, settings: &Settings) -> Guard {
        let file = |path: &Option<PathBuf>| {
            let path = path.clone();
            path.filter(|path| !path.as_os_str().is_empty())
        };
        let client_ca = file(&settings.tls_client_ca);
        let tls = match (file(&settings.tls_cert), file(&settings.tls_key)) {
            (Some(cert), Some(key)) => Some(TlsFiles {
                cert,
                key,
                client_ca,
            }),
            (Some(_), None) => {
                self.problem("tls_cert", "it is of no use without its key: set `tls_key`");
                None
            }
            (None, Some(_)) => {
                let problem = "it is of no use without its certificate: set `tls_cert`";
                self.problem("tls_key", problem);
                None
            }
            (None, None) => {
                if client_ca.is_some() {
                    let problem = "client certificates need TLS: set `tls_cert` and `tls_key`";
                    self.problem("tls_client_ca", problem);
                }
                None
            }
        };
        Guard {
            tls,
            tokens: file(&settings.tokens),
        }
    }

    fn limits(&mut self, settings: &Settings, max_deadline: Option<Duration>) -> Option<Limits> {
        let connections = self.within("max_connections", settings.max_connections, 1, 100_000);
        let calls = self.within("max_calls", settings.max_calls, 1, 100_000);
        let streams = self.within("max_streams", settings.max_streams, 1, 100_000);
        let keepalive = self.seconds("keepalive", settings.keepalive, 1.0);
        let handshake = self.seconds("handshake_timeout", settings.handshake_timeout, 0.1);
        let idle = self.seconds("idle_timeout", settings.idle_timeout, 1.0);
        Some(Limits {
            connections: connections? as usize,
            calls: calls? as usize,
            streams: streams?,
            handshake: handshake?,
            call: max_deadline? + LATE,
            idle: idle?,
            keepalive: keepalive?,
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

    fn address(
        &mut self,
        name: &str,
        value: Option<SocketAddr>,
        anywhere: bool,
    ) -> Option<SocketAddr> {
        let value = self.given(name, value)?;
        if value.ip().is_loopback() || anywhere {
            return Some(value);
        }
        self.problem(
            name,
            format!(
                "`{value}` is not on the loopback, and anyone who reaches it could read or ask: \
                 set `tls_cert`, `tls_key` and one of `tokens` and `tls_client_ca` \
                 (docs/security.md), or `allow_insecure_listen` if that is meant"
            ),
        );
        None
    }

    /// `None` where metrics are not asked for.
    fn metrics_address(&mut self, text: Option<&str>, public: bool) -> Option<SocketAddr> {
        let text = text.unwrap_or_default().trim();
        if text.is_empty() {
            return None;
        }
        match text.parse() {
            Ok(addr) => self.address("metrics_listen", Some(addr), public),
            Err(_) => {
                let problem = format!("`{text}` is not IP:PORT, such as `127.0.0.1:9464`");
                self.problem("metrics_listen", problem);
                None
            }
        }
    }

    /// `None` where traces are not asked for.
    fn collector(&mut self, text: Option<String>) -> Option<String> {
        let text = text.unwrap_or_default().trim().to_owned();
        if text.is_empty() {
            return None;
        }
        let has_host = text.parse::<Uri>().is_ok_and(|url| url.host().is_some());
        if has_host && text.starts_with("http://") {
            return Some(text);
        }
        let problem = match text.starts_with("https://") {
            true => format!(
                "`{text}` asks for TLS, which there is none of yet: name a collector nearby \
                 that takes plain gRPC, such as `http://127.0.0.1:4317`, or set it to nothing"
            ),
            false => format!("`{text}` is not http://HOST:PORT, such as `http://127.0.0.1:4317`"),
        };
        self.problem("otlp_endpoint", problem);
        None
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

    fn hard_rules(&mut self, text: Option<&str>) -> Vec<Rule> {
        let text = text.unwrap_or_default().trim();
        if text.eq_ignore_ascii_case("none") {
            return Vec::new();
        }
        let mut rules = Vec::new();
        for number in text.split(',').map(str::trim) {
            let mut numbered = Rule::ALL.into_iter().filter(|rule| rule.number().is_some());
            match numbered.find(|rule| rule.mark() == number) {
                Some(rule) => rules.push(rule),
                None => {
                    let problem = format!("`{number}` is none of 1, 2, 3, 4, 5, 6");
                    self.problem("hard_rules", problem);
                }
            }
        }
        rules.sort_unstable();
        rules.dedup();
        rules
    }

    fn rulebook(&mut self, settings: &Settings) -> Rulebook {
        let mut book = Rulebook::default();
        for flag in words(settings.disqualifiers.as_deref()) {
            if let Err(error) = book.add_disqualifier(flag) {
                self.problem("disqualifiers", error);
            }
        }
        for name in words(settings.placeholder_peers.as_deref()) {
            if let Err(error) = book.add_placeholder_peer(name) {
                self.problem("placeholder_peers", error);
            }
        }
        book
    }

    fn dispositions(&mut self, text: Option<&str>) -> Dispositions {
        let mut table = Dispositions::default();
        for pair in words(text) {
            let Some((label, disposition)) = pair.split_once('=') else {
                self.problem("dispositions", format!("`{pair}` is not LABEL=DISPOSITION"));
                continue;
            };
            let disposition = self.disposition("dispositions", disposition.trim());
            match (label.trim().parse::<Label>(), disposition) {
                (Ok(label), Some(disposition)) => table.set(label, disposition),
                (Err(error), _) => self.problem("dispositions", error),
                (Ok(_), None) => {}
            }
        }
        table
    }

    /// The thresholds that are named, over the model card's.
    fn kill_switch(&mut self, text: Option<&str>) -> Option<Thresholds> {
        let mut named = Map::new();
        let pairs = text.unwrap_or_default().split(',').map(str::trim);
        for pair in pairs.filter(|pair| !pair.is_empty()) {
            let value = pair.split_once('=').and_then(|(name, number)| {
                let number = serde_json::from_str(number.trim()).ok()?;
                Some((name.trim().to_owned(), Value::Number(number)))
            });
            match value {
                Some((name, number)) => {
                    named.insert(name, number);
                }
                None => self.problem("kill_switch", format!("`{pair}` is not NAME=NUMBER")),
            }
        }
        match serde_json::from_value::<Thresholds>(Value::Object(named)) {
            Ok(thresholds) => {
                for problem in thresholds.problems() {
                    self.problem("kill_switch", problem);
                }
                Some(thresholds)
            }
            Err(error) => {
                self.problem("kill_switch", error);
                None
            }
        }
    }

    fn mask(&mut self, text: Option<&str>) -> Option<Mask> {
        let paths = text.unwrap_or_default().split(';').map(str::trim);
        let paths: Vec<String> = paths
            .filter(|path| !path.is_empty())
            .map(str::to_owned)
            .collect();
        match Mask::new(&paths) {
            Ok(mask) => Some(mask),
            Err(error) => {
                self.problem("mask", error);
                None
            }
        }
    }

    fn disposition(&mut self, name: &str, text: &str) -> Option<Disposition> {
        match text.parse() {
            Ok(disposition) => Some(disposition),
            Err(error) => {
                self.problem(name, error);
                None
            }
        }
    }
}

/// An answer that comes at the longest deadline still has to be written.
const LATE: Duration = Duration::from_secs(5);
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

/// What stands between commas.
fn words(text: Option<&str>) -> impl Iterator<Item = &str> {
    let words = text.unwrap_or_default().split(',').map(str::trim);
    words.filter(|word| !word.is_empty())
}

fn read(path: &Path) -> Result<Settings, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })?;
    toml::from_str(&text).map_err(|error| ConfigError::Syntax {
        path: path.to_owned(),
        message: error.to_string(),
    })
}

fn default_state_dir() -> Option<PathBuf> {
    let dirs = directories::ProjectDirs::from("", "", "judged")?;
    Some(dirs.state_dir().unwrap_or(dirs.data_dir()).to_owned())
}

fn list(problems: &[String]) -> String {
    let lines: Vec<String> = problems
        .iter()
        .map(|problem| format!("  - {problem}"))
        .collect();
    lines.join("\n")
}
