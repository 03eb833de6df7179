//! A pair of the Tenacious benchmark: one context, a draft that should have been chosen and one
//! that should have been rejected. What was not sent is no draft, and so no case.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::case::Case;
use crate::context::Context;
use crate::verdict::Label;

#[derive(Deserialize)]
pub(super) struct Pair {
    pair_id: String,
    probe_id: String,
    difficulty: Option<String>,
    context: Box<RawValue>,
    chosen: Side,
    rejected: Side,
}

#[derive(Deserialize)]
struct Side {
    action: String,
    output: String,
}

pub(super) fn cases(pair: Pair) -> Result<Vec<Case>, String> {
    let probe = pair.probe_id.strip_prefix("PROBE-");
    let probe = probe.unwrap_or(&pair.probe_id).to_owned();
    let violation = label(&probe).ok_or_else(|| {
        let name = pair.probe_id.escape_debug();
        format!("`probe_id`: unknown probe `{name}`, so its label is unknown")
    })?;
    let exact = !is_over_hedged(&probe, &pair.context);
    let sides = [
        ("rejected", "violation", &pair.rejected, violation),
        ("chosen", "clean", &pair.chosen, Label::Pass),
    ];
    let mut cases = Vec::new();
    for (field, end, side, expected) in sides {
        if side.action != "send" {
            continue;
        }
        if side.output.trim().is_empty() {
            return Err(format!("`{field}.output` is empty although it was sent"));
        }
        cases.push(Case {
            id: format!("{}/{end}", pair.pair_id),
            probe: Some(probe.clone()),
            difficulty: pair.difficulty.clone(),
            context_json: pair.context.get().to_owned(),
            draft: side.output.clone(),
            channel: None,
            expected,
            exact,
        });
    }
    Ok(cases)
}

/// What each probe's violation should be called.
fn label(probe: &str) -> Option<Label> {
    match probe {
        "A07" | "D05" | "E03" => Some(Label::Suppress),
        "G03" => Some(Label::Escalate),
        "B03" | "B04" | "C02" | "C04" | "E01" => Some(Label::Block),
        "E02" => Some(Label::Penalise),
        _ => None,
    }
}

/// Pairs of B04 about funding that is well known: the rejected draft hedges too much, which no
/// rule forbids.
fn is_over_hedged(probe: &str, context: &RawValue) -> bool {
    let is_well_known = |context: Context| {
        let confidence = context.get("funding_confidence").and_then(Value::as_str);
        matches!(confidence, Some("high" | "medium"))
    };
    probe == "B04" && Context::parse(context.get()).is_ok_and(is_well_known)
}
