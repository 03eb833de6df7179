//! The real daemon in this process, over the scripted engine: on free ports,
//! with a state folder of its own and every step of the engine in the test's hand.

#![allow(dead_code, reason = "each test crate uses its own part")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that goes wrong should stop"
)]

use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use judged::app::App;
use judged::backend::scripted::{Fault, Reply, ScriptedSource};
use judged::backend::{
    Backend, Capacity, Cells, DecodeError, Description, OpenError, SequenceId, Serve, Source, Span,
    Tokenizer,
};
use judged::client::Client;
use judged::config::{Config, Settings};
use judged::engine::State;
use judged::engine::meter::Reading;
use judged::judge::Judge;
use judged::models::Bundle;
use judged::rpc::proto::control_service_client::ControlServiceClient;
use judged::rpc::proto::judge_service_client::JudgeServiceClient;
use judged::rpc::proto::{JudgeRequest, JudgeResponse};
use judged::verdict::Label;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// Nothing on a working machine takes so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// A daemon before its start.
pub struct Setup {
    pub config: Config,
    pub bundle: Bundle,
    pub source: Stepped,
    dir: TempDir,
}

impl Setup {
    /// Answers as the drafts say; see [`script`].
    pub fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let loopback = "127.0.0.1:0".parse().unwrap();
        let settings = Settings {
            listen: Some(loopback),
            control_listen: Some(loopback),
            state_dir: Some(dir.path().join("state")),
            model_dir: Some(dir.path().join("models")),
            ..Settings::default()
        };
        let config = Config::new(&settings.resolve(None, None).unwrap()).unwrap();
        Self {
            config,
            bundle: bundle(),
            source: Stepped::new(),
            dir,
        }
    }

    pub fn with(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Lets `hook` see, delay and refuse each batch before it is decoded.
    pub fn on_step(
        mut self,
        hook: impl Fn(&[Span<'_>]) -> Result<(), DecodeError> + Send + Sync + 'static,
    ) -> Self {
        self.source.hook = Arc::new(hook);
        self
    }

    /// Starts, and waits until the model decides.
    pub async fn start(self) -> Daemon {
        let daemon = self.start_unready().await;
        daemon.until_ready().await;
        daemon
    }

    pub async fn start_unready(self) -> Daemon {
        let source = self.source.clone();
        self.start_with(source).await
    }

    pub async fn start_with(self, source: impl Source + 'static) -> Daemon {
        let app = App::start(&self.config, self.bundle, source).await.unwrap();
        let url = format!("http://{}", app.judge_addr);
        // With the first call, and never where a test brings a connection of its own.
        let connection = Endpoint::from_shared(url).unwrap().connect_lazy();
        let url = format!("http://{}", app.control_addr);
        let control = Endpoint::from_shared(url).unwrap().connect_lazy();
        Daemon {
            judge: Arc::clone(app.judge()),
            judge_addr: app.judge_addr.to_string(),
            control_addr: app.control_addr.to_string(),
            metrics_addr: app.metrics_addr,
            connection,
            control,
            app: Some(app),
            _dir: self.dir,
        }
    }
}

/// The bundle that ships, with room for the scripted tokenizer's byte a token.
pub fn bundle() -> Bundle {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut bundle = Bundle::load(&root.join("models/tenacious-judge.toml")).unwrap();
    bundle.prompt.max_tokens = 8192;
    bundle.answer.max_rationale_tokens = 200;
    bundle
}

pub struct Daemon {
    pub judge: Arc<Judge>,
    pub judge_addr: String,
    pub control_addr: String,
    pub metrics_addr: Option<SocketAddr>,
    pub connection: Channel,
    pub control: Channel,
    app: Option<App>,
    _dir: TempDir,
}

impl Daemon {
    pub fn client(&self) -> JudgeServiceClient<Channel> {
        JudgeServiceClient::new(self.connection.clone())
    }

    pub fn control_client(&self) -> ControlServiceClient<Channel> {
        ControlServiceClient::new(self.control.clone())
    }

    pub async fn own_client(&self) -> Client {
        Client::connect(&self.judge_addr).await.unwrap()
    }

    pub async fn ask(&self, request: JudgeRequest) -> Result<JudgeResponse, Status> {
        let answer = self.client().judge(request).await?;
        Ok(answer.into_inner())
    }

    pub async fn ask_within(
        &self,
        request: JudgeRequest,
        timeout: Duration,
    ) -> Result<JudgeResponse, Status> {
        let mut request = Request::new(request);
        request.set_timeout(timeout);
        let answer = self.client().judge(request).await?;
        Ok(answer.into_inner())
    }

    /// Asks on a task of its own; aborting it is leaving.
    pub fn asking(&self, request: JudgeRequest) -> JoinHandle<Result<JudgeResponse, Status>> {
        let mut client = self.client();
        tokio::spawn(async move { Ok(client.judge(request).await?.into_inner()) })
    }

    pub fn meter(&self) -> Reading {
        self.judge.engine().meter().read()
    }

    pub fn state(&self) -> State {
        self.judge.engine().state()
    }

    pub async fn until_ready(&self) {
        until("the model decides", || self.state().trouble().is_none()).await;
    }

    pub async fn until_running(&self, jobs: u64) {
        until("jobs run", || self.meter().running == jobs).await;
    }

    pub async fn until_waiting(&self, jobs: usize) {
        until("jobs wait", || self.judge.engine().queue_depth() == jobs).await;
    }

    /// Begins the drain on a task of its own; the daemon still has clients.
    pub fn drain(&mut self) -> JoinHandle<()> {
        let app = self.app.take().unwrap();
        tokio::spawn(app.shut_down())
    }
}

/// Waits for a state, which must come.
pub async fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A request whose draft tells the scripted model what to answer, for another
/// prospect each time: the very same prompts would be answered together.
pub fn request(draft: &str) -> JudgeRequest {
    static PROSPECTS: AtomicU64 = AtomicU64::new(0);
    let number = PROSPECTS.fetch_add(1, Relaxed);
    request_for(&format!("p{number:05}"), draft)
}

/// The same request id always comes with the same prospect.
pub fn with_id(id: &str, draft: &str) -> JudgeRequest {
    JudgeRequest {
        request_id: id.to_owned(),
        ..request_for(id, draft)
    }
}

fn request_for(prospect: &str, draft: &str) -> JudgeRequest {
    JudgeRequest {
        context_json: format!(
            r#"{{"prospect_id": "{prospect}", "company": "DevCo", "headcount": 200}}"#
        ),
        draft: draft.to_owned(),
        ..JudgeRequest::default()
    }
}

/// What the model says: the label after `say:`, the sentence after `because:`,
/// and the fault after `fault:`, each up to the line's end.
pub fn script(prompt: &str) -> Reply {
    let after = |mark: &str| {
        let (_, rest) = prompt.rsplit_once(mark)?;
        rest.split(['\n', '<']).next().map(str::trim)
    };
    let fault = after("fault:").map(|name| match name {
        "panic" => Fault::Panic,
        "abort" => Fault::Abort,
        "decode" => Fault::DecodeError,
        "nan" => Fault::NotFinite,
        "unmeant" => Fault::Unmeant,
        other => panic!("no fault `{other}`"),
    });
    Reply {
        label: after("say:").map_or(Label::Pass, |label| label.parse().unwrap()),
        sentence: after("because:").unwrap_or("It is so.").to_owned(),
        fault,
    }
}

type Hook = Arc<dyn Fn(&[Span<'_>]) -> Result<(), DecodeError> + Send + Sync>;

/// The scripted engine with a hook before each step.
#[derive(Clone)]
pub struct Stepped {
    pub scripted: ScriptedSource,
    pub hook: Hook,
    /// The next sequence gets no part of the cache, once.
    pub refuse_restore: Arc<AtomicBool>,
}

impl Stepped {
    pub fn new() -> Self {
        Self {
            scripted: ScriptedSource::new(script),
            hook: Arc::new(|_| Ok(())),
            refuse_restore: Arc::default(),
        }
    }
}

impl Source for Stepped {
    fn open(&mut self, found: &dyn Fn(), serve: &mut Serve<'_>) -> Result<(), OpenError> {
        let Self {
            hook,
            refuse_restore,
            ..
        } = self.clone();
        self.scripted.open(found, &mut |backend| {
            serve(&mut Hooked {
                backend,
                hook: Arc::clone(&hook),
                refuse_restore: Arc::clone(&refuse_restore),
            })
        })
    }
}

struct Hooked<'b> {
    backend: &'b mut dyn Backend,
    hook: Hook,
    refuse_restore: Arc<AtomicBool>,
}

impl Backend for Hooked<'_> {
    fn tokenizer(&self) -> Arc<dyn Tokenizer> {
        self.backend.tokenizer()
    }

    fn capacity(&self) -> Capacity {
        self.backend.capacity()
    }

    fn description(&self) -> Description {
        self.backend.description()
    }

    fn decode(&mut self, spans: &[Span<'_>]) -> Result<(), DecodeError> {
        (self.hook)(spans)?;
        self.backend.decode(spans)
    }

    fn logits(&self, span: usize, output: usize) -> Option<&[f32]> {
        self.backend.logits(span, output)
    }

    fn save(&mut self, sequence: SequenceId, range: Range<usize>) -> Result<Cells, DecodeError> {
        self.backend.save(sequence, range)
    }

    fn restore(
        &mut self,
        sequence: SequenceId,
        runs: &[(&Cells, usize)],
    ) -> Result<(), DecodeError> {
        if self.refuse_restore.swap(false, Relaxed) {
            return Err(DecodeError::Runtime("nothing to restore".to_owned()));
        }
        self.backend.restore(sequence, runs)
    }

    fn truncate(&mut self, sequence: SequenceId, length: usize) -> Result<(), DecodeError> {
        self.backend.truncate(sequence, length)
    }

    fn release(&mut self, sequence: SequenceId) -> Result<(), DecodeError> {
        self.backend.release(sequence)
    }

    fn clear(&mut self) {
        self.backend.clear();
    }

    fn set_adapter(&mut self, on: bool) -> Result<(), DecodeError> {
        self.backend.set_adapter(on)
    }
}

/// Holds the engine's thread where the test wants it.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<GateState>, Condvar)>);

#[derive(Default)]
struct GateState {
    closed: bool,
    at_gate: bool,
    /// Steps that may still pass while it is closed.
    passes: usize,
}

impl Gate {
    pub fn close(&self) {
        self.0.0.lock().unwrap().closed = true;
    }

    /// Closes after so many steps more.
    pub fn close_after(&self, steps: usize) {
        let mut state = self.0.0.lock().unwrap();
        state.closed = true;
        state.passes = steps;
    }

    pub fn open(&self) {
        self.0.0.lock().unwrap().closed = false;
        self.0.1.notify_all();
    }

    /// For the engine's thread: returns when the gate is open.
    pub fn pass(&self) {
        let mut state = self.0.0.lock().unwrap();
        if state.closed && state.passes > 0 {
            state.passes -= 1;
            return;
        }
        while state.closed {
            state.at_gate = true;
            state = self.0.1.wait(state).unwrap();
        }
        state.at_gate = false;
    }

    /// Until the engine's thread stands at the closed gate.
    pub async fn until_reached(&self) {
        until("the engine stands at the gate", || {
            self.0.0.lock().unwrap().at_gate
        })
        .await;
    }
}

impl Setup {
    /// Every step goes through the gate.
    pub fn gated(self, gate: &Gate) -> Self {
        let gate = gate.clone();
        self.on_step(move |_| {
            gate.pass();
            Ok(())
        })
    }
}
