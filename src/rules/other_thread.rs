//! Rule 4: what stands in another thread is not for this one's recipient.

mod field;
mod foreign;
mod index;

use self::foreign::Threads;
use self::index::{Index, Strength};
use super::draft::Draft;
use super::{Evidence, Finding};
use crate::context::Context;

/// Looks for a leak that the context tells of, then for foreign content in the draft.
pub fn find(context: &Context, draft: &Draft<'_>) -> Finding {
    let mut threads = Threads::of(context);
    let leaks = Finding::any(std::mem::take(&mut threads.leaks));
    if matches!(leaks, Finding::Fired(_)) || threads.foreign.is_empty() {
        return leaks;
    }
    let index = Index::of(&threads);
    let found = draft
        .sentences()
        .filter_map(|sentence| index.find(&sentence));
    let findings = found.map(|sign| {
        let quote = Evidence::of_word("draft", sign.quote);
        match (sign.strength, sign.text) {
            (Strength::Doubtful, _) => Finding::CannotTell(quote),
            (Strength::Plain, None) => Finding::Fired(vec![quote]),
            (Strength::Plain, Some(text)) => {
                Finding::Fired(vec![threads.foreign[text].evidence(), quote])
            }
        }
    });
    match Finding::any([leaks].into_iter().chain(findings)) {
        Finding::NotFired if threads.has_more || index.has_more => {
            Finding::CannotTell(threads.foreign[0].evidence())
        }
        finding => finding,
    }
}
