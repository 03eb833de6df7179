//! A decision as one JSON object: what `judged judge --json` prints, and `judged worker` publishes.

use serde_json::{Value, json};

use crate::verdict::{Decision, Label, ModelRevision};

pub fn decision(name: Option<&str>, request_id: &str, decision: &Decision) -> Value {
    let scores = decision.scores.map(|scores| {
        let rows = Label::ALL.map(|label| {
            let probability = scores.probabilities[label.index()];
            (label.as_str().to_owned(), json!(probability))
        });
        Value::Object(rows.into_iter().collect())
    });
    json!({
        "name": name,
        "request_id": request_id,
        "decision_id": decision.decision_id,
        "label": decision.label.as_str(),
        "rationale": decision.rationale,
        "scores": scores,
        "legal_mass": decision.scores.map(|scores| scores.legal_mass),
        "disposition": decision.disposition.as_str(),
        "decided_by": decision.decided_by.as_str(),
        "mode": decision.mode.as_str(),
        "degraded_reason": decision.degraded_reason,
        "rules": decision.rules,
        "model": decision.model.as_ref().map(revision),
        "usage": {
            "prompt_tokens": decision.usage.prompt_tokens,
            "cached_tokens": decision.usage.cached_tokens,
            "generated_tokens": decision.usage.generated_tokens,
        },
        "seconds": {
            "queue": decision.timings.queue.as_secs_f64(),
            "prefill": decision.timings.prefill.as_secs_f64(),
            "decode": decision.timings.decode.as_secs_f64(),
            "total": decision.timings.total.as_secs_f64(),
        },
    })
}

pub fn revision(revision: &ModelRevision) -> Value {
    json!({
        "bundle": revision.bundle,
        "base_sha256": revision.base_sha256,
        "adapter_sha256": revision.adapter_sha256,
        "adapter_scale": revision.adapter_scale,
        "adapter_merged": revision.adapter_merged,
        "template_sha256": revision.template_sha256,
    })
}
