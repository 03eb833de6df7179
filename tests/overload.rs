//! Promise: at twice its capacity, with callers who cancel, reset, read slowly and leave
//! half-way, the daemon answers or refuses each request, records what it answers, keeps the
//! deadlines of what it accepts, and grows no larger. `JUDGED_OVERLOAD_MINUTES=30` makes it a
//! long drill.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that goes wrong should stop"
)]

#[path = "support/anonymous.rs"]
mod anonymous;
#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/hostile.rs"]
mod hostile;
#[path = "support/http2.rs"]
mod http2;

use std::collections::BTreeMap;
use std::env;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use daemon::{Daemon, Setup, request, until};
use hostile::Chance;
use judged::judge::Judge;
use judged::rpc::proto::judge_service_client::JudgeServiceClient;
use judged::rpc::proto::judge_stream_response::Event;
use judged::rpc::proto::{JudgeRequest, JudgeResponse, JudgeStreamRequest, RationaleMode};
use judged::rpc::status::code_name;
use prost::Message;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

/// How long a caller waits for its answer.
const DEADLINE: Duration = Duration::from_secs(2);
/// Callers come no later than this after they were due.
const LATE: Duration = Duration::from_secs(1);
/// Requests of one stream.
const STREAMED: usize = 4;
/// Requests of one caller on the average: one in five sends a stream of them.
const REQUESTS_A_CALLER: f64 = 0.8 + 0.2 * STREAMED as f64;
/// In place of a code. The daemon tells of a deadline some milliseconds before it passes.
const OWN_CLOCK: &str = "the caller's own clock";
/// What the caches of the log and the windows of the kill switch may still take, in KiB.
const ALLOWANCE: u64 = 16 << 10;

/// What became of all requests.
#[derive(Debug, Default)]
struct Book {
    sent: u64,
    answered: u64,
    /// By code.
    refused: BTreeMap<String, u64>,
    /// Those whose caller left before it was told.
    left: u64,
    /// Answered, and not in the log.
    unrecorded: u64,
    /// Of unary answers, in microseconds.
    latencies: Vec<u32>,
}

impl Book {
    fn p99(&mut self) -> Duration {
        self.latencies.sort_unstable();
        let rank = (self.latencies.len() * 99).div_ceil(100).saturating_sub(1);
        let micros = self.latencies.get(rank).copied().unwrap_or_default();
        Duration::from_micros(micros.into())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_twice_its_capacity_all_is_answered_or_refused_and_nothing_grows() {
    let minutes = env::var("JUDGED_OVERLOAD_MINUTES");
    let run = minutes.map_or(Duration::from_secs(15), |text| {
        Duration::from_secs_f64(60.0 * text.parse::<f64>().unwrap())
    });
    let mut setup = Setup::new().with(|config| {
        config.engine.queue = 16;
        // What is kept of prompts must be full after the first tenth.
        config.engine.prefix_cells = 4_096;
    });
    setup.source.scripted.per_token = Duration::from_micros(100);
    let daemon = setup.start().await;

    let capacity = capacity(&daemon).await;
    let rate = 2.0 * capacity / REQUESTS_A_CALLER;
    let load = Arc::new(Load {
        channel: daemon.connection.clone(),
        addr: daemon.judge_addr.clone(),
        judge: Arc::clone(&daemon.judge),
        book: Mutex::default(),
    });
    let mut callers = JoinSet::new();
    let mut chance = Chance(11);
    let mut held = Vec::new();
    for part in 1..=10 {
        arrive(&load, run / 10, rate, &mut chance, &mut callers).await;
        held.push(anonymous::resident());
        println!("{} KiB after {:.0?}", held[held.len() - 1], run * part / 10);
    }
    while let Some(caller) = callers.join_next().await {
        caller.unwrap();
    }
    until("nothing is open", || daemon.judge.open_requests() == 0).await;
    daemon.until_waiting(0).await;
    daemon.until_running(0).await;
    daemon.ask(request("say:BLOCK")).await.unwrap();

    let mut book = load.book.lock().unwrap();
    let p99 = book.p99();
    let refused: u64 = book.refused.values().sum();
    let own_clock = book.refused.get(OWN_CLOCK).copied().unwrap_or_default();
    println!(
        "capacity {capacity:.1} requests/s, offered {:.1}",
        2.0 * capacity
    );
    println!(
        "sent {}, answered {}, refused {:?}, left {}, unrecorded {}",
        book.sent, book.answered, book.refused, book.left, book.unrecorded
    );
    println!("p99 {p99:.0?} of a deadline of {DEADLINE:?}");
    let growth = held[9].saturating_sub(held[0]);
    println!("from the first tenth to the end: {growth} KiB more");
    assert_eq!(book.unrecorded, 0);
    assert!(refused > 0, "it was no overload");
    assert!(book.answered > book.sent / 10, "{}", book.answered);
    // After a pause of the machine both sides' clocks are over at once.
    assert!(
        own_clock <= book.sent / 10,
        "{own_clock} were told nothing in time"
    );
    assert!(growth < ALLOWANCE, "{growth} KiB");
}

/// Requests a second that callers get answered who wait for one another, at the best.
async fn capacity(daemon: &Daemon) -> f64 {
    let mut best: f64 = 0.0;
    for _ in 0..3 {
        best = best.max(answered_a_second(daemon).await);
    }
    best
}

async fn answered_a_second(daemon: &Daemon) -> f64 {
    const CALLERS: usize = 8;
    const EACH: usize = 4;
    let start = Instant::now();
    let callers = (0..CALLERS).map(|_| {
        let mut client = daemon.client();
        tokio::spawn(async move {
            for _ in 0..EACH {
                client.judge(question()).await.unwrap();
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    (CALLERS * EACH) as f64 / start.elapsed().as_secs_f64()
}

/// For another prospect each time, some 250 tokens of its own.
fn question() -> JudgeRequest {
    let draft = "A word about your roadmap, and about who could help with it. ".repeat(3);
    request(&draft)
}

/// Callers come at random, so many a second on the average, whatever became of the others.
async fn arrive(
    load: &Arc<Load>,
    time: Duration,
    rate: f64,
    chance: &mut Chance,
    callers: &mut JoinSet<()>,
) {
    let end = tokio::time::Instant::now() + time;
    let mut next = tokio::time::Instant::now();
    loop {
        let share = (chance.below(1 << 20) + 1) as f64 / (1 << 20) as f64;
        // After a pause of the whole machine those who would have come stay away.
        next = next.max(tokio::time::Instant::now() - LATE);
        next += Duration::from_secs_f64(-share.ln() / rate);
        if next >= end {
            tokio::time::sleep_until(end).await;
            return;
        }
        tokio::time::sleep_until(next).await;
        let (load, seed) = (Arc::clone(load), chance.next());
        callers.spawn(async move { load.call(Chance(seed)).await });
        while let Some(ended) = callers.try_join_next() {
            ended.unwrap();
        }
    }
}

struct Load {
    channel: Channel,
    addr: String,
    judge: Arc<Judge>,
    book: Mutex<Book>,
}

impl Load {
    /// One caller with its manners.
    async fn call(&self, mut chance: Chance) {
        let patience = Duration::from_millis(chance.below(300) as u64);
        match chance.below(20) {
            0..10 => self.wait().await,
            10..12 => self.cancel(patience).await,
            12..14 => self.reset(patience, chance.below(2) == 0).await,
            14..16 => self.read_slowly().await,
            16..18 => self.stream(usize::MAX).await,
            _ => self.stream(1).await,
        }
    }

    fn client(&self) -> JudgeServiceClient<Channel> {
        JudgeServiceClient::new(self.channel.clone())
    }

    fn sent(&self, requests: usize) {
        self.book.lock().unwrap().sent += requests as u64;
    }

    fn left(&self, requests: usize) {
        self.book.lock().unwrap().left += requests as u64;
    }

    fn refused(&self, code: &str) {
        let mut book = self.book.lock().unwrap();
        *book.refused.entry(code.to_owned()).or_default() += 1;
    }

    /// An answer counts; it must be in the log by now.
    async fn answered(&self, decision: &str) {
        let found = self.judge.log().get(decision).await.unwrap().is_some();
        let mut book = self.book.lock().unwrap();
        book.answered += 1;
        book.unrecorded += u64::from(!found);
    }

    async fn told(&self, answer: Result<JudgeResponse, Status>) {
        match answer {
            Ok(response) => self.answered(&response.decision_id).await,
            Err(status) => self.refused(refusal(&status)),
        }
    }

    async fn wait(&self) {
        let start = Instant::now();
        self.sent(1);
        let answer = self.client().judge(within(question())).await;
        if answer.is_ok() {
            let took = u32::try_from(start.elapsed().as_micros()).unwrap();
            self.book.lock().unwrap().latencies.push(took);
        }
        self.told(answer.map(tonic::Response::into_inner)).await;
    }

    async fn cancel(&self, patience: Duration) {
        self.sent(1);
        let mut client = self.client();
        let asking = client.judge(within(question()));
        match tokio::time::timeout(patience, asking).await {
            Ok(answer) => self.told(answer.map(tonic::Response::into_inner)).await,
            Err(_) => self.left(1),
        }
    }

    /// RST_STREAM, after the whole message or in the middle of it.
    async fn reset(&self, patience: Duration, whole: bool) {
        self.sent(1);
        let Some(mut client) = self.by_hand(1 << 16).await else {
            return self.refused("the connection was closed");
        };
        let (_answer, mut sending) = client.send_request(head(), false).unwrap();
        let message = http2::message(&question().encode_to_vec());
        let part = if whole {
            message.len()
        } else {
            message.len() / 2
        };
        let part = Bytes::copy_from_slice(&message[..part]);
        let _ = sending.send_data(part, whole);
        tokio::time::sleep(patience).await;
        sending.send_reset(h2::Reason::CANCEL);
        self.left(1);
        // The frame must leave before the connection does.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    /// Takes its answer in a few bytes at a time.
    async fn read_slowly(&self) {
        self.sent(1);
        let Some(mut client) = self.by_hand(32).await else {
            return self.refused("the connection was closed");
        };
        let (answer, mut sending) = client.send_request(head(), false).unwrap();
        let message = http2::message(&question().encode_to_vec());
        sending.send_data(message.into(), true).unwrap();
        let (head, mut stream) = answer.await.unwrap().into_parts();
        let mut body = Vec::new();
        while let Some(data) = stream.data().await {
            let data = data.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
            stream.flow_control().release_capacity(data.len()).unwrap();
            body.extend(data);
        }
        match body.get(5..) {
            Some(message) => {
                let response = JudgeResponse::decode(message).unwrap();
                self.answered(&response.decision_id).await;
            }
            None => {
                let code = head.headers.get("grpc-status").unwrap();
                self.refused(code_name(Code::from_bytes(code.as_bytes())));
            }
        }
    }

    /// Some requests at once; the caller leaves after so many events.
    async fn stream(&self, events: usize) {
        self.sent(STREAMED);
        let requests: Vec<JudgeStreamRequest> = (0..STREAMED)
            .map(|_| {
                let asked = question();
                let request_id = uuid::Uuid::now_v7().to_string();
                let rationale_mode = RationaleMode::None.into();
                let request = JudgeRequest {
                    request_id,
                    rationale_mode,
                    ..asked
                };
                JudgeStreamRequest {
                    request: Some(request),
                }
            })
            .collect();
        // The sending side stays open: who sends on may leave at any time.
        let (sender, sending) = mpsc::channel(STREAMED);
        for request in requests {
            sender.try_send(request).unwrap();
        }
        let mut call = Request::new(ReceiverStream::new(sending));
        call.set_timeout(DEADLINE);
        let mut open = STREAMED;
        let mut answers = match self.client().judge_stream(call).await {
            Ok(answers) => answers.into_inner(),
            Err(status) => {
                for _ in 0..open {
                    self.refused(refusal(&status));
                }
                return;
            }
        };
        for _ in 0..events.min(STREAMED) {
            let event = match answers.message().await {
                Ok(Some(answer)) => answer.event.unwrap(),
                Ok(None) => break,
                Err(status) => {
                    for _ in 0..open {
                        self.refused(refusal(&status));
                    }
                    return;
                }
            };
            open -= 1;
            match event {
                Event::Verdict(verdict) => self.answered(&verdict.decision_id).await,
                Event::Error(error) => self.refused(code_name(Code::from(error.code))),
                Event::Rationale(_) => panic!("no sentence was asked for"),
            }
        }
        self.left(open);
    }

    /// A connection of its own, whose streams may be sent so many bytes unread; none where there
    /// are too many.
    async fn by_hand(&self, window: u32) -> Option<h2::client::SendRequest<Bytes>> {
        let stream = TcpStream::connect(&self.addr).await.unwrap();
        let mut builder = h2::client::Builder::new();
        let opened = builder.initial_window_size(window).handshake(stream).await;
        let (client, connection) = opened.ok()?;
        tokio::spawn(connection);
        client.ready().await.ok()
    }
}

fn within(request: JudgeRequest) -> Request<JudgeRequest> {
    let mut request = Request::new(request);
    request.set_timeout(DEADLINE);
    request
}

fn head() -> http::Request<()> {
    let head = http::Request::post("http://localhost/judge.v1.JudgeService/Judge")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", format!("{}m", DEADLINE.as_millis()));
    head.body(()).unwrap()
}

/// The code, or that the caller's own clock came first.
fn refusal(status: &Status) -> &'static str {
    match std::error::Error::source(status).is_some() {
        true => OWN_CLOCK,
        false => code_name(status.code()),
    }
}
