//! Traces: what a collector that speaks OTLP gets of a real daemon.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::command::Shell;
use crate::support::daemon::{Daemon, Gate, Setup, request, until};
use judged::rpc::proto::{GetDecisionRequest, GetStatusRequest, JudgeRequest, JudgeStreamRequest};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

/// Takes what a daemon sends.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    async fn start() -> (Collector, SocketAddr) {
        let collector = Collector::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let server = Server::builder().add_service(TraceServiceServer::new(collector.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        (collector, addr)
    }

    fn exports(&self) -> Vec<ExportTraceServiceRequest> {
        self.0.lock().unwrap().clone()
    }

    fn spans(&self) -> Vec<Span> {
        let exports = self.exports().into_iter();
        let of_resources = exports.flat_map(|export| export.resource_spans);
        let of_scopes = of_resources.flat_map(|resource| resource.scope_spans);
        of_scopes.flat_map(|scope| scope.spans).collect()
    }

    /// The one span of a name.
    fn span(&self, name: &str) -> Span {
        let mut named: Vec<_> = self.spans();
        named.retain(|span| span.name == name);
        assert_eq!(named.len(), 1, "spans of {name}");
        named.remove(0)
    }
}

async fn traced(setup: Setup) -> (Daemon, Collector) {
    let (collector, addr) = Collector::start().await;
    let setup = setup.with(|config| config.otlp_endpoint = Some(format!("http://{addr}")));
    (setup.start().await, collector)
}

/// A drain sends what waits.
async fn end(mut daemon: Daemon) {
    daemon.drain().await.unwrap();
}

fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|pair| pair.key == key)?;
    Some(match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        Value::BoolValue(truth) => truth.to_string(),
        other => format!("{other:?}"),
    })
}

fn of(span: &Span, key: &str) -> String {
    let value = attribute(&span.attributes, key);
    value.unwrap_or_else(|| panic!("{} has no {key}", span.name))
}

const JUDGE: &str = "judge.v1.JudgeService/Judge";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_a_span_in_its_callers_trace_with_its_stages_below_it() {
    let (daemon, collector) = traced(Setup::new()).await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let mut asked = Request::new(request("say:BLOCK\nbecause:It leaks."));
    let header = format!("00-{trace}-b7ad6b7169203331-01");
    asked
        .metadata_mut()
        .insert("traceparent", header.parse().unwrap());
    let answer = daemon.client().judge(asked).await.unwrap().into_inner();
    end(daemon).await;

    let server = collector.span(JUDGE);
    assert_eq!(server.kind(), SpanKind::Server);
    assert_eq!(const_hex::encode(&server.trace_id), trace);
    assert_eq!(
        const_hex::encode(&server.parent_span_id),
        "b7ad6b7169203331"
    );
    for (key, value) in [
        ("rpc.system", "grpc"),
        ("rpc.service", "judge.v1.JudgeService"),
        ("rpc.method", "Judge"),
        ("rpc.grpc.status_code", "0"),
        ("judged.decision.id", &answer.decision_id),
        ("judged.label", "BLOCK"),
        ("judged.disposition", "DO_NOT_SEND"),
        ("judged.decided_by", "MODEL"),
        ("judged.mode", "ENFORCE"),
        ("judged.degraded", "false"),
    ] {
        assert_eq!(of(&server, key), value, "{key}");
    }

    let usage = answer.usage.unwrap();
    let model = collector.span(&format!("chat {}", answer.model.clone().unwrap().bundle));
    for (key, value) in [
        ("gen_ai.operation.name", "chat".to_owned()),
        ("gen_ai.request.model", answer.model.unwrap().bundle),
        ("gen_ai.usage.input_tokens", usage.prompt_tokens.to_string()),
        (
            "gen_ai.usage.output_tokens",
            usage.generated_tokens.to_string(),
        ),
        (
            "gen_ai.usage.cache_read.input_tokens",
            usage.cached_tokens.to_string(),
        ),
    ] {
        assert_eq!(of(&model, key), value, "{key}");
    }

    // One after the other, each within its parent.
    let mut last = server.start_time_unix_nano;
    for (name, parent) in [
        ("render", &server),
        ("queue", &server),
        ("prefill", &model),
        ("decode", &model),
        ("log", &server),
    ] {
        let stage = collector.span(name);
        assert_eq!(stage.parent_span_id, parent.span_id, "{name}");
        assert_eq!(stage.trace_id, server.trace_id, "{name}");
        assert!(
            last <= stage.start_time_unix_nano,
            "{name} begins too early"
        );
        assert!(
            stage.start_time_unix_nano <= stage.end_time_unix_nano,
            "{name}"
        );
        assert!(
            stage.end_time_unix_nano <= server.end_time_unix_nano,
            "{name} ends too late"
        );
        last = stage.end_time_unix_nano;
    }
    assert_eq!(model.parent_span_id, server.span_id);
    assert_eq!(collector.spans().len(), 7);
    let resource = collector.exports()[0].resource_spans[0]
        .resource
        .clone()
        .unwrap();
    let service = attribute(&resource.attributes, "service.name");
    assert_eq!(service.as_deref(), Some("judged"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_of_an_operator_is_a_span_with_its_failure() {
    let (daemon, collector) = traced(Setup::new()).await;
    let mut operator = daemon.control_client();
    operator.get_status(GetStatusRequest {}).await.unwrap();
    let unknown = GetDecisionRequest {
        decision_id: "nothing".to_owned(),
    };
    operator.get_decision(unknown).await.unwrap_err();
    end(daemon).await;
    let status = collector.span("judge.v1.ControlService/GetStatus");
    assert_eq!(of(&status, "rpc.service"), "judge.v1.ControlService");
    assert_eq!(of(&status, "rpc.grpc.status_code"), "0");
    let decision = collector.span("judge.v1.ControlService/GetDecision");
    assert_eq!(of(&decision, "error.type"), "UNKNOWN_DECISION");
    assert_eq!(collector.spans().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_of_the_rules_has_no_span_of_a_model() {
    let (daemon, collector) = traced(Setup::new()).await;
    let hard = JudgeRequest {
        context_json: r#"{"disqualifiers": ["anti_offshore"]}"#.to_owned(),
        ..request("Hi")
    };
    daemon.ask(hard).await.unwrap();
    end(daemon).await;
    let mut names: Vec<_> = collector
        .spans()
        .into_iter()
        .map(|span| span.name)
        .collect();
    names.sort_unstable();
    assert_eq!(names, [JUDGE, "log"]);
    assert_eq!(of(&collector.span(JUDGE), "judged.decided_by"), "RULES");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_request_tells_its_code_and_reason_and_whose_fault_it_is() {
    let state = tempfile::TempDir::new().unwrap();
    let setup = Setup::new().with(|config| config.state_dir = state.path().to_owned());
    let (daemon, collector) = traced(setup).await;
    daemon.ask(request("")).await.unwrap_err();
    std::fs::remove_file(state.path().join("decisions.db")).unwrap();
    daemon.ask(request("Hi")).await.unwrap_err();
    end(daemon).await;
    let mut ends: Vec<_> = collector
        .spans()
        .into_iter()
        .filter(|span| span.name == JUDGE)
        .map(|span| {
            let fault = span.status.clone().unwrap_or_default().code() == StatusCode::Error;
            (
                of(&span, "rpc.grpc.status_code"),
                of(&span, "error.type"),
                fault,
            )
        })
        .collect();
    ends.sort();
    let expected = [
        ("14", "DECISION_NOT_RECORDED", true),
        ("3", "MALFORMED_REQUEST", false),
    ];
    let expected =
        expected.map(|(code, reason, fault)| (code.to_owned(), reason.to_owned(), fault));
    assert_eq!(ends, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_of_a_stream_is_a_span_and_one_whose_caller_left_says_so() {
    let gate = Gate::default();
    let (daemon, collector) = traced(Setup::new().gated(&gate)).await;
    let messages = ["a", "b"].map(|id| JudgeStreamRequest {
        request: Some(JudgeRequest {
            request_id: id.to_owned(),
            ..request("say:BLOCK")
        }),
    });
    let stream = tokio_stream::iter(messages);
    let answers = daemon.client().judge_stream(stream).await;
    let mut answers = answers.unwrap().into_inner();
    while answers.message().await.unwrap().is_some() {}
    gate.close();
    let asked = daemon.asking(request("Hi"));
    gate.until_reached().await;
    asked.abort();
    let _ = asked.await;
    until("the call has ended", || daemon.judge.open_requests() == 0).await;
    gate.open();
    end(daemon).await;
    let spans = collector.spans().into_iter();
    let streamed = spans.filter(|span| span.name == "judge.v1.JudgeService/JudgeStream");
    assert_eq!(streamed.count(), 2);
    let left = collector.span(JUDGE);
    assert_eq!(of(&left, "error.type"), "CALLER_LEFT");
    assert_eq!(of(&left, "rpc.grpc.status_code"), "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_word_of_a_context_a_draft_or_a_rationale_gets_into_a_span() {
    let (daemon, collector) = traced(Setup::new()).await;
    for (context, draft) in [
        (
            r#"{"company": "xyzzy"}"#,
            "xyzzy\nsay:BLOCK\nbecause:An xyzzy leaks.",
        ),
        (
            r#"{"disqualifiers": ["anti_offshore"], "company": "xyzzy"}"#,
            "xyzzy",
        ),
        (r#"{"xyzzy": "#, "xyzzy"),
        (r#"{"company": "xyzzy"}"#, "xyzzy\nfault:nan"),
    ] {
        let asked = JudgeRequest {
            request_id: format!("xyzzy-{}", draft.len()),
            context_json: context.to_owned(),
            ..request(draft)
        };
        let _ = daemon.ask(asked).await;
    }
    end(daemon).await;
    assert!(collector.spans().len() > 8);
    let sent = format!("{:?}", collector.exports());
    assert!(!sent.contains("xyzzy"), "{sent}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_not_there_costs_no_answer_and_no_long_drain() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = closed.local_addr().unwrap();
    drop(closed);
    let endpoint = Some(format!("http://{addr}"));
    let setup = Setup::new().with(|config| config.otlp_endpoint = endpoint);
    let daemon = setup.start().await;
    daemon.ask(request("say:BLOCK")).await.unwrap();
    let started = Instant::now();
    end(daemon).await;
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn opentelemetrys_own_variable_names_the_collector_and_a_flag_goes_before_it() {
    let shell = Shell::new();
    let variable = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://10.0.0.7:4317")];
    let shown = |arguments: &[&str]| {
        let arguments = [&["serve", "--print-config", "--json"], arguments].concat();
        let ran = shell.run_with(&arguments, &variable, "");
        assert_eq!(ran.code, 0, "{ran:?}");
        let setting = ran.json().remove(0)["otlp_endpoint"].clone();
        let text = |key: &str| setting[key].as_str().unwrap().to_owned();
        (text("value"), text("origin"))
    };
    let told = |value: &str, origin: &str| (value.to_owned(), origin.to_owned());
    assert_eq!(shown(&[]), told("http://10.0.0.7:4317", "environment"));
    let flag = ["--otlp-endpoint", "http://127.0.0.1:4317"];
    assert_eq!(shown(&flag), told("http://127.0.0.1:4317", "flag"));
    // As OTEL_TRACES_EXPORTER=none would: the flag says that there is none.
    assert_eq!(shown(&["--otlp-endpoint", ""]), told("", "flag"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_services_name_is_the_variables_where_one_says_it() {
    for (variable, name) in [
        ("OTEL_RESOURCE_ATTRIBUTES=service.name=mail,team=a", "mail"),
        ("OTEL_SERVICE_NAME=post", "post"),
        ("OTEL_RESOURCE_ATTRIBUTES=team=a", "judged"),
    ] {
        let (collector, addr) = Collector::start().await;
        let told = tokio::task::spawn_blocking(move || {
            let shell = Shell::new();
            let endpoint = format!("http://{addr}");
            let flags = ["--mode", "rules-only", "--otlp-endpoint", &endpoint];
            let served = shell.serve_by(&["env", variable], &flags);
            let asked = shell.run(&[
                "judge",
                "--addr",
                &served.judge,
                "--context",
                "{}",
                "--draft",
                "Hi",
            ]);
            assert_eq!(asked.code, 0, "{asked:?}");
            served.signal("TERM");
            served.end(Duration::from_secs(30))
        });
        let told = told.await.unwrap();
        let exports = collector.exports();
        let resources = exports.iter().flat_map(|export| &export.resource_spans);
        let names = resources.map(|spans| {
            let resource = spans.resource.as_ref().unwrap();
            attribute(&resource.attributes, "service.name").unwrap()
        });
        let names: Vec<_> = names.collect();
        let right = !names.is_empty() && names.iter().all(|found| found == name);
        assert!(right, "{variable}: {names:?}, {told:?}");
    }
}

#[test]
fn addresses_that_cannot_be_used_are_told_together() {
    let shell = Shell::new();
    let arguments = ["serve", "--metrics-listen", "9464"];
    let ran = shell.run(
        &[
            &arguments[..],
            &["--otlp-endpoint", "https://collector:4317"],
        ]
        .concat(),
    );
    assert_eq!(ran.code, 2);
    for told in [
        "`metrics_listen` (flag): `9464` is not IP:PORT",
        "`otlp_endpoint` (flag): `https://collector:4317` asks for TLS",
    ] {
        assert!(ran.stderr.contains(told), "{told}: {}", ran.stderr);
    }
    let ran = shell.run(&["serve", "--metrics-listen", "0.0.0.0:9464"]);
    assert!(
        ran.stderr.contains("is not on the loopback"),
        "{}",
        ran.stderr
    );
    let ran = shell.run(&["serve", "--otlp-endpoint", "collector:4317"]);
    assert!(
        ran.stderr.contains("is not http://HOST:PORT"),
        "{}",
        ran.stderr
    );
}
