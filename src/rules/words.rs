//! Lists of words and yes-or-no fields, in the many shapes that callers give them.

use serde_json::{Map, Value};

use super::evidence::path_of;
use super::{Evidence, Finding, squash_name};
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

    pub fn of_word(word: &str) -> Answer {
        match word.trim().to_lowercase().as_str() {
            "true" | "yes" | "y" | "t" | "on" | "1" | "1.0" => Answer::Yes,
            // As spreadsheets and forms in other languages have it.
            "wahr" | "ja" | "vrai" | "oui" | "verdadero" | "sí" | "sì" | "si" | "vero" => {
                Answer::Yes
            }
            "n" | "f" | "off" | "0" | "0.0" => Answer::No,
            word if is_no(word) || is_filler(word) => Answer::No,
            _ => Answer::Unclear,
        }
    }

    /// Whether a value that says no says so itself: `N/A` only fills the place of an answer.
    pub fn is_meant(value: &Value) -> bool {
        match value {
            Value::Bool(_) | Value::Number(_) => true,
            Value::String(text) => !is_filler(&text.trim().to_lowercase()),
            Value::Null | Value::Array(_) | Value::Object(_) => false,
        }
    }
}

/// What a list is of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum List {
    Disqualifiers,
    Channels,
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
pub fn find_in_list(
    list: List,
    field: &Field<'_>,
    judge: impl Fn(Entry<'_>, Evidence) -> Finding,
) -> Finding {
    find_in_entries(list, &path_of(field), field.value, false, &judge)
}

fn find_in_entries(
    list: List,
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
            let path = format!("{path}[{index}]");
            find_in_entries(list, &path, item, is_in_object, judge)
        })),
        Value::Object(fields) => Finding::any(fields.iter().map(|(key, value)| {
            let path = || format!("{path}.{key}");
            let entry = match Answer::of(value) {
                Answer::Yes => Entry::Flagged(key),
                Answer::No => return Finding::NotFired,
                Answer::Unclear if names_entry(list, fields, key) => {
                    return find_in_entries(list, &path(), value, true, judge);
                }
                Answer::Unclear => Entry::Unreadable,
            };
            judge(entry, Evidence::new(&path(), value))
        })),
    }
}

/// Whether a field names what its object stands for, and no other may take it back: `channel` beside
/// `date`, but no `type` beside `status`.
fn names_entry(list: List, fields: &Map<String, Value>, key: &str) -> bool {
    // In this spelling only, so that few fields look at all others.
    let is_name = matches!(
        key,
        "channel" | "channels" | "type" | "flag" | "flags" | "name" | "value"
    );
    let mut others = fields.iter().filter(|(other, _)| *other != key);
    is_name && others.all(|(other, value)| leaves_it(list, &squash_name(other), value))
}

/// Whether what another field says, by its squashed name, leaves an entry as it is.
#[rustfmt::skip]
fn leaves_it(list: List, name: &str, value: &Value) -> bool {
    match name {
        "value" | "confirmed" | "optout" | "optedout" | "unsubscribed" => {
            Answer::of(value) == Answer::Yes
        }
        // Without a time it perhaps never was.
        "date" | "since" | "timestamp" | "optedoutat" | "optoutdate" | "unsubscribedat" => {
            Answer::of(value) != Answer::No
        }
        // Of a channel's entry, perhaps the channel is, and no opt-out.
        "active" | "isactive" | "enabled" => {
            list == List::Disqualifiers && Answer::of(value) == Answer::Yes
        }
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
    let is_no = is_one_of(
        first,
        &[
            "no", "not", "without", "kein", "keine", "aucun", "aucune", "sin", "ninguno", "ninguna",
        ],
    ) && words.any(is_of_reasons);
    is_none || is_no || (piece.contains(char::is_alphabetic) && says_nothing(piece))
}

/// Whether a word behind a no speaks of reasons at large.
fn is_of_reasons(word: &str) -> bool {
    const BEGINNINGS: [&str; 15] = [
        "disqualif",
        "information",
        "información",
        "angabe",
        "bekannt",
        "connu",
        "conocid",
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

/// Whether a word only fills the place of one, or says no.
fn says_nothing(word: &str) -> bool {
    let word = word.trim().to_lowercase();
    is_filler(&word) || is_no(&word)
}

/// Whether a word, in lower case, says no.
fn is_no(word: &str) -> bool {
    matches!(
        word,
        "no" | "false" | "nein" | "falsch" | "non" | "faux" | "falso"
    )
}

/// Whether a word, in lower case, says that there is none, or stands where one is missing.
#[rustfmt::skip]
fn is_filler(word: &str) -> bool {
    matches!(
        word,
        "" | "-" | "--" | "—" | "none" | "null" | "nil" | "n/a" | "na" | "[]" | "{}" | "nan"
            | "undefined" | "n.a." | "n.a" | "nothing" | "set()" | "()" | "k.a."
            | "keine" | "nichts" | "aucun" | "aucune" | "ninguno" | "ninguna" | "nessuno" | "geen"
    )
}
