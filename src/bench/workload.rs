//! Which drafts are asked about: those at hand, in cycles, so changed that a cache of prompts helps
//! exactly where it should.

use std::collections::{HashMap, VecDeque};

use fastrand::Rng;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::channel::Channel;
use crate::dataset::draft::Draft;

/// What is to be judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub context_json: String,
    pub draft: String,
    pub channel: Option<Channel>,
}

/// Requests without end. The same seed and name give the same ones.
///
/// A context is made distinct by a `prospect_id` of its own, which stands first in it: what follows
/// is in no cache. A repeated one is an earlier request's, with a draft that it has not had yet.
pub struct Workload {
    drafts: Vec<Draft>,
    /// For each draft those with the same context, itself first.
    siblings: Vec<Vec<usize>>,
    share: f64,
    name: String,
    chance: Rng,
    earlier: VecDeque<Earlier>,
    number: usize,
    cycle: usize,
}

/// A context that was asked about.
struct Earlier {
    context_json: String,
    draft: usize,
    /// Drafts that it was asked about with.
    uses: usize,
}

/// Contexts that may come again: a caller corrects what was judged lately.
const REMEMBERED: usize = 256;

impl Workload {
    /// `share` of the requests repeat a context; `name` tells this run's contexts from all others.
    /// There is at least one draft.
    pub fn new(drafts: Vec<Draft>, share: f64, name: &str, seed: u64) -> Self {
        let mut alike: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, draft) in drafts.iter().enumerate() {
            alike.entry(&draft.context_json).or_default().push(index);
        }
        let siblings = drafts.iter().enumerate().map(|(index, draft)| {
            let others = alike[draft.context_json.as_str()].iter().copied();
            let others = others.filter(|other| *other != index);
            std::iter::once(index).chain(others).collect()
        });
        Self {
            siblings: siblings.collect(),
            share,
            name: name.to_owned(),
            chance: Rng::with_seed(seed),
            earlier: VecDeque::with_capacity(REMEMBERED),
            number: 0,
            cycle: 0,
            drafts,
        }
    }

    fn repeated(&mut self) -> Option<Request> {
        let repeats = self.chance.f64() < self.share;
        if !repeats || self.earlier.is_empty() {
            return None;
        }
        let chosen = self.chance.usize(..self.earlier.len());
        let earlier = self.earlier.get_mut(chosen)?;
        let siblings = &self.siblings[earlier.draft];
        let (source, text) = match siblings.get(earlier.uses) {
            Some(sibling) => (*sibling, self.drafts[*sibling].text.clone()),
            None => (
                earlier.draft,
                corrected(&self.drafts[earlier.draft].text, earlier.uses),
            ),
        };
        earlier.uses += 1;
        Some(Request {
            context_json: earlier.context_json.clone(),
            draft: text,
            channel: self.drafts[source].channel,
        })
    }

    fn distinct(&mut self) -> Request {
        let index = self.cycle % self.drafts.len();
        self.cycle += 1;
        let draft = &self.drafts[index];
        let prospect = prospect(&self.name, self.number);
        let context_json = of_prospect(&draft.context_json, &prospect);
        if self.earlier.len() == REMEMBERED {
            self.earlier.pop_front();
        }
        self.earlier.push_back(Earlier {
            context_json: context_json.clone(),
            draft: index,
            uses: 1,
        });
        Request {
            context_json,
            draft: draft.text.clone(),
            channel: draft.channel,
        }
    }
}

impl Iterator for Workload {
    type Item = Request;

    fn next(&mut self) -> Option<Request> {
        let request = self.repeated().unwrap_or_else(|| self.distinct());
        self.number += 1;
        Some(request)
    }
}

fn corrected(text: &str, times: usize) -> String {
    format!("{} P.S. This is correction {times}.", text.trim_end())
}

/// An id that begins as no other does: caches keep what prompts begin with.
fn prospect(name: &str, number: usize) -> String {
    let hash = Sha256::digest(format!("{name}/{number}"));
    format!("{}-bench", const_hex::encode(&hash[..6]))
}

/// The context of another prospect, whose id stands first.
fn of_prospect(context_json: &str, prospect: &str) -> String {
    let fields: Map<String, Value> = serde_json::from_str(context_json).unwrap_or_default();
    let id = ("prospect_id".to_owned(), Value::from(prospect));
    let others = fields.into_iter().filter(|(name, _)| *name != id.0);
    let all: Map<String, Value> = std::iter::once(id.clone()).chain(others).collect();
    Value::Object(all).to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn drafts() -> Vec<Draft> {
        let draft = |context: &str, text: &str| Draft {
            id: None,
            context_json: context.to_owned(),
            text: text.to_owned(),
            channel: None,
        };
        vec![
            draft(r#"{"company": "A", "headcount": 1e2}"#, "a, first"),
            draft(r#"{"company": "A", "headcount": 1e2}"#, "a, second"),
            draft(r#"{"prospect_id": "p_1", "company": "B"}"#, "b"),
        ]
    }

    fn requests(share: f64, count: usize) -> Vec<Request> {
        Workload::new(drafts(), share, "t", 11)
            .take(count)
            .collect()
    }

    #[test]
    fn without_repeats_drafts_come_in_cycles_and_no_context_twice() {
        let requests = requests(0.0, 9);
        let texts: Vec<&str> = requests
            .iter()
            .map(|request| request.draft.as_str())
            .collect();
        assert_eq!(texts, ["a, first", "a, second", "b"].repeat(3));
        assert_eq!(
            requests[2].context_json,
            format!(r#"{{"prospect_id":"{}","company":"B"}}"#, prospect("t", 2))
        );
        let contexts: HashSet<&str> = requests
            .iter()
            .map(|request| request.context_json.as_str())
            .collect();
        assert_eq!(contexts.len(), 9);
    }

    #[test]
    fn the_asked_share_repeats_a_context_and_never_with_the_same_draft() {
        for share in [0.25, 0.5, 0.9] {
            let requests = requests(share, 4000);
            let mut contexts = HashSet::new();
            let mut both = HashSet::new();
            for request in &requests {
                contexts.insert(&request.context_json);
                assert!(
                    both.insert((&request.context_json, &request.draft)),
                    "{request:?}"
                );
            }
            let repeated = requests.len() - contexts.len();
            let found = repeated as f64 / 4000.0;
            assert!((found - share).abs() < 0.03, "{share}: {found}");
        }
    }

    #[test]
    fn a_repeated_context_gets_its_other_draft_first_and_then_corrections() {
        let mut uses: HashMap<String, Vec<String>> = HashMap::new();
        for request in requests(0.9, 400) {
            uses.entry(request.context_json)
                .or_default()
                .push(request.draft);
        }
        let often = uses
            .values()
            .find(|drafts| drafts[0] == "a, second" && drafts.len() > 3)
            .unwrap();
        assert_eq!(
            often[1..4],
            [
                "a, first",
                "a, second P.S. This is correction 2.",
                "a, second P.S. This is correction 3.",
            ]
        );
    }

    #[test]
    fn the_same_seed_gives_the_same_requests_and_another_name_other_contexts() {
        assert_eq!(requests(0.5, 100), requests(0.5, 100));
        let other = Workload::new(drafts(), 0.5, "u", 11).next().unwrap();
        assert_ne!(other.context_json, requests(0.5, 1)[0].context_json);
    }
}
