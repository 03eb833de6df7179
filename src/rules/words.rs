//! Lists of words and yes-or-no fields, in the many shapes that callers give them.

use serde_json::Value;

use super::evidence::one_line;
use super::{Evidence, Finding};
use crate::context::Field;

/// What a field for a yes or a no says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Yes,
    No,
    Unclear,
}

impl Answer {
    pub fn of(value: &Value) -> Answer {
        match value {
            Value::Null | Value::Bool(false) => Answer::No,
            Value::Bool(true) => Answer::Yes,
            Value::Number(number) => Answer::of_word(number.as_str()),
            Value::String(text) => Answer::of_word(text),
            Value::Array(items) if items.is_empty() => Answer::No,
            Value::Object(fields) if fields.is_empty() => Answer::No,
            Value::Array(_) | Value::Object(_) => Answer::Unclear,
        }
    }

    fn of_word(word: &str) -> Answer {
        match word.trim().to_lowercase().as_str() {
            "true" | "yes" | "y" | "t" | "on" | "1" | "1.0" => Answer::Yes,
            "false" | "no" | "n" | "f" | "off" | "0" | "0.0" => Answer::No,
            word if says_nothing(word) => Answer::No,
            _ => Answer::Unclear,
        }
    }
}

/// One entry of a list of words.
pub enum Entry<'a> {
    /// A word that stands in the list.
    Listed(&'a str),
    /// A key of an object, whose value says yes.
    Flagged(&'a str),
    /// Neither a word nor a yes or no.
    Unreadable,
}

/// What a list of words comes to: a JSON list, one string with commas, an object of yes and no, or
/// these inside each other. `judge` gives the finding on one entry.
pub fn find_in_list(field: &Field<'_>, judge: impl Fn(Entry<'_>, Evidence) -> Finding) -> Finding {
    // Cut at once: the paths of all entries start with it.
    find_in_entries(&one_line(&field.path()), field.value, &judge)
}

fn find_in_entries(
    path: &str,
    value: &Value,
    judge: &impl Fn(Entry<'_>, Evidence) -> Finding,
) -> Finding {
    match value {
        Value::Null | Value::Bool(false) => Finding::NotFired,
        Value::Bool(true) | Value::Number(_) => {
            judge(Entry::Unreadable, Evidence::new(path, value))
        }
        Value::String(text) => Finding::any(
            text.split([',', ';', '|', '\n'])
                .map(str::trim)
                .filter(|word| !says_nothing(word))
                .map(|word| judge(Entry::Listed(word), Evidence::of_word(path, word))),
        ),
        Value::Array(items) => Finding::any(
            items
                .iter()
                .enumerate()
                .map(|(index, item)| find_in_entries(&format!("{path}[{index}]"), item, judge)),
        ),
        Value::Object(fields) => Finding::any(fields.iter().map(|(key, value)| {
            let entry = match Answer::of(value) {
                Answer::Yes => Entry::Flagged(key),
                Answer::No => return Finding::NotFired,
                Answer::Unclear => Entry::Unreadable,
            };
            judge(entry, Evidence::new(&format!("{path}.{key}"), value))
        })),
    }
}

/// A squashed name without whose it is: `hs_email_optout`, `contact_opt_out`.
pub fn without_owner(name: &str) -> &str {
    let mut owners = ["hs", "recipient", "prospect", "contact", "lead", "user"].into_iter();
    let owned = owners.find_map(|owner| name.strip_prefix(owner));
    owned.unwrap_or(name)
}

/// Whether a word only fills the place of one.
#[rustfmt::skip]
fn says_nothing(word: &str) -> bool {
    matches!(
        word.trim().to_lowercase().as_str(),
        "" | "-" | "--" | "—" | "none" | "null" | "nil" | "n/a" | "na" | "no" | "false" | "[]" | "{}"
            | "nan" | "undefined" | "n.a." | "n.a" | "nothing" | "set()" | "()"
    )
}
