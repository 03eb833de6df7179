//! Calendar dates, as contexts and drafts write them.

use std::ops::Range;

use jiff::civil::Date;
use serde_json::Value;

use crate::rules::draft::{Draft, Sentence};

/// The day of an ISO date or time.
pub fn iso(value: &Value) -> Option<Date> {
    value.as_str()?.trim().get(..10)?.parse().ok()
}

/// The date that begins at a token, written with its year: `2026-09-30`, `30 September 2026`,
/// `Sept 30th, 2026`.
pub fn at(sentence: &Sentence<'_>, at: usize) -> Option<(Range<usize>, Date)> {
    let number = |at| sentence.token(at).parse::<i16>().ok();
    let small = |at| {
        let word = sentence.token(at);
        let digits = word.trim_end_matches(|c: char| c.is_ascii_lowercase());
        let ordinal = matches!(&word[digits.len()..], "" | "st" | "nd" | "rd" | "th");
        ordinal.then(|| digits.parse::<i8>().ok()).flatten()
    };
    let year = |at| number(at).filter(|year| (1900..=2200).contains(year));
    let found = |end, year, month, day| Some((at..end, Date::new(year, month, day).ok()?));
    if let (Some(year), Some(month), Some(day)) = (year(at), small(at + 1), small(at + 2)) {
        return found(at + 3, year, month, day);
    }
    let after_comma = |at| at + usize::from(sentence.token(at) == ",");
    if let (Some(month), Some(day)) = (month(sentence.token(at)), small(at + 1)) {
        let last = after_comma(at + 2);
        return found(last + 1, year(last)?, month, day);
    }
    let day = small(at)?;
    let of = at + 1 + usize::from(sentence.token(at + 1) == "of");
    let last = after_comma(of + 1);
    found(last + 1, year(last)?, month(sentence.token(of))?, day)
}

/// Whether a text names a month, a quarter or a year.
pub fn is_named(text: &str) -> bool {
    let text = Draft::new(text);
    text.sentences()
        .any(|sentence| (0..sentence.len()).any(|at| is_name(sentence.token(at))))
}

/// Whether a token names a month, a quarter or a year; `may` is a verb.
pub fn is_named_at(sentence: &Sentence<'_>, at: usize) -> bool {
    let word = sentence.token(at);
    is_name(word) && (word != "may" || sentence.is_capital(at))
}

fn is_name(word: &str) -> bool {
    let is_year = word.len() == 4 && word.starts_with("20");
    month(word).is_some() || matches!(word, "q1" | "q2" | "q3" | "q4") || is_year
}

/// The number of a month's name.
pub fn month(word: &str) -> Option<i8> {
    const NAMES: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    let short = word.chars().count() == 3 || word == "sept";
    let place = NAMES
        .iter()
        .position(|name| *name == word || short && name.starts_with(word))?;
    i8::try_from(place + 1).ok()
}
