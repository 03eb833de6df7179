use std::fmt;

use serde_json::Value;

use crate::context::Field;

/// Longer text is cut.
const MAX_CHARS: usize = 60;

/// The field that a finding rests on. Both texts are short, on one line, and without backticks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// As in `disqualifiers[0]`.
    pub field: String,
    /// Empty where the field is missing.
    pub value: String,
}

impl Evidence {
    pub fn new(path: &str, value: &Value) -> Self {
        Self::at(one_line(path), value)
    }

    /// One word of a longer text at a path.
    pub fn of_word(path: &str, word: &str) -> Self {
        Self {
            field: one_line(path),
            value: one_line(word),
        }
    }

    pub fn of(field: &Field<'_>) -> Self {
        Self::at(path_of(field), field.value)
    }

    /// A field that should be there.
    pub fn missing(field: &str) -> Self {
        Self {
            field: field.to_owned(),
            value: String::new(),
        }
    }

    fn at(field: String, value: &Value) -> Self {
        let value = match value {
            Value::String(text) => one_line(text),
            other => one_line(&other.to_string()),
        };
        Self { field, value }
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value.as_str() {
            "" => write!(f, "`{}` is missing", self.field),
            value => write!(f, "`{}` is `{value}`", self.field),
        }
    }
}

/// The start of a text, made fit to stand in a sentence.
pub fn one_line(text: &str) -> String {
    start_of(text.chars())
}

/// The same of a field's path, whose names may be long.
pub fn path_of(field: &Field<'_>) -> String {
    start_of(field.path())
}

fn start_of(chars: impl Iterator<Item = char>) -> String {
    let mut chars = chars.map(|c| match c {
        '`' => '\'',
        '\u{2028}' | '\u{2029}' => ' ',
        c if c.is_control() => ' ',
        c => c,
    });
    let mut line: String = chars.by_ref().take(MAX_CHARS).collect();
    if chars.next().is_some() {
        line.push('…');
    }
    line
}
