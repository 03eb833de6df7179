//! Files that are read again when they change.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::EdgeError;
use crate::tokens::Tokens;

/// Small files that make one value together.
pub trait Source: Send + Sync + 'static {
    type Value: Send + Sync + 'static;

    fn paths(&self) -> Vec<&Path>;

    /// The contents come in the order of the paths.
    fn parse(&self, contents: &[Vec<u8>]) -> Result<Self::Value, EdgeError>;

    /// Warns of what can be used, and may not be meant.
    fn warn_of(&self, _value: &Self::Value) {}
}

/// A file of tokens.
impl Source for PathBuf {
    type Value = Tokens;

    fn paths(&self) -> Vec<&Path> {
        vec![self]
    }

    fn parse(&self, contents: &[Vec<u8>]) -> Result<Tokens, EdgeError> {
        let path = || self.clone();
        let bytes = contents.concat();
        let text = str::from_utf8(&bytes).map_err(|_| EdgeError::NotText { path: path() })?;
        Tokens::parse(text).map_err(|source| EdgeError::Tokens {
            path: path(),
            source,
        })
    }

    fn warn_of(&self, tokens: &Tokens) {
        if tokens.is_empty() {
            tracing::warn!(file = %self.display(), "no token is known: nobody is let in");
        }
    }
}

/// How often they are looked at. They are read, not asked for their time of change: so a
/// link that now points elsewhere is seen too.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The value of the files, kept up to date on a task of its own as long as somebody has
/// it. What cannot be read or used is told once and changes nothing.
pub fn watched<S: Source>(source: S) -> Result<watch::Receiver<Option<Arc<S::Value>>>, EdgeError> {
    let contents = read(&source)?;
    let value = Arc::new(source.parse(&contents)?);
    source.warn_of(&value);
    let (sender, receiver) = watch::channel(Some(value));
    tokio::spawn(follow(source, contents, sender));
    Ok(receiver)
}

async fn follow<S: Source>(
    source: S,
    contents: Vec<Vec<u8>>,
    sender: watch::Sender<Option<Arc<S::Value>>>,
) {
    let source = Arc::new(source);
    let files = names(&*source);
    // What was seen last, or why nothing was.
    let mut seen = Ok(contents);
    loop {
        tokio::select! {
            () = sender.closed() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let reader = Arc::clone(&source);
        let reading = tokio::task::spawn_blocking(move || read(&*reader));
        let Ok(now) = reading.await else { return };
        let now = now.map_err(|error| chain(&error));
        if now == seen {
            continue;
        }
        let value = match &now {
            Ok(contents) => source.parse(contents).map_err(|error| chain(&error)),
            Err(error) => Err(error.clone()),
        };
        match value {
            Ok(value) => {
                source.warn_of(&value);
                sender.send_replace(Some(Arc::new(value)));
                tracing::info!(files, "read again");
            }
            Err(error) => {
                tracing::error!(
                    files,
                    error,
                    "changed and cannot be used: what was read before still holds"
                )
            }
        }
        seen = now;
    }
}

fn read<S: Source>(source: &S) -> Result<Vec<Vec<u8>>, EdgeError> {
    let paths = source.paths().into_iter();
    let contents = paths.map(|path| {
        std::fs::read(path).map_err(|source| EdgeError::Read {
            path: path.to_owned(),
            source,
        })
    });
    contents.collect()
}

fn names<S: Source>(source: &S) -> String {
    let paths = source.paths().into_iter();
    let names: Vec<String> = paths.map(|path| path.display().to_string()).collect();
    names.join(", ")
}

fn chain(error: &EdgeError) -> String {
    let first: &dyn std::error::Error = error;
    let causes = std::iter::successors(Some(first), |error| error.source());
    let told: Vec<String> = causes.map(ToString::to_string).collect();
    told.join(": ")
}
