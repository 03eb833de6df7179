//! JudgeService.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use super::proto::judge_service_server::JudgeService;
use super::proto::{
    JudgeRequest, JudgeResponse, JudgeStreamRequest, JudgeStreamResponse, ReportOutcomeRequest,
    ReportOutcomeResponse, judge_stream_response::Event,
};
use super::status::{Failure, Violation};
use super::{convert, record};
use crate::judge::{self, Judge, JudgeError, Verdict};
use crate::tokens::Pass;

/// When a call's headers came; its message may take longer.
#[derive(Clone, Copy)]
struct Arrived(Instant);

/// Notes the arrival of a call: an interceptor for the service.
pub fn note_arrival(mut call: Request<()>) -> Result<Request<()>, Status> {
    call.extensions_mut().insert(Arrived(Instant::now()));
    Ok(call)
}

fn arrival<T>(request: &Request<T>) -> Instant {
    let noted = request.extensions().get::<Arrived>();
    noted.map_or_else(Instant::now, |Arrived(at)| *at)
}

pub struct JudgeRpc {
    judge: Arc<Judge>,
    /// Requests that one stream may have under way: what it sends beyond
    /// waits in its own connection. No more than the queue holds, so that a
    /// stream alone is never refused.
    stream_window: u32,
}

impl JudgeRpc {
    pub fn new(judge: Arc<Judge>) -> Self {
        let config = judge.engine().config();
        Self {
            stream_window: u32::try_from(config.queue).unwrap_or(u32::MAX),
            judge,
        }
    }
}

type Events = mpsc::Sender<Result<JudgeStreamResponse, Status>>;

#[tonic::async_trait]
impl JudgeService for JudgeRpc {
    async fn judge(
        &self,
        request: Request<JudgeRequest>,
    ) -> Result<Response<JudgeResponse>, Status> {
        let arrived = arrival(&request);
        let deadline = convert::deadline(request.metadata(), arrived);
        let answer = async {
            let request = convert::request(request.into_inner(), arrived, deadline);
            let request = request.inspect_err(|_| self.judge.count_refused())?;
            let verdict = self.judge.decide(request).await?;
            Ok::<_, Failure>(verdict.finish().await?)
        };
        match answer.await {
            Ok(decision) => Ok(Response::new(convert::response(&decision))),
            Err(failure) => Err(failure.to_status()),
        }
    }

    async fn report_outcome(
        &self,
        request: Request<ReportOutcomeRequest>,
    ) -> Result<Response<ReportOutcomeResponse>, Status> {
        let outcome = record::report(request.into_inner(), SystemTime::now());
        let report = async { Ok::<_, Failure>(self.judge.report(outcome?).await?) };
        match report.await {
            Ok(tripped) => Ok(Response::new(ReportOutcomeResponse { tripped })),
            Err(failure) => Err(failure.to_status()),
        }
    }

    type JudgeStreamStream =
        Pin<Box<dyn Stream<Item = Result<JudgeStreamResponse, Status>> + Send>>;

    async fn judge_stream(
        &self,
        request: Request<Streaming<JudgeStreamRequest>>,
    ) -> Result<Response<Self::JudgeStreamStream>, Status> {
        let (events, receiver) = mpsc::channel(16);
        let judge = Arc::clone(&self.judge);
        let window = self.stream_window;
        let deadline = convert::deadline(request.metadata(), arrival(&request));
        tokio::spawn(async move {
            let pass = request.extensions().get::<Pass>().cloned();
            let requests = request.into_inner();
            let outcome = pump(judge, requests, pass, window, deadline, &events).await;
            if let Err(status) = outcome {
                let _ = events.send(Err(status)).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

/// Reads requests and starts each, until the caller ends its side or leaves, or
/// its token holds no longer. A drain lets what was read be answered, and then ends the stream.
async fn pump(
    judge: Arc<Judge>,
    mut requests: Streaming<JudgeStreamRequest>,
    pass: Option<Pass>,
    window: u32,
    deadline: Option<Instant>,
    events: &Events,
) -> Result<(), Status> {
    let closed = |_| Status::internal("the stream's window is closed");
    let places = Arc::new(Semaphore::new(window as usize));
    loop {
        let place = Arc::clone(&places).acquire_owned().await.map_err(closed)?;
        let message = tokio::select! {
            message = requests.next() => message,
            () = events.closed() => return Ok(()),
            () = judge.until_draining() => {
                drop(place);
                let _all_answered = places.acquire_many(window).await.map_err(closed)?;
                return Err(Failure::from(JudgeError::Draining).to_status());
            }
        };
        let Some(message) = message else {
            return Ok(());
        };
        let request = message?.request;
        if let Some(pass) = &pass {
            pass.check()
                .map_err(|denied| Failure::from(denied).to_status())?;
        }
        let arrived = Instant::now();
        let judge = Arc::clone(&judge);
        let events = events.clone();
        tokio::spawn(async move {
            // A caller who left takes all requests of its stream along.
            tokio::select! {
                () = answer(&judge, request, arrived, deadline, &events) => {}
                () = events.closed() => {}
            }
            drop(place);
        });
    }
}

/// Answers one request of a stream with its events.
async fn answer(
    judge: &Arc<Judge>,
    request: Option<JudgeRequest>,
    arrived: Instant,
    deadline: Option<Instant>,
    to: &Events,
) {
    let id = request.as_ref().map(|request| request.request_id.clone());
    let id = id.unwrap_or_default();
    let send = async |event: Event| {
        let response = JudgeStreamResponse {
            request_id: id.clone(),
            event: Some(event),
        };
        let _ = to.send(Ok(response)).await;
    };
    let wants_rationale = request.as_ref().is_some_and(wants_rationale);
    let mut verdict = match decide(judge, request, arrived, deadline).await {
        Ok(verdict) => verdict,
        Err(failure) => return send(Event::Error(failure.to_event())).await,
    };
    if let Err(error) = verdict.publish().await {
        judge.count_refused();
        return send(Event::Error(Failure::from(error).to_event())).await;
    }
    let mut response = convert::response(&verdict.decision);
    response.rationale.clear();
    send(Event::Verdict(response)).await;
    match verdict.finish().await {
        Ok(decision) if wants_rationale => {
            send(Event::Rationale(convert::rationale_event(&decision))).await;
        }
        Ok(_) => {}
        Err(error) => send(Event::Error(Failure::from(error).to_event())).await,
    }
}

async fn decide(
    judge: &Arc<Judge>,
    request: Option<JudgeRequest>,
    arrived: Instant,
    deadline: Option<Instant>,
) -> Result<Verdict, Failure> {
    let request = read(request, arrived, deadline).inspect_err(|_| judge.count_refused())?;
    Ok(judge.decide(request).await?)
}

fn read(
    request: Option<JudgeRequest>,
    arrived: Instant,
    deadline: Option<Instant>,
) -> Result<judge::Request, Failure> {
    let missing = |field, description: &str| Failure::Malformed {
        violations: vec![Violation {
            field,
            description: description.to_owned(),
        }],
    };
    let request = request.ok_or_else(|| missing("request", "`request` is missing"))?;
    if request.request_id.is_empty() {
        let why = "`request_id` is empty: answers of a stream are matched by it";
        return Err(missing("request_id", why));
    }
    convert::request(request, arrived, deadline)
}

fn wants_rationale(request: &JudgeRequest) -> bool {
    request.rationale_mode() != super::proto::RationaleMode::None
}
