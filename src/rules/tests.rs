//! Tables of situations and findings. A finding is written as `fired` and the fields that it rests
//! on, `not fired`, or `cannot tell` and the field that does not tell.

mod c_level;
mod disqualifier;
mod engineer;
mod funding;
pub mod linear;
mod opt_out;
mod other_thread;
mod peers;
mod total;

use super::*;
use crate::channel::Channel;
use crate::context::Context;
use crate::verdict::Case;

fn case(context: &str) -> Case {
    Case {
        context: Context::parse(context).unwrap(),
        draft: "Hello there".to_owned(),
        requested_channel: None,
    }
}

fn judge(case: &Case) -> RuleVerdict {
    Rulebook::default().judge(case)
}

fn evaluate(rule: Rule, case: &Case) -> Finding {
    Rulebook::default().evaluate(rule, case)
}

fn show(finding: &Finding) -> String {
    match finding {
        Finding::Fired(evidence) => {
            let fields: Vec<&str> = evidence.iter().map(|one| one.field.as_str()).collect();
            format!("fired {}", fields.join(" "))
        }
        Finding::NotFired => "not fired".to_owned(),
        Finding::CannotTell(evidence) => format!("cannot tell {}", evidence.field),
    }
}

fn check(rule: Rule, table: &[(&str, &str)]) {
    for (context, expected) in table {
        let found = show(&evaluate(rule, &case(context)));
        assert_eq!(found, *expected, "rule {}: {context}", rule.mark());
    }
}

/// The same for drafts in one context.
fn check_drafts(rule: Rule, context: &str, table: &[(&str, &str)]) {
    for (draft, expected) in table {
        let case = Case {
            draft: (*draft).to_owned(),
            ..case(context)
        };
        let found = show(&evaluate(rule, &case));
        assert_eq!(found, *expected, "rule {}: {draft}\n{context}", rule.mark());
    }
}

/// Drafts that are all found the same.
fn check_all(rule: Rule, context: &str, expected: &str, drafts: &[&str]) {
    let table: Vec<(&str, &str)> = drafts.iter().map(|draft| (*draft, expected)).collect();
    check_drafts(rule, context, &table);
}

#[test]
fn the_first_rule_in_the_rubrics_order_decides() {
    let all = Case {
        draft: "Congrats on your $5M raise. Your CEO mentioned the merger with Halden. Abebe is \
                available now, as firms like Acme know."
            .to_owned(),
        ..case(
            r#"{"disqualifiers":["competitor"],"opt_out_channels":["email"],"recipient_role":"CTO",
            "headcount":9000,"funding_confidence":"low","thread_id":"a","engineer_name":"Abebe",
            "committed_until":"2026-09-30","ceo_thread_content":"merger with Halden",
            "other_active_thread":"b_ceo"}"#,
        )
    };
    let verdict = judge(&all);
    assert_eq!(verdict.label, Label::Suppress);
    assert_eq!(verdict.fired, Rule::ALL);
    assert_eq!(
        verdict.rationale,
        "The prospect is disqualified: `disqualifiers[0]` is `competitor`."
    );
    let labels = (0..Rule::ALL.len()).map(|first| {
        let rules = &Rule::ALL[first..];
        Rulebook::default().judge_by(rules, &all).label.as_str()
    });
    assert_eq!(
        labels.collect::<Vec<_>>(),
        [
            "SUPPRESS", "SUPPRESS", "ESCALATE", "BLOCK", "BLOCK", "BLOCK", "PENALISE"
        ]
    );
}

#[test]
fn a_rationale_names_field_and_value() {
    for (context, label, rationale) in [
        (
            r#"{"opt_out_channels":["sms","email"]}"#,
            Label::Suppress,
            "The prospect has opted out, which covers every channel: `opt_out_channels[0]` is `sms`.",
        ),
        (
            r#"{"recipient_role":"CTO","headcount":"3,200"}"#,
            Label::Escalate,
            "The recipient is C-level at a company of more than 2000 people: `recipient_role` is \
             `CTO` and `headcount` is `3,200`.",
        ),
        (
            r#"{"headcount":12}"#,
            Label::Pass,
            "None of rules 1, 2, 3, 4, 5, 5c and 6 fires.",
        ),
        (
            r#"{"recipient_role":"CTO"}"#,
            Label::Pass,
            "None of rules 1, 2, 3, 4, 5, 5c and 6 fires, but rule 3 cannot be told since `headcount` is missing.",
        ),
        (
            r#"{"opt_out_channels":7,"recipient_role":"CTO","headcount":"many"}"#,
            Label::Pass,
            "None of rules 1, 2, 3, 4, 5, 5c and 6 fires, but rule 2 cannot be told since \
             `opt_out_channels` is `7` and rule 3 cannot be told since `headcount` is `many`.",
        ),
    ] {
        let verdict = judge(&case(context));
        assert_eq!(verdict.label, label, "{context}");
        assert_eq!(verdict.rationale, rationale, "{context}");
    }
}

#[test]
fn a_pass_names_the_rules_that_were_asked_and_no_other() {
    let case = case(r#"{"recipient_role":"CTO"}"#);
    for (rules, rationale) in [
        (&[][..], "No rule was asked."),
        (&[Rule::OptOut][..], "Rule 2 does not fire."),
        (
            &[Rule::CLevelAtLargeCompany][..],
            "Rule 3 does not fire, but rule 3 cannot be told since `headcount` is missing.",
        ),
        (
            &[
                Rule::Disqualifier,
                Rule::OtherThread,
                Rule::CommittedEngineer,
            ][..],
            "None of rules 1, 4 and 5c fires.",
        ),
    ] {
        let verdict = Rulebook::default().judge_by(rules, &case);
        assert_eq!(
            (verdict.label, verdict.rationale.as_str()),
            (Label::Pass, rationale)
        );
    }
}

#[test]
fn a_fired_rule_outweighs_one_that_cannot_tell() {
    let case = case(r#"{"disqualifiers":5,"unsubscribed":true}"#);
    let untold = evaluate(Rule::Disqualifier, &case);
    assert_eq!(show(&untold), "cannot tell disqualifiers");
    let verdict = judge(&case);
    assert_eq!(verdict.label, Label::Suppress);
    assert_eq!(verdict.fired, [Rule::OptOut]);
}

#[test]
fn evidence_is_short_and_on_one_line() {
    let word = format!("a`b\\n{}", "x".repeat(500));
    let case = case(&format!(r#"{{"disqualifiers":{{"{word}":"?"}}}}"#));
    let verdict = judge(&case);
    let Finding::CannotTell(evidence) = evaluate(Rule::Disqualifier, &case) else {
        panic!("it can be told");
    };
    for text in [&evidence.field, &evidence.value, &verdict.rationale] {
        assert!(!text.contains('\n'), "{text}");
    }
    assert!(evidence.field.starts_with("disqualifiers.a'b xx"));
    assert!(evidence.field.chars().count() <= 61);
}

#[test]
fn names_and_numbers_are_stable() {
    let names = Rule::ALL.map(|rule| (rule.mark(), rule.number(), rule.name()));
    assert_eq!(
        names,
        [
            ("1", Some(1), "rule_1_disqualifier"),
            ("2", Some(2), "rule_2_opt_out"),
            ("3", Some(3), "rule_3_c_level_at_large_company"),
            ("4", Some(4), "rule_4_other_thread"),
            ("5", Some(5), "rule_5_unconfirmed_funding"),
            ("5c", None, "rule_5c_committed_engineer"),
            ("6", Some(6), "rule_6_placeholder_peers"),
        ]
    );
}
