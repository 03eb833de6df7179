//! Promise: whatever is asked of the daemon, by however many, each answer is well formed, each
//! refusal is one of those documented, and nothing of it stays behind.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::support::hostile::{Chance, question};
use crate::support::tiny::{LoraSpec, TinyModel};
use crate::support::tiny_daemon::{
    MAX_PROMPT_TOKENS, MAX_RATIONALE_BYTES, MAX_RATIONALE_TOKENS, TinyBundle,
};
use crate::support::well_formed::assert_sentence;
use judged::client::{Client, ClientError, EngineState, Question};
use judged::config::Config;
use judged::verdict::{DecidedBy, Decision, Disposition, Label, RationaleMode};

const REQUESTS: u64 = 2000;
const CALLERS: u64 = 8;

#[derive(Default)]
struct Sums {
    answers: u64,
    refusals: u64,
    prompt: u64,
    cached: u64,
    labels: BTreeMap<Label, u64>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_hostile_requests_get_well_formed_answers_and_leave_nothing_behind() {
    let daemon = TinyBundle::new().serve().await;
    let shared = daemon.status().await.engine.unwrap().shared_prefix_tokens;
    let callers = (0..CALLERS).map(|caller| {
        let mut client = daemon.client.clone();
        tokio::spawn(async move {
            let mut sums = Sums::default();
            for number in 0..REQUESTS / CALLERS {
                let mut chance = Chance(caller * 1_000_000 + number);
                let (question, refused) = question(&mut chance);
                let outcome = client.judge(question.clone()).await;
                match (outcome, refused) {
                    (Ok(decision), None) => {
                        check(&decision, &question, shared);
                        sums.answers += 1;
                        sums.prompt += u64::from(decision.usage.prompt_tokens);
                        sums.cached += u64::from(decision.usage.cached_tokens);
                        *sums.labels.entry(decision.label).or_default() += 1;
                    }
                    (Err(error), Some(reason)) => {
                        check_refusal(&error, reason);
                        sums.refusals += 1;
                    }
                    other => panic!("{other:?} to {question:?}"),
                }
            }
            sums
        })
    });
    let mut total = Sums::default();
    for caller in callers.collect::<Vec<_>>() {
        let sums = caller.await.unwrap();
        total.answers += sums.answers;
        total.refusals += sums.refusals;
        total.prompt += sums.prompt;
        total.cached += sums.cached;
        for (label, count) in sums.labels {
            *total.labels.entry(label).or_default() += count;
        }
    }
    assert!(total.refusals > 50 && total.answers > 1500);
    assert!(
        total.labels.len() >= 3,
        "too tame a model: {:?}",
        total.labels
    );

    let status = daemon.idle().await;
    assert_eq!(status.engine_state, EngineState::Ready);
    assert_eq!(status.decisions_by_model, total.answers);
    assert_eq!(status.decisions_by_rules, 0);
    assert_eq!(status.refused, total.refusals);
    assert_eq!(status.abandoned, 0);
    assert_eq!(status.cached_tokens, total.cached);
    let evaluated = u64::from(shared) + total.prompt - total.cached;
    assert_eq!(status.prefill_tokens, evaluated);

    let fresh = Question {
        context_json: "{}".to_owned(),
        draft: "Hi Amir, we help teams.".to_owned(),
        ..Question::default()
    };
    let mut client = daemon.client.clone();
    let decision = client.judge(fresh.clone()).await.unwrap();
    check(&decision, &fresh, shared);
    daemon.app.shut_down().await;
}

#[track_caller]
fn check(decision: &Decision, question: &Question, shared: u32) {
    assert_eq!(decision.decided_by, DecidedBy::Model, "{decision:?}");
    let scores = decision.scores.unwrap();
    assert_eq!(decision.label, scores.best());
    // Weights drawn at random hardly ever mean a label: nothing goes out on that.
    let held = decision.label == Label::Pass && scores.legal_mass < 0.5;
    assert_eq!(decision.degraded_reason.is_some(), held, "{decision:?}");
    assert!(!held || decision.disposition == Disposition::HoldForReview);
    let sum: f64 = scores.probabilities.iter().sum();
    assert!((sum - 1.0).abs() < 1e-9, "{scores:?}");
    let whole = 0.0..=1.0 + 1e-12;
    assert!(scores.probabilities.iter().all(|p| whole.contains(p)));
    assert!(whole.contains(&scores.legal_mass), "{scores:?}");
    assert!(decision.usage.cached_tokens >= shared);
    assert!(decision.usage.prompt_tokens > shared);
    assert!(decision.usage.prompt_tokens as usize <= MAX_PROMPT_TOKENS);
    let model = decision.model.as_ref().unwrap();
    assert_eq!(model.bundle, "tiny@1");
    assert_eq!(model.adapter_sha256, None);
    if question.rationale == RationaleMode::None {
        assert_eq!(decision.rationale, "");
        assert_eq!(decision.usage.generated_tokens, 0);
    } else {
        assert_sentence(&decision.rationale, MAX_RATIONALE_BYTES);
        // Four tokens of the longest label, and the line end.
        let most = MAX_RATIONALE_TOKENS + 5;
        assert!((3..=most).contains(&decision.usage.generated_tokens));
    }
}

#[track_caller]
fn check_refusal(error: &ClientError, reason: &str) {
    assert_eq!(error.reason().as_deref(), Some(reason), "{error}");
    assert_eq!(error.code().as_deref(), Some("InvalidArgument"), "{error}");
    if reason == "PROMPT_TOO_LONG" {
        let budget = format!("over the budget of `{MAX_PROMPT_TOKENS}`");
        let text = error.to_string();
        let count = text.split('`').nth(1).and_then(|n| n.parse::<usize>().ok());
        assert!(text.contains(&budget), "{text}");
        assert!(count.unwrap() > 5000, "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_leave_take_their_work_with_them() {
    let daemon = TinyBundle::new().serve().await;
    let shared = daemon.status().await.engine.unwrap().shared_prefix_tokens;
    let calls = (0..300_u64).map(|number| {
        let mut client = daemon.client.clone();
        tokio::spawn(async move {
            let mut chance = Chance(number);
            let (mut question, _) = question(&mut chance);
            let patience = Duration::from_millis(1 + chance.next() % 150);
            if chance.below(2) == 0 {
                // Its deadline passes.
                question.timeout = Some(patience);
                let _ = client.judge(question).await;
            } else {
                // It goes away.
                let _ = tokio::time::timeout(patience, client.judge(question)).await;
            }
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
    let status = daemon.idle().await;
    // On a busy machine most deadlines pass before the engine has heard of the job.
    assert!(status.abandoned + status.refused > 0, "{status:?}");
    assert_eq!(status.engine_state, EngineState::Ready);
    // Every slot is free again, and every cell: as many as there are slots, at once.
    let calls = (0..4).map(|_| {
        let mut client = daemon.client.clone();
        let question = plain("A draft that nobody leaves alone. ".repeat(15));
        tokio::spawn(async move { (client.judge(question.clone()).await.unwrap(), question) })
    });
    for call in calls.collect::<Vec<_>>() {
        let (decision, question) = call.await.unwrap();
        check(&decision, &question, shared);
    }
    daemon.app.shut_down().await;
}

fn plain(draft: impl Into<String>) -> Question {
    Question {
        context_json: "{\"company\": \"DevCo\"}".to_owned(),
        draft: draft.into(),
        ..Question::default()
    }
}

#[tokio::test]
async fn the_revision_says_which_adapter_decides_or_that_none_does() {
    let daemon = TinyBundle::new().serve().await;
    let mut client = daemon.client.clone();
    let without = client.judge(plain("Hi Amir.")).await.unwrap();
    let revision = without.model.clone().unwrap();
    assert_eq!(revision.base_sha256, daemon.bundle.base.sha256);
    assert_eq!(revision.adapter_sha256, None);
    assert_eq!(daemon.status().await.engine.unwrap().adapter, "none");
    daemon.app.shut_down().await;

    let lora = TinyModel::default().lora(&LoraSpec::default());
    let daemon = TinyBundle::new().with_adapter(lora).serve().await;
    let mut client = daemon.client.clone();
    let with = client.judge(plain("Hi Amir.")).await.unwrap();
    let revision = with.model.clone().unwrap();
    let adapter = daemon.bundle.adapter.as_ref().unwrap();
    assert_eq!(revision.adapter_sha256.as_ref(), Some(&adapter.sha256));
    assert_eq!(revision.adapter_scale, 1.0);
    let described = daemon.status().await.engine.unwrap().adapter;
    assert_eq!(described, "LoRA of rank 4 on 28 tensors, scale 1");
    assert_ne!(with.scores, without.scores);
    assert!(!revision.adapter_merged);
    daemon.app.shut_down().await;
}

#[tokio::test]
async fn a_decision_says_whether_its_adapter_was_merged() {
    let lora = TinyModel::default().lora(&LoraSpec::default());
    let bundle = TinyBundle::new().with_adapter(lora);
    let daemon = bundle
        .with(|config| config.merge_adapter = true)
        .serve()
        .await;
    let mut client = daemon.client.clone();
    let decision = client.judge(plain("Hi Amir.")).await.unwrap();
    assert!(decision.model.as_ref().unwrap().adapter_merged);
    assert!(daemon.status().await.model.unwrap().adapter_merged);
    daemon.app.shut_down().await;
}

#[tokio::test]
async fn another_adapter_than_the_manifest_names_is_not_used() {
    let lora = TinyModel::default().lora(&LoraSpec::default());
    let daemon = TinyBundle::new().with_swapped_adapter(lora).serve().await;
    let status = daemon.status().await;
    assert_eq!(status.engine_state, EngineState::Failed);
    let mut client = daemon.client.clone();
    let decision = client.judge(plain("Hi Amir.")).await.unwrap();
    assert_by_rules(&decision, "adapter.gguf");
    assert_by_rules(&decision, "sha256");
    daemon.app.shut_down().await;
}

#[tokio::test]
async fn an_adapter_that_cannot_be_loaded_leaves_the_rules() {
    let wide = TinyModel {
        n_embd: 128,
        ..TinyModel::default()
    };
    let lora = wide.lora(&LoraSpec::default());
    let daemon = TinyBundle::new().with_adapter(lora).serve().await;
    let mut client = daemon.client.clone();
    let decision = client.judge(plain("Hi Amir.")).await.unwrap();
    assert_by_rules(&decision, "adapter.gguf");
    daemon.app.shut_down().await;
}

#[tokio::test]
async fn a_model_that_comes_later_takes_over_from_the_rules() {
    let daemon = TinyBundle::new().serve_without_base().await;
    let mut client = daemon.client.clone();
    let mut state = daemon.app.judge().engine().watch();
    let missing =
        |state: &judged::engine::State| matches!(state, judged::engine::State::Missing(_));
    state.wait_for(missing).await.unwrap();
    assert_eq!(daemon.status().await.engine_state, EngineState::Absent);
    let decision = client.judge(plain("Hi Amir.")).await.unwrap();
    // No default folder has it by its name.
    let pull = format!("judged pull {}", daemon.bundle.path.display());
    assert_by_rules(&decision, &pull);
    daemon.pull();
    daemon.loaded().await;
    let decision = client.judge(plain("Hi Amir.")).await.unwrap();
    assert_eq!(decision.decided_by, DecidedBy::Model);
    assert_eq!(daemon.status().await.degraded_reason, None);
    daemon.app.shut_down().await;
}

#[track_caller]
fn assert_by_rules(decision: &Decision, because: &str) {
    assert_eq!(decision.decided_by, DecidedBy::Rules);
    assert_eq!(decision.label, Label::Pass);
    assert_eq!(decision.disposition, Disposition::HoldForReview);
    assert_eq!(decision.scores, None);
    let reason = decision.degraded_reason.as_deref().unwrap_or_default();
    assert!(reason.contains(because), "`{because}` is not in: {reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_company_a_request_gets_the_label_and_scores_that_it_gets_alone() {
    let daemon = TinyBundle::new().serve().await;
    let questions: Vec<Question> = (0..48)
        .map(|number| plain(crate::support::hostile::text(&mut Chance(number), 8) + "a"))
        .collect();
    let mut alone = Vec::new();
    for question in &questions {
        alone.push(ask(&daemon.client, question).await);
    }
    let mut largest = 0.0_f64;
    // Eight in flight, four at work.
    for (number, round) in questions.chunks(8).enumerate() {
        let calls = round.iter().map(|question| {
            let (client, question) = (daemon.client.clone(), question.clone());
            tokio::spawn(async move { ask(&client, &question).await })
        });
        for (at, call) in calls.collect::<Vec<_>>().into_iter().enumerate() {
            let (alone, company) = (&alone[number * 8 + at], call.await.unwrap());
            assert_eq!(alone.label, company.label);
            let (alone, company) = (alone.scores.unwrap(), company.scores.unwrap());
            let pairs = alone.probabilities.iter().zip(company.probabilities);
            let difference = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(difference < 1e-9, "{alone:?} {company:?}");
            largest = largest.max(difference);
        }
    }
    println!("largest difference in company: {largest}");
    daemon.app.shut_down().await;
}

/// For eight prospects five drafts each, some of which begin alike.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_kept_of_earlier_prompts_changes_no_score_by_a_bit() {
    let keeping = TinyBundle::new().serve().await;
    let bare = TinyBundle::new().with(|config| {
        config.engine.prefix_cells = 0;
        config.engine.speculate = false;
    });
    let bare = bare.serve().await;
    let mut spared = 0;
    for number in 0..40 {
        let (prospect, draft) = (number % 8, number / 8);
        let text = crate::support::hostile::text(&mut Chance(number as u64), 8);
        let question = Question {
            context_json: format!(r#"{{"company": "Firm {prospect}", "headcount": 200}}"#),
            draft: format!("{}{text}a", "We help. ".repeat(draft)),
            ..Question::default()
        };
        let kept = ask(&keeping.client, &question).await;
        let computed = ask(&bare.client, &question).await;
        assert_eq!(kept.scores, computed.scores, "{question:?}");
        spared += kept.usage.cached_tokens - computed.usage.cached_tokens;
    }
    assert!(spared > 1_000, "{spared} tokens were spared");
    keeping.app.shut_down().await;
    bare.app.shut_down().await;
}

/// The shared part of the prompts is cut into chunks too. Of the lengths some leave a rest of one,
/// two or three tokens, which llama.cpp would compute in another way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_chunks_in_which_prompts_are_read_change_no_score_by_a_bit() {
    let mut told = Vec::new();
    for change in [
        |config: &mut Config| read_by(config, 16),
        |config: &mut Config| read_by(config, 40),
        |config: &mut Config| read_by(config, 200),
        |config: &mut Config| read_by(config, 256),
    ] {
        let daemon = TinyBundle::new().with(change).serve().await;
        let mut scores = Vec::new();
        for digits in 1..=16 {
            // Each digit is a token.
            let draft = "We have engineers for you. ".repeat(9) + &"7".repeat(digits);
            let question = Question {
                rationale: RationaleMode::None,
                ..plain(draft)
            };
            let decision = ask(&daemon.client, &question).await;
            scores.push((decision.usage.prompt_tokens, decision.scores));
        }
        let mut pairs = scores.windows(2);
        assert!(pairs.all(|two| two[1].0 == two[0].0 + 1), "{scores:?}");
        told.push(scores);
        daemon.app.shut_down().await;
    }
    for other in &told[1..] {
        assert_eq!(&told[0], other);
    }
}

fn read_by(config: &mut Config, chunk: usize) {
    config.engine.chunk = chunk;
    // Or of each prompt only its end would be read.
    config.engine.prefix_cells = 0;
}

/// Sentences too, whatever was asked before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn judged_exactly_a_decision_comes_again_to_the_last_bit() {
    let exactly = |config: &mut Config| {
        config.engine.slots = 1;
        config.engine.prefix_cells = 0;
        config.engine.speculate = false;
    };
    let questions: Vec<Question> = (0..12)
        .map(|number| plain(crate::support::hostile::text(&mut Chance(number), 6) + "a"))
        .collect();
    let mut told = Vec::new();
    for order in [questions.clone(), questions.iter().rev().cloned().collect()] {
        let daemon = TinyBundle::new().with(exactly).serve().await;
        let calls = order.into_iter().map(|question| {
            let client = daemon.client.clone();
            tokio::spawn(async move {
                let decision = ask(&client, &question).await;
                (question.draft, decision.scores, decision.rationale)
            })
        });
        let mut answers = Vec::new();
        for call in calls.collect::<Vec<_>>() {
            answers.push(call.await.unwrap());
        }
        answers.sort_by(|(one, ..), (other, ..)| one.cmp(other));
        told.push(answers);
        daemon.app.shut_down().await;
    }
    assert_eq!(told[0], told[1]);
}

async fn ask(client: &Client, question: &Question) -> Decision {
    client.clone().judge(question.clone()).await.unwrap()
}
