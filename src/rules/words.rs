//! Lists of words and yes-or-no fields, in the many shapes that callers give them.

use serde_json::{Map, Value};

use super::evidence::one_line;
use super::{Evidence, Finding};
use crate::context::{Field, squash_name};

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

    pub fn of_word(word: &str) -> Answer {
        match word.trim().to_lowercase().as_str() {
            "true" | "yes" | "y" | "t" | "on" | "1" | "1.0" => Answer::Yes,
            // As spreadsheets and forms in other languages have it.
            "wahr" | "ja" | "vrai" | "oui" | "verdadero" | "sí" | "sì" | "si" => Answer::Yes,
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
    /// A word that counts where it is known: a key of an object, whose value says yes; what a field
    /// such as `channel` there names; what stands in one text that says that there is none.
    Flagged(&'a str),
    /// Neither a word nor a yes or no.
    Unreadable,
}

/// What a list of words comes to: a JSON list, one string with commas, an object of yes and no, or
/// these inside each other. `judge` gives the finding on one entry.
pub fn find_in_list(field: &Field<'_>, judge: impl Fn(Entry<'_>, Evidence) -> Finding) -> Finding {
    // Cut at once: the paths of all entries start with it.
    find_in_entries(&one_line(&field.path()), field.value, false, &judge)
}

fn find_in_entries(
    path: &str,
    value: &Value,
    is_in_object: bool,
    judge: &impl Fn(Entry<'_>, Evidence) -> Finding,
) -> Finding {
    match value {
        Value::Null | Value::Bool(false) => Finding::NotFired,
        Value::Bool(true) | Value::Number(_) => {
            judge(Entry::Unreadable, Evidence::new(path, value))
        }
        Value::String(text) => {
            let words = || text.split([',', ';', '|', '\n']).map(str::trim);
            let must_be_known = is_in_object || words().any(says_none);
            let words = words().filter(|word| !says_nothing(word));
            Finding::any(words.map(|word| {
                let entry = match must_be_known {
                    true => Entry::Flagged(word),
                    false => Entry::Listed(word),
                };
                judge(entry, Evidence::of_word(path, word))
            }))
        }
        Value::Array(items) => Finding::any(items.iter().enumerate().map(|(index, item)| {
            find_in_entries(&format!("{path}[{index}]"), item, is_in_object, judge)
        })),
        Value::Object(fields) => Finding::any(fields.iter().map(|(key, value)| {
            let path = || format!("{path}.{key}");
            let entry = match Answer::of(value) {
                Answer::Yes => Entry::Flagged(key),
                Answer::No => return Finding::NotFired,
                Answer::Unclear if names_entry(fields, key) => {
                    return find_in_entries(&path(), value, true, judge);
                }
                Answer::Unclear => Entry::Unreadable,
            };
            judge(entry, Evidence::new(&path(), value))
        })),
    }
}

/// Whether a field names what its object stands for, and no other may take it back: `channel` beside
/// `date`, but no `type` beside `status`.
fn names_entry(fields: &Map<String, Value>, key: &str) -> bool {
    // In this spelling only, so that few fields look at all others.
    let is_name = matches!(
        key,
        "channel" | "channels" | "type" | "flag" | "flags" | "name" | "value"
    );
    let mut others = fields.iter().filter(|(other, _)| *other != key);
    is_name && others.all(|(other, value)| leaves_it(&squash_name(other), value))
}

/// Whether what another field says, by its squashed name, leaves an entry as it is.
#[rustfmt::skip]
fn leaves_it(name: &str, value: &Value) -> bool {
    match name {
        "value" | "confirmed" | "optout" | "optedout" | "unsubscribed" => {
            Answer::of(value) == Answer::Yes
        }
        // Without a time it perhaps never was.
        "date" | "since" | "timestamp" | "optedoutat" | "optoutdate" | "unsubscribedat" => {
            Answer::of(value) != Answer::No
        }
        // Perhaps the channel is, and no opt-out.
        "active" | "isactive" | "enabled" => false,
        _ if value.is_null() || value.as_str() == Some("") => true,
        // Not `type`, which may be `opt_in`.
        "channel" | "channels" | "flag" | "flags" | "name" | "id" | "label" | "reason" | "source"
        | "evidence" | "createdat" | "addedat" | "addedby" | "updatedat" => {
            Answer::of(value) != Answer::No
        }
        _ => false,
    }
}

/// A squashed name without whose it is: `hs_email_optout`, `contact_opt_out`.
pub fn without_owner(name: &str) -> &str {
    const OWNERS: [&str; 10] = [
        "hs",
        "recipient",
        "prospect",
        "contact",
        "lead",
        "user",
        "person",
        "customer",
        "account",
        "company",
    ];
    let owned = OWNERS.iter().find_map(|owner| name.strip_prefix(owner));
    owned.unwrap_or(name)
}

/// Whether a piece of a text says in plain words that there is none: `none`, `No known issues`,
/// `N/A - checked`. A flag such as `no_offshore` is one word, and `No budget` is a reason itself.
fn says_none(piece: &str) -> bool {
    let mut words = piece.split_whitespace();
    let first = words.next().unwrap_or_default();
    let first = first.trim_end_matches(|c: char| !c.is_alphanumeric());
    let is_none = is_one_of(first, &["none", "nothing", "n/a", "n.a"]);
    let is_no = is_one_of(first, &["no", "not", "without"]) && words.any(is_of_reasons);
    is_none || is_no || (piece.contains(char::is_alphabetic) && says_nothing(piece))
}

/// Whether a word behind a no speaks of reasons at large.
fn is_of_reasons(word: &str) -> bool {
    const BEGINNINGS: [&str; 9] = [
        "disqualif",
        "issue",
        "flag",
        "known",
        "reason",
        "concern",
        "problem",
        "blocker",
        "applicable",
    ];
    let word = word.to_lowercase();
    BEGINNINGS.iter().any(|start| word.starts_with(start))
}

/// In capital letters or small ones.
pub fn is_one_of(word: &str, words: &[&str]) -> bool {
    words.iter().any(|one| word.eq_ignore_ascii_case(one))
}

/// Whether a word only fills the place of one.
#[rustfmt::skip]
fn says_nothing(word: &str) -> bool {
    matches!(
        word.trim().to_lowercase().as_str(),
        "" | "-" | "--" | "—" | "none" | "null" | "nil" | "n/a" | "na" | "no" | "false" | "[]" | "{}"
            | "nan" | "undefined" | "n.a." | "n.a" | "nothing" | "set()" | "()"
            | "nein" | "falsch" | "non" | "faux" | "falso"
    )
}
