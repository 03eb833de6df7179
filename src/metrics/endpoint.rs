//! `GET /metrics`, on a listener of its own.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use super::{Format, Metrics};

/// Connections at the same time: one more closes the oldest, so that a scraper gets in however
/// many say nothing.
const CONNECTIONS: usize = 64;
/// A connection is for one scrape, from its beginning to the answer's last byte.
const LONGEST: Duration = Duration::from_secs(10);
/// After an accept that failed, as it does where no file descriptor is left.
const BREATH: Duration = Duration::from_secs(1);

/// Answers until `stop`, then closes what is idle.
pub async fn serve(listener: TcpListener, metrics: Metrics, stop: CancellationToken) {
    let routes = Router::new()
        .route("/metrics", get(scrape))
        .with_state(Arc::new(metrics));
    let mut connections = JoinSet::new();
    let mut by_age: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::error!(%error, "cannot accept a connection for metrics");
                    tokio::time::sleep(BREATH).await;
                    continue;
                }
            },
        };
        by_age.retain(|connection| !connection.is_finished());
        if by_age.len() >= CONNECTIONS
            && let Some(oldest) = by_age.pop_front()
        {
            oldest.abort();
        }
        let connection = answer(stream, routes.clone(), stop.clone());
        by_age.push_back(connections.spawn(async move {
            let _ = tokio::time::timeout(LONGEST, connection).await;
        }));
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Answers one request; whoever breaks off knows why.
async fn answer(stream: TcpStream, routes: Router, stop: CancellationToken) {
    let service = service_fn(move |request| routes.clone().call(request));
    let mut builder = http1::Builder::new();
    let connection = builder
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

async fn scrape(State(metrics): State<Arc<Metrics>>, headers: HeaderMap) -> Response {
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let format = Format::accepted(accept.unwrap_or_default());
    match metrics.write(format) {
        Ok(page) => ([(CONTENT_TYPE, format.content_type())], page).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
