//! Promise: `judged worker` loses no draft of its queue, publishes one verdict for each id whatever
//! is killed meanwhile, and puts what cannot be judged where people see it.
//! `JUDGED_QUEUE_MESSAGES=5000` makes the last test a drill.

mod dead_letters;
mod metrics;

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::certificates::Authority;
use crate::support::command::{Shell, free_port};
use crate::support::daemon::{Daemon, Gate, Setup, until};
use crate::support::nats::{NatsServer, Streams, WorkerProcess, draft, header};
use async_nats::jetstream::consumer::AckPolicy;
use async_nats::jetstream::consumer::pull::Config as ConsumerConfig;
use async_nats::jetstream::stream::Config as StreamConfig;
use judged::client::Question;
use judged::verdict::RationaleMode;
use serde_json::Value;

/// A daemon whose model decides everything, and a server.
async fn both() -> (Daemon, NatsServer, Streams) {
    let setup = Setup::new().with(|config| config.policy.hard_rules.clear());
    let nats = NatsServer::start();
    let streams = nats.streams().await;
    (setup.start().await, nats, streams)
}

fn ids(verdicts: &[Value]) -> Vec<&str> {
    let ids = verdicts
        .iter()
        .map(|verdict| verdict["request_id"].as_str().unwrap());
    let mut ids: Vec<_> = ids.collect();
    ids.sort_unstable();
    ids
}

async fn until_streams(streams: &Streams) {
    let end = Instant::now() + Duration::from_secs(30);
    while streams.context.get_stream("judged-dead").await.is_err() {
        assert!(Instant::now() < end, "--create makes no streams");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn until_told_in_the_log(worker: &WorkerProcess, word: &str) {
    let end = Instant::now() + Duration::from_secs(30);
    while !worker.log().contains(word) {
        assert!(Instant::now() < end, "no `{word}`: {}", worker.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_draft_gets_one_verdict_under_its_id_and_leaves_the_queue() {
    let (daemon, nats, streams) = both().await;
    let worker = WorkerProcess::start(&nats, &daemon.judge_addr, &[]);
    until_streams(&streams).await;
    streams
        .publish(draft("own", "say:BLOCK\nbecause:It is foreign."))
        .await;
    let nameless = r#"{"context": {"company": "Birch"}, "draft": "Hi"}"#;
    streams
        .publish_named(nameless, Some("of-the-message"))
        .await;
    streams
        .publish(r#"{"context": {"company": "Fir"}, "draft": "Hi"}"#)
        .await;
    let case = r#"{"id": "a-case", "context": {"company": "Oak"}, "draft": "say:PENALISE", "expected": "PASS", "channel": "sms"}"#;
    streams.publish(case).await;

    let verdicts = streams.until_verdicts(4).await;
    let ids = ids(&verdicts);
    assert_eq!(ids[0], "a-case");
    assert!(ids[1].starts_with("judged-drafts-3-"), "{ids:?}");
    assert_eq!(ids[2..], ["of-the-message", "own"]);
    let own = verdicts
        .iter()
        .find(|verdict| verdict["request_id"] == "own");
    let own = own.unwrap();
    assert_eq!(own["label"], "BLOCK");
    assert_eq!(own["disposition"], "DO_NOT_SEND");
    assert_eq!(own["rationale"], "It is foreign.");
    for message in streams.all("judged-verdicts").await {
        let verdict: Value = serde_json::from_slice(&message.payload).unwrap();
        assert_eq!(header(&message, "Nats-Msg-Id"), verdict["request_id"]);
    }
    worker.terminate();
    let counts = worker.ended();
    assert_eq!(
        (&counts["judged"], &counts["published"]),
        (&4.into(), &4.into())
    );
    assert_eq!(daemon.judge.tally().by_model, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draft_of_a_killed_worker_is_judged_by_another() {
    let gate = Gate::default();
    let setup = Setup::new().gated(&gate);
    let daemon = setup.start().await;
    let nats = NatsServer::start();
    let streams = nats.streams().await;
    let mut worker = WorkerProcess::start(&nats, &daemon.judge_addr, &["--ack-wait", "1"]);
    until_streams(&streams).await;
    gate.close();
    streams.publish(draft("a", "say:BLOCK")).await;
    gate.until_reached().await;
    worker.kill();
    gate.open();
    let other = WorkerProcess::start(&nats, &daemon.judge_addr, &[]);
    assert_eq!(ids(&streams.until_verdicts(1).await), ["a"]);
    drop(other);
}

/// As after a restart of the workers with another `--no-rationale`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draft_that_was_decided_with_a_sentence_keeps_that_decision_without_one() {
    let (daemon, nats, streams) = both().await;
    let line = draft("a", "say:BLOCK\nbecause:It is foreign.");
    let message: Value = serde_json::from_str(&line).unwrap();
    let question = Question {
        request_id: "a".to_owned(),
        context_json: message["context"].to_string(),
        draft: message["draft"].as_str().unwrap().to_owned(),
        rationale: RationaleMode::Sentence,
        ..Question::default()
    };
    let mut client = daemon.own_client().await;
    let decided = client.judge(question).await.unwrap();
    let worker = WorkerProcess::start(&nats, &daemon.judge_addr, &["--no-rationale"]);
    until_streams(&streams).await;
    streams.publish(line).await;
    let verdicts = streams.until_verdicts(1).await;
    assert_eq!(verdicts[0]["decision_id"], decided.decision_id);
    assert_eq!(verdicts[0]["rationale"], "It is foreign.");
    assert_eq!(daemon.judge.tally().by_model, 1);
    worker.terminate();
    assert_eq!(worker.ended()["dead_letters"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draft_at_work_for_long_is_given_to_no_other_worker() {
    let gate = Gate::default();
    let daemon = Setup::new().gated(&gate).start().await;
    let nats = NatsServer::start();
    let streams = nats.streams().await;
    // It is told of every two seconds: a pause of the machine takes it from nobody.
    let start = || WorkerProcess::start(&nats, &daemon.judge_addr, &["--ack-wait", "6"]);
    let workers = [start(), start()];
    until_streams(&streams).await;
    gate.close();
    streams.publish(draft("a", "say:BLOCK")).await;
    gate.until_reached().await;
    tokio::time::sleep(Duration::from_secs(9)).await;
    gate.open();
    streams.until_verdicts(1).await;
    let mut consumer = streams.consumer().await;
    let info = consumer.info().await.unwrap();
    assert_eq!(info.delivered.consumer_sequence, 1, "{info:?}");
    drop(workers);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_that_comes_again_gets_its_decision_and_no_second_verdict() {
    let (daemon, nats, streams) = both().await;
    let worker = WorkerProcess::start(&nats, &daemon.judge_addr, &["--in-flight", "1"]);
    until_streams(&streams).await;
    for _ in 0..3 {
        streams.publish(draft("a", "say:BLOCK")).await;
    }
    assert_eq!(ids(&streams.until_verdicts(1).await), ["a"]);
    worker.terminate();
    let counts = worker.ended();
    assert_eq!(
        (&counts["published"], &counts["known_already"]),
        (&1.into(), &2.into())
    );
    assert_eq!(daemon.judge.tally().by_model, 1);
}

/// Else an outage of an hour would end in dead letters.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_is_away_costs_a_draft_one_delivery_and_none_its_life() {
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
    // All are there when the first is pulled.
    let creates = WorkerProcess::start(&nats, &addr, &hasty);
    until_told_in_the_log(&creates, "working").await;
    creates.terminate();
    creates.ended();
    for number in 0..12 {
        streams.publish(draft(&format!("d{number:02}"), "Hi")).await;
    }
    let worker = WorkerProcess::start(&nats, &addr, &hasty);
    until_told_in_the_log(&worker, "nothing is pulled until it answers").await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mut consumer = streams.consumer().await;
    let delivered = consumer.info().await.unwrap().delivered.consumer_sequence;
    assert_eq!(delivered, 4, "more was pulled for a daemon that is away");

    let listen = addr.parse().unwrap();
    let daemon = Setup::new().with(|config| config.listen = listen);
    let daemon = daemon.start().await;
    assert_eq!(streams.until_verdicts(12).await.len(), 12);
    assert_eq!(streams.count("judged-dead").await, 0);
    worker.terminate();
    let counts = worker.ended();
    assert_eq!(
        (&counts["given_back"], &counts["failed"]),
        (&3.into(), &0.into())
    );
    drop(daemon);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_daemon_is_waited_for() {
    let gate = Gate::default();
    let setup = Setup::new().gated(&gate).with(|config| {
        config.policy.hard_rules.clear();
        config.engine.slots = 1;
        config.engine.queue = 1;
    });
    let (daemon, nats) = (setup.start().await, NatsServer::start());
    let streams = nats.streams().await;
    let worker = WorkerProcess::start(&nats, &daemon.judge_addr, &["--in-flight", "8"]);
    until_streams(&streams).await;
    gate.close();
    for number in 0..24 {
        streams.publish(draft(&format!("d{number:02}"), "Hi")).await;
    }
    until("it is full", || daemon.judge.tally().refused > 0).await;
    gate.open();
    assert_eq!(streams.until_verdicts(24).await.len(), 24);
    worker.terminate();
    let counts = worker.ended();
    assert_eq!(
        (&counts["failed"], &counts["dead_letters"]),
        (&0.into(), &0.into())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_finishes_what_is_in_flight_and_leaves_the_rest_to_others() {
    let gate = Gate::default();
    let daemon = Setup::new().gated(&gate).start().await;
    let nats = NatsServer::start();
    let streams = nats.streams().await;
    let worker = WorkerProcess::start(&nats, &daemon.judge_addr, &["--in-flight", "2"]);
    until_streams(&streams).await;
    gate.close();
    for number in 0..5 {
        streams.publish(draft(&format!("d{number}"), "Hi")).await;
    }
    gate.until_reached().await;
    let mut consumer = streams.consumer().await;
    while consumer.info().await.unwrap().num_ack_pending < 2 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    worker.terminate();
    until_told_in_the_log(&worker, "draining").await;
    gate.open();
    assert_eq!(worker.ended()["published"], 2);
    assert_eq!(streams.count("judged-verdicts").await, 2);
    assert_eq!(streams.count("judged-drafts").await, 3);
    let other = WorkerProcess::start(&nats, &daemon.judge_addr, &[]);
    let verdicts = streams.until_verdicts(5).await;
    assert_eq!(ids(&verdicts), ["d0", "d1", "d2", "d3", "d4"]);
    drop(other);
}

/// A terminal sends SIGINT to what a service manager has sent SIGTERM.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_of_the_other_kind_ends_a_worker_at_once() {
    let gate = Gate::default();
    let daemon = Setup::new().gated(&gate).start().await;
    let nats = NatsServer::start();
    let streams = nats.streams().await;
    let patient = ["--drain-timeout", "600"];
    let worker = WorkerProcess::start(&nats, &daemon.judge_addr, &patient);
    until_streams(&streams).await;
    gate.close();
    streams.publish(draft("a", "Hi")).await;
    gate.until_reached().await;
    worker.signal("TERM");
    until_told_in_the_log(&worker, "draining").await;
    worker.signal("INT");
    let ran = tokio::task::spawn_blocking(|| worker.end()).await.unwrap();
    gate.open();
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("a second signal"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_server_that_restarts_is_found_again() {
    let (daemon, mut nats, streams) = both().await;
    let worker = WorkerProcess::start(&nats, &daemon.judge_addr, &["--ack-wait", "1"]);
    until_streams(&streams).await;
    streams.publish(draft("before", "Hi")).await;
    streams.until_verdicts(1).await;
    nats.restart();
    let streams = nats.streams().await;
    streams.publish(draft("after", "Hi")).await;
    assert_eq!(ids(&streams.until_verdicts(2).await), ["after", "before"]);
    worker.terminate();
    worker.ended();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_server_that_is_away_holds_up_no_end_and_loses_no_draft() {
    let gate = Gate::default();
    let daemon = Setup::new().gated(&gate).start().await;
    let mut nats = NatsServer::start();
    let streams = nats.streams().await;
    let worker = WorkerProcess::start(&nats, &daemon.judge_addr, &["--ack-wait", "1"]);
    until_streams(&streams).await;
    gate.close();
    streams.publish(draft("a", "Hi")).await;
    gate.until_reached().await;
    nats.kill();
    worker.terminate();
    gate.open();
    let asked = Instant::now();
    let ran = tokio::task::spawn_blocking(|| worker.end()).await.unwrap();
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(asked.elapsed() < Duration::from_secs(25), "{ran:?}");
    let counts = ran.json().remove(0);
    assert_eq!(
        (&counts["judged"], &counts["published"]),
        (&1.into(), &0.into())
    );
    let told = "the last acknowledgements may be lost";
    assert!(ran.stderr.contains(told), "{ran:?}");

    nats.restart();
    let streams = nats.streams().await;
    let other = WorkerProcess::start(&nats, &daemon.judge_addr, &[]);
    assert_eq!(ids(&streams.until_verdicts(1).await), ["a"]);
    drop(other);
}

/// Tokens, passwords, nkeys, credentials, and certificates on both sides.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queue_server_is_shown_what_it_asks_for() {
    let shell = Shell::new();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/nats");
    let read = |name: &str| std::fs::read_to_string(data.join(name)).unwrap();
    let path = |name: &str| data.join(name).to_str().unwrap().to_owned();
    let secret = shell.file("secret", "s3cret\n");
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let (cert, key) = theirs.sign().write(shell.home.path(), "server");
    let (own_cert, own_key) = ours.sign().write(shell.home.path(), "own");
    let (ca, clients) = (
        shell.file("theirs.pem", &theirs.pem()),
        shell.file("ours.pem", &ours.pem()),
    );
    let tls = format!(
        "tls {{ cert_file: \"{}\", key_file: \"{}\", ca_file: \"{clients}\", verify: true }}",
        cert.display(),
        key.display(),
    );
    let (own_cert, own_key) = (own_cert.to_str().unwrap(), own_key.to_str().unwrap());
    let (creds, seed) = (path("user.creds"), path("user.nk"));
    let asked: [(String, Vec<&str>); 5] = [
        (
            "authorization { token: s3cret }".to_owned(),
            vec!["--nats-token-file", &secret],
        ),
        (
            "authorization { user: mail, password: s3cret }".to_owned(),
            vec!["--nats-user", "mail", "--nats-password-file", &secret],
        ),
        (read("nkey.conf"), vec!["--nats-nkey", &seed]),
        (read("operator.conf"), vec!["--nats-creds", &creds]),
        (
            tls,
            vec![
                "--nats-tls-ca",
                &ca,
                "--nats-tls-cert",
                own_cert,
                "--nats-tls-key",
                own_key,
            ],
        ),
    ];
    for (config, shown) in asked {
        let nats = NatsServer::start_with(&config);
        let url = nats.url();
        let known = shell.run(&[&["worker", "--nats", &url][..], &shown].concat());
        // It is let in, and finds no stream.
        assert_eq!(known.code, 1, "{config}: {known:?}");
        assert!(known.stderr.contains("stream `judged-drafts`"), "{known:?}");
        let unknown = shell.run(&["worker", "--nats", &url]);
        assert_eq!(unknown.code, 3, "{config}: {unknown:?}");
        assert!(
            unknown.stderr.contains("no NATS server lets us in"),
            "{unknown:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_could_lose_drafts_is_refused_with_what_to_do() {
    let nats = NatsServer::start();
    let (streams, shell, url) = (nats.streams().await, Shell::new(), nats.url());
    let refused = |wanted: &str| {
        let ran = shell.run(&["worker", "--nats", &url]);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.stderr.contains(wanted), "{wanted}: {ran:?}");
    };
    refused("stream `judged-drafts` cannot be used: make it, or let --create make it");
    let config = |name: &str, subject: &str| StreamConfig {
        name: name.to_owned(),
        subjects: vec![subject.to_owned()],
        ..StreamConfig::default()
    };
    let create = |name, subject| streams.context.create_stream(config(name, subject));
    let stream = create("judged-drafts", "judged.drafts").await.unwrap();
    refused("consumer `judged-worker` of stream `judged-drafts` cannot be used");
    let consumer = |ack_policy, max_deliver| ConsumerConfig {
        durable_name: Some("judged-worker".to_owned()),
        ack_policy,
        max_deliver,
        ..ConsumerConfig::default()
    };
    for (policy, max_deliver, wanted) in [
        (AckPolicy::None, -1, "explicit acknowledgements"),
        (AckPolicy::Explicit, 5, "delivers a draft 5 times at most"),
        (
            AckPolicy::Explicit,
            20,
            "set its max_deliver to -1, or above 100",
        ),
        (
            AckPolicy::Explicit,
            101,
            "no stream takes `judged.verdicts`",
        ),
    ] {
        let config = consumer(policy, max_deliver);
        stream.create_consumer(config).await.unwrap();
        refused(wanted);
        stream.delete_consumer("judged-worker").await.unwrap();
    }
    // Verdicts among the drafts would be judged as such, and be lost as poison.
    let wider = StreamConfig {
        subjects: ["judged.drafts", "judged.verdicts"]
            .map(str::to_owned)
            .to_vec(),
        ..config("judged-drafts", "")
    };
    streams.context.update_stream(wider).await.unwrap();
    let circle = "stream `judged-drafts` takes `judged.verdicts` too";
    for (filter, wanted) in [
        ("", circle),
        ("judged.*", circle),
        ("judged.drafts", "no stream takes `judged.dead`"),
    ] {
        let config = ConsumerConfig {
            filter_subject: filter.to_owned(),
            ..consumer(AckPolicy::Explicit, -1)
        };
        stream.create_consumer(config).await.unwrap();
        refused(wanted);
        stream.delete_consumer("judged-worker").await.unwrap();
    }
    let silent = shell.run(&["worker", "--nats", "127.0.0.1:9"]);
    assert_eq!(silent.code, 3, "{silent:?}");
    for (more, wanted) in [
        (["--patience", "0"], "`--patience` must be above 0"),
        (["--in-flight", "0"], "--in-flight"),
        (
            ["--nats", "ftp://u:secret@host"],
            "is no address of a NATS server",
        ),
        (["--nats-nkey", "missing"], "cannot read `missing`"),
        (["--metrics-listen", "0.0.0.0:0"], "is not on the loopback"),
        (["--metrics-listen", "here"], "invalid socket address"),
    ] {
        let ran = shell.run(&[&["worker"][..], &more].concat());
        assert!(matches!(ran.code, 1 | 2), "{ran:?}");
        assert!(ran.stderr.contains(wanted), "{wanted}: {ran:?}");
        assert!(!ran.stderr.contains("secret"), "{ran:?}");
    }
}

/// Poison among the drafts of the drill.
const POISON: u64 = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_are_killed_and_restarted_lose_nothing_and_publish_nothing_twice() {
    let messages = env::var("JUDGED_QUEUE_MESSAGES").map_or(300, |text| text.parse().unwrap());
    let (daemon, nats, streams) = both().await;
    let start = || {
        let quick = ["--ack-wait", "2", "--in-flight", "16", "--log", "warn"];
        WorkerProcess::start(&nats, &daemon.judge_addr, &quick)
    };
    let creates = start();
    until_streams(&streams).await;
    creates.terminate();
    creates.ended();
    let mut wanted = BTreeMap::new();
    let labels = ["SUPPRESS", "ESCALATE", "BLOCK", "PENALISE", "PASS"];
    for number in 0..messages {
        let (id, label) = (format!("d{number:06}"), labels[number as usize % 5]);
        streams.publish(draft(&id, &format!("say:{label}"))).await;
        wanted.insert(id, label);
        if number % (messages / POISON) == 0 && number / (messages / POISON) < POISON {
            streams.publish(format!("poison {number}")).await;
        }
    }
    let started = Instant::now();
    let mut workers = vec![start(), start(), start()];
    let until = async |share: f64| {
        let end = Instant::now() + Duration::from_secs(600);
        let count = (messages as f64 * share) as u64;
        while streams.count("judged-verdicts").await < count {
            assert!(Instant::now() < end, "no progress");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    until(0.3).await;
    workers.remove(0).kill();
    until(0.6).await;
    let restarted = workers.remove(0);
    restarted.terminate();
    let mut counts = vec![restarted.ended()];
    workers.push(start());
    streams.until_count("judged-drafts", 0).await;
    let seconds = started.elapsed().as_secs_f64();
    for worker in workers {
        worker.terminate();
        counts.push(worker.ended());
    }

    let (mut published, mut twice) = (BTreeSet::new(), 0);
    for message in streams.all("judged-verdicts").await {
        let verdict: Value = serde_json::from_slice(&message.payload).unwrap();
        let id = verdict["request_id"].as_str().unwrap().to_owned();
        assert_eq!(verdict["label"], wanted[&id], "{id}");
        if !published.insert(id) {
            twice += 1;
        }
    }
    let lost = wanted.keys().filter(|id| !published.contains(*id)).count();
    let dead = streams.all("judged-dead").await.len() as u64;
    let sum = |key: &str| {
        counts
            .iter()
            .map(|counts| counts[key].as_u64().unwrap())
            .sum::<u64>()
    };
    eprintln!(
        "{messages} drafts and {POISON} poison in {seconds:.1} s: {} decisions recorded, \
         {} published once by id, {dead} dead letters, {lost} lost, {twice} published twice; \
         known already to the stream {}, failed {}, given back {}",
        daemon.judge.tally().by_model,
        published.len(),
        sum("known_already"),
        sum("failed"),
        sum("given_back"),
    );
    assert_eq!((lost, twice, dead), (0, 0, POISON));
    assert_eq!(daemon.judge.tally().by_model, messages);
    if messages >= 1000 {
        assert!(
            counts
                .iter()
                .all(|counts| counts["judged"].as_u64() > Some(0))
        );
    }
}
