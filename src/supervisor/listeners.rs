//! The sockets on which a daemon listens.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use tokio::net::TcpListener;

#[derive(Debug)]
pub struct Listeners {
    pub judge: TcpListener,
    pub control: TcpListener,
    pub metrics: Option<TcpListener>,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot listen on `{addr}`")]
pub struct ListenError {
    addr: SocketAddr,
    source: std::io::Error,
}

impl Listeners {
    /// Needs a runtime of tokio, as does all that makes some.
    pub async fn bind(
        judge: SocketAddr,
        control: SocketAddr,
        metrics: Option<SocketAddr>,
    ) -> Result<Self, ListenError> {
        Ok(Self {
            judge: listen(judge).await?,
            control: listen(control).await?,
            metrics: match metrics {
                Some(addr) => Some(listen(addr).await?),
                None => None,
            },
        })
    }

    pub(super) fn fds(&self) -> Vec<BorrowedFd<'_>> {
        let metrics = self.metrics.iter().map(AsFd::as_fd);
        let both = [self.judge.as_fd(), self.control.as_fd()];
        both.into_iter().chain(metrics).collect()
    }

    /// In the order of [`fds`](Self::fds); `None` if they are too few.
    pub(super) fn of(fds: Vec<OwnedFd>) -> std::io::Result<Option<Self>> {
        let mut listeners = fds.into_iter().map(|fd| {
            let listener = std::net::TcpListener::from(fd);
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        });
        let (Some(judge), Some(control)) = (listeners.next(), listeners.next()) else {
            return Ok(None);
        };
        Ok(Some(Self {
            judge: judge?,
            control: control?,
            metrics: listeners.next().transpose()?,
        }))
    }
}

async fn listen(addr: SocketAddr) -> Result<TcpListener, ListenError> {
    let bound = TcpListener::bind(addr).await;
    bound.map_err(|source| ListenError { addr, source })
}
