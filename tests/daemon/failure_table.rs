//! The failure table, row by row, as a caller meets it over the wire: the
//! status, its machine-readable details, and what the engine did meanwhile.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::support::daemon::{Daemon, Gate, Setup, request, until};
use judged::client::{Client, Question};
use judged::engine::job::{Event, JobError};
use judged::rpc::proto::{GetDecisionRequest, JudgeRequest, OutcomeKind, ReportOutcomeRequest};
use judged::verdict::RationaleMode;
use tonic::{Code, Status};
use tonic_types::StatusExt;

fn reason(status: &Status) -> String {
    let details = status.get_error_details();
    let info = details.error_info().unwrap();
    assert_eq!(info.domain, "judged");
    info.reason.clone()
}

fn fields(status: &Status) -> BTreeSet<String> {
    let details = status.get_error_details();
    let violations = &details.bad_request().unwrap().field_violations;
    assert!(
        violations
            .iter()
            .all(|violation| !violation.description.is_empty())
    );
    violations
        .iter()
        .map(|violation| violation.field.clone())
        .collect()
}

fn retry_delay(status: &Status) -> Option<Duration> {
    status.get_error_details().retry_info()?.retry_delay
}

async fn refusal(daemon: &Daemon, request: JudgeRequest) -> Status {
    daemon.ask(request).await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_that_is_wrong_with_a_request_is_reported_at_once() {
    let daemon = Setup::new().start().await;
    let status = refusal(
        &daemon,
        JudgeRequest {
            request_id: "i".repeat(129),
            context_json: "[]".to_owned(),
            draft: " \n".to_owned(),
            channel: 99,
            rationale_mode: -1,
        },
    )
    .await;
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(reason(&status), "MALFORMED_REQUEST");
    let expected = [
        "request_id",
        "context_json",
        "draft",
        "channel",
        "rationale_mode",
    ];
    assert_eq!(fields(&status), expected.map(str::to_owned).into());
    assert_eq!(retry_delay(&status), None);
    assert_eq!(daemon.judge.tally().by_model, 0);
}

/// A status that told it would be longer than what a caller takes of header fields.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_id_that_is_far_too_long_is_refused_without_its_text() {
    let daemon = Setup::new().start().await;
    for length in [129, 20_000, 200_000] {
        let decision_id = "x".repeat(length);
        let report = ReportOutcomeRequest {
            decision_id: decision_id.clone(),
            kind: OutcomeKind::Right.into(),
            reported_by: "Ida".to_owned(),
            ..ReportOutcomeRequest::default()
        };
        let reported = daemon.client().report_outcome(report).await.unwrap_err();
        let asked = GetDecisionRequest { decision_id };
        let found = daemon.control_client().get_decision(asked).await;
        for status in [reported, found.unwrap_err()] {
            assert_eq!(status.code(), Code::InvalidArgument, "{length}: {status}");
            assert_eq!(reason(&status), "MALFORMED_REQUEST");
            assert_eq!(fields(&status), ["decision_id".to_owned()].into());
            assert!(!status.message().contains("xx"), "{}", status.message());
        }
    }
    let known = "x".repeat(128);
    let asked = GetDecisionRequest { decision_id: known };
    let found = daemon.control_client().get_decision(asked).await;
    assert_eq!(reason(&found.unwrap_err()), "UNKNOWN_DECISION");
    daemon.ask(request("Hi")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_context_that_is_not_one_plain_object_is_refused_with_its_place() {
    let daemon = Setup::new().start().await;
    let deep = format!("{}1{}", "{\"a\":".repeat(40), "}".repeat(40));
    let contexts = [
        ("", "not valid JSON"),
        ("nonsense", "line 1 column 2"),
        ("{\"a\": 1,}", "line 1 column 9"),
        ("null", "`null`"),
        ("[{}]", "`array`"),
        ("\"{}\"", "`string`"),
        ("{\"a\": 1, \"a\": 2}", "key `a` stands twice"),
        ("{\"$serde_json::private::Number\": \"1\"}", "reserved"),
        (deep.as_str(), "deeper than"),
        ("{\"a\": \"\u{0}\"}", "control character"),
        ("{\"a\": \"\\ud800\"}", "not valid JSON"),
    ];
    for (context, told) in contexts {
        let status = refusal(
            &daemon,
            JudgeRequest {
                context_json: context.to_owned(),
                ..request("Hi")
            },
        )
        .await;
        assert_eq!(status.code(), Code::InvalidArgument, "{context}");
        assert_eq!(
            fields(&status),
            ["context_json".to_owned()].into(),
            "{context}"
        );
        assert!(
            status.message().contains(told),
            "{context}: {}",
            status.message()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prompt_over_the_budget_is_refused_with_its_count_and_never_cut() {
    let mut setup = Setup::new();
    setup.bundle.prompt.max_tokens = 1200;
    let daemon = setup.start().await;
    let short = daemon.ask(request("A")).await.unwrap().usage.unwrap();
    let room = 1200 - short.prompt_tokens as usize;

    let full = daemon.ask(request(&"A".repeat(room + 1))).await.unwrap();
    assert_eq!(full.usage.unwrap().prompt_tokens, 1200);

    let before = daemon.meter();
    let status = refusal(&daemon, request(&"A".repeat(room + 2))).await;
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(reason(&status), "PROMPT_TOO_LONG");
    assert_eq!(fields(&status), ["draft".to_owned()].into());
    assert!(status.message().contains("`1201`"), "{}", status.message());
    assert!(status.message().contains("`1200`"), "{}", status.message());
    assert_eq!(daemon.meter().prefill_tokens, before.prefill_tokens);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_over_the_limit_is_out_of_range_before_it_is_read() {
    let daemon = Setup::new()
        .with(|config| config.max_message_bytes = 4096)
        .start()
        .await;
    let status = refusal(&daemon, request(&"A".repeat(5000))).await;
    assert_eq!(status.code(), Code::OutOfRange);
    assert!(status.message().contains("4096"), "{}", status.message());
    daemon.ask(request("A")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_refuses_with_the_time_to_try_again_and_serves_what_it_took() {
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
    let runs = daemon.asking(request("say:BLOCK"));
    gate.until_reached().await;
    daemon.until_running(1).await;
    let waits = [1, 2].map(|_| daemon.asking(request("say:PENALISE")));
    daemon.until_waiting(2).await;

    let status = refusal(&daemon, request("say:PASS")).await;
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(reason(&status), "QUEUE_FULL");
    assert!(retry_delay(&status).unwrap() > Duration::ZERO);

    gate.open();
    assert_eq!(runs.await.unwrap().unwrap().label, 3);
    for waiting in waits {
        assert_eq!(waiting.await.unwrap().unwrap().label, 4);
    }
    assert_eq!(daemon.judge.tally().refused, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_that_passes_in_the_queue_ends_the_request_without_any_work() {
    let gate = Gate::default();
    let daemon = Setup::new()
        .gated(&gate)
        .with(|config| config.engine.slots = 1)
        .start()
        .await;
    gate.close();
    let first = daemon.asking(request("say:BLOCK"));
    gate.until_reached().await;

    let timeout = Duration::from_millis(300);
    let mut client = daemon.own_client().await;
    let error = client
        .judge(Question {
            context_json: "{}".to_owned(),
            draft: "A".repeat(3000),
            timeout: Some(timeout),
            ..Default::default()
        })
        .await
        .unwrap_err();
    assert_eq!(error.code().as_deref(), Some("DeadlineExceeded"), "{error}");
    until("it has ended there too", || {
        daemon.judge.open_requests() == 1
    })
    .await;

    let before = daemon.meter();
    gate.open();
    let first = first.await.unwrap().unwrap().usage.unwrap();
    daemon.until_running(0).await;
    daemon.until_waiting(0).await;
    let work = daemon.meter().prefill_tokens - before.prefill_tokens;
    assert_eq!(work, u64::from(first.prompt_tokens - first.cached_tokens));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_that_passes_while_prefilling_stops_the_work_at_the_next_chunk() {
    let gate = Gate::default();
    let daemon = Setup::new()
        .gated(&gate)
        .with(|config| config.engine.chunk = 16)
        .start()
        .await;
    let before = daemon.meter();
    gate.close_after(3);
    // The machine may pause before the engine has come so far.
    let timeout = Duration::from_secs(2);
    let asking = daemon.ask_within(request(&"A".repeat(3000)), timeout);
    let reached = async {
        gate.until_reached().await;
        Instant::now()
    };
    let (answer, reached) = tokio::join!(asking, reached);
    let status = answer.unwrap_err();
    assert!(
        matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled),
        "{status:?}"
    );
    // The caller's own clock may have been first: by then it is over by the daemon's too.
    tokio::time::sleep_until((reached + timeout).into()).await;
    gate.open();
    daemon.until_running(0).await;
    let work = daemon.meter().prefill_tokens - before.prefill_tokens;
    assert_eq!(work, 4 * 16, "three chunks, and the one under way");
    assert_eq!(daemon.meter().abandoned, 0, "nobody has left");
    daemon.ask(request("say:PASS")).await.unwrap();
}

/// The server's own timer for `grpc-timeout` ends calls with CANCELLED, which
/// tells a caller nothing: ours must come before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_passed_deadline_is_deadline_exceeded_and_not_cancelled() {
    let gate = Gate::default();
    let daemon = Setup::new().gated(&gate).start().await;
    // The connection is there: the client's own timer runs while it is made.
    daemon.ask(request("say:PASS")).await.unwrap();
    let mut told = 0;
    // Where the machine is busy, all timers of a round may come before its answers.
    for _ in 0..50 {
        gate.close();
        let timeouts = (0..32).map(|index| Duration::from_millis(200 + index));
        let asking: Vec<_> = timeouts
            .map(|timeout| {
                let mut client = daemon.client();
                tokio::spawn(async move {
                    let mut request = tonic::Request::new(request("say:PASS"));
                    request.set_timeout(timeout);
                    client.judge(request).await.unwrap_err()
                })
            })
            .collect();
        for status in asking {
            let status = status.await.unwrap();
            let own_timer = std::error::Error::source(&status).is_some();
            if !own_timer {
                assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
                let reason = reason(&status);
                // By the second round the pace may be one of steps that were held.
                let is_known = ["DEADLINE_EXCEEDED", "DEADLINE_OUT_OF_REACH"].contains(&&*reason);
                assert!(is_known, "{status:?}");
                told += u32::from(reason == "DEADLINE_EXCEEDED");
            }
        }
        gate.open();
        if told > 0 {
            return;
        }
        until("none is open", || daemon.judge.open_requests() == 0).await;
        daemon.until_waiting(0).await;
    }
    panic!("no answer came before the client's own timer");
}

/// How long its work would take says nothing more.
#[tokio::test]
async fn a_deadline_that_has_passed_as_the_engine_comes_to_it_is_passed_and_not_out_of_reach() {
    let daemon = Setup::new().start().await;
    let arrived = Instant::now();
    let asked = daemon
        .judge
        .engine()
        .submit(vec![1; 8], RationaleMode::None, 7, arrived, arrived);
    let event = asked.unwrap().recv().await;
    assert!(
        matches!(event, Some(Event::Failed(JobError::DeadlineExceeded))),
        "{event:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_client_tells_a_deadline_even_where_no_daemon_says_a_word() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = silent.local_addr().unwrap().to_string();
    let mut client = Client::connect(&addr).await.unwrap();
    let question = Question {
        timeout: Some(Duration::from_millis(200)),
        ..Question::default()
    };
    let error = client.judge(question).await.unwrap_err();
    assert_eq!(error.code().as_deref(), Some("DeadlineExceeded"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_outlives_the_longest_deadline_although_its_caller_set_none() {
    let gate = Gate::default();
    let daemon = Setup::new()
        .gated(&gate)
        .with(|config| config.policy.max_deadline = Duration::from_secs(1))
        .start()
        .await;
    gate.close();
    let status = refusal(&daemon, request("say:PASS")).await;
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(reason(&status), "DEADLINE_EXCEEDED");
    gate.open();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_work_of_a_caller_who_left_is_dropped_at_the_next_chunk_and_counted() {
    let gate = Gate::default();
    let daemon = Setup::new()
        .gated(&gate)
        .with(|config| {
            config.engine.chunk = 16;
            config.engine.slots = 1;
        })
        .start()
        .await;
    let before = daemon.meter();
    gate.close_after(3);
    let reads = daemon.asking(request(&"A".repeat(3000)));
    gate.until_reached().await;
    let waits = daemon.asking(request(&"B".repeat(3000)));
    daemon.until_waiting(1).await;
    reads.abort();
    waits.abort();
    until("both calls have ended", || {
        daemon.judge.open_requests() == 0
    })
    .await;
    gate.open();
    daemon.until_running(0).await;
    daemon.until_waiting(0).await;
    assert_eq!(daemon.meter().abandoned, 2);
    let work = daemon.meter().prefill_tokens - before.prefill_tokens;
    assert_eq!(work, 4 * 16);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_leaves_during_the_rationale_frees_its_slot() {
    let gate = Gate::default();
    let daemon = Setup::new()
        .gated(&gate)
        .with(|config| config.engine.slots = 1)
        .start()
        .await;
    let long = format!("say:BLOCK\nbecause:It is {} so.", "very ".repeat(20));
    // One chunk brings the label; the sentence takes a hundred steps.
    gate.close_after(4);
    let leaving = daemon.asking(request(&long));
    gate.until_reached().await;
    let written = daemon.meter().decode_tokens;
    leaving.abort();
    until("the call has ended", || daemon.judge.open_requests() == 0).await;
    gate.open();
    daemon.until_running(0).await;
    assert_eq!(daemon.meter().abandoned, 1);
    assert!(daemon.meter().decode_tokens <= written + 1);
    daemon.ask(request("say:PASS")).await.unwrap();
}
