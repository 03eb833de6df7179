//! The daemon that is measured: one that runs, or one of our own.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{ArgMatches, Args, parser::ValueSource};
use tempfile::TempDir;

use super::super::print;
use super::EvalArgs;
use crate::app::{App, llama_source};
use crate::backend::{Backend, OpenError, Source};
use crate::client::{Access, Client, ClientError, EngineState, Status};
use crate::config::{Config, ModeName, Settings};
use crate::edge::{self, Guard};
use crate::eval::record::{Decider, Setup};
use crate::models::Bundle;
use crate::verdict::{Label, Mode};

/// Settings of the daemon that is started where --addr names none.
#[derive(Args, Debug)]
#[command(next_help_heading = "The daemon that is started without --addr")]
pub struct EngineArgs {
    /// The model bundle: a name, or the path of a manifest.
    #[arg(long, value_name = "NAME", env = "JUDGED_BUNDLE")]
    bundle: Option<String>,

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

    /// Requests that the model works on at the same time.
    #[arg(long, value_name = "N", env = "JUDGED_SLOTS")]
    slots: Option<u32>,

    /// Prompt tokens evaluated in one step.
    #[arg(long, value_name = "TOKENS", env = "JUDGED_PREFILL_CHUNK")]
    prefill_chunk: Option<u32>,

    /// A TOML file of settings, as `judged serve` reads it.
    #[arg(long, value_name = "FILE", env = "JUDGED_CONFIG")]
    config: Option<PathBuf>,
}

const FLAGS: [(&str, &str); 10] = [
    ("bundle", "--bundle"),
    ("model_dir", "--model-dir"),
    ("mode", "--mode"),
    ("hard_rules", "--hard-rules"),
    ("disqualifiers", "--disqualifiers"),
    ("placeholder_peers", "--placeholder-peers"),
    ("threads", "--threads"),
    ("slots", "--slots"),
    ("prefill_chunk", "--prefill-chunk"),
    ("config", "--config"),
];

/// Why a daemon is not measured.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("the daemon is degraded, and its rules would be measured: {0}")]
    Degraded(String),
    #[error("{0}")]
    Usage(String),
}

/// A daemon that is fit to be measured.
pub struct Judge {
    pub client: Client,
    pub setup: Setup,
    pub slots: u32,
    pub answer_rules: BTreeMap<String, Label>,
    /// Our own, with the folder that it holds.
    own: Option<(App, TempDir)>,
}

/// How long a model may take to load.
const LOADING: Duration = Duration::from_secs(600);
/// Where no model takes part, so many questions are on their way at the same time.
const RULES_AT_ONCE: u32 = 4;

impl Judge {
    pub async fn find(args: &EvalArgs, matches: Option<&ArgMatches>) -> anyhow::Result<Self> {
        let own = match &args.addr {
            Some(_) => None,
            None => Some(start(args, matches).await?),
        };
        let (addr, control, access) = match (&args.addr, &own) {
            (Some(addr), _) => (addr.clone(), args.control_addr.clone(), args.access.read()?),
            (None, Some((app, _))) => {
                let (addr, control) = (app.judge_addr.to_string(), app.control_addr.to_string());
                (addr, control, Access::default())
            }
            (None, None) => (String::new(), String::new(), Access::default()),
        };
        let client = Client::connect_with(&addr, &access).await?;
        let status = settled(Client::connect_with(&control, &access).await?).await?;
        let setup = setup(args, &status)?;
        Ok(Self {
            client,
            setup,
            slots: status.engine.map_or(RULES_AT_ONCE, |engine| engine.slots),
            answer_rules: status.answer_rules,
            own,
        })
    }

    /// Ends our own daemon.
    pub async fn end(self) {
        if let Some((app, _folder)) = self.own {
            app.shut_down().await;
        }
    }
}

impl EngineArgs {
    /// They are of no use to a daemon that runs already.
    pub fn refuse_flags(&self, matches: Option<&ArgMatches>) -> Result<(), Refusal> {
        let given = |name: &str| {
            let source = matches.and_then(|matches| matches.value_source(name));
            source == Some(ValueSource::CommandLine)
        };
        match FLAGS.into_iter().find(|(name, _)| given(name)) {
            None => Ok(()),
            Some((_, flag)) => Err(Refusal::Usage(format!(
                "`{flag}` is for a daemon that is started here, and --addr names one that runs"
            ))),
        }
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
            slots: self.slots,
            prefill_chunk: self.prefill_chunk,
            ..Settings::default()
        }
    }
}

async fn start(args: &EvalArgs, matches: Option<&ArgMatches>) -> anyhow::Result<(App, TempDir)> {
    let folder = tempfile::tempdir().context("cannot make a folder for the daemon's state")?;
    let usage = |error: &dyn std::fmt::Display| Refusal::Usage(error.to_string());
    let file = args.engine.config.as_deref();
    let mut settings = args.engine.settings(args.decider).resolve(matches, file);
    let config = settings
        .as_mut()
        .map_err(|error| usage(error))
        .and_then(|resolved| Config::new(resolved).map_err(|error| usage(&error)))?;
    let loopback = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let config = Config {
        listen: loopback,
        control_listen: loopback,
        // Whoever watches the daemon of the same settings file does not mean this one.
        metrics_listen: None,
        otlp_endpoint: None,
        state_dir: folder.path().to_owned(),
        // Nobody else is to reach it, and we show no token.
        edge: edge::Config {
            guard: Guard::default(),
            ..config.edge
        },
        ..config
    };
    let bundle =
        Bundle::find(&config.bundle, &Bundle::default_dirs()).map_err(|error| usage(&error))?;
    let app = match args.decider {
        Decider::Rules => App::start(&config, bundle, NoModel).await?,
        Decider::Daemon | Decider::Model => {
            let source = llama_source(&config, &bundle);
            App::start(&config, bundle, source).await?
        }
    };
    Ok((app, folder))
}

/// The rules need none, and one that lies there would take its time and memory.
struct NoModel;

impl Source for NoModel {
    fn open(&mut self, _: &mut dyn FnMut(&mut dyn Backend)) -> Result<(), OpenError> {
        Err(OpenError::Missing(
            "the rules alone are measured".to_owned(),
        ))
    }
}

/// The status once the model is loaded, or cannot be.
async fn settled(mut control: Client) -> Result<Status, ClientError> {
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

fn setup(args: &EvalArgs, status: &Status) -> Result<Setup, Refusal> {
    if args.decider == Decider::Model {
        if status.mode != Mode::Enforce {
            return Err(Refusal::Usage(format!(
                "--decider model: the daemon is in mode {}, where its rules decide: \
                 start it with --mode enforce --hard-rules none",
                status.mode
            )));
        }
        if !status.hard_rules.is_empty() {
            let rules: Vec<String> = status.hard_rules.iter().map(u32::to_string).collect();
            return Err(Refusal::Usage(format!(
                "--decider model: the daemon decides by its hard rules {} before the model: \
                 start it with --hard-rules none",
                rules.join(", ")
            )));
        }
    }
    if args.decider == Decider::Rules && status.mode != Mode::RulesOnly {
        return Err(Refusal::Usage(format!(
            "--decider rules: the daemon is in mode {}, where they do not decide alone: \
             start it with --mode rules-only",
            status.mode
        )));
    }
    if let Some(reason) = &status.degraded_reason {
        return Err(Refusal::Degraded(reason.clone()));
    }
    let model = match status.mode {
        Mode::RulesOnly => None,
        Mode::Enforce | Mode::Shadow => status.model.clone(),
    };
    Ok(Setup {
        decider: args.decider,
        mode: status.mode,
        hard_rules: status.hard_rules.clone(),
        rationale: args.rationale.into(),
        model,
    })
}
