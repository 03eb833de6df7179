//! A spot check asks the model alone, beside the traffic, and trips the kill
//! switch where a probe has too few right.

use std::fmt::Write;
use std::time::Duration;

use crate::support::command::{Ran, Shell};
use crate::support::daemon::{Daemon, Gate, Setup, request, until};
use judged::rpc::proto::kill_switch::State;
use judged::rpc::proto::{
    DecidedBy, GetStatusRequest, GetStatusResponse, ListDecisionsRequest, Origin,
};
use judged::spot_check::Suite;

/// A suite of one probe.
fn suite(right: usize) -> String {
    cases("E01", right)
}

/// The same of each probe that is asked every week.
fn whole_suite(right: usize) -> String {
    let own = Suite::own().unwrap();
    own.probes().map(|probe| cases(probe, right)).collect()
}

/// Five violating and three clean cases: the scripted model answers as the drafts say.
fn cases(probe: &str, right: usize) -> String {
    let mut text = String::new();
    for number in 0..8 {
        let expected = if number < 5 { "BLOCK" } else { "PASS" };
        let other = if number < 5 { "PASS" } else { "BLOCK" };
        let says = if number < right { expected } else { other };
        writeln!(
            text,
            r#"{{"id": "{probe}-{number}", "probe": "{probe}", "context": {{"company": "Birch {number}"}}, "draft": "say:{says}", "expected": "{expected}"}}"#
        )
        .unwrap();
    }
    text
}

async fn check(daemon: &Daemon, suite: String) -> Ran {
    let addr = daemon.control_addr.clone();
    let ran = tokio::task::spawn_blocking(move || {
        let shell = Shell::new();
        let file = shell.file("suite.jsonl", &suite);
        shell.run(&["spot-check", "--suite", &file, "--json", "--addr", &addr])
    });
    ran.await.unwrap()
}

async fn status(daemon: &Daemon) -> GetStatusResponse {
    let status = daemon
        .control_client()
        .get_status(GetStatusRequest {})
        .await;
    status.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_right_is_enough_and_is_told_with_the_next_time() {
    let daemon = Setup::new().start().await;
    assert!(status(&daemon).await.spot_checks.unwrap().last.is_none());
    let ran = check(&daemon, whole_suite(4)).await;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let told = &ran.json()[0];
    assert_eq!(told["probes"]["E01"]["total"], 8);
    assert_eq!(told["probes"]["E01"]["right"], 4);
    assert_eq!(told["tripped"], false);
    let spot_checks = status(&daemon).await.spot_checks.unwrap();
    let (last, next) = (spot_checks.last.unwrap(), spot_checks.next.unwrap());
    assert_eq!(next.seconds - last.seconds, 7 * 24 * 60 * 60);
    assert!(!spot_checks.missed);
    assert_eq!(spot_checks.probes.len(), 10);
    assert!(spot_checks.probes.iter().all(|probe| probe.right == 4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_leaves_probes_out_does_not_put_the_weekly_one_off() {
    let daemon = Setup::new().start().await;
    let is_due = async || daemon.judge.spot_check_schedule().await.unwrap().is_due();
    check(&daemon, whole_suite(8)).await;
    assert!(!is_due().await);
    check(&daemon, suite(8)).await;
    assert!(is_due().await);
    let spot_checks = status(&daemon).await.spot_checks.unwrap();
    let (last, next) = (spot_checks.last.unwrap(), spot_checks.next.unwrap());
    assert_eq!(next, last, "due since then");
    assert!(!spot_checks.missed);
    assert_eq!(spot_checks.probes.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_another_adapter_tells_nothing_of_this_one() {
    let state = tempfile::tempdir().unwrap();
    let setup = || Setup::new().with(|config| config.state_dir = state.path().to_owned());
    let mut daemon = setup().start().await;
    check(&daemon, whole_suite(8)).await;
    daemon.drain().await.unwrap();

    let mut other = setup();
    let adapter = other.bundle.adapter.as_mut().unwrap();
    adapter.sha256 = "0".repeat(64);
    let mut daemon = other.start().await;
    let spot_checks = status(&daemon).await.spot_checks.unwrap();
    assert!(spot_checks.last.is_none() && spot_checks.probes.is_empty());
    assert!(daemon.judge.spot_check_schedule().await.unwrap().is_due());
    daemon.drain().await.unwrap();

    let daemon = setup().start().await;
    assert!(!daemon.judge.spot_check_schedule().await.unwrap().is_due());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_half_right_trips_with_the_probe_named() {
    let daemon = Setup::new().start().await;
    let ran = check(&daemon, suite(3)).await;
    assert_eq!(ran.code, 12, "{}", ran.stderr);
    let switch = status(&daemon).await.kill_switch.unwrap();
    assert_eq!(switch.state(), State::Tripped);
    assert!(
        switch.reason.contains("3 of 8 cases of probe E01"),
        "{}",
        switch.reason
    );
    let response = daemon.ask(request("say:PASS")).await.unwrap();
    assert_eq!(response.decided_by(), DecidedBy::Rules);
    let again = check(&daemon, suite(8)).await;
    assert_eq!(again.code, 4);
    assert!(again.stderr.contains("needs the model"), "{}", again.stderr);
}

/// One that is on record is not made again for a week, whatever the switch knows of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_switch_knows_of_a_failed_one_before_it_is_on_record() {
    let state = tempfile::tempdir().unwrap();
    let setup = Setup::new().with(|config| config.state_dir = state.path().to_owned());
    let daemon = setup.start().await;
    let suite = Suite::parse(&suite(3)).unwrap();
    let (judge, file) = (daemon.judge.clone(), state.path().join("decisions.db"));
    let (ended, end) = std::sync::mpsc::channel();
    let checking = tokio::spawn(async move {
        let each = |done, total| {
            if done == total {
                let other = rusqlite::Connection::open(&file).unwrap();
                other.execute_batch("BEGIN IMMEDIATE").unwrap();
                ended.send(other).unwrap();
            }
        };
        judge.spot_check(&suite, each).await
    });
    let other = tokio::task::spawn_blocking(move || end.recv().unwrap())
        .await
        .unwrap();
    until("it has tripped", || {
        daemon.judge.authority().standing().tripped
    })
    .await;
    assert!(
        daemon
            .judge
            .log()
            .last_spot_check()
            .await
            .unwrap()
            .is_none()
    );
    other.execute_batch("ROLLBACK").unwrap();
    assert!(checking.await.unwrap().unwrap().tripped);
    assert!(
        daemon
            .judge
            .log()
            .last_spot_check()
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_cases_are_recorded_as_such_and_are_no_traffic() {
    let daemon = Setup::new().start().await;
    let traffic = daemon.ask(request("say:PASS")).await.unwrap().decision_id;
    check(&daemon, suite(8)).await;
    let answer = daemon
        .control_client()
        .list_decisions(ListDecisionsRequest::default())
        .await;
    let decisions = answer.unwrap().into_inner().decisions;
    assert_eq!(decisions.len(), 9);
    for decision in decisions {
        let id = &decision.response.as_ref().unwrap().decision_id;
        let expected = match *id == traffic {
            true => Origin::Traffic,
            false => Origin::SpotCheck,
        };
        assert_eq!(decision.origin(), expected);
    }
    let switch = status(&daemon).await.kill_switch.unwrap();
    assert_eq!(switch.conditions[0].samples, 1, "prospects of traffic");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traffic_that_fills_the_queue_delays_it_and_does_not_end_it() {
    let gate = Gate::default();
    let setup = Setup::new().gated(&gate).with(|config| {
        config.engine.slots = 1;
        config.engine.queue = 2;
    });
    let daemon = setup.start().await;
    gate.close();
    let running = daemon.asking(request("say:PASS"));
    gate.until_reached().await;
    // Of one caller, who gives nothing up for it.
    let waiting = ["say:PASS", "say:BLOCK"].map(|draft| daemon.asking(request(draft)));
    daemon.until_waiting(2).await;
    let checking = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        gate.open();
    };
    let (ran, ()) = tokio::join!(check(&daemon, suite(8)), checking);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(ran.json()[0]["probes"]["E01"]["right"], 8);
    for answer in [running].into_iter().chain(waiting) {
        answer.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suite_that_cannot_be_read_is_refused_with_its_line() {
    let daemon = Setup::new().start().await;
    let ran = check(&daemon, suite(8) + "{\"id\": 7}\n").await;
    assert_eq!(ran.code, 4);
    assert!(ran.stderr.contains("line 9"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_suite_is_refused_and_no_other_is_asked_in_its_place() {
    let daemon = Setup::new().start().await;
    let ran = check(&daemon, String::new()).await;
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("has no case"), "{}", ran.stderr);
    assert!(status(&daemon).await.spot_checks.unwrap().last.is_none());
}
