//! The words by which a draft offers somebody, or does not.

use std::sync::LazyLock;

use crate::rules::phrases::Phrases;

/// The draft tells of a commitment, or of a later start.
pub static DISCLOSED: LazyLock<Phrases> = LazyLock::new(|| {
    Phrases::new(
        "committed, commitment, commitments, until, till, til, unavailable
        not available, isn t available, not be available, not free, isn t free, not before
        not immediately, rolls off, roll off, rolling off, spoken for, booked, tied up
        another project, other project, another client, another job, another assignment
        another engagement, another team, current project, current assignment, current contract
        current engagement, current client, current role, currently on, currently with
        currently working, currently engaged, currently assigned, frees up, free up
        becomes available, become available, after that, afterwards, earliest, wraps up
        finishes on, finishes in, finishes at, finishes his, finishes her, finish his, finish her
        finishing his, finishing her, ends on, ends in, ends at, renewal, extension, extended
        assigned to, on assignment, available from, available after, available in
        available as of, free from, free in, free after, start after, starting after, start from
        later start, from then, through end of, through the end of, through year end, through q1
        through q2, through q3, through q4",
    )
});

/// As said of a person: there is nothing to wait for.
pub static NOW: LazyLock<Phrases> = LazyLock::new(|| {
    Phrases::new(
        "immediately, now, right now, right away, straight away, straightaway, today, tomorrow
        at once, asap, as soon as, instantly, this week, next week, this month, within days
        within a week, within a fortnight, 2 weeks, two weeks, monday, tuesday, wednesday
        thursday, friday",
    )
});

pub static ABLE: LazyLock<Phrases> = LazyLock::new(|| {
    Phrases::new(
        "available, free, start, starts, starting, begin, begins, beginning, join, joins, joining
        ready, onboard, hit the ground",
    )
});

/// They need no `now` beside them.
pub static ABLE_NOW: LazyLock<Phrases> = LazyLock::new(|| {
    Phrases::new(
        "available to start, available to join, available to work, available to begin
        available for work, available and ready, ready to start, ready to join, ready to begin
        is available and, is fully available, has full availability, immediately available
        immediate availability, immediate start, is free to start, is free to join
        between projects, at your disposal",
    )
});

/// Who is free for it is not yet free for work.
#[rustfmt::skip]
pub fn is_of_talk(word: &str) -> bool {
    matches!(
        word,
        "discuss" | "chat" | "talk" | "meet" | "speak" | "answer" | "interview" | "call"
            | "meeting" | "intro" | "demo" | "conversation" | "screen" | "screening" | "trial"
    )
}

/// Before a date, they make of it no start.
#[rustfmt::skip]
pub fn is_until(word: &str) -> bool {
    matches!(
        word,
        "until" | "till" | "til" | "through" | "by" | "not" | "isn" | "committed" | "finishes"
            | "ends"
    )
}

/// Before `start` and the like.
#[rustfmt::skip]
pub fn is_able(word: &str) -> bool {
    matches!(
        word,
        "can" | "could" | "will" | "would" | "ll" | "able" | "available" | "ready" | "free"
    )
}
