//! The whole daemon over the bundle's real model, loaded once for a test binary.

#![allow(dead_code, reason = "each test crate uses its own part")]
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that goes wrong here should stop"
)]

use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use judged::app::{App, llama_source};
use judged::client::{Client, Question};
use judged::config::{Config, Settings};
use judged::engine::State;
use judged::models::{Bundle, FileState, Store};
use tempfile::TempDir;
use tokio::runtime::Runtime;

pub const SKIP: &str = "JUDGED_SKIP_REAL_MODEL";

pub struct RealDaemon {
    pub app: App,
    pub client: Client,
    pub bundle: Bundle,
    _state: TempDir,
}

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Runtime::new().expect("a runtime for the tests"));
static DAEMON: LazyLock<RealDaemon> = LazyLock::new(|| RUNTIME.block_on(start()));
/// One test at a time: a timing or a score is that of a daemon with nothing else to do.
static TURN: Mutex<()> = Mutex::new(());

/// Runs a test on the one daemon, or says that it is skipped.
pub fn with_daemon(test: impl AsyncFnOnce(&RealDaemon)) {
    if skipped() {
        return;
    }
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    base();
    RUNTIME.block_on(test(&DAEMON));
}

/// Runs a test on the model's file, or says that it is skipped.
pub fn with_base(test: impl FnOnce(PathBuf)) {
    if skipped() {
        return;
    }
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    test(base());
}

fn skipped() -> bool {
    let skipped = std::env::var_os(SKIP).is_some_and(|value| value == "1");
    if skipped {
        println!("skipped: {SKIP}=1");
    }
    skipped
}

pub fn bundle() -> Bundle {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    Bundle::load(&models.join("tenacious-judge.toml")).expect("the default bundle")
}

pub fn model_dir() -> PathBuf {
    std::env::var_os("JUDGED_MODEL_DIR")
        .map(PathBuf::from)
        .or_else(Store::default_dir)
        .unwrap_or_default()
}

fn base() -> PathBuf {
    let (store, bundle) = (Store::new(model_dir()), bundle());
    let path = store.path(&bundle.base);
    if store.state(&bundle.base) != FileState::Present {
        panic!(
            "no model at `{}`: run judged pull, or make test ({SKIP}=1 skips these tests)",
            path.display()
        );
    }
    let verified = store.verified(&bundle.base, &mut |_| {});
    verified.expect("the model's file is the right one")
}

async fn start() -> RealDaemon {
    let bundle = bundle();
    let state = tempfile::tempdir().expect("a temporary folder");
    let settings = Settings {
        listen: Some(([127, 0, 0, 1], 0).into()),
        control_listen: Some(([127, 0, 0, 1], 0).into()),
        model_dir: Some(model_dir()),
        state_dir: Some(state.path().to_owned()),
        hard_rules: Some("none".to_owned()),
        max_deadline: Some(600.0),
        ..Settings::default()
    };
    let resolved = settings.resolve(None, None).expect("no file to read");
    let config = Config::new(&resolved).expect("good settings");
    let source = llama_source(&config, &bundle);
    let app = App::start(&config, bundle.clone(), source)
        .await
        .expect("a daemon");
    let mut states = app.judge().engine().watch();
    let settled = |state: &State| matches!(state, State::Ready(_) | State::Failed(_));
    let loaded = tokio::time::timeout(Duration::from_secs(300), states.wait_for(settled)).await;
    let state_now = loaded.expect("it loads").expect("it lives").trouble();
    assert_eq!(state_now, None);
    let client = Client::connect(&app.judge_addr.to_string())
        .await
        .expect("it listens");
    RealDaemon {
        app,
        client,
        bundle,
        _state: state,
    }
}

/// The model card's examples, by name.
pub fn examples() -> Vec<(String, Question)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/model-card.jsonl");
    let text = std::fs::read_to_string(path).expect("the examples");
    let read = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).expect("one object a line");
        let question = Question {
            context_json: value["context"].to_string(),
            draft: value["draft"].as_str().expect("a draft").to_owned(),
            ..Question::default()
        };
        (value["name"].as_str().expect("a name").to_owned(), question)
    };
    text.lines().map(read).collect()
}
