//! Rule 5c: an engineer who is committed to another client is not offered as if free.

mod commitment;
mod date;
mod offer;
mod words;

use jiff::civil::Date;

use self::commitment::{Commitment, commitments, today};
use self::offer::Said;
use super::draft::Draft;
use super::{Evidence, Finding};
use crate::context::Context;

/// Too many to look for in one draft.
const MAX_COMMITMENTS: usize = 16;

/// Looks for an engineer of a commitment whom the draft offers inside it.
pub fn find(context: &Context, draft: &Draft<'_>) -> Finding {
    let today = today(context);
    let commitments = commitments(context, MAX_COMMITMENTS + 1);
    if commitments.len() > MAX_COMMITMENTS {
        return Finding::CannotTell(commitments[MAX_COMMITMENTS].evidence.clone());
    }
    let running = commitments.iter().filter(|one| !one.is_over(today));
    Finding::any(running.map(|one| find_one(one, today, draft)))
}

fn find_one(commitment: &Commitment, today: Option<Date>, draft: &Draft<'_>) -> Finding {
    let said = Said::of(commitment, draft);
    let fired = |words: &str| {
        let evidence = Evidence::of_word("draft", words);
        Finding::Fired(vec![commitment.evidence.clone(), evidence])
    };
    let unclear = || Finding::CannotTell(commitment.evidence.clone());
    if !said.is_named {
        // Without a name, the offer may be of another engineer.
        let offers = commitment.engineer.is_empty() && said.now.is_some() && !said.is_disclosed;
        return if offers { unclear() } else { Finding::NotFired };
    }
    match (said.start, said.now) {
        (Some(start), _) => fired(&start),
        (None, _) if said.is_disclosed => Finding::NotFired,
        (None, Some(now)) if commitment.is_running(today) => fired(&now),
        (None, _) => unclear(),
    }
}
