//! Promise: `judged eval` counts what a daemon answered, all of it and nothing else, and its exit
//! code tells whether that may be relied on.

use std::fs;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use crate::support::command::{Ran, Shell};
use crate::support::daemon::{Daemon, Gate, Setup, request, until};
use judged::backend::scripted::{Reply, ScriptedSource};
use judged::verdict::{Label, Mode};
use serde_json::{Value, json};

/// Eight cases in both formats, whose drafts tell the scripted model what to answer.
const MADE: &str = "tests/data/eval";

fn arguments<'a>(daemon: &'a Daemon, more: &[&'a str]) -> Vec<&'a str> {
    let asked = ["eval", "--addr", &daemon.judge_addr];
    let control = ["--control-addr", &daemon.control_addr, "--json"];
    [&asked[..], &control, more].concat()
}

fn eval(daemon: &Daemon, shell: &Shell, more: &[&str]) -> Ran {
    shell.run(&arguments(daemon, more))
}

fn report(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"))
}

/// `[k, n]` of a measure.
fn counts(measures: &Value, name: &str) -> [u64; 2] {
    ["k", "n"].map(|key| measures[name][key].as_u64().unwrap())
}

/// As many cases as there are drafts, all of them clean.
fn clean_cases(shell: &Shell, drafts: &[&str]) -> String {
    let lines = drafts.iter().enumerate().map(|(index, draft)| {
        let id = format!("case-{index}");
        json!({"id": id, "context": {}, "draft": draft, "expected": "PASS"}).to_string()
    });
    shell.file("cases.jsonl", &lines.collect::<Vec<_>>().join("\n"))
}

/// A daemon whose model answers everything with one label.
async fn always(label: Label) -> Daemon {
    let mut setup = Setup::new();
    setup.source.scripted = ScriptedSource::new(move |_| Reply {
        label,
        sentence: "It is so.".to_owned(),
        fault: None,
    });
    setup.start().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_measure_is_counted_over_the_cases_that_it_is_about() {
    let daemon = Setup::new().start().await;
    let ran = eval(&daemon, &Shell::new(), &[MADE]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let report = report(&ran);
    let overall = &report["overall"];
    assert_eq!(overall["cases"], 8);
    assert_eq!(counts(overall, "caught"), [2, 4]);
    assert_eq!(counts(overall, "false_positives"), [1, 4]);
    // The pair about well-known funding has no label that could be exact.
    assert_eq!(counts(overall, "exact"), [4, 6]);
    assert_eq!(report["run"]["left_out_of_exact"], 2);
    assert_eq!(report["run"]["decided_by_rules"], 1);

    let names = |groups: &Value| -> Vec<String> {
        let groups = groups.as_array().unwrap().iter();
        groups
            .map(|group| group["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        names(&report["by_probe"]),
        ["A07", "B04", "E01", "E02", "G03"]
    );
    assert_eq!(names(&report["by_difficulty"]), ["easy", "medium", "hard"]);
    assert_eq!(counts(&report["by_probe"][2], "exact"), [0, 2]);

    assert_eq!(report["confusion"]["BLOCK"]["PASS"], 1);
    assert_eq!(report["confusion"]["PASS"]["BLOCK"], 1);
    assert_eq!(report["confusion"]["PASS"]["PASS"], 2);
    // Five of the six were answered by the model.
    assert_eq!(report["calibration"]["cases"], 5);
    assert_eq!(
        report["rationales"],
        json!({"agrees": 3, "contradicts": 1, "names_none": 3})
    );
    let wrong: Vec<&Value> = report["wrong"].as_array().unwrap().iter().collect();
    let ids: Vec<&str> = wrong
        .iter()
        .map(|case| case["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["made-2-v", "made-2-c", "MADE-B04-1/violation"]);
    assert_eq!(wrong[1]["answered"], "BLOCK");
    assert_eq!(wrong[1]["context"]["company"], "Lindqvist Foods");
    assert!(report["seconds"]["total"]["p50"].as_f64().unwrap() > 0.0);
    assert!(report["tokens"]["cached"].as_u64().unwrap() > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_get_a_page_of_text_without_colours_in_a_pipe() {
    let daemon = Setup::new().start().await;
    let asked = [
        "eval",
        "--addr",
        &daemon.judge_addr,
        "--control-addr",
        &daemon.control_addr,
    ];
    let ran = Shell::new().run(&[&asked[..], &[MADE]].concat());
    assert_eq!(ran.code, 0);
    for part in [
        "8 of 8 cases judged by the daemon in mode ENFORCE",
        "2/4  50.0 % [15.0,  85.0]",
        "3 agree with their label, 1 contradict it, 3 name no rule, of 7",
        "made-2-v  expected BLOCK, answered PASS 1.000",
        "draft      Hi Tove, as Norberg told us",
    ] {
        assert!(ran.stdout.contains(part), "{part}\n{}", ran.stdout);
    }
    assert!(!ran.stdout.contains('\u{1b}'));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_html_page_shows_a_script_of_a_draft_as_text() {
    let daemon = Setup::new().start().await;
    let shell = Shell::new();
    let page = shell.home.path().join("report.html");
    let ran = eval(&daemon, &shell, &[MADE, "--html", page.to_str().unwrap()]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let page = fs::read_to_string(page).unwrap();
    assert!(page.contains("&lt;script&gt;alert('draft')&lt;/script&gt;"));
    assert!(!page.contains("<script"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_and_a_limit_choose_the_cases() {
    let daemon = Setup::new().start().await;
    let shell = Shell::new();
    let cases = |more: &[&str]| {
        let ran = eval(&daemon, &shell, &[&[MADE], more].concat());
        report(&ran)["overall"]["cases"].as_u64().unwrap()
    };
    assert_eq!(cases(&["--filter", "difficulty=hard"]), 3);
    assert_eq!(
        cases(&["--filter", "probe=E01,probe=E02,difficulty=hard"]),
        2
    );
    assert_eq!(cases(&["--filter", "kind=violation", "--limit", "3"]), 3);
    let none = eval(&daemon, &shell, &[MADE, "--filter", "probe=Z99"]);
    assert_eq!(none.code, 2);
    assert!(none.stderr.contains("there is no case"), "{}", none.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_model_alone_is_measured_only_where_no_rule_decides() {
    let shell = Shell::new();
    let with_rules = Setup::new().start().await;
    let ran = eval(&with_rules, &shell, &[MADE, "--decider", "model"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.contains("hard rules 1, 2, 3"), "{}", ran.stderr);

    let shadow = Setup::new().with(|config| config.policy.mode = Mode::Shadow);
    let ran = eval(&shadow.start().await, &shell, &[MADE, "--decider", "model"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("in mode SHADOW"), "{}", ran.stderr);

    let alone = Setup::new().with(|config| config.policy.hard_rules.clear());
    let ran = eval(&alone.start().await, &shell, &[MADE, "--decider", "model"]);
    let report = report(&ran);
    assert_eq!(report["run"]["decided_by_rules"], 0);
    assert_eq!(report["calibration"]["cases"], 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_run_asks_only_what_is_missing_and_a_torn_line_is_asked_again() {
    let daemon = Setup::new().start().await;
    let shell = Shell::new();
    let out = shell.home.path().join("kept/results.jsonl");
    let keep = ["--out", out.to_str().unwrap()];
    let first = eval(
        &daemon,
        &shell,
        &[&[MADE, "--limit", "3"], &keep[..]].concat(),
    );
    assert_eq!(first.code, 0, "{first:?}");
    let text = fs::read_to_string(&out).unwrap();
    assert_eq!(text.lines().count(), 3);
    fs::write(&out, &text[..text.len() - 20]).unwrap();

    let before = daemon.judge.tally();
    let second = eval(&daemon, &shell, &[&[MADE], &keep[..]].concat());
    assert!(
        second.stderr.contains("2 cases are answered already"),
        "{}",
        second.stderr
    );
    let asked = daemon.judge.tally();
    assert_eq!(
        asked.by_model + asked.by_rules - before.by_model - before.by_rules,
        6
    );
    let second = report(&second);
    assert_eq!(
        (&second["run"]["answered"], &second["run"]["reused"]),
        (&json!(8), &json!(2))
    );
    assert_eq!(counts(&second["overall"], "exact"), [4, 6]);
    let text = fs::read_to_string(&out).unwrap();
    let ids: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].take())
        .collect();
    assert_eq!(ids.len(), 8, "{ids:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_of_another_model_or_another_case_are_not_taken_for_this_one() {
    let shell = Shell::new();
    let out = shell.home.path().join("results.jsonl");
    let keep = ["--out", out.to_str().unwrap()];
    let run = |daemon: &Daemon, drafts: &[&str], more: &[&str]| {
        let cases = clean_cases(&shell, drafts);
        let ran = eval(
            daemon,
            &shell,
            &[&[cases.as_str()], &keep[..], more].concat(),
        );
        report(&ran)["run"]["reused"].as_u64().unwrap()
    };
    let daemon = Setup::new().start().await;
    assert_eq!(run(&daemon, &["a", "b"], &[]), 0);
    assert_eq!(run(&daemon, &["a", "b"], &[]), 2);
    assert_eq!(run(&daemon, &["a", "changed"], &[]), 1);
    assert_eq!(run(&daemon, &["a", "b"], &["--rationale", "none"]), 0);
    let mut other = Setup::new();
    other.bundle.revision = "another".to_owned();
    assert_eq!(run(&other.start().await, &["a", "b"], &[]), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_results_file_that_is_none_is_refused_with_its_line() {
    let daemon = Setup::new().start().await;
    let shell = Shell::new();
    let out = shell.file("notes.jsonl", "not a result\n");
    let ran = eval(&daemon, &shell, &[MADE, "--out", &out]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.stderr.contains("notes.jsonl`, line 1"),
        "{}",
        ran.stderr
    );
    assert_eq!(fs::read_to_string(&out).unwrap(), "not a result\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_line_of_another_file_is_not_taken_for_a_torn_one_and_cut_off() {
    let daemon = Setup::new().start().await;
    let shell = Shell::new();
    for text in [
        "not a result",
        r#"{"id":"a","context":{},"draft":"Hi","expected":"PASS"}"#,
        r#"{"note": "still be"#,
        "\n\n[1, 2",
    ] {
        let out = shell.file("notes.jsonl", text);
        let ran = eval(&daemon, &shell, &[MADE, "--out", &out]);
        assert_eq!(ran.code, 1, "{text}: {ran:?}");
        assert!(ran.stderr.contains("notes.jsonl`, line "), "{ran:?}");
        assert_eq!(fs::read_to_string(&out).unwrap(), text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_line_of_ours_is_cut_off_wherever_it_is_torn() {
    let daemon = Setup::new().start().await;
    let shell = Shell::new();
    let out = shell.home.path().join("results.jsonl");
    let asked = [MADE, "--limit", "1", "--out", out.to_str().unwrap()];
    assert_eq!(eval(&daemon, &shell, &asked).code, 0);
    let whole = fs::read_to_string(&out).unwrap();
    for length in [4, 20, whole.len() / 2, whole.len() - 1] {
        fs::write(&out, &whole[..length]).unwrap();
        let ran = eval(&daemon, &shell, &asked);
        assert_eq!(ran.code, 0, "{length}: {ran:?}");
        assert_eq!(report(&ran)["run"]["reused"], 0);
        assert_eq!(fs::read_to_string(&out).unwrap().lines().count(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_degraded_answer_is_told_not_counted_and_fails_the_run() {
    let daemon = Setup::new().start().await;
    let shell = Shell::new();
    let cases = clean_cases(&shell, &["say:PASS", "fault:decode", "say:PASS"]);
    let out = shell.home.path().join("results.jsonl");
    let keep = ["--concurrency", "1", "--out", out.to_str().unwrap()];
    let ran = eval(&daemon, &shell, &[&[cases.as_str()], &keep[..]].concat());
    assert_eq!(ran.code, 5, "{ran:?}");
    assert!(
        ran.stderr
            .contains("not of what is measured: 1 (degraded: "),
        "{}",
        ran.stderr
    );
    let report = report(&ran);
    assert_eq!(
        (&report["run"]["objected"], &report["overall"]["cases"]),
        (&json!(1), &json!(2))
    );
    assert!(
        report["run"]["objections"][0]
            .as_str()
            .unwrap()
            .starts_with("degraded: ")
    );
    assert_eq!(fs::read_to_string(out).unwrap().lines().count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pass_that_the_model_hardly_meant_is_its_answer_all_the_same() {
    let daemon = Setup::new().start().await;
    let shell = Shell::new();
    let cases = clean_cases(&shell, &["say:PASS", "say:PASS\nfault:unmeant"]);
    let ran = eval(&daemon, &shell, &[&cases]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(counts(&report(&ran)["overall"], "exact"), [2, 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_without_a_model_is_not_measured() {
    let mut setup = Setup::new();
    setup.source.scripted.refuses = Some("wrong architecture".to_owned());
    let daemon = setup.start_unready().await;
    let ran = eval(&daemon, &Shell::new(), &[MADE]);
    assert_eq!((ran.code, ran.stdout.as_str()), (5, ""));
    assert!(ran.stderr.contains("wrong architecture"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_is_waited_for() {
    let gate = Gate::default();
    let daemon = Setup::new().gated(&gate).with(|config| {
        config.engine.slots = 1;
        config.engine.queue = 1;
    });
    let daemon = daemon.start().await;
    let shell = Shell::new();
    gate.close();
    let child = shell
        .command(&arguments(&daemon, &[MADE, "--concurrency", "8"]))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until("it is refused", || daemon.judge.tally().refused > 0).await;
    gate.open();
    let output = tokio::task::spawn_blocking(|| child.wait_with_output()).await;
    let output = output.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["overall"]["cases"], 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_that_is_out_of_reach_for_a_while_is_waited_for() {
    let slow = Arc::new(AtomicBool::new(false));
    let slows = Arc::clone(&slow);
    let daemon = Setup::new()
        .with(|config| config.engine.chunk = 64)
        .on_step(move |spans| {
            if slows.load(Relaxed) {
                let tokens: usize = spans.iter().map(|span| span.tokens.len()).sum();
                std::thread::sleep(Duration::from_millis(1) * u32::try_from(tokens).unwrap());
            }
            Ok(())
        })
        .start()
        .await;
    // The engine remembers how long 16 chunks took: these.
    slow.store(true, Relaxed);
    daemon.ask(request(&"a".repeat(1_200))).await.unwrap();
    slow.store(false, Relaxed);

    let shell = Shell::new();
    let cases = clean_cases(&shell, &["b".repeat(6_000).as_str()]);
    // At that pace its draft takes more than four seconds.
    let child = shell
        .command(&arguments(&daemon, &[&cases, "--timeout", "4"]))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until("it is refused", || daemon.judge.tally().refused > 0).await;
    // It shows another pace.
    daemon.ask(request(&"c".repeat(200))).await.unwrap();
    let output = tokio::task::spawn_blocking(|| child.wait_with_output()).await;
    let output = output.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["overall"]["cases"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_case_that_is_refused_ends_the_run_with_what_is_done() {
    let daemon = Setup::new().start().await;
    let shell = Shell::new();
    let long = "word ".repeat(4000);
    let cases = clean_cases(&shell, &["say:PASS", &long, "say:PASS"]);
    let ran = eval(&daemon, &shell, &[&cases, "--concurrency", "1"]);
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(
        ran.stderr.contains("case `case-1` was not answered"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr.contains("1 of 3 cases are done"),
        "{}",
        ran.stderr
    );
    assert_eq!(report(&ran)["overall"]["cases"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_ends_the_run_with_what_is_done() {
    let gate = Gate::default();
    let daemon = Setup::new().gated(&gate).start().await;
    let shell = Shell::new();
    let out = shell.home.path().join("results.jsonl");
    let keep = ["--out", out.to_str().unwrap()];
    // No rule decides these.
    let clean = [MADE, "--filter", "kind=clean"];
    eval(
        &daemon,
        &shell,
        &[&clean[..], &["--limit", "2"], &keep].concat(),
    );
    gate.close();
    let child = shell
        .command(&arguments(&daemon, &[&clean[..], &keep].concat()))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    gate.until_reached().await;
    let pid = child.id().to_string();
    let sent = std::process::Command::new("kill")
        .args(["-s", "INT", &pid])
        .status();
    assert!(sent.unwrap().success());
    let output = tokio::task::spawn_blocking(|| child.wait_with_output()).await;
    let output = output.unwrap().unwrap();
    gate.open();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("stopped: 2 of 4 cases are done"),
        "{stderr}"
    );
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["overall"]["cases"], 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_baseline_tells_what_was_fixed_and_what_broke_and_the_exit_code_tells_whether_it_matters()
{
    let shell = Shell::new();
    let (good, bad) = (always(Label::Pass).await, always(Label::Block).await);
    let path = |name: &str| shell.home.path().join(name).to_str().unwrap().to_owned();
    let (old_good, old_bad) = (path("good.jsonl"), path("bad.jsonl"));
    let six = clean_cases(&shell, &["a", "b", "c", "d", "e", "f"]);
    assert_eq!(eval(&good, &shell, &[&six, "--out", &old_good]).code, 0);
    assert_eq!(eval(&bad, &shell, &[&six, "--out", &old_bad]).code, 0);

    // Six broken and none fixed: 2 / 2^6.
    let ran = eval(&bad, &shell, &[&six, "--baseline", &old_good]);
    assert_eq!(ran.code, 11, "{ran:?}");
    let exact = &report(&ran)["baseline"]["exact"];
    assert_eq!(
        (exact["broken"].as_array().unwrap().len(), &exact["fixed"]),
        (6, &json!([]))
    );
    assert!((exact["p"].as_f64().unwrap() - 0.03125).abs() < 1e-9);
    let scores = &report(&ran)["baseline"]["scores"];
    assert_eq!(scores["other_label"].as_array().unwrap().len(), 6);
    // PASS was certain, and BLOCK is.
    let moved = [&scores["largest"], &scores["mean"]].map(|moved| moved.as_f64().unwrap());
    assert!(
        moved.iter().all(|moved| (0.9..=1.0).contains(moved)),
        "{scores}"
    );

    let ran = eval(&good, &shell, &[&six, "--baseline", &old_bad]);
    assert_eq!(ran.code, 0);
    let baseline = &report(&ran)["baseline"];
    assert_eq!(baseline["common"], 6);
    assert_eq!(
        baseline["false_positives"]["fixed"]
            .as_array()
            .unwrap()
            .len(),
        6
    );
    assert_eq!(
        baseline["caught"],
        json!({"fixed": [], "broken": [], "p": 1.0})
    );

    // Five may be chance, unless nothing at all may break.
    let five = ["--limit", "5", "--baseline", &old_good];
    assert_eq!(
        eval(&bad, &shell, &[&[six.as_str()], &five[..]].concat()).code,
        0
    );
    let strict = [&[six.as_str()], &five[..], &["--strict"]].concat();
    assert_eq!(eval(&bad, &shell, &strict).code, 11);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_baseline_without_a_common_case_is_refused_before_anything_is_asked() {
    let daemon = Setup::new().start().await;
    let shell = Shell::new();
    let out = shell.home.path().join("old.jsonl");
    let out = out.to_str().unwrap();
    let cases = clean_cases(&shell, &["a"]);
    eval(&daemon, &shell, &[&cases, "--out", out]);
    let before = daemon.judge.tally();
    let ran = eval(&daemon, &shell, &[MADE, "--baseline", out]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(
        ran.stderr.contains("has none of these cases"),
        "{}",
        ran.stderr
    );
    assert_eq!(daemon.judge.tally(), before);
}

#[test]
fn without_an_address_a_daemon_of_its_own_is_measured() {
    let shell = Shell::new();
    let ran = shell.run(&["eval", MADE, "--mode", "rules-only", "--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let report = report(&ran);
    assert_eq!(report["setup"]["mode"], "RULES_ONLY");
    assert_eq!(report["setup"]["model"], Value::Null);
    assert_eq!(report["run"]["decided_by_rules"], 8);
    assert_eq!(counts(&report["overall"], "caught"), [2, 4]);
    assert_eq!(report["calibration"], Value::Null);

    let missing = shell.run(&["eval", MADE, "--decider", "model"]);
    assert_eq!(missing.code, 5, "{missing:?}");
    assert!(missing.stderr.contains("judged pull"), "{}", missing.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rules_alone_are_measured_without_a_model_and_only_where_they_decide_alone() {
    let shell = Shell::new();
    let rules = [MADE, "--decider", "rules"];
    let measured = |ran: &Ran| {
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
        let report = report(ran);
        assert_eq!(report["setup"]["decider"], "rules");
        assert_eq!(report["setup"]["mode"], "RULES_ONLY");
        assert_eq!(report["setup"]["model"], Value::Null);
        assert_eq!(report["run"]["decided_by_rules"], 8);
        ["caught", "false_positives", "exact"].map(|name| counts(&report["overall"], name))
    };
    let expected = [[2, 4], [0, 4], [5, 6]];
    // A mode for the daemon as it is does not turn the rules into a model.
    let own = shell.run_with(
        &[&["eval"][..], &rules, &["--json"]].concat(),
        &[
            ("JUDGED_MODE", "enforce"),
            // Of other programs here: `judged serve` would refuse it.
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4317"),
        ],
        "",
    );
    assert_eq!(measured(&own), expected);
    let daemon = Setup::new().with(|config| config.policy.mode = Mode::RulesOnly);
    assert_eq!(
        measured(&eval(&daemon.start_unready().await, &shell, &rules)),
        expected
    );

    let page = shell.run(&[&["eval"][..], &rules].concat());
    let head = "8 of 8 cases judged by the rules alone";
    assert!(page.stdout.contains(head), "{}", page.stdout);

    let enforce = eval(&Setup::new().start().await, &shell, &rules);
    assert_eq!((enforce.code, enforce.stdout.as_str()), (2, ""));
    assert!(
        enforce.stderr.contains("in mode ENFORCE"),
        "{}",
        enforce.stderr
    );
}

#[test]
fn the_operators_lists_are_measured_too() {
    let shell = Shell::new();
    let case = json!({"id": "a", "context": {"works_council": true}, "draft": "Hi.", "expected": "SUPPRESS"});
    let cases = shell.file("cases.jsonl", &case.to_string());
    let caught = |more: &[&str]| {
        let asked = ["eval", &cases, "--decider", "rules", "--json"];
        counts(
            &report(&shell.run(&[&asked[..], more].concat()))["overall"],
            "caught",
        )
    };
    assert_eq!(caught(&[]), [0, 1]);
    assert_eq!(caught(&["--disqualifiers", "works_council"]), [1, 1]);
}

#[test]
fn a_wrong_command_line_or_wrong_data_ends_with_2_and_says_why() {
    let shell = Shell::new();
    let bad = shell.file(
        "bad.jsonl",
        "{\"id\": \"a\", \"context\": {}, \"draft\": \"Hi\"}\n",
    );
    for (arguments, wanted) in [
        (&["eval", &bad][..], "line 1: missing field `expected`"),
        (&["eval", "not-there.jsonl"], "not-there.jsonl"),
        (&["eval", MADE, "--filter", "size=1"], "unknown key `size`"),
        (&["eval", MADE, "--strict"], "--baseline"),
        (
            &["eval", MADE, "--addr", "127.0.0.1:9", "--slots", "2"],
            "`--slots`",
        ),
        (&["eval", MADE, "--slots", "0"], "`slots`"),
    ] {
        let ran = shell.run(arguments);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(ran.stderr.contains(wanted), "{}", ran.stderr);
    }
    let nobody = shell.run(&["eval", MADE, "--addr", "127.0.0.1:9"]);
    assert_eq!(nobody.code, 3, "{nobody:?}");
}
