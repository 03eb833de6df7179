//! A drain refuses what is new, finishes what was accepted, and never takes
//! longer than its limit.

use std::time::{Duration, Instant};

use crate::support::command::free_port;
use crate::support::daemon::{Gate, Setup, request, until};
use judged::client::Client;
use judged::rpc::proto::judge_stream_response::Event;
use judged::rpc::proto::{DecidedBy, JudgeStreamRequest};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

/// A drain that is held takes the whole of the usual limit, which is 20 s.
const NOT_HELD: Duration = Duration::from_secs(18);

fn assert_draining(status: &Status) {
    assert_eq!(status.code(), Code::Unavailable);
    let details = status.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "DRAINING");
    assert!(details.retry_info().unwrap().retry_delay.unwrap() > Duration::ZERO);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_refuses_what_is_new_and_finishes_what_was_accepted() {
    let gate = Gate::default();
    let mut daemon = Setup::new()
        .gated(&gate)
        .with(|config| config.engine.slots = 1)
        .start()
        .await;
    gate.close();
    let runs = daemon.asking(request("say:BLOCK"));
    gate.until_reached().await;
    let waits = daemon.asking(request("say:PENALISE"));
    daemon.until_waiting(1).await;

    let drain = daemon.drain();
    until("it drains", || daemon.judge.is_draining()).await;
    let status = daemon.ask(request("say:PASS")).await.unwrap_err();
    assert_draining(&status);

    gate.open();
    let runs = runs.await.unwrap().unwrap();
    assert_eq!((runs.label, runs.decided_by()), (3, DecidedBy::Model));
    assert_eq!(waits.await.unwrap().unwrap().label, 4);
    drain.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_hangs_does_not_hold_a_drain_beyond_its_limit() {
    let gate = Gate::default();
    let mut daemon = Setup::new()
        .gated(&gate)
        .with(|config| config.drain_timeout = Duration::from_millis(300))
        .start()
        .await;
    gate.close();
    let hangs = daemon.asking(request("say:PASS"));
    gate.until_reached().await;
    let started = Instant::now();
    daemon.drain().await.unwrap();
    let took = started.elapsed();
    assert!(
        took >= Duration::from_millis(300),
        "it did not wait: {took:?}"
    );
    assert!(took < NOT_HELD, "{took:?}");
    hangs.abort();
    gate.open();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_does_not_hold_a_drain() {
    // Once it is free, no other test listens there.
    let listen = ([127, 0, 0, 1], free_port()).into();
    let setup = Setup::new().with(|config| config.listen = listen);
    let mut daemon = setup.start().await;
    daemon.ask(request("say:PASS")).await.unwrap();
    let started = Instant::now();
    daemon.drain().await.unwrap();
    assert!(started.elapsed() < NOT_HELD);
    let again = Client::connect(&daemon.judge_addr).await;
    assert!(again.err().unwrap().is_unavailable());
}

/// Health is watched for as long as a connection lives, and a pre-send queue
/// keeps its stream open: waiting for either would use up every drain's limit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_streams_without_work_do_not_hold_a_drain() {
    let mut daemon = Setup::new().start().await;
    let mut health = HealthClient::new(daemon.connection.clone());
    let watched = HealthCheckRequest {
        service: "judge.v1.JudgeService".to_owned(),
    };
    let mut watch = health.watch(watched).await.unwrap().into_inner();
    watch.message().await.unwrap().unwrap();

    let (requests, inbox) = mpsc::channel(1);
    let stream = daemon
        .client()
        .judge_stream(ReceiverStream::new(inbox))
        .await;
    let mut stream = stream.unwrap().into_inner();
    let mut first = request("say:PASS");
    first.request_id = "1".to_owned();
    let first = JudgeStreamRequest {
        request: Some(first),
    };
    requests.send(first).await.unwrap();
    let event = stream.message().await.unwrap().unwrap().event;
    assert!(matches!(event, Some(Event::Verdict(_))));
    let event = stream.message().await.unwrap().unwrap().event;
    assert!(matches!(event, Some(Event::Rationale(_))));

    let started = Instant::now();
    daemon.drain().await.unwrap();
    assert!(started.elapsed() < NOT_HELD);
    // Both learn that it is over rather than being cut off.
    while watch.message().await.unwrap().is_some() {}
    assert_draining(&stream.message().await.unwrap_err());
    drop(requests);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_open_when_the_drain_begins_still_gets_its_answers() {
    let gate = Gate::default();
    let mut daemon = Setup::new().gated(&gate).start().await;
    let (requests, inbox) = mpsc::channel(1);
    let stream = daemon
        .client()
        .judge_stream(ReceiverStream::new(inbox))
        .await;
    let mut stream = stream.unwrap().into_inner();
    gate.close();
    let mut accepted = request("say:BLOCK");
    accepted.request_id = "accepted".to_owned();
    let accepted = JudgeStreamRequest {
        request: Some(accepted),
    };
    requests.send(accepted).await.unwrap();
    gate.until_reached().await;
    let drain = daemon.drain();
    until("it drains", || daemon.judge.is_draining()).await;
    gate.open();
    let mut next = async || Ok(stream.message().await?.unwrap().event.unwrap());
    assert!(matches!(next().await, Ok(Event::Verdict(_))));
    assert!(matches!(next().await, Ok(Event::Rationale(_))));
    assert_draining(&next().await.unwrap_err());
    drain.await.unwrap();
}

/// A caller that never reads its answer keeps its connection open for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_whose_reader_is_gone_silent_is_cut_at_the_limit() {
    let mut daemon = Setup::new()
        .with(|config| config.drain_timeout = Duration::from_millis(300))
        .start()
        .await;
    let (requests, inbox) = mpsc::channel(1);
    let stream = daemon
        .client()
        .judge_stream(ReceiverStream::new(inbox))
        .await;
    let stream = stream.unwrap().into_inner();
    for index in 0..200 {
        let mut next = request(&format!(
            "say:PASS\nbecause:It is {} so.",
            "very ".repeat(20)
        ));
        next.request_id = index.to_string();
        let next = JudgeStreamRequest {
            request: Some(next),
        };
        if requests.try_send(next).is_err() {
            tokio::task::yield_now().await;
        }
    }
    let started = Instant::now();
    daemon.drain().await.unwrap();
    assert!(started.elapsed() < NOT_HELD);
    drop((requests, stream));
}
