//! Where a sentence speaks of money that the prospect raised.

use std::ops::Range;

use super::money::{self, Amount};
use super::whose::{Prospect, Subject, is_of_others, is_of_third, owner, subject};
use super::words::{
    BANK, CONGRATULATION, MODIFIER, NOT_A_ROUND, NOT_THE_MONEY, PRICE, PRICED, RAISED, ROUND,
    goes_on, is_auxiliary, is_light, tells_more,
};
use crate::rules::draft::{Sentence, is_word};

/// Tokens that state a round or a sum.
pub struct Claim {
    pub tokens: Range<usize>,
    /// Whether it is plainly about the prospect's own funding.
    pub is_plain: bool,
}

/// In the order of the sentence.
pub fn claims(sentence: &Sentence<'_>, prospect: &Prospect) -> Vec<Claim> {
    let mut claims = Vec::new();
    let mut at = 0;
    let mut named = None;
    while at < sentence.len() {
        let mut is_named = || *named.get_or_insert_with(|| prospect.is_named_in(sentence));
        match claim_at(sentence, at, prospect, &mut is_named) {
            Some(claim) => {
                at = claim.tokens.end.max(at + 1);
                claims.push(claim);
            }
            None => at += 1,
        }
    }
    claims
}

fn claim_at(
    sentence: &Sentence<'_>,
    at: usize,
    prospect: &Prospect,
    is_named: &mut impl FnMut() -> bool,
) -> Option<Claim> {
    if let Some(amount) = sum_at(sentence, at) {
        return by_sum(sentence, amount, prospect, is_named);
    }
    if let Some(length) = RAISED.at(sentence, at)
        && let Some(claim) = by_verb(sentence, at..at + length, prospect, is_named)
    {
        return Some(claim);
    }
    let length = round_at(sentence, at)?;
    let tokens = at..at + length;
    let owner = owner(sentence, at, prospect);
    let congratulated = congratulates(sentence, at);
    match (owner, congratulated) {
        (Some(from), _) => Some(plain(from..tokens.end)),
        (None, Some(from)) => Some(Claim {
            tokens: from..tokens.end,
            is_plain: praises(sentence, from),
        }),
        // `After the Series A`: perhaps the prospect's.
        (None, None) if sentence.token(at.wrapping_sub(1)) == "the" && is_named() => Some(Claim {
            tokens,
            is_plain: false,
        }),
        (None, None) => None,
    }
}

fn plain(tokens: Range<usize>) -> Claim {
    Claim {
        tokens,
        is_plain: true,
    }
}

/// A sum that may be a round's: large enough, and no price.
fn sum_at(sentence: &Sentence<'_>, at: usize) -> Option<Amount> {
    let amount = money::at(sentence, at)?;
    let end = amount.tokens.end;
    let priced = PRICE
        .at(sentence, end)
        .or(PRICE.at(sentence, end + 1))
        .is_some();
    let before = at.saturating_sub(3)..at;
    (amount.may_be_a_round() && !priced && PRICED.find(sentence, before).is_none())
        .then_some(amount)
}

/// A round's name that stands for the money.
fn round_at(sentence: &Sentence<'_>, at: usize) -> Option<usize> {
    let length = ROUND.at(sentence, at)?;
    let word = sentence.token(at + length - 1);
    let other = NOT_THE_MONEY.at(sentence, at + length).is_some()
        || matches!(word, "round" | "raise") && NOT_A_ROUND.at(sentence, at + length).is_some();
    // `we fund`, `to raise`: verbs.
    let verb = matches!(sentence.token(at), "raise" | "round")
        && matches!(
            sentence.token(at.wrapping_sub(1)),
            "to" | "can" | "will" | "not" | "we" | "i" | "they" | "year" | "all" | "and"
        );
    (!other && !verb).then_some(length)
}

/// `$5M Series A`, `$7,500,000 raised`, `your €4m`.
fn by_sum(
    sentence: &Sentence<'_>,
    amount: Amount,
    prospect: &Prospect,
    is_named: &mut impl FnMut() -> bool,
) -> Option<Claim> {
    let Range { start, end } = amount.tokens.clone();
    let round = (end..end + 3).find_map(|at| {
        let between = (end..at).all(|at| MODIFIER.at(sentence, at).is_some());
        let found = round_at(sentence, at).or_else(|| bank_at(sentence, at))?;
        between.then_some(at + found)
    });
    let owner = owner(sentence, start, prospect);
    let congratulated = congratulates(sentence, start).filter(|from| praises(sentence, *from));
    if let Some(from) = owner.or(congratulated) {
        let ends = round.unwrap_or(end);
        let is_money = amount.has_currency || prospect.has(&amount);
        let is_plain = round.is_some() || is_money && stands_alone(sentence, end, prospect);
        return Some(Claim {
            tokens: from..ends,
            is_plain,
        });
    }
    if let Some(ends) = raised_by(sentence, end, prospect) {
        return Some(plain(start..ends));
    }
    let ends = round?;
    let own = prospect.has(&amount) || is_named() && !is_of_others(sentence, start);
    let is_plain = own && !is_of_third(sentence) && sentence.token(ends) != "by";
    Some(Claim {
        tokens: start..ends,
        is_plain,
    })
}

/// What a sum lies in: `$5M in the bank`, but not `$5M investment in a new plant`.
fn bank_at(sentence: &Sentence<'_>, at: usize) -> Option<usize> {
    let length = BANK.at(sentence, at)?;
    let spent = sentence.token(at) == "investment" && sentence.token(at + 1).starts_with("in");
    (!spent).then_some(length)
}

/// `$5M you raised`, `$5M that Kestrel closed`.
fn raised_by(sentence: &Sentence<'_>, at: usize, prospect: &Prospect) -> Option<usize> {
    let at = at + usize::from(matches!(sentence.token(at), "that" | "which"));
    let who = match sentence.token(at) {
        "you" => 1,
        _ => prospect.company.at(sentence, at),
    };
    let verb = at + who + usize::from(is_auxiliary(sentence.token(at + who)));
    let raised = RAISED.at(sentence, verb)?;
    (who > 0).then_some(verb + raised)
}

/// `your €4m is …`, `your €4m.`: no noun after the sum makes it another.
fn stands_alone(sentence: &Sentence<'_>, at: usize, prospect: &Prospect) -> bool {
    let next = sentence.token(at);
    // `$140k-$160k` is no round's sum.
    let is_range = matches!(next, "-" | "–" | "—") && money::at(sentence, at + 1).is_some();
    !is_word(next) && !is_range || goes_on(next) || raised_by(sentence, at, prospect).is_some()
}

/// `you raised $5M`, `Kestrel has just closed its Series A`.
fn by_verb(
    sentence: &Sentence<'_>,
    verb: Range<usize>,
    prospect: &Prospect,
    is_named: &mut impl FnMut() -> bool,
) -> Option<Claim> {
    let object = object(sentence, verb.end)?;
    let is_round = |at| round_at(sentence, at).is_some() || bank_at(sentence, at).is_some();
    // What is raised is money, and what is won may be a `$5M tender`.
    let is_money = !object.is_sum
        || matches!(sentence.token(verb.start), "raised" | "raising")
        || (object.end..object.end + 4).any(is_round)
        || stands_alone(sentence, object.end, prospect)
        || tells_more(sentence.token(object.end));
    let is_plain = match subject(sentence, verb.start, prospect) {
        _ if congratulates(sentence, verb.start).is_some_and(|from| praises(sentence, from)) => {
            true
        }
        Subject::Prospect => true,
        Subject::Perhaps => is_named() && !is_of_others(sentence, verb.start),
        Subject::Other => false,
    };
    let has_sum = (verb.end..object.end)
        .any(|at| money::at(sentence, at).is_some_and(|amount| prospect.has(&amount)));
    Some(Claim {
        tokens: verb.start..object.end,
        is_plain: is_money && (is_plain || has_sum && !is_of_third(sentence)),
    })
}

/// What a verb has as its object.
struct Object {
    end: usize,
    /// A sum, which may be only the worth of a thing behind it.
    is_sum: bool,
}

/// The money that a verb has as its object.
fn object(sentence: &Sentence<'_>, from: usize) -> Option<Object> {
    let found = |end, is_sum| Some(Object { end, is_sum });
    for at in from..from + 7 {
        if let Some(amount) = sum_at(sentence, at) {
            return found(amount.tokens.end, true);
        }
        if let Some(length) = round_at(sentence, at) {
            return found(at + length, false);
        }
        let token = sentence.token(at);
        if matches!(token, "money" | "funds" | "capital" | "vc") {
            return found(at + 1, false);
        }
        if !is_light(token) && MODIFIER.at(sentence, at).is_none() {
            return None;
        }
    }
    None
}

/// Whether the words that begin here praise for something that was done.
fn praises(sentence: &Sentence<'_>, from: usize) -> bool {
    let word = sentence.token(from);
    word.starts_with("congrat") || matches!(word, "well" | "nice" | "great" | "kudos" | "hats")
}

/// Where a congratulation begins that a thing stands in, with few words between.
fn congratulates(sentence: &Sentence<'_>, thing: usize) -> Option<usize> {
    let found = CONGRATULATION.find(sentence, thing.saturating_sub(10)..thing)?;
    let parted = (found.end..thing).any(|at| matches!(sentence.token(at), "," | ";" | "—" | ":"));
    (!parted).then_some(found.start)
}
