//! A daemon in this process, for commands that measure one.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{ArgMatches, Args, Command, parser::ValueSource};
use tempfile::TempDir;

use super::print;
use crate::app::{App, llama_source};
use crate::backend::{OpenError, Serve, Source};
use crate::client::{Client, ClientError, EngineState, Status};
use crate::config::{BUNDLE, Config, ModeName, Settings};
use crate::edge::{self, Guard};
use crate::eval::record::Decider;
use crate::exit_code::ExitCode;
use crate::judge::Policy;
use crate::kill_switch::{Share, Thresholds};
use crate::models::Bundle;
use crate::verdict::Mode;

/// Its settings, where they are not those of `judged serve`.
#[derive(Args, Debug)]
#[command(next_help_heading = "The daemon that is started here")]
pub struct EngineArgs {
    /// The model bundle: a name, or the path of a manifest.
    #[arg(long, value_name = "NAME", env = "JUDGED_BUNDLE")]
    pub(super) bundle: Option<String>,

    /// The store of model files, which `judged pull` fills.
    #[arg(long, value_name = "DIR", env = "JUDGED_MODEL_DIR")]
    model_dir: Option<PathBuf>,

    /// As in `judged serve`; rules-only with --decider rules.
    #[arg(long, value_name = "MODE", value_enum, env = "JUDGED_MODE")]
    mode: Option<ModeName>,

    /// As in `judged serve`; none with --decider model.
    #[arg(long, value_name = "1,2,3", env = "JUDGED_HARD_RULES")]
    hard_rules: Option<String>,

    /// As in `judged serve`.
    #[arg(long, value_name = "FLAG,…", env = "JUDGED_DISQUALIFIERS")]
    disqualifiers: Option<String>,

    /// As in `judged serve`.
    #[arg(long, value_name = "NAME,…", env = "JUDGED_PLACEHOLDER_PEERS")]
    placeholder_peers: Option<String>,

    /// Threads of the model; 0 means as many as may run here.
    #[arg(long, value_name = "N", env = "JUDGED_THREADS")]
    threads: Option<u32>,

    /// As in `judged serve`.
    #[arg(long, value_name = "auto|N", env = "JUDGED_GPU_LAYERS")]
    gpu_layers: Option<String>,

    /// As in `judged serve`.
    #[arg(long, value_name = "NAME", env = "JUDGED_GPU_DEVICE")]
    gpu_device: Option<String>,

    /// As in `judged serve`.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", env = "JUDGED_MERGE_ADAPTER")]
    merge_adapter: Option<bool>,

    /// Requests that the model works on at the same time.
    #[arg(long, value_name = "N", env = "JUDGED_SLOTS")]
    slots: Option<u32>,

    /// Prompt tokens evaluated in one step.
    #[arg(long, value_name = "TOKENS", env = "JUDGED_PREFILL_CHUNK")]
    prefill_chunk: Option<u32>,

    /// One request at a time and no guesses, so that a decision, its rationale included, comes
    /// again to the last bit.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", env = "JUDGED_EXACT")]
    exact: Option<bool>,

    /// A TOML file of settings, as `judged serve` reads it.
    #[arg(long, value_name = "FILE", env = "JUDGED_CONFIG")]
    config: Option<PathBuf>,
}

/// Why a daemon is not measured.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("the daemon is degraded, and its rules would be measured: {0}")]
    Degraded(String),
    #[error("{0}")]
    Usage(String),
}

impl From<&Refusal> for ExitCode {
    fn from(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::Degraded(_) => ExitCode::Degraded,
            Refusal::Usage(_) => ExitCode::Usage,
        }
    }
}

/// It runs until [`OwnDaemon::end`].
pub struct OwnDaemon {
    app: App,
    /// Of its state.
    _folder: TempDir,
}

/// How long a model may take to load.
const LOADING: Duration = Duration::from_secs(600);

/// A week, as for `max_deadline`: more seconds than any clock can add may be asked for.
const LONGEST: Duration = Duration::from_secs(604_800);

impl EngineArgs {
    /// They are of no use to a daemon that runs already; `why` says which it is.
    pub fn refuse_flags(
        &self,
        matches: Option<&ArgMatches>,
        but: &[&str],
        why: &str,
    ) -> Result<(), Refusal> {
        let given = |name: &str| {
            let source = matches.and_then(|matches| matches.value_source(name));
            source == Some(ValueSource::CommandLine)
        };
        let command = EngineArgs::augment_args(Command::default());
        let names = command.get_arguments().map(|flag| flag.get_id().as_str());
        let mut refused = names.filter(|name| !but.contains(name) && given(name));
        match refused.next() {
            None => Ok(()),
            Some(name) => Err(Refusal::Usage(format!(
                "`--{}` is for a daemon that is started here, and {why}",
                name.replace('_', "-")
            ))),
        }
    }

    /// The bundle of the daemon that they start.
    pub fn bundle(&self, matches: Option<&ArgMatches>) -> Result<Bundle, Refusal> {
        let usage = |error: &dyn std::fmt::Display| Refusal::Usage(error.to_string());
        let settings = self.settings(Decider::Daemon);
        let resolved = settings
            .resolve(matches, self.config.as_deref())
            .map_err(|error| usage(&error))?;
        let named = resolved.get("bundle");
        let named = named.and_then(|sourced| sourced.value.as_str());
        Bundle::find(named.unwrap_or(BUNDLE), &Bundle::default_dirs())
            .map_err(|error| usage(&error))
    }

    fn settings(&self, decider: Decider) -> Settings {
        let hard_rules = match decider {
            Decider::Model => Some("none".to_owned()),
            Decider::Daemon | Decider::Rules => self.hard_rules.clone(),
        };
        let mode = match decider {
            Decider::Rules => Some(ModeName::RulesOnly),
            Decider::Daemon | Decider::Model => self.mode,
        };
        Settings {
            bundle: self.bundle.clone(),
            model_dir: self.model_dir.clone(),
            mode,
            hard_rules,
            disqualifiers: self.disqualifiers.clone(),
            placeholder_peers: self.placeholder_peers.clone(),
            threads: self.threads,
            gpu_layers: self.gpu_layers.clone(),
            gpu_device: self.gpu_device.clone(),
            merge_adapter: self.merge_adapter,
            slots: self.slots,
            prefill_chunk: self.prefill_chunk,
            exact: self.exact,
            ..Settings::default()
        }
    }

    /// On free ports, and patient enough for who waits as long as `timeout`.
    fn config(
        &self,
        decider: Decider,
        matches: Option<&ArgMatches>,
        timeout: Duration,
        state_dir: &Path,
    ) -> Result<Config, Refusal> {
        let usage = |error: &dyn std::fmt::Display| Refusal::Usage(error.to_string());
        let file = self.config.as_deref();
        let mut resolved = self
            .settings(decider)
            .resolve(matches, file)
            .map_err(|error| usage(&error))?;
        // Who collects the traces of other programs here does not mean this one's.
        resolved.remove("otlp_endpoint");
        let config = Config::new(&resolved).map_err(|error| usage(&error))?;
        let loopback = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        let max_deadline = config.policy.max_deadline.max(timeout.min(LONGEST));
        let longer = max_deadline.saturating_sub(config.policy.max_deadline);
        Ok(Config {
            listen: loopback,
            control_listen: loopback,
            // Whoever watches the daemon of the same settings file does not mean this one.
            metrics_listen: None,
            // All that is answered is measured: cases of a suite of its own would be in the way, and
            // so would rules in the model's place.
            spot_checks: false,
            kill_switch: Thresholds {
                malformed_share: Share::percent(100),
                ..config.kill_switch
            },
            policy: Policy {
                max_deadline,
                ..config.policy
            },
            state_dir: state_dir.to_owned(),
            // Nobody else is to reach it, and we show no token.
            edge: edge::Config {
                guard: Guard::default(),
                limits: edge::Limits {
                    call: config.edge.limits.call + longer,
                    ..config.edge.limits
                },
            },
            ..config
        })
    }

    /// Starts it, with a state that ends with it. With the rules as deciders it loads no model.
    /// `timeout` is the longest that somebody waits for one of its answers.
    pub async fn start(
        &self,
        decider: Decider,
        matches: Option<&ArgMatches>,
        timeout: Duration,
    ) -> anyhow::Result<OwnDaemon> {
        let folder = tempfile::tempdir().context("cannot make a folder for the daemon's state")?;
        let config = self.config(decider, matches, timeout, folder.path())?;
        let usage = |error: &dyn std::fmt::Display| Refusal::Usage(error.to_string());
        let bundle =
            Bundle::find(&config.bundle, &Bundle::default_dirs()).map_err(|error| usage(&error))?;
        let app = match decider {
            Decider::Rules => App::start(&config, bundle, NoModel).await?,
            Decider::Daemon | Decider::Model => {
                let source = llama_source(&config, &bundle);
                App::start(&config, bundle, source).await?
            }
        };
        Ok(OwnDaemon {
            app,
            _folder: folder,
        })
    }
}

impl OwnDaemon {
    /// Of JudgeService, and of ControlService.
    pub fn addresses(&self) -> (String, String) {
        let app = &self.app;
        (app.judge_addr.to_string(), app.control_addr.to_string())
    }

    pub async fn end(self) {
        self.app.shut_down().await;
    }
}

/// The rules need none, and one that lies there would take its time and memory.
struct NoModel;

impl Source for NoModel {
    fn open(&mut self, _: &dyn Fn(), _: &mut Serve<'_>) -> Result<(), OpenError> {
        Err(OpenError::Missing(
            "the rules alone are measured".to_owned(),
        ))
    }
}

/// The status once the model is loaded, or cannot be.
pub async fn settled(mut control: Client) -> Result<Status, ClientError> {
    let end = Instant::now() + LOADING;
    let mut told = false;
    loop {
        let status = control.status().await?;
        let loading = status.engine_state == EngineState::Loading && status.mode != Mode::RulesOnly;
        if !loading || Instant::now() >= end {
            return Ok(status);
        }
        if !told {
            print::say!("waiting until the model is loaded");
            told = true;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        engine: EngineArgs,
    }

    #[test]
    fn it_answers_as_late_as_somebody_waits() {
        let cli = Cli::try_parse_from(["judged"]).unwrap();
        let config = |timeout| {
            let config = cli
                .engine
                .config(Decider::Daemon, None, timeout, Path::new("state"));
            config.unwrap()
        };
        let usual = config(Duration::from_secs(20));
        assert_eq!(usual.policy.max_deadline, Duration::from_secs(120));
        let patient = config(Duration::from_secs(600));
        assert_eq!(patient.policy.max_deadline, Duration::from_secs(600));
        let longer = patient.edge.limits.call - usual.edge.limits.call;
        assert_eq!(longer, Duration::from_secs(480));
        assert_eq!(config(Duration::MAX).policy.max_deadline, LONGEST);
    }
}
