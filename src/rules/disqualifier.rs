//! Rule 1: a disqualifier forbids all outreach.

use std::collections::BTreeSet;

use super::marks::{find_in_marks, has_marks};
use super::words::{Answer, Entry, List, find_in_list, without_owner};
use super::{Evidence, Finding, squash_name};
use crate::context::{Context, Field};

/// Looks through the lists of disqualifiers, for fields that are a known flag themselves, one of the
/// rubric's or of the operator's, which are squashed, and for the marks that a CRM gives.
pub fn find(context: &Context, more: &BTreeSet<String>) -> Finding {
    let fields = context.fields_and_records();
    Finding::any(fields.map(|field| find_in_field(&field, more)))
}

fn find_in_field(field: &Field<'_>, more: &BTreeSet<String>) -> Finding {
    let is_known = |flag: &str| {
        let plain = without_owner(flag);
        let plain = plain.strip_prefix("is").unwrap_or(plain);
        [flag, plain]
            .into_iter()
            .any(|flag| is_built_in(flag) || more.contains(flag))
    };
    if matches!(field.word, "disqualifier" | "disqualifiers") {
        find_in_list(List::Disqualifiers, field, |entry, evidence| {
            find_in_entry(entry, evidence, is_known)
        })
    } else if is_known(field.word) {
        match Answer::of(field.value) {
            Answer::Yes => Finding::Fired(vec![Evidence::of(field)]),
            Answer::No => Finding::NotFired,
            Answer::Unclear => Finding::CannotTell(Evidence::of(field)),
        }
    } else if has_marks(field.word) {
        find_in_marks(field, |mark| is_mark(mark) || more.contains(mark))
    } else {
        Finding::NotFired
    }
}

/// Squashed. A `competitor` may be a tag for other things, and `no contact` a lead that nobody reached.
#[rustfmt::skip]
fn is_mark(mark: &str) -> bool {
    matches!(
        mark,
        "donotcontact" | "dontcontact" | "dnc" | "disqualified" | "antioffshore" | "nooffshore"
            | "nooffshoring" | "antioutsourcing" | "nooutsourcing" | "localonly" | "localteamsonly"
            | "inhouseonly" | "onshoreonly"
    )
}

/// What a list holds is a disqualifier by its place, known or not: the rubric says "any", and the
/// labelled data suppress on a flag that nobody knows. A word in an object has no such place.
fn find_in_entry(entry: Entry<'_>, evidence: Evidence, is_known: impl Fn(&str) -> bool) -> Finding {
    let fires = match entry {
        Entry::Listed(word) => is_known(&squash_name(word)) || !is_denied_or_open(word, &is_known),
        Entry::Flagged(word) => is_known(&squash_name(word)),
        Entry::Unreadable => false,
    };
    if fires {
        Finding::Fired(vec![evidence])
    } else {
        Finding::CannotTell(evidence)
    }
}

/// The rubric's four flags, and words that mean the same. Squashed.
#[rustfmt::skip]
fn is_built_in(flag: &str) -> bool {
    matches!(
        flag,
        "antioffshore" | "nooffshore" | "nooffshoring" | "antioutsourcing" | "nooutsourcing"
            | "localonly" | "localteamsonly" | "inhouseonly" | "onsiteonly" | "onshoreonly"
            | "donotcontact" | "dontcontact" | "nocontact" | "dnc"
            | "competitor" | "directcompetitor" | "disqualified"
    )
}

/// Words such as `not_a_competitor`, `Legal hold: no`, `unknown` or `1`, which name no disqualifier.
/// `Open to outsourcing: no` names one.
fn is_denied_or_open(word: &str, is_known: impl Fn(&str) -> bool) -> bool {
    let word = word.to_lowercase();
    if let Some((flag, answer)) = word.rsplit_once([':', '=']) {
        let answer = answer.trim_matches(|c: char| !c.is_alphanumeric());
        let is_no = !answer.is_empty() && Answer::of_word(answer) == Answer::No;
        if is_no && (is_known(&squash_name(flag)) || !is_consent(flag)) {
            return true;
        }
    }
    let parts = word.split(|c: char| !c.is_alphanumeric());
    let mut parts = parts.filter(|part| !part.is_empty());
    let (first, second, third) = (parts.next(), parts.next(), parts.next());
    match (first, second) {
        (Some("no" | "non" | "not" | "none" | "without" | "former" | "maybe") | None, _) => true,
        // `N/A (checked)`
        (Some("n"), Some("a")) => true,
        (Some("unknown" | "unclear" | "pending" | "tbd" | "tbc" | "todo"), None) => true,
        (Some("ok" | "clear" | "cleared" | "clean" | "empty" | "checked" | "reviewed"), None) => {
            true
        }
        (Some("all"), Some("clear" | "clean" | "good" | "ok")) => third.is_none(),
        (Some(part), None) if Answer::of_word(part) != Answer::Unclear => true,
        (Some(_), _) => !word.contains(char::is_alphabetic),
    }
}

/// Whether a yes, in lower case, would be welcome: `open to outsourcing`, `offshore ok`.
#[rustfmt::skip]
fn is_consent(question: &str) -> bool {
    const SIGNS: [&str; 12] = [
        "open to", "open for", "willing", "accepts", "accepted", "allow", "welcom", "permitted",
        "agrees", "consent", "outsourcing", "budget",
    ];
    let mut words = question.split_whitespace();
    SIGNS.iter().any(|word| question.contains(word)) || words.any(|word| word == "ok")
}
