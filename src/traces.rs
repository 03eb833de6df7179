//! Traces: a span a request, with its stages below it, sent to a collector over
//! OTLP. No word of a context, a draft or a rationale is in any of them.
//!
//! Spans are made from the stages once these are known, not from `tracing`'s: so
//! nothing that is logged can get into one.

use std::borrow::Cow;
use std::time::{Duration, Instant, SystemTime};

use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{Span as _, SpanKind, Status, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context, Key, KeyValue};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, Span};

use crate::stages::{DECODE, PREFILL, Stage};
use crate::verdict::Decision;

/// Where spans go. A clone goes to the same place.
#[derive(Clone, Debug)]
pub struct Traces(Option<Sender>);

#[derive(Clone, Debug)]
struct Sender {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

/// The caller's span, if it told one.
#[derive(Clone, Debug, Default)]
pub struct Parent(Context);

/// A request under way. Dropped, it ends.
pub struct RequestSpan(Option<Open>);

struct Open {
    tracer: SdkTracer,
    span: Span,
    clock: Clock,
}

/// One moment by both clocks.
#[derive(Clone, Copy)]
struct Clock {
    instant: Instant,
    time: SystemTime,
}

/// How a call ended, for its span.
pub struct Outcome<'o> {
    /// The gRPC status code's number.
    pub code: i32,
    /// The stable reason of a failure.
    pub failure: Option<&'static str>,
    /// Whether the daemon is to blame.
    pub fault: bool,
    pub decision: Option<&'o Decision>,
}

#[derive(Debug, thiserror::Error)]
#[error("traces cannot be sent to `{endpoint}`")]
pub struct TracesError {
    endpoint: String,
    source: ExporterBuildError,
}

/// The name by which a collector knows this service, unless OTEL_SERVICE_NAME or
/// OTEL_RESOURCE_ATTRIBUTES say another.
const SERVICE_NAME: &str = "judged";

impl Traces {
    /// Goes nowhere, and costs nothing.
    pub fn off() -> Self {
        Self(None)
    }

    /// To a collector that takes OTLP over gRPC. It is not asked before there are spans,
    /// and need not be there. What OTEL_… variables say of sampling, batches, headers and
    /// the resource holds. Needs a runtime of tokio.
    pub fn to(endpoint: &str) -> Result<Self, TracesError> {
        let exporter = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .build()
            .map_err(|source| TracesError {
                endpoint: endpoint.to_owned(),
                source,
            })?;
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let mut resource = Resource::builder().with_attribute(version);
        let named = Resource::builder().build();
        let named = named.get(&Key::from_static_str("service.name"));
        // What the SDK says where the variables say nothing.
        if named.is_none_or(|name| name.as_str().starts_with("unknown_service")) {
            resource = resource.with_service_name(SERVICE_NAME);
        }
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource.build())
            .build();
        let tracer = provider.tracer(SERVICE_NAME);
        Ok(Self(Some(Sender { provider, tracer })))
    }

    /// Begins the span of a call of a method such as `judge.v1.JudgeService/Judge`.
    pub fn request(
        &self,
        service: &'static str,
        method: &'static str,
        arrived: Instant,
        parent: &Parent,
    ) -> RequestSpan {
        RequestSpan(self.0.as_ref().map(|sender| {
            let clock = Clock::now();
            let builder = sender
                .tracer
                .span_builder(format!("{service}/{method}"))
                .with_kind(SpanKind::Server)
                .with_start_time(clock.time_of(arrived))
                .with_attributes([
                    KeyValue::new("rpc.system", "grpc"),
                    KeyValue::new("rpc.service", service),
                    KeyValue::new("rpc.method", method),
                ]);
            Open {
                span: builder.start_with_context(&sender.tracer, &parent.0),
                tracer: sender.tracer.clone(),
                clock,
            }
        }))
    }

    /// Sends what waits, for as long as the limit, and no more after it.
    pub async fn end(&self, limit: Duration) {
        let Some(sender) = self.0.clone() else { return };
        let end = move || sender.provider.shutdown_with_timeout(limit);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(end).await {
            tracing::warn!(%error, "the last spans may not have been sent");
        }
    }
}

impl Parent {
    /// Of the W3C headers `traceparent` and `tracestate`.
    pub fn of(headers: &dyn Extractor) -> Self {
        Self(TraceContextPropagator::new().extract_with_context(&Context::new(), headers))
    }
}

impl RequestSpan {
    /// Ends it, with its stages below it.
    pub fn end(self, outcome: &Outcome<'_>, stages: impl Iterator<Item = Stage>) {
        let Some(mut open) = self.0 else { return };
        if !open.span.is_recording() {
            return;
        }
        let code = i64::from(outcome.code);
        open.span
            .set_attribute(KeyValue::new("rpc.grpc.status_code", code));
        if let Some(reason) = outcome.failure {
            open.span.set_attribute(KeyValue::new("error.type", reason));
            if outcome.fault {
                open.span.set_status(Status::error(reason));
            }
        }
        if let Some(decision) = outcome.decision {
            open.span.set_attributes(attributes(decision));
        }
        let stages: Vec<Stage> = stages.collect();
        open.add_stages(&stages, outcome.decision);
        // By the clock of its stages: the system's may have been set back meanwhile.
        let end = open.clock.time_of(Instant::now());
        open.span.end_with_timestamp(end);
    }
}

impl Open {
    fn add_stages(&self, stages: &[Stage], decision: Option<&Decision>) {
        let own = below(&self.span);
        let model = self.model_call(stages, decision, &own);
        let model_below = model.as_ref().map(|(span, _)| below(span));
        for stage in stages {
            let parent = match (&model_below, stage.name) {
                (Some(model), PREFILL | DECODE) => model,
                _ => &own,
            };
            let mut span = self.child(stage.name.into(), stage.start, Vec::new(), parent);
            span.end_with_timestamp(self.clock.time_of(stage.end));
        }
        if let Some((mut span, end)) = model {
            span.end_with_timestamp(self.clock.time_of(end));
        }
    }

    /// The model's part, by the conventions for generative models, and its end.
    fn model_call(
        &self,
        stages: &[Stage],
        decision: Option<&Decision>,
        parent: &Context,
    ) -> Option<(Span, Instant)> {
        let decision = decision?;
        let model = decision.model.as_ref()?.bundle.clone();
        let of_model = |stage: &&Stage| matches!(stage.name, PREFILL | DECODE);
        let first = stages.iter().find(of_model)?;
        let last = stages.iter().rev().find(of_model)?;
        let tokens = |count: u32| i64::from(count);
        let attributes = vec![
            KeyValue::new("gen_ai.operation.name", "chat"),
            KeyValue::new("gen_ai.provider.name", SERVICE_NAME),
            KeyValue::new("gen_ai.request.model", model.clone()),
            KeyValue::new(
                "gen_ai.usage.input_tokens",
                tokens(decision.usage.prompt_tokens),
            ),
            KeyValue::new(
                "gen_ai.usage.cache_read.input_tokens",
                tokens(decision.usage.cached_tokens),
            ),
            KeyValue::new(
                "gen_ai.usage.output_tokens",
                tokens(decision.usage.generated_tokens),
            ),
        ];
        let name = format!("chat {model}");
        let span = self.child(name.into(), first.start, attributes, parent);
        Some((span, last.end))
    }

    fn child(
        &self,
        name: Cow<'static, str>,
        start: Instant,
        attributes: Vec<KeyValue>,
        parent: &Context,
    ) -> Span {
        self.tracer
            .span_builder(name)
            .with_start_time(self.clock.time_of(start))
            .with_attributes(attributes)
            .start_with_context(&self.tracer, parent)
    }
}

impl Clock {
    fn now() -> Self {
        Self {
            instant: Instant::now(),
            time: SystemTime::now(),
        }
    }

    fn time_of(self, instant: Instant) -> SystemTime {
        match instant.checked_duration_since(self.instant) {
            Some(later) => self.time + later,
            None => self.time - self.instant.duration_since(instant),
        }
    }
}

/// What is told of a decision: names and numbers alone.
fn attributes(decision: &Decision) -> [KeyValue; 6] {
    [
        KeyValue::new("judged.decision.id", decision.decision_id.clone()),
        KeyValue::new("judged.label", decision.label.as_str()),
        KeyValue::new("judged.disposition", decision.disposition.as_str()),
        KeyValue::new("judged.decided_by", decision.decided_by.as_str()),
        KeyValue::new("judged.mode", decision.mode.as_str()),
        KeyValue::new("judged.degraded", decision.degraded_reason.is_some()),
    ]
}

fn below(span: &Span) -> Context {
    Context::new().with_remote_span_context(span.span_context().clone())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use opentelemetry_sdk::error::OTelSdkResult;
    use opentelemetry_sdk::trace::{SpanData, SpanExporter};

    use super::*;
    use crate::stages::RENDER;

    #[derive(Debug, Default)]
    struct Kept(Arc<Mutex<Vec<SpanData>>>);

    impl SpanExporter for Kept {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().unwrap().extend(batch);
            Ok(())
        }
    }

    #[test]
    fn a_clock_that_is_set_back_leaves_the_stages_within_their_request() {
        let kept = Kept::default();
        let spans = Arc::clone(&kept.0);
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(kept)
            .build();
        let tracer = provider.tracer(SERVICE_NAME);
        let traces = Traces(Some(Sender { provider, tracer }));

        let arrived = Instant::now();
        let mut request = traces.request("service", "Judge", arrived, &Parent::default());
        // As the request begins it is an hour later than when it ends.
        request.0.as_mut().unwrap().clock.time += Duration::from_secs(3600);
        let outcome = Outcome {
            code: 0,
            failure: None,
            fault: false,
            decision: None,
        };
        let stage = Stage {
            name: RENDER,
            start: arrived,
            end: Instant::now(),
        };
        request.end(&outcome, [stage].into_iter());

        let spans = spans.lock().unwrap();
        let [render, request] = spans.as_slice() else {
            panic!("{spans:?}");
        };
        assert!(render.end_time <= request.end_time);
    }
}
