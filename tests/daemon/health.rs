//! Health is what the engine last did: readiness follows the model, liveness
//! does not, and what the services are is told by reflection.

use std::time::{Duration, Instant};

use crate::support::daemon::{Daemon, Gate, Setup, request, until};
use judged::engine::State;
use judged::verdict::Mode;
use tonic::Streaming;
use tonic::transport::Channel;
use tonic_health::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

const JUDGE: &str = "judge.v1.JudgeService";
const CONTROL: &str = "judge.v1.ControlService";

fn named(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.to_owned(),
    }
}

/// As a prober would ask: with a call, not with a look inside.
async fn health(daemon: &Daemon, service: &str) -> ServingStatus {
    let mut client = HealthClient::new(daemon.connection.clone());
    let response = client.check(named(service)).await.unwrap();
    match response.into_inner().status {
        1 => ServingStatus::Serving,
        2 => ServingStatus::NotServing,
        _ => ServingStatus::Unknown,
    }
}

async fn until_health(daemon: &Daemon, service: &str, status: ServingStatus) {
    let end = Instant::now() + Duration::from_secs(30);
    while health(daemon, service).await != status {
        assert!(
            Instant::now() < end,
            "waited in vain for {service} {status}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_serves_only_after_a_real_decode_and_is_alive_before() {
    let gate = Gate::default();
    gate.close();
    let daemon = Setup::new().gated(&gate).start_unready().await;
    gate.until_reached().await;
    assert_eq!(health(&daemon, JUDGE).await, ServingStatus::NotServing);
    assert_eq!(health(&daemon, "").await, ServingStatus::Serving);
    assert_eq!(health(&daemon, CONTROL).await, ServingStatus::Serving);
    gate.open();
    until_health(&daemon, JUDGE, ServingStatus::Serving).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_engine_is_alive_and_not_ready() {
    let mut setup = Setup::new();
    setup.source.scripted.refuses = Some("no".to_owned());
    let daemon = setup.start_unready().await;
    until("it failed", || matches!(daemon.state(), State::Failed(_))).await;
    assert_eq!(health(&daemon, JUDGE).await, ServingStatus::NotServing);
    assert_eq!(health(&daemon, "").await, ServingStatus::Serving);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_dies_stops_being_ready() {
    let daemon = Setup::new().start().await;
    until_health(&daemon, JUDGE, ServingStatus::Serving).await;
    daemon.ask(request("fault:panic")).await.unwrap();
    until_health(&daemon, JUDGE, ServingStatus::NotServing).await;
    assert_eq!(health(&daemon, "").await, ServingStatus::Serving);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_engine_is_not_ready_until_it_moves_again() {
    let gate = Gate::default();
    let daemon = Setup::new()
        .gated(&gate)
        .with(|config| config.engine.stuck_after = Duration::from_millis(700))
        .start()
        .await;
    until_health(&daemon, JUDGE, ServingStatus::Serving).await;
    gate.close();
    let _stalled = daemon.asking(request("Hi"));
    until_health(&daemon, JUDGE, ServingStatus::NotServing).await;
    assert_eq!(health(&daemon, "").await, ServingStatus::Serving);
    gate.open();
    until_health(&daemon, JUDGE, ServingStatus::Serving).await;
}

/// The heartbeat of an idle engine is no work, but a sign of life. It is waited for: how soon it
/// comes is also the machine's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_engine_is_not_taken_for_a_stalled_one() {
    let stuck_after = Duration::from_secs(3);
    let setup = Setup::new().with(|config| config.engine.stuck_after = stuck_after);
    let daemon = setup.start().await;
    let mut states = daemon.judge.engine().watch();
    states.borrow_and_update();
    let meter = daemon.judge.engine().meter();
    let enough = Instant::now() + stuck_after + Duration::from_secs(1);
    while Instant::now() < enough {
        let end = Instant::now() + Duration::from_secs(30);
        let mut silence = meter.silence();
        loop {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let before = std::mem::replace(&mut silence, meter.silence());
            if silence < before {
                break;
            }
            assert!(Instant::now() < end, "silent for {silence:?}");
        }
    }
    let changed = states.has_changed().unwrap();
    assert!(!changed, "the state changed while nothing happened");
}

/// What a watch tells next that is not this. It may tell the same twice.
async fn other_than(status: i32, watch: &mut Streaming<HealthCheckResponse>) -> i32 {
    loop {
        let told = watch.message().await.unwrap().unwrap().status;
        if told != status {
            return told;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_only_is_ready_without_a_model() {
    let mut setup = Setup::new().with(|config| config.policy.mode = Mode::RulesOnly);
    setup.source.scripted.refuses = Some("no".to_owned());
    let daemon = setup.start_unready().await;
    until_health(&daemon, JUDGE, ServingStatus::Serving).await;
    until("it failed", || matches!(daemon.state(), State::Failed(_))).await;
    assert_eq!(health(&daemon, JUDGE).await, ServingStatus::Serving);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_tells_of_readiness_and_of_the_drain() {
    let gate = Gate::default();
    gate.close();
    let mut daemon = Setup::new().gated(&gate).start_unready().await;
    let mut client = HealthClient::new(daemon.connection.clone());
    let mut watch = client.watch(named(JUDGE)).await.unwrap().into_inner();
    let mut alive = client.watch(named("")).await.unwrap().into_inner();
    assert_eq!(alive.message().await.unwrap().unwrap().status, 1);
    assert_eq!(watch.message().await.unwrap().unwrap().status, 2);
    gate.open();
    assert_eq!(other_than(2, &mut watch).await, 1);
    // Something is under way, so that the drain takes its time.
    gate.close();
    let asked = daemon.asking(request("Hi"));
    gate.until_reached().await;
    let drain = daemon.drain();
    assert_eq!(other_than(1, &mut watch).await, 2);
    assert_eq!(other_than(1, &mut alive).await, 2);
    assert_eq!(health(&daemon, JUDGE).await, ServingStatus::NotServing);
    gate.open();
    asked.await.unwrap().unwrap();
    drain.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_service_is_not_found() {
    let daemon = Setup::new().start().await;
    let mut client = HealthClient::new(daemon.connection.clone());
    let status = client.check(named("judge.v1.Nothing")).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::NotFound);
}

async fn reflected(connection: &Channel, ask: MessageRequest) -> MessageResponse {
    let mut client = ServerReflectionClient::new(connection.clone());
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(ask),
    };
    let asked = client
        .server_reflection_info(tokio_stream::once(request))
        .await;
    let mut answers = asked.unwrap().into_inner();
    answers
        .message()
        .await
        .unwrap()
        .unwrap()
        .message_response
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reflection_lists_what_each_listener_serves_and_describes_it() {
    let daemon = Setup::new().start().await;
    for (connection, service) in [(&daemon.connection, JUDGE), (&daemon.control, CONTROL)] {
        let list = reflected(connection, MessageRequest::ListServices(String::new())).await;
        let MessageResponse::ListServicesResponse(list) = list else {
            unreachable!("{list:?}");
        };
        let names: Vec<_> = list
            .service
            .iter()
            .map(|service| service.name.as_str())
            .collect();
        assert!(names.contains(&service), "{names:?}");
        assert!(names.contains(&"grpc.health.v1.Health"), "{names:?}");
        let symbol = MessageRequest::FileContainingSymbol(service.to_owned());
        let file = reflected(connection, symbol).await;
        assert!(
            matches!(file, MessageResponse::FileDescriptorResponse(_)),
            "{file:?}"
        );
    }
}
