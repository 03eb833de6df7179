//! The durable record of decisions: one SQLite file, one thread that writes.
//!
//! What `record` and its like have returned from survives a crash of the
//! process and of the machine. Dropping a future loses nothing: what has its
//! place in the queue is written. When the last handle is gone, the thread
//! writes what waits and ends.

mod command;
mod error;
mod file;
mod filter;
mod mask;
mod meter;
mod outcome;
mod reader;
mod readers;
mod record;
mod retention;
mod row;
mod schema;
mod spot_check;
mod stored;
mod subject;
mod sweep_clock;
#[cfg(test)]
mod tests;
mod time;
mod writer;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use self::command::Command;
use self::file::{BUSY_TIMEOUT, LogFile};
use self::readers::Readers;
use self::sweep_clock::SweepClock;
use self::writer::{Counts, Job, Message, Writer};

pub use self::command::OUTCOMES_LIMIT;
pub use self::error::LogError;
pub use self::filter::Filter;
pub use self::mask::{DEFAULT_PATH, MASKED, Mask, MaskError};
pub use self::meter::{DecisionLabels, Meter};
pub use self::outcome::{Finding, FindingKind, Outcome};
pub use self::reader::{Contents, PAGE_LIMIT, Page, Reader};
pub use self::record::{Completion, Entry, Origin, Record, Recorded, ShadowAnswer};
pub use self::retention::Retention;
pub use self::spot_check::{ProbeScore, SpotCheck};
pub use self::subject::{Content, Subject};

/// The file's name in the state folder.
pub const FILE_NAME: &str = "decisions.db";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    pub retention: Retention,
    /// A request id stands for one decision for so long.
    pub request_window: Duration,
    /// Commands that wait to be written; callers beyond wait for a place.
    pub queue: usize,
    /// How often a log in trouble is tried.
    pub probe_every: Duration,
    /// How often old decisions are looked for.
    pub sweep_every: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            retention: Retention::default(),
            request_window: Duration::from_hours(24),
            queue: 256,
            probe_every: Duration::from_secs(1),
            sweep_every: Duration::from_secs(60),
        }
    }
}

/// A handle on the log, and on its thread.
#[derive(Clone)]
pub struct DecisionLog {
    messages: SyncSender<Message>,
    places: Arc<Semaphore>,
    readers: Readers,
    trouble: watch::Receiver<Option<LogError>>,
    counts: Arc<Counts>,
    meter: Meter,
    path: Arc<Path>,
}

/// What was written since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    pub commands: u64,
    /// Each made all commands durable that waited at that moment.
    pub commits: u64,
}

impl DecisionLog {
    /// Opens or makes the file, reads all of it to see that it is whole, and
    /// starts the thread. Blocks meanwhile.
    pub fn open(path: &Path, config: Config) -> Result<Self, LogError> {
        let file = LogFile::open(path)?;
        let path = file.path().to_owned();
        let (trouble_sender, trouble) = watch::channel(None);
        let queue = config.queue.max(1);
        // Places bound the queue; the channel itself never fills up.
        let (messages, inbox) = sync_channel(queue);
        let counts = Arc::new(Counts::default());
        let now = Instant::now();
        let mut writer = Writer {
            file,
            config,
            inbox,
            counts: Arc::clone(&counts),
            trouble: trouble_sender,
            clock: SweepClock::new(now, SystemTime::now()),
            next_sweep: now,
            next_probe: now,
        };
        // Whoever asks for the health must not have to wait for the first decision, nor the start for
        // a lock of another process.
        writer.file.wait_for_locks(Duration::from_millis(100))?;
        writer.try_to_write();
        writer.file.wait_for_locks(BUSY_TIMEOUT)?;
        std::thread::Builder::new()
            .name("decision-log".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| LogError::io("start the thread of", &path, error))?;
        Ok(Self {
            messages,
            places: Arc::new(Semaphore::new(queue)),
            path: Arc::from(path.as_path()),
            readers: Readers::new(path, trouble.clone()),
            trouble,
            counts,
            meter: Meter::default(),
        })
    }

    /// Why nothing can be recorded at the moment; `None` where it can.
    pub fn health(&self) -> watch::Receiver<Option<LogError>> {
        self.trouble.clone()
    }

    pub fn written(&self) -> Written {
        Written {
            commands: self.counts.commands.load(Relaxed),
            commits: self.counts.commits.load(Relaxed),
        }
    }

    /// The decisions since the start, by what they were.
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// What the file and its WAL take on the disk, in bytes.
    pub fn bytes(&self) -> u64 {
        let mut wal = self.path.as_os_str().to_owned();
        wal.push("-wal");
        let files = [self.path.as_os_str(), &wal].into_iter();
        files
            .filter_map(|path| std::fs::metadata(path).ok())
            .map(|file| file.len())
            .sum()
    }

    /// Records a decision: it is durable when this returns.
    pub async fn record(&self, record: Record) -> Result<(), LogError> {
        let traffic = record.origin == Origin::Traffic;
        let labels = DecisionLabels::of(&record.decision);
        self.write(Command::record(record)?).await?;
        if traffic {
            self.meter.decisions.get_or_create(&labels).inc();
        }
        Ok(())
    }

    /// Fills in what a decision still waits for that was recorded with
    /// [`Record::rationale_pending`].
    pub async fn complete(
        &self,
        decision_id: &str,
        completion: Completion,
    ) -> Result<(), LogError> {
        self.write(Command::complete(decision_id, completion)?)
            .await
    }

    /// Adds what the model said to a decision of the rules.
    pub async fn attach_shadow(
        &self,
        decision_id: &str,
        answer: &ShadowAnswer,
    ) -> Result<(), LogError> {
        self.write(Command::attach_shadow(decision_id, answer)?)
            .await
    }

    /// Adds what a person found of a decision.
    pub async fn report(&self, outcome: Outcome) -> Result<(), LogError> {
        self.write(Command::Report(outcome)).await
    }

    pub async fn record_spot_check(&self, check: SpotCheck) -> Result<(), LogError> {
        self.write(Command::spot_check(check)?).await
    }

    /// Keeps a small document in the place of the one that the key had.
    pub async fn put_state(&self, key: &str, value: &Value) -> Result<(), LogError> {
        self.write(Command::put_state(key, value)).await
    }

    pub async fn state(&self, key: &str) -> Result<Option<Value>, LogError> {
        let key = key.to_owned();
        self.readers.look_up(move |reader| reader.state(&key)).await
    }

    /// One decision, whole.
    pub async fn get(&self, decision_id: &str) -> Result<Option<Entry>, LogError> {
        let id = decision_id.to_owned();
        self.readers.look_up(move |reader| reader.get(&id)).await
    }

    /// The newest first. An empty token begins the list. Pages with contents are
    /// small, since these may be long.
    pub async fn list(
        &self,
        filter: Filter,
        contents: Contents,
        page_size: usize,
        page_token: &str,
    ) -> Result<Page, LogError> {
        let token = page_token.to_owned();
        let page_size = page_size.min(reader::page_limit(contents));
        let list = move |reader: &Reader| reader.list(&filter, contents, page_size, &token);
        self.readers.scan(list).await
    }

    /// The newest decision for a request id that was received then or later.
    pub async fn find_request(
        &self,
        request_id: &str,
        since: SystemTime,
    ) -> Result<Option<Recorded>, LogError> {
        let id = request_id.to_owned();
        self.readers
            .look_up(move |reader| reader.find_request(&id, since))
            .await
    }

    pub async fn last_spot_check(&self) -> Result<Option<SpotCheck>, LogError> {
        self.readers.look_up(Reader::last_spot_check).await
    }

    /// How the model did on each probe, by the last reports of decisions that were
    /// received then or later.
    pub async fn reported_accuracy(
        &self,
        since: SystemTime,
    ) -> Result<BTreeMap<String, ProbeScore>, LogError> {
        let ask = move |reader: &Reader| reader.reported_accuracy(since);
        self.readers.scan(ask).await
    }

    /// Interrupts what is read, writes what waits, and closes the file. Other handles get
    /// [`LogError::Closed`] from then on.
    pub async fn close(&self) {
        self.readers.close().await;
        let (closed, done) = oneshot::channel();
        if let Ok(place) = self.place().await
            && self
                .messages
                .try_send(Message::Close { closed, place })
                .is_ok()
        {
            let _ = done.await;
        }
    }

    async fn write(&self, command: Command) -> Result<(), LogError> {
        let (answer, written) = oneshot::channel();
        let place = self.place().await?;
        let job = Job {
            command,
            answer,
            place,
        };
        self.messages
            .try_send(Message::Work(job))
            .map_err(|_| LogError::Closed)?;
        written.await.unwrap_or(Err(LogError::Closed))
    }

    async fn place(&self) -> Result<OwnedSemaphorePermit, LogError> {
        let place = Arc::clone(&self.places).acquire_owned().await;
        place.map_err(|_| LogError::Closed)
    }

    /// Runs something on the writer's connection.
    #[cfg(test)]
    async fn run(&self, task: impl FnOnce(&mut rusqlite::Connection) + Send + 'static) {
        let (done, wait) = oneshot::channel();
        let task = move |connection: &mut rusqlite::Connection| {
            task(connection);
            let _ = done.send(());
        };
        let place = self.place().await.unwrap();
        self.messages
            .try_send(Message::Run {
                task: Box::new(task),
                place,
            })
            .unwrap();
        wait.await.unwrap();
    }
}
