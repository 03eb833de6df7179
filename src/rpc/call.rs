//! One request as those see it who watch the daemon: counted, timed and traced,
//! however it ends.

use std::sync::Arc;
use std::time::Instant;

use opentelemetry::propagation::Extractor;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Response, Status};

use super::meter::{Meter, Method};
use super::status::{Failure, code_name};
use crate::stages::Stages;
use crate::traces::{Outcome, Parent, RequestSpan, Traces};
use crate::verdict::Decision;

/// Who watches.
#[derive(Debug)]
pub struct Watch {
    pub meter: Meter,
    pub traces: Traces,
}

/// When a call's headers came; its message may take longer.
#[derive(Clone, Copy)]
struct Arrived(Instant);

/// Notes the arrival of a call: an interceptor for the services.
pub fn note_arrival(mut call: Request<()>) -> Result<Request<()>, Status> {
    call.extensions_mut().insert(Arrived(Instant::now()));
    Ok(call)
}

pub fn arrived<T>(request: &Request<T>) -> Instant {
    let noted = request.extensions().get::<Arrived>();
    noted.map_or_else(Instant::now, |Arrived(at)| *at)
}

/// A call under way. Dropped, its caller has left.
pub struct Call {
    watch: Arc<Watch>,
    method: Method,
    arrived: Instant,
    /// `None` once it has ended.
    span: Option<RequestSpan>,
}

/// The reason of a call whose caller did not wait for its end, or for which the edge did not.
const CALLER_LEFT: &str = "CALLER_LEFT";

impl Call {
    pub fn begin(watch: &Arc<Watch>, method: Method, arrived: Instant, parent: &Parent) -> Self {
        let Method { service, name } = method;
        let span = watch.traces.request(service, name, arrived, parent);
        Self {
            watch: Arc::clone(watch),
            method,
            arrived,
            span: Some(span),
        }
    }

    /// The same, of a request whose headers tell the rest.
    pub fn of<T>(watch: &Arc<Watch>, method: Method, request: &Request<T>) -> Self {
        let parent = parent(request.metadata());
        Self::begin(watch, method, arrived(request), &parent)
    }

    /// Ends it with an answer that holds no decision.
    pub fn answer<T>(self, answer: Result<T, Failure>) -> Result<Response<T>, Status> {
        self.end(answer.as_ref().map(|_| None), Stages::default());
        match answer {
            Ok(answer) => Ok(Response::new(answer)),
            Err(failure) => Err(failure.to_status()),
        }
    }

    /// With a decision, or with none where the method makes none.
    pub fn end(mut self, answer: Result<Option<&Decision>, &Failure>, stages: Stages) {
        match answer {
            Ok(decision) => self.close(Code::Ok, None, decision, stages),
            Err(failure) => self.close(failure.code(), Some(failure.reason()), None, stages),
        }
    }

    fn close(
        &mut self,
        code: Code,
        failure: Option<&'static str>,
        decision: Option<&Decision>,
        stages: Stages,
    ) {
        let Some(span) = self.span.take() else { return };
        let meter = &self.watch.meter;
        meter.count(self.method, self.arrived.elapsed());
        if let Some(reason) = failure {
            meter.count_failure(self.method, code_name(code), reason);
        }
        // What a repeated request gets was decided another time.
        let new = decision.filter(|_| stages.log.is_some());
        let engine = new.filter(|decision| decision.model.is_some());
        let engine = engine.map(|decision| decision.timings);
        for stage in stages.all(self.arrived, engine) {
            meter.count_stage(stage.name, stage.end.duration_since(stage.start));
        }
        let outcome = Outcome {
            code: code as i32,
            failure,
            fault: is_fault(code),
            decision,
        };
        span.end(&outcome, stages.all(self.arrived, engine));
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.close(Code::Cancelled, Some(CALLER_LEFT), None, Stages::default());
    }
}

/// The span that the caller's metadata names.
pub fn parent(metadata: &MetadataMap) -> Parent {
    Parent::of(&Headers(metadata))
}

struct Headers<'m>(&'m MetadataMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        Vec::new()
    }
}

/// Whether OpenTelemetry's conventions call it an error of the server.
fn is_fault(code: Code) -> bool {
    match code {
        Code::Unknown
        | Code::DeadlineExceeded
        | Code::Unimplemented
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => true,
        Code::Ok
        | Code::Cancelled
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unauthenticated => false,
    }
}
