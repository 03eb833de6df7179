//! Calls as nobody means them, from a seed: each with the verdicts that it may still get,
//! which an independent check says.

#![allow(dead_code, reason = "each test crate uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test that goes wrong should stop")]

use http::Method;
use judged::rpc::proto::{
    DecisionFilter, GetDecisionRequest, JudgeRequest, JudgeStreamRequest, ListDecisionsRequest,
    ReArmRequest, ReportOutcomeRequest, RunSpotCheckRequest, SetModeRequest,
};
use prost::Message;

use super::hostile::{self, Chance};
use super::http2;
use super::valid;

pub const JUDGE: &str = "/judge.v1.JudgeService/Judge";
pub const JUDGE_STREAM: &str = "/judge.v1.JudgeService/JudgeStream";
const REPORT: &str = "/judge.v1.JudgeService/ReportOutcome";
const CONTROL: [&str; 6] = [
    "/judge.v1.ControlService/GetStatus",
    "/judge.v1.ControlService/SetMode",
    "/judge.v1.ControlService/ListDecisions",
    "/judge.v1.ControlService/GetDecision",
    "/judge.v1.ControlService/RunSpotCheck",
    "/judge.v1.ControlService/ReArm",
];
const HEALTH: &str = "/grpc.health.v1.Health/Check";

/// The daemon's default for `max_message_bytes`.
const MESSAGE_LIMIT: usize = 1 << 20;

#[derive(Debug)]
pub struct Attempt {
    pub method: Method,
    pub path: String,
    pub fields: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    /// gRPC messages in the body, one at least.
    pub messages: usize,
    /// Request ids of valid messages: each may get one verdict. Of a unary call the empty
    /// one is there too.
    pub may: Vec<String>,
    /// Whether each of them must, since nothing else ends the call.
    pub must: bool,
}

impl Attempt {
    pub fn is_control(&self) -> bool {
        self.path.contains("Control")
    }

    /// Its answers have the form of a stream's.
    pub fn is_stream(&self) -> bool {
        self.path == JUDGE_STREAM
    }
}

/// Any call, spoilt in one way.
pub fn attempt(chance: &mut Chance, decision: &str) -> Attempt {
    let path = match chance.below(20) {
        0..10 => JUDGE,
        10..14 => JUDGE_STREAM,
        14..16 => REPORT,
        16..19 => chance.pick(&CONTROL),
        _ => HEALTH,
    };
    let count = if path == JUDGE_STREAM {
        1 + chance.below(6)
    } else {
        1
    };
    let way = chance.below(10);
    let mut messages: Vec<Vec<u8>> = (0..count)
        .map(|_| message(chance, path, decision))
        .collect();
    if way < 6 {
        let spoilt = chance.below(count);
        spoil(chance, &mut messages[spoilt]);
    }
    let mut body: Vec<u8> = messages
        .iter()
        .flat_map(|bytes| http2::message(bytes))
        .collect();
    let mut call = Call::new(path);
    match way {
        6 | 7 => spoil_framing(chance, &mut body),
        8 => call.spoil(chance),
        _ => {}
    }
    let (may, must) = match call.is_grpc {
        true => verdicts(&call.path, &body),
        false => (Vec::new(), false),
    };
    Attempt {
        method: call.method,
        path: call.path,
        fields: call.fields,
        body,
        messages: count,
        may,
        must,
    }
}

/// What of these bytes a verdict may be given on, read as gRPC's framing says, and whether
/// all of them can be read.
fn verdicts(path: &str, body: &[u8]) -> (Vec<String>, bool) {
    let (messages, whole) = unframe(body);
    match path {
        JUDGE => match messages.as_slice() {
            [one] if whole => match JudgeRequest::decode(*one) {
                Ok(request) if valid::request(&request) => (vec![request.request_id], true),
                _ => (Vec::new(), false),
            },
            _ => (Vec::new(), false),
        },
        JUDGE_STREAM => {
            let count = messages.len();
            let read = messages
                .into_iter()
                .map_while(|bytes| JudgeStreamRequest::decode(bytes).ok());
            let read: Vec<JudgeStreamRequest> = read.collect();
            let must = whole && read.len() == count;
            let valid = read.into_iter().filter(valid::stream_request);
            let ids = valid.filter_map(|message| Some(message.request?.request_id));
            (ids.collect(), must)
        }
        _ => (Vec::new(), false),
    }
}

/// The messages up to the first that is compressed, too long or cut off, and whether there
/// is none such.
fn unframe(mut body: &[u8]) -> (Vec<&[u8]>, bool) {
    let mut messages = Vec::new();
    while let Some((head, rest)) = body.split_first_chunk::<5>() {
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if head[0] != 0 || length > MESSAGE_LIMIT || length > rest.len() {
            return (messages, false);
        }
        messages.push(&rest[..length]);
        body = &rest[length..];
    }
    (messages, body.is_empty())
}

fn message(chance: &mut Chance, path: &str, decision: &str) -> Vec<u8> {
    let text = |chance: &mut Chance| match chance.below(4) {
        0 => String::new(),
        1 => decision.to_owned(),
        _ => hostile::text(chance, 3),
    };
    match path {
        JUDGE => judge(chance).encode_to_vec(),
        JUDGE_STREAM => {
            let request = (chance.below(12) > 0).then(|| judge(chance));
            JudgeStreamRequest { request }.encode_to_vec()
        }
        REPORT => ReportOutcomeRequest {
            decision_id: text(chance),
            kind: number(chance, 5),
            true_label: number(chance, 6),
            incident_tier: number(chance, 4) as u32,
            reported_by: text(chance),
            note: text(chance),
            probe: text(chance),
        }
        .encode_to_vec(),
        _ if path.ends_with("SetMode") => SetModeRequest {
            mode: number(chance, 4),
            by: text(chance),
            reason: text(chance),
        }
        .encode_to_vec(),
        _ if path.ends_with("ListDecisions") => ListDecisionsRequest {
            filter: Some(DecisionFilter {
                label: number(chance, 6),
                prospect: text(chance),
                from: (chance.below(3) == 0).then(|| time(chance)),
                to: (chance.below(3) == 0).then(|| time(chance)),
                mode: number(chance, 4),
                decided_by: number(chance, 3),
                disagreements: chance.below(2) == 0,
                outcome: number(chance, 5),
                origin: number(chance, 3),
            }),
            page_size: chance.below(5) as u32,
            page_token: text(chance),
            with_content: chance.below(2) == 0,
        }
        .encode_to_vec(),
        _ if path.ends_with("GetDecision") => GetDecisionRequest {
            decision_id: text(chance),
        }
        .encode_to_vec(),
        _ if path.ends_with("RunSpotCheck") => RunSpotCheckRequest {
            suite_jsonl: text(chance),
        }
        .encode_to_vec(),
        _ if path.ends_with("ReArm") => ReArmRequest {
            by: text(chance),
            reason: text(chance),
            via_shadow: chance.below(2) == 0,
        }
        .encode_to_vec(),
        _ => Vec::new(),
    }
}

/// Often one that has a meaning.
fn number(chance: &mut Chance, values: usize) -> i32 {
    match chance.below(12) {
        0 => chance.next() as i32,
        1 => values as i32,
        _ => chance.below(values) as i32,
    }
}

fn time(chance: &mut Chance) -> prost_types::Timestamp {
    let bits = chance.below(64);
    prost_types::Timestamp {
        seconds: chance.next() as i64 >> bits,
        nanos: chance.next() as i32,
    }
}

/// A request as others ask, with one field as nobody asks.
fn judge(chance: &mut Chance) -> JudgeRequest {
    let (question, _) = hostile::question(chance);
    let mut request = JudgeRequest {
        request_id: format!("{:016x}", chance.next()),
        context_json: question.context_json,
        draft: question.draft,
        channel: chance.below(4) as i32,
        rationale_mode: chance.below(3) as i32,
    };
    match chance.below(16) {
        0 => request.request_id.push_str(&"i".repeat(chance.below(300))),
        1 => request.channel = number(chance, 4),
        2 => request.rationale_mode = number(chance, 3),
        3 => {
            let depth = 1 + chance.below(40_000);
            let (open, close) = match chance.below(2) {
                0 => ("[".repeat(depth), "]".repeat(depth)),
                _ => ("{\"a\":".repeat(depth), "}".repeat(depth)),
            };
            request.context_json = format!("{{\"a\":{open}1{close}}}");
        }
        4 if chance.below(20) == 0 => request.draft = "giant ".repeat(300_000),
        5 => {
            let at = chance.below(request.context_json.len() + 1);
            let text = &mut request.context_json;
            if text.is_char_boundary(at) {
                text.insert_str(
                    at,
                    ["\\ud800", "\"", "}", ",", "\\", "1e", "\u{0}"][chance.below(7)],
                );
            }
        }
        6 => request.draft = [" ", "\u{2003}", "\n\t", "\u{200b}"][chance.below(4)].to_owned(),
        _ => {}
    }
    request
}

/// Bytes of it are changed, lost, added, or are all others.
pub fn spoil(chance: &mut Chance, bytes: &mut Vec<u8>) {
    if chance.below(8) == 0 {
        *bytes = (0..chance.below(200))
            .map(|_| chance.next() as u8)
            .collect();
        return;
    }
    for _ in 0..=chance.below(4) {
        let at = chance.below(bytes.len() + 1);
        match chance.below(6) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, chance.next() as u8),
            2 => bytes.extend_from_within(at..),
            3 if at < bytes.len() => drop(bytes.remove(at)),
            4 if at < bytes.len() => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][chance.below(5)],
            _ if at < bytes.len() => bytes[at] ^= 1 << chance.below(8),
            _ => {}
        }
    }
}

/// The five bytes before a message, or what comes after it.
fn spoil_framing(chance: &mut Chance, body: &mut Vec<u8>) {
    match chance.below(7) {
        0 => body[0] = 1 + chance.below(255) as u8,
        1 => body[1 + chance.below(4)] = chance.next() as u8,
        2 => body.truncate(chance.below(body.len())),
        3 => body.extend((0..1 + chance.below(9)).map(|_| chance.next() as u8)),
        4 => body.extend_from_within(..),
        5 => body.clear(),
        _ => spoil(chance, body),
    }
}

/// The header fields of a call.
struct Call {
    method: Method,
    path: String,
    fields: Vec<(&'static str, String)>,
    /// Whether it still is a call by gRPC's rules, whose messages are as they are.
    is_grpc: bool,
}

impl Call {
    fn new(path: &str) -> Self {
        Self {
            method: Method::POST,
            path: path.to_owned(),
            fields: vec![
                ("content-type", "application/grpc".to_owned()),
                ("te", "trailers".to_owned()),
            ],
            is_grpc: true,
        }
    }

    fn spoil(&mut self, chance: &mut Chance) {
        match chance.below(8) {
            0 => {
                let methods = [Method::GET, Method::PUT, Method::OPTIONS, Method::DELETE];
                self.method = methods[chance.below(4)].clone();
                self.is_grpc = false;
            }
            1 => {
                let path = self.path.clone();
                self.path = match chance.below(5) {
                    0 => "/".to_owned(),
                    1 => path.to_lowercase(),
                    2 => format!("/{path}"),
                    3 => format!("{path}/"),
                    _ => format!("{path}%00"),
                };
            }
            2 => {
                let kinds = [
                    "",
                    "text/html",
                    "application/json",
                    "application/grpc-web",
                    "grpc",
                ];
                self.fields[0].1 = chance.pick(&kinds).to_owned();
                self.is_grpc = false;
            }
            3 => drop(self.fields.remove(1)),
            4 => {
                let waits = ["", "S", "-1S", "999999999S", "1x", "99999999H", "soon"];
                let wait = chance.pick(&waits).to_owned();
                self.fields.push(("grpc-timeout", wait));
            }
            5 => {
                let packings = ["gzip", "identity", "zstd", "none of these", ""];
                let packing = chance.pick(&packings).to_owned();
                self.is_grpc = packing == "identity";
                self.fields.push(("grpc-encoding", packing));
            }
            6 => {
                let parents = [
                    "",
                    "00",
                    "00-0-0-0",
                    "zz-é",
                    "ff-ffffffffffffffffffffffffffffffff",
                ];
                let parent = chance.pick(&parents).to_owned();
                self.fields.push(("traceparent", parent));
            }
            _ => {
                self.fields
                    .push(("authorization", "Bearer nobody".to_owned()));
                self.fields.push(("x-bin", "no base64 ~".to_owned()));
            }
        }
    }
}

/// The bytes of a whole connection, spoilt. The request in them is wrong in four ways, so
/// that no change of a few bytes makes it valid.
pub fn connection(chance: &mut Chance) -> Vec<u8> {
    let bad = JudgeRequest {
        request_id: String::new(),
        context_json: "[[".to_owned(),
        draft: " ".to_owned(),
        channel: 99,
        rationale_mode: 77,
    };
    let settings = http2::frame(http2::SETTINGS, 0, 0, &[]);
    let headers = http2::frame(http2::HEADERS, http2::END_HEADERS, 1, &http2::call(JUDGE));
    let message = http2::message(&bad.encode_to_vec());
    let data = http2::frame(http2::DATA, http2::END_STREAM, 1, &message);
    let mut bytes = [settings, headers, data].concat();
    match chance.below(4) {
        0 => {
            return (0..chance.below(400))
                .map(|_| chance.next() as u8)
                .collect();
        }
        1 => bytes = (0..chance.below(12)).flat_map(|_| frame(chance)).collect(),
        2 => {
            let more: Vec<u8> = (0..chance.below(6)).flat_map(|_| frame(chance)).collect();
            bytes.extend(more);
        }
        _ => spoil(chance, &mut bytes),
    }
    [http2::PREFACE, &bytes].concat()
}

/// Any kind, any flags, mostly of a stream that there may be.
fn frame(chance: &mut Chance) -> Vec<u8> {
    let payload: Vec<u8> = (0..chance.below(40)).map(|_| chance.next() as u8).collect();
    let stream = match chance.below(8) {
        0 => chance.next() as u32,
        _ => chance.below(6) as u32,
    };
    let mut bytes = http2::frame(
        chance.below(12) as u8,
        chance.next() as u8,
        stream,
        &payload,
    );
    if chance.below(6) == 0 {
        bytes[chance.below(3)] = chance.next() as u8;
    }
    bytes
}
