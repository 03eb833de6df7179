//! Decisions off the wire.

use std::collections::HashMap;
use std::time::Duration;

use super::ClientError;
use crate::rpc::{convert, proto};
use crate::verdict::{Decision, Disposition, Label, ModelRevision, Scores, Timings, Usage};

/// An answer without a known label and disposition is no answer.
pub(super) fn decision(response: proto::JudgeResponse) -> Result<Decision, ClientError> {
    let unknown = |what: &str| ClientError::Answer(format!("it has no known {what}"));
    let label = convert::label_named(response.label).ok_or_else(|| unknown("label"))?;
    let disposition = match response.disposition() {
        proto::Disposition::Unspecified => return Err(unknown("disposition")),
        proto::Disposition::Dispatch => Disposition::Dispatch,
        proto::Disposition::HoldForReview => Disposition::HoldForReview,
        proto::Disposition::RouteToHuman => Disposition::RouteToHuman,
        proto::Disposition::DoNotSend => Disposition::DoNotSend,
    };
    let decided_by = convert::decided_by_named(response.decided_by);
    let decided_by = decided_by.ok_or_else(|| unknown("decider"))?;
    let mode = convert::mode_named(response.mode).ok_or_else(|| unknown("mode"))?;
    Ok(Decision {
        label,
        disposition,
        decided_by,
        mode,
        scores: scores(&response.scores, response.legal_mass),
        decision_id: response.decision_id,
        rationale: response.rationale,
        degraded_reason: some(response.degraded_reason),
        rules: response.rules,
        model: response.model.map(revision),
        usage: response.usage.map(usage).unwrap_or_default(),
        timings: response.timings.map(timings).unwrap_or_default(),
    })
}

/// `None` unless all five labels have one.
pub(super) fn scores(rows: &[proto::LabelScore], legal_mass: f64) -> Option<Scores> {
    let rows: HashMap<Label, f64> = rows
        .iter()
        .filter_map(|row| Some((convert::label_named(row.label)?, row.probability)))
        .collect();
    let mut probabilities = [0.0; 5];
    for label in Label::ALL {
        probabilities[label.index()] = *rows.get(&label)?;
    }
    Some(Scores {
        probabilities,
        legal_mass,
    })
}

pub(super) fn revision(revision: proto::ModelRevision) -> ModelRevision {
    ModelRevision {
        bundle: revision.bundle,
        base_sha256: revision.base_sha256,
        adapter_sha256: some(revision.adapter_sha256),
        adapter_scale: revision.scale,
        adapter_merged: revision.adapter_merged,
        template_sha256: revision.template_sha256,
    }
}

pub(super) fn usage(usage: proto::Usage) -> Usage {
    Usage {
        prompt_tokens: usage.prompt_tokens,
        cached_tokens: usage.cached_tokens,
        generated_tokens: usage.generated_tokens,
    }
}

pub(super) fn timings(timings: proto::Timings) -> Timings {
    Timings {
        queue: duration(timings.queue),
        prefill: duration(timings.prefill),
        decode: duration(timings.decode),
        total: duration(timings.total),
    }
}

pub(super) fn duration(duration: Option<prost_types::Duration>) -> Duration {
    duration
        .and_then(|duration| Duration::try_from(duration).ok())
        .unwrap_or_default()
}

pub(super) fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}
