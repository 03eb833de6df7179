//! The cases that were judged wrongly, with all that was asked and answered.

use std::collections::BTreeMap;

use maud::{Markup, html};
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::report::Wrong;
use crate::verdict::Label;

pub(super) fn table(wrong: &[Wrong]) -> Markup {
    html! {
        h2 { "Judged wrongly: " (wrong.len()) }
        @if !wrong.is_empty() {
            div class="scroll" {
                table class="cases" {
                    thead {
                        tr {
                            @for name in ["case", "expected", "answered", "scores", "draft"] {
                                th { (name) }
                            }
                        }
                    }
                    tbody { @for case in wrong { (row(case)) } }
                }
            }
        }
    }
}

fn row(case: &Wrong) -> Markup {
    html! {
        tr {
            td {
                div class="mono" { (case.id) }
                div class="faint" {
                    (case.probe.as_deref().unwrap_or_default()) " "
                    (case.difficulty.as_deref().unwrap_or_default())
                }
            }
            td data-name="expected" { span class="good" { (case.expected) } }
            td data-name="answered" {
                span class="bad" { (case.answered) }
                @for rule in &case.rules { div class="mono" { (rule) } }
            }
            td class="scores" { @if let Some(scores) = &case.scores { (bars(scores)) } }
            td {
                div class="draft" { (case.draft) }
                @if !case.rationale.is_empty() { p class="faint" { (case.rationale) } }
                @if let Some(context) = &case.context {
                    details { summary { "context" } pre { (pretty(context)) } }
                }
            }
        }
    }
}

fn bars(scores: &BTreeMap<Label, f64>) -> Markup {
    html! {
        @for (label, score) in scores {
            div {
                span { (label) }
                i style=(format!("--share: {score:.4}")) {}
                span { (format!("{score:.3}")) }
            }
        }
    }
}

fn pretty(context: &RawValue) -> String {
    let value = serde_json::from_str::<Value>(context.get());
    let pretty = value.and_then(|value| serde_json::to_string_pretty(&value));
    pretty.unwrap_or_else(|_| context.get().to_owned())
}
