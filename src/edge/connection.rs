//! One connection, from its handshake to its end.

use std::fmt;
use std::io::{self, Cursor};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::Limits;
use super::accept::Listener;
use super::activity::Activity;
use super::gate::Gate;

/// Who is at the other end.
#[derive(Clone, Debug)]
pub struct Peer {
    addr: SocketAddr,
    /// The beginning of the SHA-256 of the certificate that it showed.
    certificate: Option<String>,
}

impl Peer {
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// For a log: what the caller has shown, be it an address alone.
    pub fn name(&self) -> String {
        match &self.certificate {
            Some(hash) => format!("certificate {hash}"),
            None => self.addr.ip().to_string(),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.addr)
    }
}

/// Serves a connection until it ends, is idle for too long, or `stop` has come and its last
/// call is answered.
///
/// # Errors
/// A handshake that fails, or is not done in time.
pub async fn serve(
    listener: &Listener,
    stream: TcpStream,
    addr: SocketAddr,
    stop: CancellationToken,
) -> io::Result<()> {
    // Else the second packet of an answer waits until the caller has acknowledged the first:
    // some 40 ms.
    stream.set_nodelay(true)?;
    let limits = listener.limits;
    let end = tokio::time::Instant::now() + limits.handshake;
    let mut peer = Peer {
        addr,
        certificate: None,
    };
    let tls = listener.tls.borrow().clone();
    match tls {
        None => {
            let io = within(end, speak(stream)).await?;
            run(listener.gate.clone(), io, peer, limits, stop).await;
        }
        Some(tls) => {
            let acceptor = TlsAcceptor::from(Arc::clone(&tls.config));
            let stream = within(end, acceptor.accept(stream)).await?;
            let (_, tls) = stream.get_ref();
            let shown = tls.peer_certificates().and_then(<[_]>::first);
            peer.certificate = shown.map(|certificate| {
                let mut hash = const_hex::encode(Sha256::digest(certificate));
                hash.truncate(16);
                hash
            });
            let io = within(end, speak(stream)).await?;
            run(listener.gate.clone(), io, peer, limits, stop).await;
        }
    }
    Ok(())
}

async fn within<T>(
    end: tokio::time::Instant,
    step: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    match tokio::time::timeout_at(end, step).await {
        Ok(outcome) => outcome,
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the handshake was not done in time",
        )),
    }
}

/// What every HTTP/2 client says first.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Reads the preface, which hyper would await for ever, and gives it back with the rest.
async fn speak<IO: AsyncRead + AsyncWrite>(
    io: IO,
) -> io::Result<impl AsyncRead + AsyncWrite + Unpin> {
    let (mut reader, writer) = tokio::io::split(io);
    let mut preface = [0; PREFACE.len()];
    reader.read_exact(&mut preface).await?;
    if &preface != PREFACE {
        let what = "it speaks no HTTP/2";
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    Ok(tokio::io::join(Cursor::new(preface).chain(reader), writer))
}

/// How much of a connection's requests waits in memory, unread by their calls.
const WINDOW: u32 = 1 << 20;
/// A stream's share of it.
const STREAM_WINDOW: u32 = 256 << 10;
/// How much of its answers waits for a reader who does not read, a stream.
const SEND_BUFFER: usize = 128 << 10;
/// All header fields of a call together, in bytes as HTTP/2 counts them.
const HEADER_LIST: u32 = 16 << 10;
/// Streams that were reset before they could be looked at: with one more the connection
/// is closed. This is what ends a rapid reset.
const PENDING_RESETS: usize = 20;
/// The same for streams that we reset, for what the peer does wrong in them.
const OWN_RESETS: usize = 64;
/// How long a connection without calls may take to close.
const GRACE: Duration = Duration::from_secs(5);

async fn run(
    gate: Gate,
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    limits: Limits,
    stop: CancellationToken,
) {
    let activity = Activity::new();
    let calls = activity.clone();
    let service =
        service_fn(move |request| gate.clone().call(request, peer.clone(), calls.clone()));
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(limits.keepalive)
        .keep_alive_timeout(limits.keepalive)
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(HEADER_LIST)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(OWN_RESETS)
        .initial_connection_window_size(WINDOW)
        .initial_stream_window_size(STREAM_WINDOW)
        .max_send_buf_size(SEND_BUFFER);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(io), service));
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
        () = activity.idle(limits.idle) => connection.as_mut().graceful_shutdown(),
    }
    // A call that comes with the goodbye is still answered.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = activity.idle(GRACE) => {}
    }
}
