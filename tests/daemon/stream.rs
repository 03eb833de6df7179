//! JudgeStream, the pre-send queue: answers in completion order, matched by id,
//! the label before its sentence, and no failure that ends the others.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use crate::support::daemon::{Daemon, Gate, Setup, request, until, with_id};
use judged::rpc::proto::judge_service_client::JudgeServiceClient;
use judged::rpc::proto::judge_stream_response::Event;
use judged::rpc::proto::{
    DecidedBy, JudgeRequest, JudgeStreamRequest, JudgeStreamResponse, Label, RationaleMode,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;
use tonic::{Code, Streaming};

struct Queue {
    requests: mpsc::Sender<JudgeStreamRequest>,
    answers: Streaming<JudgeStreamResponse>,
}

impl Queue {
    async fn open(daemon: &Daemon) -> Queue {
        let (requests, inbox) = mpsc::channel(1);
        let answers = daemon
            .client()
            .judge_stream(ReceiverStream::new(inbox))
            .await;
        Queue {
            requests,
            answers: answers.unwrap().into_inner(),
        }
    }

    async fn send(&self, id: &str, draft: &str) {
        self.send_request(with_id(id, draft)).await;
    }

    async fn send_request(&self, request: JudgeRequest) {
        let message = JudgeStreamRequest {
            request: Some(request),
        };
        self.requests.send(message).await.unwrap();
    }

    async fn next(&mut self) -> (String, Event) {
        let message = self.answers.message().await.unwrap().unwrap();
        (message.request_id, message.event.unwrap())
    }

    /// Ends the sending side, and gives all that still comes.
    async fn rest(self) -> Vec<(String, Event)> {
        let Queue {
            requests,
            mut answers,
        } = self;
        drop(requests);
        let mut events = Vec::new();
        while let Some(message) = answers.message().await.unwrap() {
            events.push((message.request_id, message.event.unwrap()));
        }
        events
    }
}

fn kind(event: &Event) -> &'static str {
    match event {
        Event::Verdict(_) => "verdict",
        Event::Rationale(_) => "rationale",
        Event::Error(_) => "error",
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_verdict_comes_while_the_sentence_is_still_being_written() {
    let gate = Gate::default();
    let daemon = Setup::new().gated(&gate).start().await;
    let mut queue = Queue::open(&daemon).await;
    // The prompt's own part takes one step; then the gate is closed.
    gate.close_after(1);
    queue.send("a", "say:BLOCK\nbecause:It leaks.").await;
    let (id, event) = queue.next().await;
    let Event::Verdict(verdict) = event else {
        panic!("{event:?}");
    };
    assert_eq!((id.as_str(), verdict.label()), ("a", Label::Block));
    assert_eq!(verdict.rationale, "");
    assert_eq!(verdict.scores.len(), 5);
    gate.until_reached().await;
    gate.open();
    let (id, event) = queue.next().await;
    let Event::Rationale(rationale) = event else {
        panic!("{event:?}");
    };
    assert_eq!(
        (id.as_str(), rationale.rationale.as_str()),
        ("a", "It leaks.")
    );
    assert_eq!(rationale.decision_id, verdict.decision_id);
    assert!(rationale.usage.unwrap().generated_tokens > 0);
    assert_eq!(queue.rest().await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_come_as_they_are_done_and_not_as_they_were_asked() {
    let gate = Gate::default();
    let daemon = Setup::new().gated(&gate).start().await;
    let mut queue = Queue::open(&daemon).await;
    gate.close();
    queue.send("slow", "say:BLOCK").await;
    gate.until_reached().await;
    // A hard rule needs no engine.
    queue
        .send_request(JudgeRequest {
            context_json: r#"{"disqualifiers": ["competitor"]}"#.to_owned(),
            ..with_id("quick", "Hi")
        })
        .await;
    for expected in ["verdict", "rationale"] {
        let (id, event) = queue.next().await;
        assert_eq!((id.as_str(), kind(&event)), ("quick", expected));
    }
    gate.open();
    let rest = queue.rest().await;
    let rest: Vec<_> = rest
        .iter()
        .map(|(id, event)| (id.as_str(), kind(event)))
        .collect();
    assert_eq!(rest, [("slow", "verdict"), ("slow", "rationale")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_many_answers_goes_to_its_id_with_the_verdict_first() {
    let daemon = Setup::new().start().await;
    let queue = Queue::open(&daemon).await;
    let labels = ["SUPPRESS", "ESCALATE", "BLOCK", "PENALISE", "PASS"];
    let requests = queue.requests.clone();
    // More than the stream's window: sending and reading go side by side.
    let sending = tokio::spawn(async move {
        for index in 0..150_usize {
            let draft = format!("say:{}\nbecause:It is number {index}.", labels[index % 5]);
            let message = JudgeStreamRequest {
                request: Some(with_id(&index.to_string(), &draft)),
            };
            requests.send(message).await.unwrap();
        }
    });
    let mut verdicts = HashMap::new();
    let mut done = HashSet::new();
    for (id, event) in queue.rest().await {
        let index: usize = id.parse().unwrap();
        match event {
            Event::Verdict(verdict) => {
                assert_eq!(verdict.label as usize, index % 5 + 1);
                assert_eq!(verdicts.insert(index, verdict.decision_id), None);
            }
            Event::Rationale(rationale) => {
                assert_eq!(verdicts[&index], rationale.decision_id);
                assert_eq!(rationale.rationale, format!("It is number {index}."));
                assert!(done.insert(index));
            }
            Event::Error(error) => panic!("{error:?}"),
        }
    }
    sending.await.unwrap();
    assert_eq!((verdicts.len(), done.len()), (150, 150));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_fails_is_an_error_event_and_the_stream_goes_on() {
    let mut setup = Setup::new();
    setup.bundle.prompt.max_tokens = 1200;
    let daemon = setup.start().await;
    let mut queue = Queue::open(&daemon).await;
    let mut refused = async |request: JudgeRequest| {
        queue.send_request(request).await;
        let (id, event) = queue.next().await;
        match event {
            Event::Error(error) => (id, error),
            other => panic!("{other:?}"),
        }
    };
    let malformed = JudgeRequest {
        context_json: "[]".to_owned(),
        channel: 99,
        ..with_id("malformed", "Hi")
    };
    let (id, error) = refused(malformed).await;
    assert_eq!(
        (id.as_str(), error.code),
        ("malformed", Code::InvalidArgument as i32)
    );
    assert_eq!(error.reason, "MALFORMED_REQUEST");
    let fields: Vec<_> = error
        .field_violations
        .iter()
        .map(|row| row.field.as_str())
        .collect();
    assert_eq!(fields, ["channel", "context_json"]);
    assert!(!error.message.is_empty());

    let (id, error) = refused(with_id("long", &"A".repeat(2000))).await;
    assert_eq!(
        (id.as_str(), error.reason.as_str()),
        ("long", "PROMPT_TOO_LONG")
    );

    let (id, error) = refused(with_id("", "Hi")).await;
    assert_eq!(
        (id.as_str(), error.reason.as_str()),
        ("", "MALFORMED_REQUEST")
    );
    assert_eq!(error.field_violations[0].field, "request_id");

    queue
        .requests
        .send(JudgeStreamRequest { request: None })
        .await
        .unwrap();
    let (_, event) = queue.next().await;
    assert!(matches!(event, Event::Error(error) if error.field_violations[0].field == "request"));

    queue.send("good", "say:BLOCK").await;
    queue.next().await;
    queue.send("good", "say:PASS").await;
    let events = queue.rest().await;
    let reused = events.iter().find_map(|(id, event)| match event {
        Event::Error(error) => Some((id.as_str(), error.code, error.reason.as_str())),
        _ => None,
    });
    assert_eq!(
        reused,
        Some(("good", Code::AlreadyExists as i32, "REQUEST_ID_REUSED"))
    );
    assert!(
        events
            .iter()
            .any(|(_, event)| matches!(event, Event::Rationale(_)))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_cannot_be_read_ends_the_stream_after_the_answers_to_those_before_it() {
    let gate = Gate::default();
    let daemon = Setup::new()
        .gated(&gate)
        .with(|config| config.max_message_bytes = 4096)
        .start()
        .await;
    gate.close();
    let mut queue = Queue::open(&daemon).await;
    queue.send("a", "say:BLOCK").await;
    gate.until_reached().await;
    queue.send("b", &"A".repeat(5000)).await;
    let early = Duration::from_millis(200);
    let early = tokio::time::timeout(early, queue.answers.message()).await;
    assert!(early.is_err(), "{early:?}");
    gate.open();
    for expected in ["verdict", "rationale"] {
        let (id, event) = queue.next().await;
        assert_eq!((id.as_str(), kind(&event)), ("a", expected));
    }
    let status = queue.answers.message().await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_is_an_error_event_with_the_time_to_try_again() {
    let gate = Gate::default();
    let daemon = Setup::new()
        .gated(&gate)
        .with(|config| {
            config.engine.slots = 1;
            config.engine.queue = 2;
        })
        .start()
        .await;
    gate.close();
    // Another caller has taken the slot and the queue.
    let running = daemon.asking(request("Hi"));
    gate.until_reached().await;
    let waiting = [1, 2].map(|_| daemon.asking(request("Hi")));
    daemon.until_waiting(2).await;
    let mut queue = Queue::open(&daemon).await;
    queue.send("a", "Hi").await;
    let (_, event) = queue.next().await;
    let Event::Error(error) = event else {
        panic!("{event:?}");
    };
    assert_eq!(
        (error.code, error.reason.as_str()),
        (Code::ResourceExhausted as i32, "QUEUE_FULL")
    );
    assert!(error.retry_delay.unwrap().seconds >= 1);
    gate.open();
    running.await.unwrap().unwrap();
    for waiting in waiting {
        waiting.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_without_a_rationale_yields_its_verdict_alone() {
    let daemon = Setup::new().start().await;
    let queue = Queue::open(&daemon).await;
    queue
        .send_request(JudgeRequest {
            rationale_mode: RationaleMode::None.into(),
            ..with_id("a", "say:BLOCK")
        })
        .await;
    let events = queue.rest().await;
    assert!(
        matches!(&events[..], [(_, Event::Verdict(_))]),
        "{events:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_id_gets_its_decision_again_with_its_sentence() {
    let daemon = Setup::new().start().await;
    let unary = daemon
        .ask(with_id("a", "say:BLOCK\nbecause:It leaks."))
        .await
        .unwrap();
    let queue = Queue::open(&daemon).await;
    queue.send("a", "say:BLOCK\nbecause:It leaks.").await;
    let events = queue.rest().await;
    match &events[..] {
        [
            (_, Event::Verdict(verdict)),
            (_, Event::Rationale(rationale)),
        ] => {
            assert_eq!(verdict.decision_id, unary.decision_id);
            assert_eq!(rationale.rationale, unary.rationale);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_ends_its_side_still_gets_every_answer() {
    let gate = Gate::default();
    let daemon = Setup::new().gated(&gate).start().await;
    gate.close();
    let queue = Queue::open(&daemon).await;
    for id in ["a", "b", "c", "d", "e"] {
        queue.send(id, "say:PASS").await;
    }
    until("all have arrived", || daemon.judge.open_requests() == 5).await;
    let rest = tokio::spawn(queue.rest());
    gate.open();
    assert_eq!(rest.await.unwrap().len(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_leaves_takes_all_its_requests_along() {
    let gate = Gate::default();
    let daemon = Setup::new()
        .gated(&gate)
        .with(|config| config.engine.slots = 2)
        .start()
        .await;
    let before = daemon.meter().prefill_tokens;
    gate.close();
    let queue = Queue::open(&daemon).await;
    for id in ["a", "b", "c", "d", "e"] {
        queue.send(id, &"A".repeat(600)).await;
    }
    gate.until_reached().await;
    until("the engine has all", || {
        daemon.judge.engine().queue_depth() as u64 + daemon.meter().running == 5
    })
    .await;
    drop(queue);
    until("all are gone", || daemon.judge.open_requests() == 0).await;
    gate.open();
    until("the engine has dropped them", || {
        daemon.meter().abandoned == 5
    })
    .await;
    daemon.until_running(0).await;
    let chunk = daemon.judge.engine().config().chunk as u64;
    assert!(
        daemon.meter().prefill_tokens - before <= chunk,
        "one chunk was under way"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_deadline_of_a_stream_holds_for_its_requests() {
    let gate = Gate::default();
    let daemon = Setup::new().gated(&gate).start().await;
    // The connection is there.
    daemon.ask(request("say:PASS")).await.unwrap();
    gate.close();
    let (requests, inbox) = mpsc::channel(1);
    let mut opening = tonic::Request::new(ReceiverStream::new(inbox));
    opening.set_timeout(Duration::from_secs(2));
    let answers = daemon
        .client()
        .judge_stream(opening)
        .await
        .unwrap()
        .into_inner();
    let mut queue = Queue { requests, answers };
    queue.send("a", "say:PASS").await;
    let (_, event) = queue.next().await;
    let Event::Error(error) = event else {
        panic!("{event:?}");
    };
    assert_eq!(error.code, Code::DeadlineExceeded as i32);
    gate.open();
}

/// What a caller sends without reading its answers stays in its own
/// connection: the daemon has at most its window of it under way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_does_not_read_bounds_what_the_daemon_takes() {
    let daemon = Setup::new()
        .with(|config| {
            config.engine.slots = 2;
            config.engine.queue = 6;
        })
        .start()
        .await;
    // Room for a hundred answers, before the connection itself is full.
    let endpoint = Endpoint::from_shared(format!("http://{}", daemon.judge_addr)).unwrap();
    let endpoint = endpoint.initial_stream_window_size(64 * 1024);
    let mut client = JudgeServiceClient::new(endpoint.connect().await.unwrap());
    let (requests, inbox) = mpsc::channel(1);
    let answers = client.judge_stream(ReceiverStream::new(inbox)).await;
    let queue = Queue {
        requests,
        answers: answers.unwrap().into_inner(),
    };
    let requests = queue.requests.clone();
    let sending = tokio::spawn(async move {
        let long = format!("say:PASS\nbecause:It is {} so.", "very ".repeat(20));
        for index in 0..800 {
            let message = JudgeStreamRequest {
                request: Some(with_id(&index.to_string(), &long)),
            };
            requests.send(message).await.unwrap();
        }
    });
    // Everything on the way is full once nothing moves any more.
    let (mut before, mut still) = (0, 0);
    while still < 5 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        // Each with the task that records it.
        assert!(daemon.judge.open_requests() <= 2 * 8);
        let now = daemon.judge.tally().by_model;
        still = if now == before && now > 0 {
            still + 1
        } else {
            0
        };
        before = now;
    }
    assert!(
        before < 800,
        "{before} were judged and kept for a reader that was not there"
    );
    // Others are served meanwhile.
    let other = daemon.ask(request("say:BLOCK")).await.unwrap();
    assert_eq!(other.decided_by(), DecidedBy::Model);

    let events = queue.rest().await;
    sending.await.unwrap();
    assert_eq!(events.len(), 1600);
    assert!(
        events
            .iter()
            .all(|(_, event)| !matches!(event, Event::Error(_)))
    );
}
