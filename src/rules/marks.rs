//! Marks by which a CRM sorts people: a status, a stage, tags. One that is called like a flag says yes
//! to it, as in `status: "Do Not Contact"` and `tags: ["vip", "Unsubscribed"]`.

use serde_json::Value;

use super::evidence::path_of;
use super::words::{Answer, without_owner};
use super::{Evidence, Finding, squash_name};
use crate::context::{Field, squash};

/// Whether a field holds marks, by its squashed name.
#[rustfmt::skip]
pub fn has_marks(name: &str) -> bool {
    const KINDS: [&str; 5] = ["crm", "lead", "lifecycle", "pipeline", "sales"];
    let name = without_owner(name);
    let name = KINDS.iter().find_map(|kind| name.strip_prefix(kind)).unwrap_or(name);
    matches!(
        name,
        "status" | "stage" | "stagename" | "category" | "tag" | "tags" | "label" | "labels" | "flags"
    )
}

/// What the marks of a field come to; `is_flag` knows squashed words. All other marks say nothing.
pub fn find_in_marks(field: &Field<'_>, is_flag: impl Fn(&str) -> bool) -> Finding {
    let path = || path_of(field);
    match field.value {
        Value::Array(items) => Finding::any(items.iter().enumerate().map(|(index, item)| {
            let path = || format!("{}[{index}]", path());
            find_in_mark(path, item, &is_flag)
        })),
        mark => find_in_mark(path, mark, is_flag),
    }
}

/// A text, or an object with one, such as `{"name": "DNC"}`.
fn find_in_mark(
    path: impl Fn() -> String,
    mark: &Value,
    is_flag: impl Fn(&str) -> bool,
) -> Finding {
    match mark {
        Value::String(text) => find_in_text(path, text, is_flag),
        Value::Object(fields) => {
            let names = ["name", "label", "value", "title"];
            let texts = names
                .iter()
                .filter_map(|name| Some((name, fields.get(*name)?.as_str()?)));
            let found =
                Finding::any(texts.map(|(name, text)| {
                    find_in_text(|| format!("{}.{name}", path()), text, &is_flag)
                }));
            match found {
                Finding::Fired(mut found) if fields.iter().any(ends_it) => {
                    Finding::CannotTell(found.remove(0))
                }
                found => found,
            }
        }
        _ => Finding::NotFired,
    }
}

/// Whether what stands beside a mark says that it holds no more.
fn ends_it((name, value): (&String, &Value)) -> bool {
    match squash_name(name).as_str() {
        "value" | "active" | "isactive" | "enabled" | "confirmed" => {
            Answer::of(value) == Answer::No && Answer::is_meant(value)
        }
        "removed" | "removedat" | "lifted" | "liftedat" | "deleted" | "isdeleted" | "deletedat"
        | "expiredat" | "endedat" | "archived" => Answer::of(value) != Answer::No,
        _ => false,
    }
}

fn find_in_text(path: impl Fn() -> String, text: &str, is_flag: impl Fn(&str) -> bool) -> Finding {
    let is_taken_back = text.split_whitespace().any(is_return);
    let marks = text.split([',', ';', '|', '\n']);
    Finding::any(marks.map(|mark| {
        let evidence = || Evidence::of_word(&path(), mark.trim());
        match read(mark, &is_flag) {
            Some(Answer::Yes) if !is_taken_back => Finding::Fired(vec![evidence()]),
            Some(_) => Finding::CannotTell(evidence()),
            None => Finding::NotFired,
        }
    }))
}

/// What a mark says to the flag that it names: `Disqualified - No Budget`, but `DNC: no` and
/// `Unsubscribed (lifted)`.
fn read(mark: &str, is_flag: impl Fn(&str) -> bool) -> Option<Answer> {
    let ends = [" - ", " – ", " — ", ":", "=", "(", "/"];
    let end = ends.iter().filter_map(|end| mark.find(end)).min();
    let (flag, remark) = mark.split_at(end.unwrap_or(mark.len()));
    if !is_flag(&squash(flag)) {
        return None;
    }
    let remark = remark.trim_matches(|c: char| !c.is_alphanumeric());
    let is_no = !remark.is_empty() && Answer::of_word(remark) == Answer::No;
    let is_taken_back = remark.split_whitespace().any(takes_back);
    Some(match is_no || is_open(&squash(remark)) || is_taken_back {
        true => Answer::Unclear,
        false => Answer::Yes,
    })
}

/// Of a whole remark: `Disqualified (not a fit)` stands.
#[rustfmt::skip]
fn is_open(remark: &str) -> bool {
    matches!(
        remark,
        "never" | "unknown" | "unclear" | "notset" | "notconfirmed" | "unconfirmed" | "notrequested"
            | "notapplicable" | "underreview" | "tbd" | "tbc"
    )
}

/// A word of a remark.
#[rustfmt::skip]
fn takes_back(word: &str) -> bool {
    is_return(word)
        || matches!(
            squash(word).as_str(),
            "former" | "formerly" | "longer" | "anymore" | "removed" | "expired" | "ended" | "cleared"
                | "revoked" | "reversed" | "overturned" | "resolved" | "until" | "pending" | "maybe"
                | "unsure"
        )
}

/// A word that takes a mark back wherever it stands: `Unsubscribed, resubscribed in May`.
fn is_return(word: &str) -> bool {
    matches!(
        squash(word).as_str(),
        "lifted" | "reopened" | "requalified" | "reactivated" | "resubscribed" | "back"
    )
}
