//! What the context says of engineers who are committed to other clients.

use jiff::civil::Date;
use serde_json::{Map, Value};

use super::date;
use crate::context::{Context, squash};
use crate::rules::draft::{Draft, is_word};
use crate::rules::evidence::{one_line, path_of};
use crate::rules::{Evidence, squash_name};

/// A time in which an engineer works for somebody else.
pub struct Commitment {
    /// The name's words in lower case; empty where nobody is named.
    pub engineer: Vec<String>,
    pub start: Option<Date>,
    pub end: End,
    /// Not settled, or called off.
    pub is_tentative: bool,
    pub evidence: Evidence,
}

#[derive(Clone, Copy)]
pub enum End {
    On(Date),
    /// No end is set.
    Open,
    /// A time that is no date, such as `mid-August`.
    Named,
    Unclear,
}

impl Commitment {
    /// Whether it ended before today, if the context says what day it is.
    pub fn is_over(&self, today: Option<Date>) -> bool {
        match (self.end, today) {
            (End::On(end), Some(today)) => end < today,
            _ => false,
        }
    }

    /// Whether it runs now. Without the day, a commitment `until` a date does, and one that also
    /// has a start may not have begun.
    pub fn is_running(&self, today: Option<Date>) -> bool {
        if self.is_tentative || matches!(self.end, End::Unclear) {
            return false;
        }
        if today.is_some() && matches!(self.end, End::Named) {
            return false;
        }
        match (self.start, today) {
            (Some(start), Some(today)) => start <= today,
            (None, _) => true,
            (Some(_), None) => false,
        }
    }

    pub fn holds_plainly(&self, date: Date) -> bool {
        let begun = self.start.is_none_or(|start| start <= date);
        let open = match self.end {
            End::On(end) => date <= end,
            End::Open => true,
            End::Named | End::Unclear => false,
        };
        !self.is_tentative && begun && open
    }
}

/// The day that the context was written for, where it says so.
pub fn today(context: &Context) -> Option<Date> {
    let mut fields = context.fields();
    fields.find_map(|field| match field.word {
        "today" | "currentdate" | "date" | "asof" | "asofdate" | "now" | "senddate" | "sentat"
        | "sendat" => date::iso(field.value),
        _ => None,
    })
}

/// The first so many commitments, `committed_until` and `prior_commitments` alike.
pub fn commitments(context: &Context, most: usize) -> Vec<Commitment> {
    let mut reader = Reader {
        most,
        found: Vec::new(),
    };
    let signals = context.fields().filter(|field| !field.is_at_top());
    let mut named = signals.chain(context.fields());
    let engineer = named.find_map(|field| name_in(field.word, field.value));
    let engineer = engineer.unwrap_or_default();
    for field in context.fields() {
        reader.read(field.word, field.value, || path_of(&field), engineer, DEPTH);
    }
    reader.found
}

/// Levels below the fields: `available_signals.bench[0].prior_commitments[0]`.
const DEPTH: usize = 4;

struct Reader {
    most: usize,
    found: Vec<Commitment>,
}

impl Reader {
    /// One field, by its squashed name.
    fn read(
        &mut self,
        word: &str,
        value: &Value,
        path: impl Fn() -> String,
        engineer: &str,
        depth: usize,
    ) {
        if self.found.len() >= self.most {
            return;
        }
        match word {
            "committeduntil" | "engineercommitteduntil" if !value.is_null() => {
                let evidence = Evidence::new(&path(), value);
                let end = end_of(Some(value));
                self.found.push(Commitment::until(end, engineer, evidence));
            }
            "priorcommitments" | "priorcommitment" | "commitments" => {
                self.read_list(value, &path(), engineer);
            }
            "availablesignals" => {}
            _ if value.is_object() || value.is_array() => {
                self.read_below(value, &path(), engineer, depth);
            }
            _ => {}
        }
    }

    /// Objects that may be engineers, each with a name of its own.
    fn read_below(&mut self, value: &Value, path: &str, engineer: &str, depth: usize) {
        let Some(depth) = depth.checked_sub(1) else {
            return;
        };
        match value {
            Value::Object(object) => {
                let own = object.iter().find_map(|(key, value)| match key.as_str() {
                    "name" | "full_name" => name_in("engineername", value),
                    key => name_in(&squash_name(key), value),
                });
                let engineer = own.unwrap_or(engineer);
                for (key, value) in object {
                    let path = || one_line(&format!("{path}.{key}"));
                    self.read(&squash_name(key), value, path, engineer, depth);
                }
            }
            Value::Array(items) => {
                let objects = items
                    .iter()
                    .enumerate()
                    .filter(|(_, item)| item.is_object());
                for (index, item) in objects {
                    self.read_below(item, &format!("{path}[{index}]"), engineer, depth);
                }
            }
            _ => {}
        }
    }

    /// `[{starts, ends, type, engineer}]`.
    fn read_list(&mut self, value: &Value, path: &str, engineer: &str) {
        let items = match value {
            Value::Array(items) => items.as_slice(),
            one @ Value::Object(_) => std::slice::from_ref(one),
            _ => return,
        };
        for (index, item) in items.iter().enumerate() {
            if self.found.len() >= self.most {
                return;
            }
            if let Some(item) = item.as_object() {
                let path = format!("{path}[{index}]");
                self.found.push(Commitment::of(item, &path, engineer));
            }
        }
    }
}

impl Commitment {
    fn until(end: End, engineer: &str, evidence: Evidence) -> Self {
        Self {
            engineer: words(engineer),
            start: None,
            end,
            is_tentative: false,
            evidence,
        }
    }

    fn of(item: &Map<String, Value>, path: &str, engineer: &str) -> Self {
        let get = |names: &[&str]| {
            let mut fields = item.iter();
            fields.find(|(key, _)| names.contains(&squash_name(key).as_str()))
        };
        let own = item
            .iter()
            .find_map(|(key, value)| name_in(&squash_name(key), value));
        let start = get(&["starts", "start", "startdate", "from"]).map(|(_, value)| value);
        let end = get(&["ends", "end", "enddate", "until", "to", "committeduntil"]);
        let kind = get(&["type", "status", "kind"]).and_then(|(_, value)| value.as_str());
        let evidence = match end {
            Some((key, value)) => Evidence::new(&format!("{path}.{key}"), value),
            None => Evidence::missing(&format!("{path}.ends")),
        };
        let start = start.filter(|start| !start.is_null());
        let unreadable = start.is_some_and(|start| date::iso(start).is_none());
        Self {
            engineer: words(own.unwrap_or(engineer)),
            start: start.and_then(date::iso),
            end: match unreadable {
                true => End::Unclear,
                false => end_of(end.map(|(_, value)| value)),
            },
            is_tentative: kind.is_some_and(is_tentative),
            evidence,
        }
    }
}

fn end_of(value: Option<&Value>) -> End {
    match value {
        None | Some(Value::Null) => End::Open,
        Some(value) => match (date::iso(value), value.as_str()) {
            (Some(end), _) => End::On(end),
            (None, Some(text)) if date::is_named(text) => End::Named,
            (None, _) => End::Unclear,
        },
    }
}

#[rustfmt::skip]
fn is_tentative(kind: &str) -> bool {
    matches!(
        squash(kind).as_str(),
        "tentative" | "proposed" | "soft" | "softhold" | "option" | "optional" | "pending"
            | "cancelled" | "canceled" | "ended" | "completed" | "rolledoff" | "expired"
    )
}

/// By the squashed name of a field.
fn name_in<'a>(word: &str, value: &'a Value) -> Option<&'a str> {
    let name = value.as_str().filter(|name| !name.trim().is_empty())?;
    let is_name = matches!(
        word,
        "engineer"
            | "engineername"
            | "benchengineer"
            | "benchengineername"
            | "proposedengineer"
            | "proposedengineername"
            | "candidate"
            | "candidatename"
            | "developername"
    );
    is_name.then_some(name)
}

fn words(name: &str) -> Vec<String> {
    let text = Draft::new(name);
    let sentence = text.sentences().next();
    let tokens = sentence
        .iter()
        .flat_map(|name| (0..name.len()).map(|at| name.token(at)));
    tokens
        .filter(|token| is_word(token))
        .take(6)
        .map(str::to_owned)
        .collect()
}
