//! Promise: poison goes to the dead letters with its reason, a draft that fails each time does too,
//! and what an absent daemon costs takes no draft there.

use std::time::{Duration, Instant};

use async_nats::jetstream::{AckKind, Message};
use tokio_stream::StreamExt;

use super::{both, ids, until_streams, until_told_in_the_log};
use crate::support::command::free_port;
use crate::support::daemon::{Gate, Setup};
use crate::support::nats::{NatsServer, WorkerProcess, draft, header};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poison_goes_where_people_see_it_with_its_reason_and_its_bytes() {
    let (daemon, nats, streams) = both().await;
    let worker = WorkerProcess::start(&nats, &daemon.judge_addr, &["--in-flight", "1"]);
    until_streams(&streams).await;
    let good = draft("good", "Hi");
    streams.publish(good).await;
    let changed = draft("good", "Hi again");
    let long = draft(&"x".repeat(200), "Hi");
    let poison: [(&[u8], &str, &str); 6] = [
        (b"\xff\xfe", "NO_DRAFT", "utf-8"),
        (b"not JSON", "NO_DRAFT", "expected"),
        (br#"{"draft": "Hi"}"#, "NO_DRAFT", "`context`"),
        (
            br#"{"context": [], "draft": "Hi"}"#,
            "NO_DRAFT",
            "`context`",
        ),
        (long.as_bytes(), "MALFORMED_REQUEST", "`request_id`"),
        (changed.as_bytes(), "REQUEST_ID_REUSED", "good"),
    ];
    for (bytes, _, _) in &poison {
        streams.publish(*bytes).await;
    }
    let verdicts = streams.until_verdicts(1).await;
    assert_eq!(ids(&verdicts), ["good"]);
    let dead = streams.all("judged-dead").await;
    for (message, (bytes, reason, error)) in dead.iter().zip(poison) {
        assert_eq!(&message.payload[..], bytes);
        assert_eq!(header(message, "Judged-Reason"), reason);
        let told = header(message, "Judged-Error");
        assert!(told.contains(error), "{told}");
        assert_eq!(header(message, "Judged-Stream"), "judged-drafts");
    }
    assert_eq!(dead.len(), 6);
    worker.terminate();
    let counts = worker.ended();
    assert_eq!(
        (&counts["dead_letters"], &counts["given_back"]),
        (&6.into(), &0.into())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draft_that_fails_each_time_is_dead_at_last() {
    let gate = Gate::default();
    let daemon = Setup::new().gated(&gate).start().await;
    let nats = NatsServer::start();
    let streams = nats.streams().await;
    let hasty = ["--timeout", "0.3", "--max-deliver", "2"];
    let worker = WorkerProcess::start(&nats, &daemon.judge_addr, &hasty);
    until_streams(&streams).await;
    gate.close();
    let late = draft("late", "Hi");
    streams.publish(late.clone()).await;
    streams.until_count("judged-dead", 1).await;
    gate.open();
    let dead = streams.all("judged-dead").await;
    assert_eq!(header(&dead[0], "Judged-Reason"), "DELIVERED_TOO_OFTEN");
    assert_eq!(header(&dead[0], "Judged-Delivered"), "3");
    assert_eq!(&dead[0].payload[..], late.as_bytes());
    streams.until_count("judged-drafts", 0).await;
    worker.terminate();
    assert_eq!(worker.ended()["failed"], 3);
}

/// Else it would keep its worker from all others, since a deadline out of reach is no failure.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draft_too_long_for_the_deadline_is_dead_at_last_and_its_worker_goes_on() {
    let mut setup = Setup::new().with(|config| config.policy.hard_rules.clear());
    // What is short takes a tenth of a second, what is long more than three.
    setup.source.scripted.per_token = Duration::from_micros(600);
    let (daemon, nats) = (setup.start().await, NatsServer::start());
    let streams = nats.streams().await;
    let hasty = ["--timeout", "2", "--patience", "0.3", "--max-deliver", "1"];
    let worker = WorkerProcess::start(&nats, &daemon.judge_addr, &hasty);
    until_streams(&streams).await;
    let long = draft("long", &"a".repeat(6_000));
    streams.publish(long.clone()).await;
    until_told_in_the_log(&worker, "nothing is pulled until it answers").await;
    streams.until_count("judged-dead", 1).await;
    streams.publish(draft("short", "say:BLOCK")).await;
    assert_eq!(ids(&streams.until_verdicts(1).await), ["short"]);
    let dead = streams.all("judged-dead").await;
    assert_eq!(header(&dead[0], "Judged-Reason"), "DELIVERED_TOO_OFTEN");
    let told = header(&dead[0], "Judged-Error");
    assert!(told.contains("the deadline cannot be met"), "{told}");
    assert_eq!(&dead[0].payload[..], long.as_bytes());
    // What the worker counts may hold a try of the short one, too, where the machine pauses.
    assert_eq!(header(&dead[0], "Judged-Delivered"), "2");
    worker.terminate();
    worker.ended();
}

/// Else a wrong `--addr` would bury the whole queue.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_where_another_service_answers_costs_no_draft_its_life() {
    let (daemon, nats, streams) = both().await;
    let hasty = ["--patience", "0.3", "--max-deliver", "1"];
    let worker = WorkerProcess::start(&nats, &daemon.control_addr, &hasty);
    until_streams(&streams).await;
    streams.publish(draft("a", "say:BLOCK")).await;
    until_told_in_the_log(&worker, "nothing is pulled until it answers").await;
    until_told_in_the_log(&worker, "the address of another service").await;
    worker.terminate();
    let counts = worker.ended();
    assert_eq!(
        (&counts["failed"], &counts["dead_letters"]),
        (&0.into(), &0.into())
    );
    let other = WorkerProcess::start(&nats, &daemon.judge_addr, &[]);
    assert_eq!(ids(&streams.until_verdicts(1).await), ["a"]);
    drop(other);
}

/// Each end of a worker gives its drafts back, and the server counts that as a delivery.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_end_again_and_again_while_the_daemon_is_away_cost_no_draft_its_life() {
    let nats = NatsServer::start();
    let streams = nats.streams().await;
    let addr = format!("127.0.0.1:{}", free_port());
    let hasty = [
        "--patience",
        "0.3",
        "--max-deliver",
        "2",
        "--in-flight",
        "4",
    ];
    let mut delivered = 0;
    for round in 0..5 {
        let worker = WorkerProcess::start(&nats, &addr, &hasty);
        until_told_in_the_log(&worker, "working").await;
        if round == 0 {
            for number in 0..4 {
                streams.publish(draft(&format!("d{number}"), "Hi")).await;
            }
        }
        delivered += 4;
        let end = Instant::now() + Duration::from_secs(30);
        let mut consumer = streams.consumer().await;
        while consumer.info().await.unwrap().delivered.consumer_sequence < delivered {
            assert!(Instant::now() < end, "the drafts do not come");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        worker.terminate();
        assert_eq!(worker.ended()["dead_letters"], 0);
        delivered = consumer.info().await.unwrap().delivered.consumer_sequence;
    }
    let listen = addr.parse().unwrap();
    let daemon = Setup::new().with(|config| config.listen = listen);
    let daemon = daemon.start().await;
    let worker = WorkerProcess::start(&nats, &addr, &hasty);
    let verdicts = streams.until_verdicts(4).await;
    assert_eq!(ids(&verdicts), ["d0", "d1", "d2", "d3"]);
    assert_eq!(streams.count("judged-dead").await, 0);
    drop((worker, daemon));
}

/// As one would that its workers die of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draft_that_comes_far_too_often_is_dead_unasked() {
    let (daemon, nats, streams) = both().await;
    let strict = ["--max-deliver", "1"];
    let worker = WorkerProcess::start(&nats, &daemon.judge_addr, &strict);
    until_told_in_the_log(&worker, "working").await;
    worker.terminate();
    worker.ended();
    streams.publish(draft("often", "Hi")).await;
    let consumer = streams.consumer().await;
    for _ in 0..10 {
        let mut batch = consumer.batch().max_messages(1).messages().await.unwrap();
        let message = batch.next().await.unwrap().unwrap();
        message.ack_with(AckKind::Nak(None)).await.unwrap();
    }
    let worker = WorkerProcess::start(&nats, &daemon.judge_addr, &strict);
    streams.until_count("judged-dead", 1).await;
    let dead = streams.all("judged-dead").await;
    assert_eq!(header(&dead[0], "Judged-Reason"), "DELIVERED_TOO_OFTEN");
    assert_eq!(header(&dead[0], "Judged-Delivered"), "11");
    worker.terminate();
    assert_eq!(worker.ended()["judged"], 0);
}

/// What the server in the test below takes of a message.
const MAX_PAYLOAD: usize = 64 << 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poison_that_leaves_no_room_for_headers_leaves_the_queue_all_the_same() {
    let nats = NatsServer::start_with(&format!("max_payload: {MAX_PAYLOAD}"));
    let streams = nats.streams().await;
    let nobody = format!("127.0.0.1:{}", free_port());
    let worker = WorkerProcess::start(&nats, &nobody, &[]);
    until_streams(&streams).await;
    let of = |bytes: usize| {
        let field = "f".repeat(500);
        let draft = format!(r#"{{"context": {{}}, "draft": "Hi", "{field}": 1}}"#);
        let blanks = " ".repeat(bytes - draft.len());
        draft + &blanks
    };
    // There is room for all headers, for all but the error, for none.
    let sizes = [MAX_PAYLOAD - 1024, MAX_PAYLOAD - 400, MAX_PAYLOAD];
    for bytes in sizes {
        streams.publish_bare(of(bytes)).await;
    }
    streams.until_count("judged-dead", 3).await;
    streams.until_count("judged-drafts", 0).await;
    let dead = streams.all("judged-dead").await;
    let kept = [&of(sizes[0])[..], &of(sizes[1]), ""];
    for (message, kept) in dead.iter().zip(kept) {
        assert_eq!(header(message, "Judged-Reason"), "NO_DRAFT");
        assert_eq!(message.payload.len(), kept.len());
        assert_eq!(&message.payload[..], kept.as_bytes());
    }
    let has = |message: &Message, name| message.headers.as_ref().unwrap().get(name).is_some();
    let told = |name| [0, 1, 2].map(|number: usize| has(&dead[number], name));
    assert_eq!(told("Judged-Error"), [true, false, true]);
    assert_eq!(told("Judged-Left-Out"), [false, false, true]);
    assert_eq!(header(&dead[2], "Judged-Left-Out"), "65536 bytes");
    worker.terminate();
    assert_eq!(worker.ended()["dead_letters"], 3);
}
