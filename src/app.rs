//! The daemon: settings to a running server, and its end.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::server::HealthReporter;

use crate::backend::llama::trial::Trial;
use crate::backend::llama::{AdapterFile, ContextConfig, Files, LlamaSource};
use crate::backend::{LEAST_ROWS, OpenError, Source};
use crate::config::Config;
use crate::decision_log::{self, DecisionLog};
use crate::edge::Edge;
use crate::engine::Engine;
use crate::judge::{Authority, Judge};
use crate::merge;
use crate::metrics::{Metrics, endpoint};
use crate::models::{Bundle, FileState, Store, sha256_file};
use crate::rpc::call::{Watch, note_arrival};
use crate::rpc::control::ControlRpc;
use crate::rpc::judge::JudgeRpc;
use crate::rpc::meter::Meter;
use crate::rpc::proto::control_service_server::ControlServiceServer;
use crate::rpc::proto::judge_service_server::JudgeServiceServer;
use crate::rpc::{health, proto};
use crate::spot_check::Suite;
use crate::supervisor::{Inherited, ListenError, Listeners};
use crate::traces::Traces;

/// A daemon that listens and serves.
pub struct App {
    pub judge_addr: SocketAddr,
    pub control_addr: SocketAddr,
    /// `None` where no metrics are asked for.
    pub metrics_addr: Option<SocketAddr>,
    judge: Arc<Judge>,
    traces: Traces,
    health: HealthReporter,
    stop: CancellationToken,
    servers: Vec<JoinHandle<()>>,
    drain_timeout: Duration,
    /// Held as long as the daemon lives.
    _state: File,
}

impl App {
    /// Starts the engine, which loads in the background, and listens.
    pub async fn start(
        config: &Config,
        bundle: Bundle,
        source: impl Source + 'static,
    ) -> anyhow::Result<Self> {
        Self::start_under(config, bundle, source, None).await
    }

    /// The same, with what a supervisor hands over: it listens there, on whatever ports
    /// the settings name by now. The addresses must be the same still: what the settings
    /// say of TLS and tokens is meant for those that they name.
    pub async fn start_under(
        config: &Config,
        bundle: Bundle,
        source: impl Source + 'static,
        inherited: Option<Inherited>,
    ) -> anyhow::Result<Self> {
        if let Some(inherited) = &inherited {
            check_addresses(&inherited.listeners, config)?;
        }
        let state = hold_state_dir(&config.state_dir)?;
        let bundle = Arc::new(bundle);
        let log = open_log(config).await?;
        let engine = Engine::start(source, Arc::clone(&bundle), config.engine)
            .context("cannot start the engine's thread")?;
        let (mode, thresholds) = (config.policy.mode, config.kill_switch);
        let authority = Authority::load(log.clone(), engine.clone(), mode, thresholds).await?;
        let judge = Arc::new(Judge::new(
            engine,
            log,
            authority,
            config.policy.clone(),
            &bundle,
        ));
        let meter = Meter::default();
        let edge = Edge::open(&config.edge, meter.clone())?;
        let (listeners, restarts) = match inherited {
            Some(Inherited { listeners, history }) => (listeners, Some(history)),
            None => (listen(config).await?, None),
        };
        let judge_addr = listeners.judge.local_addr()?;
        let control_addr = listeners.control.local_addr()?;
        let metrics_addr = listeners.metrics.as_ref().map(TcpListener::local_addr);
        let metrics_addr = metrics_addr.transpose()?;
        let traces = match &config.otlp_endpoint {
            Some(endpoint) => {
                tracing::info!(endpoint, "traces are sent");
                Traces::to(endpoint)?
            }
            None => Traces::off(),
        };
        let watch = Arc::new(Watch {
            meter,
            traces: traces.clone(),
        });
        for addr in [judge_addr, control_addr] {
            if !addr.ip().is_loopback() && !config.edge.guard.keeps_strangers_out() {
                tracing::warn!(%addr, "anyone who reaches it may read or ask, as `allow_insecure_listen` says");
            }
        }
        if config.edge.guard.is_open() {
            tracing::info!(
                "without `tokens` or `tls_client_ca` every account of this machine may ask, read \
                 decisions and change the mode"
            );
        }
        let (health, health_service) = tonic_health::server::health_reporter();
        let health_service = health_service.max_decoding_message_size(NAME_MESSAGE);
        health::begin(&health).await;
        let watching = Arc::clone(&judge);
        tokio::spawn(async move { watching.tell_of_adapter().await });
        tokio::spawn(keep(Arc::downgrade(&judge)));
        if config.spot_checks {
            tokio::spawn(check_weekly(Arc::downgrade(&judge)));
        }
        let stop = CancellationToken::new();
        let report = health::report(health.clone(), Arc::clone(&judge));
        tokio::spawn(stop.clone().run_until_cancelled_owned(report));

        let judge_service =
            JudgeServiceServer::new(JudgeRpc::new(Arc::clone(&judge), Arc::clone(&watch)))
                .max_decoding_message_size(config.max_message_bytes);
        let judge_service = InterceptedService::new(judge_service, note_arrival);
        let control = ControlRpc::new(
            Arc::clone(&judge),
            Arc::clone(&watch),
            &bundle,
            restarts.clone(),
        );
        let control_service =
            ControlServiceServer::new(control).max_decoding_message_size(config.max_message_bytes);
        let control_service = InterceptedService::new(control_service, note_arrival);
        let routes = common(health_service.clone())?.add_service(judge_service);
        let judge_server = edge.serve(listeners.judge, routes, stop.clone());
        let routes = common(health_service)?.add_service(control_service);
        let control_server = edge.serve(listeners.control, routes, stop.clone());
        let mut servers = vec![judge_server, control_server];
        if let (Some(listener), Some(addr)) = (listeners.metrics, metrics_addr) {
            let restarts = restarts.unwrap_or_default();
            let metrics = Metrics::new(
                Arc::clone(&judge),
                &watch.meter,
                edge.certificate(),
                restarts,
            );
            servers.push(tokio::spawn(endpoint::serve(
                listener,
                metrics,
                stop.clone(),
            )));
            tracing::info!(metrics_addr = %addr, "metrics are served");
        }
        tracing::info!(%judge_addr, %control_addr, mode = %judge.policy().mode, "listening");
        Ok(Self {
            judge_addr,
            control_addr,
            metrics_addr,
            judge,
            traces,
            health,
            stop,
            servers,
            drain_timeout: config.drain_timeout,
            _state: state,
        })
    }

    pub fn judge(&self) -> &Arc<Judge> {
        &self.judge
    }

    /// Refuses what is new, finishes what was accepted, within the limit.
    pub async fn shut_down(mut self) {
        tracing::info!(limit_seconds = self.drain_timeout.as_secs_f64(), "draining");
        self.judge.drain();
        health::report_draining(&self.health).await;
        let deadline = tokio::time::Instant::now() + self.drain_timeout;
        let drained = tokio::time::timeout_at(deadline, self.judge.drained()).await;
        self.stop.cancel();
        health::end(&mut self.health).await;
        // Answers still have to reach their callers; a connection that does
        // not end by itself is cut.
        let grace = deadline.max(tokio::time::Instant::now() + LAST_WORDS);
        let mut cut = false;
        for mut server in self.servers {
            if tokio::time::timeout_at(grace, &mut server).await.is_err() {
                server.abort();
                cut = true;
            }
        }
        if let Err(error) = self.judge.authority().keep().await {
            tracing::warn!(%error, "the kill switch's last evidence is lost");
        }
        self.judge.log().close().await;
        self.traces.end(LAST_SPANS).await;
        tracing::info!(in_time = drained.is_ok(), connections_cut = cut, "drained");
    }
}

/// How long connections may take to close after the last answer.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// How long a collector may take for the spans that wait.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// The model's files as the bundle pins them, out of the store.
pub fn llama_source(config: &Config, bundle: &Bundle) -> LlamaSource {
    let slots = config.engine.slots;
    let answer = bundle.answer.max_rationale_tokens as usize + ANSWER_EXTRA;
    // Each slot's sequence has room for the longest job.
    let cells = slots * (bundle.prompt.max_tokens as usize + answer);
    // The batch holds a chunk of one prompt with the few tokens that its last takes along, a token
    // of each slot, or what an answer is forced to say at once.
    let chunk = config.engine.chunk + LEAST_ROWS - 1;
    let context = ContextConfig {
        cells: u32::try_from(cells).unwrap_or(u32::MAX),
        batch: u32::try_from(chunk.max(slots).max(answer)).unwrap_or(u32::MAX),
        sequences: u32::try_from(slots).unwrap_or(u32::MAX),
        prefix_cells: u32::try_from(config.engine.prefix_cells).unwrap_or(u32::MAX),
        threads: config.threads,
    };
    let store = Store::new(&config.model_dir);
    let bundle = bundle.clone();
    let merge = config.merge_adapter;
    LlamaSource {
        find: Box::new(move || find(&store, &bundle, merge)),
        context,
        gpu: config.gpu.clone(),
        trial: std::env::current_exe().ok().map(|program| Trial {
            program,
            limit: GPU_TRIAL_LIMIT,
        }),
    }
}

/// Far more than a working GPU needs to load the model twice and to judge.
const GPU_TRIAL_LIMIT: Duration = Duration::from_secs(300);

/// Tokens of an answer beside its sentence.
const ANSWER_EXTRA: usize = 32;

fn find(store: &Store, bundle: &Bundle, merge: bool) -> Result<Files, OpenError> {
    match store.state(&bundle.base) {
        FileState::Present => {}
        FileState::Missing | FileState::Partial { .. } => {
            return Err(OpenError::Missing(format!(
                "`{}` is not there: run `{}`",
                store.path(&bundle.base).display(),
                store.pull_command(bundle)
            )));
        }
    }
    let failed = |text: String| OpenError::Failed(text);
    let base = store
        .verified(&bundle.base, &mut |_| {})
        .map_err(|error| failed(error.to_string()))?;
    let adapter = match &bundle.adapter {
        None => None,
        Some(adapter) => {
            let path = adapter.path.display();
            let found = sha256_file(&adapter.path, &mut |_| {}).map_err(|error| {
                OpenError::Adapter(format!("cannot read the adapter `{path}`: {error}"))
            })?;
            if found != adapter.sha256 {
                let expected = &adapter.sha256;
                return Err(OpenError::Adapter(format!(
                    "the adapter `{path}` has sha256 `{found}`, not `{expected}`"
                )));
            }
            Some(AdapterFile {
                path: adapter.path.clone(),
                scale: adapter.scale,
                merged: false,
            })
        }
    };
    let files = Files { base, adapter };
    Ok(if merge { merged(files, bundle) } else { files })
}

/// The files with the adapter inside the base. Where that cannot be made, the adapter is applied
/// at each step, as it is by default.
fn merged(mut files: Files, bundle: &Bundle) -> Files {
    let (Some(file), Some(adapter)) = (&mut files.adapter, &bundle.adapter) else {
        return files;
    };
    let started = Instant::now();
    let recipe = merge::Recipe {
        base: &files.base,
        adapter: &file.path,
        base_sha256: &bundle.base.sha256,
        adapter_sha256: &adapter.sha256,
        scale: file.scale,
    };
    match recipe.merged() {
        Ok(path) => {
            tracing::info!(
                path = %path.display(),
                seconds = started.elapsed().as_secs_f64(),
                "the adapter is merged into the weights"
            );
            file.merged = true;
            files.base = path;
        }
        Err(error) => {
            let error = anyhow::Error::from(error);
            tracing::warn!("the adapter cannot be merged, and is applied at each step: {error:#}");
        }
    }
    files
}

/// The longest message of health and of reflection, which ask by a name.
const NAME_MESSAGE: usize = 4 << 10;

/// What both listeners answer beside their own service.
fn common(health: HealthServer<impl Health>) -> anyhow::Result<Routes> {
    let reflecting = reflection().build_v1()?;
    // Older tools know only this one.
    let reflecting_as_before = reflection().build_v1alpha()?;
    Ok(Routes::new(health)
        .add_service(reflecting.max_decoding_message_size(NAME_MESSAGE))
        .add_service(reflecting_as_before.max_decoding_message_size(NAME_MESSAGE)))
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

/// As the settings say.
pub async fn listen(config: &Config) -> Result<Listeners, ListenError> {
    Listeners::bind(config.listen, config.control_listen, config.metrics_listen).await
}

/// Whether a supervisor's sockets are still on the addresses of the settings, which each daemon
/// reads again.
fn check_addresses(listeners: &Listeners, config: &Config) -> anyhow::Result<()> {
    for (setting, listener, wanted) in [
        ("listen", Some(&listeners.judge), Some(config.listen)),
        (
            "control_listen",
            Some(&listeners.control),
            Some(config.control_listen),
        ),
        (
            "metrics_listen",
            listeners.metrics.as_ref(),
            config.metrics_listen,
        ),
    ] {
        let Some(listener) = listener else {
            if wanted.is_some() {
                tracing::warn!(setting, "nobody listens there: restart the supervisor");
            }
            continue;
        };
        let held = listener.local_addr()?;
        if wanted.is_none_or(|wanted| wanted.ip() != held.ip()) {
            bail!(
                "`{setting}` has changed since the supervisor began to listen on `{held}`: \
                 restart the supervisor"
            );
        }
    }
    Ok(())
}

/// Reads all of the log once, which takes a moment for each gigabyte.
async fn open_log(config: &Config) -> anyhow::Result<DecisionLog> {
    let path = config.state_dir.join(decision_log::FILE_NAME);
    let settings = config.log;
    let log = tokio::task::spawn_blocking(move || DecisionLog::open(&path, settings)).await?;
    log.context("nothing can be decided without a record")
}

/// How much of the kill switch's evidence a crash may lose; a trip is kept before
/// the first answer that tells of it.
const KEEP_EVERY: Duration = Duration::from_secs(2);

async fn keep(judge: Weak<Judge>) {
    let mut beat = tokio::time::interval(KEEP_EVERY);
    loop {
        beat.tick().await;
        let Some(judge) = judge.upgrade() else { return };
        // What is wrong with the log is told by its health.
        let _ = judge.authority().keep().await;
    }
}

/// How often it is looked whether a spot check is due, which the first is as
/// soon as the daemon has been up for so long.
const LOOK_EVERY: Duration = Duration::from_secs(15 * 60);

async fn check_weekly(judge: Weak<Judge>) {
    let mut beat = tokio::time::interval(LOOK_EVERY);
    beat.tick().await;
    loop {
        beat.tick().await;
        let Some(judge) = judge.upgrade() else { return };
        let Ok(schedule) = judge.spot_check_schedule().await else {
            continue;
        };
        if !schedule.is_due() {
            continue;
        }
        let outcome = match Suite::own() {
            Ok(suite) => judge.spot_check(&suite, |_, _| {}).await,
            Err(error) => return tracing::error!(%error, "the own suite cannot be read"),
        };
        match outcome {
            Ok(checked) => tracing::info!(tripped = checked.tripped, "spot check"),
            Err(error) if schedule.missed => {
                tracing::error!(%error, "the weekly spot check was missed")
            }
            Err(error) => tracing::warn!(%error, "no spot check, though one is due"),
        }
    }
}

/// One daemon a state folder: two would write over each other.
fn hold_state_dir(dir: &Path) -> anyhow::Result<File> {
    std::fs::create_dir_all(dir)
        .with_context(|| format!("cannot make the state folder `{}`", dir.display()))?;
    let path = dir.join("judged.lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("cannot open `{}`", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => bail!(
            "another daemon holds the state folder `{}`: give each its own with --state-dir",
            dir.display()
        ),
        Err(std::fs::TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock `{}`", path.display()))
        }
    }
}
