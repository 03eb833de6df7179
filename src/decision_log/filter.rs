//! Which decisions are asked for, and where in their list.

use std::time::SystemTime;

use rusqlite::types::Value;

use super::error::LogError;
use super::outcome::FindingKind;
use super::record::Origin;
use super::time::to_micros;
use crate::verdict::{DecidedBy, Label, Mode};

/// All that is set must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    pub label: Option<Label>,
    pub prospect: Option<String>,
    /// Received then or later.
    pub from: Option<SystemTime>,
    /// Received earlier.
    pub to: Option<SystemTime>,
    pub mode: Option<Mode>,
    pub decided_by: Option<DecidedBy>,
    pub origin: Option<Origin>,
    /// The model's answer beside the rules' is another label.
    pub disagreement: bool,
    /// Reported at least once.
    pub outcome: Option<FindingKind>,
}

/// The place of a decision in the list, newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub received: i64,
    pub seq: i64,
}

impl Cursor {
    /// `None` for the start of the list.
    pub fn parse(token: &str) -> Result<Option<Self>, LogError> {
        if token.is_empty() {
            return Ok(None);
        }
        let parts = token.split_once('.').and_then(|(received, seq)| {
            Some(Self {
                received: received.parse().ok()?,
                seq: seq.parse().ok()?,
            })
        });
        parts
            .map(Some)
            .ok_or_else(|| LogError::PageToken(token.chars().take(64).collect()))
    }

    pub fn token(self) -> String {
        format!("{}.{}", self.received, self.seq)
    }
}

impl Filter {
    /// The condition of a SELECT from `decisions AS d`, and its parameters.
    pub fn to_sql(&self, after: Option<Cursor>) -> (String, Vec<Value>) {
        let mut conditions: Vec<&str> = Vec::new();
        let mut values: Vec<Value> = Vec::new();
        let text = |text: &str| Value::Text(text.to_owned());
        let mut is = |condition, value| {
            conditions.push(condition);
            values.push(value);
        };
        if let Some(label) = self.label {
            is("d.label = ?", text(label.as_str()));
        }
        if let Some(prospect) = &self.prospect {
            is("d.prospect = ?", text(prospect));
        }
        if let Some(from) = self.from {
            is("d.received >= ?", Value::Integer(to_micros(from)));
        }
        if let Some(to) = self.to {
            is("d.received < ?", Value::Integer(to_micros(to)));
        }
        if let Some(mode) = self.mode {
            is("d.mode = ?", text(mode.as_str()));
        }
        if let Some(decided_by) = self.decided_by {
            is("d.decided_by = ?", text(decided_by.as_str()));
        }
        if let Some(origin) = self.origin {
            is("d.origin = ?", text(origin.as_str()));
        }
        if let Some(kind) = self.outcome {
            let condition = "d.seq IN (SELECT decision FROM outcomes WHERE kind = ?)";
            is(condition, text(kind.as_str()));
        }
        if self.disagreement {
            conditions.push("d.shadow_label <> d.label");
        }
        if let Some(after) = after {
            conditions.push("(d.received, d.seq) < (?, ?)");
            values.push(Value::Integer(after.received));
            values.push(Value::Integer(after.seq));
        }
        if conditions.is_empty() {
            conditions.push("true");
        }
        (conditions.join(" AND "), values)
    }
}
