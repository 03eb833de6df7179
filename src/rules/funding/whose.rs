//! Whose money a sentence speaks of.

use serde_json::Value;

use super::money::{self, Amount};
use super::words::{MODIFIER, ROUND, is_auxiliary, is_other, is_third, is_you};
use crate::context::Context;
use crate::rules::company::Company;
use crate::rules::draft::Sentence;

/// Whom the claims are about.
pub struct Prospect {
    pub company: Company,
    /// The sum that the context names.
    sum: Option<f64>,
}

impl Prospect {
    pub fn of(context: &Context) -> Self {
        let number = |value: &Value| match value.as_str() {
            Some(text) => text.trim().replace([',', '_', '$'], "").parse().ok(),
            None => value.as_f64(),
        };
        let sum = ["funding_amount_usd", "available_signals.funding_amount_usd"];
        Self {
            company: Company::of(context),
            sum: sum
                .into_iter()
                .find_map(|path| context.all_at(path).find_map(number))
                .filter(|sum| *sum > 0.0),
        }
    }

    pub fn is_named_in(&self, sentence: &Sentence<'_>) -> bool {
        (0..sentence.len())
            .any(|at| is_you(sentence.token(at)) || self.company.at(sentence, at) > 0)
    }

    pub fn has(&self, amount: &Amount) -> bool {
        self.sum.is_some_and(|sum| amount.is(sum))
    }
}

/// Who does what a verb says.
pub enum Subject {
    Prospect,
    Perhaps,
    Other,
}

/// Who stands before a verb.
pub fn subject(sentence: &Sentence<'_>, verb: usize, prospect: &Prospect) -> Subject {
    let mut at = verb;
    while at > 0 && is_auxiliary(sentence.token(at - 1)) {
        at -= 1;
    }
    let Some(before) = at.checked_sub(1) else {
        return Subject::Perhaps;
    };
    if matches!(sentence.token(before), "you" | "u") || prospect.company.ends_at(sentence, before) {
        return Subject::Prospect;
    }
    match sentence.token(before) {
        "team" | "company" | "startup" | "firm" | "after" | "since" | "having" | "by" | "with"
        | "," | "and" => Subject::Perhaps,
        _ => Subject::Other,
    }
}

/// Clients and companies in general are spoken of before a token, not the prospect.
pub fn is_of_others(sentence: &Sentence<'_>, at: usize) -> bool {
    (0..at).any(|at| is_other(sentence.token(at)) || is_third(sentence.token(at)))
}

/// Clients, competitors and the like are spoken of.
pub fn is_of_third(sentence: &Sentence<'_>) -> bool {
    (0..sentence.len()).any(|at| is_third(sentence.token(at)))
}

/// Where the words begin that make a thing the prospect's: `your recent …`, `Kestrel's …`.
pub fn owner(sentence: &Sentence<'_>, thing: usize, prospect: &Prospect) -> Option<usize> {
    let mut at = thing;
    for _ in 0..8 {
        let before = at.checked_sub(1)?;
        let token = sentence.token(before);
        if matches!(token, "your" | "ur") {
            return Some(before);
        }
        if token == "s" && prospect.company.ends_at(sentence, before.checked_sub(1)?) {
            return Some(before - 1);
        }
        if prospect.company.ends_at(sentence, before) {
            return Some(before);
        }
        let is_part = MODIFIER.at(sentence, before).is_some()
            || before > 0 && MODIFIER.at(sentence, before - 1) == Some(2)
            || ROUND.at(sentence, before).is_some()
            || before > 0 && ROUND.at(sentence, before - 1) == Some(2)
            || is_of_sum(sentence, before);
        if !is_part {
            return None;
        }
        at = before;
    }
    None
}

/// Whether a token belongs to a sum that begins at it or a little before.
fn is_of_sum(sentence: &Sentence<'_>, at: usize) -> bool {
    (at.saturating_sub(3)..=at)
        .filter_map(|start| money::at(sentence, start))
        .any(|amount| amount.tokens.contains(&at))
}
