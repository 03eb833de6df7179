//! No verdict leaves unrecorded: what a caller got can be looked up, also by
//! the next daemon on the same state folder.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::kill_switch::locked;
use crate::support::command::Shell;
use crate::support::daemon::{Daemon, Gate, Setup, request, until, with_id};
use judged::rpc::proto::judge_stream_response::Event;
use judged::rpc::proto::{
    GetDecisionRequest, JudgeRequest, JudgeResponse, JudgeStreamRequest, Label,
    ListDecisionsRequest, OutcomeKind, RecordedDecision, ReportOutcomeRequest,
};
use judged::verdict::Mode;
use tempfile::TempDir;
use tokio_stream::StreamExt;
use tonic::{Code, Status};
use tonic_types::StatusExt;

fn in_state(dir: &Path) -> Setup {
    Setup::new().with(|config| config.state_dir = dir.to_owned())
}

async fn recorded(daemon: &Daemon, decision_id: &str) -> RecordedDecision {
    let request = GetDecisionRequest {
        decision_id: decision_id.to_owned(),
    };
    let answer = daemon.control_client().get_decision(request).await;
    answer.unwrap().into_inner().decision.unwrap()
}

async fn listed(daemon: &Daemon) -> Vec<RecordedDecision> {
    let request = ListDecisionsRequest::default();
    let answer = daemon.control_client().list_decisions(request).await;
    answer.unwrap().into_inner().decisions
}

fn outcome(decision_id: &str, kind: OutcomeKind) -> ReportOutcomeRequest {
    ReportOutcomeRequest {
        decision_id: decision_id.to_owned(),
        kind: kind.into(),
        reported_by: "Ida".to_owned(),
        ..ReportOutcomeRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_is_in_the_log_when_it_arrives() {
    let daemon = Setup::new().start().await;
    let opted_out = JudgeRequest {
        context_json: r#"{"opt_out_channels": ["email"], "prospect_id": "p_7"}"#.to_owned(),
        ..with_id("second", "Hello")
    };
    for request in [with_id("first", "say:BLOCK\nbecause: Rule 4"), opted_out] {
        let response = daemon.ask(request.clone()).await.unwrap();
        let recorded = recorded(&daemon, &response.decision_id).await;
        assert_eq!(recorded.response, Some(response));
        assert_eq!(recorded.request_id, request.request_id);
        assert_eq!(recorded.draft, request.draft);
        assert!(!recorded.rationale_pending);
    }
    let prospects: Vec<String> = listed(&daemon)
        .await
        .into_iter()
        .map(|decision| decision.prospect)
        .collect();
    assert_eq!(prospects, ["p_7", "first"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_verdict_of_a_stream_is_recorded_before_its_rationale_comes() {
    let gate = Gate::default();
    let daemon = Setup::new().gated(&gate).start().await;
    let asked = JudgeStreamRequest {
        request: Some(with_id("one", "say:PENALISE\nbecause: Rule 6")),
    };
    // The prefill's step passes, the first of the rationale waits.
    gate.close_after(1);
    let mut events = daemon
        .client()
        .judge_stream(tokio_stream::once(asked).chain(tokio_stream::pending()))
        .await
        .unwrap()
        .into_inner();
    let Some(Event::Verdict(verdict)) = events.next().await.unwrap().unwrap().event else {
        panic!("the verdict comes first");
    };
    let early = recorded(&daemon, &verdict.decision_id).await;
    assert!(early.rationale_pending);
    assert_eq!(early.response.unwrap().label(), Label::Penalise);

    gate.open();
    let Some(Event::Rationale(rationale)) = events.next().await.unwrap().unwrap().event else {
        panic!("then the rationale");
    };
    let whole = recorded(&daemon, &verdict.decision_id).await;
    assert!(!whole.rationale_pending);
    assert_eq!(whole.response.unwrap().rationale, rationale.rationale);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_id_stands_for_its_decision_after_a_restart() {
    let state = TempDir::new().unwrap();
    let mut daemon = in_state(state.path()).start().await;
    let first = daemon.ask(with_id("one", "say:BLOCK")).await.unwrap();
    daemon.drain().await.unwrap();

    let daemon = in_state(state.path()).start().await;
    let again = daemon.ask(with_id("one", "say:BLOCK")).await.unwrap();
    assert_eq!(again, first);
    let other = daemon.ask(with_id("one", "say:PASS")).await.unwrap_err();
    assert_eq!(other.code(), Code::AlreadyExists);
    assert_eq!(listed(&daemon).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_cannot_be_read_fails_its_own_request_alone() {
    let state = TempDir::new().unwrap();
    let mut daemon = in_state(state.path()).start().await;
    daemon.ask(with_id("one", "say:BLOCK")).await.unwrap();
    daemon.drain().await.unwrap();
    let file = rusqlite::Connection::open(state.path().join("decisions.db")).unwrap();
    file.execute_batch("UPDATE decisions SET answer = '{}'")
        .unwrap();
    drop(file);

    let daemon = in_state(state.path()).start().await;
    let refused = daemon.ask(with_id("one", "say:BLOCK")).await.unwrap_err();
    assert_eq!(refused.code(), Code::Internal, "{refused}");
    let details = refused.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "LOG_INCONSISTENT");
    assert!(details.retry_info().is_none());
    daemon.ask(with_id("two", "say:BLOCK")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_left_before_the_rationale_finds_the_label_by_its_id() {
    let gate = Gate::default();
    let daemon = Setup::new().gated(&gate).start().await;
    gate.close_after(1);
    let asked = JudgeStreamRequest {
        request: Some(with_id("one", "say:BLOCK")),
    };
    let mut events = daemon
        .client()
        .judge_stream(tokio_stream::once(asked))
        .await
        .unwrap()
        .into_inner();
    events.next().await.unwrap().unwrap();
    drop(events);
    until("nobody waits", || daemon.judge.open_requests() == 0).await;
    gate.open();
    let again = daemon.ask(with_id("one", "say:BLOCK")).await.unwrap();
    assert_eq!(again.label(), Label::Block);
    assert_eq!(listed(&daemon).await.len(), 1);
}

/// Asks, leaves while the record waits for a lock, and asks again before it is written.
async fn asked_again(
    daemon: &Daemon,
    state: &Path,
    id: &str,
    draft: &str,
) -> Result<JudgeResponse, Status> {
    let under_way = async |count: usize| {
        until("requests and their records are under way", || {
            daemon.judge.open_requests() == count
        })
        .await;
    };
    under_way(0).await;
    let other = locked(state);
    let first = daemon.asking(with_id(id, "say:BLOCK"));
    under_way(2).await;
    first.abort();
    under_way(1).await;
    let again = daemon.asking(with_id(id, draft));
    under_way(3).await;
    other.execute_batch("ROLLBACK").unwrap();
    again.await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_before_the_first_try_is_recorded_gets_the_decision_of_that_record() {
    let state = TempDir::new().unwrap();
    let daemon = in_state(state.path()).start().await;
    let again = asked_again(&daemon, state.path(), "one", "say:BLOCK").await;
    let again = again.unwrap();
    let written = recorded(&daemon, &again.decision_id).await;
    assert_eq!(written.response, Some(again));

    let other = asked_again(&daemon, state.path(), "two", "say:PASS").await;
    assert_eq!(other.unwrap_err().code(), Code::AlreadyExists);
    assert_eq!(listed(&daemon).await.len(), 2, "one of each id");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_masked_is_nowhere_in_the_state_folder() {
    let state = TempDir::new().unwrap();
    let mut daemon = in_state(state.path()).start().await;
    let secret = JudgeRequest {
        context_json: r#"{"company": "Birch", "email": "ada@birch.example"}"#.to_owned(),
        ..request("Hello")
    };
    let response = daemon.ask(secret).await.unwrap();
    let recorded = recorded(&daemon, &response.decision_id).await;
    assert_eq!(
        recorded.context_json,
        r#"{"company":"Birch","email":"[masked]"}"#
    );
    assert_eq!(recorded.masked, ["$['context']['email']"]);
    daemon.drain().await.unwrap();
    for file in fs::read_dir(state.path()).unwrap() {
        let bytes = fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(16).any(|part| part == b"ada@birch.exampl"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_packet_of_an_answer_waits_for_no_acknowledgement() {
    let daemon = Setup::new().start().await;
    let long = format!("say:PASS\n{}", "A word about your plans. ".repeat(200));
    let id = daemon.ask(request(&long)).await.unwrap().decision_id;
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let mut times = Vec::new();
        for _ in 0..21 {
            let started = Instant::now();
            assert_eq!(recorded(&daemon, &id).await.draft, long);
            times.push(started.elapsed());
        }
        times.sort();
        // Nagle's algorithm and a delayed acknowledgement make 40 ms of most, a busy machine of
        // some, and for a while of most.
        if times[5] < Duration::from_millis(20) {
            return;
        }
        assert!(Instant::now() < end, "{times:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_are_kept_in_order_with_their_decision() {
    let daemon = Setup::new().start().await;
    let id = daemon.ask(request("say:BLOCK")).await.unwrap().decision_id;
    let mut client = daemon.client();
    let report = outcome(&id, OutcomeKind::FalsePositive);
    client.report_outcome(report).await.unwrap();
    let missed = ReportOutcomeRequest {
        true_label: Label::Suppress.into(),
        note: "an opt-out in the thread".to_owned(),
        ..outcome(&id, OutcomeKind::MissedViolation)
    };
    client.report_outcome(missed).await.unwrap();
    let outcomes = recorded(&daemon, &id).await.outcomes;
    let kinds: Vec<OutcomeKind> = outcomes.iter().map(|outcome| outcome.kind()).collect();
    assert_eq!(
        kinds,
        [OutcomeKind::FalsePositive, OutcomeKind::MissedViolation]
    );
    assert_eq!(outcomes[1].true_label(), Label::Suppress);
    assert_eq!(outcomes[1].note, "an opt-out in the thread");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_reported_of_a_probe_counts_for_its_accuracy() {
    let daemon = Setup::new().start().await;
    for (draft, kind) in [
        ("say:BLOCK", OutcomeKind::Right),
        ("say:BLOCK", OutcomeKind::Right),
        ("say:PENALISE", OutcomeKind::FalsePositive),
    ] {
        let id = daemon.ask(request(draft)).await.unwrap().decision_id;
        let report = ReportOutcomeRequest {
            probe: "E01".to_owned(),
            ..outcome(&id, kind)
        };
        daemon.client().report_outcome(report).await.unwrap();
        assert_eq!(recorded(&daemon, &id).await.outcomes[0].probe, "E01");
    }
    let addr = daemon.control_addr.clone();
    let status =
        tokio::task::spawn_blocking(move || Shell::new().run(&["status", "--addr", &addr]).stdout);
    let status = status.await.unwrap();
    assert!(status.contains("reported  E01 2 of 3 right"), "{status}");
    assert!(status.contains("checked   never, next 20"), "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_that_says_too_little_is_refused_with_all_that_is_missing() {
    let daemon = Setup::new().start().await;
    let id = daemon.ask(request("say:BLOCK")).await.unwrap().decision_id;
    let fields = async |report: ReportOutcomeRequest| -> Vec<String> {
        let refused = daemon.client().report_outcome(report).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        let details = refused.get_error_details();
        let violations = &details.bad_request().unwrap().field_violations;
        violations.iter().map(|one| one.field.clone()).collect()
    };
    let nothing = ReportOutcomeRequest::default();
    assert_eq!(
        fields(nothing).await,
        ["decision_id", "reported_by", "kind"]
    );
    let missed = outcome(&id, OutcomeKind::MissedViolation);
    assert_eq!(fields(missed).await, ["true_label"]);
    let incident = outcome(&id, OutcomeKind::Incident);
    assert_eq!(fields(incident).await, ["incident_tier"]);
    let probe = ReportOutcomeRequest {
        probe: "E 01".to_owned(),
        ..outcome(&id, OutcomeKind::Right)
    };
    assert_eq!(fields(probe).await, ["probe"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_that_nobody_made_is_not_found() {
    let daemon = Setup::new().start().await;
    let report = outcome("nobody's", OutcomeKind::Right);
    let refused = daemon.client().report_outcome(report).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    let details = refused.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "UNKNOWN_DECISION");
    let asked = GetDecisionRequest {
        decision_id: "nobody's".to_owned(),
    };
    let refused = daemon
        .control_client()
        .get_decision(asked)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_shadow_the_models_answer_stands_beside_the_rules() {
    let daemon = Setup::new()
        .with(|config| config.policy.mode = Mode::Shadow)
        .start()
        .await;
    let agreed = daemon.ask(request("say:PASS")).await.unwrap();
    let parted = daemon.ask(request("say:BLOCK")).await.unwrap();
    for (response, by_model) in [(&agreed, Label::Pass), (&parted, Label::Block)] {
        assert_eq!(response.label(), Label::Pass);
        loop {
            if let Some(shadow) = recorded(&daemon, &response.decision_id).await.shadow {
                assert_eq!(shadow.label(), by_model);
                assert_eq!(shadow.scores.len(), 5);
                break;
            }
        }
    }
    let shell = Shell::new();
    let addr = daemon.control_addr.clone();
    let ran = tokio::task::spawn_blocking(move || {
        shell.run(&["decisions", "--disagreements", "--json", "--addr", &addr])
    });
    let ids: Vec<String> = ran.await.unwrap().json().iter().map(id_of).collect();
    assert_eq!(ids, [parted.decision_id]);
}

fn id_of(value: &serde_json::Value) -> String {
    value["decision_id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_leaves_once_the_log_is_gone_and_a_restart_begins_a_new_one() {
    let state = TempDir::new().unwrap();
    let mut daemon = in_state(state.path()).start().await;
    daemon.ask(request("say:PASS")).await.unwrap();
    for file in ["decisions.db", "decisions.db-wal", "decisions.db-shm"] {
        fs::remove_file(state.path().join(file)).unwrap();
    }
    for draft in ["say:PASS", "say:BLOCK"] {
        let refused = daemon.ask(request(draft)).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable);
        let details = refused.get_error_details();
        assert_eq!(
            details.error_info().unwrap().reason,
            "DECISION_NOT_RECORDED"
        );
        assert!(details.retry_info().is_some());
        assert!(
            refused.message().contains("restart the daemon"),
            "{refused}"
        );
    }
    daemon.drain().await.unwrap();
    let daemon = in_state(state.path()).start().await;
    daemon.ask(request("say:PASS")).await.unwrap();
    assert_eq!(listed(&daemon).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_lists_shows_exports_and_reports() {
    let daemon = Setup::new().start().await;
    let response = daemon.ask(with_id("one", "say:BLOCK")).await.unwrap();
    daemon.ask(with_id("two", "say:PASS")).await.unwrap();
    let id = response.decision_id;
    let (judge, control) = (daemon.judge_addr.clone(), daemon.control_addr.clone());
    let ran = tokio::task::spawn_blocking(move || {
        let shell = Shell::new();
        let report = [
            "report",
            &id,
            "false-positive",
            "--by",
            "Ida",
            "--note",
            "it was fine",
            "--addr",
            &judge,
        ];
        assert_eq!(shell.run(&report).code, 0);
        let listed = shell.run(&["decisions", "--label", "BLOCK", "--addr", &control]);
        assert_eq!(listed.code, 0, "{}", listed.stderr);
        assert!(listed.stdout.contains(&id) && listed.stdout.contains("FALSE_POSITIVE"));
        assert_eq!(listed.stdout.lines().count(), 2, "a head and one decision");
        let shown = shell.run(&["decisions", "show", &id, "--addr", &control]);
        for part in ["say:BLOCK", "it was fine", "DevCo"] {
            assert!(shown.stdout.contains(part), "{}", shown.stdout);
        }
        let exported = shell
            .run(&["decisions", "export", "--addr", &control])
            .json();
        assert_eq!(exported.len(), 2);
        assert_eq!(exported[1]["draft"], "say:BLOCK");
        assert_eq!(exported[1]["outcomes"][0]["kind"], "FALSE_POSITIVE");
        let nobody = shell.run(&["decisions", "show", "nobody's", "--addr", &control]);
        assert_eq!(nobody.code, 4);
        assert!(nobody.stderr.contains("`nobody's` is not in the log"));
    });
    ran.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_obeys_nothing_of_what_is_listed_or_shown() {
    let daemon = Setup::new().start().await;
    let hostile = JudgeRequest {
        context_json: r#"{"company": "Birch\u001b[31m", "city": "Graz\u009b2J"}"#.to_owned(),
        ..request("Hi\u{1b}[2J Ida\u{9b}31m,\r\n\u{7}say:BLOCK")
    };
    let id = daemon.ask(hostile).await.unwrap().decision_id;
    let report = ReportOutcomeRequest {
        reported_by: "Ida\u{1b}[1m".to_owned(),
        note: "it was\u{1b}[2J fine".to_owned(),
        ..outcome(&id, OutcomeKind::FalsePositive)
    };
    daemon.client().report_outcome(report).await.unwrap();
    let control = daemon.control_addr.clone();
    let ran = tokio::task::spawn_blocking(move || {
        let shell = Shell::new();
        let listed = shell.run(&["decisions", "--addr", &control]).stdout;
        assert!(listed.contains("  Birch [31m  "), "{listed:?}");
        let shown = shell.run(&["decisions", "show", &id, "--addr", &control]);
        let shown = shown.stdout;
        for part in [
            "  Hi [2J Ida 31m,\n              say:BLOCK\n",
            "  Birch [31m by email\n",
            "Graz 2J",
            " by Ida [1m: it was [2J fine\n",
        ] {
            assert!(shown.contains(part), "{part:?} {shown:?}");
        }
        for text in [listed, shown] {
            let obeyed = |letter: char| letter.is_control() && letter != '\n';
            assert!(!text.contains(obeyed), "{text:?}");
        }
    });
    ran.await.unwrap();
}

/// Five of the largest drafts are more than a client of gRPC reads by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decisions_on_long_drafts_are_shown_and_exported() {
    let setup = Setup::new().with(|config| {
        config.policy.mode = Mode::RulesOnly;
        config.max_message_bytes = 6 << 20;
    });
    let daemon = setup.start_unready().await;
    let mut longest = String::new();
    for mebibytes in [1, 1, 1, 1, 5] {
        let draft = "Hi. ".repeat(mebibytes << 18);
        longest = daemon.ask(request(&draft)).await.unwrap().decision_id;
    }
    let control = daemon.control_addr.clone();
    let ran = tokio::task::spawn_blocking(move || {
        let shell = Shell::new();
        let exported = shell.run(&["decisions", "export", "--addr", &control]);
        assert_eq!(exported.code, 0, "{}", exported.stderr);
        assert_eq!(exported.json().len(), 5);
        let shown = shell.run(&["decisions", "show", &longest, "--addr", &control]);
        assert_eq!(shown.code, 0, "{}", shown.stderr);
    });
    ran.await.unwrap();
}
