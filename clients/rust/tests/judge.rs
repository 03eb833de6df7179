//! Judge, against daemons without a model: $JUDGED is the executable.

#![expect(clippy::unwrap_used, reason = "a test that goes wrong should stop")]

#[path = "support/daemon.rs"]
mod daemon;

use std::time::{Duration, Instant};

use daemon::Daemon;
use judged_client::{
    Channel, Code, Connection, DecidedBy, Disposition, Draft, Event, Events, Finding, Judge,
    JudgeError, Kind, Label, Mode, Rationale, Report,
};
use tokio::sync::oneshot;
use tokio_stream::StreamExt;

const PROSPECT: &str = r#"{"company": "DevCo", "headcount": 200, "recipient_role": "vp_eng"}"#;
const OFFSHORE: &str = r#"{"company": "DevCo", "disqualifiers": ["anti_offshore"]}"#;

fn named(id: &str, context: &str) -> Draft {
    Draft {
        request_id: id.to_owned(),
        ..Draft::new(context, "Hi, a word?")
    }
}

fn told(error: &JudgeError) -> (Code, &str, Kind) {
    (error.code, &error.reason, error.kind())
}

fn fields(error: &JudgeError) -> Vec<&str> {
    let fields = error.field_violations.iter();
    fields.map(|violation| violation.field.as_str()).collect()
}

#[tokio::test]
async fn a_verdict_says_all_that_the_daemon_said() {
    let daemon = Daemon::start(&[]);
    let draft = Draft::new(OFFSHORE, "Hi, a word?");
    let verdict = daemon.judge().judge(&draft).await.unwrap();
    assert_eq!(verdict.request_id, draft.request_id);
    assert!(!verdict.decision_id.is_empty());
    assert_eq!(
        (verdict.label, verdict.disposition),
        (Label::Suppress, Disposition::DoNotSend)
    );
    assert_eq!(
        (verdict.decided_by, verdict.mode),
        (DecidedBy::Rules, Mode::RulesOnly)
    );
    assert!(verdict.rationale.contains("anti_offshore"), "{verdict:?}");
    assert_eq!(verdict.rules, ["rule_1_disqualifier"]);
    assert_eq!((verdict.scores.len(), verdict.model.as_ref()), (0, None));
    assert!(verdict.timings.total > Duration::ZERO);
    assert!(!verdict.may_send());
    assert_eq!(verdict.label.to_string(), "SUPPRESS");
}

#[tokio::test]
async fn a_pass_of_the_rules_is_not_sent_unless_the_operator_says_so() {
    for (arguments, may_send) in [(&[][..], false), (&["--rules-pass", "DISPATCH"], true)] {
        let daemon = Daemon::start(arguments);
        let draft = Draft {
            channel: Some(Channel::Sms),
            rationale: Rationale::None,
            ..Draft::new(PROSPECT, "Hi, a word?")
        };
        let verdict = daemon.judge().judge(&draft).await.unwrap();
        assert_eq!(
            (verdict.label, verdict.rationale.as_str()),
            (Label::Pass, "")
        );
        assert_eq!(verdict.may_send(), may_send);
    }
}

#[tokio::test]
async fn a_refusal_names_its_reason_and_the_fields() {
    let daemon = Daemon::start(&["--max-message-bytes", "2048"]);
    let judge = daemon.judge();
    let error = judge.judge(&Draft::new("[]", "")).await.unwrap_err();
    let invalid = (
        Code::InvalidArgument,
        "MALFORMED_REQUEST",
        Kind::InvalidRequest,
    );
    assert_eq!(told(&error), invalid);
    assert_eq!(fields(&error), ["draft", "context_json"]);
    assert_eq!(error.retry_delay, None);
    assert!(error.to_string().contains("MALFORMED_REQUEST"), "{error}");

    judge.judge(&named("kept", PROSPECT)).await.unwrap();
    let error = judge.judge(&named("kept", OFFSHORE)).await.unwrap_err();
    let reused = (
        Code::AlreadyExists,
        "REQUEST_ID_REUSED",
        Kind::InvalidRequest,
    );
    assert_eq!(told(&error), reused);

    let error = judge
        .judge(&Draft::new(PROSPECT, "a".repeat(3000)))
        .await
        .unwrap_err();
    assert_eq!(told(&error), (Code::OutOfRange, "", Kind::InvalidRequest));
}

/// Holds one call open, until the sender is used or dropped.
async fn held_stream(judge: &Judge) -> (oneshot::Sender<()>, Events) {
    let (release, released) = oneshot::channel::<()>();
    let (more, drafts) = tokio::sync::mpsc::channel(1);
    let draft = Draft {
        rationale: Rationale::None,
        ..Draft::new(OFFSHORE, "Hi")
    };
    more.send(draft).await.unwrap();
    tokio::spawn(async move {
        let _ = released.await;
        drop(more);
    });
    let drafts = tokio_stream::wrappers::ReceiverStream::new(drafts);
    let mut events = judge.stream(drafts).await.unwrap();
    events.next().await.unwrap().unwrap();
    (release, events)
}

#[tokio::test]
async fn a_full_daemon_says_when_to_try_again_and_is_tried_again() {
    let daemon = Daemon::start(&["--max-calls", "1"]);
    let (release, mut events) = held_stream(&daemon.judge()).await;
    let draft = Draft::new(OFFSHORE, "Hi");
    let error = daemon.impatient().judge(&draft).await.unwrap_err();
    let full = (Code::ResourceExhausted, "TOO_MANY_CALLS", Kind::Unavailable);
    assert_eq!(told(&error), full);
    assert!(error.retry_delay.unwrap() > Duration::ZERO);

    let (judge, again) = (daemon.judge(), draft.clone());
    let asked = tokio::spawn(async move { judge.judge(&again).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    release.send(()).unwrap();
    assert_eq!(events.next().await.unwrap(), None);
    assert_eq!(asked.await.unwrap().unwrap().label, Label::Suppress);
}

#[tokio::test]
async fn a_call_outlives_a_crash_of_the_daemon_and_gets_the_same_decision() {
    let mut daemon = Daemon::start(&[]);
    let judge = daemon.judge();
    let draft = named("kept", OFFSHORE);
    let first = judge.judge(&draft).await.unwrap();
    daemon.kill();
    let asked = tokio::spawn(async move { judge.judge(&draft).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    daemon.again();
    assert_eq!(asked.await.unwrap().unwrap().decision_id, first.decision_id);
}

#[tokio::test]
async fn without_a_daemon_it_is_unavailable() {
    let mut daemon = Daemon::start(&[]);
    daemon.kill();
    let error = daemon
        .impatient()
        .judge(&Draft::new(PROSPECT, "Hi"))
        .await
        .unwrap_err();
    assert_eq!(told(&error), (Code::Unavailable, "", Kind::Unavailable));
}

#[tokio::test]
async fn a_call_whose_connection_breaks_is_unavailable() {
    let mut daemon = Daemon::start(&[]);
    let judge = daemon.impatient();
    judge.judge(&Draft::new(PROSPECT, "Hi")).await.unwrap();
    daemon.signal("STOP");
    let asked = tokio::spawn(async move { judge.judge(&Draft::new(PROSPECT, "Ho")).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    daemon.kill();
    let error = asked.await.unwrap().unwrap_err();
    assert_eq!(told(&error), (Code::Unavailable, "", Kind::Unavailable));
}

#[tokio::test]
async fn a_deadline_holds_while_the_daemon_hangs() {
    let daemon = Daemon::start(&[]);
    let connection = Connection {
        timeout: Duration::from_millis(300),
        ..daemon.connection()
    };
    daemon
        .judge()
        .judge(&Draft::new(PROSPECT, "Hi"))
        .await
        .unwrap();
    daemon.signal("STOP");
    let started = Instant::now();
    let judge = Judge::new(&connection).unwrap();
    let error = judge.judge(&Draft::new(PROSPECT, "Hi")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::DeadlineExceeded, "{error}");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_stream_gives_the_label_first_and_survives_a_bad_draft() {
    let daemon = Daemon::start(&[]);
    let short = Draft {
        rationale: Rationale::None,
        ..named("short", OFFSHORE)
    };
    let drafts = [named("full", OFFSHORE), short, named("bad", "[]")];
    let mut events = daemon
        .judge()
        .stream(tokio_stream::iter(drafts))
        .await
        .unwrap();
    let (mut judged, mut reasoned, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(event) = events.next().await.unwrap() {
        match event {
            Event::Judged(verdict) => {
                assert_eq!(
                    (verdict.label, verdict.rationale.as_str()),
                    (Label::Suppress, "")
                );
                judged.push(verdict.request_id);
            }
            Event::Reasoned {
                request_id,
                rationale,
                ..
            } => {
                assert!(judged.contains(&request_id), "the label comes first");
                assert!(rationale.contains("anti_offshore"));
                reasoned.push(request_id);
            }
            Event::Failed { request_id, error } => {
                assert_eq!(told(&error).1, "MALFORMED_REQUEST");
                assert_eq!(fields(&error), ["context_json"]);
                failed.push(request_id);
            }
            other => panic!("{other:?}"),
        }
    }
    judged.sort();
    assert_eq!(judged, ["full", "short"]);
    assert_eq!(
        (reasoned, failed),
        (vec!["full".to_owned()], vec!["bad".to_owned()])
    );
}

#[tokio::test]
async fn a_stream_that_breaks_is_unavailable() {
    let mut daemon = Daemon::start(&[]);
    let drafts = tokio_stream::iter([named("one", OFFSHORE)]);
    let endless = drafts.chain(tokio_stream::pending());
    let mut events = daemon.judge().stream(endless).await.unwrap();
    events.next().await.unwrap().unwrap();
    events.next().await.unwrap().unwrap();
    daemon.kill();
    assert_eq!(events.next().await.unwrap_err().kind(), Kind::Unavailable);
}

/// It takes as long as the pings do: half a minute.
#[tokio::test]
async fn a_host_that_is_gone_without_a_word_ends_an_open_stream() {
    let daemon = Daemon::start(&[]);
    let drafts = tokio_stream::iter([named("one", OFFSHORE)]);
    let endless = drafts.chain(tokio_stream::pending());
    let mut events = daemon.judge().stream(endless).await.unwrap();
    events.next().await.unwrap().unwrap();
    events.next().await.unwrap().unwrap();
    daemon.signal("STOP");
    let ended = tokio::time::timeout(Duration::from_secs(50), events.next());
    let error = ended.await.unwrap().unwrap_err();
    assert_eq!(told(&error), (Code::Unavailable, "", Kind::Unavailable));
}

#[tokio::test]
async fn a_report_reaches_the_decision() {
    let daemon = Daemon::start(&[]);
    let judge = daemon.judge();
    let verdict = judge.judge(&Draft::new(OFFSHORE, "Hi")).await.unwrap();
    let report = Report {
        probe: "E01".to_owned(),
        ..Report::new(&verdict.decision_id, Finding::FalsePositive, "Ada Moss")
    };
    assert!(!judge.report(&report).await.unwrap());
    let nowhere = Report::new("nowhere", Finding::Right, "Ada Moss");
    let error = judge.report(&nowhere).await.unwrap_err();
    assert_eq!(
        told(&error),
        (Code::NotFound, "UNKNOWN_DECISION", Kind::InvalidRequest)
    );
    let pass = Finding::MissedViolation(Label::Pass);
    let error = judge
        .report(&Report::new(&verdict.decision_id, pass, "Ada Moss"))
        .await;
    assert_eq!(fields(&error.unwrap_err()), ["true_label"]);
    let worst = Report::new(
        &verdict.decision_id,
        Finding::Incident { tier: 1 },
        "Ada Moss",
    );
    assert!(judge.report(&worst).await.unwrap());
}
