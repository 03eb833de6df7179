//! Promise: `judged eval --replay` judges recorded decisions again, and tells what would change.

use crate::support::command::{Ran, Shell};
use crate::support::daemon::{Daemon, Setup, request};
use judged::backend::scripted::{Reply, ScriptedSource};
use judged::rpc::proto::{OutcomeKind, ReportOutcomeRequest};
use judged::verdict::{Label, Mode};
use serde_json::Value;

/// What a daemon has decided and exported: one PASS, one BLOCK that somebody
/// reports as wrong, one SUPPRESS of the hard rules.
async fn exported(shell: &Shell) -> String {
    let daemon = Setup::new().start().await;
    daemon.ask(request("say:PASS")).await.unwrap();
    let blocked = daemon.ask(request("say:BLOCK")).await.unwrap();
    let mut opted_out = request("say:PASS");
    opted_out.context_json =
        r#"{"company": "Birch", "unsubscribed": true, "email": "a@b.example"}"#.to_owned();
    daemon.ask(opted_out).await.unwrap();
    let report = ReportOutcomeRequest {
        decision_id: blocked.decision_id,
        kind: OutcomeKind::FalsePositive.into(),
        reported_by: "Ida".to_owned(),
        ..ReportOutcomeRequest::default()
    };
    daemon.client().report_outcome(report).await.unwrap();
    let lines = shell.run(&["decisions", "export", "--addr", &daemon.control_addr]);
    assert_eq!(lines.stdout.lines().count(), 3, "{lines:?}");
    lines.stdout
}

fn replay(daemon: &Daemon, shell: &Shell, export: &str, more: &[&str]) -> Ran {
    let asked = ["eval", "--replay", export, "--addr", &daemon.judge_addr];
    let control = ["--control-addr", &daemon.control_addr];
    shell.run(&[&asked[..], &control, more].concat())
}

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_judge_changes_nothing() {
    let shell = Shell::new();
    let export = shell.file("export.jsonl", &exported(&shell).await);
    let ran = replay(&Setup::new().start().await, &shell, &export, &["--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let told = json(&ran);
    assert_eq!(told["run"]["answered"], 3);
    assert_eq!(told["changed"].as_array().unwrap().len(), 0, "{told}");
    // The masked e-mail address of the one that the rules decided.
    assert_eq!(
        (&told["masked"], &told["recorded"]["rules"]),
        (&1.into(), &1.into())
    );
    assert_eq!(told["reported"][0]["right_now"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_that_stands_twice_is_asked_once() {
    let shell = Shell::new();
    let export = shell.file("export.jsonl", &exported(&shell).await.repeat(2));
    let daemon = Setup::new().start().await;
    let ran = replay(&daemon, &shell, &export, &["--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let run = &json(&ran)["run"];
    assert_eq!((&run["selected"], &run["answered"]), (&3.into(), &3.into()));
    let asked = daemon.judge.tally();
    assert_eq!(asked.by_model + asked.by_rules, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_model_changes_what_it_decides_and_mends_a_reported_false_positive() {
    let shell = Shell::new();
    let export = shell.file("export.jsonl", &exported(&shell).await);
    let mut setup = Setup::new();
    setup.source.scripted = ScriptedSource::new(|_| Reply {
        label: Label::Pass,
        sentence: "All is well.".to_owned(),
        fault: None,
    });
    let daemon = setup.start().await;
    let told = json(&replay(&daemon, &shell, &export, &["--json"]));
    let changed = told["changed"].as_array().unwrap();
    assert_eq!(changed.len(), 1, "{told}");
    assert_eq!(changed[0]["was"]["label"], "BLOCK");
    assert_eq!(changed[0]["now"]["disposition"], "DISPATCH");
    assert_eq!(changed[0]["finding"], "FALSE_POSITIVE");
    assert_eq!(told["labels"]["BLOCK"]["PASS"], 1);
    assert_eq!(told["reported"][0]["right_now"], 1);

    let page = replay(&daemon, &shell, &export, &[]).stdout;
    for part in [
        "would change: 1 of 3, 1 of them in their label",
        "FALSE_POSITIVE    1 of 1 would be called PASS",
        "1 with masked texts",
        "draft  say:BLOCK",
    ] {
        assert!(page.contains(part), "{part}\n{page}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_mode_changes_what_a_pass_means() {
    let shell = Shell::new();
    let export = exported(&shell).await;
    let daemon = Setup::new().with(|config| config.policy.mode = Mode::RulesOnly);
    let daemon = daemon.start_unready().await;
    let asked = ["eval", "--replay", "-", "--addr", &daemon.judge_addr];
    let asked = [&asked[..], &["--control-addr", &daemon.control_addr]].concat();
    let ran = shell.run_with(&[&asked[..], &["--json"]].concat(), &[], &export);
    assert_eq!(ran.code, 0, "{ran:?}");
    let told = json(&ran);
    let now: Vec<&Value> = told["changed"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| &change["now"]["disposition"])
        .collect();
    // Newest first: the blocked one, then the one that had passed.
    assert_eq!(now, ["HOLD_FOR_REVIEW", "HOLD_FOR_REVIEW"]);
    assert_eq!(told["run"]["decided_by_rules"], 3);

    let page = shell.run_with(&asked, &[], &export).stdout;
    let held = "FALSE_POSITIVE    1 of 1 would be called PASS";
    assert!(page.contains(held), "{page}");
}

#[test]
fn a_file_that_is_no_export_is_refused_with_its_line() {
    let shell = Shell::new();
    let cases = shell.file("cases.jsonl", "\n{\"id\": \"a\"}\n");
    let ran = shell.run(&["eval", "--replay", &cases]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    for part in ["line 2", "judged decisions export", "decision_id"] {
        assert!(ran.stderr.contains(part), "{}", ran.stderr);
    }
    let both = shell.run(&["eval", "cases", "--replay", &cases]);
    assert_eq!(both.code, 2, "{both:?}");
}
