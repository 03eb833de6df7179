use std::collections::BTreeMap;

use super::*;
use crate::dataset::case::Case;
use crate::eval::record::{Answer, Decider, Record, Seconds, Setup};
use crate::eval::report::Run;
use crate::verdict::{DecidedBy, Mode, RationaleMode, Usage};

const SCRIPT: &str = "<script>alert('x')</script>";

/// A page of one wrong case, in which all that comes from outside is hostile.
fn page() -> String {
    let setup = Setup {
        decider: Decider::Daemon,
        mode: Mode::Enforce,
        hard_rules: vec![1],
        rationale: RationaleMode::Sentence,
        model: None,
    };
    let case = Case {
        id: format!("id{SCRIPT}"),
        probe: Some(format!("probe{SCRIPT}")),
        difficulty: Some(format!("hard{SCRIPT}")),
        context_json: serde_json::json!({ SCRIPT: SCRIPT }).to_string(),
        draft: format!("draft{SCRIPT}\" onload=\"alert(1)"),
        channel: None,
        expected: Label::Block,
        exact: true,
    };
    let record = Record {
        id: case.id.clone(),
        hash: case.hash(),
        probe: case.probe.clone(),
        difficulty: case.difficulty.clone(),
        expected: case.expected,
        exact: true,
        setup: setup.clone(),
        label: Label::Pass,
        disposition: Some(crate::verdict::Disposition::Dispatch),
        scores: Some(BTreeMap::from(Label::ALL.map(|label| (label, 0.2)))),
        legal_mass: Some(0.9),
        rationale: format!("because{SCRIPT}"),
        decided_by: DecidedBy::Model,
        rules: vec![format!("rule{SCRIPT}")],
        usage: Usage::default(),
        seconds: Seconds {
            total: 1.5,
            ..Seconds::default()
        },
    };
    let run = Run {
        selected: 1,
        objected: 1,
        objections: vec![format!("reason{SCRIPT}")],
        ..Run::default()
    };
    let answers = [Answer {
        case: &case,
        record,
    }];
    render(&Report::new(setup, run, &answers, &BTreeMap::new(), None))
}

#[test]
fn whatever_a_case_holds_is_escaped() {
    let page = page();
    assert!(!page.contains("<script"), "{page}");
    assert!(!page.contains("\" onload"), "{page}");
    for place in ["id", "probe", "hard", "draft", "because", "rule", "reason"] {
        assert!(page.contains(&format!("{place}&lt;script&gt;")), "{place}");
    }
    // The context, in its own quotes.
    assert!(page.contains("&quot;&lt;script&gt;"));
}

#[test]
fn the_page_fetches_nothing_and_runs_nothing() {
    let page = page();
    assert!(page.contains("default-src 'none'"));
    for mark in ["http://", "https://", "src=", "href=", "@import", "url("] {
        assert!(!page.contains(mark), "{mark}");
    }
}

#[test]
fn the_page_shows_every_part_of_the_report() {
    let page = page();
    for part in [
        "0 of 1, 95 % in 0.0 to 79.3 %",
        "By probe and difficulty",
        "Expected and answered labels",
        "reliability diagram",
        "histogram of total seconds",
        "Judged wrongly: 1",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert_eq!(page.matches("<svg").count(), 5);
    // Lines would otherwise lie in each other, where nothing is drawn.
    assert_eq!(
        page.matches("<line").count(),
        page.matches("</line>").count()
    );
}
