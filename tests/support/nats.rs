//! A real NATS server in a process of its own, its streams as a test sees them, and workers on them.

#![allow(dead_code, reason = "each test crate uses its own part")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that goes wrong should stop"
)]

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::consumer::pull::Config;
use async_nats::jetstream::{self, Context, Message};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_stream::StreamExt;

use super::command::{Ran, Shell, free_port, signal};

const PATIENCE: Duration = Duration::from_secs(60);

/// A server with JetStream; dropped, it is killed.
pub struct NatsServer {
    pub port: u16,
    pub dir: TempDir,
    child: Child,
}

impl NatsServer {
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// With more of a configuration.
    pub fn start_with(config: &str) -> Self {
        let (port, dir) = (free_port(), TempDir::new().unwrap());
        let text = format!(
            "listen: 127.0.0.1:{port}\njetstream {{ store_dir: \"{}\" }}\n{config}\n",
            dir.path().display()
        );
        std::fs::write(dir.path().join("nats.conf"), text).unwrap();
        let child = run(&dir, port);
        Self { port, dir, child }
    }

    /// Kills it, and starts it again on what it has kept.
    pub fn restart(&mut self) {
        self.kill();
        self.child = run(&self.dir, self.port);
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub async fn streams(&self) -> Streams {
        let client = async_nats::connect(self.url()).await.unwrap();
        Streams {
            context: jetstream::new(client),
        }
    }
}

fn run(dir: &TempDir, port: u16) -> Child {
    let log = File::create(dir.path().join("nats.log")).unwrap();
    // In the service's path, not in everybody's.
    let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap());
    let child = Command::new("nats-server")
        .env("PATH", path)
        .args(["-c", dir.path().join("nats.conf").to_str().unwrap()])
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap_or_else(|error| panic!("nats-server: {error}; scripts/setup test installs it"));
    let end = Instant::now() + PATIENCE;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < end, "nats-server does not listen");
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The streams that `--create` makes.
pub struct Streams {
    pub context: Context,
}

impl Streams {
    /// Publishes one draft, and waits until the stream has it.
    pub async fn publish(&self, payload: impl Into<Vec<u8>>) {
        self.publish_named(payload, None).await;
    }

    pub async fn publish_named(&self, payload: impl Into<Vec<u8>>, name: Option<&str>) {
        let mut headers = HeaderMap::new();
        if let Some(name) = name {
            headers.insert("Nats-Msg-Id", name);
        }
        let payload: Vec<u8> = payload.into();
        let sent = self
            .context
            .publish_with_headers("judged.drafts", headers, payload.into());
        sent.await.unwrap().await.unwrap();
    }

    /// The same without a single header.
    pub async fn publish_bare(&self, payload: impl Into<Vec<u8>>) {
        let payload: Vec<u8> = payload.into();
        let sent = self.context.publish("judged.drafts", payload.into());
        sent.await.unwrap().await.unwrap();
    }

    /// Messages in a stream; none where it is not made yet.
    pub async fn count(&self, stream: &str) -> u64 {
        match self.context.get_stream(stream).await {
            Ok(stream) => stream.cached_info().state.messages,
            Err(_) => 0,
        }
    }

    pub async fn until_count(&self, stream: &str, count: u64) {
        let end = Instant::now() + PATIENCE;
        loop {
            let found = self.count(stream).await;
            if found == count {
                return;
            }
            let waited = Instant::now() < end;
            assert!(waited, "`{stream}` has {found} messages, not {count}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Until so many verdicts are there, and no draft is left.
    pub async fn until_verdicts(&self, count: u64) -> Vec<Value> {
        self.until_count("judged-verdicts", count).await;
        self.until_count("judged-drafts", 0).await;
        let messages = self.all("judged-verdicts").await;
        let read = |message: &Message| serde_json::from_slice(&message.payload).unwrap();
        messages.iter().map(read).collect()
    }

    /// All that is in a stream.
    pub async fn all(&self, stream: &str) -> Vec<Message> {
        let count = usize::try_from(self.count(stream).await).unwrap();
        let stream = self.context.get_stream(stream).await.unwrap();
        let consumer = stream.create_consumer(Config::default()).await.unwrap();
        let mut messages = Vec::with_capacity(count);
        while messages.len() < count {
            let left = (count - messages.len()).min(500);
            let pull = consumer.batch().max_messages(left);
            let pull = pull.expires(Duration::from_secs(1));
            let mut batch = pull.messages().await.unwrap();
            while let Some(message) = batch.next().await {
                let message = message.unwrap();
                message.ack().await.unwrap();
                messages.push(message);
            }
        }
        messages
    }

    /// What the workers share.
    pub async fn consumer(&self) -> PullConsumer {
        let stream = self.context.get_stream("judged-drafts").await.unwrap();
        stream.get_consumer("judged-worker").await.unwrap()
    }
}

pub fn draft(id: &str, text: &str) -> String {
    let context = json!({"prospect_id": id, "company": "DevCo", "headcount": 200});
    json!({"id": id, "context": context, "draft": text}).to_string()
}

pub fn header<'m>(message: &'m Message, name: &str) -> &'m str {
    let headers = message.headers.as_ref().unwrap();
    headers.get(name).unwrap().as_str()
}

/// `judged worker` in a process of its own; dropped, it is killed.
pub struct WorkerProcess {
    child: Child,
    log: PathBuf,
    _shell: Shell,
}

impl WorkerProcess {
    pub fn start(nats: &NatsServer, addr: &str, more: &[&str]) -> Self {
        let shell = Shell::new();
        let log = shell.home.path().join("worker.log");
        let url = nats.url();
        let own = [
            "worker", "--create", "--json", "--addr", addr, "--nats", &url,
        ];
        let child = shell
            .command(&[&own[..], more].concat())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self {
            child,
            log,
            _shell: shell,
        }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Where it serves its metrics, once it does.
    pub async fn metrics_addr(&self) -> SocketAddr {
        let end = Instant::now() + PATIENCE;
        loop {
            let log = self.log();
            if let Some((_, told)) = log.split_once("metrics_addr=") {
                return told.split_whitespace().next().unwrap().parse().unwrap();
            }
            assert!(Instant::now() < end, "no metrics are served: {log}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Without a word of warning.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub fn terminate(&self) {
        self.signal("TERM");
    }

    pub fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// What it says it has done, once it has ended by itself.
    pub fn ended(self) -> Value {
        let ran = self.end();
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.json().remove(0)
    }

    /// How it ended.
    pub fn end(mut self) -> Ran {
        let end = Instant::now() + PATIENCE;
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < end, "it does not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
        Ran {
            code: self.child.wait().unwrap().code().unwrap(),
            stdout: std::io::read_to_string(self.child.stdout.take().unwrap()).unwrap(),
            stderr: self.log(),
        }
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        self.kill();
    }
}
