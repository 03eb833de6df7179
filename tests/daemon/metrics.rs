//! What the daemon tells Prometheus: each number against what was really done, and
//! the table of docs/observability.md against a real page.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::support::certificates::Authority;
use crate::support::daemon::{Daemon, Gate, Setup, request, until, with_id};
use crate::support::scrape::{Page, get, measured};
use judged::edge::TlsFiles;
use judged::rpc::proto::{
    GetDecisionRequest, GetStatusRequest, JudgeRequest, JudgeStreamRequest, OutcomeKind,
    RationaleMode, ReportOutcomeRequest, RunSpotCheckRequest,
};
use judged::verdict::Mode;
use tempfile::TempDir;

async fn start() -> Daemon {
    measured(Setup::new()).start().await
}

fn decisions(label: &str, disposition: &str, decided_by: &str, mode: &str) -> String {
    format!(
        "judged_decisions_total{{label=\"{label}\",disposition=\"{disposition}\",\
         decided_by=\"{decided_by}\",mode=\"{mode}\"}}"
    )
}

fn failed(method: &str, code: &str, reason: &str) -> String {
    format!(
        "judged_requests_failed_total{{method=\"{method}\",code=\"{code}\",reason=\"{reason}\"}}"
    )
}

fn stage_count(stage: &str) -> String {
    format!("judged_stage_seconds_count{{stage=\"{stage}\"}}")
}

async fn until_is(daemon: &Daemon, series: &str, value: f64) {
    for _ in 0..6_000 {
        if Page::of(daemon).await.find(series) == Some(value) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{series} did not come");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_is_counted_by_what_it_was_and_its_stages_are_timed() {
    let daemon = start().await;
    let fresh = Page::of(&daemon).await;
    daemon.ask(request("say:BLOCK")).await.unwrap();
    let hard = JudgeRequest {
        context_json: r#"{"disqualifiers": ["anti_offshore"]}"#.to_owned(),
        ..request("Hi")
    };
    daemon.ask(hard).await.unwrap();
    let page = Page::of(&daemon).await;
    for (label, decided_by) in [("BLOCK", "MODEL"), ("SUPPRESS", "RULES")] {
        let series = decisions(label, "DO_NOT_SEND", decided_by, "ENFORCE");
        assert_eq!(page.value(&series), 1.0);
    }
    assert_eq!(page.sum("judged_decisions_total"), 2.0);
    let requests = "judged_request_seconds_count{method=\"Judge\"}";
    assert_eq!((fresh.value(requests), page.value(requests)), (0.0, 2.0));
    // The rules need no model, but a record.
    for (stage, count) in [
        ("render", 1.0),
        ("queue", 1.0),
        ("prefill", 1.0),
        ("decode", 1.0),
        ("log", 2.0),
    ] {
        assert_eq!(fresh.value(&stage_count(stage)), 0.0);
        assert_eq!(page.value(&stage_count(stage)), count, "{stage}");
    }
    let stages = page.sum("judged_stage_seconds_sum");
    let total = page.value("judged_request_seconds_sum{method=\"Judge\"}");
    assert!(0.0 < stages && stages <= total, "{stages} of {total}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_request_is_answered_again_but_decided_once() {
    let daemon = start().await;
    for _ in 0..3 {
        daemon.ask(with_id("a", "say:BLOCK")).await.unwrap();
    }
    let page = Page::of(&daemon).await;
    assert_eq!(
        page.value("judged_request_seconds_count{method=\"Judge\"}"),
        3.0
    );
    assert_eq!(page.sum("judged_decisions_total"), 1.0);
    assert_eq!(page.value(&stage_count("decode")), 1.0);
    assert_eq!(page.value(&stage_count("log")), 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_is_counted_by_its_code_and_reason() {
    let daemon = start().await;
    daemon.ask(request("")).await.unwrap_err();
    daemon.ask(with_id("a", "Hi")).await.unwrap();
    daemon.ask(with_id("a", "Ho")).await.unwrap_err();
    let report = ReportOutcomeRequest {
        decision_id: "nothing".to_owned(),
        kind: OutcomeKind::Right.into(),
        reported_by: "Ida".to_owned(),
        ..ReportOutcomeRequest::default()
    };
    daemon.client().report_outcome(report).await.unwrap_err();
    let page = Page::of(&daemon).await;
    for series in [
        failed("Judge", "INVALID_ARGUMENT", "MALFORMED_REQUEST"),
        failed("Judge", "ALREADY_EXISTS", "REQUEST_ID_REUSED"),
        failed("ReportOutcome", "NOT_FOUND", "UNKNOWN_DECISION"),
    ] {
        assert_eq!(page.value(&series), 1.0, "{series}");
    }
    assert_eq!(page.sum("judged_requests_failed_total"), 3.0);
    assert_eq!(
        page.value("judged_request_seconds_count{method=\"Judge\"}"),
        3.0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_of_operators_are_counted_apart_from_requests() {
    let daemon = start().await;
    let fresh = Page::of(&daemon).await;
    let mut operator = daemon.control_client();
    for _ in 0..2 {
        operator.get_status(GetStatusRequest {}).await.unwrap();
    }
    let unknown = GetDecisionRequest {
        decision_id: "nothing".to_owned(),
    };
    operator.get_decision(unknown).await.unwrap_err();
    let no_suite = RunSpotCheckRequest {
        suite_jsonl: "nothing".to_owned(),
    };
    operator.run_spot_check(no_suite).await.unwrap_err();
    let page = Page::of(&daemon).await;
    let calls = |page: &Page, method: &str| {
        page.value(&format!(
            "judged_control_seconds_count{{method=\"{method}\"}}"
        ))
    };
    for (method, count) in [
        ("GetStatus", 2.0),
        ("SetMode", 0.0),
        ("ListDecisions", 0.0),
        ("GetDecision", 1.0),
        ("RunSpotCheck", 1.0),
        ("ReArm", 0.0),
    ] {
        assert_eq!(calls(&fresh, method), 0.0, "{method}");
        assert_eq!(calls(&page, method), count, "{method}");
    }
    for failed in [
        "method=\"GetDecision\",code=\"NOT_FOUND\",reason=\"UNKNOWN_DECISION\"",
        "method=\"RunSpotCheck\",code=\"INVALID_ARGUMENT\",reason=\"MALFORMED_REQUEST\"",
    ] {
        let series = format!("judged_control_failed_total{{{failed}}}");
        assert_eq!(page.value(&series), 1.0, "{series}");
    }
    assert_eq!(page.sum("judged_requests_failed_total"), 0.0);
    assert_eq!(page.sum("judged_request_seconds_count"), 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_leaves_is_counted_and_so_is_the_job_that_was_dropped() {
    let gate = Gate::default();
    let daemon = measured(Setup::new()).gated(&gate).start().await;
    gate.close();
    let asked = daemon.asking(request("Hi"));
    gate.until_reached().await;
    asked.abort();
    until_is(&daemon, &failed("Judge", "CANCELLED", "CALLER_LEFT"), 1.0).await;
    gate.open();
    until("the job is dropped", || daemon.meter().abandoned == 1).await;
    let page = Page::of(&daemon).await;
    assert_eq!(page.value("judged_engine_abandoned_jobs_total"), 1.0);
    assert_eq!(page.sum("judged_decisions_total"), 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_of_a_stream_counts_for_itself() {
    let daemon = start().await;
    let messages = ["say:BLOCK", "", "say:PASS"].map(|draft| JudgeStreamRequest {
        request: Some(with_id(&format!("a{draft}"), draft)),
    });
    let stream = tokio_stream::iter(messages);
    let answers = daemon.client().judge_stream(stream).await;
    let mut answers = answers.unwrap().into_inner();
    while answers.message().await.unwrap().is_some() {}
    let page = Page::of(&daemon).await;
    let count = "judged_request_seconds_count{method=\"JudgeStream\"}";
    assert_eq!(page.value(count), 3.0);
    let refused = failed("JudgeStream", "INVALID_ARGUMENT", "MALFORMED_REQUEST");
    assert_eq!(page.value(&refused), 1.0);
    assert_eq!(page.sum("judged_decisions_total"), 2.0);
    for stage in ["render", "decode", "log"] {
        assert_eq!(page.value(&stage_count(stage)), 2.0, "{stage}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_engines_work_is_told_as_its_meter_reads() {
    let daemon = start().await;
    daemon
        .ask(request("say:BLOCK\nbecause:It leaks."))
        .await
        .unwrap();
    let labels_alone = JudgeRequest {
        rationale_mode: RationaleMode::None.into(),
        ..request("say:PASS")
    };
    daemon.ask(labels_alone).await.unwrap();
    let meter = daemon.meter();
    let page = Page::of(&daemon).await;
    for (series, number) in [
        ("judged_engine_prefill_tokens_total", meter.prefill_tokens),
        ("judged_engine_cached_tokens_total", meter.cached_tokens),
        ("judged_engine_decode_tokens_total", meter.decode_tokens),
        ("judged_engine_decode_steps_total", meter.decode_steps),
    ] {
        assert!(number > 0, "{series}");
        assert_eq!(page.value(series), number as f64, "{series}");
    }
    assert!(meter.decode_steps <= meter.decode_tokens);
    let busy = page.value("judged_engine_busy_seconds_total{phase=\"prefill\"}");
    assert_eq!(busy, meter.prefill.as_secs_f64());
    assert!(page.value("judged_kv_cells") > 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decode_that_fails_is_counted() {
    let daemon = start().await;
    daemon.ask(request("fault:decode")).await.unwrap();
    let page = Page::of(&daemon).await;
    assert_eq!(page.value("judged_engine_failed_decodes_total"), 1.0);
    assert_eq!(
        page.value("judged_kill_switch_bad_samples{condition=\"malformed_output\"}"),
        1.0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queue_and_what_runs_are_told_beside_what_there_is_room_for() {
    let gate = Gate::default();
    let setup = measured(Setup::new()).gated(&gate).with(|config| {
        config.engine.slots = 1;
        config.engine.queue = 2;
    });
    let daemon = setup.start().await;
    gate.close();
    let first = daemon.asking(request("Hi"));
    gate.until_reached().await;
    let waiting = [daemon.asking(request("Ho")), daemon.asking(request("Hu"))];
    daemon.until_waiting(2).await;
    daemon.ask(request("Ha")).await.unwrap_err();
    let page = Page::of(&daemon).await;
    for (series, number) in [
        ("judged_running_jobs", 1.0),
        ("judged_slots", 1.0),
        ("judged_queue_depth", 2.0),
        ("judged_queue_capacity", 2.0),
        ("judged_open_tasks", 3.0),
        ("judged_max_deadline_seconds", 120.0),
    ] {
        assert_eq!(page.value(series), number, "{series}");
    }
    let full = failed("Judge", "RESOURCE_EXHAUSTED", "QUEUE_FULL");
    assert_eq!(page.value(&full), 1.0);
    gate.open();
    first.await.unwrap().unwrap();
    for asked in waiting {
        asked.await.unwrap().unwrap();
    }
    assert_eq!(Page::of(&daemon).await.value("judged_queue_depth"), 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_state_of_the_engine_holds_and_degraded_says_whether_it_matters() {
    let daemon = start().await;
    let page = Page::of(&daemon).await;
    assert_eq!(page.holds("judged_engine_state"), "ready");
    assert_eq!(page.holds("judged_mode"), "ENFORCE");
    assert_eq!(page.value("judged_degraded"), 0.0);
    daemon.ask(request("fault:panic")).await.unwrap();
    // The answer may come before the thread's end is known.
    until("it failed", || daemon.state().trouble().is_some()).await;
    let page = Page::of(&daemon).await;
    assert_eq!(page.holds("judged_engine_state"), "failed");
    assert_eq!(page.value("judged_degraded"), 1.0);

    let mut setup = measured(Setup::new()).with(|config| config.policy.mode = Mode::RulesOnly);
    setup.source.scripted.refuses = Some("no".to_owned());
    let daemon = setup.start_unready().await;
    until("it failed", || {
        daemon
            .state()
            .trouble()
            .is_some_and(|why| why.contains("no"))
    })
    .await;
    let page = Page::of(&daemon).await;
    assert_eq!(page.holds("judged_engine_state"), "failed");
    assert_eq!(page.holds("judged_mode"), "RULES_ONLY");
    assert_eq!(page.value("judged_degraded"), 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trip_is_told_with_its_condition_and_before_it_how_near_it_is() {
    let daemon = start().await;
    let decided = daemon.ask(request("say:PASS")).await.unwrap();
    let page = Page::of(&daemon).await;
    assert_eq!(page.holds("judged_kill_switch_state"), "armed");
    assert_eq!(page.sum("judged_kill_switch_condition_met"), 0.0);
    let of = |name: &str, condition: &str| {
        page.value(&format!(
            "judged_kill_switch_{name}{{condition=\"{condition}\"}}"
        ))
    };
    assert_eq!(of("samples", "false_positives"), 1.0);
    assert_eq!(of("minimum_samples", "false_positives"), 100.0);
    assert_eq!(of("limit_ratio", "false_positives"), 0.15);
    assert_eq!(of("limit_ratio", "malformed_output"), 0.01);
    // Of 100 calls the first was well formed.
    assert_eq!(of("bad_samples_left", "malformed_output"), 99.0);
    let too_few = "judged_kill_switch_bad_samples_left{condition=\"false_positives\"}";
    assert_eq!(page.find(too_few), None);

    let incident = ReportOutcomeRequest {
        decision_id: decided.decision_id,
        kind: OutcomeKind::Incident.into(),
        incident_tier: 1,
        reported_by: "Ida".to_owned(),
        ..ReportOutcomeRequest::default()
    };
    daemon.client().report_outcome(incident).await.unwrap();
    until("the adapter is off", || daemon.state().trouble().is_some()).await;
    let page = Page::of(&daemon).await;
    assert_eq!(page.holds("judged_kill_switch_state"), "tripped");
    assert_eq!(page.holds("judged_kill_switch_condition_met"), "incident");
    assert_eq!(page.holds("judged_mode"), "RULES_ONLY");
    assert_eq!(page.holds("judged_engine_state"), "suspended");
    assert_eq!(page.value("judged_degraded"), 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_gone_is_told_as_not_writable() {
    let state = TempDir::new().unwrap();
    let setup = measured(Setup::new()).with(|config| config.state_dir = state.path().to_owned());
    let daemon = setup.start().await;
    daemon.ask(request("Hi")).await.unwrap();
    let bytes = || {
        let files = ["decisions.db", "decisions.db-wal"];
        let sizes = files.map(|name| std::fs::metadata(state.path().join(name)).unwrap().len());
        sizes.iter().sum::<u64>()
    };
    // What the kill switch knows is kept every two seconds, too.
    let (page, held) = loop {
        let before = bytes();
        let page = Page::of(&daemon).await;
        if bytes() == before {
            break (page, before);
        }
    };
    assert_eq!(page.value("judged_log_writable"), 1.0);
    assert_eq!(page.value("judged_log_bytes"), held as f64);
    let commits = page.value("judged_log_commits_total");
    assert!(commits >= 1.0 && page.value("judged_log_commands_total") >= commits);

    std::fs::remove_file(state.path().join("decisions.db")).unwrap();
    daemon.ask(request("Ho")).await.unwrap_err();
    let page = Page::of(&daemon).await;
    assert_eq!(page.value("judged_log_writable"), 0.0);
    let refused = failed("Judge", "UNAVAILABLE", "DECISION_NOT_RECORDED");
    assert_eq!(page.value(&refused), 1.0);
    assert_eq!(page.sum("judged_decisions_total"), 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_is_told_as_the_kernel_sees_it() {
    let before = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs_f64();
    let daemon = start().await;
    let page = Page::of(&daemon).await;
    let started = page.value("process_start_time_seconds");
    let later = Page::of(&daemon).await;
    assert_eq!(later.value("process_start_time_seconds"), started);
    // Other tests of this process came before, and somebody may set the clock.
    let day = 24.0 * 3600.0;
    assert!(
        (before - day..before + 60.0).contains(&started),
        "{started}"
    );
    let resident = page.value("process_resident_memory_bytes");
    assert!((1e6..page.value("process_virtual_memory_bytes")).contains(&resident));
    let files = page.value("process_open_fds");
    assert!((5.0..page.value("process_max_fds")).contains(&files));
    assert!(page.value("process_cpu_seconds_total") > 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scraper_gets_open_metrics_if_it_asks_for_them() {
    let daemon = start().await;
    let addr = daemon.metrics_addr.unwrap();
    let accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2";
    let (kind, text) = get(addr, "/metrics", accept).await.unwrap();
    assert_eq!(
        kind,
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    assert!(text.ends_with("# EOF\n"));
    assert!(text.contains("\n# TYPE judged_log_commits counter\n"));
    assert_eq!(get(addr, "/", "").await, Err(404));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_are_served_only_where_they_are_asked_for() {
    assert_eq!(Setup::new().start().await.metrics_addr, None);
}

/// Whatever a request says, it makes no series and stands in none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_word_of_a_request_gets_into_the_metrics() {
    let daemon = start().await;
    let secret = |number: usize| JudgeRequest {
        context_json: format!(r#"{{"prospect_id": "xyzzy{number}", "company": "xyzzy{number}"}}"#),
        ..with_id(
            &format!("xyzzy{number}"),
            &format!("say:BLOCK\nbecause:xyzzy{number}"),
        )
    };
    daemon.ask(secret(0)).await.unwrap();
    let before = Page::of(&daemon).await;
    for number in 1..20 {
        daemon.ask(secret(number)).await.unwrap();
        let broken = JudgeRequest {
            context_json: "xyzzy".to_owned(),
            ..secret(number)
        };
        daemon.ask(broken).await.unwrap_err();
    }
    let page = Page::of(&daemon).await;
    assert!(!page.text.contains("xyzzy"));
    // One more: the failure.
    assert_eq!(page.text.lines().count(), before.text.lines().count() + 3);
}

/// The rows of the tables that begin with a metric's name, and the type beside it.
fn documented() -> BTreeMap<String, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/observability.md");
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split('|').map(str::trim);
        let name = cells.next()?.trim_end_matches('`').to_owned();
        let known = name.starts_with("judged_") || name.starts_with("process_");
        known.then(|| (name, cells.next().unwrap().to_owned()))
    });
    rows.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_tells_when_the_certificate_expires_and_follows_its_file() {
    let series = "judged_tls_certificate_expiry_timestamp_seconds";
    assert_eq!(Page::of(&start().await).await.find(series), None);

    let authority = Authority::new("authority of the daemon");
    let folder = TempDir::new().unwrap();
    let (cert, key) = authority.sign_until(2100).write(folder.path(), "daemon");
    let files = TlsFiles {
        cert,
        key,
        client_ca: None,
    };
    let setup = measured(Setup::new()).with(|config| config.edge.guard.tls = Some(files));
    let daemon = setup.start().await;
    assert_eq!(Page::of(&daemon).await.value(series), 4_102_444_800.0);
    authority.sign_until(2101).write(folder.path(), "daemon");
    until_is(&daemon, series, 4_133_980_800.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documentation_lists_every_metric_with_its_type_and_no_other() {
    let daemon = start().await;
    daemon.ask(request("Hi")).await.unwrap();
    daemon.ask(request("")).await.unwrap_err();
    let nothing = GetDecisionRequest::default();
    let mut operator = daemon.control_client();
    operator.get_decision(nothing).await.unwrap_err();
    let page = Page::of(&daemon).await;
    assert_eq!(documented(), page.types);
    let listed: BTreeSet<_> = page.names();
    assert!(listed.len() > 40, "{listed:?}");
}
