//! Armed, in SHADOW after a trip, or tripped.

use std::fmt;
use std::iter;

use serde::{Deserialize, Serialize};

use super::condition::Condition;
use super::rearm::Rearm;
use super::{Effect, UnixMicros};

/// Later conditions that a trip keeps.
const LATER: usize = 32;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum State {
    Armed {
        /// `None` if it never tripped.
        rearmed: Option<Rearm>,
    },
    /// The model may answer, but the rules decide.
    Shadowing { rearmed: Rearm },
    Tripped {
        first: Trip,
        /// What was met after it, each thing once: the first 32.
        later: Vec<Trip>,
    },
}

/// A condition that was met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trip {
    pub condition: Condition,
    pub at: UnixMicros,
}

impl State {
    /// The stable name, for records and metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            State::Armed { .. } => "armed",
            State::Shadowing { .. } => "shadowing",
            State::Tripped { .. } => "tripped",
        }
    }

    pub const fn is_tripped(&self) -> bool {
        matches!(self, State::Tripped { .. })
    }

    pub(super) fn meet(&mut self, trip: Trip) -> Option<Effect> {
        let State::Tripped { first, later } = self else {
            *self = State::Tripped {
                first: trip.clone(),
                later: Vec::new(),
            };
            return Some(Effect::Trip(trip));
        };
        let is_known = iter::once(&*first)
            .chain(&*later)
            .any(|known| known.condition.covers(&trip.condition));
        if is_known || later.len() == LATER {
            return None;
        }
        later.push(trip.clone());
        Some(Effect::AlsoMet(trip))
    }
}

impl Default for State {
    fn default() -> Self {
        State::Armed { rearmed: None }
    }
}

/// Why the model does not decide, or that it may.
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            State::Armed { .. } => f.write_str("the kill switch is armed"),
            State::Shadowing { rearmed } => write!(
                f,
                "the kill switch was re-armed through SHADOW by {}: the rules decide until it is \
                 re-armed in full",
                rearmed.by.escape_debug()
            ),
            State::Tripped { first, .. } => {
                write!(f, "the kill switch has tripped: {}", first.condition)
            }
        }
    }
}
