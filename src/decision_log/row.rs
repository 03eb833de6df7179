//! Rows to what they stand for. Each error names the record and its column.

use rusqlite::Row;
use rusqlite::types::FromSql;
use serde::de::DeserializeOwned;

use super::error::LogError;
use super::filter::Cursor;
use super::outcome::{Finding, FindingKind, Outcome};
use super::record::{Entry, Record, Recorded, ShadowAnswer};
use super::spot_check::{ProbeScore, SpotCheck};
use super::stored::{Answer, FORMAT, Rest, Shadow, named};
use super::subject::{Content, Subject};
use super::time::from_micros;
use crate::verdict::{Decision, Label};

/// But for its outcomes.
pub fn entry(row: &Row<'_>) -> Result<Entry, LogError> {
    let (context, draft) = (get(row, "context")?, get(row, "draft")?);
    let content = Option::zip(context, draft).map(|(context, draft)| Content { context, draft });
    let channel: String = get(row, "channel")?;
    let record = Record {
        decision: decision(row)?,
        request_id: get(row, "request_id")?,
        caller: get(row, "caller")?,
        content_hash: get(row, "content_hash")?,
        received: from_micros(get(row, "received")?),
        origin: name(row, "origin")?,
        rationale_pending: get(row, "pending")?,
        subject: Subject {
            prospect: get(row, "prospect")?,
            channel: channel
                .parse()
                .map_err(|error| broken(row, "channel", error))?,
            context_sha256: get(row, "context_sha256")?,
            draft_sha256: get(row, "draft_sha256")?,
            masked: json(row, "masked")?,
            content,
        },
    };
    Ok(Entry {
        record,
        shadow: shadow(row)?,
        outcomes: Vec::new(),
    })
}

pub fn cursor(row: &Row<'_>) -> Result<Cursor, LogError> {
    Ok(Cursor {
        received: get(row, "received")?,
        seq: get(row, "seq")?,
    })
}

pub fn recorded(row: &Row<'_>) -> Result<Recorded, LogError> {
    Ok(Recorded {
        content_hash: get(row, "content_hash")?,
        decision: decision(row)?,
        rationale_pending: get(row, "pending")?,
    })
}

pub fn outcome(row: &Row<'_>, decision_id: &str) -> Result<Outcome, LogError> {
    let finding = match name(row, "kind")? {
        FindingKind::Right => Finding::Right,
        FindingKind::FalsePositive => Finding::FalsePositive,
        FindingKind::MissedViolation => Finding::MissedViolation(name(row, "true_label")?),
        FindingKind::Incident => Finding::Incident {
            tier: get(row, "tier")?,
        },
    };
    Ok(Outcome {
        decision_id: decision_id.to_owned(),
        time: from_micros(get(row, "reported")?),
        finding,
        probe: get(row, "probe")?,
        who: get(row, "who")?,
        note: get(row, "note")?,
    })
}

/// A probe with its score.
pub fn probe_score(row: &Row<'_>) -> Result<(String, ProbeScore), LogError> {
    let score = ProbeScore {
        right: get(row, "right")?,
        total: get(row, "total")?,
    };
    Ok((get(row, "probe")?, score))
}

pub fn spot_check(row: &Row<'_>) -> Result<SpotCheck, LogError> {
    let model: Option<String> = get(row, "model")?;
    Ok(SpotCheck {
        run_id: get(row, "run_id")?,
        time: from_micros(get(row, "ran")?),
        suite_sha256: get(row, "suite_sha256")?,
        probes: json(row, "probes")?,
        model: model.map(|text| parse(row, "model", &text)).transpose()?,
    })
}

fn decision(row: &Row<'_>) -> Result<Decision, LogError> {
    let format: i64 = get(row, "format")?;
    if format != FORMAT {
        return Err(broken(row, "format", format_args!("{format} is not known")));
    }
    let answer: Answer = json(row, "answer")?;
    let rest: Rest = json(row, "rest")?;
    Ok(Decision {
        decision_id: get(row, "decision_id")?,
        label: name(row, "label")?,
        rationale: rest.rationale,
        scores: answer.scores.map(Into::into),
        disposition: answer
            .disposition
            .parse()
            .map_err(|error| broken(row, "answer", error))?,
        decided_by: name(row, "decided_by")?,
        mode: name(row, "mode")?,
        degraded_reason: rest.degraded_reason,
        rules: answer.rules,
        model: answer.model,
        usage: rest.usage,
        timings: rest.timings.into(),
    })
}

fn shadow(row: &Row<'_>) -> Result<Option<ShadowAnswer>, LogError> {
    let text: Option<String> = get(row, "shadow")?;
    let Some(text) = text else {
        return Ok(None);
    };
    let label: Label = name(row, "shadow_label")?;
    let shadow: Shadow = parse(row, "shadow", &text)?;
    Ok(Some(shadow.answer(label)))
}

fn get<T: FromSql>(row: &Row<'_>, column: &str) -> Result<T, LogError> {
    row.get(column).map_err(|error| broken(row, column, error))
}

/// A value by its name, as a label.
fn name<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> Result<T, LogError> {
    let text: String = get(row, column)?;
    named(&text).map_err(|error| broken(row, column, error))
}

fn json<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> Result<T, LogError> {
    let text: String = get(row, column)?;
    parse(row, column, &text)
}

fn parse<T: DeserializeOwned>(row: &Row<'_>, column: &str, text: &str) -> Result<T, LogError> {
    serde_json::from_str(text).map_err(|error| broken(row, column, error))
}

fn broken(row: &Row<'_>, column: &str, error: impl std::fmt::Display) -> LogError {
    let seq: i64 = row.get("seq").unwrap_or(0);
    let id = row.get("decision_id").or_else(|_| row.get("run_id"));
    let id: String = id.unwrap_or_else(|_| seq.to_string());
    LogError::unreadable(format!("`{column}` of record `{id}`"), error)
}
