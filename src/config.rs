//! Settings: each is a flag of `judged serve`, an environment variable and a
//! key of one TOML file, in this order of precedence, and has a default.

mod checks;
mod error;
mod resolved;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::error::ConfigError;
pub use self::resolved::{Origin, Resolved, Sourced};
use crate::backend::offload::{Layers, Wish};
use crate::decision_log::{self, DEFAULT_PATH};
use crate::edge;
use crate::engine;
use crate::judge::Policy;
use crate::kill_switch::Thresholds;
use crate::models::Store;
use crate::supervisor;
use crate::verdict::Disposition;

/// Where JudgeService listens, and is looked for.
pub const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 50551);
/// Where ControlService listens, and is looked for.
pub const CONTROL_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 50552);
/// The bundle that is served.
pub const BUNDLE: &str = "tenacious-judge";

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

    /// Allow to serve metrics beyond this machine: they know neither TLS nor tokens. With
    /// `allow_insecure_listen` it is allowed too.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", env = "JUDGED_ALLOW_INSECURE_METRICS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_insecure_metrics: Option<bool>,

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
    /// the model only logged (shadow), or the rules alone (rules-only). The model is loaded in each,
    /// so that another mode holds at once.
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

    /// Write the adapter into a copy of the base's weights, beside the base, at the first
    /// start, which takes seconds and as much disk as the base. Each step is then a
    /// little faster, and scores differ a little.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", env = "JUDGED_MERGE_ADAPTER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub merge_adapter: Option<bool>,

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
    /// Whether the adapter is written into the weights.
    pub merge_adapter: bool,
    pub gpu: Wish,
    /// `None` where nobody is to supervise.
    pub supervise: Option<supervisor::Limit>,
    pub drain_timeout: Duration,
    pub max_message_bytes: usize,
    pub edge: edge::Config,
}

impl Settings {
    /// What holds where nobody says anything.
    pub fn defaults() -> Self {
        Self {
            listen: Some(LISTEN),
            control_listen: Some(CONTROL_LISTEN),
            metrics_listen: Some(String::new()),
            otlp_endpoint: Some(String::new()),
            tls_cert: Some(PathBuf::new()),
            tls_key: Some(PathBuf::new()),
            tls_client_ca: Some(PathBuf::new()),
            tokens: Some(PathBuf::new()),
            allow_insecure_listen: Some(false),
            allow_insecure_metrics: Some(false),
            bundle: Some(BUNDLE.to_owned()),
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
            merge_adapter: Some(false),
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
            mask: Some(DEFAULT_PATH.to_owned()),
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
        checks::config(settings, resolved).map_err(ConfigError::Invalid)
    }
}

fn default_state_dir() -> Option<PathBuf> {
    let dirs = directories::ProjectDirs::from("", "", "judged")?;
    Some(dirs.state_dir().unwrap_or(dirs.data_dir()).to_owned())
}
