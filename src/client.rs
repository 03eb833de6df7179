//! A client of the daemon that speaks our types, not the wire's.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use tonic::transport::{Channel as Connection, Endpoint};
use tonic::{Code, Request, TimeoutExpired};
use tonic_types::StatusExt;

use crate::backend::Device;
use crate::channel::Channel;
use crate::rpc::proto;
use crate::rpc::proto::control_service_client::ControlServiceClient;
use crate::rpc::proto::judge_service_client::JudgeServiceClient;
use crate::verdict::{
    DecidedBy, Decision, Disposition, Label, Mode, ModelRevision, RationaleMode, Scores, Timings,
    Usage,
};

/// A connection to one daemon. Cheap to clone: requests share it.
#[derive(Clone)]
pub struct Client {
    judge: JudgeServiceClient<Connection>,
    control: ControlServiceClient<Connection>,
}

/// What to ask of the daemon.
#[derive(Clone, Debug, Default)]
pub struct Question {
    pub request_id: String,
    pub context_json: String,
    pub draft: String,
    pub channel: Option<Channel>,
    pub rationale: RationaleMode,
    pub timeout: Option<Duration>,
}

/// What serves, how well, and why not better.
#[derive(Clone, Debug)]
pub struct Status {
    pub version: String,
    pub mode: Mode,
    pub engine_state: EngineState,
    pub degraded_reason: Option<String>,
    pub draining: bool,
    pub model: Option<ModelRevision>,
    pub engine: Option<EngineInfo>,
    pub queue_depth: u32,
    pub queue_limit: u32,
    pub running: u32,
    pub uptime: Duration,
    pub decisions_by_model: u64,
    pub decisions_by_rules: u64,
    pub refused: u64,
    pub abandoned: u64,
    pub prefill_tokens: u64,
    pub prefill_time: Duration,
    pub cached_tokens: u64,
    pub decode_tokens: u64,
    pub decode_time: Duration,
    /// Numbers of the rules that decide before the model.
    pub hard_rules: Vec<u32>,
    /// The label of each rule that a rationale may name.
    pub answer_rules: BTreeMap<String, Label>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineState {
    Absent,
    Loading,
    Ready,
    Stuck,
    Failed,
}

impl EngineState {
    pub const fn as_str(self) -> &'static str {
        match self {
            EngineState::Absent => "absent",
            EngineState::Loading => "loading",
            EngineState::Ready => "ready",
            EngineState::Stuck => "stuck",
            EngineState::Failed => "failed",
        }
    }
}

#[derive(Clone, Debug)]
pub struct EngineInfo {
    pub runtime: String,
    pub cpu_variant: String,
    pub devices: Vec<Device>,
    pub threads: u32,
    pub adapter: String,
    pub context_cells: u32,
    pub slots: u32,
    pub shared_prefix_tokens: u32,
    pub load_time: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("`{addr}` is no address: {reason}")]
    Address { addr: String, reason: String },
    #[error("no daemon answers at `{addr}`: is `judged serve` running there?")]
    Unreachable {
        addr: String,
        source: tonic::transport::Error,
    },
    #[error("{}{}", status.message(), Hints(status))]
    Refused { status: Box<tonic::Status> },
    #[error("the daemon's answer cannot be read: {0}")]
    Answer(String),
}

impl ClientError {
    /// The gRPC code's name, where the daemon gave one.
    pub fn code(&self) -> Option<String> {
        match self {
            ClientError::Refused { status } => Some(format!("{:?}", status.code())),
            _ => None,
        }
    }

    /// The stable reason, where the daemon gave one.
    pub fn reason(&self) -> Option<String> {
        match self {
            ClientError::Refused { status } => {
                Some(status.get_error_details().error_info()?.reason.clone())
            }
            _ => None,
        }
    }

    /// Whether the same request may well succeed a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            ClientError::Refused { status } => {
                matches!(status.code(), Code::Unavailable | Code::ResourceExhausted)
            }
            _ => false,
        }
    }

    /// When to try again, where the daemon said so.
    pub fn retry_delay(&self) -> Option<Duration> {
        match self {
            ClientError::Refused { status } => retry_delay(status),
            _ => None,
        }
    }

    /// Whether no daemon answered, or one that is about to end.
    pub fn is_unavailable(&self) -> bool {
        match self {
            ClientError::Unreachable { .. } => true,
            ClientError::Refused { status } => status.code() == Code::Unavailable,
            ClientError::Address { .. } | ClientError::Answer(_) => false,
        }
    }
}

/// When to try again, from a status's details.
fn retry_delay(status: &tonic::Status) -> Option<Duration> {
    let details = status.get_error_details();
    details.retry_info().and_then(|info| info.retry_delay)
}

struct Hints<'s>(&'s tonic::Status);

impl fmt::Display for Hints<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match retry_delay(self.0) {
            Some(delay) => write!(f, " (try again in {} s)", delay.as_secs_f64()),
            None => Ok(()),
        }
    }
}

impl Client {
    /// Connects to `host:port`, or to a URL.
    pub async fn connect(addr: &str) -> Result<Self, ClientError> {
        let url = match addr.contains("://") {
            true => addr.to_owned(),
            false => format!("http://{addr}"),
        };
        let endpoint = Endpoint::from_shared(url).map_err(|error| ClientError::Address {
            addr: addr.to_owned(),
            reason: error.to_string(),
        })?;
        let endpoint = endpoint.connect_timeout(Duration::from_secs(5));
        let connection = endpoint
            .connect()
            .await
            .map_err(|source| ClientError::Unreachable {
                addr: addr.to_owned(),
                source,
            })?;
        Ok(Self {
            judge: JudgeServiceClient::new(connection.clone()),
            control: ControlServiceClient::new(connection),
        })
    }

    pub async fn judge(&mut self, question: Question) -> Result<Decision, ClientError> {
        let timeout = question.timeout;
        let mut request = Request::new(question.into_message());
        if let Some(timeout) = timeout {
            request.set_timeout(timeout);
        }
        let response = self.judge.judge(request).await.map_err(refused)?;
        decision(response.into_inner())
    }

    pub async fn status(&mut self) -> Result<Status, ClientError> {
        let request = Request::new(proto::GetStatusRequest {});
        let response = self.control.get_status(request).await.map_err(refused)?;
        status(response.into_inner())
    }
}

impl Question {
    fn into_message(self) -> proto::JudgeRequest {
        let channel = match self.channel {
            None => proto::Channel::Unspecified,
            Some(Channel::Email) => proto::Channel::Email,
            Some(Channel::Sms) => proto::Channel::Sms,
            Some(Channel::Linkedin) => proto::Channel::Linkedin,
        };
        let rationale_mode = match self.rationale {
            RationaleMode::None => proto::RationaleMode::None,
            RationaleMode::Sentence => proto::RationaleMode::Sentence,
        };
        proto::JudgeRequest {
            request_id: self.request_id,
            context_json: self.context_json,
            draft: self.draft,
            channel: channel.into(),
            rationale_mode: rationale_mode.into(),
        }
    }
}

fn refused(status: tonic::Status) -> ClientError {
    let first = std::error::Error::source(&status);
    let mut causes = std::iter::successors(first, |cause| cause.source());
    // To the transport, our own deadline is a cancellation.
    let status = match causes.any(|cause| cause.is::<TimeoutExpired>()) {
        true => tonic::Status::deadline_exceeded("no answer came before the deadline"),
        false => status,
    };
    ClientError::Refused {
        status: Box::new(status),
    }
}

/// An answer without a known label and disposition is no answer.
fn decision(response: proto::JudgeResponse) -> Result<Decision, ClientError> {
    let unknown = |what: &str| ClientError::Answer(format!("it has no known {what}"));
    let label = label(response.label()).ok_or_else(|| unknown("label"))?;
    let disposition = match response.disposition() {
        proto::Disposition::Unspecified => return Err(unknown("disposition")),
        proto::Disposition::Dispatch => Disposition::Dispatch,
        proto::Disposition::HoldForReview => Disposition::HoldForReview,
        proto::Disposition::RouteToHuman => Disposition::RouteToHuman,
        proto::Disposition::DoNotSend => Disposition::DoNotSend,
    };
    let decided_by = match response.decided_by() {
        proto::DecidedBy::Unspecified => return Err(unknown("decider")),
        proto::DecidedBy::Model => DecidedBy::Model,
        proto::DecidedBy::Rules => DecidedBy::Rules,
    };
    let mode = mode(response.mode()).ok_or_else(|| unknown("mode"))?;
    Ok(Decision {
        label,
        disposition,
        decided_by,
        mode,
        scores: scores(&response),
        decision_id: response.decision_id,
        rationale: response.rationale,
        degraded_reason: some(response.degraded_reason),
        rules: response.rules,
        model: response.model.map(revision),
        usage: response.usage.map(usage).unwrap_or_default(),
        timings: response.timings.map(timings).unwrap_or_default(),
    })
}

fn status(response: proto::GetStatusResponse) -> Result<Status, ClientError> {
    let unknown = |what: &str| ClientError::Answer(format!("it has no known {what}"));
    let engine_state = match response.engine_state() {
        proto::EngineState::Unspecified => return Err(unknown("engine state")),
        proto::EngineState::Absent => EngineState::Absent,
        proto::EngineState::Loading => EngineState::Loading,
        proto::EngineState::Ready => EngineState::Ready,
        proto::EngineState::Stuck => EngineState::Stuck,
        proto::EngineState::Failed => EngineState::Failed,
    };
    let mode = mode(response.mode()).ok_or_else(|| unknown("mode"))?;
    let counters = response.counters.unwrap_or_default();
    let rules = response.answer_rules.iter().map(|(rule, number)| {
        let named = proto::Label::try_from(*number).ok().and_then(label);
        Ok((rule.clone(), named.ok_or_else(|| unknown("label"))?))
    });
    let answer_rules = rules.collect::<Result<_, ClientError>>()?;
    Ok(Status {
        mode,
        engine_state,
        version: response.version,
        degraded_reason: some(response.degraded_reason),
        draining: response.draining,
        model: response.model.map(revision),
        engine: response.engine.map(engine_info),
        queue_depth: response.queue_depth,
        queue_limit: response.queue_limit,
        running: response.running,
        uptime: duration(response.uptime),
        decisions_by_model: counters.decisions_by_model,
        decisions_by_rules: counters.decisions_by_rules,
        refused: counters.refused,
        abandoned: counters.abandoned,
        prefill_tokens: counters.prefill_tokens,
        prefill_time: duration(counters.prefill_time),
        cached_tokens: counters.cached_tokens,
        decode_tokens: counters.decode_tokens,
        decode_time: duration(counters.decode_time),
        hard_rules: response.hard_rules,
        answer_rules,
    })
}

fn label(label: proto::Label) -> Option<Label> {
    match label {
        proto::Label::Unspecified => None,
        proto::Label::Suppress => Some(Label::Suppress),
        proto::Label::Escalate => Some(Label::Escalate),
        proto::Label::Block => Some(Label::Block),
        proto::Label::Penalise => Some(Label::Penalise),
        proto::Label::Pass => Some(Label::Pass),
    }
}

fn mode(mode: proto::Mode) -> Option<Mode> {
    match mode {
        proto::Mode::Unspecified => None,
        proto::Mode::Enforce => Some(Mode::Enforce),
        proto::Mode::Shadow => Some(Mode::Shadow),
        proto::Mode::RulesOnly => Some(Mode::RulesOnly),
    }
}

/// `None` unless all five labels have one.
fn scores(response: &proto::JudgeResponse) -> Option<Scores> {
    let rows: HashMap<Label, f64> = response
        .scores
        .iter()
        .filter_map(|row| Some((label(row.label())?, row.probability)))
        .collect();
    let mut probabilities = [0.0; 5];
    for label in Label::ALL {
        probabilities[label.index()] = *rows.get(&label)?;
    }
    Some(Scores {
        probabilities,
        legal_mass: response.legal_mass,
    })
}

fn revision(revision: proto::ModelRevision) -> ModelRevision {
    ModelRevision {
        bundle: revision.bundle,
        base_sha256: revision.base_sha256,
        adapter_sha256: some(revision.adapter_sha256),
        adapter_scale: revision.scale,
        template_sha256: revision.template_sha256,
    }
}

fn engine_info(info: proto::EngineInfo) -> EngineInfo {
    let devices = info.devices.into_iter().map(|device| Device {
        name: device.name,
        description: device.description,
        kind: match device.kind.as_str() {
            "cpu" => "cpu",
            "gpu" => "gpu",
            _ => "accelerator",
        },
        memory_free_bytes: device.memory_free_bytes,
        memory_total_bytes: device.memory_total_bytes,
    });
    EngineInfo {
        runtime: info.runtime,
        cpu_variant: info.cpu_variant,
        devices: devices.collect(),
        threads: info.threads,
        adapter: info.adapter,
        context_cells: info.context_cells,
        slots: info.slots,
        shared_prefix_tokens: info.shared_prefix_tokens,
        load_time: duration(info.load_time),
    }
}

fn usage(usage: proto::Usage) -> Usage {
    Usage {
        prompt_tokens: usage.prompt_tokens,
        cached_tokens: usage.cached_tokens,
        generated_tokens: usage.generated_tokens,
    }
}

fn timings(timings: proto::Timings) -> Timings {
    Timings {
        queue: duration(timings.queue),
        prefill: duration(timings.prefill),
        decode: duration(timings.decode),
        total: duration(timings.total),
    }
}

fn duration(duration: Option<prost_types::Duration>) -> Duration {
    duration
        .and_then(|duration| Duration::try_from(duration).ok())
        .unwrap_or_default()
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}
