//! What the writer can be asked to write, and the SQL that does it.

use rusqlite::{Connection, OptionalExtension, named_params, params};
use serde::Serialize;

use super::error::LogError;
use super::outcome::{Finding, Outcome};
use super::record::{Completion, Record, ShadowAnswer};
use super::spot_check::SpotCheck;
use super::stored::{Answer, FORMAT, Rest, Shadow};
use super::time::to_micros;
use crate::verdict::Label;

/// Reports that one decision may have.
pub const OUTCOMES_LIMIT: u32 = 100;

/// Ready to be written: nothing is left to compute on the writer's thread.
pub enum Command {
    Record(Box<Row>),
    Complete {
        decision_id: String,
        rest: String,
    },
    AttachShadow {
        decision_id: String,
        label: Label,
        shadow: String,
    },
    Report(Outcome),
    SpotCheck {
        check: Box<SpotCheck>,
        probes: String,
        model: Option<String>,
    },
    PutState {
        key: String,
        value: String,
    },
}

/// A record, with its JSON.
pub struct Row {
    record: Record,
    answer: String,
    rest: String,
    masked: String,
}

/// Why a command was not carried out.
pub enum Refusal {
    /// By SQLite.
    Sqlite(rusqlite::Error),
    /// By us.
    Log(LogError),
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        Refusal::Sqlite(error)
    }
}

impl From<LogError> for Refusal {
    fn from(error: LogError) -> Self {
        Refusal::Log(error)
    }
}

impl Command {
    pub fn record(record: Record) -> Result<Self, LogError> {
        let what = || format!("decision `{}`", record.decision.decision_id);
        let answer = json(&Answer::from(&record.decision), what)?;
        let rest = json(&Rest::from(Completion::of(&record.decision)), what)?;
        let masked = json(&record.subject.masked, what)?;
        Ok(Command::Record(Box::new(Row {
            record,
            answer,
            rest,
            masked,
        })))
    }

    pub fn complete(decision_id: &str, completion: Completion) -> Result<Self, LogError> {
        let rest = json(&Rest::from(completion), || {
            format!("decision `{decision_id}`")
        })?;
        Ok(Command::Complete {
            decision_id: decision_id.to_owned(),
            rest,
        })
    }

    pub fn attach_shadow(decision_id: &str, answer: &ShadowAnswer) -> Result<Self, LogError> {
        let shadow = json(&Shadow::from(answer), || {
            format!("decision `{decision_id}`")
        })?;
        Ok(Command::AttachShadow {
            decision_id: decision_id.to_owned(),
            label: answer.label,
            shadow,
        })
    }

    pub fn spot_check(check: SpotCheck) -> Result<Self, LogError> {
        let what = || format!("spot check `{}`", check.run_id);
        let probes = json(&check.probes, what)?;
        let model = check.model.as_ref();
        let model = model.map(|model| json(model, what)).transpose()?;
        Ok(Command::SpotCheck {
            check: Box::new(check),
            probes,
            model,
        })
    }

    pub fn put_state(key: &str, value: &serde_json::Value) -> Self {
        Command::PutState {
            key: key.to_owned(),
            value: value.to_string(),
        }
    }

    /// Writes it, inside the transaction that is open. A request id is taken
    /// if a decision has it that is younger by no more than `request_window`.
    pub fn apply(&self, connection: &Connection, request_window: i64) -> Result<(), Refusal> {
        match self {
            Command::Record(row) => row.insert(connection, request_window),
            Command::Complete { decision_id, rest } => {
                let sql = "UPDATE decisions SET rest = ?2, pending = 0
                    WHERE decision_id = ?1 AND pending";
                let changed = connection
                    .prepare_cached(sql)?
                    .execute(params![decision_id, rest])?;
                changed_one(connection, changed, decision_id, "rationale")
            }
            Command::AttachShadow {
                decision_id,
                label,
                shadow,
            } => {
                let sql = "UPDATE decisions SET shadow_label = ?2, shadow = ?3
                    WHERE decision_id = ?1 AND shadow_label IS NULL";
                let changed = connection.prepare_cached(sql)?.execute(params![
                    decision_id,
                    label.as_str(),
                    shadow
                ])?;
                changed_one(connection, changed, decision_id, "shadow answer")
            }
            Command::Report(outcome) => report(connection, outcome),
            Command::SpotCheck {
                check,
                probes,
                model,
            } => {
                let sql = "INSERT OR IGNORE INTO spot_checks
                        (run_id, ran, suite_sha256, probes, model) VALUES (?1, ?2, ?3, ?4, ?5)";
                let added = connection.prepare_cached(sql)?.execute(params![
                    check.run_id,
                    to_micros(check.time),
                    check.suite_sha256,
                    probes,
                    model
                ])?;
                if added == 0 {
                    return Err(LogError::SpotCheckTaken(check.run_id.clone()).into());
                }
                Ok(())
            }
            Command::PutState { key, value } => {
                let sql = "INSERT INTO state (key, value) VALUES (?1, ?2)
                    ON CONFLICT DO UPDATE SET value = excluded.value";
                connection
                    .prepare_cached(sql)?
                    .execute(params![key, value])?;
                Ok(())
            }
        }
    }
}

impl Row {
    fn insert(&self, connection: &Connection, request_window: i64) -> Result<(), Refusal> {
        let record = &self.record;
        let decision = &record.decision;
        let received = to_micros(record.received);
        if let Some(id) = &record.request_id {
            let sql = "SELECT 1 FROM decisions WHERE request_id = ?1 AND received >= ?2 LIMIT 1";
            let since = received.saturating_sub(request_window);
            if connection.prepare_cached(sql)?.exists(params![id, since])? {
                return Err(LogError::RequestIdTaken(id.clone()).into());
            }
        }
        let sql = "INSERT INTO decisions (format, decision_id, request_id, content_hash,
                received, origin, mode, decided_by, label, prospect, channel,
                answer, rest, pending, caller)
            VALUES (:format, :decision_id, :request_id, :content_hash,
                :received, :origin, :mode, :decided_by, :label, :prospect, :channel,
                :answer, :rest, :pending, :caller)
            ON CONFLICT DO NOTHING";
        let added = connection.prepare_cached(sql)?.execute(named_params! {
            ":format": FORMAT,
            ":decision_id": decision.decision_id,
            ":request_id": record.request_id,
            ":content_hash": &record.content_hash[..],
            ":received": received,
            ":origin": record.origin.as_str(),
            ":mode": decision.mode.as_str(),
            ":decided_by": decision.decided_by.as_str(),
            ":label": decision.label.as_str(),
            ":prospect": record.subject.prospect,
            ":channel": record.subject.channel.as_str(),
            ":answer": self.answer,
            ":rest": self.rest,
            ":pending": record.rationale_pending,
            ":caller": record.caller,
        })?;
        if added == 0 {
            return Err(LogError::DecisionIdTaken(decision.decision_id.clone()).into());
        }
        let subject = &record.subject;
        let content = subject.content.as_ref();
        let sql = "INSERT INTO subjects
                (decision, context_sha256, draft_sha256, masked, context, draft)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        connection.prepare_cached(sql)?.execute(params![
            connection.last_insert_rowid(),
            &subject.context_sha256[..],
            &subject.draft_sha256[..],
            self.masked,
            content.map(|content| &content.context),
            content.map(|content| &content.draft),
        ])?;
        Ok(())
    }
}

fn report(connection: &Connection, outcome: &Outcome) -> Result<(), Refusal> {
    let decision_id = &outcome.decision_id;
    let Some(decision) = row_of(connection, decision_id)? else {
        return Err(LogError::UnknownDecision(decision_id.clone()).into());
    };
    let (true_label, tier) = match outcome.finding {
        Finding::Right | Finding::FalsePositive => (None, None),
        Finding::MissedViolation(label) => (Some(label.as_str()), None),
        Finding::Incident { tier } => (None, Some(tier)),
    };
    let sql = "INSERT INTO outcomes (decision, reported, kind, true_label, tier, probe, who, note)
        SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8
        WHERE (SELECT count(*) FROM outcomes WHERE decision = ?1) < ?9";
    let added = connection.prepare_cached(sql)?.execute(params![
        decision,
        to_micros(outcome.time),
        outcome.finding.kind().as_str(),
        true_label,
        tier,
        outcome.probe,
        outcome.who,
        outcome.note,
        OUTCOMES_LIMIT
    ])?;
    if added == 0 {
        return Err(Refusal::Log(LogError::TooManyOutcomes {
            decision_id: decision_id.clone(),
            limit: OUTCOMES_LIMIT,
        }));
    }
    Ok(())
}

/// An update that changed nothing found no decision, or nothing to fill in.
fn changed_one(
    connection: &Connection,
    changed: usize,
    decision_id: &str,
    what: &'static str,
) -> Result<(), Refusal> {
    if changed > 0 {
        return Ok(());
    }
    let decision_id = decision_id.to_owned();
    Err(match row_of(connection, &decision_id)? {
        Some(_) => LogError::AlreadyThere { decision_id, what },
        None => LogError::UnknownDecision(decision_id),
    }
    .into())
}

fn row_of(connection: &Connection, decision_id: &str) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT seq FROM decisions WHERE decision_id = ?1")?
        .query_row([decision_id], |row| row.get(0))
        .optional()
}

fn json(value: &impl Serialize, what: impl Fn() -> String) -> Result<String, LogError> {
    serde_json::to_string(value).map_err(|error| LogError::unreadable(what(), error))
}
