//! What the caller knows of the prospect: one JSON object, read strictly so that no two readers of
//! the same text see two contexts.

mod python_json;
mod strict;
#[cfg(test)]
mod tests;
mod words;

use serde_json::Value;
use thiserror::Error;

use crate::channel::Channel;

pub use strict::MAX_DEPTH;
pub use words::{channel_of, squash, squash_name};

/// The field, squashed, whose own fields count as the context's: real data hides flags and channels
/// there.
const SIGNALS: &str = "availablesignals";

/// What HubSpot and Outreach put a record's fields in, spelled as they do.
const WRAPPERS: [&str; 2] = ["properties", "attributes"];

/// A parsed JSON object. Keys keep their order, and numbers their text but for `1e5`, now `1e+5`.
#[derive(Clone, Debug, PartialEq)]
pub struct Context {
    /// Always an object.
    object: Value,
    /// The names of [`Context::fields`], squashed once: every rule asks for them.
    words: Vec<String>,
    /// The same for [`Context::in_records`]; mostly there are none.
    record_words: Vec<String>,
}

impl Context {
    /// Reads an object. An empty text is an error: who knows nothing writes `{}`.
    ///
    /// The length of the text is the caller's to limit.
    pub fn parse(text: &str) -> Result<Context, ContextError> {
        let keys = strict::scan(text)?;
        let object: Value = serde_json::from_str(text).map_err(ContextError::Syntax)?;
        strict::check(text, keys, &object)?;
        match kind(&object) {
            "object" => {
                let mut context = Context {
                    words: words_of(&object),
                    record_words: Vec::new(),
                    object,
                };
                let names = context.in_records().map(|(_, _, name, _)| name);
                context.record_words = names.map(squash_name).collect();
                Ok(context)
            }
            found => Err(ContextError::NotAnObject { found }),
        }
    }

    /// The value at keys joined by dots, as in `available_signals.intended_channel`.
    pub fn get(&self, path: &str) -> Option<&Value> {
        path.split('.')
            .try_fold(&self.object, |value, key| value.get(key))
    }

    /// The fields at the top, then those of `available_signals`. Nothing deeper: there the values
    /// speak of other people and of other threads.
    pub fn fields(&self) -> impl Iterator<Item = Field<'_>> {
        let top = entries(&self.object).map(|(name, value)| (None, name, value));
        let signals = entries(&self.object).zip(&self.words);
        let signals = signals.filter(|(_, word)| *word == SIGNALS);
        let below = signals.flat_map(|((parent, signals), _)| {
            entries(signals).map(move |(name, value)| (Some(parent), name, value))
        });
        let fields = top.chain(below).zip(&self.words);
        fields.map(|((parent, name, value), word)| Field {
            parents: [parent, None, None],
            record: "",
            name,
            word,
            value,
        })
    }

    /// The fields, then those of a CRM's records on the prospect among them, such as `contact`.
    pub fn fields_and_records(&self) -> impl Iterator<Item = Field<'_>> {
        // The words first: where there are none, nobody looks for records.
        let below = self.record_words.iter().zip(self.in_records());
        let below = below.map(|(word, (record, wrapper, name, value))| Field {
            parents: [record.parents[0], Some(record.name), wrapper],
            record: record.word,
            name,
            word,
            value,
        });
        self.fields().chain(below)
    }

    /// Each record with a name and a value in it, and what these are wrapped in.
    fn in_records(&self) -> impl Iterator<Item = (Field<'_>, Option<&str>, &str, &Value)> {
        let records = self.fields().filter(|field| is_record(field.word));
        records.flat_map(|record| {
            let plain = [(None, record.value)].into_iter();
            let wrapped = WRAPPERS
                .into_iter()
                .filter_map(move |wrapper| Some((Some(wrapper), record.value.get(wrapper)?)));
            plain.chain(wrapped).flat_map(move |(wrapper, object)| {
                entries(object).map(move |(name, value)| (record, wrapper, name, value))
            })
        })
    }

    /// The values of the fields at such a path as `thread_id` or `available_signals.thread_id`, in
    /// any spelling.
    pub fn all_at(&self, path: &str) -> impl Iterator<Item = &Value> {
        let (parent, name) = match path.split_once('.') {
            Some((parent, name)) => (Some(squash(parent)), name),
            None => (None, path),
        };
        let is_signals = parent.as_deref().is_none_or(|parent| parent == SIGNALS);
        let word = squash(name);
        let fields = self.fields().filter(move |field| {
            is_signals && field.is_at_top() == parent.is_none() && field.word == word
        });
        fields.map(|field| field.value)
    }

    /// The channel that the context names; `None` too where it names one that we do not know.
    pub fn intended_channel(&self) -> Option<Channel> {
        [
            "intended_channel",
            "channel",
            "available_signals.intended_channel",
        ]
        .into_iter()
        .find_map(|path| self.all_at(path).find_map(Value::as_str))
        .and_then(|name| channel_of(&squash(name)))
    }

    /// The object itself.
    pub fn as_json(&self) -> &Value {
        &self.object
    }

    /// One line without spaces, non-ASCII kept.
    pub fn to_compact(&self) -> String {
        self.object.to_string()
    }

    /// Byte for byte what Python's `json.dumps(json.loads(text), indent=2)` gives.
    pub fn to_indented(&self) -> String {
        python_json::indented(&self.object)
    }
}

/// A key, its value, and where they stand.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Field<'a> {
    /// The names of what it stands in, from the top.
    pub parents: [Option<&'a str>; 3],
    /// The squashed name of the record that it stands in; empty where that is none.
    pub record: &'a str,
    pub name: &'a str,
    /// The name, as [`squash_name`] has it.
    pub word: &'a str,
    pub value: &'a Value,
}

impl Field<'_> {
    pub fn is_at_top(&self) -> bool {
        self.parents.iter().all(Option::is_none)
    }

    /// As [`Context::get`] reads it, letter by letter: names may be long, and few want the end.
    pub fn path(&self) -> impl Iterator<Item = char> {
        let parents = self.parents.into_iter().flatten();
        let parents = parents.flat_map(|parent| parent.chars().chain(['.']));
        parents.chain(self.name.chars())
    }
}

/// In the order of [`Context::fields`].
fn words_of(object: &Value) -> Vec<String> {
    let mut words: Vec<String> = entries(object).map(|(name, _)| squash_name(name)).collect();
    for (at, (_, signals)) in entries(object).enumerate() {
        if words[at] == SIGNALS {
            words.extend(entries(signals).map(|(name, _)| squash_name(name)));
        }
    }
    words
}

/// By its squashed name: an object on the prospect or the company, as a CRM hands it out whole.
#[rustfmt::skip]
fn is_record(word: &str) -> bool {
    matches!(
        word,
        "data" | "properties" | "attributes" | "contact" | "prospect" | "recipient" | "recipientinfo"
            | "lead" | "person" | "account" | "company" | "crunchbasecompany" | "organization"
            | "organisation" | "flags" | "crmflags"
    )
}

/// None but of an object.
fn entries(object: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let entries = object.as_object().into_iter().flatten();
    entries.map(|(name, value)| (name.as_str(), value))
}

/// Why a text is no context.
#[derive(Debug, Error)]
pub enum ContextError {
    /// Its message names line and column.
    #[error("not valid JSON: {0}")]
    Syntax(serde_json::Error),
    #[error("expected a JSON object, found `{found}`")]
    NotAnObject { found: &'static str },
    #[error("nested deeper than {MAX_DEPTH} levels at line {line} column {column}")]
    TooDeep { line: usize, column: usize },
    /// Readers disagree on which of the two values counts.
    #[error("key `{key}` stands twice in one object, at line {line} column {column}")]
    DuplicateKey {
        key: String,
        line: usize,
        column: usize,
    },
    /// A key by which `serde_json` marks its own numbers: it would read the object as one.
    #[error("key `{key}` is reserved, at line {line} column {column}")]
    ReservedKey {
        key: String,
        line: usize,
        column: usize,
    },
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
