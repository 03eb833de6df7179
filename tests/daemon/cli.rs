//! The command line: data on stdout, the rest on stderr, and an exit code that
//! a script can rely on. `judged judge` and `status` ask a scripted daemon here.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::command::{Ran, Shell};
use crate::support::daemon::{Daemon, Gate, Setup};
use judged::backend::scripted::{Reply, ScriptedSource};
use judged::verdict::Label;
use serde_json::json;

const NOBODY: &str = "127.0.0.1:9";

/// Asks the daemon with the binary.
fn judge(daemon: &Daemon, arguments: &[&str], stdin: &str) -> Ran {
    let with_addr = [&["judge", "--addr", &daemon.judge_addr], arguments].concat();
    Shell::new().run_with(&with_addr, &[], stdin)
}

fn case(name: &str, draft: &str) -> String {
    json!({"name": name, "context": {"company": "DevCo"}, "draft": draft}).to_string()
}

#[test]
fn help_teaches_and_names_every_exit_code() {
    let help = Shell::new().run(&["--help"]);
    assert_eq!(help.code, 0);
    for code in [
        " 0 ", " 1 ", " 2 ", " 3 ", " 4 ", " 5 ", " 10 ", " 11 ", " 141 ",
    ] {
        assert!(help.stdout.contains(code), "{code}");
    }
    for command in [
        "serve",
        "judge",
        "eval",
        "pull",
        "convert-adapter",
        "doctor",
        "status",
        "completions",
    ] {
        assert!(help.stdout.contains(command));
        assert_eq!(Shell::new().run(&[command, "--help"]).code, 0, "{command}");
    }
}

#[test]
fn a_command_line_that_is_wrong_ends_with_2_and_says_why() {
    for arguments in [
        &[][..],
        &["dance"],
        &["judge"],
        &["judge", "--draft", "Hi"],
        &["judge", "cases.json", "--draft", "Hi", "--context", "{}"],
        &[
            "judge",
            "--context",
            "{}",
            "--draft",
            "Hi",
            "--fail-on",
            "MAYBE",
        ],
        &[
            "judge",
            "--context",
            "{}",
            "--draft",
            "Hi",
            "--channel",
            "pigeon",
        ],
        &["judge", "--context", "{}", "--draft", "Hi", "--timeout=-1"],
        &[
            "judge",
            "--context",
            "{}",
            "--draft",
            "Hi",
            "--addr",
            "no address",
        ],
        &["judge", "not-there.json"],
        &["decisions", "--from", "999999999999999d"],
        &["decisions", "--from", "999999999999999999d"],
        &["decisions", "--to", "9999999d"],
        &["serve", "--slots", "many"],
        &["serve", "--json"],
        &["--log", "judged=loud=er", "completions", "bash"],
    ] {
        let ran = Shell::new().run(arguments);
        assert_eq!(ran.code, 2, "{arguments:?}: {ran:?}");
        assert!(!ran.stderr.is_empty() && ran.stdout.is_empty(), "{ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_case_from_flags_is_answered_for_people() {
    let daemon = Setup::new().start().await;
    let ran = judge(
        &daemon,
        &["--context", "{}", "--draft", "say:BLOCK\nbecause:It leaks."],
        "",
    );
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert!(
        ran.stdout.starts_with("BLOCK 1.000  DO_NOT_SEND"),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.contains("It leaks."));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn context_and_draft_may_come_from_files_and_the_channel_from_a_flag() {
    let mut setup = Setup::new();
    setup.source.scripted = ScriptedSource::new(|prompt| Reply {
        label: match prompt.contains("Channel: sms") {
            true => Label::Penalise,
            false => Label::Pass,
        },
        sentence: "It is so.".to_owned(),
        fault: None,
    });
    let daemon = setup.start().await;
    let shell = Shell::new();
    let context = shell.file("prospect.json", r#"{"company": "DevCo"}"#);
    let draft = format!("@{}", shell.file("mail.txt", "Hi"));
    let ask = |channel| {
        let arguments = [
            "--context",
            &context,
            "--draft",
            &draft,
            "--channel",
            channel,
            "--json",
        ];
        judge(&daemon, &arguments, "").json().remove(0)
    };
    assert_eq!(ask("sms")["label"], "PENALISE");
    assert_eq!(ask("email")["label"], "PASS");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_is_one_object_a_line_with_all_that_a_decision_holds() {
    let daemon = Setup::new().start().await;
    let ran = judge(&daemon, &["-", "--json"], &case("one", "say:ESCALATE"));
    let answers = ran.json();
    assert_eq!((ran.code, answers.len()), (0, 1));
    let answer = &answers[0];
    assert_eq!(answer["name"], "one");
    assert_eq!(answer["label"], "ESCALATE");
    assert_eq!(answer["decided_by"], "MODEL");
    assert_eq!(answer["rationale"], "It is so.");
    let scores = answer["scores"].as_object().unwrap();
    let sum: f64 = scores.values().map(|score| score.as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-6);
    assert!(answer["usage"]["cached_tokens"].as_u64().unwrap() > 0);
    assert!(answer["seconds"]["total"].as_f64().unwrap() > 0.0);
    assert!(answer["model"]["bundle"].as_str().unwrap().contains('@'));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_may_hold_one_case_an_array_or_lines() {
    let daemon = Setup::new().start().await;
    let shell = Shell::new();
    let (one, two) = (case("one", "say:BLOCK"), case("two", "say:PASS"));
    let pretty = one.replace(',', ",\n");
    let files = [
        (shell.file("one.json", &pretty), 1),
        (shell.file("array.json", &format!("[{one},\n{two}]")), 2),
        (shell.file("lines.jsonl", &format!("{one}\n\n{two}\n")), 2),
        (shell.file("empty.json", "[]"), 0),
    ];
    for (file, count) in files {
        let ran = judge(&daemon, &[&file, "--json"], "");
        assert_eq!((ran.code, ran.json().len()), (0, count), "{file}: {ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_line_is_named_after_the_answers_to_those_before_it() {
    let daemon = Setup::new().start().await;
    let lines = format!("{}\n{}\n", case("one", "say:PASS"), case("two", "say:PASS"));
    for bad in [
        "{\"context\": {}}",
        "nonsense",
        "{\"context\": {}, \"draft\": \"a\", \"chanel\": 1}",
    ] {
        let ran = judge(&daemon, &["-", "--json"], &format!("{lines}{bad}\n"));
        assert_eq!((ran.code, ran.json().len()), (2, 2), "{ran:?}");
        assert!(ran.stderr.contains("`stdin`, line 3"), "{}", ran.stderr);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fail_on_turns_labels_into_an_exit_code() {
    let daemon = Setup::new().start().await;
    let ended = |labels: &str, drafts: &[&str]| {
        let cases: Vec<String> = drafts.iter().map(|draft| case("c", draft)).collect();
        judge(&daemon, &["-", "--fail-on", labels], &cases.join("\n")).code
    };
    assert_eq!(ended("any", &["say:PASS", "say:PASS"]), 0);
    assert_eq!(ended("any", &["say:PASS", "say:PENALISE"]), 10);
    // A PASS that is held may not be sent.
    assert_eq!(ended("any", &["say:PASS\nfault:unmeant"]), 10);
    assert_eq!(ended("block,Suppress", &["say:PENALISE"]), 0);
    assert_eq!(
        ended("block,Suppress", &["say:PENALISE", "say:SUPPRESS"]),
        10
    );
    assert_eq!(ended("PASS", &["say:PASS"]), 10);
    // A refusal tells more than a label.
    assert_eq!(ended("any", &["say:BLOCK", ""]), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_case_ends_with_4_and_the_others_are_answered() {
    let daemon = Setup::new().start().await;
    let cases = format!("{}\n{}\n", case("bad", " "), case("good", "say:PASS"));
    let ran = judge(&daemon, &["-", "--json"], &cases);
    assert_eq!(ran.code, 4);
    let mut answers = ran.json();
    answers.sort_by_key(|answer| answer["name"].to_string());
    assert_eq!(answers[0]["code"], "InvalidArgument");
    assert_eq!(answers[0]["reason"], "MALFORMED_REQUEST");
    assert!(
        answers[0]["error"]
            .as_str()
            .unwrap()
            .contains("`draft` is empty")
    );
    assert_eq!(answers[1]["label"], "PASS");

    let ran = judge(&daemon, &["-"], &cases);
    assert_eq!(ran.code, 4);
    assert!(ran.stderr.contains("# bad") && ran.stderr.contains("`draft` is empty"));
    assert!(ran.stdout.contains("# good") && !ran.stdout.contains("# bad"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timeout_is_told_as_a_deadline() {
    let gate = Gate::default();
    let daemon = Setup::new().gated(&gate).start().await;
    gate.close();
    let arguments = [
        "--context",
        "{}",
        "--draft",
        "Hi",
        "--timeout",
        "0.3",
        "--json",
    ];
    let ran = judge(&daemon, &arguments, "");
    gate.open();
    assert_eq!(ran.code, 4);
    assert_eq!(ran.json()[0]["code"], "DeadlineExceeded");
}

#[test]
fn no_daemon_ends_with_3_and_a_hint() {
    let shell = Shell::new();
    for arguments in [
        &[
            "judge",
            "--context",
            "{}",
            "--draft",
            "Hi",
            "--addr",
            NOBODY,
        ][..],
        &["status", "--addr", NOBODY],
        &["status", "--addr", NOBODY, "--wait", "0"],
    ] {
        let ran = shell.run(arguments);
        assert_eq!((ran.code, ran.stdout.as_str()), (3, ""), "{arguments:?}");
        assert!(
            ran.stderr.contains("is `judged serve` running there?"),
            "{}",
            ran.stderr
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_waits_until_the_model_decides() {
    let gate = Gate::default();
    gate.close();
    let daemon = Setup::new().gated(&gate).start_unready().await;
    gate.until_reached().await;
    let shell = Shell::new();
    let loading = shell.run(&["status", "--addr", &daemon.control_addr, "--json"]);
    assert_eq!(loading.code, 5);
    assert_eq!(loading.json()[0]["engine_state"], "loading");

    let addr = daemon.control_addr.clone();
    let waiting = tokio::task::spawn_blocking(move || {
        Shell::new().run(&["status", "--addr", &addr, "--wait", "30"])
    });
    gate.open();
    let ready = waiting.await.unwrap();
    assert_eq!(ready.code, 0, "{ready:?}");
    assert!(ready.stdout.contains("engine    ready"), "{}", ready.stdout);
    // A scripted one has no adapter, be it applied or merged.
    assert!(
        ready.stdout.contains("adapted   none\n"),
        "{}",
        ready.stdout
    );
}

#[test]
fn what_the_pages_tell_to_do_at_the_other_daemons_takes_the_model_from_them() {
    for page in ["docs/packaging.md", "docs/scaling.md"] {
        let shell = Shell::new();
        let served = shell.serve(&[]);
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
        let (_, rest) = text.split_once("`judged mode rules-only ").unwrap();
        let (options, _) = rest.split_once('`').unwrap();
        let options = options.replace('\n', " ");
        let mut words = vec!["mode", "rules-only", "--addr", &served.control];
        for (place, piece) in options.split('"').enumerate() {
            match place % 2 {
                0 => words.extend(piece.split_whitespace()),
                _ => words.push(piece),
            }
        }
        let ran = shell.run(&words);
        assert_eq!(ran.code, 0, "{page}: {ran:?}");
        assert_eq!(ran.stderr, "mode RULES_ONLY; it was ENFORCE\n", "{page}");
    }
}

#[test]
fn doctor_looks_where_the_settings_file_of_the_daemon_says() {
    let shell = Shell::new();
    let store = shell.home.path().join("store");
    let settings = format!(
        "bundle = \"tenacious-published\"\nmodel_dir = \"{}\"\n",
        store.display()
    );
    let file = shell.file("judged.toml", &settings);
    let ran = shell.run(&["doctor", "--json", "--config", &file]);
    assert_eq!(ran.code, 5, "{ran:?}");
    let found = ran.json().remove(0);
    let bundle = found["bundle"].as_str().unwrap();
    assert!(bundle.starts_with("tenacious-published@"), "{bundle}");
    let base = Path::new(found["base"].as_str().unwrap());
    assert!(base.starts_with(&store), "{}", base.display());

    let flag = ["doctor", "--json", "--bundle", "tenacious-judge"];
    let ran = shell.run_with(&flag, &[("JUDGED_CONFIG", file.as_str())], "");
    let found = ran.json().remove(0);
    let bundle = found["bundle"].as_str().unwrap();
    assert!(bundle.starts_with("tenacious-judge@"), "{bundle}");
    let base = Path::new(found["base"].as_str().unwrap());
    assert!(base.starts_with(&store), "{}", base.display());

    let file = shell.file("wrong.toml", "modeldir = \"store\"\n");
    let ran = shell.run(&["doctor", "--config", &file]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stderr.contains("modeldir"), "{}", ran.stderr);
}

#[test]
fn health_tells_by_its_exit_code_what_a_probe_wants_to_know() {
    let shell = Shell::new();
    let without_model = shell.serve(&[]);
    let ask = |addr: &str, service: &str| {
        let ran = shell.run(&["health", "--addr", addr, "--service", service, "--json"]);
        let status = ran.json().pop().map(|told| told["status"].clone());
        (ran.code, status)
    };
    let service = "judge.v1.JudgeService";
    let not_serving = (5, Some(json!("NOT_SERVING")));
    let serving = (0, Some(json!("SERVING")));
    for addr in [&without_model.judge, &without_model.control] {
        assert_eq!(ask(addr, service), not_serving);
        assert_eq!(ask(addr, ""), serving);
    }
    assert_eq!(ask(&without_model.judge, "judge.v1.Nothing"), (4, None));
    assert_eq!(ask(NOBODY, ""), (3, None));
    let elsewhere = Shell::new();
    let by_rules = elsewhere.serve(&["--mode=rules-only"]);
    assert_eq!(ask(&by_rules.judge, service), serving);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_does_not_wait_for_an_engine_that_failed() {
    let mut setup = Setup::new();
    setup.source.scripted.refuses = Some("wrong architecture".to_owned());
    let daemon = setup.start_unready().await;
    let ran = Shell::new().run(&["status", "--addr", &daemon.control_addr, "--wait", "60"]);
    assert_eq!(ran.code, 5);
    assert!(ran.stdout.contains("wrong architecture"), "{}", ran.stdout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_who_leaves_ends_any_command_quietly_with_141() {
    let daemon = Setup::new().start().await;
    let shell = Shell::new();
    let two = format!("{}\n{}\n", case("one", "say:PASS"), case("two", "say:PASS"));
    let case = shell.file("case.json", &case("one", "say:PASS"));
    let quietly = |arguments: &[&str]| {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = shell.command(arguments).stdout(writer).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (output.status.code(), stderr.as_str()),
            (Some(141), ""),
            "{arguments:?}"
        );
    };
    quietly(&["pull", "--list"]);
    quietly(&["completions", "bash"]);
    quietly(&["serve", "--print-config"]);
    quietly(&["status", "--addr", &daemon.control_addr]);
    quietly(&["judge", &case, "--addr", &daemon.judge_addr]);
    let eval = [
        "eval",
        "tests/data/eval",
        "--mode",
        "rules-only",
        "--log",
        "off",
    ];
    quietly(&eval);
    // Though more cases may come.
    let (cases, mut more) = std::io::pipe().unwrap();
    more.write_all(two.as_bytes()).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut judging = shell
        .command(&["judge", "-", "--addr", &daemon.judge_addr])
        .stdin(cases)
        .stdout(writer)
        .spawn()
        .unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    while judging.try_wait().unwrap().is_none() {
        if Instant::now() > end {
            let _ = judging.kill();
            panic!("it waits for another case");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(judging.wait().unwrap().code(), Some(141));
    drop(more);
    // With nobody at stderr, too.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = shell
        .command(&["status", "--addr", NOBODY])
        .stderr(writer)
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(3));
}

#[test]
fn a_trial_of_a_gpu_whose_daemon_is_gone_ends_at_once() {
    let shell = Shell::new();
    let tried_for = |daemon: u32| {
        let daemon = daemon.to_string();
        let flags = [
            ["--parent", &daemon],
            ["--base", "missing.gguf"],
            ["--gpu-layers", "auto"],
            ["--cells", "512"],
            ["--batch", "32"],
            ["--sequences", "1"],
            ["--threads", "1"],
        ];
        let ran = shell.run(&[&["gpu-trial"][..], flags.as_flattened()].concat());
        assert_eq!(ran.code, 1, "{ran:?}");
        ran.stderr
    };
    let own = std::process::id();
    let told = tried_for(own + 1);
    assert!(told.contains("whose trial this is"), "{told}");
    let told = tried_for(own);
    assert!(told.contains("missing.gguf"), "{told}");
}

#[test]
fn every_shell_gets_its_completions() {
    for shell in ["bash", "zsh", "fish"] {
        let ran = Shell::new().run(&["completions", shell]);
        assert_eq!(ran.code, 0);
        assert!(ran.stdout.contains("fail-on"), "{shell}");
    }
}
