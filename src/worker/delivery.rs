//! One delivery of a message: what JetStream says of it, and the draft in it.

use std::time::{Duration, Instant};

use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::Message;

use super::poison::Poison;
use crate::client::Question;
use crate::dataset::draft;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Delivery {
    pub stream: String,
    pub sequence: u64,
    /// 1 for the first.
    pub count: i64,
    /// When the stream took the message, in nanoseconds since 1970.
    pub taken: i128,
    /// When it came here.
    pub came: Instant,
}

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

impl Delivery {
    pub(super) fn of(message: &Message) -> Result<Self, async_nats::Error> {
        let info = message.info()?;
        Ok(Self {
            stream: info.stream.to_owned(),
            sequence: info.stream_sequence,
            count: info.delivered,
            taken: info.published.unix_timestamp_nanos(),
            came: Instant::now(),
        })
    }

    /// The same for each delivery of a message, and for no other message: not for one of a stream
    /// that is made anew either, where numbers begin again.
    pub(super) fn key(&self) -> String {
        format!("{}-{}-{}", self.stream, self.sequence, self.taken)
    }

    /// How long a draft rests before it is tried again.
    pub(super) fn pause(&self) -> Duration {
        let doubled = u32::try_from(self.count - 1).unwrap_or(0).min(6);
        (FIRST_PAUSE * (1 << doubled)).min(LONGEST_PAUSE)
    }

    pub(super) fn question(&self, message: &Message) -> Result<Question, Poison> {
        let headers = message.headers.as_ref();
        let named = headers.and_then(|headers| headers.get(NATS_MESSAGE_ID));
        self.read(&message.payload, named.map(|name| name.as_str()))
    }

    /// The id is the draft's own, else what the publisher called the message, else its key. An empty
    /// one is none.
    fn read(&self, payload: &[u8], named: Option<&str>) -> Result<Question, Poison> {
        let text = str::from_utf8(payload).map_err(|error| Poison::no_draft(error.to_string()))?;
        let mut drafts = draft::of_line(text).map_err(Poison::no_draft)?;
        let draft = match (drafts.pop(), drafts.is_empty()) {
            (Some(draft), true) => draft,
            _ => return Err(Poison::no_draft("it has two drafts: send each alone")),
        };
        let ids = [draft.id, named.map(str::to_owned)];
        let id = ids.into_iter().flatten().find(|id| !id.is_empty());
        let id = id.unwrap_or_else(|| self.key());
        if id.chars().any(char::is_control) {
            return Err(Poison::no_draft("`id` has a control character"));
        }
        // NATS drops it from the header by which it tells verdicts apart.
        if id.starts_with(' ') {
            return Err(Poison::no_draft("`id` begins with a space"));
        }
        Ok(Question {
            request_id: id,
            context_json: draft.context_json,
            draft: draft.text,
            channel: draft.channel,
            ..Question::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(count: i64) -> Delivery {
        Delivery {
            stream: "drafts".to_owned(),
            sequence: 7,
            count,
            taken: 1_700_000_000_000_000_000,
            came: Instant::now(),
        }
    }

    #[test]
    fn a_draft_goes_by_its_own_id_else_by_the_messages_else_by_its_place() {
        let id = |line: &str, named| {
            let question = delivery(1).read(line.as_bytes(), named).unwrap();
            question.request_id
        };
        let own = r#"{"id": "own", "context": {}, "draft": "Hi"}"#;
        let none = r#"{"context": {}, "draft": "Hi"}"#;
        assert_eq!(id(own, Some("named")), "own");
        assert_eq!(id(none, Some("named")), "named");
        assert_eq!(id(none, None), "drafts-7-1700000000000000000");
        let empty = r#"{"id": "", "context": {}, "draft": "Hi"}"#;
        assert_eq!(id(empty, Some("named")), "named");
        assert_eq!(id(none, Some("")), "drafts-7-1700000000000000000");
    }

    #[test]
    fn what_is_no_single_draft_is_poison() {
        let pair = include_str!("../../tests/data/eval/pairs.jsonl");
        let of_two = |line: &&str| draft::of_line(line).unwrap().len() == 2;
        let pair = pair.lines().find(of_two).unwrap();
        for (payload, wanted) in [
            (&b"\xff"[..], "utf-8"),
            (b"no json", "expected"),
            (b"{}", "`context`"),
            (pair.as_bytes(), "two drafts"),
            (
                br#"{"id": "a\nb", "context": {}, "draft": "Hi"}"#,
                "control",
            ),
            (
                br#"{"id": " a", "context": {}, "draft": "Hi"}"#,
                "begins with a space",
            ),
        ] {
            let poison = delivery(1).read(payload, None).unwrap_err();
            assert_eq!(poison.reason, "NO_DRAFT");
            assert!(poison.error.contains(wanted), "{}", poison.error);
        }
    }

    #[test]
    fn pauses_double_up_to_a_minute() {
        let seconds = |count| delivery(count).pause().as_secs();
        let pauses = [1, 2, 3, 6, 7, 100].map(seconds);
        assert_eq!(pauses, [1, 2, 4, 32, 60, 60]);
    }
}
