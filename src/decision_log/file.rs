//! The database file as the writer holds it: opened, checked, and watched for
//! what others do to it.

use std::fs::{File, Metadata, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::error::LogError;
use super::schema;

/// How long to wait for another process that holds the file locked.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// A longer WAL is cut to this once all of it is in the file.
const WAL_BYTES_KEPT: i64 = 16 << 20;
/// A WAL of this many pages is brought into the file.
const WAL_PAGES: i64 = 1_000;

pub struct LogFile {
    pub connection: Connection,
    path: PathBuf,
    /// The database, its WAL, and the WAL's index.
    seen: [Seen; 3],
}

/// What this process may have changed.
#[derive(Clone, Copy)]
pub enum Written {
    /// By a commit.
    Wal,
    /// By a checkpoint.
    Database,
}

/// A file as this process left it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

impl LogFile {
    /// Opens or makes the file, brings it up to date, and reads all of it once.
    pub fn open(path: &Path) -> Result<Self, LogError> {
        // SQLite would take a relative `file:…` for a URI.
        let path = &std::path::absolute(path).map_err(|error| LogError::io("open", path, error))?;
        make(path)?;
        let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let mut file = Self {
            connection,
            path: path.clone(),
            seen: Default::default(),
        };
        check_kind(&file.connection, path)?;
        file.set_up().map_err(|error| file.failed("open", &error))?;
        check(&file.connection, path)?;
        schema::migrate(&mut file.connection, schema::STEPS)
            .map_err(|error| file.failed("bring up to date", &error))?;
        file.seen = file.look()?;
        Ok(file)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How long a statement waits for a lock of another process.
    pub fn wait_for_locks(&self, time: Duration) -> Result<(), LogError> {
        let set = self.connection.busy_timeout(time);
        set.map_err(|error| self.failed("open", &error))
    }

    pub fn failed(&self, action: &'static str, error: &rusqlite::Error) -> LogError {
        LogError::of_sqlite(action, &self.path, error)
    }

    fn set_up(&self) -> rusqlite::Result<()> {
        let connection = &self.connection;
        if schema::is_empty(connection)? {
            // Before the first table, or never.
            connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        }
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        // Not inside a commit that callers wait for; see `checkpoint`.
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        connection.pragma_update(None, "journal_size_limit", WAL_BYTES_KEPT)?;
        connection.pragma_update(None, "cell_size_check", true)?;
        connection.pragma_update(None, "secure_delete", "FAST")?;
        connection.set_prepared_statement_cache_capacity(32);
        Ok(())
    }

    /// Before a write: the file is still the one that was opened, and if
    /// another process changed it, it is still whole.
    pub fn verify(&mut self) -> Result<(), LogError> {
        let now = self.look()?;
        self.same(&now)?;
        if now[..2] != self.seen[..2] {
            tracing::warn!(path = %self.path.display(), "another process changed the decision log: checking it");
            // A new connection has nothing cached.
            let fresh = connect(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            check(&fresh, &self.path)?;
            self.seen = now;
        }
        Ok(())
    }

    /// After a write: what was written stands in a file that others can find.
    pub fn settle(&mut self, written: Written) -> Result<(), LogError> {
        let now = self.look()?;
        self.same(&now)?;
        match written {
            // If the database has changed too, the next `verify` looks into it.
            Written::Wal => self.seen[1..].copy_from_slice(&now[1..]),
            Written::Database => self.seen = now,
        }
        Ok(())
    }

    fn same(&self, now: &[Seen; 3]) -> Result<(), LogError> {
        let identity = |seen: &Seen| (seen.device, seen.inode);
        for (now, seen) in now.iter().zip(&self.seen) {
            if identity(now) != identity(seen) {
                return Err(LogError::Gone(self.path.clone()));
            }
        }
        Ok(())
    }

    fn look(&self) -> Result<[Seen; 3], LogError> {
        let mut seen = [Seen::default(); 3];
        for (seen, end) in seen.iter_mut().zip(["", "-wal", "-shm"]) {
            let mut name = self.path.clone().into_os_string();
            name.push(end);
            *seen = match std::fs::metadata(&name) {
                Ok(metadata) => Seen::of(&metadata),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    return Err(LogError::Gone(name.into()));
                }
                Err(error) => return Err(LogError::io("look at", &self.path, error)),
            };
        }
        Ok(seen)
    }

    pub fn wal_is_long(&self) -> Result<bool, LogError> {
        Ok(self.wal_pages("NOOP")? >= WAL_PAGES)
    }

    /// Brings the WAL into the file, as far as no reader still needs it.
    pub fn checkpoint(&self) -> Result<(), LogError> {
        self.wal_pages("PASSIVE").map(drop)
    }

    /// At the end: all of the WAL, which is empty then.
    pub fn finish(&self) -> Result<(), LogError> {
        self.wal_pages("TRUNCATE").map(drop)
    }

    fn wal_pages(&self, how: &str) -> Result<i64, LogError> {
        let sql = format!("PRAGMA wal_checkpoint({how})");
        let pages = self
            .connection
            .prepare_cached(&sql)
            .and_then(|mut statement| statement.query_row([], |row| row.get(1)));
        pages.map_err(|error| self.failed("checkpoint", &error))
    }
}

impl Seen {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

pub fn connect(path: &Path, access: OpenFlags) -> Result<Connection, LogError> {
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .map_err(|error| LogError::of_sqlite("open", path, &error))?;
    let ready = connection
        .busy_timeout(BUSY_TIMEOUT)
        .and_then(|()| connection.pragma_update(None, "trusted_schema", false))
        // There may be no folder for temporary files, where a deletion's journal would go.
        .and_then(|()| connection.pragma_update(None, "temp_store", "MEMORY"))
        // Without it a statement is planned anew for each value that is bound to it.
        .and_then(|()| connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true));
    ready.map_err(|error| LogError::of_sqlite("open", path, &error))?;
    Ok(connection)
}

/// A decision log, or still empty, and of no version that came later.
pub fn check_kind(connection: &Connection, path: &Path) -> Result<(), LogError> {
    let read = || {
        let application = schema::application_id(connection)?;
        let version = schema::version(connection)?;
        let empty = schema::is_empty(connection)?;
        rusqlite::Result::Ok((application, version, empty))
    };
    let (application, version, empty) =
        read().map_err(|error| LogError::of_sqlite("open", path, &error))?;
    let known = schema::count(schema::STEPS);
    if application != schema::APPLICATION_ID && !(empty && application == 0 && version == 0) {
        return Err(LogError::NotALog(path.to_owned()));
    }
    if version > known {
        return Err(LogError::Newer {
            path: path.to_owned(),
            found: version,
            known,
        });
    }
    Ok(())
}

/// Reads every page, and every reference between tables.
fn check(connection: &Connection, path: &Path) -> Result<(), LogError> {
    let damaged = |found: String| LogError::Corrupt {
        path: path.to_owned(),
        found: found.into(),
    };
    let failed = |error: rusqlite::Error| LogError::of_sqlite("check", path, &error);
    let found: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(failed)?;
    if found != "ok" {
        return Err(damaged(found.replace('\n', ", ")));
    }
    let mut statement = connection
        .prepare("PRAGMA foreign_key_check")
        .map_err(failed)?;
    let mut rows = statement.query([]).map_err(failed)?;
    match rows.next().map_err(failed)? {
        None => Ok(()),
        Some(row) => {
            let table: String = row.get(0).map_err(failed)?;
            Err(damaged(format!(
                "a row of `{table}` belongs to no decision"
            )))
        }
    }
}

/// An empty file that only its owner may read, if there is none yet.
fn make(path: &Path) -> Result<(), LogError> {
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => LogError::Full(path.to_owned()),
        ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => {
            LogError::ReadOnly(path.to_owned())
        }
        _ => LogError::io("make", path, error),
    };
    match made {
        Ok(file) => drop(file),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(failed(error)),
    }
    // The file's name must survive a crash too.
    match path.parent() {
        Some(folder) => File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(failed),
        None => Ok(()),
    }
}
