use tokio::sync::mpsc::{Receiver, channel};

use super::*;
use crate::engine::job::EVENTS_PER_JOB;

const GREEDY: Caller = 1;
const OTHER: Caller = 2;

/// A job that waits, and what its owner learns.
struct Waiting {
    place: Place,
    events: Receiver<Event>,
}

fn take(places: &Arc<Places>, caller: Caller) -> Option<Waiting> {
    let (sender, events) = channel(EVENTS_PER_JOB);
    let place = places.take(caller, &sender)?;
    Some(Waiting { place, events })
}

fn fill(places: &Arc<Places>, caller: Caller, count: usize) -> Vec<Waiting> {
    let taken: Vec<Waiting> = (0..count).map_while(|_| take(places, caller)).collect();
    assert_eq!(taken.len(), count);
    taken
}

#[test]
fn one_caller_alone_may_hold_all_places_and_no_more() {
    let places = Arc::new(Places::new(3));
    let held = fill(&places, GREEDY, 3);
    assert!(take(&places, GREEDY).is_none());
    assert_eq!(places.taken(), 3);
    assert!(!held.iter().any(|waiting| waiting.place.is_lost()));
    drop(held);
    assert_eq!(places.taken(), 0);
}

#[test]
fn whoever_has_fewer_gets_the_newest_place_of_who_has_most() {
    let places = Arc::new(Places::new(4));
    let mut held = fill(&places, GREEDY, 4);
    let other = take(&places, OTHER).unwrap();
    assert_eq!(places.taken(), 4);

    let lost: Vec<bool> = held.iter().map(|waiting| waiting.place.is_lost()).collect();
    assert_eq!(lost, [false, false, false, true]);
    let displaced = Event::Failed(JobError::Displaced);
    assert_eq!(held[3].events.try_recv(), Ok(displaced));
    assert!(held[2].events.try_recv().is_err());

    // Its own drop gives nothing back a second time.
    held.pop();
    assert_eq!(places.taken(), 4);
    assert!(!other.place.is_lost());
}

#[test]
fn callers_who_hold_as_many_take_nothing_from_each_other() {
    let places = Arc::new(Places::new(4));
    let first = fill(&places, GREEDY, 4);
    let second = fill(&places, OTHER, 2);
    // Two and two.
    assert!(take(&places, OTHER).is_none());
    assert!(take(&places, GREEDY).is_none());
    let kept = |of: &[Waiting]| of.iter().filter(|waiting| !waiting.place.is_lost()).count();
    assert_eq!((kept(&first), kept(&second)), (2, 2));
}

#[test]
fn of_an_odd_number_the_first_keeps_one_more() {
    let places = Arc::new(Places::new(3));
    let first = fill(&places, GREEDY, 3);
    let second = take(&places, OTHER).unwrap();
    // Two and one: a swap would only turn them round, again and again.
    assert!(take(&places, OTHER).is_none());
    assert!(!second.place.is_lost());
    assert!(first[2].place.is_lost() && !first[1].place.is_lost());
}

#[test]
fn the_daemons_own_questions_take_no_place_from_anyone() {
    let places = Arc::new(Places::new(2));
    let held = fill(&places, GREEDY, 2);
    assert!(take(&places, OWN).is_none());
    assert!(!held.iter().any(|waiting| waiting.place.is_lost()));
}

#[test]
fn a_queue_without_places_refuses_everyone() {
    assert!(take(&Arc::new(Places::new(0)), OTHER).is_none());
}
