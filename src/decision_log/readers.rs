//! A few readers for the daemon's questions, each asked on a thread that may block.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Semaphore, watch};

use super::error::LogError;
use super::reader::Reader;

/// Questions that are answered at the same time.
const READERS: usize = 4;

#[derive(Clone)]
pub struct Readers {
    shared: Arc<Shared>,
    trouble: watch::Receiver<Option<LogError>>,
}

struct Shared {
    path: PathBuf,
    places: Arc<Semaphore>,
    idle: Mutex<Vec<Reader>>,
}

impl Readers {
    pub fn new(path: PathBuf, trouble: watch::Receiver<Option<LogError>>) -> Self {
        let shared = Shared {
            path,
            places: Arc::new(Semaphore::new(READERS)),
            idle: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
            trouble,
        }
    }

    /// A file that is damaged, gone or closed answers nothing.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Reader) -> Result<T, LogError> + Send + 'static,
    ) -> Result<T, LogError> {
        if let Some(error) = self.trouble.borrow().clone().filter(LogError::is_final) {
            return Err(error);
        }
        let place = Arc::clone(&self.shared.places).acquire_owned().await;
        let place = place.map_err(|_| LogError::Closed)?;
        let shared = Arc::clone(&self.shared);
        let answer = tokio::task::spawn_blocking(move || {
            let reader = match shared.take() {
                Some(reader) => reader,
                None => Reader::open(&shared.path)?,
            };
            let answer = question(&reader);
            // A reader that has failed is not asked again.
            if !answer.as_ref().is_err_and(LogError::is_of_storage) {
                shared.give_back(reader);
            }
            drop(place);
            answer
        });
        answer.await.unwrap_or(Err(LogError::Closed))
    }

    /// Closes the connections; questions under way end first.
    pub async fn close(&self) {
        let all = u32::try_from(READERS).unwrap_or(u32::MAX);
        if let Ok(places) = self.shared.places.acquire_many(all).await {
            places.forget();
        }
        self.shared.places.close();
        while self.shared.take().is_some() {}
    }
}

impl Shared {
    fn take(&self) -> Option<Reader> {
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop()
    }

    fn give_back(&self, reader: Reader) {
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(reader);
    }
}
