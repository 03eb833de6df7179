//! The prospects judged last, each once, and which of them had a false positive.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::key::Key;

/// Decisions that one prospect's place remembers, so that a draft that is judged without end takes
/// no memory without end.
const REMEMBERED: usize = 32;

/// Kept as a list, the prospect judged longest ago first.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<Prospect>", into = "Vec<Prospect>")]
pub(super) struct Prospects {
    /// In the order in which they were last judged.
    places: BTreeMap<u64, Prospect>,
    next_place: u64,
    place_of: HashMap<Key, u64>,
    /// By decision.
    prospect_of: HashMap<Key, Key>,
    false_positives: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Prospect {
    prospect: Key,
    /// The oldest first.
    decisions: Vec<Key>,
    /// Those decisions whose last report says so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    false_positives: Vec<Key>,
}

impl Prospects {
    /// The prospect takes the newest place, and leaves the one it had.
    pub fn judged(&mut self, prospect: Key, decision: Key, window: u32) {
        if self.prospect_of.contains_key(&decision) {
            return;
        }
        let old_place = self.place_of.get(&prospect);
        let mut entry = old_place
            .and_then(|place| self.places.remove(place))
            .unwrap_or_else(|| Prospect::new(prospect));
        entry.decisions.push(decision);
        self.prospect_of.insert(decision, prospect);
        if entry.decisions.len() > REMEMBERED {
            let forgotten = entry.forget_one();
            self.prospect_of.remove(&forgotten);
        }
        self.place(entry);
        self.fit(window);
    }

    /// The last report of a decision counts, and none of an unknown one.
    pub fn reported(&mut self, decision: Key, false_positive: bool) {
        let prospect = self.prospect_of.get(&decision);
        let place = prospect.and_then(|prospect| self.place_of.get(prospect));
        let Some(entry) = place.and_then(|place| self.places.get_mut(place)) else {
            return;
        };
        self.false_positives -= u32::from(entry.has_false_positive());
        entry.false_positives.retain(|known| *known != decision);
        if false_positive {
            entry.false_positives.push(decision);
        }
        self.false_positives += u32::from(entry.has_false_positive());
    }

    /// Drops the oldest beyond the window, with their false positives.
    pub fn fit(&mut self, window: u32) {
        while self.places.len() > window as usize {
            let Some((_, oldest)) = self.places.pop_first() else {
                return;
            };
            self.false_positives -= u32::from(oldest.has_false_positive());
            self.place_of.remove(&oldest.prospect);
            for decision in &oldest.decisions {
                self.prospect_of.remove(decision);
            }
        }
    }

    /// Prospects with a false positive, of how many.
    pub fn tally(&self) -> (u32, u32) {
        (self.false_positives, self.places.len() as u32)
    }

    fn place(&mut self, entry: Prospect) {
        self.place_of.insert(entry.prospect, self.next_place);
        self.places.insert(self.next_place, entry);
        self.next_place += 1;
    }
}

impl Prospect {
    fn new(prospect: Key) -> Self {
        Self {
            prospect,
            decisions: Vec::new(),
            false_positives: Vec::new(),
        }
    }

    fn has_false_positive(&self) -> bool {
        !self.false_positives.is_empty()
    }

    /// The oldest decision that is no false positive: the newest is none yet.
    fn forget_one(&mut self) -> Key {
        let harmless = |key: &Key| !self.false_positives.contains(key);
        let index = self.decisions.iter().position(harmless).unwrap_or(0);
        self.decisions.remove(index)
    }
}

impl TryFrom<Vec<Prospect>> for Prospects {
    type Error = String;

    fn try_from(list: Vec<Prospect>) -> Result<Self, String> {
        let mut prospects = Self::default();
        for entry in list {
            let name = String::from(entry.prospect);
            if prospects.place_of.contains_key(&entry.prospect) {
                return Err(format!("prospect `{name}` stands twice"));
            }
            let known = |key| entry.decisions.contains(key);
            if entry.decisions.is_empty() || !entry.false_positives.iter().all(known) {
                return Err(format!("prospect `{name}` lacks a decision"));
            }
            for decision in &entry.decisions {
                if prospects
                    .prospect_of
                    .insert(*decision, entry.prospect)
                    .is_some()
                {
                    return Err(format!(
                        "prospect `{name}` has a decision that stands twice"
                    ));
                }
            }
            prospects.false_positives += u32::from(entry.has_false_positive());
            prospects.place(entry);
        }
        Ok(prospects)
    }
}

impl From<Prospects> for Vec<Prospect> {
    fn from(prospects: Prospects) -> Vec<Prospect> {
        prospects.places.into_values().collect()
    }
}
