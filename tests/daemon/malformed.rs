//! Promise: what is malformed gets no verdict and ends nothing but itself, whatever comes
//! over the wire. The daemon is a process of its own; `JUDGED_MALFORMED_MESSAGES=1000000`
//! makes it a long drill.

use std::collections::BTreeMap;
use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::support::command::{Served, Shell};
use crate::support::hostile::Chance;
use crate::support::http2::{DATA, Frame};
use crate::support::malformed;
use crate::support::malformed::{Attempt, JUDGE};
use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, HeaderValue, Request};
use judged::client::{Client, Question};
use judged::rpc::proto::judge_stream_response::Event;
use judged::rpc::proto::{JudgeResponse, JudgeStreamResponse};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const CALLERS: u64 = 16;
/// Nothing that is wrong takes so long to be told.
const SOON: Duration = Duration::from_secs(60);

/// What the failure table has, and no other code: OK of calls that need no verdict too.
const DOCUMENTED: [&str; 12] = [
    "OK",
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DEADLINE_EXCEEDED",
];

/// What became of all that was sent.
#[derive(Debug, Default)]
struct Counts {
    messages: u64,
    /// By gRPC's code, by HTTP's where there is none, or by how else it ended.
    ends: BTreeMap<String, u64>,
    /// Messages that stayed valid, and verdicts on them; those that had to get one, since
    /// nothing else in their call was unreadable, and did not.
    valid: u64,
    verdicts: u64,
    missing: u64,
}

impl Counts {
    fn add(&mut self, other: Counts) {
        self.messages += other.messages;
        self.valid += other.valid;
        self.verdicts += other.verdicts;
        self.missing += other.missing;
        for (end, count) in other.ends {
            *self.ends.entry(end).or_default() += count;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_malformed_gets_no_verdict_and_a_documented_refusal() {
    let asked = env::var("JUDGED_MALFORMED_MESSAGES");
    let most: u64 = asked.map_or(4_000, |count| count.parse().unwrap());
    let shell = Shell::new();
    let served = shell.serve(&["--mode", "rules-only", "--retention-mib", "64"]);
    let served = Arc::new(served);
    let sent = Arc::new(AtomicU64::new(0));
    let callers = (0..CALLERS).map(|seed| {
        let (served, sent) = (Arc::clone(&served), Arc::clone(&sent));
        tokio::spawn(async move {
            let mut caller = Caller::new(&served, seed);
            let mut counts = Counts::default();
            while sent.load(Relaxed) < most {
                let before = counts.messages;
                caller.attempt(&mut counts).await;
                let now = counts.messages - before;
                let all = sent.fetch_add(now, Relaxed) + now;
                if all / 100_000 > (all - now) / 100_000 {
                    eprintln!("{all} of {most} messages");
                }
            }
            counts
        })
    });
    let mut counts = Counts::default();
    for caller in callers.collect::<Vec<_>>() {
        counts.add(caller.await.unwrap());
    }
    println!("{counts:#?}");
    println!("0 verdicts on what was malformed, 0 crashes");
    assert!(counts.verdicts > 0 && counts.missing == 0, "{counts:?}");
    still_judges(&served).await;
    let served = Arc::into_inner(served).unwrap();
    served.signal("TERM");
    let ran = served.end(SOON);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
}

async fn still_judges(served: &Served) {
    let mut client = Client::connect(&served.judge).await.unwrap();
    let question = Question {
        context_json: r#"{"disqualifiers": ["competitor"]}"#.to_owned(),
        draft: "A word about your roadmap?".to_owned(),
        timeout: Some(SOON),
        ..Question::default()
    };
    let decision = client.judge(question).await.unwrap();
    assert_eq!(decision.label.as_str(), "SUPPRESS");
}

/// One who sends what nobody should, over a connection to each listener.
struct Caller {
    chance: Chance,
    judge: Line,
    control: Line,
    /// A decision that was given, for reports on it.
    decision: String,
}

impl Caller {
    fn new(served: &Served, seed: u64) -> Self {
        Self {
            chance: Chance(seed << 32),
            judge: Line::new(&served.judge),
            control: Line::new(&served.control),
            decision: String::new(),
        }
    }

    async fn attempt(&mut self, counts: &mut Counts) {
        let (end, verdicts) = match self.chance.below(30) {
            0 => {
                counts.messages += 1;
                let bytes = malformed::connection(&mut self.chance);
                (
                    "a connection of its own".to_owned(),
                    raw(&self.judge.addr, &bytes).await,
                )
            }
            _ => {
                let attempt = malformed::attempt(&mut self.chance, &self.decision);
                counts.messages += attempt.messages as u64;
                counts.valid += attempt.may.len() as u64;
                let line = match attempt.is_control() {
                    true => &mut self.control,
                    false => &mut self.judge,
                };
                let answer = tokio::time::timeout(SOON, line.call(&attempt)).await;
                let Ok(answer) = answer else {
                    panic!("no answer: {} {:?}", attempt.path, attempt.body);
                };
                let verdicts = answer.check(&attempt);
                if attempt.must {
                    counts.missing += (attempt.may.len() - verdicts.len()) as u64;
                }
                if let Some(verdict) = verdicts.last() {
                    self.decision.clone_from(verdict);
                }
                (answer.end, verdicts)
            }
        };
        counts.verdicts += verdicts.len() as u64;
        *counts.ends.entry(end).or_default() += 1;
    }
}

/// The decision ids of all that looks like a verdict in what the daemon sends: there is none.
async fn raw(addr: &str, bytes: &[u8]) -> Vec<String> {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    // It may close before all is written.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    // A reset is an end too.
    let ended = tokio::time::timeout(SOON, reading).await;
    assert!(ended.is_ok(), "the connection is still open: {bytes:?}");
    for frame in Frame::all(&answer)
        .iter()
        .filter(|frame| frame.kind == DATA)
    {
        for message in messages(&frame.payload) {
            let verdict = JudgeResponse::decode(message).is_ok_and(|found| found.label != 0);
            assert!(!verdict, "a verdict on {bytes:?}");
        }
    }
    Vec::new()
}

/// A connection that is made again when it has ended.
struct Line {
    addr: String,
    open: Option<SendRequest<Bytes>>,
}

struct Answer {
    /// How it ended, in a word.
    end: String,
    body: Vec<u8>,
}

impl Line {
    fn new(addr: &str) -> Self {
        Self {
            addr: addr.to_owned(),
            open: None,
        }
    }

    async fn call(&mut self, attempt: &Attempt) -> Answer {
        let mut sender = self.ready().await;
        let uri = format!("http://localhost{}", attempt.path);
        let mut head = Request::builder().method(attempt.method.clone()).uri(uri);
        for (name, value) in &attempt.fields {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            head = head.header(*name, value);
        }
        let mut body = Vec::new();
        let asked = async {
            let head = head.body(()).unwrap();
            let (answer, mut sending) = sender.send_request(head, false)?;
            // It may have been answered before it is sent.
            let _ = sending.send_data(attempt.body.clone().into(), true);
            let (head, mut stream) = answer.await?.into_parts();
            while let Some(data) = stream.data().await {
                let data = data?;
                let _ = stream.flow_control().release_capacity(data.len());
                body.extend(data);
            }
            let trailers = stream.trailers().await?.unwrap_or_default();
            let code = code(&head.headers).or_else(|| code(&trailers));
            Ok::<String, h2::Error>(
                code.unwrap_or_else(|| format!("HTTP {}", head.status.as_u16())),
            )
        };
        let end = match asked.await {
            Ok(end) => end,
            Err(error) => {
                self.open = None;
                match error.reason() {
                    Some(reason) => format!("reset: {reason:?}"),
                    None => "closed".to_owned(),
                }
            }
        };
        Answer { end, body }
    }

    async fn ready(&mut self) -> SendRequest<Bytes> {
        if let Some(open) = self.open.take()
            && let Ok(open) = open.ready().await
        {
            self.open = Some(open.clone());
            return open;
        }
        let stream = TcpStream::connect(&self.addr).await.unwrap();
        let (open, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        self.open = Some(open.clone());
        open
    }
}

fn code(fields: &HeaderMap) -> Option<String> {
    let status = fields.get("grpc-status")?;
    let code = tonic::Code::from_bytes(status.as_bytes());
    Some(judged::rpc::status::code_name(code).to_owned())
}

impl Answer {
    /// Only what is valid got a verdict, once, and the code is one of the table. The ids of the
    /// decisions.
    fn check(&self, attempt: &Attempt) -> Vec<String> {
        let told = format!("{} to {attempt:?}", self.end);
        let known = DOCUMENTED.contains(&&*self.end);
        assert!(
            known || self.end == "HTTP 415" || self.end == "HTTP 405",
            "{told}"
        );
        let mut may = attempt.may.clone();
        let mut decisions = Vec::new();
        for (id, verdict) in self.verdicts(attempt) {
            let place = may.iter().position(|valid| *valid == id);
            let place = place.unwrap_or_else(|| panic!("a verdict, {told}"));
            may.swap_remove(place);
            assert!((1..=5).contains(&verdict.label), "{told}");
            assert!(verdict.disposition != 0, "{told}");
            decisions.push(verdict.decision_id);
        }
        decisions
    }

    /// With the request's id.
    fn verdicts(&self, attempt: &Attempt) -> Vec<(String, JudgeResponse)> {
        let messages = messages(&self.body).into_iter();
        if attempt.is_stream() {
            let events = messages.map(|bytes| JudgeStreamResponse::decode(bytes).unwrap());
            let verdicts = events.filter_map(|answer| match answer.event {
                Some(Event::Verdict(verdict)) => Some((answer.request_id, verdict)),
                _ => None,
            });
            return verdicts.collect();
        }
        if attempt.path != JUDGE {
            return Vec::new();
        }
        let verdicts = messages.map(|bytes| JudgeResponse::decode(bytes).unwrap());
        let id = attempt.may.first().cloned().unwrap_or_default();
        verdicts.map(|verdict| (id.clone(), verdict)).collect()
    }
}

/// The gRPC messages of an answer.
fn messages(mut body: &[u8]) -> Vec<&[u8]> {
    let mut messages = Vec::new();
    while let Some((head, rest)) = body.split_first_chunk::<5>() {
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let Some((message, rest)) = rest.split_at_checked(length) else {
            break;
        };
        messages.push(message);
        body = rest;
    }
    messages
}
