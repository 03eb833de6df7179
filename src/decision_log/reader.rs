//! One connection that only reads.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params, params_from_iter};
use tokio_util::sync::CancellationToken;

use super::error::LogError;
use super::file::{check_kind, connect};
use super::filter::{Cursor, Filter};
use super::outcome::Outcome;
use super::record::{Entry, Recorded};
use super::row;
use super::schema;
use super::spot_check::{ProbeScore, SpotCheck};
use super::time::to_micros;

/// The most decisions of one page.
pub const PAGE_LIMIT: usize = 500;
/// Decisions with their contents that are in memory at once.
const CONTENTS_PAGE: usize = 16;
/// Of SQLite's virtual machine: some tens of microseconds.
const STEPS_BETWEEN_LOOKS: i32 = 1_000;

/// A part of the list, newest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    pub entries: Vec<Entry>,
    /// Empty at the end of the list.
    pub next_page_token: String,
}

/// Whether the judged texts are read too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    With,
    Without,
}

/// Reads a decision log, also while a daemon writes to it. Its methods block.
pub struct Reader {
    connection: Connection,
    path: PathBuf,
}

const SELECT: &str = "SELECT d.*, s.context_sha256, s.draft_sha256, s.masked,
        iif(?, s.context, NULL) AS context, iif(?, s.draft, NULL) AS draft
    FROM decisions AS d JOIN subjects AS s ON s.decision = d.seq";

pub(super) const FIND_REQUEST: &str = "SELECT * FROM decisions
    WHERE request_id = ? AND received >= ? ORDER BY received DESC, seq DESC LIMIT 1";

impl Reader {
    /// Changes nothing, and makes no file where there is none.
    pub fn open(path: &Path) -> Result<Self, LogError> {
        let path = std::path::absolute(path).map_err(|error| LogError::io("open", path, error))?;
        let connection = connect(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        check_kind(&connection, &path)?;
        let version = schema::version(&connection);
        let version = version.map_err(|error| LogError::of_sqlite("open", &path, &error))?;
        if version != schema::count(schema::STEPS) {
            let reason = "its version is old: a daemon that starts with it brings it up to date";
            return Err(LogError::io("read", &path, reason));
        }
        Ok(Self { connection, path })
    }

    /// What it reads from now on ends early once it is `enough`.
    pub(super) fn read_until(&mut self, enough: CancellationToken) -> Result<(), LogError> {
        let handler = move || enough.is_cancelled();
        let set = self
            .connection
            .progress_handler(STEPS_BETWEEN_LOOKS, Some(handler));
        set.map_err(|error| self.failed(&error))
    }

    /// Reads for a minute or more.
    #[cfg(test)]
    pub(super) fn scan_for_long(&self) -> Result<(), LogError> {
        let sql =
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000000)
            SELECT count(*) FROM n";
        self.all(sql, [], |_| Ok(())).map(drop)
    }

    /// One decision, whole.
    pub fn get(&self, decision_id: &str) -> Result<Option<Entry>, LogError> {
        let sql = format!("{SELECT} WHERE d.decision_id = ?");
        let rows = self.entries(&sql, params![true, true, decision_id])?;
        Ok(rows.into_iter().next().map(|(entry, _)| entry))
    }

    /// The newest first. A page token stays good whatever is recorded or deleted meanwhile.
    pub fn list(
        &self,
        filter: &Filter,
        contents: Contents,
        page_size: usize,
        page_token: &str,
    ) -> Result<Page, LogError> {
        let size = page_size.clamp(1, PAGE_LIMIT);
        let (condition, mut values) = filter.to_sql(Cursor::parse(page_token)?);
        let sql =
            format!("{SELECT} WHERE {condition} ORDER BY d.received DESC, d.seq DESC LIMIT ?");
        let with = i64::from(contents == Contents::With);
        values.splice(0..0, [with.into(), with.into()]);
        // One more tells whether there is a next page.
        values.push(i64::try_from(size + 1).unwrap_or(i64::MAX).into());
        let mut rows = self.entries(&sql, params_from_iter(values))?;
        let more = rows.len() > size;
        rows.truncate(size);
        let last = rows.last().filter(|_| more);
        Ok(Page {
            next_page_token: last.map_or_else(String::new, |(_, cursor)| cursor.token()),
            entries: rows.into_iter().map(|(entry, _)| entry).collect(),
        })
    }

    /// The newest decision for a request id that was received then or later.
    pub fn find_request(
        &self,
        request_id: &str,
        since: SystemTime,
    ) -> Result<Option<Recorded>, LogError> {
        let values = params![request_id, to_micros(since)];
        let found = self.all(FIND_REQUEST, values, row::recorded)?;
        Ok(found.into_iter().next())
    }

    /// The one that was recorded last: a clock that ran ahead may have dated another later.
    pub fn last_spot_check(&self) -> Result<Option<SpotCheck>, LogError> {
        let sql = "SELECT * FROM spot_checks ORDER BY seq DESC LIMIT 1";
        Ok(self.all(sql, [], row::spot_check)?.into_iter().next())
    }

    /// How the model did on each probe, by the last reports of decisions that were
    /// received then or later.
    pub fn reported_accuracy(
        &self,
        since: SystemTime,
    ) -> Result<BTreeMap<String, ProbeScore>, LogError> {
        let sql = "SELECT o.probe, count(*) AS total, sum(o.kind = 'RIGHT') AS right
            FROM outcomes o JOIN decisions d ON d.seq = o.decision
            WHERE o.probe IS NOT NULL AND d.decided_by = 'MODEL' AND d.received >= ?
            AND o.seq = (SELECT max(seq) FROM outcomes WHERE decision = o.decision)
            GROUP BY o.probe";
        let found = self.all(sql, [to_micros(since)], row::probe_score)?;
        Ok(found.into_iter().collect())
    }

    pub fn state(&self, key: &str) -> Result<Option<serde_json::Value>, LogError> {
        let text: Option<Vec<u8>> = self
            .connection
            .prepare_cached("SELECT value FROM state WHERE key = ?")
            .and_then(|mut statement| {
                let bytes =
                    statement.query_row([key], |row| Ok(row.get_ref(0)?.as_bytes()?.to_vec()));
                bytes.optional()
            })
            .map_err(|error| self.failed(&error))?;
        let parse = |text: Vec<u8>| serde_json::from_slice(&text);
        let value = text.map(parse).transpose();
        value.map_err(|error| LogError::unreadable(format!("state `{key}`"), error))
    }

    fn entries(
        &self,
        sql: &str,
        parameters: impl rusqlite::Params,
    ) -> Result<Vec<(Entry, Cursor)>, LogError> {
        let read = |row: &Row<'_>| Ok((row::entry(row)?, row::cursor(row)?));
        let mut found = self.all(sql, parameters, read)?;
        for (entry, cursor) in &mut found {
            entry.outcomes = self.outcomes(cursor.seq, &entry.record.decision.decision_id)?;
        }
        Ok(found)
    }

    fn outcomes(&self, decision: i64, decision_id: &str) -> Result<Vec<Outcome>, LogError> {
        let sql = "SELECT * FROM outcomes WHERE decision = ? ORDER BY seq";
        self.all(sql, [decision], |row| row::outcome(row, decision_id))
    }

    fn all<T>(
        &self,
        sql: &str,
        parameters: impl rusqlite::Params,
        read: impl Fn(&Row<'_>) -> Result<T, LogError>,
    ) -> Result<Vec<T>, LogError> {
        let failed = |error: rusqlite::Error| self.failed(&error);
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        let mut rows = statement.query(parameters).map_err(failed)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(failed)? {
            found.push(read(row)?);
        }
        Ok(found)
    }

    fn failed(&self, error: &rusqlite::Error) -> LogError {
        LogError::of_sqlite("read", &self.path, error)
    }
}

/// The most decisions that the daemon gives at once.
pub fn page_limit(contents: Contents) -> usize {
    match contents {
        Contents::With => CONTENTS_PAGE,
        Contents::Without => PAGE_LIMIT,
    }
}
