//! Words that make of a statement less than a fact.

use std::ops::Range;
use std::sync::LazyLock;

use crate::rules::draft::{Sentence, is_word};
use crate::rules::phrases::Phrases;

/// They doubt what is known, wherever they stand in its clause.
static DOUBT: LazyLock<Phrases> = LazyLock::new(|| {
    Phrases::new(
        "reportedly, apparently, allegedly, supposedly, presumably, rumour, rumours, rumoured
        rumor, rumors, rumored, word is, unverified, unconfirmed, undisclosed, uncertain, unsure
        not sure, not certain, not confirmed, not verified, not been confirmed, not been verified
        not yet confirmed, not yet verified, no verified, no confirmed, no reliable, no public
        cannot confirm, cannot verify, can t confirm, can t verify, could not confirm
        could not verify, couldn t confirm, couldn t verify, unable to, not able to, haven t been
        have not been, have not confirmed, have not verified, haven t confirmed, haven t verified
        no idea, not know, don t know, rather than, instead of, estimate, estimates, estimated
        guess, guesses, guessed, speculate, speculating, speculation, gossip, hearsay
        talk of, is talk, only talk, if true, if that, if correct, if it, if the figure
        if the number, if the report, if the reports, correct me, double check, to verify
        to confirm, should verify, conflicting, contradictory, differ, disagree, vary, varies
        incomplete, i hear talk, not bet, no way to check, nothing certain, investor withdrew, investors withdrew
        fund withdrew, was withdrawn, were withdrawn, been withdrawn",
    )
});

/// They make something possible of what comes after them in the clause.
static MODAL: LazyLock<Phrases> = LazyLock::new(|| {
    Phrases::new(
        "may, might, could have, would have, possibly, potentially, perhaps, maybe, probably, likely, seem
        seems, seemed, appear, appears, appeared, suggest, suggests, suggesting, suggested
        indicate, indicates, indicating, indicated, hint, hints, imply, implies, if, whether
        in case, assuming, suppose, supposing, unless, when you, once you, should you, as soon as
        before you, until you, it looks like, it sounds like, looks like you, sounds like you
        from what i, from what we, as far as i, as far as we, plan to, planning, planned, aim to, hope to, hoping, intend to
        looking to, about to, going to",
    )
});

/// They may do so, or only tell where it was heard.
static WEAK: LazyLock<Phrases> = LazyLock::new(|| {
    Phrases::new(
        "i hear, we hear, heard, hear that, told, understand, i believe, we believe, i think
        we think, i gather, we gather, according to, source, sources, said, says, say, writes
        wrote, lists, listed, reports, report, reported, crunchbase, pitchbook, blog, blogs
        portal, database, databases, profile, about, around, roughly, approximately, approx, circa
        claims, claimed, something like, in the region of, somewhere, up to, nearly, almost, a figure, figures, figure of
        signal, signals, available data, public data, our data, records, next, upcoming, future
        possible, potential, expected, ahead, toward, towards, no, not, never, without, cannot
        can t, couldn t, could not, haven t, hasn t, didn t, don t, doesn t, wouldn t, nobody, before, preparing, prepare
        approaching, heading, metrics for, ready for, needed for, in time for, good luck, whatever
        regardless of, as you raise, while you raise, as you close, get to your, get you to
        to reach",
    )
});

/// In a clause beside the claim's, they do so too.
static BESIDE: LazyLock<Phrases> =
    LazyLock::new(|| Phrases::new("according to, if i m not, if i am not, right ?, correct ?"));

/// The same, where they are all that the clause says.
static ASIDE: LazyLock<Phrases> = LazyLock::new(|| {
    Phrases::new(
        "i believe, we believe, i think, we think, i gather, we gather, i hear, we hear
        i understand, i assume, i guess, it seems, so it seems, or so it seems, it appears
        it would seem, i m told, i am told, they say",
    )
});

/// They put in doubt what the sentence before said, or the one after says.
static ABOUT_NEIGHBOURS: LazyLock<Phrases> = LazyLock::new(|| {
    Phrases::new(
        "unverified, unconfirmed, not verified, not confirmed, cannot verify, cannot confirm
        can t verify, can t confirm, could not verify, could not confirm, couldn t verify
        couldn t confirm, not been able, not able to, unable to, correct me, only a rumour
        only a rumor, hearsay, grain of salt, pinch of salt, may be wrong, might be wrong
        not sure, not certain, take that with, that figure, that number, those figures
        is that right, is this right, is that true, is it true, true or not, not bet on, no idea
        rumour has it, rumor has it, word is, gossip",
    )
});

/// How far the words around a claim take it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hedge {
    No,
    Perhaps,
    Yes,
}

/// Where a sentence has such words, found once for all its claims.
pub struct Hedges {
    doubts: Vec<usize>,
    modals: Vec<usize>,
    weak: Vec<usize>,
    has_aside: bool,
    /// Marks and words between clauses.
    parts: Vec<usize>,
    tokens: usize,
    is_question: bool,
    opens_question: bool,
}

impl Hedges {
    pub fn of(sentence: &Sentence<'_>) -> Self {
        let places = |table: &Phrases| {
            let places = 0..sentence.len();
            places
                .filter(|at| table.at(sentence, *at).is_some())
                .collect()
        };
        let tokens = sentence.len();
        Self {
            doubts: places(&DOUBT),
            modals: places(&MODAL),
            weak: places(&WEAK),
            has_aside: (0..tokens).any(|at| is_aside(sentence, at)),
            parts: (0..tokens).filter(|at| parts(sentence, *at)).collect(),
            tokens,
            is_question: sentence.is_question(),
            opens_question: opens_question(sentence),
        }
    }

    /// What they do to a claim.
    pub fn around(&self, claim: &Range<usize>) -> Hedge {
        let clause = self.clause(claim);
        let until_claim = clause.start..claim.end;
        let is_in = |places: &[usize], range: &Range<usize>| {
            places.iter().any(|place| range.contains(place))
        };
        if is_in(&self.doubts, &clause) || is_in(&self.modals, &until_claim) {
            Hedge::Yes
        } else if !self.doubts.is_empty()
            || is_in(&self.modals, &(0..clause.start))
            || is_in(&self.weak, &until_claim)
            || self.has_aside
            || self.asks(&clause)
        {
            Hedge::Perhaps
        } else {
            Hedge::No
        }
    }

    /// The tokens around a claim up to the next mark or word that parts clauses.
    fn clause(&self, claim: &Range<usize>) -> Range<usize> {
        let before = self.parts.iter().rfind(|at| **at < claim.start);
        let after = self.parts.iter().find(|at| **at >= claim.end);
        before.map_or(0, |at| at + 1)..after.copied().unwrap_or(self.tokens)
    }

    /// A question as a whole, or the last clause of one.
    fn asks(&self, clause: &Range<usize>) -> bool {
        let to_the_end = clause.end + 1 >= self.tokens;
        self.is_question && (to_the_end || self.opens_question)
    }
}

fn is_aside(sentence: &Sentence<'_>, at: usize) -> bool {
    let next = |length: usize| sentence.token(at + length);
    // `according to our data` vouches for what it says.
    if BESIDE
        .at(sentence, at)
        .is_some_and(|length| next(length) != "our")
    {
        return true;
    }
    let begins = at
        .checked_sub(1)
        .is_none_or(|before| parts(sentence, before));
    begins
        && ASIDE
            .at(sentence, at)
            .is_some_and(|length| !is_word(next(length)))
}

/// Whether a sentence beside the claim's puts it in doubt.
pub fn is_about_neighbours(sentence: &Sentence<'_>) -> bool {
    ABOUT_NEIGHBOURS.is_in(sentence)
}

#[rustfmt::skip]
fn opens_question(sentence: &Sentence<'_>) -> bool {
    matches!(
        sentence.token(0),
        "did" | "do" | "does" | "is" | "are" | "was" | "were" | "have" | "has" | "had" | "can"
            | "could" | "would" | "will" | "should" | "shall" | "how" | "what" | "when" | "where"
            | "who" | "which" | "why"
    )
}

fn parts(sentence: &Sentence<'_>, at: usize) -> bool {
    matches!(
        sentence.token(at),
        "," | ";" | ":" | "—" | "–" | "-" | "(" | ")" | "but" | "though" | "although" | "yet"
    )
}
