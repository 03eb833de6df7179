//! Promise: `judged bench` tells what became of every request under the load that was asked for, and
//! asks another server the very same.

use std::fs;
use std::time::{Duration, Instant};

use crate::support::command::{Ran, Shell};
use crate::support::daemon::{Daemon, Setup};
use crate::support::fake_llama_server::FakeLlamaServer;
use serde_json::{Value, json};

fn bench(daemon: &Daemon, shell: &Shell, more: &[&str]) -> Ran {
    let asked = ["bench", "--addr", &daemon.judge_addr];
    let control = ["--control-addr", &daemon.control_addr];
    shell.run(&[&asked[..], &control, more].concat())
}

fn report(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"))
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value}"))
}

/// A daemon whose model decides everything, and takes `per_token` for each token.
async fn paced(per_token: Duration) -> Daemon {
    let setup = Setup::new().with(|config| {
        config.policy.hard_rules.clear();
        config.engine.slots = 1;
        config.engine.queue = 2;
    });
    let mut setup = setup;
    setup.source.scripted.per_token = per_token;
    setup.start().await
}

/// Two drafts of one context, and one of another.
fn cases(shell: &Shell) -> String {
    let lines = [
        json!({"context": {"company": "DevCo"}, "draft": "Hi. say: BLOCK"}),
        json!({"context": {"company": "DevCo"}, "draft": "Hello."}),
        json!({"context": {"company": "ScaleOps"}, "draft": "Hi. say: PENALISE"}),
    ];
    shell.file(
        "drafts.jsonl",
        &lines.map(|line| line.to_string()).join("\n"),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_loop_answers_all_and_tells_what_it_took() {
    let daemon = Setup::new()
        .with(|config| config.policy.hard_rules.clear())
        .start()
        .await;
    let shell = Shell::new();
    let (cases, saved) = (cases(&shell), shell.file("saved.json", ""));
    let load = [
        "--requests",
        "30",
        "--concurrency",
        "3",
        "--connections",
        "2",
    ];
    let more = ["--raw-prefill", "1000", "--json", "--save", &saved, &cases];
    let ran = bench(&daemon, &shell, &[&load[..], &more].concat());
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let report = report(&ran);
    let run = &report["runs"][0];
    assert_eq!(run["load"], json!({"kind": "closed", "concurrency": 3}));
    assert_eq!((&run["sent"], &run["answered"]), (&json!(30), &json!(30)));
    assert_eq!(run["errors"], json!([]));
    assert_eq!(
        run["labels"],
        json!({"BLOCK": 10, "PENALISE": 10, "PASS": 10})
    );
    assert!(number(&run["decisions_per_second"]) > 0.0);
    let (label, answer) = (&run["to_label"], &run["to_answer"]);
    assert!(number(&label["p50"]) > 0.0 && number(&label["p50"]) <= number(&answer["p50"]));
    assert!(number(&answer["p50"]) <= number(&answer["p99"]));
    // The engine has counted what the answers say.
    let (tokens, engine) = (&run["tokens"], &run["engine"]);
    assert_eq!(tokens["evaluated"], engine["prefill"]["tokens"]);
    assert_eq!(tokens["cached"], engine["cached_tokens"]);
    let rate = number(&engine["prefill"]["tokens_per_second"]);
    assert_eq!(number(&engine["prefill"]["of_raw"]), rate / 1000.0);
    assert_eq!(engine["decode"]["of_raw"], Value::Null);
    assert_eq!(
        (&report["notes"], &report["comparison"]),
        (&json!([]), &Value::Null)
    );
    let saved: Value = serde_json::from_str(&fs::read_to_string(saved).unwrap()).unwrap();
    assert_eq!(saved, report);
    // The warm-up counts nowhere, but was asked.
    let status = daemon.judge.tally();
    assert_eq!(status.by_model, 33);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_label_comes_before_the_answer_where_a_sentence_takes_its_time() {
    let daemon = paced(Duration::from_millis(2)).await;
    let shell = Shell::new();
    let cases = cases(&shell);
    let load = ["--requests", "3", "--concurrency", "1", "--json", &cases];
    let sentence = report(&bench(&daemon, &shell, &load));
    let run = &sentence["runs"][0];
    let (label, answer) = (
        number(&run["to_label"]["p50"]),
        number(&run["to_answer"]["p50"]),
    );
    assert!(label * 1.01 < answer, "{label} {answer}");
    let alone = bench(
        &daemon,
        &shell,
        &[&load[..], &["--rationale", "none"]].concat(),
    );
    let run = &report(&alone)["runs"][0];
    assert!(
        number(&run["tokens"]["generated"]) < number(&sentence["runs"][0]["tokens"]["generated"])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_loop_at_twice_the_capacity_reports_sheds_and_never_hangs() {
    let per_token = Duration::from_micros(200);
    let daemon = paced(per_token).await;
    let shell = Shell::new();
    let cases = cases(&shell);
    let ask = |more: &[&str]| {
        let json = ["--json", "--rationale", "none", &cases];
        bench(&daemon, &shell, &[more, &json].concat())
    };
    // One slot: what one caller gets is all that it gives. By the tokens that each takes, since a
    // machine that pauses meanwhile would seem to give less.
    let alone = report(&ask(&["--requests", "10", "--concurrency", "1"]));
    let run = &alone["runs"][0];
    let tokens = number(&run["tokens"]["evaluated"]) / number(&run["answered"]);
    let capacity = 1.0 / (tokens * per_token.as_secs_f64());
    let started = Instant::now();
    let rate = (2.0 * capacity).to_string();
    let ran = ask(&["--requests", "60", "--rate", &rate]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(started.elapsed() < Duration::from_secs(60));
    let report = report(&ran);
    let run = &report["runs"][0];
    let (sent, answered, shed) = (&run["sent"], number(&run["answered"]), number(&run["shed"]));
    assert_eq!(sent, 60);
    assert!(shed >= 5.0 && answered >= 1.0, "{run}");
    assert_eq!(answered + shed, 60.0, "{run}");
    let errors =
        json!([{"status": "ResourceExhausted", "reason": "QUEUE_FULL", "count": shed as u64}]);
    assert_eq!(run["errors"], errors);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_past_their_deadline_are_told_by_status_and_reason() {
    let daemon = paced(Duration::from_millis(1)).await;
    let shell = Shell::new();
    let load = [
        "--requests",
        "2",
        "--concurrency",
        "1",
        "--deadline",
        "0.05",
        "--warm-up",
        "0",
    ];
    let ran = bench(&daemon, &shell, &[&load[..], &["--json"]].concat());
    assert_eq!(ran.code, 0, "{ran:?}");
    let run = &report(&ran)["runs"][0];
    assert_eq!(run["to_answer"], Value::Null);
    let errors = run["errors"].as_array().unwrap();
    let count: u64 = errors
        .iter()
        .map(|error| error["count"].as_u64().unwrap())
        .sum();
    assert_eq!(count, 2);
    assert!(
        errors
            .iter()
            .all(|error| error["status"] == "DeadlineExceeded"),
        "{run}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_draws_latency_against_offered_load_on_one_page() {
    let daemon = Setup::new().start().await;
    let shell = Shell::new();
    let page = shell.file("sweep.html", "");
    let ran = bench(
        &daemon,
        &shell,
        &["--sweep", "40,80", "--duration", "0.5", "--html", &page],
    );
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.stdout.contains("# daemon, 40 a second offered"),
        "{ran:?}"
    );
    assert!(
        ran.stdout.contains("# daemon, 80 a second offered"),
        "{ran:?}"
    );
    // Two of the five examples.
    assert!(ran.stdout.contains("of them, without the model"), "{ran:?}");
    let page = fs::read_to_string(page).unwrap();
    assert_eq!(page.matches("<svg").count(), 2);
    assert_eq!(page.matches("<polyline").count(), 6);
    assert!(
        !page.contains("http://") && !page.contains("<script"),
        "{page}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_daemons_counters_are_not_taken_for_those_of_the_one_that_is_driven() {
    let (daemon, other) = (Setup::new().start().await, Setup::new().start().await);
    let asked = ["bench", "--addr", &daemon.judge_addr, "--control-addr"];
    let load = [other.control_addr.as_str(), "--requests", "3", "--json"];
    let ran = Shell::new().run(&[&asked[..], &load].concat());
    let report = report(&ran);
    assert_eq!(report["runs"][0]["engine"], Value::Null);
    let note = report["notes"][0].as_str().unwrap();
    assert!(note.contains("another daemon"), "{note}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_asked_the_very_prompts_of_the_daemon_and_compared_with_it() {
    let daemon = Setup::new()
        .with(|config| config.policy.hard_rules.clear())
        .start()
        .await;
    let server = FakeLlamaServer::start("PENALISE\nIt is so.");
    let shell = Shell::new();
    let cases = cases(&shell);
    let more = [
        "--against",
        &server.url,
        "--rounds",
        "2",
        "--requests",
        "6",
        "--json",
    ];
    let ran = bench(
        &daemon,
        &shell,
        &[&more[..], &["--concurrency", "2", &cases]].concat(),
    );
    assert_eq!(ran.code, 0, "{ran:?}");
    let report = report(&ran);
    let names: Vec<&Value> = report["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| &run["target"])
        .collect();
    assert_eq!(names, ["daemon", "llama_server", "daemon", "llama_server"]);
    let comparison = &report["comparison"];
    assert_eq!(comparison["equal_labels"]["n"], 12);
    assert_eq!(comparison["equal_labels"]["k"], 4);
    assert_eq!(comparison["equal_prompts"]["k"], 12, "{comparison}");
    assert_eq!(
        comparison["decisions_per_second"]["by_round"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert!(number(&comparison["to_answer"]["p50"]["ratio"]) > 0.0);
    assert_eq!(report["setup"]["against"]["slots"], 8);
    let asked = server.completions();
    // Each round's six, and the warm-up's two.
    assert_eq!(asked.len(), 14);
    for body in &asked {
        assert_eq!(body["cache_prompt"], true);
        assert_eq!(body["temperature"], 0);
        assert_eq!(body["stream"], true);
        assert!(
            body["grammar"]
                .as_str()
                .unwrap()
                .contains("root ::= label \"\\n\" sentence")
        );
        let prompt = body["prompt"].as_array().unwrap();
        let prompt = server.text(prompt);
        assert!(prompt.contains("Agent output:\nH"), "{prompt}");
        assert!(prompt.ends_with("<|im_start|>assistant\n"), "{prompt}");
        assert!(prompt.contains("-bench\",\"company\":"), "{prompt}");
    }
}

#[test]
fn a_server_is_asked_by_the_template_of_the_bundle_that_the_settings_file_names() {
    let server = FakeLlamaServer::start("PENALISE\nIt is so.");
    let shell = Shell::new();
    let settings = "bundle = \"tenacious-published\"\nmode = \"rules-only\"\n";
    let settings = shell.file("judged.toml", settings);
    let own = ["bench", "--in-process", "--config", &settings];
    let load = ["--requests", "1", "--concurrency", "1", "--json"];
    let ran = shell.run(&[&own[..], &["--against", &server.url], &load].concat());
    assert_eq!(ran.code, 0, "{ran:?}");
    let asked = server.completions();
    assert_eq!(asked.len(), 2);
    for body in &asked {
        let prompt = server.text(body["prompt"].as_array().unwrap());
        let published = "You are a sales-outreach judge for Tenacious";
        assert!(prompt.contains(published), "{prompt}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_fails_at_is_told_and_ends_with_an_exit_code() {
    let daemon = Setup::new().start().await;
    let shell = Shell::new();
    let more = |url: &str| ["--requests", "2", "--json", "--against", url].map(str::to_owned);
    let ask = |url: &str| {
        let more = more(url);
        bench(&daemon, &shell, &more.each_ref().map(String::as_str))
    };
    let silent = ask("http://127.0.0.1:9");
    assert_eq!(silent.code, 3, "{silent:?}");
    assert!(
        silent
            .stderr
            .contains("no llama-server answers at `http://127.0.0.1:9`"),
        "{silent:?}"
    );
    // The daemon is no llama-server.
    let odd = ask(&format!("http://{}", daemon.judge_addr));
    assert_ne!(odd.code, 0, "{odd:?}");
    let broken = FakeLlamaServer::start("MAYBE\nIt is not so.");
    let ran = ask(&broken.url);
    assert_eq!(ran.code, 4, "{ran:?}");
    let errors = &report(&ran)["runs"][1]["errors"];
    assert!(
        errors[0]["reason"].as_str().unwrap().contains("no label"),
        "{errors}"
    );
}

#[test]
fn without_a_model_its_own_daemon_is_not_measured() {
    let ran = Shell::new().run(&["bench", "--in-process", "--requests", "1"]);
    assert_eq!(ran.code, 5, "{ran:?}");
    assert!(ran.stderr.contains("degraded"), "{ran:?}");
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_sent() {
    let shell = Shell::new();
    for (more, wanted) in [
        (&["--rate", "0"][..], "above 0"),
        (&["--repeat-contexts", "1.5"], "0 to 1"),
        (
            &["--rate", "1", "--concurrency", "2"],
            "cannot be used with",
        ),
        (&["--rounds", "2"], "--against"),
        (
            &["--against", "http://x", "--sweep", "1,2"],
            "cannot be used with",
        ),
        (
            &["--slots", "2"],
            "`--slots` is for a daemon that is started here",
        ),
        (&["missing.jsonl"], "cannot read `missing.jsonl`"),
        (&["--against", "http://x", "--bundle", "nobody"], "`nobody`"),
    ] {
        let ran = shell.run(&[&["bench"], more].concat());
        assert_eq!(ran.code, 2, "{more:?}: {ran:?}");
        assert!(ran.stderr.contains(wanted), "{more:?}: {ran:?}");
    }
    let alone = shell.run(&["bench", "--addr", "127.0.0.1:9"]);
    assert_eq!(alone.code, 3, "{alone:?}");
}
