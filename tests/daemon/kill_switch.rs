//! The conditions of the model card, each driven through gRPC: the rules take
//! over, also in the next daemon, until a person re-arms the switch.

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::command::Shell;
use crate::support::daemon::{Daemon, Gate, Setup, request, until};
use judged::backend::{OpenError, Serve, Source};
use judged::kill_switch::Event;
use judged::rpc::convert::{self, Envelope};
use judged::rpc::proto::kill_switch::State;
use judged::rpc::proto::{
    DecidedBy, Disposition, GetStatusRequest, JudgeRequest, JudgeResponse, KillSwitch, Label, Mode,
    OutcomeKind, ReArmRequest, ReportOutcomeRequest, SetModeRequest,
};
use judged::rpc::status::Failure;
use tempfile::TempDir;
use tonic::{Code, Status};
use tonic_types::StatusExt;

fn in_state(dir: &Path) -> Setup {
    Setup::new().with(|config| config.state_dir = dir.to_owned())
}

fn of_prospect(number: u32, draft: &str) -> JudgeRequest {
    JudgeRequest {
        context_json: format!(r#"{{"prospect_id": "p_{number}"}}"#),
        ..request(draft)
    }
}

async fn report(daemon: &Daemon, decision_id: &str, kind: OutcomeKind, tier: u32) -> bool {
    let reported = try_report(daemon, decision_id, kind, tier).await;
    reported.unwrap()
}

async fn try_report(
    daemon: &Daemon,
    decision_id: &str,
    kind: OutcomeKind,
    tier: u32,
) -> Result<bool, Status> {
    let report = ReportOutcomeRequest {
        decision_id: decision_id.to_owned(),
        kind: kind.into(),
        incident_tier: tier,
        reported_by: "Ida".to_owned(),
        ..ReportOutcomeRequest::default()
    };
    let answer = daemon.client().report_outcome(report).await?;
    Ok(answer.into_inner().tripped)
}

async fn switch(daemon: &Daemon) -> KillSwitch {
    let status = daemon
        .control_client()
        .get_status(GetStatusRequest {})
        .await;
    status.unwrap().into_inner().kill_switch.unwrap()
}

async fn re_arm(daemon: &Daemon, via_shadow: bool) -> Result<KillSwitch, Status> {
    let request = ReArmRequest {
        by: "Ida".to_owned(),
        reason: "trained anew".to_owned(),
        via_shadow,
    };
    let answer = daemon.control_client().re_arm(request).await?;
    Ok(answer.into_inner().kill_switch.unwrap())
}

/// What the model would pass, the rules hold.
async fn assert_rules_decide(daemon: &Daemon, why: &str) {
    let response = daemon.ask(request("say:PASS")).await.unwrap();
    assert_eq!(response.decided_by(), DecidedBy::Rules);
    assert_eq!(response.mode(), Mode::RulesOnly);
    assert_eq!(response.disposition(), Disposition::HoldForReview);
    let reason = &response.degraded_reason;
    assert!(reason.contains(why), "`{reason}` does not tell of `{why}`");
    let tripped = switch(daemon).await;
    assert_eq!(tripped.state(), State::Tripped);
    assert!(tripped.reason.contains(why) && tripped.since.is_some());
}

async fn assert_the_model_decides(daemon: &Daemon) -> JudgeResponse {
    let response = daemon.ask(request("say:PENALISE")).await.unwrap();
    assert_eq!(response.decided_by(), DecidedBy::Model);
    assert_eq!(response.label(), Label::Penalise);
    response
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_incident_of_tier_1_trips_at_once_and_one_of_tier_2_does_not() {
    let daemon = Setup::new().start().await;
    let passed = daemon.ask(request("say:PASS")).await.unwrap().decision_id;
    assert!(!report(&daemon, &passed, OutcomeKind::Incident, 2).await);
    assert_the_model_decides(&daemon).await;
    assert!(report(&daemon, &passed, OutcomeKind::Incident, 1).await);
    assert_rules_decide(&daemon, "incident of tier 1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_15_in_100_prospects_with_a_false_positive_trip() {
    let daemon = Setup::new().start().await;
    let mut decisions = Vec::new();
    for number in 0..100 {
        let response = daemon.ask(of_prospect(number, "say:BLOCK")).await.unwrap();
        decisions.push(response.decision_id);
    }
    for id in &decisions[..15] {
        assert!(!report(&daemon, id, OutcomeKind::FalsePositive, 0).await);
    }
    let near = switch(&daemon).await;
    assert_eq!(
        (near.conditions[0].count, near.conditions[0].more),
        (15, Some(1))
    );
    // The same one again, and one that was right after all, count nothing more.
    assert!(!report(&daemon, &decisions[0], OutcomeKind::FalsePositive, 0).await);
    assert!(!report(&daemon, &decisions[1], OutcomeKind::Right, 0).await);
    assert!(!report(&daemon, &decisions[1], OutcomeKind::FalsePositive, 0).await);
    assert!(report(&daemon, &decisions[15], OutcomeKind::FalsePositive, 0).await);
    assert_rules_decide(&daemon, "16 of the last 100 prospects").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draft_that_went_out_is_no_false_positive_and_one_that_was_held_may_be() {
    let daemon = Setup::new().start().await;
    let mut decisions = Vec::new();
    for number in 0..100 {
        let response = daemon.ask(of_prospect(number, "say:PASS")).await.unwrap();
        assert_eq!(response.disposition(), Disposition::Dispatch);
        decisions.push(response.decision_id);
    }
    for id in &decisions[..16] {
        let reported = try_report(&daemon, id, OutcomeKind::FalsePositive, 0).await;
        let refused = reported.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        let details = refused.get_error_details();
        assert_eq!(details.error_info().unwrap().reason, "DECISION_DISPATCHED");
        assert!(refused.message().contains("missed-violation"), "{refused}");
    }
    assert_eq!(switch(&daemon).await.conditions[0].count, 0);
    assert_the_model_decides(&daemon).await;

    let unmeant = request("say:PASS\nfault:unmeant");
    let held = daemon.ask(unmeant).await.unwrap();
    assert_eq!(held.label(), Label::Pass);
    assert_eq!(held.disposition(), Disposition::HoldForReview);
    assert!(!report(&daemon, &held.decision_id, OutcomeKind::FalsePositive, 0).await);
    assert_eq!(switch(&daemon).await.conditions[0].count, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_output_of_more_than_1_in_100_calls_trips() {
    let daemon = Setup::new().start().await;
    let malformed = request("say:PASS\nfault:nan");
    daemon.ask(malformed.clone()).await.unwrap();
    for number in 0..98 {
        daemon.ask(of_prospect(number, "say:PASS")).await.unwrap();
    }
    assert_the_model_decides(&daemon).await;
    let response = daemon.ask(malformed).await.unwrap();
    assert_eq!(response.decided_by(), DecidedBy::Rules);
    assert_rules_decide(&daemon, "2 of the last 101 calls").await;
}

/// What a crash at this moment would leave.
fn as_after_a_crash(state: &Path) -> TempDir {
    let left = TempDir::new().unwrap();
    for file in ["decisions.db", "decisions.db-wal"] {
        std::fs::copy(state.join(file), left.path().join(file)).unwrap();
    }
    left
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_after_the_first_answer_that_tells_of_a_trip_does_not_lose_it() {
    let state = TempDir::new().unwrap();
    let daemon = in_state(state.path()).start().await;
    let malformed = request("say:PASS\nfault:nan");
    for _ in 0..99 {
        daemon.ask(malformed.clone()).await.unwrap();
    }
    let response = daemon.ask(malformed).await.unwrap();
    assert!(response.degraded_reason.contains("100 of the last 100"));
    let left = as_after_a_crash(state.path());
    let daemon = in_state(left.path()).start_unready().await;
    assert_rules_decide(&daemon, "100 of the last 100 calls").await;
}

/// Holds the log's file as another process would.
pub fn locked(state: &Path) -> rusqlite::Connection {
    let other = rusqlite::Connection::open(state.join("decisions.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    other
}

fn incident() -> Event {
    Event::Incident {
        tier: 1,
        decision: None,
        probe: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trip_that_was_given_up_while_it_was_written_is_written_by_the_next_answer() {
    let state = TempDir::new().unwrap();
    let daemon = in_state(state.path()).start().await;
    let other = locked(state.path());
    let authority = daemon.judge.authority();
    assert!(authority.note(incident()));
    let soon = Duration::from_millis(100);
    tokio::time::timeout(soon, authority.keep())
        .await
        .unwrap_err();
    other.execute_batch("ROLLBACK").unwrap();
    assert_rules_decide(&daemon, "incident").await;
    let left = as_after_a_crash(state.path());
    let daemon = in_state(left.path()).start_unready().await;
    assert_rules_decide(&daemon, "incident").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trip_while_a_re_arm_is_written_stays() {
    let state = TempDir::new().unwrap();
    let daemon = in_state(state.path()).start().await;
    let authority = daemon.judge.authority();
    authority.note(incident());
    re_arm(&daemon, true).await.unwrap();
    // Nobody else has anything to write then.
    authority.keep().await.unwrap();
    let other = locked(state.path());
    let mut arming = pin!(authority.re_arm("Ida", "trained anew", false));
    // Its first step goes as far as the file, which is locked.
    tokio::time::timeout(Duration::ZERO, arming.as_mut())
        .await
        .unwrap_err();
    assert!(authority.note(incident()));
    other.execute_batch("ROLLBACK").unwrap();
    let refused = Failure::from(arming.await.unwrap_err());
    assert_eq!(refused.reason(), "KILL_SWITCH_OVERTAKEN");
    assert_rules_decide(&daemon, "incident").await;
    let left = as_after_a_crash(state.path());
    let daemon = in_state(left.path()).start_unready().await;
    assert_rules_decide(&daemon, "incident").await;
}

async fn set_mode(daemon: &Daemon, mode: Mode) {
    let request = SetModeRequest {
        mode: mode.into(),
        by: "Ida".to_owned(),
        reason: "a release is looked at".to_owned(),
    };
    daemon.control_client().set_mode(request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_model_said_before_the_mode_changed_does_not_decide_after_it() {
    let gate = Gate::default();
    let daemon = Setup::new().gated(&gate).start().await;
    gate.close_after(1);
    let asked = daemon.asking(request("say:PASS"));
    gate.until_reached().await;
    set_mode(&daemon, Mode::Shadow).await;
    gate.open();
    let response = asked.await.unwrap().unwrap();
    assert_eq!(response.decided_by(), DecidedBy::Rules);
    assert_eq!(response.mode(), Mode::Shadow);
    assert_eq!(response.disposition(), Disposition::HoldForReview);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_model_said_in_another_mode_does_not_decide_after_it() {
    let gate = Gate::default();
    let daemon = Setup::new().gated(&gate).start().await;
    gate.close();
    let envelope = Envelope {
        arrived: Instant::now(),
        deadline: None,
        caller: 1,
        caller_name: None,
    };
    let asked = convert::request(request("say:PASS"), envelope).unwrap();
    let judge = Arc::clone(&daemon.judge);
    let deciding = tokio::spawn(async move { judge.decide(asked).await });
    gate.until_reached().await;
    set_mode(&daemon, Mode::Shadow).await;
    gate.open();
    let verdict = deciding.await.unwrap().unwrap();
    set_mode(&daemon, Mode::Enforce).await;
    let response = convert::response(&verdict.finish().await.unwrap());
    assert_eq!(response.decided_by(), DecidedBy::Rules);
    assert_eq!(response.mode(), Mode::Enforce);
    assert_eq!(response.disposition(), Disposition::HoldForReview);
    let reason = &response.degraded_reason;
    assert!(reason.contains("the mode was SHADOW"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_under_way_when_it_trips_are_answered_by_rules() {
    let gate = Gate::default();
    let daemon = Setup::new().gated(&gate).start().await;
    let passed = daemon.ask(request("say:PASS")).await.unwrap().decision_id;
    // The first is in its rationale, the others are not even admitted.
    gate.close_after(1);
    let asked: Vec<_> = ["say:BLOCK", "say:PASS", "say:ESCALATE"]
        .map(|draft| daemon.asking(request(draft)))
        .into();
    gate.until_reached().await;
    assert!(report(&daemon, &passed, OutcomeKind::Incident, 1).await);
    gate.open();
    for answer in asked {
        let response = answer.await.unwrap().unwrap();
        assert_eq!(response.decided_by(), DecidedBy::Rules);
        assert_eq!(response.disposition(), Disposition::HoldForReview);
        assert!(response.degraded_reason.contains("incident of tier 1"));
    }
    until("the adapter is off", || {
        matches!(daemon.state(), judged::engine::State::Suspended(_))
    })
    .await;
    let steps = daemon.meter();
    assert_rules_decide(&daemon, "incident").await;
    assert_eq!(daemon.meter().prefill_tokens, steps.prefill_tokens);
    re_arm(&daemon, false).await.unwrap();
    daemon.until_ready().await;
    assert_the_model_decides(&daemon).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trip_outlives_the_daemon_and_ends_through_shadow_by_a_person() {
    let state = TempDir::new().unwrap();
    let mut daemon = in_state(state.path()).start().await;
    let passed = daemon.ask(request("say:PASS")).await.unwrap().decision_id;
    report(&daemon, &passed, OutcomeKind::Incident, 1).await;
    daemon.drain().await.unwrap();

    let daemon = in_state(state.path()).start_unready().await;
    assert_rules_decide(&daemon, "incident of tier 1").await;
    let shadowing = re_arm(&daemon, true).await.unwrap();
    assert_eq!(shadowing.state(), State::Shadowing);
    let response = daemon.ask(request("say:BLOCK")).await.unwrap();
    assert_eq!(response.decided_by(), DecidedBy::Rules);
    assert_eq!(response.mode(), Mode::Shadow);
    assert!(
        response
            .degraded_reason
            .contains("re-armed through SHADOW by Ida")
    );

    let armed = re_arm(&daemon, false).await.unwrap();
    assert_eq!(armed.state(), State::Armed);
    daemon.until_ready().await;
    let response = assert_the_model_decides(&daemon).await;
    assert_eq!(response.mode(), Mode::Enforce);
    assert!(response.degraded_reason.is_empty());
    let again = re_arm(&daemon, false).await.unwrap_err();
    assert_eq!(again.code(), Code::FailedPrecondition);
    let details = again.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "NOT_TRIPPED");
}

/// Its base would do.
struct WithBrokenAdapter;

impl Source for WithBrokenAdapter {
    fn open(&mut self, _: &dyn Fn(), _: &mut Serve<'_>) -> Result<(), OpenError> {
        Err(OpenError::Adapter("its file is cut off".to_owned()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_adapter_that_cannot_be_loaded_trips_and_is_not_re_armed_before_it_can() {
    let state = TempDir::new().unwrap();
    let mut daemon = in_state(state.path()).start_with(WithBrokenAdapter).await;
    until("it has tripped", || {
        daemon.judge.authority().standing().tripped
    })
    .await;
    assert_rules_decide(&daemon, "cut off").await;
    let refused = re_arm(&daemon, false).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("cut off"), "{refused}");
    daemon.drain().await.unwrap();

    // The file is whole again, but nobody has said so yet.
    let daemon = in_state(state.path()).start_unready().await;
    until("the model is loaded", || {
        matches!(daemon.state(), judged::engine::State::Suspended(_))
    })
    .await;
    assert_rules_decide(&daemon, "cut off").await;
    // The switch learns of it a little later.
    let end = Instant::now() + Duration::from_secs(30);
    while let Err(refused) = re_arm(&daemon, false).await {
        assert!(refused.message().contains("cut off"), "{refused}");
        assert!(Instant::now() < end, "{refused}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    daemon.until_ready().await;
    assert_the_model_decides(&daemon).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_that_cannot_be_read_is_a_trip_with_the_reason() {
    for (kept, why) in [
        (
            br#"{"version": 1, "switch": 7}"#.as_slice(),
            "cannot be read: invalid type: integer `7`",
        ),
        (
            br#"{"version": 1,"#.as_slice(),
            "cannot be read: EOF while parsing",
        ),
        (
            b"{\"version\": \"\xff\"}".as_slice(),
            "cannot be read: invalid unicode",
        ),
    ] {
        let state = TempDir::new().unwrap();
        let mut daemon = in_state(state.path()).start().await;
        daemon.ask(request("say:PASS")).await.unwrap();
        daemon.drain().await.unwrap();
        put_state(state.path(), "kill_switch", kept);
        let daemon = in_state(state.path()).start_unready().await;
        assert_rules_decide(&daemon, why).await;
    }
}

/// In the place of what the daemon kept.
fn put_state(state: &Path, key: &str, value: &[u8]) {
    let log = rusqlite::Connection::open(state.join("decisions.db")).unwrap();
    let sql = "INSERT OR REPLACE INTO state (key, value) VALUES (?1, CAST(?2 AS TEXT))";
    log.execute(sql, (key, value)).unwrap();
}

#[test]
fn a_trip_is_gone_with_the_file_that_kept_it_and_the_next_start_says_that_it_begins_armed() {
    let shell = Shell::new();
    let state = shell.home.path().join("state");
    let [flag, dir] = ["--state-dir", state.to_str().unwrap()];
    let tripped = |addr: &str| {
        let status = shell.run(&["kill-switch", "status", "--addr", addr]);
        status.code == 5
    };
    let served = shell.serve(&[flag, dir]);
    let addr = ["--addr", &served.judge];
    let ask = ["judge", "--context", "{}", "--draft", "Hi", "--json"];
    let answer = shell.run(&[&ask[..], &addr].concat()).json().remove(0);
    let id = answer["decision_id"].as_str().unwrap();
    let report = ["report", id, "incident", "--tier", "1", "--by", "Ida"];
    let reported = shell.run(&[&report[..], &addr].concat());
    assert_eq!(reported.code, 0, "{}", reported.stderr);
    assert!(tripped(&served.control));
    served.signal("TERM");
    served.end(Duration::from_secs(30));

    std::fs::rename(state.join("decisions.db"), state.join("moved")).unwrap();
    // It comes no further than to the address that another program has.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let ran = shell.run(&["serve", "--listen", &listen, flag, dir]);
    assert!(
        ran.stderr.contains("no kill switch yet: it begins armed"),
        "{}",
        ran.stderr
    );
    let served = shell.serve(&[flag, dir, "--mode", "rules-only"]);
    assert!(!tripped(&served.control));
    let mode = shell.run(&["mode", "--addr", &served.control]);
    assert_eq!(mode.stdout, "RULES_ONLY\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_mode_set_at_run_time_cannot_be_read_that_of_the_settings_holds() {
    let state = TempDir::new().unwrap();
    let mut daemon = in_state(state.path()).start().await;
    set_mode(&daemon, Mode::RulesOnly).await;
    daemon.drain().await.unwrap();
    put_state(state.path(), "mode", br#"{"mode":"#);
    let daemon = in_state(state.path()).start().await;
    assert_the_model_decides(&daemon).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_re_arm_needs_a_name_and_a_reason() {
    let daemon = Setup::new().start().await;
    let passed = daemon.ask(request("say:PASS")).await.unwrap().decision_id;
    report(&daemon, &passed, OutcomeKind::Incident, 1).await;
    for (by, reason) in [("", "trained anew"), ("Ida", " ")] {
        let request = ReArmRequest {
            by: by.to_owned(),
            reason: reason.to_owned(),
            via_shadow: false,
        };
        let refused = daemon.control_client().re_arm(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
    assert_rules_decide(&daemon, "incident").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn evidence_outlives_the_daemon_too() {
    let state = TempDir::new().unwrap();
    let mut daemon = in_state(state.path()).start().await;
    let mut decisions = Vec::new();
    for number in 0..100 {
        let response = daemon.ask(of_prospect(number, "say:BLOCK")).await.unwrap();
        decisions.push(response.decision_id);
    }
    for id in &decisions[..15] {
        report(&daemon, id, OutcomeKind::FalsePositive, 0).await;
    }
    daemon.drain().await.unwrap();
    let daemon = in_state(state.path()).start().await;
    assert!(report(&daemon, &decisions[15], OutcomeKind::FalsePositive, 0).await);
    assert_rules_decide(&daemon, "16 of the last 100 prospects").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mode_set_at_run_time_holds_after_a_restart_until_the_settings_change() {
    let set = async |daemon: &Daemon, mode: Mode| {
        let request = SetModeRequest {
            mode: mode.into(),
            by: "Ida".to_owned(),
            reason: "a release is looked at".to_owned(),
        };
        daemon.control_client().set_mode(request).await
    };
    let state = TempDir::new().unwrap();
    let mut daemon = in_state(state.path()).start().await;
    let previous = set(&daemon, Mode::RulesOnly).await.unwrap().into_inner();
    assert_eq!(previous.previous(), Mode::Enforce);
    let response = daemon.ask(request("say:PASS")).await.unwrap();
    assert_eq!(response.mode(), Mode::RulesOnly);
    assert!(response.degraded_reason.is_empty(), "it was asked for");
    daemon.drain().await.unwrap();

    let mut daemon = in_state(state.path()).start_unready().await;
    let response = daemon.ask(request("say:PASS")).await.unwrap();
    assert_eq!(response.mode(), Mode::RulesOnly);
    daemon.drain().await.unwrap();

    let shadow = |config: &mut judged::config::Config| {
        config.policy.mode = judged::verdict::Mode::Shadow;
    };
    let daemon = in_state(state.path()).with(shadow).start().await;
    let response = daemon.ask(request("say:PASS")).await.unwrap();
    assert_eq!(response.mode(), Mode::Shadow);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_tripped_no_mode_but_rules_only_is_possible() {
    let daemon = Setup::new().start().await;
    let passed = daemon.ask(request("say:PASS")).await.unwrap().decision_id;
    report(&daemon, &passed, OutcomeKind::Incident, 1).await;
    let request = SetModeRequest {
        mode: Mode::Enforce.into(),
        by: "Ida".to_owned(),
        reason: "we need it".to_owned(),
    };
    let refused = daemon.control_client().set_mode(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let details = refused.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "KILL_SWITCH_TRIPPED");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_tells_the_state_and_ends_a_trip() {
    let daemon = Setup::new().start().await;
    let passed = daemon.ask(request("say:PASS")).await.unwrap().decision_id;
    let (judge, control) = (daemon.judge_addr.clone(), daemon.control_addr.clone());
    let ran = tokio::task::spawn_blocking(move || {
        let shell = Shell::new();
        let status = ["kill-switch", "status", "--addr", &control];
        let armed = shell.run(&status);
        assert_eq!(armed.code, 0, "{}", armed.stderr);
        assert!(armed.stdout.contains("armed") && armed.stdout.contains("false_positives"));

        let incident = [
            "report", &passed, "incident", "--tier", "1", "--by", "Ida", "--addr", &judge,
        ];
        let reported = shell.run(&incident);
        assert!(
            reported.stderr.contains("tripped the kill switch"),
            "{}",
            reported.stderr
        );
        let tripped = shell.run(&status);
        assert_eq!(tripped.code, 5);
        assert!(
            tripped.stdout.contains("incident of tier 1"),
            "{}",
            tripped.stdout
        );
        let overall = shell.run(&["status", "--addr", &control]);
        assert_eq!(overall.code, 5);
        assert!(overall.stdout.contains("tripped"), "{}", overall.stdout);
        let mode = [
            "mode", "enforce", "--by", "Ida", "--reason", "x", "--addr", &control,
        ];
        assert_eq!(shell.run(&mode).code, 4);

        let re_arm = [
            "kill-switch",
            "re-arm",
            "--by",
            "Ida",
            "--reason",
            "fixed",
            "--addr",
            &control,
        ];
        assert_eq!(shell.run(&re_arm).code, 0);
        assert_eq!(shell.run(&status).code, 0);
        let told = shell.run(&["mode", "--addr", &control]);
        assert_eq!(told.stdout, "ENFORCE\n");
    });
    ran.await.unwrap();
    until("the model decides again", || {
        daemon.state().trouble().is_none()
    })
    .await;
    assert_the_model_decides(&daemon).await;
}
