//! Rule 5: funding that nobody confirmed is not stated as fact.

mod claim;
mod hedge;
mod money;
mod whose;
mod words;

use std::ops::Range;

use serde_json::Value;

use self::claim::{Claim, claims};
use self::hedge::{Hedge, Hedges};
use self::whose::Prospect;
use super::draft::{Draft, Sentence};
use super::{Evidence, Finding};
use crate::context::{Context, squash};

/// What the context says of its own knowledge.
enum Confidence {
    Low(Evidence),
    Enough,
    Unknown(Evidence),
}

/// Looks for a round or a sum that the draft states, where the context vouches for neither.
pub fn find(context: &Context, draft: &Draft<'_>) -> Finding {
    let confidence = match confidence(context) {
        Confidence::Enough => return Finding::NotFired,
        confidence => confidence,
    };
    match (strongest(context, draft), confidence) {
        (None, _) | (_, Confidence::Enough) => Finding::NotFired,
        (Some((true, claim)), Confidence::Low(field)) => Finding::Fired(vec![field, claim]),
        (Some((false, claim)), Confidence::Low(_)) => Finding::CannotTell(claim),
        (Some(_), Confidence::Unknown(field)) => Finding::CannotTell(field),
    }
}

/// All fields that tell must agree.
fn confidence(context: &Context) -> Confidence {
    let mut found = None;
    let fields = context.fields().filter(|field| !field.value.is_null());
    for field in fields.filter(|field| field.word == "fundingconfidence") {
        let Some(is_low) = is_low(field.value) else {
            return Confidence::Unknown(Evidence::of(&field));
        };
        match &found {
            None => found = Some((is_low, Evidence::of(&field))),
            Some((other, _)) if *other != is_low => {
                return Confidence::Unknown(Evidence::of(&field));
            }
            Some(_) => {}
        }
    }
    match found {
        Some((true, evidence)) => Confidence::Low(evidence),
        Some((false, _)) => Confidence::Enough,
        None => Confidence::Unknown(Evidence::missing("funding_confidence")),
    }
}

fn is_low(value: &Value) -> Option<bool> {
    match squash(value.as_str()?).as_str() {
        "low" | "verylow" | "insufficientsignal" | "insufficientsignals" | "insufficient" => {
            Some(true)
        }
        "high" | "veryhigh" | "medium" | "confirmed" | "verified" => Some(false),
        _ => None,
    }
}

/// The first claim that is plainly stated, else the first that may be.
fn strongest(context: &Context, draft: &Draft<'_>) -> Option<(bool, Evidence)> {
    let prospect = Prospect::of(context);
    let mut doubtful = None;
    let mut before: Option<Sentence<'_>> = None;
    let mut sentences = draft.sentences().peekable();
    while let Some(sentence) = sentences.next() {
        let claims = claims(&sentence, &prospect);
        let hedges = (!claims.is_empty()).then(|| Hedges::of(&sentence));
        for Claim { tokens, is_plain } in claims {
            let hedge = hedges.as_ref().map(|hedges| hedges.around(&tokens));
            let stated = match hedge.unwrap_or(Hedge::No) {
                Hedge::Yes => continue,
                Hedge::Perhaps => false,
                Hedge::No => {
                    let next = sentences.peek();
                    is_plain && !before.iter().chain(next).any(hedge::is_about_neighbours)
                }
            };
            let evidence = evidence(&sentence, tokens);
            if stated {
                return Some((true, evidence));
            }
            doubtful.get_or_insert(evidence);
        }
        before = Some(sentence);
    }
    doubtful.map(|evidence| (false, evidence))
}

fn evidence(sentence: &Sentence<'_>, tokens: Range<usize>) -> Evidence {
    Evidence::of_word("draft", sentence.quote(tokens))
}
