use serde_json::{Value, json};

use super::recorded::{Export, parse};
use super::*;
use crate::dataset::case::Case;
use crate::eval::record::{Decider, Seconds};
use crate::verdict::{Mode, RationaleMode, Usage};

fn line(id: &str, label: Label, more: Value) -> String {
    let mut line = json!({
        "decision_id": id, "label": label, "disposition": "DO_NOT_SEND", "decided_by": "MODEL",
        "mode": "ENFORCE", "scores": {label.as_str(): 0.75}, "rules": [], "rationale": "Rule 4.",
        "model": {"bundle": "b@1", "base_sha256": "", "adapter_sha256": null, "adapter_scale": 0.0,
                  "template_sha256": ""},
        "received": "2026-11-24T08:00:00Z", "prospect": "Birch", "channel": "sms",
        "context": {"company": "Birch"}, "draft": "Hi", "masked": [], "outcomes": [],
    });
    let (Value::Object(line_), Value::Object(more)) = (&mut line, more) else {
        unreachable!()
    };
    line_.extend(more);
    line.to_string()
}

fn export(lines: &[String]) -> Export {
    let mut export = Export::default();
    for line in lines {
        match parse(line).unwrap() {
            Some(recorded) => export.decisions.push(recorded),
            None => export.left_out += 1,
        }
    }
    export
}

fn setup() -> Setup {
    Setup {
        decider: Decider::Daemon,
        mode: Mode::Enforce,
        hard_rules: vec![],
        rationale: RationaleMode::None,
        model: None,
    }
}

fn now(case: &Case, label: Label, disposition: Disposition) -> Answer<'_> {
    let record = Record {
        id: case.id.clone(),
        hash: case.hash(),
        probe: None,
        difficulty: None,
        expected: case.expected,
        exact: true,
        setup: setup(),
        label,
        disposition: Some(disposition),
        scores: None,
        legal_mass: None,
        rationale: String::new(),
        decided_by: DecidedBy::Rules,
        rules: vec![],
        usage: Usage::default(),
        seconds: Seconds::default(),
    };
    Answer { case, record }
}

#[test]
fn an_exported_line_becomes_the_case_that_was_judged() {
    let recorded = parse(&line("d1", Label::Block, json!({})))
        .unwrap()
        .unwrap();
    let case = &recorded.case;
    assert_eq!((case.id.as_str(), case.expected), ("d1", Label::Block));
    assert_eq!(case.context_json, r#"{"company":"Birch"}"#);
    assert_eq!(case.channel.unwrap().as_str(), "sms");
    assert_eq!(recorded.side.score, Some(0.75));
    assert_eq!(recorded.bundle.as_deref(), Some("b@1"));
}

#[test]
fn a_decision_whose_texts_are_not_whole_is_left_out() {
    let export = export(&[
        line("a", Label::Pass, json!({"context": null, "draft": null})),
        line("b", Label::Pass, json!({"context": "[masked]"})),
        line(
            "c",
            Label::Pass,
            json!({"masked": ["$['context']['email']"]}),
        ),
        line(
            "d",
            Label::Pass,
            json!({"draft": "[masked]", "masked": ["$['draft']"]}),
        ),
    ]);
    assert_eq!((export.decisions.len(), export.left_out), (1, 3));
    let answers = [now(
        &export.decisions[0].case,
        Label::Pass,
        Disposition::DoNotSend,
    )];
    let replay = Replay::new(setup(), Run::default(), &export, &answers);
    assert_eq!((replay.left_out, replay.masked), (3, 1));
}

#[test]
fn another_label_or_another_disposition_is_a_change() {
    let export = export(&[
        line("same", Label::Block, json!({})),
        line("label", Label::Block, json!({})),
        line("disposition", Label::Block, json!({})),
    ]);
    let [same, label, disposition] = &export.decisions[..] else {
        panic!("{export:?}")
    };
    let answers = [
        now(&same.case, Label::Block, Disposition::DoNotSend),
        now(&label.case, Label::Pass, Disposition::Dispatch),
        now(&disposition.case, Label::Block, Disposition::RouteToHuman),
    ];
    let replay = Replay::new(setup(), Run::default(), &export, &answers);
    let changed: Vec<(&str, bool)> = replay
        .changed
        .iter()
        .map(|change| (change.decision_id.as_str(), change.is_of_label()))
        .collect();
    assert_eq!(changed, [("label", true), ("disposition", false)]);
    assert_eq!(replay.labels.row(Label::Block), [0, 0, 2, 0, 1]);
    assert_eq!(replay.recorded["b@1"], 3);
    assert_eq!(replay.run.decided_by_rules, 3);
}

#[test]
fn the_last_report_of_a_decision_tells_what_would_be_right() {
    let outcomes = |kinds: Value| json!({"outcomes": kinds});
    let export = export(&[
        line(
            "a",
            Label::Block,
            outcomes(json!([{"kind": "FALSE_POSITIVE"}])),
        ),
        line(
            "b",
            Label::Block,
            outcomes(json!([{"kind": "FALSE_POSITIVE"}])),
        ),
        line(
            "c",
            Label::Pass,
            outcomes(json!([
                {"kind": "RIGHT"}, {"kind": "MISSED_VIOLATION", "true_label": "SUPPRESS"}
            ])),
        ),
        line(
            "d",
            Label::Pass,
            outcomes(json!([{"kind": "INCIDENT", "incident_tier": 1}])),
        ),
    ]);
    let labels = [Label::Pass, Label::Block, Label::Suppress, Label::Block];
    let answers: Vec<Answer<'_>> = export
        .cases()
        .zip(labels)
        .map(|(case, label)| now(case, label, Disposition::DoNotSend))
        .collect();
    let replay = Replay::new(setup(), Run::default(), &export, &answers);
    let reported = |finding, decisions, right_now| Reported {
        finding,
        decisions,
        right_now,
    };
    assert_eq!(
        replay.reported,
        [
            reported(FindingKind::FalsePositive, 2, 1),
            reported(FindingKind::MissedViolation, 1, 1)
        ]
    );
}

#[test]
fn a_line_of_something_else_is_told_with_what_is_wrong() {
    for (line, wanted) in [
        ("{}".to_owned(), "decision_id"),
        (line("a", Label::Pass, json!({"channel": "fax"})), "`fax`"),
        (
            line(
                "a",
                Label::Pass,
                json!({"outcomes": [{"kind": "MISSED_VIOLATION"}]}),
            ),
            "`true_label`",
        ),
    ] {
        let problem = parse(&line).unwrap_err();
        assert!(problem.contains(wanted), "{problem}");
    }
}
