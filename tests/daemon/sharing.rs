//! Promise: nothing is computed twice that was computed before for the same
//! beginning of a prompt, the very same question is answered once for all who ask
//! it, and callers take turns.

use std::time::{Duration, Instant};

use crate::support::daemon::{Daemon, Gate, Setup, request, until};
use judged::kill_switch::Event;
use judged::rpc::proto::judge_service_client::JudgeServiceClient;
use judged::rpc::proto::{JudgeRequest, JudgeResponse, RationaleMode, Usage};
use tonic::transport::Channel;
use tonic::{Code, Request};
use tonic_types::StatusExt;

/// A draft for a prospect of this name.
fn draft_for(prospect: &str, draft: &str) -> JudgeRequest {
    JudgeRequest {
        context_json: format!(r#"{{"company": "{prospect}", "headcount": 200}}"#),
        rationale_mode: RationaleMode::None.into(),
        ..request(draft)
    }
}

async fn usage(daemon: &Daemon, request: JudgeRequest) -> Usage {
    daemon.ask(request).await.unwrap().usage.unwrap()
}

/// Tokens that were read for a request.
fn read(usage: Usage) -> u32 {
    usage.prompt_tokens - usage.cached_tokens
}

/// Another connection than the daemon's own.
async fn other_caller(daemon: &Daemon) -> JudgeServiceClient<Channel> {
    let url = format!("http://{}", daemon.judge_addr);
    JudgeServiceClient::connect(url).await.unwrap()
}

const TAIL: &str = "<|im_end|>\n<|im_start|>assistant\n";

/// Tokens of a draft and what follows it, and those that a cut at a multiple of sixteen leaves.
fn most(draft: &str) -> usize {
    // The scripted tokenizer has a token for each byte, and one for a control token.
    draft.len() + TAIL.len() - "<|im_end|><|im_start|>".len() + 2 + 15
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_corrected_draft_for_the_same_prospect_only_the_draft_is_read() {
    let daemon = Setup::new().start().await;
    let prospects: Vec<String> = (0..64).map(|number| format!("Firm {number:02}")).collect();
    for prospect in &prospects {
        usage(
            &daemon,
            draft_for(prospect, "Hello, as your competitor does."),
        )
        .await;
    }
    for prospect in &prospects {
        let corrected = "Dear Ida, we have engineers for you.";
        let usage = usage(&daemon, draft_for(prospect, corrected)).await;
        assert!(
            read(usage) as usize <= most(corrected),
            "{prospect}: {usage:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_drafts_that_come_together_for_one_prospect_only_the_first_reads_the_context() {
    let gate = Gate::default();
    let daemon = Setup::new().gated(&gate).start().await;
    gate.close();
    let other = daemon.asking(draft_for("Other", "Hi"));
    gate.until_reached().await;
    // As long as one another: either may be the first.
    let drafts = ["Hello, as Globex does.", "Dear Ida, here we are."];
    let asked = drafts.map(|draft| daemon.asking(draft_for("Acme", draft)));
    daemon.until_waiting(2).await;
    gate.open();
    other.await.unwrap().unwrap();
    let mut least = u32::MAX;
    for asked in asked {
        let usage = asked.await.unwrap().unwrap().usage.unwrap();
        least = least.min(read(usage));
    }
    assert!(least as usize <= most(drafts[0]), "{least}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_fills_the_queue_gives_up_its_newest_place_to_one_who_has_none() {
    let gate = Gate::default();
    let daemon = Setup::new()
        .gated(&gate)
        .with(|config| {
            config.engine.slots = 1;
            config.engine.queue = 3;
        })
        .start()
        .await;
    gate.close();
    let mut greedy = vec![daemon.asking(draft_for("Running", "Hi"))];
    gate.until_reached().await;
    daemon.until_running(1).await;
    for (before, prospect) in ["First", "Second", "Third"].iter().enumerate() {
        greedy.push(daemon.asking(draft_for(prospect, "Hi")));
        daemon.until_waiting(before + 1).await;
    }

    let mut other = other_caller(&daemon).await;
    let other = tokio::spawn(async move { other.judge(request("say:ESCALATE")).await });
    let newest = greedy.pop().unwrap();
    let displaced = newest.await.unwrap().unwrap_err();
    assert_eq!(displaced.code(), Code::ResourceExhausted);
    let details = displaced.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "QUEUE_FULL");
    assert!(details.retry_info().is_some());
    daemon.until_waiting(3).await;

    gate.open();
    assert_eq!(other.await.unwrap().unwrap().into_inner().label, 2);
    for asked in greedy {
        asked.await.unwrap().unwrap();
    }
    daemon.until_running(0).await;
    assert_eq!(daemon.meter().abandoned, 0, "nobody has left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_who_come_during_one_step_all_get_places_of_who_fills_the_queue() {
    let gate = Gate::default();
    let daemon = Setup::new()
        .gated(&gate)
        .with(|config| {
            config.engine.slots = 1;
            config.engine.queue = 8;
        })
        .start()
        .await;
    gate.close();
    let running = daemon.asking(draft_for("Running", "Hi"));
    gate.until_reached().await;
    let greedy = (0..8).map(|number| daemon.asking(draft_for(&format!("Firm {number}"), "Hi")));
    let greedy: Vec<_> = greedy.collect();
    daemon.until_waiting(8).await;

    // The engine has seen none of these jobs.
    let mut others = Vec::new();
    for number in 0..4 {
        let mut other = other_caller(&daemon).await;
        let draft = draft_for(&format!("Other {number}"), "Hi");
        others.push(tokio::spawn(async move { other.judge(draft).await }));
    }
    let displaced = || greedy.iter().filter(|asked| asked.is_finished()).count();
    until("four are displaced", || displaced() == 4).await;
    gate.open();
    for asked in others {
        asked.await.unwrap().unwrap();
    }
    running.await.unwrap().unwrap();
    let mut served = 0;
    for asked in greedy {
        match asked.await.unwrap() {
            Ok(_) => served += 1,
            Err(refused) => assert_eq!(refused.code(), Code::ResourceExhausted),
        }
    }
    assert_eq!(served, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_is_not_out_of_reach_for_a_context_that_is_read_once_for_many_drafts() {
    let gate = Gate::default();
    let mut setup = Setup::new()
        .gated(&gate)
        .with(|config| config.engine.slots = 1);
    setup.source.scripted.per_token = Duration::from_micros(500);
    let daemon = setup.start().await;
    daemon.ask(request(&"a".repeat(2_000))).await.unwrap();
    let pace = daemon.judge.engine().meter().pace();
    let notes = "n".repeat(4_000);
    let draft = |draft: &str| JudgeRequest {
        context_json: format!(r#"{{"company": "Acme", "notes": "{notes}"}}"#),
        rationale_mode: RationaleMode::None.into(),
        ..request(draft)
    };
    gate.close();
    let mut before = vec![daemon.asking(draft_for("Other", "Hi"))];
    gate.until_reached().await;
    before.extend(["A", "B", "C"].map(|text| daemon.asking(draft(text))));
    daemon.until_waiting(3).await;
    // Each by itself would read some 16,000 tokens, together they read some 5,000.
    let last = draft("D");
    let asked = daemon.ask_within(last, pace * 14_000);
    let opened = async {
        daemon.until_waiting(4).await;
        gate.open();
    };
    let (answer, ()) = tokio::join!(asked, opened);
    answer.unwrap();
    for asked in before {
        asked.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_is_not_out_of_reach_behind_what_nobody_waits_for_any_more() {
    let gate = Gate::default();
    let mut setup = Setup::new()
        .gated(&gate)
        .with(|config| config.engine.slots = 1);
    setup.source.scripted.per_token = Duration::from_micros(200);
    let daemon = setup.start().await;
    daemon.ask(request(&"a".repeat(2_000))).await.unwrap();
    let pace = daemon.judge.engine().meter().pace();
    gate.close();
    let running = daemon.asking(draft_for("Running", "Hi"));
    gate.until_reached().await;
    let long = "b".repeat(2_000);
    let forsaken = (0..20).map(|number| daemon.asking(draft_for(&format!("{number} Firm"), &long)));
    let forsaken: Vec<_> = forsaken.collect();
    daemon.until_waiting(20).await;
    for asked in &forsaken {
        asked.abort();
    }
    until("all have left", || daemon.judge.open_requests() == 1).await;
    // They have some 40,000 tokens, it has some 2,000.
    let asked = daemon.ask_within(draft_for("Last", &long), pace * 30_000);
    let opened = async {
        daemon.until_waiting(21).await;
        gate.open();
    };
    let (answer, ()) = tokio::join!(asked, opened);
    answer.unwrap();
    running.await.unwrap().unwrap();
    assert_eq!(daemon.meter().abandoned, 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_draft_again_is_read_from_its_last_few_tokens_only() {
    let daemon = Setup::new().start().await;
    let first = usage(&daemon, draft_for("Acme", "say:BLOCK")).await;
    let again = usage(&daemon, draft_for("Acme", "say:BLOCK")).await;
    assert!(read(first) > 50, "{first:?}");
    assert!((4..20).contains(&read(again)), "{again:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_of_prompts_stays_within_its_budget() {
    let daemon = Setup::new()
        .with(|config| config.engine.prefix_cells = 1000)
        .start()
        .await;
    for number in 0..50 {
        usage(&daemon, draft_for(&format!("{number} Firm"), "say:PASS")).await;
        assert!(daemon.meter().prefix_cells <= 1000);
    }
    assert!(daemon.meter().prefix_cells > 500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_does_not_depend_on_what_was_kept() {
    let daemon = Setup::new().start().await;
    for label in ["PASS", "BLOCK", "PASS", "SUPPRESS", "BLOCK"] {
        let response = daemon
            .ask(draft_for("Acme", &format!("say:{label}")))
            .await
            .unwrap();
        assert_eq!(response.label().as_str_name(), format!("LABEL_{label}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_question_from_several_callers_at_once_is_answered_once() {
    let gate = Gate::default();
    let daemon = Setup::new().gated(&gate).start().await;
    let before = daemon.meter();
    let same = request("say:BLOCK\nbecause:It leaks.");
    gate.close();
    let first = daemon.asking(same.clone());
    gate.until_reached().await;
    let mut other = other_caller(&daemon).await;
    let question = same.clone();
    let others = tokio::spawn(async move { other.judge(question).await });
    let more = daemon.asking(same.clone());
    // Two have their places in the queue, the first has a slot.
    daemon.until_waiting(2).await;
    gate.open();
    let answers: Vec<JudgeResponse> = [
        first.await.unwrap().unwrap(),
        others.await.unwrap().unwrap().into_inner(),
        more.await.unwrap().unwrap(),
    ]
    .into();
    for answer in &answers {
        assert_eq!(answer.rationale, "It leaks.");
        assert_eq!(answer.scores, answers[0].scores);
    }
    // Each is a decision of its own, with its own record.
    assert_ne!(answers[0].decision_id, answers[1].decision_id);
    let usage = answers[0].usage.unwrap();
    let after = daemon.meter();
    assert_eq!(
        after.prefill_tokens - before.prefill_tokens,
        u64::from(read(usage))
    );
    assert_eq!(after.joined, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_joined_gets_the_answer_although_the_first_asker_leaves() {
    let gate = Gate::default();
    let daemon = Setup::new().gated(&gate).start().await;
    let same = request("say:BLOCK");
    gate.close();
    let first = daemon.asking(same.clone());
    gate.until_reached().await;
    let second = daemon.asking(same);
    daemon.until_waiting(1).await;
    first.abort();
    until("the first has left", || daemon.judge.open_requests() == 1).await;
    gate.open();
    let answer = second.await.unwrap().unwrap();
    assert_eq!(answer.label().as_str_name(), "LABEL_BLOCK");
}

/// While a batch waits for the one slot, another caller asks `single`: it gets its answer long
/// before the batch has all of its own.
async fn assert_takes_turns_with_a_batch(last: Option<JudgeRequest>, single: JudgeRequest) {
    let gate = Gate::default();
    let mut setup = Setup::new()
        .gated(&gate)
        .with(|config| config.engine.slots = 1);
    // The batch must not be done while the single answer is recorded and sent.
    setup.source.scripted.per_token = Duration::from_millis(1);
    let daemon = setup.start().await;
    gate.close();
    let mut batch = vec![daemon.asking(request("say:PASS"))];
    gate.until_reached().await;
    batch.extend((0..20).map(|_| daemon.asking(request("say:PASS"))));
    daemon.until_waiting(20).await;
    batch.extend(last.map(|last| daemon.asking(last)));
    let waiting = batch.len() - 1;
    daemon.until_waiting(waiting).await;
    let mut other = other_caller(&daemon).await;
    let single = tokio::spawn(async move { other.judge(single).await });
    daemon.until_waiting(waiting + 1).await;
    gate.open();
    single.await.unwrap().unwrap();
    let left = batch.iter().filter(|asked| !asked.is_finished()).count();
    // Nearly all, unless the single answer's caller was held up; none without turns.
    assert!(left >= 5, "{left} of the batch are left");
    for asked in batch {
        asked.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_with_one_draft_does_not_wait_behind_the_batch_of_another() {
    assert_takes_turns_with_a_batch(None, request("say:BLOCK")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draft_that_also_waits_in_the_batch_of_another_does_not_wait_as_long() {
    let same = request("say:BLOCK");
    assert_takes_turns_with_a_batch(Some(same.clone()), same).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_of_prompts_goes_with_the_adapter_and_its_gauge_too() {
    let daemon = Setup::new().start().await;
    usage(&daemon, draft_for("Acme", "say:PASS")).await;
    assert!(daemon.meter().prefix_cells > 0);
    daemon.judge.authority().note(Event::Incident {
        tier: 1,
        decision: None,
        probe: None,
    });
    until("nothing is kept", || daemon.meter().prefix_cells == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_that_the_measured_pace_cannot_meet_is_refused_at_once() {
    let mut setup = Setup::new();
    setup.source.scripted.per_token = Duration::from_micros(500);
    let daemon = setup.start().await;
    // Its steps tell the pace.
    daemon.ask(request(&"a".repeat(2_000))).await.unwrap();
    let before = daemon.meter();
    let mut late = Request::new(request(&"b".repeat(8_000 - 2_000)));
    late.set_timeout(Duration::from_millis(1_500));
    let status = daemon.client().judge(late).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.reason, "DEADLINE_OUT_OF_REACH");
    assert!(status.get_details_retry_info().is_some());
    assert_eq!(daemon.meter().prefill_tokens, before.prefill_tokens);
    // In time it is judged.
    let mut in_time = Request::new(request(&"b".repeat(1_000)));
    in_time.set_timeout(Duration::from_secs(30));
    daemon.client().judge(in_time).await.unwrap();
}

/// What was read already is not counted once more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_that_comes_out_of_reach_is_told_with_the_time_of_what_is_left() {
    let gate = Gate::default();
    let mut setup = Setup::new().gated(&gate);
    setup.source.scripted.per_token = Duration::from_micros(1_200);
    let daemon = setup.start().await;
    daemon.ask(request(&"a".repeat(2_000))).await.unwrap();
    let pace = daemon.judge.engine().meter().pace();
    let timeout = Duration::from_secs(10);
    let began = Instant::now();
    // Half of its chunks.
    gate.close_after(12);
    let whole = 6_000;
    let long = request(&"b".repeat(whole));
    let asked = daemon.ask_within(long, timeout);
    let held = async {
        gate.until_reached().await;
        // Half of the prompt still fits in, but for a little.
        let left = pace * u32::try_from(whole / 3).unwrap();
        tokio::time::sleep_until((began + timeout - left).into()).await;
        gate.open();
    };
    let (status, ()) = tokio::join!(asked, held);
    let status = status.unwrap_err();
    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.reason, "DEADLINE_OUT_OF_REACH", "{status:?}");
    let told = status.message().split(" about ").nth(1).unwrap();
    let told = told.strip_suffix(" more").unwrap();
    let told = match told.strip_suffix("ms") {
        Some(millis) => millis.parse::<f64>().unwrap() / 1e3,
        None => told.strip_suffix('s').unwrap().parse().unwrap(),
    };
    let all = (pace * u32::try_from(whole).unwrap()).as_secs_f64();
    assert!(
        (0.3 * all..0.7 * all).contains(&told),
        "{told} s of {all} s"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rationales_that_are_guessed_ahead_take_fewer_steps_and_say_the_same() {
    // Every step takes the same time, whatever it reads: guesses cost nothing.
    let slow_steps = |speculate: bool| {
        Setup::new()
            .on_step(|_| {
                // Long beside what a busy machine adds.
                std::thread::sleep(Duration::from_millis(4));
                Ok(())
            })
            .with(move |config| config.engine.speculate = speculate)
    };
    let sentences = [
        "It leaks a name.",
        "It leaks a sum.",
        "It names a sum.",
        "It leaks a name, too.",
    ];
    let mut decoded = Vec::new();
    for speculate in [false, true] {
        let daemon = slow_steps(speculate).start().await;
        for round in 0..6 {
            for sentence in sentences {
                let asked = request(&format!("say:BLOCK\nbecause:{sentence}"));
                let response = daemon.ask(asked).await.unwrap();
                assert_eq!(response.rationale, sentence, "round {round}");
            }
        }
        decoded.push(daemon.meter());
    }
    let [plain, guessing] = decoded[..] else {
        unreachable!()
    };
    assert_eq!(plain.guessed_tokens, 0);
    assert!(guessing.held_tokens > 50, "{guessing:?}");
    assert!(guessing.guessed_tokens >= guessing.held_tokens);
    // Each that held saved a step, also of an answer's last ones.
    let saved = plain.decode_steps - guessing.decode_steps;
    assert_eq!(guessing.held_tokens, saved, "{guessing:?}");
    assert!(guessing.decode_steps < plain.decode_steps * 3 / 4);
}
