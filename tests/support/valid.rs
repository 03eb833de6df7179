//! Which messages are valid, said once more and apart from the daemon's conversions.

#![allow(dead_code, reason = "each test crate uses its own part")]

use judged::rpc::proto;

use super::json;

pub fn request(message: &proto::JudgeRequest) -> bool {
    message.request_id.len() <= 128
        && (0..=3).contains(&message.channel)
        && (0..=3).contains(&message.rationale_mode)
        && message.draft.chars().any(|letter| !letter.is_whitespace())
        && json::is_context(&message.context_json)
}

/// In a stream answers are matched by the id, so that it must be there.
pub fn stream_request(message: &proto::JudgeStreamRequest) -> bool {
    let matched = |asked: &proto::JudgeRequest| !asked.request_id.is_empty() && request(asked);
    message.request.as_ref().is_some_and(matched)
}

/// Whether the decision exists is another question.
pub fn report(message: &proto::ReportOutcomeRequest) -> bool {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
    let by = &message.reported_by;
    let found = match message.kind {
        // Right, and a false positive.
        1 | 2 => true,
        // A missed violation has a label other than PASS.
        3 => (1..=4).contains(&message.true_label),
        4 => (1..=3).contains(&message.incident_tier),
        _ => false,
    };
    found
        && !message.decision_id.is_empty()
        && (0..=5).contains(&message.true_label)
        && by.len() <= 256
        && by.chars().any(|letter| !letter.is_whitespace())
        && message.note.len() <= 4096
        && message.probe.len() <= 32
        && message.probe.chars().all(plain)
}

pub fn filter(message: &proto::DecisionFilter) -> bool {
    (0..=5).contains(&message.label)
        && (0..=3).contains(&message.mode)
        && (0..=2).contains(&message.decided_by)
        && (0..=2).contains(&message.origin)
        && (0..=4).contains(&message.outcome)
        && [&message.from, &message.to]
            .into_iter()
            .flatten()
            .all(is_time)
}

/// All that seconds in 64 bits can name, but the very first.
fn is_time(time: &prost_types::Timestamp) -> bool {
    let carried = i64::from(time.nanos).div_euclid(1_000_000_000);
    i128::from(time.seconds) + i128::from(carried) > i128::from(i64::MIN)
}
