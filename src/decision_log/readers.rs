//! A few readers for the daemon's questions, each asked on a thread that may block.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::InterruptHandle;
use tokio::sync::{Semaphore, watch};
use tokio_util::task::TaskTracker;

use super::error::LogError;
use super::reader::Reader;

/// Questions of a kind that are answered at the same time.
const READERS: usize = 4;
/// How often those that go on are interrupted again, once the log is closed.
const AGAIN: Duration = Duration::from_millis(10);

#[derive(Clone)]
pub struct Readers {
    shared: Arc<Shared>,
    trouble: watch::Receiver<Option<LogError>>,
}

struct Shared {
    path: PathBuf,
    /// For what is found by its key. Requests wait for it, and it waits for no list.
    look_ups: Arc<Semaphore>,
    /// For what may read all of the file.
    scans: Arc<Semaphore>,
    state: Mutex<State>,
    at_work: TaskTracker,
}

#[derive(Default)]
struct State {
    idle: Vec<Reader>,
    running: HashMap<u64, Running>,
    next: u64,
    closed: bool,
}

/// A question under way.
#[derive(Default)]
struct Running {
    /// None until it has its reader.
    reader: Option<InterruptHandle>,
    /// Nobody waits for the answer.
    left: bool,
}

impl Readers {
    pub fn new(path: PathBuf, trouble: watch::Receiver<Option<LogError>>) -> Self {
        let shared = Shared {
            path,
            look_ups: Arc::new(Semaphore::new(READERS)),
            scans: Arc::new(Semaphore::new(READERS)),
            state: Mutex::default(),
            at_work: TaskTracker::new(),
        };
        Self {
            shared: Arc::new(shared),
            trouble,
        }
    }

    /// Asks for what is found by its key. A file that is damaged, gone or closed answers
    /// nothing; a question whose asker leaves is interrupted.
    pub async fn look_up<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Reader) -> Result<T, LogError> + Send + 'static,
    ) -> Result<T, LogError> {
        self.ask(&self.shared.look_ups, question).await
    }

    /// The same for what may read all of the file.
    pub async fn scan<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Reader) -> Result<T, LogError> + Send + 'static,
    ) -> Result<T, LogError> {
        self.ask(&self.shared.scans, question).await
    }

    async fn ask<T: Send + 'static>(
        &self,
        places: &Arc<Semaphore>,
        question: impl FnOnce(&Reader) -> Result<T, LogError> + Send + 'static,
    ) -> Result<T, LogError> {
        if let Some(error) = self.trouble.borrow().clone().filter(LogError::is_final) {
            return Err(error);
        }
        let place = Arc::clone(places).acquire_owned().await;
        let place = place.map_err(|_| LogError::Closed)?;
        let id = self.shared.state().enter();
        let _asker = Asker {
            shared: &self.shared,
            id,
        };
        let shared = Arc::clone(&self.shared);
        let answer = self.shared.at_work.spawn_blocking(move || {
            let answer = shared.answer(id, question);
            shared.state().running.remove(&id);
            drop(place);
            answer
        });
        answer.await.unwrap_or(Err(LogError::Closed))
    }

    /// Closes the connections; questions under way are interrupted.
    pub async fn close(&self) {
        self.shared.look_ups.close();
        self.shared.scans.close();
        self.shared.state().closed = true;
        self.shared.at_work.close();
        // One that was about to begin has not noticed the first time.
        loop {
            self.shared.state().interrupt_all();
            let ended = tokio::time::timeout(AGAIN, self.shared.at_work.wait()).await;
            if ended.is_ok() {
                break;
            }
        }
        self.shared.state().idle.clear();
    }
}

/// Who waits for an answer; dropped, it interrupts a question that still runs.
struct Asker<'s> {
    shared: &'s Shared,
    id: u64,
}

impl Drop for Asker<'_> {
    fn drop(&mut self) {
        if let Some(running) = self.shared.state().running.get_mut(&self.id) {
            running.left = true;
            running.interrupt();
        }
    }
}

impl Shared {
    fn answer<T>(
        &self,
        id: u64,
        question: impl FnOnce(&Reader) -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        let idle = self.state().idle.pop();
        let reader = match idle {
            Some(reader) => reader,
            None => Reader::open(&self.path)?,
        };
        if !self.state().begin(id, &reader) {
            return Err(LogError::Closed);
        }
        let answer = question(&reader);
        let mut state = self.state();
        // Nobody interrupts what this reader is asked next.
        state.running.remove(&id);
        if state.closed && answer.is_err() {
            return Err(LogError::Closed);
        }
        // A reader that has failed is not asked again.
        if !state.closed && !answer.as_ref().is_err_and(LogError::is_of_storage) {
            state.idle.push(reader);
        }
        answer
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn enter(&mut self) -> u64 {
        self.next += 1;
        self.running.insert(self.next, Running::default());
        self.next
    }

    /// Whether somebody still wants the answer.
    fn begin(&mut self, id: u64, reader: &Reader) -> bool {
        let Some(running) = self.running.get_mut(&id) else {
            return false;
        };
        running.reader = Some(reader.interrupt_handle());
        !running.left && !self.closed
    }

    fn interrupt_all(&self) {
        for running in self.running.values() {
            running.interrupt();
        }
    }
}

impl Running {
    fn interrupt(&self) {
        if let Some(reader) = &self.reader {
            reader.interrupt();
        }
    }
}
