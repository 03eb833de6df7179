//! Wire types to ours and back. An unknown enum number is an error, never a default.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tonic::metadata::MetadataMap;

use super::proto;
use super::status::{Failure, Violation};
use crate::channel::Channel;
use crate::context::Context;
use crate::engine::State;
use crate::engine::scheduler::Caller;
use crate::judge::{ContentHash, Request};
use crate::supervisor::History;
use crate::verdict::{
    Case, DecidedBy, Decision, Disposition, Label, Mode, ModelRevision, RationaleMode, Scores,
    Timings, Usage,
};

/// The longest request id, in bytes.
pub const REQUEST_ID_LIMIT: usize = 128;

/// What is known of a request beside its message.
#[derive(Clone, Debug)]
pub struct Envelope {
    pub arrived: Instant,
    pub deadline: Option<Instant>,
    pub caller: Caller,
    /// The name of the token that it came with.
    pub caller_name: Option<Arc<str>>,
}

/// Reads a request, and reports all that is wrong with it together.
pub fn request(message: proto::JudgeRequest, envelope: Envelope) -> Result<Request, Failure> {
    let content = content_hash(&message);
    let mut violations = Vec::new();
    let mut wrong = |field, description: String| {
        violations.push(Violation { field, description });
    };
    if message.request_id.len() > REQUEST_ID_LIMIT {
        let length = message.request_id.len();
        wrong(
            "request_id",
            format!("`request_id` has `{length}` bytes, more than `{REQUEST_ID_LIMIT}`"),
        );
    }
    let requested_channel = match channel(message.channel) {
        Ok(channel) => channel,
        Err(number) => {
            wrong("channel", format!("`channel` has no value `{number}`"));
            None
        }
    };
    let rationale = match rationale_mode(message.rationale_mode) {
        Ok(rationale) => rationale,
        Err(number) => {
            let description = format!("`rationale_mode` has no value `{number}`");
            wrong("rationale_mode", description);
            RationaleMode::default()
        }
    };
    if message.draft.trim().is_empty() {
        wrong(
            "draft",
            "`draft` is empty: there is nothing to judge".to_owned(),
        );
    }
    let context = match Context::parse(&message.context_json) {
        Ok(context) => Some(context),
        Err(error) => {
            wrong("context_json", format!("`context_json`: {error}"));
            None
        }
    };
    match context {
        Some(context) if violations.is_empty() => Ok(Request {
            bytes: message.context_json.len() + message.draft.len(),
            id: message.request_id,
            content,
            case: Case {
                context,
                draft: message.draft,
                requested_channel,
            },
            rationale,
            caller: envelope.caller,
            caller_name: envelope.caller_name,
            arrived: envelope.arrived,
            deadline: envelope.deadline,
        }),
        _ => Err(Failure::Malformed { violations }),
    }
}

/// How long an answer may need to its caller. Later it would be thrown away:
/// the caller's own timer for the same header has said something less exact.
const TRAVEL: Duration = Duration::from_millis(10);

/// When an answer must leave for a caller who waits as its `grpc-timeout`
/// header says.
pub fn deadline(metadata: &MetadataMap, arrived: Instant) -> Option<Instant> {
    let timeout = timeout(metadata.get("grpc-timeout")?.to_str().ok()?)?;
    arrived.checked_add(timeout - TRAVEL.min(timeout / 10))
}

/// One to eight digits and a unit.
fn timeout(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let digits = number.len() <= 8 && number.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = number.parse().ok().filter(|_| digits)?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

pub fn response(decision: &Decision) -> proto::JudgeResponse {
    proto::JudgeResponse {
        decision_id: decision.decision_id.clone(),
        label: label(decision.label).into(),
        rationale: decision.rationale.clone(),
        scores: decision.scores.as_ref().map(scores).unwrap_or_default(),
        disposition: disposition(decision.disposition).into(),
        decided_by: decided_by(decision.decided_by).into(),
        mode: mode(decision.mode).into(),
        degraded_reason: decision.degraded_reason.clone().unwrap_or_default(),
        rules: decision.rules.clone(),
        model: decision.model.as_ref().map(revision),
        usage: Some(usage(decision.usage)),
        timings: Some(timings(decision.timings)),
        legal_mass: decision.scores.map_or(0.0, |scores| scores.legal_mass),
    }
}

pub fn scores(scores: &Scores) -> Vec<proto::LabelScore> {
    let rows = Label::ALL.into_iter().zip(scores.probabilities);
    rows.map(|(name, probability)| proto::LabelScore {
        label: label(name).into(),
        probability,
    })
    .collect()
}

pub fn rationale_event(decision: &Decision) -> proto::RationaleEvent {
    proto::RationaleEvent {
        decision_id: decision.decision_id.clone(),
        rationale: decision.rationale.clone(),
        usage: Some(usage(decision.usage)),
        timings: Some(timings(decision.timings)),
    }
}

pub fn revision(revision: &ModelRevision) -> proto::ModelRevision {
    proto::ModelRevision {
        bundle: revision.bundle.clone(),
        base_sha256: revision.base_sha256.clone(),
        adapter_sha256: revision.adapter_sha256.clone().unwrap_or_default(),
        scale: revision.adapter_scale,
        adapter_merged: revision.adapter_merged,
        template_sha256: revision.template_sha256.clone(),
    }
}

pub fn restarts(history: &History) -> proto::Restarts {
    let last = history.last.as_ref();
    proto::Restarts {
        count: history.count(),
        last: last.map(|last| last.time.into()),
        reason: last.map(|last| last.reason.clone()).unwrap_or_default(),
    }
}

pub fn duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0),
    }
}

pub fn mode(mode: Mode) -> proto::Mode {
    match mode {
        Mode::Enforce => proto::Mode::Enforce,
        Mode::Shadow => proto::Mode::Shadow,
        Mode::RulesOnly => proto::Mode::RulesOnly,
    }
}

pub fn engine_state(state: &State) -> proto::EngineState {
    match state {
        State::Missing(_) => proto::EngineState::Absent,
        State::Loading => proto::EngineState::Loading,
        State::Ready(_) => proto::EngineState::Ready,
        State::Stuck(_) => proto::EngineState::Stuck,
        State::Failed(_) | State::AdapterFailed(_) => proto::EngineState::Failed,
        State::Suspended(_) => proto::EngineState::Suspended,
    }
}

pub fn label(label: Label) -> proto::Label {
    match label {
        Label::Suppress => proto::Label::Suppress,
        Label::Escalate => proto::Label::Escalate,
        Label::Block => proto::Label::Block,
        Label::Penalise => proto::Label::Penalise,
        Label::Pass => proto::Label::Pass,
    }
}

fn disposition(disposition: Disposition) -> proto::Disposition {
    match disposition {
        Disposition::Dispatch => proto::Disposition::Dispatch,
        Disposition::HoldForReview => proto::Disposition::HoldForReview,
        Disposition::RouteToHuman => proto::Disposition::RouteToHuman,
        Disposition::DoNotSend => proto::Disposition::DoNotSend,
    }
}

pub fn decided_by(decided_by: DecidedBy) -> proto::DecidedBy {
    match decided_by {
        DecidedBy::Model => proto::DecidedBy::Model,
        DecidedBy::Rules => proto::DecidedBy::Rules,
    }
}

pub fn channel_name(channel: Channel) -> proto::Channel {
    match channel {
        Channel::Email => proto::Channel::Email,
        Channel::Sms => proto::Channel::Sms,
        Channel::Linkedin => proto::Channel::Linkedin,
    }
}

pub fn label_named(number: i32) -> Option<Label> {
    match proto::Label::try_from(number).ok()? {
        proto::Label::Unspecified => None,
        proto::Label::Suppress => Some(Label::Suppress),
        proto::Label::Escalate => Some(Label::Escalate),
        proto::Label::Block => Some(Label::Block),
        proto::Label::Penalise => Some(Label::Penalise),
        proto::Label::Pass => Some(Label::Pass),
    }
}

pub fn mode_named(number: i32) -> Option<Mode> {
    match proto::Mode::try_from(number).ok()? {
        proto::Mode::Unspecified => None,
        proto::Mode::Enforce => Some(Mode::Enforce),
        proto::Mode::Shadow => Some(Mode::Shadow),
        proto::Mode::RulesOnly => Some(Mode::RulesOnly),
    }
}

pub fn decided_by_named(number: i32) -> Option<DecidedBy> {
    match proto::DecidedBy::try_from(number).ok()? {
        proto::DecidedBy::Unspecified => None,
        proto::DecidedBy::Model => Some(DecidedBy::Model),
        proto::DecidedBy::Rules => Some(DecidedBy::Rules),
    }
}

fn channel(number: i32) -> Result<Option<Channel>, i32> {
    match proto::Channel::try_from(number) {
        Ok(proto::Channel::Unspecified) => Ok(None),
        Ok(proto::Channel::Email) => Ok(Some(Channel::Email)),
        Ok(proto::Channel::Sms) => Ok(Some(Channel::Sms)),
        Ok(proto::Channel::Linkedin) => Ok(Some(Channel::Linkedin)),
        Err(_) => Err(number),
    }
}

fn rationale_mode(number: i32) -> Result<RationaleMode, i32> {
    match proto::RationaleMode::try_from(number) {
        Ok(proto::RationaleMode::None) => Ok(RationaleMode::None),
        Ok(proto::RationaleMode::Unspecified | proto::RationaleMode::Sentence) => {
            Ok(RationaleMode::Sentence)
        }
        Ok(proto::RationaleMode::Evidence) => Ok(RationaleMode::Evidence),
        Err(_) => Err(number),
    }
}

fn usage(usage: Usage) -> proto::Usage {
    proto::Usage {
        prompt_tokens: usage.prompt_tokens,
        cached_tokens: usage.cached_tokens,
        generated_tokens: usage.generated_tokens,
    }
}

fn timings(timings: Timings) -> proto::Timings {
    proto::Timings {
        queue: Some(duration(timings.queue)),
        prefill: Some(duration(timings.prefill)),
        decode: Some(duration(timings.decode)),
        total: Some(duration(timings.total)),
    }
}

/// Over everything that can change the answer, each field with its length.
fn content_hash(message: &proto::JudgeRequest) -> ContentHash {
    let mut hash = Sha256::new();
    for text in [&message.context_json, &message.draft] {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    }
    hash.update(message.channel.to_le_bytes());
    let rationale_mode = match proto::RationaleMode::try_from(message.rationale_mode) {
        Ok(proto::RationaleMode::Unspecified) => i32::from(proto::RationaleMode::Sentence),
        _ => message.rationale_mode,
    };
    hash.update(rationale_mode.to_le_bytes());
    hash.finalize().into()
}
