//! Promise: a scrape of a worker tells what became of its messages, and who is away.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{both, until_streams};
use crate::support::command::free_port;
use crate::support::daemon::{Gate, Setup};
use crate::support::nats::{NatsServer, WorkerProcess, draft};
use crate::support::scrape::Page;

const METRICS: [&str; 2] = ["--metrics-listen", "127.0.0.1:0"];

/// The page once a series has the value.
async fn until_told(addr: SocketAddr, series: &str, value: f64) -> Page {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let page = Page::at(addr).await;
        if page.value(series) == value {
            return page;
        }
        assert!(
            Instant::now() < end,
            "{series} is not {value}: {}",
            page.text
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scrape_tells_what_became_of_each_message() {
    let gate = Gate::default();
    let setup = Setup::new().with(|config| config.policy.hard_rules.clear());
    let daemon = setup.gated(&gate).start().await;
    let nats = NatsServer::start();
    let streams = nats.streams().await;
    let flags = [&["--in-flight", "3"][..], &METRICS].concat();
    let worker = WorkerProcess::start(&nats, &daemon.judge_addr, &flags);
    let addr = worker.metrics_addr().await;
    let fresh = Page::at(addr).await;
    assert_eq!(fresh.value("judged_worker_in_flight_capacity"), 3.0);
    assert_eq!(fresh.value("judged_worker_connected"), 1.0);
    assert_eq!(fresh.sum("judged_worker_dead_lettered_total"), 0.0);

    for id in ["a", "b"] {
        streams.publish(draft(id, "say:BLOCK")).await;
    }
    streams.until_verdicts(2).await;
    streams.publish(draft("a", "say:BLOCK")).await;
    streams.publish("no draft").await;
    streams.publish("nor this").await;
    streams.publish(draft(&"x".repeat(200), "Hi")).await;
    streams.until_count("judged-dead", 3).await;
    streams.until_count("judged-drafts", 0).await;
    let page = until_told(addr, "judged_worker_in_flight", 0.0).await;
    for (series, count) in [
        ("judged_worker_delivered_total", 6.0),
        ("judged_worker_redelivered_total", 0.0),
        ("judged_worker_judged_total", 3.0),
        ("judged_worker_published_total", 2.0),
        ("judged_worker_publish_seconds_count", 2.0),
        ("judged_worker_known_total", 1.0),
        ("judged_worker_failed_total", 0.0),
        ("judged_worker_given_back_total", 0.0),
        ("judged_worker_dead_lettered_total{cause=\"no_draft\"}", 2.0),
        ("judged_worker_dead_lettered_total{cause=\"refused\"}", 1.0),
    ] {
        assert_eq!(page.value(series), count, "{series}");
    }
    let seconds = page.value("judged_worker_publish_seconds_sum");
    assert!((0.0001..60.0).contains(&seconds), "{seconds}");
    worker.terminate();
    let counts = worker.ended();
    assert_eq!(
        (&counts["delivered"], &counts["redelivered"]),
        (&6.into(), &0.into())
    );
    assert_eq!(counts["dead_letters"], 3);

    // One that waits too short: what others are asked for must not depend on the machine.
    let hasty = ["--timeout", "1", "--max-deliver", "2"];
    let flags = [&hasty[..], &METRICS].concat();
    gate.close();
    let worker = WorkerProcess::start(&nats, &daemon.judge_addr, &flags);
    let addr = worker.metrics_addr().await;
    streams.publish(draft("late", "Hi")).await;
    until_told(addr, "judged_worker_in_flight", 1.0).await;
    streams.until_count("judged-dead", 4).await;
    gate.open();
    streams.until_count("judged-drafts", 0).await;
    let page = until_told(addr, "judged_worker_in_flight", 0.0).await;
    for (series, count) in [
        ("judged_worker_delivered_total", 3.0),
        ("judged_worker_redelivered_total", 2.0),
        ("judged_worker_failed_total", 3.0),
        ("judged_worker_given_back_total", 2.0),
        (
            "judged_worker_dead_lettered_total{cause=\"delivered_too_often\"}",
            1.0,
        ),
    ] {
        assert_eq!(page.value(series), count, "{series}");
    }
    worker.terminate();
    assert_eq!(worker.ended()["dead_letters"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scrape_tells_whether_the_daemon_and_the_queue_server_are_there() {
    let mut nats = NatsServer::start();
    let streams = nats.streams().await;
    let nobody = format!("127.0.0.1:{}", free_port());
    let flags = [&["--patience", "0.3"][..], &METRICS].concat();
    let worker = WorkerProcess::start(&nats, &nobody, &flags);
    let addr = worker.metrics_addr().await;
    assert_eq!(Page::at(addr).await.value("judged_worker_daemon_away"), 0.0);
    streams.publish(draft("a", "Hi")).await;
    until_told(addr, "judged_worker_daemon_away", 1.0).await;
    nats.kill();
    until_told(addr, "judged_worker_connected", 0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documentation_lists_every_metric_of_a_worker() {
    let (daemon, nats, _) = both().await;
    let worker = WorkerProcess::start(&nats, &daemon.judge_addr, &METRICS);
    let page = Page::at(worker.metrics_addr().await).await;
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/scaling.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let rows = guide.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `judged_")?.split('|').map(str::trim);
        let name = format!("judged_{}", cells.next()?.trim_end_matches('`'));
        Some((name, cells.next().unwrap().to_owned()))
    });
    let listed: BTreeMap<_, _> = rows.collect();
    let mut told = page.types;
    told.retain(|name, _| !name.starts_with("process_"));
    assert_eq!(listed, told);
    assert!(page.text.contains("\nprocess_open_fds "));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_serves_metrics_only_where_it_is_asked_for() {
    let (daemon, nats, streams) = both().await;
    let worker = WorkerProcess::start(&nats, &daemon.judge_addr, &[]);
    until_streams(&streams).await;
    streams.publish(draft("a", "Hi")).await;
    streams.until_verdicts(1).await;
    assert!(!worker.log().contains("metrics"), "{}", worker.log());
}
