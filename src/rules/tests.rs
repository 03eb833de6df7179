//! Tables of situations and findings. A finding is written as `fired` and the fields that it rests
//! on, `not fired`, or `cannot tell` and the field that does not tell.

mod c_level;
mod disqualifier;
mod opt_out;
mod total;

use super::*;
use crate::channel::Channel;
use crate::context::Context;

fn case(context: &str) -> Case {
    Case {
        context: Context::parse(context).unwrap(),
        draft: "Hello there".to_owned(),
        requested_channel: None,
    }
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
        assert_eq!(found, *expected, "rule {}: {context}", rule.number());
    }
}

#[test]
fn the_first_rule_in_the_rubrics_order_decides() {
    let all = case(
        r#"{"disqualifiers":["competitor"],"opt_out_channels":["email"],"recipient_role":"CTO","headcount":9000}"#,
    );
    let verdict = judge(&all);
    assert_eq!(verdict.label, Label::Suppress);
    assert_eq!(verdict.fired, Rule::ALL);
    assert_eq!(
        verdict.rationale,
        "The prospect is disqualified: `disqualifiers[0]` is `competitor`."
    );
}

#[test]
fn a_rationale_names_field_and_value() {
    for (context, label, rationale) in [
        (
            r#"{"opt_out_channels":["sms","email"]}"#,
            Label::Suppress,
            "The prospect has opted out of `email`: `opt_out_channels[1]` is `email`.",
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
            "None of rules 1 to 3 fires.",
        ),
        (
            r#"{"recipient_role":"CTO"}"#,
            Label::Pass,
            "None of rules 1 to 3 fires, but rule 3 cannot be told since `headcount` is missing.",
        ),
        (
            r#"{"opt_out_channels":7,"recipient_role":"CTO","headcount":"many"}"#,
            Label::Pass,
            "None of rules 1 to 3 fires, but rule 2 cannot be told since `opt_out_channels` is `7` \
             and rule 3 cannot be told since `headcount` is `many`.",
        ),
    ] {
        let verdict = judge(&case(context));
        assert_eq!(verdict.label, label, "{context}");
        assert_eq!(verdict.rationale, rationale, "{context}");
    }
}

#[test]
fn a_fired_rule_outweighs_one_that_cannot_tell() {
    let verdict = judge(&case(r#"{"disqualifiers":5,"unsubscribed":true}"#));
    assert_eq!(verdict.label, Label::Suppress);
    assert_eq!(verdict.fired, [Rule::OptOut]);
    let untold: Vec<Rule> = verdict.cannot_tell.iter().map(|(rule, _)| *rule).collect();
    assert_eq!(untold, [Rule::Disqualifier, Rule::CLevelAtLargeCompany]);
}

#[test]
fn evidence_is_short_and_on_one_line() {
    let word = format!("a`b\\n{}", "x".repeat(500));
    let verdict = judge(&case(&format!(r#"{{"disqualifiers":{{"{word}":"?"}}}}"#)));
    let (_, evidence) = &verdict.cannot_tell[0];
    for text in [&evidence.field, &evidence.value, &verdict.rationale] {
        assert!(!text.contains('\n'), "{text}");
    }
    assert!(evidence.field.starts_with("disqualifiers.a'b xx"));
    assert!(evidence.field.chars().count() <= 61);
}

#[test]
fn names_and_numbers_are_stable() {
    let names = Rule::ALL.map(|rule| (rule.number(), rule.name()));
    assert_eq!(
        names,
        [
            (1, "rule_1_disqualifier"),
            (2, "rule_2_opt_out"),
            (3, "rule_3_c_level_at_large_company"),
        ]
    );
}
