//! What a decision costs where no model takes part: the rules alone, and the durable log.
//!
//! Prints decisions a second of the pure rules, then, for 1 and for 64 requests in flight through
//! gRPC, the time of a decision with the log and without it, in turns: medians of the rounds, and
//! of the differences and ratios of each round's pair.
//!
//!     cargo bench --bench decisions -- [ROUNDS]

#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that goes wrong should stop"
)]

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use judged::app::App;
use judged::backend::{OpenError, Serve, Source};
use judged::config::{Config, Settings};
use judged::context::Context;
use judged::models::Bundle;
use judged::rpc::convert;
use judged::rpc::proto::judge_service_client::JudgeServiceClient;
use judged::rpc::proto::judge_service_server::{JudgeService, JudgeServiceServer};
use judged::rpc::proto::{
    JudgeRequest, JudgeResponse, JudgeStreamRequest, JudgeStreamResponse, ReportOutcomeRequest,
    ReportOutcomeResponse,
};
use judged::rules::Rulebook;
use judged::verdict::{Case, DecidedBy, Decision, Disposition, Mode, Timings, Usage};
use serde_json::Value;
use tokio_stream::Stream;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};

const ROUND: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() {
    let mut number = std::env::args().filter_map(|argument| argument.parse().ok());
    let rounds: usize = number.next_back().unwrap_or(5);
    let requests: Arc<Vec<JudgeRequest>> = Arc::new(requests());
    println!(
        "pure rules, one thread: {:.0} decisions/s, median of {rounds} rounds",
        median((0..rounds).map(|_| pure_rules(&requests)))
    );

    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let app = logged(folder.path()).await;
    let with_log = connect(app.judge_addr).await;
    let without = connect(unlogged().await).await;
    for in_flight in [1, 64] {
        let (mut on, mut off) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            off.push(decisions_per_second(&without, in_flight, &requests).await);
            on.push(decisions_per_second(&with_log, in_flight, &requests).await);
        }
        let each = |rate: &f64| 1e6 / rate;
        let pairs = on.iter().zip(&off);
        println!(
            "{in_flight} in flight: {:.0} decisions/s with the log, {:.0} without: {:.1} and {:.1} µs \
             a decision, {:.1} µs for the log, {:.2} times as long",
            median(on.iter().copied()),
            median(off.iter().copied()),
            median(on.iter().map(each)),
            median(off.iter().map(each)),
            median(pairs.clone().map(|(on, off)| each(on) - each(off))),
            median(pairs.map(|(on, off)| off / on)),
        );
    }
    drop((with_log, without));
    app.shut_down().await;
}

/// Real ones: those of the spot check.
fn requests() -> Vec<JudgeRequest> {
    let text = include_str!("../models/spot-check.jsonl");
    let lines = text.lines().map(|line| {
        let case: Value = serde_json::from_str(line).unwrap();
        JudgeRequest {
            context_json: case["context"].to_string(),
            draft: case["draft"].as_str().unwrap().to_owned(),
            ..JudgeRequest::default()
        }
    });
    lines.collect()
}

fn pure_rules(requests: &[JudgeRequest]) -> f64 {
    let cases = requests.iter().map(|request| Case {
        context: Context::parse(&request.context_json).unwrap(),
        draft: request.draft.clone(),
        requested_channel: None,
    });
    let cases: Vec<Case> = cases.collect();
    let rulebook = Rulebook::default();
    let started = Instant::now();
    let mut judged = 0;
    while started.elapsed() < ROUND / 2 {
        for case in &cases {
            std::hint::black_box(rulebook.judge(case));
        }
        judged += cases.len();
    }
    judged as f64 / started.elapsed().as_secs_f64()
}

/// The daemon as it is, in mode RULES_ONLY.
async fn logged(state_dir: &std::path::Path) -> App {
    let loopback = "127.0.0.1:0".parse().unwrap();
    let settings = Settings {
        listen: Some(loopback),
        control_listen: Some(loopback),
        state_dir: Some(state_dir.to_owned()),
        mode: Some(judged::config::ModeName::RulesOnly),
        ..Settings::default()
    };
    let config = Config::new(&settings.resolve(None, None).unwrap()).unwrap();
    let bundle = Bundle::find(&config.bundle, &Bundle::default_dirs()).unwrap();
    App::start(&config, bundle, NoModel).await.unwrap()
}

struct NoModel;

impl Source for NoModel {
    fn open(&mut self, _: &dyn Fn(), _: &mut Serve<'_>) -> Result<(), OpenError> {
        Err(OpenError::Missing("the rules need none".to_owned()))
    }
}

/// The same work for the same wire, and no log.
struct Unlogged(Rulebook);

#[tonic::async_trait]
impl JudgeService for Unlogged {
    async fn judge(
        &self,
        request: Request<JudgeRequest>,
    ) -> Result<Response<JudgeResponse>, Status> {
        let arrived = Instant::now();
        let envelope = convert::Envelope {
            arrived,
            deadline: None,
            caller: 0,
            caller_name: None,
        };
        let request = convert::request(request.into_inner(), envelope)
            .map_err(|failure| failure.to_status())?;
        let verdict = self.0.judge(&request.case);
        let fired = verdict.fired.iter().map(|rule| rule.name().to_owned());
        Ok(Response::new(convert::response(&Decision {
            decision_id: uuid::Uuid::now_v7().to_string(),
            label: verdict.label,
            rationale: verdict.rationale,
            scores: None,
            disposition: Disposition::HoldForReview,
            decided_by: DecidedBy::Rules,
            mode: Mode::RulesOnly,
            degraded_reason: None,
            rules: fired.collect(),
            model: None,
            usage: Usage::default(),
            timings: Timings {
                total: arrived.elapsed(),
                ..Timings::default()
            },
        })))
    }

    async fn report_outcome(
        &self,
        _: Request<ReportOutcomeRequest>,
    ) -> Result<Response<ReportOutcomeResponse>, Status> {
        Err(Status::unimplemented("there is no log"))
    }

    type JudgeStreamStream =
        Pin<Box<dyn Stream<Item = Result<JudgeStreamResponse, Status>> + Send>>;

    async fn judge_stream(
        &self,
        _: Request<Streaming<JudgeStreamRequest>>,
    ) -> Result<Response<Self::JudgeStreamStream>, Status> {
        Err(Status::unimplemented("single requests are measured"))
    }
}

async fn unlogged() -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let server = Server::builder()
        .add_service(JudgeServiceServer::new(Unlogged(Rulebook::default())))
        .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)));
    tokio::spawn(server);
    addr
}

async fn connect(addr: std::net::SocketAddr) -> JudgeServiceClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{addr}")).unwrap();
    JudgeServiceClient::new(endpoint.connect().await.unwrap())
}

/// Callers that ask one request after the other, for the time of a round.
async fn decisions_per_second(
    client: &JudgeServiceClient<Channel>,
    callers: usize,
    requests: &Arc<Vec<JudgeRequest>>,
) -> f64 {
    let started = Instant::now();
    let callers = (0..callers).map(|caller| {
        let (mut client, requests) = (client.clone(), Arc::clone(requests));
        tokio::spawn(async move {
            let mut answered = 0_u32;
            for request in requests.iter().cycle().skip(caller) {
                if started.elapsed() >= ROUND {
                    break;
                }
                client.judge(request.clone()).await.unwrap();
                answered += 1;
            }
            answered
        })
    });
    let callers: Vec<_> = callers.collect();
    let mut answered = 0;
    for caller in callers {
        answered += caller.await.unwrap();
    }
    f64::from(answered) / started.elapsed().as_secs_f64()
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
