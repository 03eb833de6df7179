//! Recorded decisions, and reports on them, to wire types and back.

use std::time::SystemTime;

use super::convert;
use super::proto;
use super::status::{Failure, Violation};
use crate::decision_log::{Entry, Filter, Finding, FindingKind, Origin, Outcome, ShadowAnswer};
use crate::spot_check;
use crate::verdict::Label;

pub fn recorded(entry: &Entry) -> proto::RecordedDecision {
    let record = &entry.record;
    let subject = &record.subject;
    let content = subject.content.clone();
    let (context_json, draft) = content
        .map(|content| (content.context, content.draft))
        .unwrap_or_default();
    proto::RecordedDecision {
        response: Some(convert::response(&record.decision)),
        received: Some(record.received.into()),
        request_id: record.request_id.clone().unwrap_or_default(),
        prospect: subject.prospect.clone(),
        channel: convert::channel_name(subject.channel).into(),
        context_json,
        draft,
        masked: subject.masked.clone(),
        context_sha256: const_hex::encode(subject.context_sha256),
        draft_sha256: const_hex::encode(subject.draft_sha256),
        shadow: entry.shadow.as_ref().map(shadow),
        outcomes: entry.outcomes.iter().map(outcome).collect(),
        origin: match record.origin {
            Origin::Traffic => proto::Origin::Traffic,
            Origin::SpotCheck => proto::Origin::SpotCheck,
        }
        .into(),
        rationale_pending: record.rationale_pending,
        content_sha256: const_hex::encode(record.content_hash),
        caller: record.caller.clone().unwrap_or_default(),
    }
}

fn shadow(answer: &ShadowAnswer) -> proto::ShadowAnswer {
    proto::ShadowAnswer {
        label: convert::label(answer.label).into(),
        scores: convert::scores(&answer.scores),
        legal_mass: answer.scores.legal_mass,
        model: Some(convert::revision(&answer.model)),
    }
}

fn outcome(outcome: &Outcome) -> proto::Outcome {
    let (true_label, incident_tier) = match outcome.finding {
        Finding::Right | Finding::FalsePositive => (proto::Label::Unspecified, 0),
        Finding::MissedViolation(label) => (convert::label(label), 0),
        Finding::Incident { tier } => (proto::Label::Unspecified, tier),
    };
    proto::Outcome {
        reported: Some(outcome.time.into()),
        kind: match outcome.finding.kind() {
            FindingKind::Right => proto::OutcomeKind::Right,
            FindingKind::FalsePositive => proto::OutcomeKind::FalsePositive,
            FindingKind::MissedViolation => proto::OutcomeKind::MissedViolation,
            FindingKind::Incident => proto::OutcomeKind::Incident,
        }
        .into(),
        true_label: true_label.into(),
        incident_tier: incident_tier.into(),
        reported_by: outcome.who.clone(),
        note: outcome.note.clone(),
        probe: outcome.probe.clone().unwrap_or_default(),
    }
}

/// The longest name and note of a report, in bytes.
const WHO_LIMIT: usize = 256;
const NOTE_LIMIT: usize = 4096;
/// The longest id of a decision, in bytes: far longer than those that are given out.
const DECISION_ID_LIMIT: usize = 128;
/// Tiers of incidents: 1 is the worst.
const LAST_TIER: u32 = 3;

/// Reads the id of a decision that is asked for.
pub fn decision_id(id: String) -> Result<String, Failure> {
    let mut check = Check::default();
    check.decision_id(&id);
    check.done(Some(id))
}

/// Reads a report, and tells all that is wrong with it together.
pub fn report(request: proto::ReportOutcomeRequest, now: SystemTime) -> Result<Outcome, Failure> {
    let mut check = Check::default();
    if request.decision_id.is_empty() {
        check.wrong("decision_id", "`decision_id` is empty");
    }
    check.decision_id(&request.decision_id);
    if request.reported_by.trim().is_empty() || request.reported_by.len() > WHO_LIMIT {
        let why = format!("`reported_by` needs 1 to {WHO_LIMIT} bytes: who found this?");
        check.wrong("reported_by", why);
    }
    if request.note.len() > NOTE_LIMIT {
        check.wrong("note", format!("`note` is longer than {NOTE_LIMIT} bytes"));
    }
    if !request.probe.is_empty() && !spot_check::is_probe_name(&request.probe) {
        let why = "`probe` must be 1 to 32 letters, digits, `-` or `_`";
        check.wrong("probe", why);
    }
    let finding = check.finding(&request);
    let finding = check.done(finding)?;
    Ok(Outcome {
        decision_id: request.decision_id,
        time: now,
        finding,
        probe: (!request.probe.is_empty()).then_some(request.probe),
        who: request.reported_by,
        note: request.note,
    })
}

/// Reads a filter, and tells all that is wrong with it together.
pub fn filter(wire: proto::DecisionFilter) -> Result<Filter, Failure> {
    let mut check = Check::default();
    let filter = Filter {
        label: check.label("filter.label", wire.label),
        prospect: (!wire.prospect.is_empty()).then_some(wire.prospect),
        from: check.time("filter.from", wire.from),
        to: check.time("filter.to", wire.to),
        mode: check.known("filter.mode", wire.mode, convert::mode_named),
        decided_by: check.known(
            "filter.decided_by",
            wire.decided_by,
            convert::decided_by_named,
        ),
        origin: check.known("filter.origin", wire.origin, origin_named),
        disagreement: wire.disagreements,
        outcome: check.known("filter.outcome", wire.outcome, kind_named),
    };
    check.done(Some(filter))
}

/// Gathers what is wrong with a message.
#[derive(Default)]
struct Check {
    violations: Vec<Violation>,
}

impl Check {
    fn wrong(&mut self, field: &'static str, description: impl Into<String>) {
        self.violations.push(Violation {
            field,
            description: description.into(),
        });
    }

    /// That a decision is unknown is told with its id, and a status has no room for a long one.
    fn decision_id(&mut self, id: &str) {
        if id.len() > DECISION_ID_LIMIT {
            let why = format!("`decision_id` is longer than {DECISION_ID_LIMIT} bytes");
            self.wrong("decision_id", why);
        }
    }

    /// `None` for the zero, which says nothing, and for unknown numbers.
    fn known<T>(
        &mut self,
        field: &'static str,
        number: i32,
        named: impl Fn(i32) -> Option<T>,
    ) -> Option<T> {
        if number == 0 {
            return None;
        }
        let value = named(number);
        if value.is_none() {
            self.wrong(field, format!("`{field}` has no value `{number}`"));
        }
        value
    }

    fn label(&mut self, field: &'static str, number: i32) -> Option<Label> {
        self.known(field, number, convert::label_named)
    }

    fn time(
        &mut self,
        field: &'static str,
        time: Option<prost_types::Timestamp>,
    ) -> Option<SystemTime> {
        match SystemTime::try_from(time?) {
            Ok(time) => Some(time),
            Err(error) => {
                self.wrong(field, format!("`{field}`: {error}"));
                None
            }
        }
    }

    fn finding(&mut self, request: &proto::ReportOutcomeRequest) -> Option<Finding> {
        let label = self.label("true_label", request.true_label);
        match self.known("kind", request.kind, kind_named) {
            None if request.kind == 0 => {
                self.wrong("kind", "`kind` is missing");
                None
            }
            None => None,
            Some(FindingKind::Right) => Some(Finding::Right),
            Some(FindingKind::FalsePositive) => Some(Finding::FalsePositive),
            Some(FindingKind::MissedViolation) => match label {
                Some(label) if label != Label::Pass => Some(Finding::MissedViolation(label)),
                _ => {
                    let why = "`true_label` must say which violation was missed";
                    self.wrong("true_label", why);
                    None
                }
            },
            Some(FindingKind::Incident) => match request.incident_tier {
                tier @ 1..=LAST_TIER => u8::try_from(tier)
                    .ok()
                    .map(|tier| Finding::Incident { tier }),
                tier => {
                    let why = format!("`incident_tier` is `{tier}`, not 1 to {LAST_TIER}");
                    self.wrong("incident_tier", why);
                    None
                }
            },
        }
    }

    fn done<T>(self, value: Option<T>) -> Result<T, Failure> {
        match value {
            Some(value) if self.violations.is_empty() => Ok(value),
            _ => Err(Failure::Malformed {
                violations: self.violations,
            }),
        }
    }
}

fn kind_named(number: i32) -> Option<FindingKind> {
    match proto::OutcomeKind::try_from(number).ok()? {
        proto::OutcomeKind::Unspecified => None,
        proto::OutcomeKind::Right => Some(FindingKind::Right),
        proto::OutcomeKind::FalsePositive => Some(FindingKind::FalsePositive),
        proto::OutcomeKind::MissedViolation => Some(FindingKind::MissedViolation),
        proto::OutcomeKind::Incident => Some(FindingKind::Incident),
    }
}

fn origin_named(number: i32) -> Option<Origin> {
    match proto::Origin::try_from(number).ok()? {
        proto::Origin::Unspecified => None,
        proto::Origin::Traffic => Some(Origin::Traffic),
        proto::Origin::SpotCheck => Some(Origin::SpotCheck),
    }
}
