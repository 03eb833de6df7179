//! What the context holds of other threads than the draft's own.

use serde_json::{Map, Value};

use super::field::{
    Kind, field_of, is_content_of_thread, is_of_own, is_pointer, is_private, is_work, role_in,
};
use crate::context::{Context, Field, squash};
use crate::rules::evidence::{one_line, path_of};
use crate::rules::words::Answer;
use crate::rules::{Evidence, Finding, title};

/// A text that the draft's recipient has not seen.
pub struct Foreign<'a> {
    pub path: String,
    pub text: &'a str,
    /// Whether the context says so, or a field only stands beside another thread.
    pub is_sure: bool,
}

impl Foreign<'_> {
    pub fn evidence(&self) -> Evidence {
        Evidence::of_word(&self.path, self.text)
    }
}

/// The context's texts, parted by whose they are.
#[derive(Default)]
pub struct Threads<'a> {
    pub foreign: Vec<Foreign<'a>>,
    /// The recipient's own thread, and all that is of no thread.
    pub own: Vec<&'a str>,
    /// The people of the other threads, as `ceo` or `Amina Kassahun`.
    pub people: Vec<&'a str>,
    /// Fields that tell that something leaked.
    pub leaks: Vec<Finding>,
    /// Whether there was more than is looked at.
    pub has_more: bool,
}

/// Foreign texts that are looked at.
const MAX_FOREIGN: usize = 64;
/// Of the context's other texts, in bytes.
const MAX_OWN_BYTES: usize = 1 << 16;
const MAX_PEOPLE: usize = 32;
/// Words of the recipient's role.
const MAX_RANKS: usize = 32;

struct Reader<'a> {
    threads: Threads<'a>,
    own_thread: Option<&'a str>,
    recipient: String,
    /// The words of the recipient's role.
    ranks: Vec<String>,
    /// Whether another thread is known to exist.
    has_other: bool,
    own_bytes: usize,
}

impl<'a> Threads<'a> {
    pub fn of(context: &'a Context) -> Self {
        let own_thread = context.all_at("thread_id").find_map(text);
        let role = context.all_at("recipient_role").find_map(Value::as_str);
        let role = role.unwrap_or_default();
        let words = role.split(|c: char| !c.is_alphanumeric());
        let words = words.filter(|word| !word.is_empty()).take(MAX_RANKS);
        let mut reader = Reader {
            threads: Threads::default(),
            own_thread: own_thread.filter(|id| !id.trim().is_empty()),
            recipient: squash(role),
            ranks: words.map(str::to_lowercase).collect(),
            has_other: false,
            own_bytes: 0,
        };
        let fields: Vec<Field<'a>> = context.fields().collect();
        for field in &fields {
            if is_pointer(field.word) {
                reader.point(field.value);
            }
        }
        for field in &fields {
            reader.read(field);
        }
        reader.threads
    }
}

impl<'a> Reader<'a> {
    /// `other_active_thread: "thread_p019_ceo"`.
    fn point(&mut self, value: &'a Value) {
        match value {
            Value::String(id) if !id.trim().is_empty() && Some(id.as_str()) != self.own_thread => {
                self.has_other = true;
                self.person(id);
            }
            Value::Array(ids) => ids.iter().for_each(|id| self.point(id)),
            _ => {}
        }
    }

    fn read(&mut self, field: &Field<'a>) {
        let name = field.word;
        let path = || path_of(field);
        match Kind::of(name) {
            Kind::Leak => self.leak(field),
            Kind::Leaked => self.foreign(path(), field.value, true),
            Kind::Threads => self.collection(None, &path(), field.value),
            Kind::History => self.history(path(), field.value),
            Kind::Signals => {}
            Kind::Thread if field.value.is_object() => {
                self.thread(Some(field.name), path(), field.value);
            }
            Kind::Thread if field.value.is_array() => {
                self.collection(Some(field.name), &path(), field.value);
            }
            Kind::Thread | Kind::Other => {
                let role = role_in(field.name);
                let is_own = role.is_some_and(|(rank, work)| self.is_of_recipient(rank, work))
                    || is_of_own(name);
                if is_own || !(self.has_other || is_content_of_thread(name)) {
                    match ["message", "reply", "email", "thread"]
                        .iter()
                        .any(|word| name.contains(word))
                    {
                        true => self.message(path(), field.value),
                        false => self.own(field.value),
                    }
                } else {
                    if let Some((rank, _)) = role {
                        self.person(rank);
                    }
                    self.foreign(path(), field.value, is_private(name));
                }
            }
        }
    }

    /// Whether a rank is the recipient's: `cofounder` of `Co-Founder`, no `cto` of `Director`, and no `vp`
    /// of sales of `VP Engineering`.
    fn is_of_recipient(&self, rank: &str, work: Option<&str>) -> bool {
        if let Some(work) = work.map(str::to_ascii_lowercase) {
            let is_it = |own: &String| field_of(own) == field_of(&work);
            let mut own = self.ranks.iter().filter(|word| is_work(word)).peekable();
            if own.peek().is_some() && !own.any(is_it) {
                return false;
            }
        }
        let rank = rank.to_ascii_lowercase();
        self.recipient == rank
            || self.ranks.contains(&rank)
            || self
                .ranks
                .windows(2)
                .any(|two| rank.strip_prefix(two[0].as_str()) == Some(two[1].as_str()))
    }

    /// `leaked_thread: "t-9"`, `cross_thread_leak: "thread_9"` or `true`; either may be `not_detected`.
    fn leak(&mut self, field: &Field<'a>) {
        let is_for_id = field.word.starts_with("leak") && field.word.contains("thread");
        let is_id = |text: &str| {
            let text = text.trim().to_lowercase();
            let parts = text.split(|c: char| !c.is_alphanumeric());
            let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
            let is_numbered =
                matches!(parts[..], ["no", number] if number.bytes().all(|b| b.is_ascii_digit()));
            let is_denied = !is_numbered && parts.iter().any(|part| is_answer(part));
            let is_word = !text.contains(char::is_whitespace) && !parts.is_empty();
            is_word && !is_denied && (is_for_id || text.starts_with("thread"))
        };
        let is_own = |text: &str| {
            let own = self.own_thread.map(|own| own.trim().to_lowercase());
            own.is_some_and(|own| own == text.trim().to_lowercase())
        };
        let finding = match (field.value.as_str(), Answer::of(field.value)) {
            (Some(thread), _) if is_own(thread) => Finding::NotFired,
            (_, Answer::No) => Finding::NotFired,
            (_, Answer::Yes) => Finding::Fired(vec![Evidence::of(field)]),
            (Some(thread), Answer::Unclear) if is_id(thread) => {
                Finding::Fired(vec![Evidence::of(field)])
            }
            _ => Finding::CannotTell(Evidence::of(field)),
        };
        self.threads.leaks.push(finding);
    }

    /// `active_threads: [{thread_id, last_message}]`, or an object by thread. In a list, `key` is the id of
    /// what has none.
    fn collection(&mut self, key: Option<&'a str>, path: &str, value: &'a Value) {
        match value {
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.thread(key, format!("{path}[{index}]"), item);
                }
            }
            Value::Object(threads) => {
                for (id, thread) in threads {
                    self.thread(Some(id), one_line(&format!("{path}.{id}")), thread);
                }
            }
            Value::String(_) => self.foreign(path.to_owned(), value, self.has_other),
            _ => {}
        }
    }

    /// One thread, whose id is its key or one of its fields.
    fn thread(&mut self, key: Option<&'a str>, path: String, value: &'a Value) {
        let field = |names: &[&str]| text_at(value, names);
        let id = field(&["threadid", "id", "thread"]).or(key);
        let Some(own_thread) = self.own_thread else {
            // Which of them is the recipient's is not said.
            return self.own(value);
        };
        let role = field(&["recipientrole", "recipient", "role", "with", "participant"]);
        match id {
            Some(id) if id == own_thread => self.own(value),
            Some(id) => {
                self.person(id);
                role.into_iter().for_each(|role| self.person(role));
                let name = field(&["recipientname", "name"]);
                name.into_iter().for_each(|name| self.person(name));
                self.foreign(path, value, true);
            }
            None if role.is_some_and(|role| squash(role) == self.recipient) => self.own(value),
            None => self.foreign(path, value, false),
        }
    }

    /// The own thread, where others than the recipient may have written.
    fn history(&mut self, path: String, value: &'a Value) {
        match value {
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    let path = format!("{path}[{index}]");
                    match text_at(item, &["threadid"]) {
                        Some(id) if self.own_thread.is_some_and(|own| own != id) => {
                            self.thread(None, path, item);
                        }
                        _ => self.message(path, item),
                    }
                }
            }
            // Unless it has an id of its own.
            value => self.thread(self.own_thread, path, value),
        }
    }

    /// What the recipient wrote or may know, unless it says that somebody else wrote it.
    fn message(&mut self, path: String, value: &'a Value) {
        match text_at(value, &["sender", "from", "author"]) {
            Some(sender) if self.is_other_person(sender) => self.foreign(path, value, false),
            _ => self.own(value),
        }
    }

    /// Whether a sender has a rank, and one that is not the recipient's. A mere name may be theirs.
    fn is_other_person(&self, sender: &str) -> bool {
        let has_rank = role_in(sender).is_some() || title::names_rank(sender);
        let sender = squash(sender);
        // The sending program, and the prospect.
        let is_no_rank = matches!(sender.as_str(), "assistant" | "lead");
        let recipient = !self.recipient.is_empty()
            && (sender.starts_with(&self.recipient) || sender.ends_with(&self.recipient))
            || self.recipient.starts_with(&sender);
        has_rank && !is_no_rank && !recipient
    }

    /// All texts of a value.
    fn foreign(&mut self, path: String, value: &'a Value, is_sure: bool) {
        match value {
            Value::String(text) => {
                if self.threads.foreign.len() >= MAX_FOREIGN {
                    self.threads.has_more = true;
                    return;
                }
                self.threads.foreign.push(Foreign {
                    path,
                    text,
                    is_sure,
                });
            }
            Value::Array(items) => {
                for item in items {
                    self.foreign(path.clone(), item, is_sure);
                }
            }
            Value::Object(object) => {
                for (_, value) in without_labels(object) {
                    self.foreign(path.clone(), value, is_sure);
                }
            }
            _ => {}
        }
    }

    fn own(&mut self, value: &'a Value) {
        match value {
            Value::String(text) if self.own_bytes + text.len() <= MAX_OWN_BYTES => {
                self.own_bytes += text.len();
                self.threads.own.push(text);
            }
            Value::String(_) => self.threads.has_more = true,
            Value::Array(items) => items.iter().for_each(|item| self.own(item)),
            Value::Object(object) => object.values().for_each(|value| self.own(value)),
            _ => {}
        }
    }

    fn person(&mut self, text: &'a str) {
        let is_recipient = squash(text) == self.recipient;
        let people = &self.threads.people;
        if !is_recipient && text.len() < 80 && people.len() < MAX_PEOPLE && !people.contains(&text)
        {
            self.threads.people.push(text);
        }
    }
}

/// What may stand in the place of a thread's id, in lower case.
#[rustfmt::skip]
fn is_answer(word: &str) -> bool {
    matches!(
        word,
        "no" | "not" | "none" | "nothing" | "detected" | "undetected" | "found" | "unknown" | "unclear"
            | "suspected" | "pending" | "tbd" | "clean" | "clear" | "checked" | "passed" | "ok" | "safe"
    )
}

/// The first text of an object's fields, by their squashed names.
fn text_at<'a>(object: &'a Value, names: &[&str]) -> Option<&'a str> {
    let mut fields = object.as_object()?.iter();
    fields.find_map(|(key, value)| names.contains(&squash(key).as_str()).then(|| text(value))?)
}

/// A text, or a number as it is written: ids are either.
fn text(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.as_str()),
        _ => None,
    }
}

/// Who, when and where are no content.
fn without_labels(object: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    object.iter().filter(|(key, _)| {
        !matches!(
            squash(key).as_str(),
            "threadid"
                | "id"
                | "thread"
                | "recipientrole"
                | "recipientname"
                | "recipient"
                | "role"
                | "name"
                | "sender"
                | "from"
                | "author"
                | "with"
                | "participant"
                | "channel"
                | "date"
                | "status"
                | "timestamp"
                | "sentat"
        )
    })
}
