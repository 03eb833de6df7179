//! The engine: one thread that owns the model, its adapter and its KV cache,
//! and a handle through which the rest of the daemon asks it.
//!
//! Dropping an event receiver cancels its job at the next step. When every
//! handle is gone the thread finishes what it has and ends.

pub mod job;
pub mod meter;
mod pace;
pub mod places;
pub mod prefix;
pub mod scheduler;
pub mod speculate;
pub mod worker;
mod writer;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use self::job::{Asker, EVENTS_PER_JOB, Event, Job};
use self::meter::Meter;
use self::places::Places;
use self::scheduler::{Caller, Limits};
use self::worker::{Bounds, End, Worker};
use crate::backend::{Backend, Capacity, Description, LEAST_ROWS, OpenError, Source, Token};
use crate::grammar::Grammar;
use crate::models::Bundle;
use crate::prompt::Prompt;
use crate::verdict::RationaleMode;

#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Jobs that run at the same time.
    pub slots: usize,
    /// Jobs that wait for a slot; of one more somebody is refused: see [`Places`].
    pub queue: usize,
    /// Prompt tokens evaluated in one step.
    pub chunk: usize,
    /// KV cells that are kept of earlier prompts, one a token.
    pub prefix_cells: usize,
    /// Whether rationales may be guessed ahead.
    pub speculate: bool,
    /// A thread silent for longer than this is stuck.
    pub stuck_after: Duration,
    /// One that is stuck for longer than this, its silence before included, aborts the
    /// process, so that whoever watches over it starts it again.
    pub abort_stuck: Option<Duration>,
    /// How often missing files are looked for again.
    pub retry_missing: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            slots: 4,
            queue: 64,
            chunk: 256,
            prefix_cells: 16_384,
            speculate: false,
            stuck_after: Duration::from_secs(60),
            abort_stuck: None,
            retry_missing: Duration::from_secs(5),
        }
    }
}

/// Prefill chunks in a row while rationales wait.
const PREFILL_RUN: usize = 4;

/// How the engine is.
#[derive(Clone)]
pub enum State {
    /// The model's files are not there; they are looked for again and again.
    Missing(String),
    Loading,
    /// A real decode has succeeded.
    Ready(Arc<Ready>),
    /// A decode takes longer than [`Config::stuck_after`].
    Stuck(Arc<Ready>),
    /// The adapter is off: see [`Engine::set_adapter`].
    Suspended(Arc<Ready>),
    /// It could not load, or died. Final.
    Failed(String),
    /// The adapter could not be loaded. Final.
    AdapterFailed(String),
}

/// What is known once the model is loaded.
pub struct Ready {
    pub prompt: Prompt,
    pub description: Description,
    pub capacity: Capacity,
    pub shared_prefix_tokens: usize,
    pub load_time: Duration,
}

impl State {
    /// Why the model cannot answer; `None` if it can.
    pub fn trouble(&self) -> Option<String> {
        match self {
            State::Ready(_) => None,
            State::Missing(reason) => Some(format!("the model is missing: {reason}")),
            State::Loading => Some("the model is still loading".to_owned()),
            State::Stuck(_) => Some("the engine is stuck in a decode".to_owned()),
            State::Suspended(_) => Some("the kill switch has taken the adapter off".to_owned()),
            State::Failed(reason) => Some(format!("the engine failed: {reason}")),
            State::AdapterFailed(reason) => Some(format!("the adapter cannot be loaded: {reason}")),
        }
    }

    pub fn ready(&self) -> Option<&Arc<Ready>> {
        match self {
            State::Ready(ready) | State::Stuck(ready) | State::Suspended(ready) => Some(ready),
            State::Missing(_) | State::Loading | State::Failed(_) | State::AdapterFailed(_) => None,
        }
    }
}

/// A handle on the engine's thread.
#[derive(Clone)]
pub struct Engine {
    jobs: Sender<Job>,
    places: Arc<Places>,
    /// Whether it is wanted.
    adapter: Arc<AtomicBool>,
    state: watch::Receiver<State>,
    meter: Arc<Meter>,
    config: Config,
}

impl Engine {
    /// Puts the adapter on, or takes it off, between two decode calls; the last
    /// wish counts. Without it nothing is answered: jobs under way end with
    /// [`JobError::AdapterOff`](job::JobError::AdapterOff), and all that the
    /// cache holds is dropped.
    pub fn set_adapter(&self, on: bool) {
        self.adapter.store(on, Relaxed);
    }

    /// Starts the thread, which loads the model and then serves.
    pub fn start(
        source: impl Source + 'static,
        bundle: Arc<Bundle>,
        config: Config,
    ) -> std::io::Result<Self> {
        let (state_sender, state) = watch::channel(State::Loading);
        let state_sender = Arc::new(state_sender);
        // Places bound it, and within one step those who lost theirs stay in it too.
        let (jobs, inbox) = channel();
        let meter = Arc::new(Meter::default());
        let adapter = Arc::new(AtomicBool::new(true));
        let engine = Self {
            jobs,
            places: Arc::new(Places::new(config.queue)),
            adapter: Arc::clone(&adapter),
            state,
            meter: Arc::clone(&meter),
            config,
        };
        let publish = Arc::clone(&state_sender);
        let thread = Thread {
            bundle,
            config,
            adapter,
            meter: Arc::clone(&meter),
            state: publish,
        };
        std::thread::Builder::new()
            .name("engine".to_owned())
            .spawn(move || thread.run(source, &inbox))?;
        std::thread::Builder::new()
            .name("engine-watch".to_owned())
            .spawn(move || watch_over(&state_sender, &meter, &config))?;
        Ok(engine)
    }

    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Changes whenever the state does.
    pub fn watch(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Jobs that wait for a slot.
    pub fn queue_depth(&self) -> usize {
        self.places.taken()
    }

    /// Queues a prompt. Never waits.
    pub fn submit(
        &self,
        prompt: Vec<Token>,
        rationale: RationaleMode,
        caller: Caller,
        arrived: Instant,
        deadline: Instant,
    ) -> Result<mpsc::Receiver<Event>, SubmitError> {
        let (events, receiver) = mpsc::channel(EVENTS_PER_JOB);
        let place = self.places.take(caller, &events);
        let place = place.ok_or(SubmitError::QueueFull)?;
        let job = Job {
            prompt,
            rationale,
            caller,
            asker: Asker {
                arrived,
                deadline,
                events,
                place: Some(place),
            },
        };
        let sent = self.jobs.send(job);
        sent.map(|()| receiver).map_err(|_| SubmitError::Dead)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    #[error("the queue is full")]
    QueueFull,
    #[error("the engine's thread has ended")]
    Dead,
}

struct Thread {
    bundle: Arc<Bundle>,
    config: Config,
    adapter: Arc<AtomicBool>,
    meter: Arc<Meter>,
    state: Arc<watch::Sender<State>>,
}

impl Thread {
    fn run(self, mut source: impl Source, inbox: &Receiver<Job>) {
        let found = || {
            self.state.send_if_modified(|state| {
                let was_missing = matches!(state, State::Missing(_));
                if was_missing {
                    *state = State::Loading;
                }
                was_missing
            });
        };
        loop {
            let started = Instant::now();
            let mut serve = |backend: &mut dyn Backend| self.serve(backend, inbox, started);
            // A panic is a failed engine, not a dead daemon.
            let outcome = catch_unwind(AssertUnwindSafe(|| source.open(&found, &mut serve)));
            let failure = match outcome {
                Ok(Ok(())) => return,
                Ok(Err(OpenError::Missing(reason))) => {
                    let known =
                        matches!(&*self.state.borrow(), State::Missing(old) if *old == reason);
                    if !known {
                        tracing::warn!(%reason, "no model: rules decide until it is there");
                        self.state.send_replace(State::Missing(reason));
                    }
                    self.meter.beat();
                    std::thread::sleep(self.config.retry_missing);
                    if self.state.receiver_count() == 0 {
                        return;
                    }
                    continue;
                }
                Ok(Err(OpenError::Adapter(reason))) => State::AdapterFailed(reason),
                Ok(Err(OpenError::Failed(reason))) => State::Failed(reason),
                Err(panic) => {
                    let text = panic_text(panic.as_ref());
                    State::Failed(format!("its thread panicked: {text}"))
                }
            };
            return self.fail(failure);
        }
    }

    fn fail(&self, state: State) {
        let reason = state.trouble().unwrap_or_default();
        tracing::error!(reason, "no model can serve: rules decide");
        self.meter.set_running(0);
        self.state.send_replace(state);
    }

    /// Until all handles are gone or the backend breaks; the error says why it never worked.
    fn serve(
        &self,
        backend: &mut dyn Backend,
        inbox: &Receiver<Job>,
        started: Instant,
    ) -> Result<(), OpenError> {
        let bundle = &self.bundle;
        let unfit = |error: &dyn std::fmt::Display| {
            OpenError::Failed(format!("bundle `{}`: {error}", bundle.name))
        };
        let tokenizer = backend.tokenizer();
        let prompt = Prompt::new(
            &bundle.prompt.template,
            bundle.prompt.context,
            bundle.prompt.max_tokens as usize,
            Arc::clone(&tokenizer),
        )
        .map_err(|error| unfit(&error))?;
        let grammar = Grammar::compile(&bundle.answer, tokenizer).map_err(|error| unfit(&error))?;
        let capacity = backend.capacity();
        let shared = prompt.shared_prefix();
        check_capacity(&capacity, &self.config, &prompt, &grammar).map_err(OpenError::Failed)?;

        let bounds = Bounds {
            limits: Limits {
                slots: self.config.slots,
                chunk: capacity.chunk(self.config.chunk),
                least: LEAST_ROWS,
                prefill_run: PREFILL_RUN,
            },
            prefix_cells: self.config.prefix_cells,
            speculate: self.config.speculate,
        };
        let ready = Arc::new(Ready {
            description: backend.description(),
            capacity,
            shared_prefix_tokens: shared.len(),
            prompt,
            load_time: started.elapsed(),
        });
        let meter = Arc::clone(&self.meter);
        let mut worker = Worker::new(backend, &grammar, shared, bounds, meter);
        worker
            .warm_up()
            .map_err(|error| OpenError::Failed(format!("the warm-up decode failed: {error}")))?;
        tracing::info!(
            load_seconds = started.elapsed().as_secs_f64(),
            cpu_variant = ready.description.cpu_variant,
            threads = ready.description.threads,
            adapter = ready.description.adapter,
            gpu = ready
                .description
                .gpu
                .as_ref()
                .map(|gpu| gpu.device.as_str()),
            gpu_layers = ready.description.gpu.as_ref().map(|gpu| gpu.layers),
            gpu_reason = ready.description.gpu_reason,
            "the model is ready"
        );
        self.meter.beat();
        let publish = |on: bool| {
            let ready = Arc::clone(&ready);
            self.state.send_replace(match on {
                true => State::Ready(ready),
                false => State::Suspended(ready),
            });
        };
        // The worker begins with the adapter on, and says so once it has taken it off.
        publish(true);
        if let End::Broken(error) = worker.run(inbox, &self.adapter, &publish) {
            self.fail(State::Failed(error.to_string()));
        }
        Ok(())
    }
}

/// Each sequence must hold the longest job, so that no admitted job can find
/// the cache full.
fn check_capacity(
    capacity: &Capacity,
    config: &Config,
    prompt: &Prompt,
    grammar: &Grammar,
) -> Result<(), String> {
    let longest = prompt.max_tokens() + grammar.max_answer_tokens();
    let needed = capacity.sequences.max(1) * longest;
    if capacity.cells < needed {
        return Err(format!(
            "the KV cache has `{}` cells, but `{}` sequences need `{needed}`",
            capacity.cells, capacity.sequences
        ));
    }
    if capacity.sequences < config.slots {
        return Err(format!(
            "the context has `{}` sequences, too few for `{}` slots",
            capacity.sequences, config.slots
        ));
    }
    Ok(())
}

/// Turns `Ready` to `Stuck` when the thread has fallen silent, and back; ends the process
/// when that takes too long.
fn watch_over(state: &watch::Sender<State>, meter: &Meter, config: &Config) {
    let stuck_after = config.stuck_after;
    // Counted in pauses: a process that was stopped, or whose machine was, is not stuck.
    let mut stuck = stuck_after;
    let pause = (stuck_after / 4).clamp(Duration::from_millis(10), Duration::from_millis(500));
    while state.receiver_count() > 0 {
        std::thread::sleep(pause);
        let silent = meter.silence() > stuck_after;
        state.send_if_modified(|state| {
            let next = match state {
                State::Ready(ready) if silent => State::Stuck(Arc::clone(ready)),
                State::Stuck(ready) if !silent => State::Ready(Arc::clone(ready)),
                _ => return false,
            };
            tracing::error!(stuck = silent, "the engine's heartbeat changed");
            *state = next;
            true
        });
        stuck = match &*state.borrow() {
            State::Stuck(_) => stuck + pause,
            // In the warm-up after a re-arm.
            State::Suspended(_) if silent => stuck + pause,
            _ => stuck_after,
        };
        if config.abort_stuck.is_some_and(|limit| stuck > limit) {
            let seconds = stuck.as_secs_f64();
            tracing::error!(seconds, "the engine is stuck for too long: aborting");
            std::process::abort();
        }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a message".to_owned())
}
