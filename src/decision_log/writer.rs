//! The thread that writes: all commands that wait go into one transaction, and
//! get their answers after its one commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};

use super::Config;
use super::command::{Command, Refusal};
use super::error::LogError;
use super::file::{LogFile, Written};
use super::sweep_clock::SweepClock;

/// Commands that share a commit.
const BATCH: usize = 256;
/// Where so many come together, more are on their way. They are waited for once, since a commit
/// takes as much of the CPU as some eighteen rows.
const CROWD: usize = 8;
const CROWD_PAUSE: Duration = Duration::from_micros(200);
/// While a sweep has more to do, commands get a chance so often.
const SWEEP_PAUSE: Duration = Duration::from_millis(20);
/// What a probe writes: about what a few decisions take.
const PROBE_BYTES: usize = 32 << 10;

pub enum Message {
    Work(Job),
    /// Write what came before, and end.
    Close {
        closed: oneshot::Sender<()>,
        place: OwnedSemaphorePermit,
    },
    #[cfg(test)]
    Run {
        task: Box<dyn FnOnce(&mut Connection) + Send>,
        place: OwnedSemaphorePermit,
    },
}

pub struct Job {
    pub command: Command,
    pub answer: oneshot::Sender<Result<(), LogError>>,
    /// Its place in the queue, free again once it is answered.
    pub place: OwnedSemaphorePermit,
}

/// What the writer did since the start.
#[derive(Debug, Default)]
pub struct Counts {
    pub commands: AtomicU64,
    pub commits: AtomicU64,
}

pub struct Writer {
    pub file: LogFile,
    pub config: Config,
    pub inbox: Receiver<Message>,
    pub counts: Arc<Counts>,
    /// Why nothing can be recorded.
    pub trouble: watch::Sender<Option<LogError>>,
    /// What sweeps go by.
    pub clock: SweepClock,
    pub next_sweep: Instant,
    pub next_probe: Instant,
}

/// What a batch of messages holds beside work.
#[derive(Default)]
struct Batch {
    jobs: Vec<Job>,
    close: Option<oneshot::Sender<()>>,
}

impl Writer {
    pub fn run(mut self) {
        loop {
            let wait = self.next_wake().saturating_duration_since(Instant::now());
            let mut closing = None;
            match self.inbox.recv_timeout(wait) {
                Ok(first) => {
                    let batch = self.gather(first);
                    closing = batch.close;
                    self.serve(batch.jobs);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if let Some(closed) = closing {
                self.end();
                drop(self);
                let _ = closed.send(());
                return;
            }
            self.maintain();
        }
        self.end();
    }

    fn gather(&mut self, first: Message) -> Batch {
        let mut batch = Batch::default();
        let mut next = Some(first);
        let mut pause = Some(CROWD_PAUSE);
        while let Some(message) = next {
            match message {
                Message::Work(job) => batch.jobs.push(job),
                Message::Close { closed, place } => {
                    batch.close = Some(closed);
                    drop(place);
                    break;
                }
                #[cfg(test)]
                Message::Run { task, place } => {
                    task(&mut self.file.connection);
                    drop(place);
                }
            }
            if batch.jobs.len() >= BATCH {
                break;
            }
            next = self.inbox.try_recv().ok();
            if next.is_none()
                && batch.jobs.len() >= CROWD
                && let Some(pause) = pause.take()
            {
                std::thread::sleep(pause);
                next = self.inbox.try_recv().ok();
            }
        }
        batch
    }

    fn serve(&mut self, jobs: Vec<Job>) {
        if jobs.is_empty() {
            return;
        }
        let outcome = match self.refusal() {
            Some(error) => Err(error),
            None => self.commit(&jobs),
        };
        match outcome {
            Ok(answers) => {
                let commands = u64::try_from(jobs.len()).unwrap_or(u64::MAX);
                self.counts.commands.fetch_add(commands, Relaxed);
                for (job, answer) in jobs.into_iter().zip(answers) {
                    let _ = job.answer.send(answer);
                    drop(job.place);
                }
            }
            Err(error) => {
                for job in jobs {
                    let _ = job.answer.send(Err(error.clone()));
                    drop(job.place);
                }
            }
        }
    }

    /// Carries out all jobs with one commit: those that fail alone fail alone.
    fn commit(&mut self, jobs: &[Job]) -> Result<Vec<Result<(), LogError>>, LogError> {
        let window = i64::try_from(self.config.request_window.as_micros()).unwrap_or(i64::MAX);
        let mut answers = Vec::with_capacity(jobs.len());
        let outcome = self.write(|connection| {
            let begin = TransactionBehavior::Immediate;
            let transaction = connection.transaction_with_behavior(begin)?;
            // Savepoints cost as much as a small row, and hardly ever is one needed.
            if together(&transaction, jobs, window)? {
                answers.resize(jobs.len(), Ok(()));
                return transaction.commit();
            }
            transaction.rollback()?;
            let transaction = connection.transaction_with_behavior(begin)?;
            for job in jobs {
                answers.push(alone(&transaction, &job.command, window)?);
            }
            transaction.commit()
        });
        outcome?;
        self.counts.commits.fetch_add(1, Relaxed);
        Ok(answers)
    }

    /// Writes through the connection, and tells everyone whether that goes.
    fn write(
        &mut self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<()>,
    ) -> Result<(), LogError> {
        let file = &mut self.file;
        let written = file.verify().and_then(|()| {
            let done = work(&mut file.connection).map_err(|error| file.failed("write", &error));
            // Also after a failure: what was written of it is our own doing.
            let settled = file.settle(Written::Wal);
            done.and(settled)
        });
        match &written {
            Ok(()) => self.set_trouble(None),
            Err(error) => self.set_trouble(Some(error.clone())),
        }
        written
    }

    fn set_trouble(&mut self, trouble: Option<LogError>) {
        let reason = |trouble: &Option<LogError>| trouble.as_ref().map(LogError::to_string);
        let (old, new) = (reason(&self.trouble.borrow()), reason(&trouble));
        if old == new {
            return;
        }
        match new {
            Some(reason) => tracing::error!(reason, "decisions cannot be recorded"),
            None => tracing::info!("decisions can be recorded again"),
        }
        self.next_probe = Instant::now() + self.config.probe_every;
        self.trouble.send_replace(trouble);
    }

    pub fn next_wake(&self) -> Instant {
        // In trouble nothing is swept.
        if self.can_recover() {
            self.next_probe
        } else {
            self.next_sweep
        }
    }

    /// In trouble, but in none that only a restart ends.
    fn can_recover(&self) -> bool {
        let trouble = self.trouble.borrow();
        trouble.as_ref().is_some_and(|error| !error.is_final())
    }

    /// The trouble that only a restart ends.
    fn refusal(&self) -> Option<LogError> {
        let trouble = self.trouble.borrow();
        trouble.clone().filter(LogError::is_final)
    }

    fn maintain(&mut self) {
        if self.refusal().is_some() {
            self.next_sweep = Instant::now() + self.config.sweep_every;
            return;
        }
        if self.can_recover() {
            if Instant::now() >= self.next_probe {
                self.probe();
                self.next_probe = Instant::now() + self.config.probe_every;
            }
            return;
        }
        match self.file.wal_is_long() {
            Ok(false) => {}
            Ok(true) => {
                self.tend(|file| file.checkpoint());
            }
            Err(error) => self.not_tended(error),
        }
        if Instant::now() >= self.next_sweep {
            self.sweep();
        }
    }

    /// Sees whether a few decisions could be written now.
    fn probe(&mut self) {
        // It may free room in the WAL.
        self.tend(|file| file.checkpoint());
        self.try_to_write();
    }

    pub fn try_to_write(&mut self) {
        let filler = vec![0u8; PROBE_BYTES];
        let _ = self.write(|connection| {
            let sql = "INSERT OR REPLACE INTO probe (id, filler) VALUES (1, ?1)";
            connection.execute(sql, [filler])?;
            connection.execute("DELETE FROM probe", []).map(drop)
        });
    }

    fn sweep(&mut self) {
        let retention = self.config.retention;
        let ahead = self.clock.look(Instant::now(), SystemTime::now());
        if let Some(ahead) = ahead
            && retention.max_age.is_some()
        {
            tracing::warn!(
                seconds = ahead.as_secs(),
                "the clock has jumped ahead: decisions grow old by it once that has lasted a day"
            );
        }
        let now = self.clock.now();
        let swept = self.tend(|file| {
            let more = retention.sweep(&mut file.connection, now);
            let more = more.map_err(|error| file.failed("delete from", &error))?;
            file.checkpoint()?;
            Ok(more)
        });
        let more = swept.unwrap_or(false);
        let pause = if more {
            SWEEP_PAUSE
        } else {
            self.config.sweep_every
        };
        self.next_sweep = Instant::now() + pause;
    }

    /// Work that no caller waits for.
    fn tend<T>(&mut self, work: impl FnOnce(&mut LogFile) -> Result<T, LogError>) -> Option<T> {
        let file = &mut self.file;
        let outcome = file.verify().and_then(|()| {
            let done = work(file);
            file.settle(Written::Database).and(done)
        });
        outcome.map_err(|error| self.not_tended(error)).ok()
    }

    /// That hinders no decision, unless the file was found damaged or gone.
    fn not_tended(&mut self, error: LogError) {
        if error.is_final() {
            self.set_trouble(Some(error));
        } else {
            tracing::warn!(%error, "the decision log could not be maintained");
        }
    }

    fn end(&mut self) {
        if self.refusal().is_none()
            && let Err(error) = self.file.finish()
        {
            // The WAL stays, and the next start reads it.
            tracing::warn!(%error, "the decision log could not be tidied up");
        }
    }
}

impl Drop for Writer {
    /// Also after a panic.
    fn drop(&mut self) {
        if self.refusal().is_none() {
            self.trouble.send_replace(Some(LogError::Closed));
        }
    }
}

/// Carries out all commands, unless one of them fails. The error is of the file.
fn together(connection: &Connection, jobs: &[Job], window: i64) -> rusqlite::Result<bool> {
    for job in jobs {
        match job.command.apply(connection, window) {
            Ok(()) => {}
            Err(Refusal::Sqlite(error)) if is_of_file(&error) => return Err(error),
            Err(_) => return Ok(false),
        }
    }
    Ok(true)
}

/// One command in a savepoint. The outer error is of the file, and ends the transaction.
fn alone(
    connection: &Connection,
    command: &Command,
    request_window: i64,
) -> rusqlite::Result<Result<(), LogError>> {
    let run = |sql| connection.prepare_cached(sql)?.execute([]);
    run("SAVEPOINT one")?;
    let outcome = match command.apply(connection, request_window) {
        Ok(()) => Ok(()),
        Err(Refusal::Sqlite(error)) if is_of_file(&error) => return Err(error),
        Err(Refusal::Sqlite(error)) => Err(LogError::Unwritable(error.to_string().into())),
        Err(Refusal::Log(error)) => Err(error),
    };
    if outcome.is_err() {
        run("ROLLBACK TO one")?;
    }
    run("RELEASE one")?;
    Ok(outcome)
}

/// Not of one command, whose row does not fit the tables.
fn is_of_file(error: &rusqlite::Error) -> bool {
    !matches!(
        error.sqlite_error_code(),
        None | Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch)
    )
}
