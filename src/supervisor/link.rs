//! What joins a supervisor and its daemon: a socket, which is the daemon's standard input.
//!
//! The daemon gets its listeners and the history over it. Then nothing more is said:
//! when the supervisor's end closes, be it that it wants the daemon to drain or that it died,
//! the daemon drains.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::io::AsyncReadExt;

use super::{History, Listeners};

/// Set for a daemon that a supervisor has started.
pub const MARK: &str = "JUDGED_SUPERVISED";

/// Listeners at the most.
const MOST: usize = 3;
/// A history takes some hundreds of bytes.
const MESSAGE_LIMIT: usize = 16 * 1024;

/// One end. Dropped, it tells the other.
#[derive(Debug)]
pub struct Link(UnixStream);

/// What a daemon gets from its supervisor.
#[derive(Debug)]
pub struct Inherited {
    pub listeners: Listeners,
    pub history: History,
}

#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("`{MARK}` is set, but standard input is no link to a supervisor: unset it")]
    NoLink(#[source] std::io::Error),
    #[error("the supervisor has handed over what cannot be read")]
    Unreadable(#[source] serde_json::Error),
    #[error("the supervisor has handed over too few listeners")]
    Few,
    #[error("a listener of the supervisor cannot be used")]
    Listener(#[source] std::io::Error),
}

/// A new link that holds all which its daemon is to get: our end, and the daemon's
/// standard input.
pub fn open(listeners: &Listeners, history: &History) -> std::io::Result<(Link, Stdio)> {
    let (own, other) = UnixStream::pair()?;
    let message = serde_json::to_vec(history)?;
    let fds = listeners.fds();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    rights.push(SendAncillaryMessage::ScmRights(&fds));
    // Small enough to go at once, into an empty socket.
    let message = [IoSlice::new(&message)];
    sendmsg(&own, &message, &mut rights, SendFlags::empty())?;
    Ok((Link(own), Stdio::from(OwnedFd::from(other))))
}

impl Link {
    /// Whether a supervisor has started this process.
    pub fn is_there() -> bool {
        std::env::var_os(MARK).is_some()
    }

    /// The link to it, and what it hands over, once. Needs a runtime of tokio.
    pub fn take() -> Result<(Self, Inherited), LinkError> {
        let stdin = std::io::stdin().as_fd().try_clone_to_owned();
        let link = UnixStream::from(stdin.map_err(LinkError::NoLink)?);
        let mut message = vec![0; MESSAGE_LIMIT];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
        let mut rights = RecvAncillaryBuffer::new(&mut space);
        let mut into = [IoSliceMut::new(&mut message)];
        let received = recvmsg(&link, &mut into, &mut rights, RecvFlags::CMSG_CLOEXEC)
            .map_err(|error| LinkError::NoLink(error.into()))?;
        message.truncate(received.bytes);
        let fds = rights.drain().filter_map(|handed| match handed {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        });
        let listeners = Listeners::of(fds.flatten().collect()).map_err(LinkError::Listener)?;
        Ok((
            Self(link),
            Inherited {
                listeners: listeners.ok_or(LinkError::Few)?,
                history: serde_json::from_slice(&message).map_err(LinkError::Unreadable)?,
            },
        ))
    }

    /// Until the supervisor wants an end, or is gone. Needs a runtime of tokio.
    pub async fn closed(self) {
        let link = self.0.set_nonblocking(true);
        let link = link.and_then(|()| tokio::net::UnixStream::from_std(self.0));
        // It says nothing more: whatever comes, or cannot come, is the end.
        if let Ok(mut link) = link {
            let _ = link.read(&mut [0]).await;
        }
    }
}
