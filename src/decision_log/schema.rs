//! The tables, and how a file of an older version gets them.

use rusqlite::{Connection, TransactionBehavior};

/// Marks the file as ours: "judg".
pub const APPLICATION_ID: i64 = 0x6a75_6467;

/// Each step leads to the version of its place, counted from one. A step that
/// was released never changes.
pub const STEPS: &[&str] = &[include_str!("schema/1.sql"), include_str!("schema/2.sql")];

pub fn application_id(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "application_id", |row| row.get(0))
}

pub fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

pub fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    let sql = "SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema)";
    connection.query_row(sql, [], |row| row.get(0))
}

/// The version that these steps lead to.
pub fn count(steps: &[&str]) -> i64 {
    i64::try_from(steps.len()).unwrap_or(i64::MAX)
}

/// Takes the steps that the file has not seen, all or none.
pub fn migrate(connection: &mut Connection, steps: &[&str]) -> rusqlite::Result<()> {
    let seen = usize::try_from(version(connection)?).unwrap_or(usize::MAX);
    let Some(missing) = steps.get(seen..).filter(|missing| !missing.is_empty()) else {
        return Ok(());
    };
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for step in missing {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", count(steps))?;
    transaction.commit()
}
