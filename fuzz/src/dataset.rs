//! JSON Lines: labelled cases, drafts without a label, and a suite of spot checks.

use std::collections::BTreeSet;

use judged::context::Context;
use judged::dataset::{self, draft};
use judged::spot_check::{Suite, is_probe_name};

/// The most that a suite asks of a probe in one week.
const A_WEEK: usize = 20;

pub fn check(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    for line in text.lines() {
        cases(line);
        drafts(line);
    }
    if let Ok(suite) = Suite::parse(text) {
        weeks(&suite);
    }
}

fn cases(line: &str) {
    for case in dataset::parse(line).unwrap_or_default() {
        Context::parse(&case.context_json).expect("a case has a context");
        assert!(!case.draft.trim().is_empty(), "a case without a draft");
    }
}

fn drafts(line: &str) {
    for draft in draft::of_line(line).unwrap_or_default() {
        Context::parse(&draft.context_json).expect("a draft has a context");
    }
}

fn weeks(suite: &Suite) {
    let probes: BTreeSet<&str> = suite.probes().collect();
    assert!(!probes.is_empty());
    assert!(probes.iter().all(|probe| is_probe_name(probe)));
    for week in [i64::MIN, -1, 0, 1, 2900, i64::MAX] {
        let chosen = suite.choose(week);
        assert!(chosen.len() <= A_WEEK * probes.len());
        let asked: BTreeSet<&str> = chosen
            .iter()
            .filter_map(|(case, _)| case.probe.as_deref())
            .collect();
        assert_eq!(asked, probes, "each probe has its turn each week");
    }
}
