//! What a caller who means harm, or is merely slow, can take of the daemon: bounded, and
//! never what others need.

use std::time::{Duration, Instant};

use crate::support::certificates::Authority;
use crate::support::daemon::{Daemon, Gate, Setup, request, until};
use crate::support::http2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, HEADERS, Http2, NO_ERROR, PING,
    RST_STREAM, call, field, frame, goodbye, message,
};
use crate::support::scrape::{Page, measured};
use bytes::Bytes;
use judged::client::Client;
use judged::edge::TlsFiles;
use judged::rpc::proto::JudgeRequest;
use judged::rpc::proto::judge_service_client::JudgeServiceClient;
use prost::Message;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::transport::Endpoint;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

const JUDGE: &str = "/judge.v1.JudgeService/Judge";
const BRIEF: Duration = Duration::from_millis(300);
/// As brief as a limit may be that others must keep, on a machine that pauses.
const MOMENT: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_secs(20);

/// Others are served, in this very moment.
async fn others_are_served(daemon: &Daemon) {
    let asked = daemon.ask_within(request("say:BLOCK"), SOON);
    asked.await.unwrap();
}

/// The same, where a place is free only once an answer's last byte has left, or where a moment is
/// all that a caller has: on a machine that pauses, a try may fail.
async fn others_are_served_soon(daemon: &Daemon) {
    let end = Instant::now() + SOON;
    while let Err(refused) = daemon.ask_within(request("say:BLOCK"), SOON).await {
        assert!(Instant::now() < end, "{refused}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Calls that no service has seen, by the daemon's own count.
async fn refused(daemon: &Daemon, reason: &str) -> f64 {
    let series = format!("judged_edge_refused_total{{reason=\"{reason}\"}}");
    Page::of(daemon).await.value(&series)
}

/// Reads until the other side closes, which must be soon; what came.
async fn until_closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let reading = stream.read_to_end(&mut bytes);
    match tokio::time::timeout(SOON, reading).await {
        // Reset is closed too.
        Ok(_) => bytes,
        Err(_) => panic!("the connection is still open"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_resets_end_the_connection_and_nothing_else() {
    let daemon = Setup::new().start().await;
    let mut raw = Http2::connect(&daemon.judge_addr, &[]).await;
    let headers = call(JUDGE);
    let mut flood = Vec::new();
    for index in 0..10_000 {
        let stream = 2 * index + 1;
        flood.extend(frame(HEADERS, END_HEADERS, stream, &headers));
        flood.extend(frame(RST_STREAM, 0, stream, &8u32.to_be_bytes()));
    }
    // It may be cut before all of it is sent.
    let _ = raw.send(&flood).await;
    let frames = raw.rest(SOON).await;
    assert!(matches!(goodbye(&frames), None | Some(ENHANCE_YOUR_CALM)));
    others_are_served(&daemon).await;
    assert_eq!(daemon.judge.open_requests(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_pings_by_one_who_reads_nothing_waits_in_his_own_connection() {
    let daemon = Setup::new().start().await;
    let mut raw = Http2::connect(&daemon.judge_addr, &[]).await;
    let pings = frame(PING, 0, 0, &[7; 8]).repeat(10_000);
    let flood = async {
        for _ in 0..100 {
            raw.send(&pings).await?;
        }
        std::io::Result::Ok(())
    };
    let flooding = tokio::time::timeout(Duration::from_secs(3), flood);
    let (flooded, ()) = tokio::join!(flooding, others_are_served(&daemon));
    assert!(
        flooded.is_err() || flooded.is_ok_and(|sent| sent.is_err()),
        "a million pings were taken, and their answers kept"
    );
    others_are_served(&daemon).await;
}

/// So many header fields of 39 bytes each, as HTTP/2 counts them.
fn fields(count: usize) -> impl Iterator<Item = (String, &'static str)> {
    (0..count).map(|index| (format!("x-{index:04}"), "1"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn header_fields_beyond_the_limit_are_refused_and_the_connection_goes_on() {
    let daemon = Setup::new().start().await;
    let stream = TcpStream::connect(&daemon.judge_addr).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    // 15 KiB, then 23, then 15 again.
    for (count, status) in [(400, 200), (600, 431), (400, 200)] {
        let mut head = http::Request::post(format!("http://localhost{JUDGE}"))
            .header("content-type", "application/grpc");
        for (name, value) in fields(count) {
            head = head.header(name, value);
        }
        let (answer, mut sending) = client.send_request(head.body(()).unwrap(), false).unwrap();
        let message = message(&request("say:PASS").encode_to_vec());
        // The daemon may have refused the header fields already.
        let _ = sending.send_data(message.into(), true);
        let answer = tokio::time::timeout(SOON, answer).await.unwrap().unwrap();
        assert_eq!(answer.status(), status, "{count} fields");
    }
    assert_eq!(daemon.judge.tally().by_model, 2, "it was judged");
}

/// With four times the limit in one frame a client is told to go away, with all calls of its
/// connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn header_fields_far_beyond_the_limit_end_the_connection_and_no_other() {
    let daemon = Setup::new().start().await;
    // 76 KiB.
    let url = format!("http://{}", daemon.judge_addr);
    let own = Endpoint::from_shared(url).unwrap().connect().await.unwrap();
    let mut many = Request::new(request("say:PASS"));
    for (name, value) in fields(2_000) {
        let name: tonic::metadata::MetadataKey<_> = name.parse().unwrap();
        many.metadata_mut().insert(name, value.parse().unwrap());
    }
    JudgeServiceClient::new(own).judge(many).await.unwrap_err();
    others_are_served(&daemon).await;
    assert_eq!(daemon.judge.tally().by_model, 1, "it was judged");

    // 70 KiB of a field that takes a byte on the wire: `accept-encoding: gzip, deflate`.
    let mut block = call(JUDGE);
    block.extend([0x80 | 16; 1_200]);
    let mut raw = Http2::connect(&daemon.judge_addr, &[]).await;
    let head = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block);
    raw.send(&head).await.unwrap();
    let frames = raw.rest(SOON).await;
    assert_eq!(goodbye(&frames), Some(ENHANCE_YOUR_CALM));
    others_are_served(&daemon).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_without_an_end_end_the_connection() {
    let daemon = Setup::new().start().await;
    let mut raw = Http2::connect(&daemon.judge_addr, &[]).await;
    raw.send(&frame(HEADERS, 0, 1, &call(JUDGE))).await.unwrap();
    let mut block = Vec::new();
    for index in 0..100 {
        field(&mut block, &format!("x-{index}"), "1");
    }
    let more = frame(CONTINUATION, 0, 1, &block);
    for _ in 0..10_000 {
        if raw.send(&more).await.is_err() {
            break;
        }
    }
    raw.rest(SOON).await;
    others_are_served(&daemon).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_context_that_is_nested_ten_thousand_times_is_refused() {
    let daemon = Setup::new().start().await;
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    let asked = JudgeRequest {
        context_json: format!(r#"{{"a": {deep}}}"#),
        ..request("say:PASS")
    };
    let status = daemon.ask(asked).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let details = status.get_error_details();
    let violations = &details.bad_request().unwrap().field_violations;
    assert_eq!(violations[0].field, "context_json");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_over_the_limit_is_refused_whatever_its_compression() {
    let daemon = Setup::new()
        .with(|config| config.max_message_bytes = 4096)
        .start()
        .await;
    let long = request(&"A".repeat(5000));
    let status = daemon.ask(long).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange);
    // Nothing is unpacked: so nothing small becomes large.
    let mut packed = message(&[0; 64]);
    packed[0] = 1;
    let (code, _stream) = by_hand(&daemon, &[("grpc-encoding", "gzip")], packed).await;
    assert_eq!(code, Code::Unimplemented);
}

/// A call of these header fields that sends these bytes, and no end: the status of its
/// answer, and what must live as long as the call.
async fn by_hand(
    daemon: &Daemon,
    fields: &[(&'static str, &'static str)],
    bytes: Vec<u8>,
) -> (Code, h2::SendStream<Bytes>) {
    let stream = TcpStream::connect(&daemon.judge_addr).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut head = http::Request::post(format!("http://localhost{JUDGE}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in fields {
        head = head.header(*name, *value);
    }
    let mut client = client.ready().await.unwrap();
    let (answer, mut sending) = client.send_request(head.body(()).unwrap(), false).unwrap();
    // The daemon may have answered the header fields already.
    let _ = sending.send_data(bytes.into(), false);
    let answer = tokio::time::timeout(SOON, answer).await.unwrap().unwrap();
    let status = answer.headers().get("grpc-status").unwrap();
    (Code::from_bytes(status.as_bytes()), sending)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_over_the_limit_is_closed_and_a_place_is_free_once_another_ends() {
    let daemon = Setup::new()
        .with(|config| config.edge.limits.connections = 2)
        .start()
        .await;
    let ask = async || {
        let mut client = Client::connect(&daemon.judge_addr).await?;
        let question = judged::client::Question {
            context_json: "{}".to_owned(),
            draft: "say:PASS".to_owned(),
            ..Default::default()
        };
        client.judge(question).await.map(|_| client)
    };
    let first = ask().await.unwrap();
    let _second = ask().await.unwrap();
    assert!(ask().await.is_err());
    // Operators have a listener of their own.
    let mut operator = Client::connect(&daemon.control_addr).await.unwrap();
    operator.status().await.unwrap();
    drop(first);
    let end = Instant::now() + SOON;
    while ask().await.is_err() {
        assert!(Instant::now() < end, "no place became free");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_call_over_the_limit_is_told_when_to_try_again_and_health_is_still_told() {
    let gate = Gate::default();
    let daemon = measured(Setup::new())
        .gated(&gate)
        .with(|config| config.edge.limits.calls = 1)
        .start()
        .await;
    gate.close();
    let running = daemon.asking(request("say:PASS"));
    until("it is judged", || daemon.judge.open_requests() == 1).await;
    let status = daemon.ask(request("say:PASS")).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("`max_calls`"), "{status}");
    let details = status.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "TOO_MANY_CALLS");
    assert!(details.retry_info().unwrap().retry_delay.is_some());
    let mut health = HealthClient::new(daemon.connection.clone());
    let question = HealthCheckRequest {
        service: String::new(),
    };
    health.check(question).await.unwrap();
    assert_eq!(refused(&daemon, "TOO_MANY_CALLS").await, 1.0);
    gate.open();
    running.await.unwrap().unwrap();
    others_are_served_soon(&daemon).await;
}

fn asks(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_message_to_health_which_needs_no_token_is_refused() {
    let daemon = Setup::new().start().await;
    for connection in [&daemon.connection, &daemon.control] {
        let mut health = HealthClient::new(connection.clone());
        let long = health.check(asks(&"x".repeat(5_000))).await.unwrap_err();
        assert_eq!(long.code(), Code::OutOfRange, "{long}");
        let unknown = health.check(asks(&"x".repeat(4_000))).await.unwrap_err();
        assert_eq!(unknown.code(), Code::NotFound, "{unknown}");
        health.check(asks("")).await.unwrap();
    }
}

/// A watch lasts as long as its caller wants.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_has_so_many_health_checks_and_takes_none_from_others() {
    let daemon = measured(Setup::new()).start().await;
    let url = format!("http://{}", daemon.judge_addr);
    let own = Endpoint::from_shared(url).unwrap().connect().await.unwrap();
    let mut many = HealthClient::new(own);
    let mut watches = Vec::new();
    for _ in 0..32 {
        watches.push(many.watch(asks("")).await.unwrap());
    }
    let refused_one = many.check(asks("")).await.unwrap_err();
    assert_eq!(refused_one.code(), Code::ResourceExhausted);
    let told = refused_one.message();
    assert!(
        told.starts_with("as many health checks as one connection may have"),
        "{told}"
    );
    assert_eq!(refused(&daemon, "TOO_MANY_CALLS").await, 1.0);
    let mut other = HealthClient::new(daemon.connection.clone());
    other.check(asks("")).await.unwrap();
    drop(watches);
    let end = Instant::now() + SOON;
    while many.check(asks("")).await.is_err() {
        assert!(Instant::now() < end, "no place became free");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_never_comes_gives_its_place_back() {
    let daemon = measured(Setup::new())
        .with(|config| {
            config.edge.limits.calls = 1;
            config.edge.limits.call = MOMENT;
        })
        .start()
        .await;
    // A beginning of it, and no more.
    let beginning = message(&[0; 100])[..20].to_vec();
    let (code, _stream) = by_hand(&daemon, &[], beginning).await;
    assert_eq!(code, Code::DeadlineExceeded);
    assert_eq!(refused(&daemon, "DEADLINE_EXCEEDED").await, 1.0);
    others_are_served_soon(&daemon).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unary_call_of_two_messages_is_refused() {
    let daemon = Setup::new().start().await;
    let one = message(&request("say:PASS").encode_to_vec());
    let other = message(&request("say:BLOCK").encode_to_vec());
    let (code, _stream) = by_hand(&daemon, &[], [one, other].concat()).await;
    assert_eq!(code, Code::InvalidArgument);
    assert_eq!(daemon.judge.tally().by_model, 0, "one was judged");
    others_are_served(&daemon).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_call_of_grpc_is_refused_by_http() {
    let daemon = Setup::new().start().await;
    let stream = TcpStream::connect(&daemon.judge_addr).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    for (method, kind, status) in [
        ("GET", "application/grpc", 405),
        ("PUT", "application/grpc", 405),
        ("POST", "application/json", 415),
        ("POST", "application/grpc-web", 415),
        ("POST", "", 415),
        ("POST", "application/grpc", 200),
        ("POST", "application/grpc+proto", 200),
    ] {
        let head = http::Request::builder()
            .method(method)
            .uri(format!("http://localhost{JUDGE}"))
            .header("content-type", kind);
        let (answer, mut sending) = client.send_request(head.body(()).unwrap(), false).unwrap();
        let message = message(&request("say:PASS").encode_to_vec());
        let _ = sending.send_data(message.into(), true);
        let answer = tokio::time::timeout(SOON, answer).await.unwrap().unwrap();
        assert_eq!(answer.status(), status, "{method} {kind}");
    }
    assert_eq!(daemon.judge.tally().by_model, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_that_never_ends_is_ended() {
    let authority = Authority::new("authority");
    let folder = TempDir::new().unwrap();
    let (cert, key) = authority.sign().write(folder.path(), "daemon");
    let files = TlsFiles {
        cert,
        key,
        client_ca: None,
    };
    let daemon = Setup::new()
        .with(|config| {
            config.edge.guard.tls = Some(files);
            config.edge.limits.handshake = MOMENT;
            config.edge.limits.connections = 3;
        })
        .start()
        .await;
    // Nothing; a byte and nothing; a byte now and then.
    let mut silent = TcpStream::connect(&daemon.judge_addr).await.unwrap();
    let mut begun = TcpStream::connect(&daemon.judge_addr).await.unwrap();
    begun.write_all(&[22, 3, 1]).await.unwrap();
    let mut slow = TcpStream::connect(&daemon.judge_addr).await.unwrap();
    let dripping = async {
        // A record of 512 bytes that is announced, and comes one by one.
        slow.write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 252]).await?;
        loop {
            slow.write_all(&[3]).await?;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let dripped: Result<std::io::Result<()>, _> = tokio::time::timeout(SOON, dripping).await;
    assert!(dripped.unwrap().is_err());
    until_closed(&mut silent).await;
    until_closed(&mut begun).await;
    // All three places are free again.
    let addr = format!("https://{}", daemon.judge_addr);
    let access = authority.access();
    let end = Instant::now() + SOON;
    let mut clients = Vec::new();
    while clients.len() < 3 {
        let answered = async {
            let mut client = Client::connect_with(&addr, &access).await?;
            client.serves("").await.map(|_| client)
        };
        match answered.await {
            Ok(client) => clients.push(client),
            Err(error) => assert!(Instant::now() < end, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_does_not_begin_to_speak_http_2_is_closed() {
    let daemon = Setup::new()
        .with(|config| config.edge.limits.handshake = MOMENT)
        .start()
        .await;
    for beginning in [
        "",
        "PRI * HTTP/2.0\r\n",
        "GET / HTTP/1.1\r\nHost: judged\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(&daemon.judge_addr).await.unwrap();
        stream.write_all(beginning.as_bytes()).await.unwrap();
        assert_eq!(until_closed(&mut stream).await, b"");
    }
    others_are_served_soon(&daemon).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_gets_a_goodbye_and_one_with_a_call_does_not() {
    let gate = Gate::default();
    let daemon = Setup::new()
        .gated(&gate)
        .with(|config| config.edge.limits.idle = MOMENT)
        .start()
        .await;
    gate.close();
    let busy = daemon.asking(request("say:PASS"));
    let mut idle = Http2::connect(&daemon.judge_addr, &[]).await;
    let frames = idle.rest(SOON).await;
    assert_eq!(goodbye(&frames), Some(NO_ERROR));
    tokio::time::sleep(MOMENT * 2).await;
    gate.open();
    busy.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_answers_no_ping_is_gone() {
    let daemon = Setup::new()
        .with(|config| config.edge.limits.keepalive = BRIEF)
        .start()
        .await;
    let mut silent = Http2::connect(&daemon.judge_addr, &[]).await;
    let frames = silent.rest(SOON).await;
    assert!(frames.iter().any(|frame| frame.kind == PING));
}

/// A window of nothing: answers cannot leave.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_nobody_reads_hold_neither_the_engine_nor_others() {
    const INITIAL_WINDOW_SIZE: u16 = 4;
    let daemon = Setup::new().start().await;
    let mut raw = Http2::connect(&daemon.judge_addr, &[(INITIAL_WINDOW_SIZE, 0)]).await;
    for index in 0..50 {
        let stream = 2 * index + 1;
        let asked = request("say:PASS").encode_to_vec();
        raw.send(&frame(HEADERS, END_HEADERS, stream, &call(JUDGE)))
            .await
            .unwrap();
        raw.send(&frame(DATA, END_STREAM, stream, &message(&asked)))
            .await
            .unwrap();
    }
    until("all are judged", || daemon.judge.tally().by_model == 50).await;
    until("none is open", || daemon.judge.open_requests() == 0).await;
    daemon.until_running(0).await;
    others_are_served(&daemon).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_over_the_limit_wait_for_a_free_one() {
    let gate = Gate::default();
    let daemon = Setup::new()
        .gated(&gate)
        .with(|config| config.edge.limits.streams = 3)
        .start()
        .await;
    gate.close();
    let endpoint = Endpoint::from_shared(format!("http://{}", daemon.judge_addr)).unwrap();
    let connection = endpoint.connect().await.unwrap();
    // A first answer, so that the limit is known to the client.
    let mut health = HealthClient::new(connection.clone());
    let question = HealthCheckRequest {
        service: String::new(),
    };
    health.check(question).await.unwrap();
    let asking = [(); 6].map(|()| {
        let mut client = JudgeServiceClient::new(connection.clone());
        tokio::spawn(async move { client.judge(request("say:PASS")).await })
    });
    until("as many as may are judged", || {
        daemon.judge.open_requests() == 3
    })
    .await;
    tokio::time::sleep(BRIEF).await;
    assert_eq!(daemon.judge.open_requests(), 3);
    gate.open();
    for asked in asking {
        asked.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_say_nothing_to_the_metrics_are_closed_and_keep_nobody_out() {
    let daemon = measured(Setup::new()).start().await;
    let addr = daemon.metrics_addr.unwrap();
    let mut silent = Vec::new();
    for number in 0..300 {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        if number % 2 == 0 {
            let begun = stream.write_all(b"GET /metrics HTTP/1.1\r\n").await;
            begun.unwrap();
        }
        silent.push(stream);
    }
    // Sooner than each would be closed in any case, which is after ten seconds.
    let end = Instant::now() + Duration::from_secs(8);
    Page::of(&daemon).await;
    let held = || silent.iter().filter(|stream| is_open(stream)).count();
    while held() > 64 {
        assert!(Instant::now() < end, "{} are held", held());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    others_are_served(&daemon).await;
    for stream in &mut silent {
        until_closed(stream).await;
    }
}

/// Nothing has come, not even an end.
fn is_open(stream: &TcpStream) -> bool {
    let read = stream.try_read(&mut [0; 64]);
    read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}
