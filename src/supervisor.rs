//! A parent process that starts the daemon again when it crashes.
//!
//! llama.cpp ends its process where it meets what it did not expect. The supervisor holds the
//! listening sockets, so that whoever connects while no daemon runs waits instead of being
//! refused, and does nothing else that could fail. A daemon that ended by itself has said
//! why, and is not started again; one that a signal ended, or a panic, has crashed.

mod cause;
mod crashes;
mod ending;
mod history;
mod link;
mod listeners;

use std::process::ExitStatus;
use std::time::{Duration, Instant, SystemTime};

use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};

pub use self::cause::Cause;
use self::crashes::Crashes;
pub use self::ending::Ending;
pub use self::history::{History, Last};
pub use self::link::{Inherited, Link, LinkError, MARK};
pub use self::listeners::{ListenError, Listeners};

/// How often is too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// So many crashes are put up with; one more ends the supervisor.
    pub crashes: u32,
    /// Those that are longer ago than this do not count.
    pub window: Duration,
}

/// How a supervisor ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// As the daemon did, by its own will or since it was asked to.
    Exited(u8),
    /// The daemon crashed too often; why it did the last time.
    GaveUp { last: String },
}

#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    #[error("cannot wait for signals")]
    Signals(#[source] std::io::Error),
    #[error("cannot make the link to the daemon")]
    Link(#[source] std::io::Error),
    #[error("cannot start the daemon")]
    Start(#[source] std::io::Error),
    #[error("cannot wait for the daemon")]
    Wait(#[source] std::io::Error),
}

/// Starts what `command` gives, again and again, until it ends by itself, crashes too often, or
/// SIGTERM or SIGINT comes: then it is asked to drain. A second signal kills it. Where the
/// supervisor itself is killed, the daemon notices, and drains.
pub async fn supervise(
    listeners: Listeners,
    limit: Limit,
    command: impl Fn() -> std::process::Command,
) -> Result<End, SupervisorError> {
    let mut signals = Signals::new().map_err(SupervisorError::Signals)?;
    let mut history = History::default();
    let mut crashes = Crashes::new(limit);
    loop {
        let (mut daemon, link) = start(command(), &listeners, &history)?;
        tracing::info!(pid = daemon.id(), "the daemon is started");
        let status = tokio::select! {
            status = daemon.wait() => status.map_err(SupervisorError::Wait)?,
            () = signals.next() => return stop(daemon, link, listeners, signals).await,
        };
        let Some(cause) = Cause::of(status) else {
            return Ok(End::Exited(code(status)));
        };
        let last = cause::told(status);
        let Some(pause) = crashes.note(Instant::now()) else {
            return Ok(End::GaveUp { last });
        };
        history.note(cause, &last, SystemTime::now());
        tracing::error!(
            restarts = history.count(),
            pause_seconds = pause.as_secs_f64(),
            "the daemon crashed, and is started again: {last}"
        );
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = signals.next() => return Ok(End::Exited(0)),
        }
    }
}

fn start(
    mut command: std::process::Command,
    listeners: &Listeners,
    history: &History,
) -> Result<(Child, Link), SupervisorError> {
    let (link, stdin) = link::open(listeners, history).map_err(SupervisorError::Link)?;
    command.env(MARK, "1").stdin(stdin);
    let daemon = Command::from(command).kill_on_drop(true).spawn();
    Ok((daemon.map_err(SupervisorError::Start)?, link))
}

/// Lets the daemon drain.
async fn stop(
    mut daemon: Child,
    link: Link,
    listeners: Listeners,
    mut signals: Signals,
) -> Result<End, SupervisorError> {
    // Whoever connects now is refused as soon as the daemon no longer listens.
    drop(listeners);
    drop(link);
    tokio::select! {
        status = daemon.wait() => {
            Ok(End::Exited(code(status.map_err(SupervisorError::Wait)?)))
        }
        () = signals.next() => {
            tracing::warn!("a second signal: the daemon is killed");
            daemon.kill().await.map_err(SupervisorError::Wait)?;
            Ok(End::Exited(1))
        }
    }
}

/// 1 where a signal ended it.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    code.unwrap_or(1)
}

/// Those that ask for an end: SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
