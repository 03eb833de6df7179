//! Messages as they come from the network, to our types. The first byte says which.

use std::time::{Duration, Instant, SystemTime};

use judged::rpc::convert::{self, Envelope};
use judged::rpc::status::Failure;
use judged::rpc::{proto, record};
use prost::Message;
use tonic::Code;
use tonic::metadata::MetadataMap;

use super::support::valid;

pub const REQUEST: u8 = 0;
pub const STREAM_REQUEST: u8 = 1;
pub const REPORT: u8 = 2;
pub const FILTER: u8 = 3;
pub const MODE: u8 = 4;
pub const TIMEOUT: u8 = 5;

pub fn check(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    match *kind {
        REQUEST => request(bytes),
        STREAM_REQUEST => stream_request(bytes),
        REPORT => report(bytes),
        FILTER => filter(bytes),
        MODE => mode(bytes),
        TIMEOUT => timeout(bytes),
        _ => {}
    }
}

fn request(bytes: &[u8]) {
    if let Ok(message) = proto::JudgeRequest::decode(bytes) {
        judged_request(message);
    }
}

fn stream_request(bytes: &[u8]) {
    if let Ok(message) = proto::JudgeStreamRequest::decode(bytes)
        && let Some(request) = message.request
    {
        judged_request(request);
    }
}

fn judged_request(message: proto::JudgeRequest) {
    let valid = valid::request(&message);
    let envelope = Envelope {
        arrived: Instant::now(),
        deadline: None,
        caller: 0,
        caller_name: None,
    };
    let read = convert::request(message.clone(), envelope);
    assert_eq!(read.is_ok(), valid, "{message:?}");
    match read {
        Ok(request) => {
            assert_eq!(request.id, message.request_id);
            assert_eq!(request.case.draft, message.draft);
        }
        Err(failure) => refused(&failure),
    }
}

fn report(bytes: &[u8]) {
    let Ok(message) = proto::ReportOutcomeRequest::decode(bytes) else {
        return;
    };
    let now = SystemTime::now();
    let read = record::report(message.clone(), now);
    assert_eq!(read.is_ok(), valid::report(&message), "{message:?}");
    match read {
        Ok(outcome) => assert_eq!(outcome.decision_id, message.decision_id),
        Err(failure) => refused(&failure),
    }
}

fn filter(bytes: &[u8]) {
    let Ok(message) = proto::ListDecisionsRequest::decode(bytes) else {
        return;
    };
    let wire = message.filter.unwrap_or_default();
    let valid = valid::filter(&wire);
    let read = record::filter(wire);
    assert_eq!(read.is_ok(), valid, "{read:?}");
    if let Err(failure) = read {
        refused(&failure);
    }
}

fn mode(bytes: &[u8]) {
    if let Ok(message) = proto::SetModeRequest::decode(bytes) {
        let named = convert::mode_named(message.mode);
        assert_eq!(named.is_some(), (1..=3).contains(&message.mode));
    }
}

/// The header in which a caller says how long it waits.
fn timeout(bytes: &[u8]) {
    let Ok(value) = bytes.try_into() else { return };
    let mut metadata = MetadataMap::new();
    metadata.insert("grpc-timeout", value);
    let arrived = Instant::now();
    if let Some(deadline) = convert::deadline(&metadata, arrived) {
        let longest = Duration::from_secs(99_999_999 * 3600);
        assert!(deadline >= arrived && deadline <= arrived + longest);
    }
}

/// A refusal says in which field and why.
fn refused(failure: &Failure) {
    assert_eq!(failure.code(), Code::InvalidArgument);
    let event = failure.to_event();
    assert!(!event.field_violations.is_empty() && !event.message.is_empty());
    assert_eq!(failure.to_status().message(), event.message);
}
