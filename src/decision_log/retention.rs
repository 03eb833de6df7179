//! Old decisions go, a few at a time.

use std::time::{Duration, SystemTime};

use rusqlite::{Connection, TransactionBehavior};

use super::time::{before, to_micros};

/// How long decisions are kept. Outcomes go with their decisions; spot checks stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    pub max_age: Option<Duration>,
    /// Of the database file: above it the oldest decisions go.
    pub max_bytes: Option<u64>,
}

/// Decisions that one transaction deletes: callers wait meanwhile.
const BATCH: u32 = 64;
/// Free pages that stay in the file, since the next decisions need them.
const FREE_PAGES: i64 = 256;
/// Free pages that one transaction cuts off.
const CUT_PAGES: i64 = 256;

impl Retention {
    /// One small transaction; whether there is more to do.
    pub fn sweep(&self, connection: &mut Connection, now: SystemTime) -> rusqlite::Result<bool> {
        let deleted = self.delete(connection, now)?;
        let cut = cut(connection)?;
        Ok(deleted > 0 || cut)
    }

    fn delete(&self, connection: &mut Connection, now: SystemTime) -> rusqlite::Result<usize> {
        let mut deleted = 0;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if let Some(age) = self.max_age {
            deleted = delete_older(&transaction, before(to_micros(now), age))?;
        }
        if let Some(max_bytes) = self.max_bytes
            && deleted == 0
            && bytes_used(&transaction)? > max_bytes
        {
            deleted = delete_older(&transaction, i64::MAX)?;
        }
        transaction.commit()?;
        Ok(deleted)
    }
}

fn delete_older(connection: &Connection, than: i64) -> rusqlite::Result<usize> {
    let sql = "DELETE FROM decisions WHERE seq IN
        (SELECT seq FROM decisions WHERE received < ?1 ORDER BY received, seq LIMIT ?2)";
    connection.prepare_cached(sql)?.execute((than, BATCH))
}

/// Cuts free pages off the file's end; whether some are left to cut.
fn cut(connection: &Connection) -> rusqlite::Result<bool> {
    let free = pragma(connection, "freelist_count")? - FREE_PAGES;
    if free <= 0 {
        return Ok(false);
    }
    let sql = format!("PRAGMA incremental_vacuum({})", free.min(CUT_PAGES));
    // Each row that it gives is a page.
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(free > CUT_PAGES)
}

fn bytes_used(connection: &Connection) -> rusqlite::Result<u64> {
    let pages = pragma(connection, "page_count")? - pragma(connection, "freelist_count")?;
    let bytes = pages.saturating_mul(pragma(connection, "page_size")?);
    Ok(u64::try_from(bytes).unwrap_or(0))
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}
