//! JudgeService.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use super::call::{Call, Watch, arrived, parent};
use super::convert::Envelope;
use super::meter::{JUDGE, JUDGE_STREAM, REPORT_OUTCOME};
use super::proto::judge_service_server::JudgeService;
use super::proto::{
    JudgeRequest, JudgeResponse, JudgeStreamRequest, JudgeStreamResponse, ReportOutcomeRequest,
    ReportOutcomeResponse, judge_stream_response::Event,
};
use super::status::{Failure, Violation};
use super::{convert, record};
use crate::judge::{self, Judge, JudgeError, Verdict};
use crate::stages::Stages;
use crate::tokens::Pass;
use crate::traces::Parent;
use crate::verdict::Decision;

/// A caller is whom its token names, else a connection: all that it sends takes turns with
/// what others send.
fn envelope<T>(request: &Request<T>) -> Envelope {
    let arrived = arrived(request);
    let pass = request.extensions().get::<Pass>().map(Pass::check);
    let caller_name = pass.and_then(Result::ok);
    let mut caller = DefaultHasher::new();
    match &caller_name {
        Some(name) => name.hash(&mut caller),
        None => request.remote_addr().hash(&mut caller),
    }
    Envelope {
        arrived,
        deadline: convert::deadline(request.metadata(), arrived),
        caller: caller.finish(),
        caller_name,
    }
}

pub struct JudgeRpc {
    judge: Arc<Judge>,
    watch: Arc<Watch>,
    /// Requests that one stream may have under way: what it sends beyond
    /// waits in its own connection. No more than the queue holds, so that a
    /// stream alone is never refused.
    stream_window: u32,
}

impl JudgeRpc {
    pub fn new(judge: Arc<Judge>, watch: Arc<Watch>) -> Self {
        let config = judge.engine().config();
        Self {
            stream_window: u32::try_from(config.queue).unwrap_or(u32::MAX),
            judge,
            watch,
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
        let envelope = envelope(&request);
        let parent = parent(request.metadata());
        let call = Call::begin(&self.watch, JUDGE, envelope.arrived, &parent);
        let answer = async {
            let request = convert::request(request.into_inner(), envelope);
            let request = request.inspect_err(|_| self.judge.count_refused())?;
            let verdict = self.judge.decide(request).await?;
            Ok::<_, Failure>(verdict.finish().await?)
        };
        let (answer, stages) = Stages::watch(answer).await;
        call.end(answer.as_ref().map(Some), stages);
        match answer {
            Ok(decision) => Ok(Response::new(convert::response(&decision))),
            Err(failure) => Err(failure.to_status()),
        }
    }

    async fn report_outcome(
        &self,
        request: Request<ReportOutcomeRequest>,
    ) -> Result<Response<ReportOutcomeResponse>, Status> {
        let call = Call::of(&self.watch, REPORT_OUTCOME, &request);
        let outcome = record::report(request.into_inner(), SystemTime::now());
        let report = async {
            let tripped = self.judge.report(outcome?).await?;
            Ok(ReportOutcomeResponse { tripped })
        };
        call.answer(report.await)
    }

    type JudgeStreamStream =
        Pin<Box<dyn Stream<Item = Result<JudgeStreamResponse, Status>> + Send>>;

    async fn judge_stream(
        &self,
        request: Request<Streaming<JudgeStreamRequest>>,
    ) -> Result<Response<Self::JudgeStreamStream>, Status> {
        let (events, receiver) = mpsc::channel(16);
        let window = self.stream_window;
        let call = StreamCall {
            judge: Arc::clone(&self.judge),
            watch: Arc::clone(&self.watch),
            envelope: envelope(&request),
            parent: parent(request.metadata()),
        };
        tokio::spawn(async move {
            let pass = request.extensions().get::<Pass>().cloned();
            let requests = request.into_inner();
            let outcome = pump(Arc::new(call), requests, pass, window, &events).await;
            if let Err(status) = outcome {
                let _ = events.send(Err(status)).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

/// What all requests of one stream share.
struct StreamCall {
    judge: Arc<Judge>,
    watch: Arc<Watch>,
    envelope: Envelope,
    parent: Parent,
}

/// Reads requests and starts each, until the caller ends its side or leaves, or
/// its token holds no longer. A drain, or a message that cannot be read, lets what was read
/// before be answered, and then ends the stream.
async fn pump(
    call: Arc<StreamCall>,
    mut requests: Streaming<JudgeStreamRequest>,
    pass: Option<Pass>,
    window: u32,
    events: &Events,
) -> Result<(), Status> {
    let closed = |_| Status::internal("the stream's window is closed");
    let places = Arc::new(Semaphore::new(window as usize));
    loop {
        let place = Arc::clone(&places).acquire_owned().await.map_err(closed)?;
        let next = tokio::select! {
            message = requests.next() => match message {
                Some(message) => message.map(|message| message.request),
                None => return Ok(()),
            },
            () = events.closed() => return Ok(()),
            () = call.judge.until_draining() => {
                Err(Failure::from(JudgeError::Draining).to_status())
            }
        };
        let request = match next {
            Ok(request) => request,
            Err(status) => {
                drop(place);
                let _all_answered = places.acquire_many(window).await.map_err(closed)?;
                return Err(status);
            }
        };
        if let Some(pass) = &pass {
            pass.check()
                .map_err(|denied| Failure::from(denied).to_status())?;
        }
        let envelope = Envelope {
            arrived: Instant::now(),
            ..call.envelope.clone()
        };
        let call = Arc::clone(&call);
        let events = events.clone();
        tokio::spawn(async move {
            // A caller who left takes all requests of its stream along.
            tokio::select! {
                () = answer(&call, request, envelope, &events) => {}
                () = events.closed() => {}
            }
            drop(place);
        });
    }
}

/// Answers one request of a stream with its events.
async fn answer(
    stream: &StreamCall,
    request: Option<JudgeRequest>,
    envelope: Envelope,
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
    let call = Call::begin(
        &stream.watch,
        JUDGE_STREAM,
        envelope.arrived,
        &stream.parent,
    );
    let answered = async {
        let wants_rationale = request.as_ref().is_some_and(wants_rationale);
        let mut verdict = decide(&stream.judge, request, envelope).await?;
        if let Err(error) = verdict.publish().await {
            stream.judge.count_refused();
            return Err(Failure::from(error));
        }
        let mut response = convert::response(&verdict.decision);
        response.rationale.clear();
        send(Event::Verdict(response)).await;
        let decision = verdict.finish().await?;
        if wants_rationale {
            send(Event::Rationale(convert::rationale_event(&decision))).await;
        }
        Ok::<Decision, Failure>(decision)
    };
    let (answered, stages) = Stages::watch(answered).await;
    call.end(answered.as_ref().map(Some), stages);
    if let Err(failure) = answered {
        send(Event::Error(failure.to_event())).await;
    }
}

async fn decide(
    judge: &Arc<Judge>,
    request: Option<JudgeRequest>,
    envelope: Envelope,
) -> Result<Verdict, Failure> {
    let request = read(request, envelope).inspect_err(|_| judge.count_refused())?;
    Ok(judge.decide(request).await?)
}

fn read(request: Option<JudgeRequest>, envelope: Envelope) -> Result<judge::Request, Failure> {
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
    convert::request(request, envelope)
}

fn wants_rationale(request: &JudgeRequest) -> bool {
    request.rationale_mode() != super::proto::RationaleMode::None
}
