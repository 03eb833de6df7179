//! What a decision is made of: who decides in which mode, scores, revision,
//! usage, idempotency, and that each caller gets its own answer.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::daemon;
use crate::support::daemon::{Gate, Setup, request, until, with_id};
use judged::backend::SequenceId;
use judged::rpc::proto::{
    DecidedBy, Disposition, GetStatusRequest, JudgeRequest, Label, Mode, RationaleMode,
};
use judged::verdict;
use tonic::Code;
use tonic_types::StatusExt;

fn with_context(context: &str, draft: &str) -> JudgeRequest {
    JudgeRequest {
        context_json: context.to_owned(),
        ..request(draft)
    }
}

fn in_mode(mode: verdict::Mode) -> Setup {
    Setup::new().with(|config| config.policy.mode = mode)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hard_rule_decides_without_a_token_of_the_model() {
    let daemon = Setup::new().start().await;
    let before = daemon.meter();
    let cases = [
        (
            r#"{"disqualifiers": ["anti_offshore"]}"#,
            Label::Suppress,
            "rule_1_disqualifier",
        ),
        (
            r#"{"opt_out_channels": ["email"]}"#,
            Label::Suppress,
            "rule_2_opt_out",
        ),
        (
            r#"{"recipient_role": "c_level", "headcount": 3200}"#,
            Label::Escalate,
            "rule_3_c_level_at_large_company",
        ),
    ];
    for (context, label, rule) in cases {
        let response = daemon.ask(with_context(context, "say:PASS")).await.unwrap();
        assert_eq!(response.label(), label, "{context}");
        assert_eq!(response.decided_by(), DecidedBy::Rules);
        assert_eq!(response.rules, [rule]);
        assert_eq!(response.degraded_reason, "", "a hard rule is no fallback");
        assert!(response.rationale.ends_with('.'));
        assert!(response.scores.is_empty() && response.model.is_none());
    }
    assert_eq!(daemon.meter(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_that_is_not_hard_leaves_the_decision_to_the_model() {
    let daemon = Setup::new()
        .with(|config| config.policy.hard_rules.clear())
        .start()
        .await;
    let opted_out = with_context(r#"{"opt_out_channels": ["email"]}"#, "say:PENALISE");
    let response = daemon.ask(opted_out).await.unwrap();
    assert_eq!(response.label(), Label::Penalise);
    assert_eq!(response.decided_by(), DecidedBy::Model);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_of_the_model_carries_scores_sentence_revision_and_usage() {
    let daemon = Setup::new().start().await;
    let response = daemon
        .ask(request("say:BLOCK\nbecause:It leaks."))
        .await
        .unwrap();
    assert_eq!(response.label(), Label::Block);
    assert_eq!(response.rationale, "It leaks.");
    assert_eq!(response.decided_by(), DecidedBy::Model);
    assert_eq!(response.mode(), Mode::Enforce);

    let labels: HashSet<Label> = response.scores.iter().map(|row| row.label()).collect();
    assert_eq!((response.scores.len(), labels.len()), (5, 5));
    let sum: f64 = response.scores.iter().map(|row| row.probability).sum();
    assert!((sum - 1.0).abs() < 1e-9, "{sum}");
    let best = response
        .scores
        .iter()
        .max_by(|a, b| a.probability.total_cmp(&b.probability));
    assert_eq!(best.unwrap().label(), Label::Block);
    assert!(response.legal_mass > 0.5 && response.legal_mass <= 1.0);

    let bundle = daemon::bundle();
    let model = response.model.unwrap();
    assert_eq!(model.bundle, format!("{}@{}", bundle.name, bundle.revision));
    assert_eq!(model.base_sha256, bundle.base.sha256);
    assert_eq!(model.template_sha256, bundle.prompt.template_sha256);
    let adapter = bundle.adapter.unwrap();
    assert_eq!(model.adapter_sha256, adapter.sha256);
    assert_eq!(model.scale, adapter.scale);

    let usage = response.usage.unwrap();
    assert!(usage.cached_tokens > 700, "the rubric is shared: {usage:?}");
    assert!(usage.cached_tokens < usage.prompt_tokens);
    // The label is one token, the rest a byte each.
    assert_eq!(usage.generated_tokens as usize, 1 + "\nIt leaks.".len());
    assert!(response.timings.unwrap().total.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shared_part_of_the_prompt_is_evaluated_once_for_all() {
    let daemon = Setup::new()
        .with(|config| config.engine.prefix_cells = 0)
        .start()
        .await;
    let shared = daemon.meter().prefill_tokens;
    let mut evaluated = 0;
    for draft in ["one", "two", "three"] {
        let usage = daemon.ask(request(draft)).await.unwrap().usage.unwrap();
        assert_eq!(u64::from(usage.cached_tokens), shared);
        evaluated += u64::from(usage.prompt_tokens - usage.cached_tokens);
    }
    assert_eq!(daemon.meter().prefill_tokens, shared + evaluated);
    assert_eq!(daemon.meter().cached_tokens, 3 * shared);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_rationale_the_label_costs_no_decode_step() {
    let daemon = Setup::new().start().await;
    let response = daemon
        .ask(JudgeRequest {
            rationale_mode: RationaleMode::None.into(),
            ..request("say:ESCALATE\nbecause:It is not asked for.")
        })
        .await
        .unwrap();
    assert_eq!(response.label(), Label::Escalate);
    assert_eq!(response.rationale, "");
    assert_eq!(response.usage.unwrap().generated_tokens, 0);
    assert_eq!(daemon.meter().decode_tokens, 0);
    let by_rules = JudgeRequest {
        rationale_mode: RationaleMode::None.into(),
        ..with_context(r#"{"disqualifiers": ["competitor"]}"#, "Hi")
    };
    assert_eq!(daemon.ask(by_rules).await.unwrap().rationale, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_label_has_its_disposition_and_an_operator_may_change_it() {
    let usual = [
        ("SUPPRESS", Disposition::DoNotSend),
        ("ESCALATE", Disposition::RouteToHuman),
        ("BLOCK", Disposition::DoNotSend),
        ("PENALISE", Disposition::HoldForReview),
        ("PASS", Disposition::Dispatch),
    ];
    let daemon = Setup::new().start().await;
    for (label, disposition) in usual {
        let response = daemon.ask(request(&format!("say:{label}"))).await.unwrap();
        assert_eq!(response.decided_by(), DecidedBy::Model);
        assert_eq!(response.disposition(), disposition, "{label}");
    }
    let changed = Setup::new().with(|config| {
        let table = &mut config.policy.dispositions;
        table.set(verdict::Label::Penalise, verdict::Disposition::Dispatch);
    });
    let daemon = changed.start().await;
    let response = daemon.ask(request("say:PENALISE")).await.unwrap();
    assert_eq!(response.disposition(), Disposition::Dispatch);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_shadow_the_rules_decide_and_the_model_is_asked_beside_them() {
    let daemon = in_mode(verdict::Mode::Shadow).start().await;
    let before = daemon.meter().prefill_tokens;
    let response = daemon.ask(request("say:BLOCK")).await.unwrap();
    assert_eq!(response.label(), Label::Pass);
    assert_eq!(response.decided_by(), DecidedBy::Rules);
    assert_eq!(response.disposition(), Disposition::HoldForReview);
    assert_eq!(response.mode(), Mode::Shadow);
    assert!(response.scores.is_empty());
    until("the model was asked", || {
        daemon.meter().prefill_tokens > before
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_shadow_no_fault_of_the_model_reaches_the_caller() {
    let daemon = in_mode(verdict::Mode::Shadow).start().await;
    for fault in ["fault:nan", "fault:decode", "fault:panic"] {
        let response = daemon.ask(request(fault)).await.unwrap();
        assert_eq!(response.decided_by(), DecidedBy::Rules);
        assert_eq!(response.degraded_reason, "");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_rules_only_the_model_is_never_asked() {
    let daemon = in_mode(verdict::Mode::RulesOnly).start().await;
    let before = daemon.meter();
    let response = daemon.ask(request("say:BLOCK")).await.unwrap();
    assert_eq!(response.label(), Label::Pass);
    assert_eq!(response.disposition(), Disposition::HoldForReview);
    assert_eq!(response.mode(), Mode::RulesOnly);
    assert_eq!(response.degraded_reason, "", "nothing is missing");
    assert_eq!(daemon.meter(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_id_and_content_give_the_same_decision_again() {
    let daemon = Setup::new().start().await;
    let first = daemon.ask(with_id("a", "say:BLOCK")).await.unwrap();
    let again = daemon.ask(with_id("a", "say:BLOCK")).await.unwrap();
    assert_eq!(again, first);
    assert_eq!(daemon.judge.tally().by_model, 1);
    let other = daemon.ask(with_id("b", "say:BLOCK")).await.unwrap();
    assert_ne!(other.decision_id, first.decision_id);
    let unnamed = [(); 2].map(|()| daemon.asking(request("say:BLOCK")));
    let [one, two] = unnamed.map(async |asked| asked.await.unwrap().unwrap().decision_id);
    assert_ne!(one.await, two.await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_id_with_another_content_already_exists() {
    let daemon = Setup::new().start().await;
    let first = with_id("a", "say:BLOCK");
    daemon.ask(first.clone()).await.unwrap();
    let others = [
        JudgeRequest {
            draft: "say:PASS".to_owned(),
            ..first.clone()
        },
        JudgeRequest {
            context_json: "{}".to_owned(),
            ..first.clone()
        },
        JudgeRequest {
            channel: 2,
            ..first.clone()
        },
        JudgeRequest {
            rationale_mode: 1,
            ..first.clone()
        },
    ];
    for other in others {
        let status = daemon.ask(other).await.unwrap_err();
        assert_eq!(status.code(), Code::AlreadyExists);
        let details = status.get_error_details();
        assert_eq!(details.error_info().unwrap().reason, "REQUEST_ID_REUSED");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_requests_of_one_id_run_once() {
    let gate = Gate::default();
    let daemon = Setup::new().gated(&gate).start().await;
    gate.close();
    let asked: Vec<_> = (0..8)
        .map(|_| daemon.asking(with_id("a", "say:BLOCK")))
        .collect();
    gate.until_reached().await;
    until("all have arrived", || daemon.judge.open_requests() == 8).await;
    gate.open();
    let mut ids = HashSet::new();
    for answer in asked {
        ids.insert(answer.await.unwrap().unwrap().decision_id);
    }
    assert_eq!(ids.len(), 1);
    assert_eq!(daemon.judge.tally().by_model, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_try_can_be_repeated_with_its_id() {
    let gate = Gate::default();
    let daemon = Setup::new()
        .gated(&gate)
        .with(|config| config.policy.max_deadline = Duration::from_secs(20))
        .start()
        .await;
    gate.close();
    let status = daemon
        .ask_within(with_id("a", "say:BLOCK"), Duration::from_millis(100))
        .await;
    status.unwrap_err();
    let left = daemon.asking(with_id("b", "say:BLOCK"));
    until("it is under way", || daemon.judge.open_requests() == 1).await;
    left.abort();
    until("it is gone", || daemon.judge.open_requests() == 0).await;
    gate.open();
    for id in ["a", "b"] {
        let response = daemon.ask(with_id(id, "say:BLOCK")).await.unwrap();
        assert_eq!(response.decided_by(), DecidedBy::Model, "{id}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_that_was_refused_may_come_again_with_less() {
    let daemon = Setup::new().start().await;
    let long = with_id("a", &"word ".repeat(4_000));
    let refused = daemon.ask(long).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let response = daemon.ask(with_id("a", "say:BLOCK")).await.unwrap();
    assert_eq!(response.label(), Label::Block);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_callers_at_once_each_get_their_own_answer() {
    let daemon = Setup::new()
        .with(|config| config.engine.queue = 200)
        .start()
        .await;
    let labels = ["SUPPRESS", "ESCALATE", "BLOCK", "PENALISE", "PASS"];
    let asked: Vec<_> = (0..150)
        .map(|index| {
            let label = labels[index % 5];
            daemon.asking(request(&format!(
                "say:{label}\nbecause:It is number {index}."
            )))
        })
        .collect();
    for (index, answer) in asked.into_iter().enumerate() {
        let response = answer.await.unwrap().unwrap();
        assert_eq!(response.label as usize, index % 5 + 1);
        assert_eq!(response.rationale, format!("It is number {index}."));
    }
    assert_eq!(daemon.judge.tally().by_model, 150);
}

/// Counted in steps, not in seconds: of the steps between a request's arrival
/// and its label, few may be others' rationales.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rationales_under_way_delay_a_label_by_a_bounded_number_of_steps() {
    const OWN: SequenceId = SequenceId(3);
    let gate = Gate::default();
    let steps = Arc::new(Mutex::new(Vec::new()));
    let (passes, log) = (gate.clone(), Arc::clone(&steps));
    let daemon = Setup::new()
        .with(|config| config.engine.chunk = 64)
        .on_step(move |spans| {
            let of: Vec<SequenceId> = spans.iter().map(|span| span.sequence).collect();
            let mut log = log.lock().unwrap();
            log.push(of);
            let together = log.iter().filter(|step| step.len() == 3).count();
            if together == 5 && log.last().is_some_and(|step| step.len() == 3) {
                passes.close();
            }
            drop(log);
            passes.pass();
            Ok(())
        })
        .start()
        .await;
    let long = format!("because:It is {} so.", "very ".repeat(30));
    // They are admitted together, and written together.
    gate.close();
    let writes = [1, 2, 3].map(|_| daemon.asking(request(&long)));
    gate.until_reached().await;
    until("all have arrived", || {
        daemon.judge.engine().queue_depth() as u64 + daemon.meter().running == 3
    })
    .await;
    gate.open();
    until("three write", || {
        steps.lock().unwrap().iter().any(|step| step.len() == 3)
    })
    .await;
    gate.until_reached().await;
    let asked = daemon.asking(JudgeRequest {
        rationale_mode: RationaleMode::None.into(),
        ..request(&"A".repeat(600))
    });
    until("it has arrived", || {
        daemon.judge.engine().queue_depth() == 1
    })
    .await;
    let arrival = steps.lock().unwrap().len();
    gate.open();
    asked.await.unwrap().unwrap();

    let steps = steps.lock().unwrap().clone();
    let own: Vec<usize> = (arrival..steps.len())
        .filter(|at| steps[*at] == [OWN])
        .collect();
    let others = own[own.len() - 1] + 1 - arrival - own.len();
    assert!(own.len() >= 9, "it was read in chunks: {}", own.len());
    assert!(others > 0, "the rationales went on meanwhile");
    assert!(
        others <= own.len() / 4,
        "{others} steps between {} chunks",
        own.len()
    );
    for answer in writes {
        answer.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_control_service_tells_mode_model_counters_and_an_idle_engine() {
    let daemon = Setup::new().start().await;
    daemon.ask(request("say:BLOCK")).await.unwrap();
    daemon.ask(request("")).await.unwrap_err();
    until("the engine is idle", || daemon.meter().running == 0).await;
    let status = daemon
        .control_client()
        .get_status(GetStatusRequest {})
        .await;
    let status = status.unwrap().into_inner();
    assert_eq!(status.mode(), Mode::Enforce);
    assert_eq!(
        (status.queue_depth, status.queue_limit, status.running),
        (0, 64, 0)
    );
    assert_eq!(status.engine.unwrap().slots, 4);
    assert_eq!(status.model.unwrap().bundle, daemon.judge.revision().bundle);
    let counters = status.counters.unwrap();
    assert_eq!(counters.decisions_by_model, 1);
    assert_eq!((counters.decisions_by_rules, counters.abandoned), (0, 0));
    assert_eq!(counters.refused, 1, "the empty draft");
    assert!(!status.draining && status.degraded_reason.is_empty());
}
