//! Without a model that works the daemon answers by its rules, says why, and
//! lets nothing pass: the failure table's row of the broken engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use crate::support::daemon::{Daemon, Gate, Setup, Stepped, request, script, until};
use judged::backend::scripted::{Fault, Reply, ScriptedSource, UNREADABLE};
use judged::backend::{DecodeError, OpenError, Serve, Source};
use judged::engine::State;
use judged::rpc::proto::{DecidedBy, Disposition, JudgeRequest, JudgeResponse, Label};

/// A draft on which no rule fires: PASS to the rules.
async fn clean(daemon: &Daemon) -> JudgeResponse {
    daemon.ask(request("say:PASS")).await.unwrap()
}

/// Held, by the rules, without scores, and with the reason told.
fn assert_held(response: &JudgeResponse, reason: &str) {
    assert_eq!(response.label(), Label::Pass);
    assert_eq!(response.decided_by(), DecidedBy::Rules);
    assert_eq!(response.disposition(), Disposition::HoldForReview);
    assert!(response.scores.is_empty());
    assert!(response.model.is_none());
    assert!(
        response.degraded_reason.contains(reason),
        "`{}` does not tell of `{reason}`",
        response.degraded_reason
    );
    assert!(!response.rationale.is_empty());
}

/// Not a fallback of any kind: a rule fires as it does beside a model.
async fn assert_rules_still_fire(daemon: &Daemon) {
    let opted_out = JudgeRequest {
        context_json: r#"{"opt_out_channels": ["email"]}"#.to_owned(),
        ..request("Hi")
    };
    let response = daemon.ask(opted_out).await.unwrap();
    assert_eq!(response.label(), Label::Suppress);
    assert_eq!(response.disposition(), Disposition::DoNotSend);
    assert_eq!(response.rules, ["rule_2_opt_out"]);
}

/// Its files come when the test says so.
struct NotThere {
    come: Arc<AtomicBool>,
    then: Stepped,
}

impl Source for NotThere {
    fn open(&mut self, found: &dyn Fn(), serve: &mut Serve<'_>) -> Result<(), OpenError> {
        match self.come.load(Relaxed) {
            true => self.then.open(found, serve),
            false => Err(OpenError::Missing("`base.gguf` is not there".to_owned())),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_model_is_named_and_taken_up_once_it_comes() {
    let come = Arc::new(AtomicBool::new(false));
    let setup = Setup::new().with(|config| config.engine.retry_missing = Duration::from_millis(5));
    let gate = Gate::default();
    let loads = gate.clone();
    let mut then = Stepped::new();
    then.hook = Arc::new(move |_| {
        loads.pass();
        Ok(())
    });
    let source = NotThere {
        come: Arc::clone(&come),
        then,
    };
    let daemon = setup.start_with(source).await;
    until("it is known to be missing", || {
        matches!(daemon.state(), State::Missing(_))
    })
    .await;
    assert_held(&clean(&daemon).await, "the model is missing: `base.gguf`");
    assert_rules_still_fire(&daemon).await;

    gate.close();
    come.store(true, Relaxed);
    until("it is loading", || matches!(daemon.state(), State::Loading)).await;
    gate.open();
    daemon.until_ready().await;
    assert_eq!(clean(&daemon).await.decided_by(), DecidedBy::Model);
}

/// As a GPU that passes its trial and fails then, before the CPU.
struct SecondWorks {
    first: Stepped,
    second: Stepped,
}

impl Source for SecondWorks {
    fn open(&mut self, found: &dyn Fn(), serve: &mut Serve<'_>) -> Result<(), OpenError> {
        let refused = self.first.open(found, serve);
        assert!(matches!(refused, Err(OpenError::Failed(_))), "{refused:?}");
        self.second.open(found, serve)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_whose_warm_up_fails_leaves_its_place_to_another() {
    let mut first = Stepped::new();
    first.hook = Arc::new(|_| Err(DecodeError::Runtime("the driver is gone".to_owned())));
    let second = Stepped::new();
    let daemon = Setup::new().start_with(SecondWorks { first, second }).await;
    daemon.until_ready().await;
    assert_eq!(clean(&daemon).await.decided_by(), DecidedBy::Model);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_still_loads_decides_nothing() {
    let gate = Gate::default();
    gate.close();
    let daemon = Setup::new().gated(&gate).start_unready().await;
    gate.until_reached().await;
    assert_held(&clean(&daemon).await, "still loading");
    assert_rules_still_fire(&daemon).await;
    gate.open();
    daemon.until_ready().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_cannot_be_opened_leaves_the_rules_with_its_reason() {
    let mut setup = Setup::new();
    setup.source.scripted.refuses = Some("wrong architecture".to_owned());
    let daemon = setup.start_unready().await;
    until("it failed", || matches!(daemon.state(), State::Failed(_))).await;
    assert_held(&clean(&daemon).await, "wrong architecture");
    assert_rules_still_fire(&daemon).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_context_too_small_for_its_slots_is_a_failed_engine_and_not_a_full_cache_later() {
    let mut setup = Setup::new();
    setup.source.scripted.capacity.cells = 4096;
    let daemon = setup.start_unready().await;
    until("it failed", || matches!(daemon.state(), State::Failed(_))).await;
    assert_held(&clean(&daemon).await, "`4096` cells");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_whose_grammar_does_not_fit_is_a_failed_engine() {
    let mut setup = Setup::new();
    setup.bundle.answer.grammar = "start: \"MAYBE\"".to_owned();
    let daemon = setup.start_unready().await;
    until("it failed", || matches!(daemon.state(), State::Failed(_))).await;
    assert_held(&clean(&daemon).await, "label `SUPPRESS`");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_warm_up_that_fails_is_a_failed_engine() {
    let daemon = Setup::new()
        .on_step(|_| Err(DecodeError::Runtime("no memory".to_owned())))
        .start_unready()
        .await;
    until("it failed", || matches!(daemon.state(), State::Failed(_))).await;
    assert_held(&clean(&daemon).await, "no memory");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_of_the_engine_thread_answers_all_by_rules_from_then_on() {
    let gate = Gate::default();
    let daemon = Setup::new()
        .gated(&gate)
        .with(|config| config.engine.slots = 1)
        .start()
        .await;
    gate.close();
    let runs = daemon.asking(request("fault:panic"));
    gate.until_reached().await;
    let waits = daemon.asking(request("say:PASS"));
    daemon.until_waiting(1).await;
    gate.open();
    assert_held(&runs.await.unwrap().unwrap(), "the engine failed");
    assert_held(&waits.await.unwrap().unwrap(), "the engine failed");
    until("it failed", || matches!(daemon.state(), State::Failed(_))).await;
    assert_held(&clean(&daemon).await, "a panic that the script asked for");
    assert_rules_still_fire(&daemon).await;
}

#[tokio::test]
async fn a_panic_of_the_tokenizer_costs_the_request_that_it_read_and_no_later_one() {
    let daemon = Setup::new().start().await;
    let long = "It is long. ".repeat(2000);
    for draft in [UNREADABLE.to_owned(), format!("{long}{UNREADABLE}")] {
        let answer = daemon.ask(request(&draft)).await.unwrap();
        assert_held(&answer, "the prompt was not rendered");
    }
    assert_eq!(clean(&daemon).await.decided_by(), DecidedBy::Model);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_decode_costs_the_requests_that_ran_and_no_later_one() {
    let daemon = Setup::new().start().await;
    let failed = daemon.ask(request("fault:decode")).await.unwrap();
    assert_held(&failed, "a failure that the script asked for");
    assert_eq!(daemon.meter().failures, 1);
    let later = clean(&daemon).await;
    assert_eq!(later.decided_by(), DecidedBy::Model);
    assert!(later.degraded_reason.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_admitted_beside_one_that_gets_no_cache_are_answered_too() {
    let gate = Gate::default();
    let setup = Setup::new().gated(&gate);
    let refuse_restore = Arc::clone(&setup.source.refuse_restore);
    let daemon = setup.start().await;
    gate.close();
    let runs = daemon.asking(request("say:PASS"));
    gate.until_reached().await;
    let waits = [1, 2, 3].map(|_| daemon.asking(request("say:PASS")));
    daemon.until_waiting(3).await;
    refuse_restore.store(true, Relaxed);
    gate.open();
    for waited in waits {
        assert_held(&waited.await.unwrap().unwrap(), "nothing to restore");
    }
    // Its label was certain before.
    let ran = runs.await.unwrap().unwrap();
    assert!(ran.degraded_reason.contains("no rationale"));
    assert_eq!(clean(&daemon).await.decided_by(), DecidedBy::Model);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_does_not_recover_is_a_failed_engine() {
    let broken = Arc::new(AtomicBool::new(false));
    let breaks = Arc::clone(&broken);
    let daemon = Setup::new()
        .on_step(move |_| match breaks.load(Relaxed) {
            true => Err(DecodeError::Runtime("the device is gone".to_owned())),
            false => Ok(()),
        })
        .start()
        .await;
    broken.store(true, Relaxed);
    assert_held(&clean(&daemon).await, "the device is gone");
    until("it failed", || matches!(daemon.state(), State::Failed(_))).await;
    assert_held(&clean(&daemon).await, "the device is gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_during_the_rationale_leaves_the_label_and_says_so() {
    let steps = Arc::new(AtomicUsize::new(usize::MAX));
    let left = Arc::clone(&steps);
    let daemon = Setup::new()
        .on_step(move |spans| {
            // A step of the rationale, of one token and with logits.
            let writes = spans[0].outputs > 0 && spans[0].tokens.len() == 1;
            match writes && left.fetch_sub(1, Relaxed) == 0 {
                true => Err(DecodeError::Runtime("once".to_owned())),
                false => Ok(()),
            }
        })
        .start()
        .await;
    for (label, disposition) in [
        (Label::Block, Disposition::DoNotSend),
        // Nothing goes out on an answer that broke off.
        (Label::Pass, Disposition::HoldForReview),
    ] {
        steps.store(3, Relaxed);
        let says = label.as_str_name().trim_start_matches("LABEL_");
        let draft = format!("say:{says}\nbecause:It is a longer sentence.");
        let response = daemon.ask(request(&draft)).await.unwrap();
        assert_eq!(response.label(), label);
        assert_eq!(response.disposition(), disposition);
        assert_eq!(response.decided_by(), DecidedBy::Model);
        assert_eq!(response.rationale, "");
        assert!(response.degraded_reason.contains("no rationale: "));
        assert!(response.degraded_reason.contains("once"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logits_that_are_no_numbers_never_become_a_verdict_of_the_model() {
    let daemon = Setup::new().start().await;
    for _ in 0..3 {
        let response = daemon.ask(request("fault:nan")).await.unwrap();
        assert_held(&response, "no finite logits");
    }
    assert_eq!(clean(&daemon).await.decided_by(), DecidedBy::Model);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logits_that_are_no_numbers_after_the_label_give_no_sentence_and_are_told_of() {
    let mut setup = Setup::new();
    setup.source.scripted = ScriptedSource::new(|prompt| Reply {
        fault: prompt.contains("no more").then_some(Fault::NotFiniteLater),
        ..script(prompt)
    });
    let daemon = setup.start().await;
    for (says, disposition) in [
        ("BLOCK", Disposition::DoNotSend),
        ("PASS", Disposition::HoldForReview),
    ] {
        let draft = format!("say:{says}\nThere are no more numbers.");
        let response = daemon.ask(request(&draft)).await.unwrap();
        assert_eq!(response.label().as_str_name(), format!("LABEL_{says}"));
        assert_eq!(response.disposition(), disposition);
        assert_eq!(response.decided_by(), DecidedBy::Model);
        assert_eq!(response.rationale, "");
        let reason = &response.degraded_reason;
        assert!(reason.contains("no rationale: "), "{reason}");
        assert!(reason.contains("no numbers"), "{reason}");
    }
    let later = clean(&daemon).await;
    assert_eq!(later.decided_by(), DecidedBy::Model);
    assert!(later.degraded_reason.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pass_that_the_model_hardly_meant_is_held() {
    let daemon = Setup::new().start().await;
    for (says, disposition) in [
        ("PASS", Disposition::HoldForReview),
        ("SUPPRESS", Disposition::DoNotSend),
    ] {
        let draft = format!("say:{says}\nfault:unmeant");
        let response = daemon.ask(request(&draft)).await.unwrap();
        assert_eq!(response.decided_by(), DecidedBy::Model);
        assert_eq!(response.disposition(), disposition);
        assert!(response.legal_mass < 0.5);
        let told = response.degraded_reason.contains("hardly meant it");
        assert_eq!(told, says == "PASS", "{}", response.degraded_reason);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stuck_engine_answers_by_rules_until_it_moves_again() {
    let gate = Gate::default();
    let daemon = Setup::new()
        .gated(&gate)
        // A pause of the machine is no hang.
        .with(|config| config.engine.stuck_after = Duration::from_secs(3))
        .start()
        .await;
    gate.close();
    let hangs = daemon.asking(request("say:BLOCK"));
    // The one under way is not left hanging, nor are those that come after.
    assert_held(&hangs.await.unwrap().unwrap(), "stuck");
    assert!(matches!(daemon.state(), State::Stuck(_)));
    assert_held(&clean(&daemon).await, "stuck");
    assert_rules_still_fire(&daemon).await;
    gate.open();
    daemon.until_ready().await;
    assert_eq!(clean(&daemon).await.decided_by(), DecidedBy::Model);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_may_let_a_pass_of_the_rules_go_out() {
    let mut setup = Setup::new().with(|config| {
        config.policy.rules_pass = judged::verdict::Disposition::Dispatch;
    });
    setup.source.scripted.refuses = Some("no".to_owned());
    let daemon = setup.start_unready().await;
    let response = clean(&daemon).await;
    assert_eq!(response.decided_by(), DecidedBy::Rules);
    assert_eq!(response.disposition(), Disposition::Dispatch);
}
