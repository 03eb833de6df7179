//! What stands between the network and the services: TLS, tokens, limits.
//!
//! A connection is accepted, proves itself by TLS where that is asked for, speaks HTTP/2,
//! and each of its calls shows a token where that is asked for. All of it has a limit in
//! time and number, so that nobody can hold more than a bounded part of the daemon.

mod accept;
mod activity;
mod connection;
mod error;
mod gate;
mod quiet;
mod reload;
mod tls;
mod unary;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use self::accept::Listener;
pub use self::error::EdgeError;
use self::gate::Gate;
use self::tls::ServerTls;
pub use self::tls::TlsFiles;
use crate::rpc::meter::Meter;
use crate::tokens::Current;

#[derive(Clone, Debug)]
pub struct Config {
    pub guard: Guard,
    pub limits: Limits,
}

/// What keeps strangers out.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    /// None means plaintext.
    pub tls: Option<TlsFiles>,
    /// The file of tokens; none means that no call needs one.
    pub tokens: Option<PathBuf>,
}

impl Guard {
    /// Whoever connects may do all.
    pub fn is_open(&self) -> bool {
        let has_client_ca = self.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        self.tokens.is_none() && !has_client_ca
    }

    /// Nobody reads along, and nobody unknown asks.
    pub fn keeps_strangers_out(&self) -> bool {
        self.tls.is_some() && !self.is_open()
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections of one listener; one more is closed at once.
    pub connections: usize,
    /// Calls under way on one listener, health checks aside; one more is refused.
    pub calls: usize,
    /// Streams of one connection.
    pub streams: u32,
    /// TLS and the first bytes of HTTP/2 must be there by then.
    pub handshake: Duration,
    /// A unary call's answer, its message's arrival included.
    pub call: Duration,
    /// A connection without a call is closed after this.
    pub idle: Duration,
    /// Pings are this far apart, and an answer may take as long.
    pub keepalive: Duration,
}

/// The edge of one daemon; its listeners share certificates and tokens.
#[derive(Debug)]
pub struct Edge {
    limits: Limits,
    tls: watch::Receiver<Option<Arc<ServerTls>>>,
    tokens: Current,
    meter: Meter,
}

/// The certificate that is served at the moment, if one is.
#[derive(Clone, Debug)]
pub struct Certificate(watch::Receiver<Option<Arc<ServerTls>>>);

impl Certificate {
    pub fn expires(&self) -> Option<SystemTime> {
        self.0.borrow().as_ref().and_then(|tls| tls.expires)
    }
}

impl Edge {
    /// Reads certificates and tokens, and goes on reading them when they change, as long
    /// as the edge or one of its listeners lives.
    ///
    /// # Errors
    /// A file that cannot be read or used.
    pub fn open(config: &Config, meter: Meter) -> Result<Self, EdgeError> {
        let tls = match &config.guard.tls {
            Some(files) => reload::watched(files.clone())?,
            None => watch::channel(None).1,
        };
        let tokens = match &config.guard.tokens {
            Some(path) => reload::watched(path.clone())?,
            None => watch::channel(None).1,
        };
        Ok(Self {
            limits: config.limits,
            tls,
            tokens,
            meter,
        })
    }

    pub fn certificate(&self) -> Certificate {
        Certificate(self.tls.clone())
    }

    /// Serves until `stop`, then until the last call is answered. Aborted, it cuts all
    /// connections.
    pub fn serve(
        &self,
        listener: TcpListener,
        routes: Routes,
        stop: CancellationToken,
    ) -> JoinHandle<()> {
        let server = Listener {
            limits: self.limits,
            tls: self.tls.clone(),
            gate: Gate {
                tokens: self.tokens.clone(),
                calls: Arc::new(Semaphore::new(self.limits.calls)),
                routes: routes.prepare(),
                patience: self.limits.call,
                meter: self.meter.clone(),
            },
        };
        tokio::spawn(server.serve(listener, stop))
    }
}
