//! A listener: connections within its limit.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Limits;
use super::connection;
use super::gate::Gate;
use super::quiet::Quiet;
use super::tls::ServerTls;

#[derive(Debug)]
pub struct Listener {
    pub limits: Limits,
    pub tls: watch::Receiver<Option<Arc<ServerTls>>>,
    pub gate: Gate,
}

/// After an accept that failed, as it does where no file descriptor is left.
const BREATH: Duration = Duration::from_millis(100);

impl Listener {
    /// Accepts until `stop`, then waits for the connections that are open. Dropped, it
    /// closes them.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(self.limits.connections));
        let server = Arc::new(self);
        let mut connections = JoinSet::new();
        loop {
            let (stream, addr) = tokio::select! {
                () = stop.cancelled() => break,
                Some(_) = connections.join_next() => continue,
                accepted = listener.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        if let Some(untold) = FAILED.due(Instant::now()) {
                            tracing::error!(%error, untold, "cannot accept a connection");
                        }
                        tokio::time::sleep(BREATH).await;
                        continue;
                    }
                },
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                if let Some(untold) = FULL.due(Instant::now()) {
                    let limit = server.limits.connections;
                    tracing::warn!(peer = %addr, limit, untold, "one connection too many: closed");
                }
                continue;
            };
            let (server, stop) = (Arc::clone(&server), stop.clone());
            connections.spawn(async move {
                let served = connection::serve(&server, stream, addr, stop).await;
                if let Err(error) = served
                    && let Some(untold) = BROKEN.due(Instant::now())
                {
                    tracing::info!(peer = %addr, %error, untold, "no connection came about");
                }
                drop(place);
            });
        }
        // The port is free for the next daemon while the last calls end.
        drop(listener);
        while connections.join_next().await.is_some() {}
    }
}

static FAILED: LazyLock<Quiet> = LazyLock::new(Quiet::default);
static FULL: LazyLock<Quiet> = LazyLock::new(Quiet::default);
static BROKEN: LazyLock<Quiet> = LazyLock::new(Quiet::default);
