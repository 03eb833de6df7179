//! What a draft says of one engineer.

use super::commitment::{Commitment, End};
use super::date;
use super::words::{ABLE, ABLE_NOW, DISCLOSED, NOW, is_able, is_of_talk, is_until};
use crate::rules::draft::{Draft, Sentence, is_word};

#[derive(Default)]
pub struct Said {
    pub is_named: bool,
    pub is_disclosed: bool,
    /// A start inside the commitment, as a date.
    pub start: Option<String>,
    /// Words that offer the engineer as free now.
    pub now: Option<String>,
}

impl Said {
    pub fn of(commitment: &Commitment, draft: &Draft<'_>) -> Self {
        let mut said = Self::default();
        // Whether a sentence goes on about the engineer of the one before.
        let mut goes_on = commitment.engineer.is_empty();
        for sentence in draft.sentences() {
            said.is_disclosed |= DISCLOSED.is_in(&sentence) || has_month_of_start(&sentence);
            let name = name_in(&sentence, &commitment.engineer);
            said.is_named |= name.is_some();
            let about = match name {
                Some(name) => Some(name),
                None if goes_on
                    && (commitment.engineer.is_empty() || is_about_person(&sentence)) =>
                {
                    Some(0)
                }
                None => None,
            };
            goes_on = about.is_some();
            let Some(from) = about else { continue };
            if said.start.is_none() {
                said.start = start_inside(&sentence, commitment);
            }
            if said.now.is_none() {
                said.now = offered_now(&sentence, from, commitment.engineer.is_empty());
            }
        }
        said
    }
}

/// Where an engineer's name ends: the whole name, or a first name that nobody else's surname
/// follows and that is no common word.
fn name_in(sentence: &Sentence<'_>, name: &[String]) -> Option<usize> {
    let first = name.first()?;
    let alone = first.chars().count() >= 3 && !is_common(first);
    let mut places = (0..sentence.len()).filter(|at| sentence.token(*at) == first);
    places.find_map(|at| {
        let whole = name
            .iter()
            .zip(at..)
            .all(|(word, at)| sentence.token(at) == word);
        let only_first = alone && sentence.is_capital(at) && !sentence.is_capital(at + 1);
        match whole {
            true => Some(at + name.len()),
            false => only_first.then_some(at + 1),
        }
    })
}

/// First names that are words too: `Will you start now?`
#[rustfmt::skip]
fn is_common(word: &str) -> bool {
    matches!(
        word,
        "engineer" | "developer" | "will" | "mark" | "may" | "grace" | "hope" | "joy" | "bill"
            | "rose" | "faith" | "art" | "patience" | "blessing" | "sunday" | "june" | "april"
            | "august" | "rich" | "frank" | "drew" | "chance" | "precious" | "gift" | "miles"
    )
}

/// `He can start now.`, `Available now.`
fn is_about_person(sentence: &Sentence<'_>) -> bool {
    let pronoun = |at| matches!(sentence.token(at), "he" | "she" | "his" | "her");
    (0..3).any(pronoun)
        || matches!(
            sentence.token(0),
            "available" | "immediate" | "immediately" | "free" | "ready"
        )
}

/// `from January`, `in July 2026`, `through 30 September`: a later start, whenever that is.
fn has_month_of_start(sentence: &Sentence<'_>) -> bool {
    let is_month = |at| {
        let word = sentence.token(at);
        date::month(word).is_some() && (word != "may" || sentence.is_capital(at))
    };
    (1..sentence.len()).any(|at| match sentence.token(at - 1) {
        "from" | "in" | "after" | "of" | "mid" | "early" | "late" | "for" => is_month(at),
        // And not `walk you through his profile`.
        "through" | "thru" => is_month(at) || is_month(at + 1) || date::at(sentence, at).is_some(),
        _ => false,
    })
}

/// A date with its year that is offered as a start although it lies inside.
fn start_inside(sentence: &Sentence<'_>, commitment: &Commitment) -> Option<String> {
    (0..sentence.len()).find_map(|at| {
        let (tokens, date) = date::at(sentence, at)?;
        let before = at.saturating_sub(5)..at;
        let mut words = before.clone().map(|at| sentence.token(at));
        let other = words.any(is_until);
        let starts = ABLE.find(sentence, before)?;
        // `after 30 September`, `after the 30th of`: behind the last day.
        let is_end = matches!(commitment.end, End::On(end) if end == date);
        let mut just_before = at.saturating_sub(3)..at;
        let is_behind = is_end && just_before.any(|at| sentence.token(at) == "after");
        let inside = !other && !is_behind && commitment.holds_plainly(date);
        inside.then(|| sentence.quote(starts.start..tokens.end).to_owned())
    })
}

/// Words that offer the person who is named before, or anybody, as free.
fn offered_now(sentence: &Sentence<'_>, from: usize, anybody: bool) -> Option<String> {
    let quote = |range| Some(sentence.quote(range).to_owned());
    let mut is_aside = false;
    for at in from..sentence.len() {
        if !anybody && is_other_subject(sentence, at) {
            return None;
        }
        is_aside = (is_aside || begins_aside(sentence, at)) && !ends_aside(sentence, at);
        if is_aside && !anybody {
            continue;
        }
        let is_of_talk = |end: usize| (at..end + 4).any(|at| is_of_talk(sentence.token(at)));
        let is_no_offer = |end| is_denied(sentence, from, at) || is_dated(sentence, end);
        if let Some(length) = ABLE_NOW.at(sentence, at)
            && !is_of_talk(at + length)
            && !is_no_offer(at + length)
        {
            return quote(at..at + length);
        }
        let Some(end) = able(sentence, at) else {
            continue;
        };
        if let Some(now) = NOW.find(sentence, end..end + 6)
            && !is_of_talk(now.end)
            && !is_no_offer(now.end)
        {
            return quote(at..now.end);
        }
        let before = at
            .checked_sub(1)
            .map_or("", |before| sentence.token(before));
        let is = matches!(before, "is" | "s") && matches!(sentence.token(at), "available" | "free");
        if is && !is_word(sentence.token(end)) && !is_no_offer(end) {
            return quote(at - 1..end);
        }
    }
    None
}

/// The end of words that say that somebody can begin: `start` only after `can` and the like.
fn able(sentence: &Sentence<'_>, at: usize) -> Option<usize> {
    let end = at + ABLE.at(sentence, at)?;
    let before = at.saturating_sub(3)..at;
    let mut before = before.map(|at| sentence.token(at));
    let fits = match sentence.token(at) {
        "start" | "begin" | "join" | "onboard" | "hit" => before.any(is_able),
        "free" => !before.any(|word| word == "feel") && sentence.token(end) != "of",
        "ready" => !before.any(|word| matches!(word, "profile" | "cv" | "resume")),
        _ => true,
    };
    fits.then_some(end)
}

/// `can't start`, `not yet ready`: a few words before, in the same clause.
fn is_denied(sentence: &Sentence<'_>, from: usize, at: usize) -> bool {
    let before = (from.max(at.saturating_sub(6))..at).rev();
    let mut clause = before
        .map(|at| sentence.token(at))
        .take_while(|word| !matches!(*word, "," | ";" | "and" | "but" | "so"));
    clause.any(|word| matches!(word, "not" | "t" | "cannot" | "never" | "no"))
}

/// `on Monday, 5 October`: a day, a month or a year, which may lie behind the commitment.
fn is_dated(sentence: &Sentence<'_>, from: usize) -> bool {
    let mut when =
        (from..from + 6).take_while(|at| !matches!(sentence.token(*at), "and" | "with" | "since"));
    when.any(|at| date::is_named_at(sentence, at))
}

/// `I am`, `you've`, `are you`: up to where somebody else is spoken of, this is of the sender or
/// the reader.
fn begins_aside(sentence: &Sentence<'_>, at: usize) -> bool {
    let is_verb = |at| {
        matches!(
            sentence.token(at),
            "am" | "m" | "are" | "re" | "have" | "ve" | "ll" | "d"
        )
    };
    let other = matches!(sentence.token(at), "we" | "you" | "i" | "they");
    other && (is_verb(at + 1) || at > 0 && is_verb(at - 1))
}

fn ends_aside(sentence: &Sentence<'_>, at: usize) -> bool {
    matches!(sentence.token(at), "he" | "she" | "is" | "has" | ";")
}

/// `we can`, `Dawit is`: from here on the sentence is about somebody else.
fn is_other_subject(sentence: &Sentence<'_>, at: usize) -> bool {
    let verb = matches!(
        sentence.token(at + 1),
        "is" | "can" | "could" | "has" | "will" | "would"
    );
    let other = matches!(sentence.token(at), "we" | "you" | "i" | "they");
    let pronoun = matches!(sentence.token(at), "he" | "she" | "who");
    verb && (other || sentence.is_capital(at) && !pronoun)
}
