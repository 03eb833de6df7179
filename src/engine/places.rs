//! Places in the queue. Where all are taken, a caller who holds fewer than another gets the
//! newest of the other's, so that nobody keeps the queue to itself.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc::Sender;

use super::job::{Event, JobError};
use super::scheduler::{Caller, OWN};

pub struct Places {
    limit: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    count: usize,
    next: u64,
    /// Each caller's places, in the order in which they were taken, and who learns of a loss.
    callers: HashMap<Caller, BTreeMap<u64, Sender<Event>>>,
}

impl Places {
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            taken: Mutex::default(),
        }
    }

    pub fn taken(&self) -> usize {
        self.lock().count
    }

    /// A place for one who asks by `events`; `None` where there is none for this caller.
    /// Whoever loses theirs learns of it at once.
    pub fn take(self: &Arc<Self>, caller: Caller, events: &Sender<Event>) -> Option<Place> {
        let mut taken = self.lock();
        if taken.count >= self.limit {
            if caller == OWN {
                return None;
            }
            let (other, newest) = taken.to_give_up(caller)?;
            let loser = taken.remove(other, newest)?;
            let _ = loser.try_send(Event::Failed(JobError::Displaced));
        }
        let number = taken.next;
        taken.next += 1;
        taken.count += 1;
        let of_caller = taken.callers.entry(caller).or_default();
        of_caller.insert(number, events.clone());
        Some(Place {
            places: Arc::clone(self),
            caller,
            number,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// The place that another gives up for this caller: it must have more even then.
    fn to_give_up(&self, caller: Caller) -> Option<(Caller, u64)> {
        let own = self.callers.get(&caller).map_or(0, BTreeMap::len);
        let (other, places) = self.callers.iter().max_by_key(|(_, places)| places.len())?;
        let (newest, _) = places.last_key_value()?;
        (places.len() > own + 1).then_some((*other, *newest))
    }

    fn remove(&mut self, caller: Caller, number: u64) -> Option<Sender<Event>> {
        let places = self.callers.get_mut(&caller)?;
        let events = places.remove(&number)?;
        if places.is_empty() {
            self.callers.remove(&caller);
        }
        self.count -= 1;
        Some(events)
    }
}

/// One place, given back when it is dropped.
pub struct Place {
    places: Arc<Places>,
    caller: Caller,
    number: u64,
}

impl Place {
    /// Whether another caller has it now.
    pub fn is_lost(&self) -> bool {
        let taken = self.places.lock();
        let own = taken.callers.get(&self.caller);
        !own.is_some_and(|places| places.contains_key(&self.number))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().remove(self.caller, self.number);
    }
}
