//! A few readers for the daemon's questions, each asked on a thread that may block.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::error::LogError;
use super::reader::Reader;

/// Questions of a kind that are answered at the same time.
const READERS: usize = 4;

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
    idle: Mutex<Vec<Reader>>,
    closing: CancellationToken,
    at_work: TaskTracker,
}

impl Readers {
    pub fn new(path: PathBuf, trouble: watch::Receiver<Option<LogError>>) -> Self {
        let shared = Shared {
            path,
            look_ups: Arc::new(Semaphore::new(READERS)),
            scans: Arc::new(Semaphore::new(READERS)),
            idle: Mutex::default(),
            closing: CancellationToken::new(),
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
        let enough = self.shared.closing.child_token();
        let _until_asker_leaves = enough.clone().drop_guard();
        let shared = Arc::clone(&self.shared);
        let answer = self.shared.at_work.spawn_blocking(move || {
            let answer = shared.answer(enough, question);
            drop(place);
            answer
        });
        answer.await.unwrap_or(Err(LogError::Closed))
    }

    /// Closes the connections; questions under way are interrupted.
    pub async fn close(&self) {
        self.shared.look_ups.close();
        self.shared.scans.close();
        self.shared.closing.cancel();
        self.shared.at_work.close();
        self.shared.at_work.wait().await;
        self.shared.idle().clear();
    }
}

impl Shared {
    /// Reads until it is `enough`.
    fn answer<T>(
        &self,
        enough: CancellationToken,
        question: impl FnOnce(&Reader) -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        if enough.is_cancelled() {
            return Err(LogError::Closed);
        }
        let idle = self.idle().pop();
        let mut reader = match idle {
            Some(reader) => reader,
            None => Reader::open(&self.path)?,
        };
        reader.read_until(enough)?;
        let answer = question(&reader);
        if answer.is_err() && self.closing.is_cancelled() {
            return Err(LogError::Closed);
        }
        // A reader that has failed is not asked again.
        if !answer.as_ref().is_err_and(LogError::is_of_storage) {
            self.idle().push(reader);
        }
        answer
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Reader>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
