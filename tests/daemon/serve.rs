//! `judged serve` as a process: its settings, its start without a model, its
//! state folder, and its end by a signal.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::command::{Shell, signal};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(30);

#[test]
fn print_config_shows_each_value_and_who_gave_it() {
    let shell = Shell::new();
    let file = shell.file("judged.toml", "slots = 3\nqueue = 7\nkeepalive = 11.5\n");
    let arguments = ["serve", "--print-config", "--config", &file, "--slots", "2"];
    let env = [
        ("JUDGED_SLOTS", "9"),
        ("JUDGED_QUEUE", "8"),
        ("JUDGED_MODE", "shadow"),
    ];
    let text = shell.run_with(&arguments, &env, "");
    assert_eq!(text.code, 0, "{text:?}");
    let line = |name: &str| {
        let start = format!("{name} = ");
        let line = text
            .stdout
            .lines()
            .find(|line| line.starts_with(&start))
            .unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("slots"), "slots = 2 # flag");
    assert_eq!(line("queue"), "queue = 8 # environment");
    assert_eq!(line("mode"), "mode = \"shadow\" # environment");
    assert_eq!(line("keepalive"), format!("keepalive = 11.5 # file {file}"));
    assert_eq!(line("threads"), "threads = 0 # default");

    let with_json = [&arguments[..], &["--json"]].concat();
    let settings = shell.run_with(&with_json, &env, "").json().remove(0);
    assert_eq!(settings["slots"]["value"], 2);
    assert_eq!(settings["queue"]["origin"], "environment");
}

#[test]
fn the_file_may_be_named_by_the_environment() {
    let shell = Shell::new();
    let file = shell.file("judged.toml", "queue = 7\n");
    let ran = shell.run_with(
        &["serve", "--print-config"],
        &[("JUDGED_CONFIG", &file)],
        "",
    );
    assert!(
        ran.stdout.contains(&format!("# file {file}")),
        "{}",
        ran.stdout
    );
}

#[test]
fn what_print_config_shows_can_be_used_as_a_file() {
    let shell = Shell::new();
    let printed = shell
        .run(&["serve", "--print-config", "--slots", "3"])
        .stdout;
    let file = shell.file("judged.toml", &printed);
    let again = shell.run(&["serve", "--print-config", "--config", &file]);
    assert_eq!(again.code, 0, "{}", again.stderr);
    let values = |text: &str| -> Vec<String> {
        let lines = text
            .lines()
            .map(|line| line.split(" #").next().unwrap().trim());
        lines.map(str::to_owned).collect()
    };
    assert_eq!(values(&again.stdout), values(&printed));
}

#[test]
fn settings_that_cannot_be_used_end_with_2_and_are_told_together() {
    let shell = Shell::new();
    let file = shell.file("judged.toml", "slots = 0\n");
    let arguments = [
        "serve",
        "--config",
        &file,
        "--listen",
        "0.0.0.0:0",
        "--hard-rules",
        "7",
    ];
    let ran = shell.run(&arguments);
    assert_eq!(ran.code, 2);
    let listen = "`listen` (flag): `0.0.0.0:0` is not on the loopback";
    for told in [
        &format!("`slots` (file {file})"),
        listen,
        "`hard_rules` (flag)",
    ] {
        assert!(ran.stderr.contains(told), "{told}: {}", ran.stderr);
    }
}

#[test]
fn an_unknown_key_of_the_settings_file_is_named() {
    let shell = Shell::new();
    let file = shell.file("judged.toml", "slotz = 4\n");
    let ran = shell.run(&["serve", "--config", &file]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.stderr.contains("slotz") && ran.stderr.contains(&file),
        "{}",
        ran.stderr
    );
}

#[test]
fn an_unknown_bundle_is_told_with_those_there_are() {
    let ran = Shell::new().run(&["serve", "--bundle", "nothing"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("tenacious-judge"), "{}", ran.stderr);
}

#[test]
fn without_a_model_it_starts_says_so_and_answers_by_rules() {
    let shell = Shell::new();
    let models = shell.home.path().join("models");
    let served = shell.serve(&["--model-dir", models.to_str().unwrap()]);
    let status = shell.run(&["status", "--addr", &served.control, "--json", "--wait", "0"]);
    assert_eq!(status.code, 5);
    let told = &status.json()[0];
    let reason = told["degraded_reason"].as_str().unwrap();
    // It may still be looking.
    if told["engine_state"] != "loading" {
        let pull = format!(
            "judged pull tenacious-judge --model-dir {}",
            models.display()
        );
        assert!(reason.contains(&pull), "{reason}");
    }

    let ask = |context: &str| -> Value {
        let arguments = [
            "judge",
            "--addr",
            &served.judge,
            "--json",
            "--context",
            context,
        ];
        let ran = shell.run(&[&arguments[..], &["--draft", "Hi"]].concat());
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.json().remove(0)
    };
    let answer = ask(r#"{"disqualifiers": ["competitor"]}"#);
    assert_eq!(
        (&answer["label"], &answer["decided_by"]),
        (&"SUPPRESS".into(), &"RULES".into())
    );
    let answer = ask("{}");
    assert_eq!(answer["label"], "PASS");
    assert_eq!(answer["disposition"], "HOLD_FOR_REVIEW");
    assert!(
        answer["degraded_reason"]
            .as_str()
            .unwrap()
            .contains("the model is")
    );

    served.signal("TERM");
    let ended = served.end(SOON);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, ""));
}

#[test]
fn rules_only_is_not_degraded_without_a_model() {
    let shell = Shell::new();
    let served = shell.serve(&["--mode", "rules-only"]);
    let status = shell.run(&["status", "--addr", &served.control]);
    assert_eq!(status.code, 0, "{status:?}");
    assert!(
        status.stdout.contains("mode RULES_ONLY"),
        "{}",
        status.stdout
    );
}

#[test]
fn a_second_daemon_on_one_state_folder_is_refused_until_the_first_has_ended() {
    let shell = Shell::new();
    let state = shell.home.path().join("state");
    let state = state.to_str().unwrap();
    let first = shell.serve(&["--state-dir", state]);
    let arguments = ["serve", "--state-dir", state, "--listen", "127.0.0.1:0"];
    let second = shell.run(&[&arguments[..], &["--control-listen", "127.0.0.1:0"]].concat());
    assert_eq!(second.code, 1);
    assert!(second.stderr.contains(state) && second.stderr.contains("--state-dir"));
    first.signal("TERM");
    assert_eq!(first.end(SOON).code, 0);
    shell.serve(&["--state-dir", state]);
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let ran = Shell::new().run(&["serve", "--listen", &addr]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.stderr.contains(&format!("cannot listen on `{addr}`")),
        "{}",
        ran.stderr
    );
}

#[test]
fn both_signals_drain_it_and_the_log_says_so() {
    for signal in ["TERM", "INT"] {
        let shell = Shell::new();
        let served = shell.serve(&["--mode", "rules-only"]);
        served.signal(signal);
        let ended = served.end(SOON);
        assert_eq!(ended.code, 0, "{signal}: {ended:?}");
        assert!(ended.stderr.contains("\"draining\""), "{}", ended.stderr);
        assert!(
            ended.stderr.contains("\"in_time\":true"),
            "{}",
            ended.stderr
        );
    }
}

/// It reads the whole log first, or waits five seconds for who holds that locked.
#[test]
fn a_signal_ends_a_daemon_that_is_still_starting() {
    let shell = Shell::new();
    let state = shell.home.path().join("state");
    let arguments = [
        "--mode",
        "rules-only",
        "--state-dir",
        state.to_str().unwrap(),
    ];
    let first = shell.serve(&arguments);
    first.signal("TERM");
    assert_eq!(first.end(SOON).code, 0);
    let log = rusqlite::Connection::open(state.join("decisions.db")).unwrap();
    // The first alone lets nobody read.
    log.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE")
        .unwrap();
    let held = state.join("judged.lock");
    std::fs::remove_file(&held).unwrap();
    let anywhere = ["--listen", "127.0.0.1:0", "--control-listen", "127.0.0.1:0"];
    let mut daemon = shell
        .command(&[&["serve"][..], &anywhere, &arguments].concat())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let end = Instant::now() + SOON;
    // By then it listens to signals, and is about to open the log.
    while !held.exists() {
        assert!(Instant::now() < end, "it does not start");
        std::thread::sleep(Duration::from_millis(5));
    }
    let asked = Instant::now();
    signal(daemon.id(), "TERM");
    // Else it would fail for the lock, after those seconds.
    assert_eq!(daemon.wait().unwrap().code(), Some(0));
    let took = asked.elapsed();
    assert!(took < Duration::from_millis(4_500), "{took:?}");
}

#[test]
fn a_json_log_is_an_object_a_line_without_a_word_of_a_request() {
    let shell = Shell::new();
    let served = shell.serve(&["--mode", "rules-only"]);
    for (context, code) in [(r#"{"company": "xyzzy"}"#, 0), (r#"{"xyzzy": "#, 4)] {
        let arguments = ["judge", "--addr", &served.judge, "--context", context];
        let ran = shell.run(&[&arguments[..], &["--draft", "Hi xyzzy"]].concat());
        assert_eq!(ran.code, code, "{ran:?}");
    }
    served.signal("TERM");
    let log = served.end(SOON).stderr;
    assert!(log.lines().count() >= 2, "{log}");
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert!(
            line["level"].is_string() && line["timestamp"].is_string(),
            "{line}"
        );
    }
    assert!(!log.contains("xyzzy"), "{log}");
}
