use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::*;
use crate::context::Context;
use crate::dataset::case::Case;
use crate::kill_switch::{Event, KillSwitch, Tally, Thresholds, UnixMicros};
use crate::verdict::Label;

const DAY: UnixMicros = 24 * 60 * 60 * 1_000_000;

fn own() -> Suite {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    Suite::parse(&fs::read_to_string(root.join("models/spot-check.jsonl")).unwrap()).unwrap()
}

fn line(id: &str, probe: &str, expected: &str) -> String {
    format!(
        r#"{{"id":"{id}","probe":"{probe}","context":{{}},"draft":"Hi","expected":"{expected}"}}"#
    )
}

/// A suite of one probe.
fn made(violations: usize, clean: usize) -> Suite {
    Suite::parse(&text(violations, clean)).unwrap()
}

fn text(violations: usize, clean: usize) -> String {
    let violations = (0..violations).map(|number| line(&format!("v{number}"), "A07", "SUPPRESS"));
    let clean = (0..clean).map(|number| line(&format!("c{number}"), "A07", "PASS"));
    violations.chain(clean).collect::<Vec<_>>().join("\n")
}

fn of_week(suite: &Suite, week: i64) -> Vec<&Case> {
    let chosen = suite.choose(week).into_iter();
    chosen.map(|(case, _)| case).collect()
}

fn ids<'s>(chosen: &[&'s Case]) -> Vec<&'s str> {
    chosen.iter().map(|case| case.id.as_str()).collect()
}

/// Whether a judge that answers so trips the switch, and on which probes.
fn tripped(judge: impl Fn(&Case) -> Label) -> usize {
    let suite = own();
    let chosen = of_week(&suite, 0);
    let probes = score(chosen.into_iter().map(|case| (case, judge(case))));
    let mut switch = KillSwitch::new(Thresholds::default());
    switch.step(Event::SpotCheck { probes }, 0).len()
}

#[test]
fn our_suite_has_the_ten_probes_with_eleven_cases_each() {
    let suite = own();
    let probes: Vec<&str> = suite.probes().collect();
    assert_eq!(
        probes,
        [
            "A07", "B03", "B04", "C02", "C04", "D05", "E01", "E02", "E03", "G03"
        ]
    );
    let chosen = of_week(&suite, 2_950);
    assert_eq!(chosen.len(), 110, "all are asked every week");
    for probe in probes {
        let of_probe = chosen
            .iter()
            .filter(|case| case.probe.as_deref() == Some(probe));
        let violations = of_probe.filter(|case| case.is_violation()).count();
        assert_eq!(violations, 6, "{probe}");
    }
}

#[test]
fn the_two_sides_of_a_pair_differ_in_the_context_or_in_the_draft_alone() {
    let suite = own();
    let chosen = of_week(&suite, 0);
    let by_id: BTreeMap<&str, &Case> = chosen.iter().map(|case| (&*case.id, *case)).collect();
    let mut pairs = 0;
    for (id, clean) in &by_id {
        let Some(pair) = id.strip_suffix("-c") else {
            continue;
        };
        let violation = by_id[&*format!("{pair}-v")];
        let decided_by_context = matches!(&pair[..3], "A07" | "E03" | "G03");
        let same_draft = violation.draft == clean.draft;
        let same_context = violation.context_json == clean.context_json;
        assert_eq!(
            (same_draft, same_context),
            (decided_by_context, !decided_by_context),
            "{id}"
        );
        assert_eq!(violation.channel, clean.channel, "{id}");
        pairs += 1;
    }
    assert_eq!(pairs, 50);
}

#[test]
fn no_case_of_our_suite_is_one_to_train_on() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let trained = crate::dataset::read(&[root.join("training/data")]).unwrap();
    let drafts: BTreeSet<&str> = trained.iter().map(|case| case.draft.as_str()).collect();
    let contexts: BTreeSet<&str> = trained.iter().map(|case| &*case.context_json).collect();
    assert!(drafts.len() > 500);
    for case in of_week(&own(), 0) {
        assert!(!drafts.contains(&*case.draft), "{}", case.id);
        assert!(!contexts.contains(&*case.context_json), "{}", case.id);
    }
}

#[test]
fn a_judge_that_knows_all_trips_nothing() {
    assert_eq!(tripped(|case| case.expected), 0);
}

#[test]
fn a_judge_that_lets_everything_pass_trips_on_every_probe() {
    assert_eq!(tripped(|_| Label::Pass), 10);
}

#[test]
fn a_judge_that_blocks_everything_trips_where_that_is_the_wrong_label() {
    assert_eq!(tripped(|_| Label::Block), 5);
}

#[test]
fn a_week_has_at_most_twenty_cases_of_a_probe_and_more_violations_than_clean_ones() {
    for (violations, clean, bad, good) in [
        (3, 2, 3, 2),
        (3, 40, 3, 2),
        (6, 5, 6, 5),
        (10, 10, 10, 9),
        (11, 9, 11, 9),
        (40, 40, 11, 9),
        (40, 2, 11, 2),
    ] {
        let suite = made(violations, clean);
        for week in [-1, 0, 1, 2_950, i64::MAX] {
            let chosen = of_week(&suite, week);
            let found = chosen.iter().filter(|case| case.is_violation()).count();
            assert_eq!((found, chosen.len() - found), (bad, good));
            let once: BTreeSet<&str> = ids(&chosen).into_iter().collect();
            assert_eq!(once.len(), bad + good, "no case twice");
        }
    }
}

#[test]
fn in_a_larger_suite_all_cases_get_their_turn_and_a_week_has_its_own() {
    for (violations, clean) in [(12, 10), (22, 18), (37, 41), (100, 100)] {
        let suite = made(violations, clean);
        assert_eq!(ids(&of_week(&suite, 7)), ids(&of_week(&suite, 7)));
        assert_ne!(ids(&of_week(&suite, 7)), ids(&of_week(&suite, 8)));
        let weeks = violations.div_ceil(11).max(clean.div_ceil(9)) as i64;
        let asked: BTreeSet<String> = (2_950..2_950 + weeks)
            .flat_map(|week| {
                ids(&of_week(&suite, week))
                    .into_iter()
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(asked.len(), violations + clean);
    }
}

#[test]
fn the_sha256_is_that_of_the_text() {
    let suite = made(3, 2);
    let spaced = Suite::parse(&format!("{}\n\n", text(3, 2))).unwrap();
    assert_eq!(suite.sha256().len(), 64);
    assert_ne!(suite.sha256(), spaced.sha256());
    assert_eq!(ids(&of_week(&suite, 0)), ids(&of_week(&spaced, 0)));
}

#[test]
fn a_suite_that_would_not_do_is_refused_with_its_line() {
    let good = text(3, 2);
    for (more, wanted) in [
        ("nonsense".to_owned(), "line 6: "),
        (
            line("v0", "A07", "PASS"),
            "line 6: case `v0` stands at line 1 already",
        ),
        (
            line("x", "", "PASS"),
            "line 6: `probe` must be 1 to 32 letters",
        ),
        (line("x", "A 07", "PASS"), "but is `A 07`"),
        (line("x", &"A".repeat(33), "PASS"), "`probe` must be"),
        (
            line("x", "A07", "PASS").replace(r#""probe":"A07","#, ""),
            "line 6: case `x` has no `probe`",
        ),
        (
            line("x", "B03", "PASS"),
            "probe B03 has 0 violating and 1 clean cases: it needs at least 3 and 2",
        ),
    ] {
        let error = Suite::parse(&format!("{good}\n{more}")).unwrap_err();
        assert!(error.to_string().contains(wanted), "{error}");
    }
    let error = Suite::parse("\n").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the suite has 0 probes: there must be 1 to 64"
    );
}

#[test]
fn a_pair_whose_label_is_not_scored_counts_as_stopped_or_not() {
    let mut case = of_week(&made(3, 2), 0)[0].clone();
    let right = |case: &Case, label| score([(case, label)])["A07"];
    assert_eq!(right(&case, Label::Block), Tally { right: 0, total: 1 });
    case.exact = false;
    assert_eq!(right(&case, Label::Block), Tally { right: 1, total: 1 });
    assert_eq!(right(&case, Label::Pass), Tally { right: 0, total: 1 });
}

#[test]
fn weeks_begin_on_monday() {
    // 1 January 1970 was a Thursday, 5 January a Monday; 23 November 2026 is one, too.
    assert_eq!(week_of(0), 0);
    assert_eq!(week_of(4 * DAY - 1), 0);
    assert_eq!(week_of(4 * DAY), 1);
    assert_eq!(week_of(-3 * DAY - 1), -1);
    let monday = 20_780 * DAY;
    assert_eq!(week_of(monday), week_of(monday - 1) + 1);
    assert_eq!(week_of(monday), week_of(monday + 7 * DAY - 1));
}

#[test]
fn the_next_one_is_due_a_week_after_the_last() {
    let now = 100 * DAY;
    assert_eq!(next_due(Some(98 * DAY), 0, now), 105 * DAY);
    assert_eq!(next_due(Some(50 * DAY), 0, now), 57 * DAY);
    assert_eq!(
        next_due(None, 99 * DAY, now),
        99 * DAY,
        "the first is due at once"
    );
    assert_eq!(
        next_due(None, 101 * DAY, now),
        now,
        "a clock that went back"
    );
    assert_eq!(
        next_due(Some(4_000 * DAY), 0, now),
        now,
        "a clock that was wrong"
    );
}

#[test]
fn one_is_missed_a_day_after_it_was_due() {
    let missed = |last, now| is_missed(Some(last), 0, now);
    assert!(!missed(0, 8 * DAY));
    assert!(missed(0, 8 * DAY + 1));
    assert!(!is_missed(None, 5 * DAY, 6 * DAY));
    assert!(
        is_missed(None, 5 * DAY, 6 * DAY + 1),
        "one that never ran is missed too"
    );
    assert!(!missed(UnixMicros::MAX, 0));
    assert!(!missed(UnixMicros::MAX - 1, UnixMicros::MAX));
}

#[test]
fn each_case_comes_with_the_context_that_is_written_in_it() {
    for (case, context) in own().choose(0) {
        let read = Context::parse(&case.context_json).unwrap();
        assert_eq!(*context, read, "{}", case.id);
    }
}
