//! The whole daemon over a tiny model, in a store and with a bundle of its own.

#![allow(dead_code, reason = "each test crate uses its own part")]
#![expect(
    clippy::expect_used,
    reason = "a test that goes wrong here should stop"
)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use judged::app::{App, llama_source};
use judged::client::{Client, Status};
use judged::config::{Config, Settings};
use judged::models::{Bundle, Store, sha256_file};
use tempfile::TempDir;

use super::gguf_writer::GgufWriter;
use super::tiny::TinyModel;

pub const MAX_RATIONALE_TOKENS: u32 = 48;
pub const MAX_RATIONALE_BYTES: usize = 320;
pub const MAX_PROMPT_TOKENS: usize = 1536;

/// A bundle and a store, not yet served.
pub struct TinyBundle {
    dir: TempDir,
    model: TinyModel,
    adapter: Option<(GgufWriter, Option<String>)>,
    change: fn(&mut Config),
}

pub struct TinyDaemon {
    pub app: App,
    pub client: Client,
    pub bundle: Bundle,
    pub dir: TempDir,
}

impl TinyBundle {
    pub fn new() -> Self {
        Self {
            dir: tempfile::tempdir().expect("a temporary folder"),
            model: TinyModel::default(),
            adapter: None,
            change: |_| {},
        }
    }

    pub fn with(mut self, change: fn(&mut Config)) -> Self {
        self.change = change;
        self
    }

    pub fn of(mut self, model: TinyModel) -> Self {
        self.model = model;
        self
    }

    pub fn with_adapter(mut self, adapter: GgufWriter) -> Self {
        self.adapter = Some((adapter, None));
        self
    }

    /// Its manifest names another sha256.
    pub fn with_swapped_adapter(mut self, adapter: GgufWriter) -> Self {
        self.adapter = Some((adapter, Some("0".repeat(64))));
        self
    }

    /// The base that the manifest names, wherever it may lie.
    fn base(&self) -> PathBuf {
        let path = self.dir.path().join("elsewhere.gguf");
        if !path.exists() {
            self.model.write_base(&path);
        }
        path
    }

    /// The manifest's path, and the store's with the base in it: for the real binary.
    pub fn on_disk(&self) -> (PathBuf, PathBuf) {
        let bundle = self.bundle();
        let store = self.dir.path().join("store");
        pull(&self.base(), &Store::new(&store).path(&bundle.base));
        (self.dir.path().join(MANIFEST), store)
    }

    fn bundle(&self) -> Bundle {
        let dir = self.dir.path();
        let base = self.base();
        let size = base.metadata().expect("the base is there").len();
        let sha256 = sha256_file(&base, &mut |_| {}).expect("the base can be read");
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
        for file in ["tenacious-judge.prompt", "tenacious-judge.lark"] {
            std::fs::copy(models.join(file), dir.join(file)).expect("a copy of the bundle's file");
        }
        let adapter = self.adapter.as_ref().map(|(file, named)| {
            let path = dir.join("adapter.gguf");
            file.write(&path);
            let found = sha256_file(&path, &mut |_| {}).expect("the adapter can be read");
            let sha256 = named.clone().unwrap_or(found);
            format!("[adapter]\nfile = \"adapter.gguf\"\nsha256 = \"{sha256}\"\nscale = 1.0\n")
        });
        let adapter = adapter.unwrap_or_default();
        let manifest = format!(
            "name = \"tiny\"\nrevision = \"1\"\ndescription = \"a test\"\nlicense = \"MIT\"\n\
             [base]\nfile = \"tiny.gguf\"\nsize = {size}\nsha256 = \"{sha256}\"\n{adapter}\
             [prompt]\ntemplate = \"tenacious-judge.prompt\"\ncontext = \"compact\"\n\
             max_tokens = {MAX_PROMPT_TOKENS}\n\
             [answer]\ngrammar = \"tenacious-judge.lark\"\n\
             max_rationale_tokens = {MAX_RATIONALE_TOKENS}\n\
             max_rationale_bytes = {MAX_RATIONALE_BYTES}\n"
        );
        let path = dir.join(MANIFEST);
        std::fs::write(&path, manifest).expect("a writable folder");
        Bundle::load(&path).expect("a good manifest")
    }

    /// Serves with the base in the store, and waits until the model decides or failed.
    pub async fn serve(self) -> TinyDaemon {
        let daemon = self.serve_without_base().await;
        daemon.pull();
        daemon.loaded().await;
        daemon
    }

    pub async fn serve_without_base(self) -> TinyDaemon {
        let bundle = self.bundle();
        let dir = self.dir.path();
        let settings = Settings {
            listen: Some(([127, 0, 0, 1], 0).into()),
            control_listen: Some(([127, 0, 0, 1], 0).into()),
            model_dir: Some(dir.join("store")),
            state_dir: Some(dir.join("state")),
            hard_rules: Some("none".to_owned()),
            // Weights drawn at random hardly ever mean a label: that would trip it.
            kill_switch: Some("malformed_share=1".to_owned()),
            // More than one would fight with the tests beside it.
            threads: Some(1),
            gpu_layers: Some("0".to_owned()),
            ..Settings::default()
        };
        let resolved = settings.resolve(None, None).expect("no file to read");
        let mut config = Config::new(&resolved).expect("good settings");
        config.engine.retry_missing = Duration::from_millis(50);
        (self.change)(&mut config);
        let source = llama_source(&config, &bundle);
        let app = App::start(&config, bundle.clone(), source)
            .await
            .expect("a daemon");
        let client = Client::connect(&app.judge_addr.to_string())
            .await
            .expect("it listens");
        TinyDaemon {
            app,
            client,
            bundle,
            dir: self.dir,
        }
    }
}

const MANIFEST: &str = "tiny.toml";

fn pull(base: &Path, path: &Path) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a writable folder");
    let part = path.with_extension("part");
    std::fs::copy(base, &part).expect("a copy");
    std::fs::rename(part, path).expect("a rename");
}

impl TinyDaemon {
    /// Puts the base into the store, as a pull does.
    pub fn pull(&self) {
        let path = Store::new(self.dir.path().join("store")).path(&self.bundle.base);
        pull(&self.dir.path().join("elsewhere.gguf"), &path);
    }

    pub async fn loaded(&self) {
        let mut state = self.app.judge().engine().watch();
        let settled = |state: &judged::engine::State| {
            use judged::engine::State::{AdapterFailed, Failed, Ready};
            matches!(state, Ready(_) | Failed(_) | AdapterFailed(_))
        };
        let waited = tokio::time::timeout(Duration::from_secs(60), state.wait_for(settled));
        waited
            .await
            .expect("a model of a few hundred kilobytes loads at once")
            .expect("the engine lives");
    }

    pub async fn status(&self) -> Status {
        let addr = self.app.control_addr.to_string();
        let mut client = Client::connect(&addr).await.expect("it listens");
        client.status().await.expect("a status")
    }

    /// Until no request runs and none waits.
    pub async fn idle(&self) -> Status {
        let started = Instant::now();
        loop {
            let status = self.status().await;
            if status.running == 0 && status.queue_depth == 0 {
                return status;
            }
            assert!(started.elapsed() < Duration::from_secs(30), "{status:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
