//! Recorded decisions off the wire, and reports onto it.

use std::time::SystemTime;

use super::ClientError;
use super::decision::{decision, revision, scores, some};
use crate::channel::Channel;
use crate::decision_log::{
    Content, Entry, Filter, Finding, FindingKind, Origin, Outcome, Record, ShadowAnswer, Subject,
};
use crate::rpc::{convert, proto};
use crate::verdict::{DecidedBy, Mode};

pub(super) fn entry(recorded: proto::RecordedDecision) -> Result<Entry, ClientError> {
    let unknown = |what: &str| ClientError::Answer(format!("it has no known {what}"));
    let channel = match recorded.channel() {
        proto::Channel::Unspecified => return Err(unknown("channel")),
        proto::Channel::Email => Channel::Email,
        proto::Channel::Sms => Channel::Sms,
        proto::Channel::Linkedin => Channel::Linkedin,
    };
    let origin = match recorded.origin() {
        proto::Origin::Unspecified => return Err(unknown("origin")),
        proto::Origin::Traffic => Origin::Traffic,
        proto::Origin::SpotCheck => Origin::SpotCheck,
    };
    let content = Content {
        context: recorded.context_json,
        draft: recorded.draft,
    };
    let outcomes = recorded.outcomes.into_iter();
    let response = recorded.response.ok_or_else(|| unknown("response"))?;
    let decision = decision(response)?;
    let outcomes: Result<_, _> = outcomes
        .map(|report| outcome(&decision.decision_id, report))
        .collect();
    Ok(Entry {
        shadow: recorded.shadow.map(shadow).transpose()?,
        outcomes: outcomes?,
        record: Record {
            decision,
            request_id: some(recorded.request_id),
            caller: some(recorded.caller),
            content_hash: sha256(&recorded.content_sha256)?,
            received: time(recorded.received)?,
            origin,
            rationale_pending: recorded.rationale_pending,
            subject: Subject {
                prospect: recorded.prospect,
                channel,
                context_sha256: sha256(&recorded.context_sha256)?,
                draft_sha256: sha256(&recorded.draft_sha256)?,
                masked: recorded.masked,
                content: (!content.context.is_empty()).then_some(content),
            },
        },
    })
}

fn shadow(answer: proto::ShadowAnswer) -> Result<ShadowAnswer, ClientError> {
    let unknown = |what: &str| ClientError::Answer(format!("a shadow answer has no known {what}"));
    Ok(ShadowAnswer {
        label: convert::label_named(answer.label).ok_or_else(|| unknown("label"))?,
        scores: scores(&answer.scores, answer.legal_mass).ok_or_else(|| unknown("scores"))?,
        model: answer.model.map(revision).ok_or_else(|| unknown("model"))?,
    })
}

fn outcome(decision_id: &str, report: proto::Outcome) -> Result<Outcome, ClientError> {
    let unknown = |what: &str| ClientError::Answer(format!("an outcome has no known {what}"));
    let finding = match report.kind() {
        proto::OutcomeKind::Unspecified => return Err(unknown("kind")),
        proto::OutcomeKind::Right => Finding::Right,
        proto::OutcomeKind::FalsePositive => Finding::FalsePositive,
        proto::OutcomeKind::MissedViolation => {
            let missed =
                convert::label_named(report.true_label).ok_or_else(|| unknown("true label"))?;
            Finding::MissedViolation(missed)
        }
        proto::OutcomeKind::Incident => Finding::Incident {
            tier: u8::try_from(report.incident_tier).map_err(|_| unknown("tier"))?,
        },
    };
    Ok(Outcome {
        decision_id: decision_id.to_owned(),
        time: time(report.reported)?,
        finding,
        probe: some(report.probe),
        who: report.reported_by,
        note: report.note,
    })
}

pub(super) fn time(time: Option<prost_types::Timestamp>) -> Result<SystemTime, ClientError> {
    let time = time.and_then(|time| SystemTime::try_from(time).ok());
    time.ok_or_else(|| ClientError::Answer("it has no readable time".to_owned()))
}

fn sha256(text: &str) -> Result<[u8; 32], ClientError> {
    let mut hash = [0; 32];
    const_hex::decode_to_slice(text, &mut hash)
        .map_err(|error| ClientError::Answer(format!("`{text}` is no SHA-256: {error}")))?;
    Ok(hash)
}

pub(super) fn filter(filter: &Filter) -> proto::DecisionFilter {
    let number = |value: Option<i32>| value.unwrap_or_default();
    proto::DecisionFilter {
        label: number(filter.label.map(|label| convert::label(label).into())),
        prospect: filter.prospect.clone().unwrap_or_default(),
        from: filter.from.map(Into::into),
        to: filter.to.map(Into::into),
        mode: number(filter.mode.map(|mode: Mode| convert::mode(mode).into())),
        decided_by: number(
            filter
                .decided_by
                .map(|by: DecidedBy| convert::decided_by(by).into()),
        ),
        disagreements: filter.disagreement,
        outcome: number(filter.outcome.map(|kind| kind_number(kind).into())),
        origin: number(filter.origin.map(|origin| {
            match origin {
                Origin::Traffic => proto::Origin::Traffic,
                Origin::SpotCheck => proto::Origin::SpotCheck,
            }
            .into()
        })),
    }
}

pub(super) fn report(outcome: &Outcome) -> proto::ReportOutcomeRequest {
    let (true_label, incident_tier) = match outcome.finding {
        Finding::MissedViolation(label) => (convert::label(label), 0),
        Finding::Incident { tier } => (proto::Label::Unspecified, tier),
        Finding::Right | Finding::FalsePositive => (proto::Label::Unspecified, 0),
    };
    proto::ReportOutcomeRequest {
        decision_id: outcome.decision_id.clone(),
        kind: kind_number(outcome.finding.kind()).into(),
        true_label: true_label.into(),
        incident_tier: incident_tier.into(),
        reported_by: outcome.who.clone(),
        note: outcome.note.clone(),
        probe: outcome.probe.clone().unwrap_or_default(),
    }
}

fn kind_number(kind: FindingKind) -> proto::OutcomeKind {
    match kind {
        FindingKind::Right => proto::OutcomeKind::Right,
        FindingKind::FalsePositive => proto::OutcomeKind::FalsePositive,
        FindingKind::MissedViolation => proto::OutcomeKind::MissedViolation,
        FindingKind::Incident => proto::OutcomeKind::Incident,
    }
}
