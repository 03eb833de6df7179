//! Recorded decisions, for people and as JSON.

use std::time::SystemTime;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::print;
use crate::decision_log::{Entry, Finding, Outcome, ShadowAnswer};
use crate::eval::text::plain;
use crate::verdict::Label;

/// Above the lines of a list.
pub const HEAD: &str =
    "received              label     disposition      by     mode        prospect  decision";

/// One line of a list.
pub fn line(entry: &Entry) -> String {
    let decision = &entry.record.decision;
    let mut line = format!(
        "{}  {:<8}  {:<15}  {:<5}  {:<10}  {}  {}",
        time(entry.record.received),
        decision.label,
        decision.disposition,
        decision.decided_by,
        decision.mode,
        plain(&entry.record.subject.prospect),
        decision.decision_id,
    );
    if let Some(shadow) = &entry.shadow
        && shadow.label != decision.label
    {
        line += &format!("  model: {}", shadow.label);
    }
    for outcome in &entry.outcomes {
        line += &format!("  reported: {}", finding(&outcome.finding));
    }
    line
}

/// All of it, on many lines.
pub fn text(entry: &Entry) -> String {
    let record = &entry.record;
    let subject = &record.subject;
    let mut lines = vec![print::decision_text(
        Some(&record.decision.decision_id),
        &record.decision,
    )];
    let mut row = |name: &str, value: String| {
        let plain: Vec<String> = value.lines().map(plain).collect();
        let value = plain.join("\n             ");
        lines.push(format!("  {name:<9}  {value}"));
    };
    row("received", time(record.received));
    if let Some(id) = &record.request_id {
        row("request", id.clone());
    }
    if let Some(caller) = &record.caller {
        row("caller", caller.clone());
    }
    row(
        "prospect",
        format!("{} by {}", subject.prospect, subject.channel),
    );
    if let Some(model) = &record.decision.model {
        row("model", model.bundle.clone());
    }
    if let Some(content) = &subject.content {
        row("context", content.context.clone());
        row("draft", content.draft.clone());
    }
    if !subject.masked.is_empty() {
        row("masked", subject.masked.join(", "));
    }
    row(
        "sha256",
        format!("context {}", const_hex::encode(subject.context_sha256)),
    );
    row(
        "",
        format!("draft   {}", const_hex::encode(subject.draft_sha256)),
    );
    if let Some(shadow) = &entry.shadow {
        let sure = shadow.scores.probabilities[shadow.label.index()];
        row(
            "shadow",
            format!("the model said {} {sure:.3}", shadow.label),
        );
    }
    for outcome in &entry.outcomes {
        let Outcome { who, note, .. } = outcome;
        let probe = outcome.probe.as_ref().map(|probe| format!(" of {probe}"));
        let when = time(outcome.time);
        row(
            "reported",
            format!(
                "{when} {}{} by {who}: {note}",
                finding(&outcome.finding),
                probe.unwrap_or_default()
            ),
        );
    }
    lines.join("\n")
}

pub fn json(entry: &Entry) -> Value {
    let record = &entry.record;
    let subject = &record.subject;
    let id = record.request_id.as_deref().unwrap_or_default();
    let mut value = print::decision_json(None, id, &record.decision);
    let more = json!({
        "received": time(record.received),
        "origin": record.origin.as_str(),
        "rationale_pending": record.rationale_pending,
        "caller": record.caller,
        "prospect": subject.prospect,
        "channel": subject.channel.as_str(),
        // A masked context may be no JSON object any more.
        "context": subject.content.as_ref().map(|content| {
            serde_json::from_str(&content.context).unwrap_or(Value::String(content.context.clone()))
        }),
        "draft": subject.content.as_ref().map(|content| &content.draft),
        "masked": subject.masked,
        "context_sha256": const_hex::encode(subject.context_sha256),
        "draft_sha256": const_hex::encode(subject.draft_sha256),
        "shadow": entry.shadow.as_ref().map(shadow_json),
        "outcomes": entry.outcomes.iter().map(outcome_json).collect::<Vec<_>>(),
    });
    if let (Value::Object(value), Value::Object(more)) = (&mut value, more) {
        value.remove("name");
        value.extend(more);
    }
    value
}

fn shadow_json(shadow: &ShadowAnswer) -> Value {
    let scores = Label::ALL.map(|label| {
        let probability = shadow.scores.probabilities[label.index()];
        (label.as_str().to_owned(), json!(probability))
    });
    json!({
        "label": shadow.label.as_str(),
        "scores": Value::Object(scores.into_iter().collect()),
        "legal_mass": shadow.scores.legal_mass,
        "model": print::revision(&shadow.model),
    })
}

fn outcome_json(outcome: &Outcome) -> Value {
    let (label, tier) = match outcome.finding {
        Finding::MissedViolation(label) => (Some(label.as_str()), None),
        Finding::Incident { tier } => (None, Some(tier)),
        Finding::Right | Finding::FalsePositive => (None, None),
    };
    json!({
        "reported": time(outcome.time),
        "kind": outcome.finding.kind().as_str(),
        "true_label": label,
        "incident_tier": tier,
        "probe": outcome.probe,
        "reported_by": outcome.who,
        "note": outcome.note,
    })
}

fn finding(finding: &Finding) -> String {
    match finding {
        Finding::Right | Finding::FalsePositive => finding.kind().to_string(),
        Finding::MissedViolation(label) => format!("{} {label}", finding.kind()),
        Finding::Incident { tier } => format!("{} of tier {tier}", finding.kind()),
    }
}

/// In UTC, to the second.
pub fn time(time: SystemTime) -> String {
    match Timestamp::try_from(time) {
        Ok(time) => time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        Err(_) => "beyond all calendars".to_owned(),
    }
}
