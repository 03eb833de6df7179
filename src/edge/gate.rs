//! What each call passes: its token, its place, its time.

use std::convert::Infallible;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::sync::Semaphore;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::transport::server::TcpConnectInfo;
use tower_service::Service;
use tracing::Instrument as _;

use super::activity::{Activity, Answer, Call};
use super::connection::Peer;
use super::quiet::Quiet;
use super::unary::Unary;
use crate::rpc::meter::Meter;
use crate::rpc::status::Failure;
use crate::tokens::{Current, Denied, Pass, Scope};

/// The services of a listener, and what guards them.
#[derive(Clone, Debug)]
pub struct Gate {
    pub tokens: Current,
    pub calls: Arc<Semaphore>,
    pub routes: Routes,
    pub patience: Duration,
    pub meter: Meter,
}

impl Gate {
    pub async fn call(
        mut self,
        mut request: Request<Incoming>,
        peer: Peer,
        activity: Activity,
    ) -> Result<Response<Answer>, Infallible> {
        if let Some(status) = foreign(request.method(), request.headers()) {
            let mut answer = Response::new(Answer::new(Body::empty(), activity.call(None)));
            *answer.status_mut() = status;
            return Ok(answer);
        }
        let path = request.uri().path().to_owned();
        let need = need(&path);
        let pass = match self.pass(request.headers(), need) {
            Ok(pass) => pass,
            Err(denied) => {
                if let Some(untold) = DENIED.due(Instant::now()) {
                    tracing::warn!(%peer, call = path, untold, "denied: {denied}");
                }
                return self.refused(&denied.into(), activity.call(None));
            }
        };
        let place = match need {
            Need::Nothing => activity
                .strangers_place()
                .ok_or(Failure::TooManyHealthChecks),
            Need::Token | Need::Scope(_) => Arc::clone(&self.calls)
                .try_acquire_owned()
                .map_err(|_| Failure::TooManyCalls),
        };
        let place = match place {
            Ok(place) => place,
            Err(failure) => {
                if let Some(untold) = FULL.due(Instant::now()) {
                    tracing::warn!(%peer, call = path, untold, "one call too many: refused");
                }
                return self.refused(&failure, activity.call(None));
            }
        };
        let call = activity.call(Some(place));
        let caller = match &pass {
            Some((name, _)) => name.to_string(),
            None => peer.name(),
        };
        let span = tracing::info_span!("call", caller);
        match need {
            // What a person answers for; the rest is often, and each decision is recorded.
            Need::Scope(Scope::Feedback | Scope::Control) if path != GET_STATUS => {
                tracing::info!(parent: &span, call = path, "called");
            }
            Need::Nothing | Need::Token | Need::Scope(_) => {
                tracing::debug!(parent: &span, call = path, "called");
            }
        }
        request.extensions_mut().insert(TcpConnectInfo {
            local_addr: None,
            remote_addr: Some(peer.addr()),
        });
        if let Some((_, pass)) = pass {
            request.extensions_mut().insert(pass);
        }
        let request = request.map(|body| match is_unary(&path) {
            true => Body::new(Unary::new(body)),
            false => Body::new(body),
        });
        // A stream's answer begins at once: what its messages may take is its service's.
        let answering = self.routes.call(request).instrument(span);
        match tokio::time::timeout(self.patience, answering).await {
            Ok(answer) => Ok(answer?.map(|body| Answer::new(body, call))),
            Err(_) => {
                if let Some(untold) = LATE.due(Instant::now()) {
                    tracing::warn!(%peer, call = path, untold, "a call took too long: ended");
                }
                self.refused(&Failure::MessageLate, call)
            }
        }
    }

    fn refused(&self, failure: &Failure, call: Call) -> Result<Response<Answer>, Infallible> {
        self.meter.count_refused(failure.reason());
        let answer = failure.to_status().into_http::<Body>();
        Ok(answer.map(|body| Answer::new(body, call)))
    }

    /// What the call shows, where tokens are asked for, and whose it is.
    fn pass(&self, headers: &HeaderMap, need: Need) -> Result<Option<(Arc<str>, Pass)>, Denied> {
        let scope = match need {
            Need::Nothing => return Ok(None),
            Need::Token => None,
            Need::Scope(scope) => Some(scope),
        };
        if self.tokens.borrow().is_none() {
            return Ok(None);
        }
        let token = bearer(headers).ok_or(Denied::Missing)?;
        let pass = Pass::new(self.tokens.clone(), token, scope);
        Ok(Some((pass.check()?, pass)))
    }
}

static DENIED: LazyLock<Quiet> = LazyLock::new(Quiet::default);
static FULL: LazyLock<Quiet> = LazyLock::new(Quiet::default);
static LATE: LazyLock<Quiet> = LazyLock::new(Quiet::default);

/// What HTTP says of a request that is no call of gRPC; its services would not notice.
fn foreign(method: &Method, headers: &HeaderMap) -> Option<StatusCode> {
    if method != Method::POST {
        return Some(StatusCode::METHOD_NOT_ALLOWED);
    }
    let kind = headers
        .get(CONTENT_TYPE)
        .map_or(&b""[..], HeaderValue::as_bytes);
    match kind.strip_prefix(b"application/grpc") {
        Some([] | [b'+' | b';', ..]) => None,
        _ => Some(StatusCode::UNSUPPORTED_MEDIA_TYPE),
    }
}

/// What a call needs, by its path.
#[derive(Clone, Copy)]
enum Need {
    Nothing,
    /// Any: reflection, and what does not exist.
    Token,
    Scope(Scope),
}

const GET_STATUS: &str = "/judge.v1.ControlService/GetStatus";

fn need(path: &str) -> Need {
    match path {
        "/judge.v1.JudgeService/ReportOutcome" => Need::Scope(Scope::Feedback),
        _ if path.starts_with("/judge.v1.JudgeService/") => Need::Scope(Scope::Judge),
        _ if path.starts_with("/judge.v1.ControlService/") => Need::Scope(Scope::Control),
        // Whoever starts and stops daemons has no token.
        _ if path.starts_with("/grpc.health.v1.Health/") => Need::Nothing,
        _ => Need::Token,
    }
}

/// One of our own calls whose caller sends one message.
fn is_unary(path: &str) -> bool {
    path.starts_with("/judge.v1.") && path != "/judge.v1.JudgeService/JudgeStream"
}

/// What follows `Bearer ` in the one `authorization` header.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else {
        return None;
    };
    let (scheme, token) = value.as_bytes().split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}
