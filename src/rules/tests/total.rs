//! The rules answer on any context, and what they do not know changes nothing.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value};

use super::*;

const NAMES: [&str; 33] = [
    "disqualifiers",
    "disqualifier",
    "anti_offshore",
    "do_not_contact",
    "opt_out_channels",
    "email_opt_out",
    "unsubscribed",
    "gdpr_erasure_request",
    "email",
    "intended_channel",
    "recipient_role",
    "is_c_level",
    "headcount",
    "company_size",
    "available_signals",
    "opt_out",
    "thread_id",
    "other_active_thread",
    "active_threads",
    "threads",
    "thread_history",
    "ceo_thread_content",
    "board_note",
    "leaked_thread",
    "funding_confidence",
    "funding_amount_usd",
    "company",
    "engineer_name",
    "committed_until",
    "prior_commitments",
    "ends",
    "today",
    "peer_brief_generated",
];

const WORDS: [&str; 26] = [
    "anti_offshore",
    "competitor",
    "none",
    "email",
    "sms",
    "linkedin",
    "all",
    "cto",
    "vp_eng",
    "Founder & CEO",
    "Assistant to the CEO",
    "3,200",
    "1k-5k",
    "2000+",
    "yes",
    "",
    "low",
    "insufficient_signal",
    "Abebe Kebede",
    "2026-09-30",
    "thread_1_ceo",
    "Acme",
    "StartupX",
    "Board wants to cut 20% of the budget in Leeds",
    "series_a",
    "5000000",
];

/// What drafts are made of.
const PIECES: [&str; 40] = [
    "you",
    "your",
    "Your",
    "raised",
    "$",
    "5",
    "5M",
    "€5.000.000",
    "Rs 10 crore",
    "million",
    "Series A",
    "round",
    "funding",
    "may",
    "if",
    "unverified",
    "cannot confirm",
    "?",
    ".",
    ",",
    "\n\n",
    "Abebe",
    "Kebede",
    "he",
    "is",
    "available",
    "now",
    "can start",
    "until",
    "2026-09-30",
    "September 30th, 2026",
    "CEO",
    "mentioned",
    "20% of the budget in Leeds",
    "in her thread",
    "companies like",
    "Acme",
    "StartupX",
    "[Company A]",
    "and",
];

fn draft() -> impl Strategy<Value = String> {
    let piece = prop_oneof![6 => select(&PIECES[..]).prop_map(str::to_owned), 1 => "\\PC{0,6}"];
    let separator = select(&[" ", "", "'", "-", "\n", "\t"][..]);
    vec((piece, separator), 0..40).prop_map(|pieces| {
        let pieces = pieces
            .into_iter()
            .map(|(piece, separator)| piece + separator);
        pieces.collect()
    })
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![4 => select(&NAMES[..]).prop_map(str::to_owned), 1 => "\\PC{0,12}"]
}

fn number() -> impl Strategy<Value = Value> {
    "-?(0|[1-9][0-9]{0,8})(\\.[0-9]{1,4})?([eE][+-]?[0-9]{1,4})?"
        .prop_map(|text| serde_json::from_str(&text).unwrap())
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        number(),
        select(&WORDS[..]).prop_map(Value::from),
        "\\PC{0,12}|[0-9.,k+<>e -]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            fields(inner).prop_map(Value::Object),
        ]
    })
}

fn fields(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
    vec((name(), value), 0..6).prop_map(Map::from_iter)
}

/// Fields whose names no rule knows.
fn notes() -> impl Strategy<Value = Map<String, Value>> {
    vec(("note_[a-z]{1,5}_[0-9]", value()), 0..4).prop_map(Map::from_iter)
}

fn case_of(fields: Map<String, Value>, draft: String) -> Case {
    Case {
        draft,
        ..case(&Value::Object(fields).to_string())
    }
}

proptest! {
    #[test]
    fn any_object_and_any_draft_get_an_answer(
        fields in fields(value()),
        draft in prop_oneof![draft(), "\\PC{0,80}"],
    ) {
        let case = case_of(fields, draft);
        let verdict = judge(&case);
        let first = verdict.fired.first();
        prop_assert_eq!(verdict.label, first.map_or(Label::Pass, |rule| rule.label()));
        prop_assert!(verdict.rationale.ends_with('.'));
        prop_assert!(!verdict.rationale.contains('\n'));
        prop_assert_eq!(&judge(&case), &verdict);
    }

    #[test]
    fn unknown_fields_and_the_draft_change_nothing_that_rests_on_fields(
        fields in fields(value()),
        above in notes(),
        below in notes(),
        hidden in notes(),
    ) {
        let before = case_of(fields.clone(), String::new());
        let mut more: Map<String, Value> = above;
        more.extend(fields);
        more.extend(below);
        let signals = more
            .entry("available_signals")
            .or_insert_with(|| Value::Object(Map::new()));
        if let Some(signals) = signals.as_object_mut() {
            signals.extend(hidden);
        }
        let after = case_of(more, "Another draft".to_owned());
        for rule in [Rule::Disqualifier, Rule::OptOut, Rule::CLevelAtLargeCompany] {
            prop_assert_eq!(evaluate(rule, &before), evaluate(rule, &after));
        }
    }

    #[test]
    fn a_disqualifier_or_an_opt_out_stands_whatever_else_is_said(fields in fields(value())) {
        for (name, word, rule) in [
            ("disqualifiers", "competitor", Rule::Disqualifier),
            ("opt_out_channels", "all", Rule::OptOut),
        ] {
            let mut fields = fields.clone();
            fields.insert(name.to_owned(), Value::from(vec![word]));
            let verdict = judge(&case_of(fields, String::new()));
            prop_assert!(verdict.fired.contains(&rule));
        }
    }
}
