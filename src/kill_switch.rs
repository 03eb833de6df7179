//! When the adapter must go: the conditions of its model card, as a state machine.
//!
//! Pure: events and the time go in, [`Effect`]s come out; whoever asks takes the adapter off,
//! alerts, and keeps the JSON. A trip is latched: nothing but [`KillSwitch::rearm`] ends it.
//! Nothing is decided by the clock: times are only kept, to be told.

mod calls;
mod condition;
mod distance;
mod event;
mod key;
mod prospects;
mod rearm;
mod record;
mod share;
mod state;
#[cfg(test)]
mod tests;
mod thresholds;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::verdict::Mode;
use calls::Calls;
use key::Key;
use prospects::Prospects;

pub use condition::Condition;
pub use distance::{Distance, Measure, ProbeMeasure};
pub use event::{Event, Tally};
pub use rearm::{Rearm, Refusal};
pub use record::RestoreError;
pub use share::{Share, ShareError};
pub use state::{State, Trip};
pub use thresholds::{SPOT_CHECK_CASES, Thresholds};

/// Whole microseconds since 1970, UTC.
pub type UnixMicros = i64;

/// What is to be done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The switch has just tripped: take the adapter off, alert once, keep the state.
    Trip(Trip),
    /// It had tripped before, and another condition holds too: keep the state.
    AlsoMet(Trip),
}

#[derive(Clone, Debug)]
pub struct KillSwitch {
    thresholds: Thresholds,
    kept: Kept,
}

/// What survives a restart.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    state: State,
    prospects: Prospects,
    calls: Calls,
    /// The last spot check since the windows were emptied, by probe.
    probes: BTreeMap<String, Tally>,
    /// What the evidence is about.
    revision: Option<String>,
    /// Why the adapter could not be loaded the last time.
    adapter_failure: Option<String>,
}

impl KillSwitch {
    /// Armed, and without any evidence.
    pub fn new(thresholds: Thresholds) -> Self {
        let kept = Kept::default();
        Self { thresholds, kept }
    }

    /// For a state that cannot be read: tripped, since it may have been.
    pub fn lost(thresholds: Thresholds, reason: String, at: UnixMicros) -> Self {
        let mut switch = Self::new(thresholds);
        let condition = Condition::StateUnreadable { reason };
        switch.kept.state.meet(Trip { condition, at });
        switch
    }

    pub fn restore(json: &str, thresholds: Thresholds) -> Result<Self, RestoreError> {
        let mut kept = record::read(json)?;
        // The windows may have been made smaller.
        kept.prospects.fit(thresholds.false_positive_window);
        kept.calls.fit(thresholds.malformed_window);
        Ok(Self { thresholds, kept })
    }

    /// All that [`KillSwitch::restore`] needs, but for the thresholds: those are settings.
    pub fn to_json(&self) -> String {
        record::write(&self.kept)
    }

    /// Takes in one event. While tripped, events still count: they tell what else is wrong.
    pub fn step(&mut self, event: Event, at: UnixMicros) -> Vec<Effect> {
        let mut met = self.count(event);
        met.extend(self.false_positives_met());
        met.extend(self.malformed_met());
        let state = &mut self.kept.state;
        let effects = met.into_iter();
        effects
            .filter_map(|condition| state.meet(Trip { condition, at }))
            .collect()
    }

    /// A person ends a trip, or the time in SHADOW after one.
    ///
    /// Out of a trip the windows start empty: what tripped it would trip it again at once. What was
    /// measured in SHADOW stays.
    pub fn rearm(&mut self, rearm: Rearm, via_shadow: bool) -> Result<(), Refusal> {
        let rearm = rearm.checked()?;
        if let Some(reason) = &self.kept.adapter_failure {
            let reason = reason.clone();
            return Err(Refusal::AdapterNotLoadable { reason });
        }
        match self.kept.state {
            State::Armed { .. } => return Err(Refusal::Armed),
            State::Shadowing { .. } if via_shadow => return Err(Refusal::InShadow),
            State::Shadowing { .. } => {}
            State::Tripped { .. } => self.forget(),
        }
        self.kept.state = match via_shadow {
            true => State::Shadowing { rearmed: rearm },
            false => State::Armed {
                rearmed: Some(rearm),
            },
        };
        Ok(())
    }

    pub fn state(&self) -> &State {
        &self.kept.state
    }

    /// What the switch leaves of the mode that the operator asks for.
    pub fn mode(&self, asked: Mode) -> Mode {
        match (&self.kept.state, asked) {
            (State::Armed { .. }, asked) => asked,
            (State::Shadowing { .. }, Mode::Enforce) => Mode::Shadow,
            (State::Shadowing { .. }, asked) => asked,
            (State::Tripped { .. }, _) => Mode::RulesOnly,
        }
    }

    /// How far each condition is from being met.
    pub fn distance(&self) -> Distance {
        distance::of(&self.thresholds, &self.kept)
    }

    /// The conditions that the event meets by itself.
    fn count(&mut self, event: Event) -> Vec<Condition> {
        let kept = &mut self.kept;
        match event {
            Event::Judged { prospect, decision } => {
                let window = self.thresholds.false_positive_window;
                let (prospect, decision) = (Key::of(&prospect), Key::of(&decision));
                kept.prospects.judged(prospect, decision, window);
                Vec::new()
            }
            Event::Reported {
                decision,
                false_positive,
            } => {
                kept.prospects.reported(Key::of(&decision), false_positive);
                Vec::new()
            }
            Event::Incident {
                tier,
                decision,
                probe,
            } => {
                if let Some(decision) = &decision {
                    kept.prospects.reported(Key::of(decision), false);
                }
                let incident = Condition::Incident {
                    tier,
                    decision,
                    probe,
                };
                let grave = tier <= self.thresholds.incident_tier;
                grave.then_some(incident).into_iter().collect()
            }
            Event::Call { well_formed } => {
                kept.calls
                    .push(well_formed, self.thresholds.malformed_window);
                Vec::new()
            }
            Event::SpotCheck { probes } => {
                kept.probes = probes;
                self.probes_met()
            }
            Event::AdapterLoaded { revision } => {
                kept.adapter_failure = None;
                if kept.revision.as_ref().is_some_and(|old| *old != revision) {
                    self.forget();
                }
                self.kept.revision = Some(revision);
                Vec::new()
            }
            Event::AdapterFailed { reason } => {
                kept.adapter_failure = Some(reason.clone());
                vec![Condition::AdapterNotLoadable { reason }]
            }
        }
    }

    fn false_positives_met(&self) -> Option<Condition> {
        let limit = self.thresholds.false_positive_share;
        let (count, samples) = self.kept.prospects.tally();
        let met = samples >= self.thresholds.false_positive_minimum
            && limit.is_exceeded_by(count, samples);
        met.then_some(Condition::FalsePositives {
            count,
            samples,
            limit,
        })
    }

    fn malformed_met(&self) -> Option<Condition> {
        let limit = self.thresholds.malformed_share;
        let (count, samples) = self.kept.calls.tally();
        let met =
            samples >= self.thresholds.malformed_minimum && limit.is_exceeded_by(count, samples);
        met.then_some(Condition::MalformedOutput {
            count,
            samples,
            limit,
        })
    }

    fn probes_met(&self) -> Vec<Condition> {
        let limit = self.thresholds.probe_accuracy;
        let minimum = self.thresholds.probe_minimum;
        let missed = self.kept.probes.iter().filter(|(_, tally)| {
            tally.total >= minimum && limit.is_missed_by(tally.right, tally.total)
        });
        let conditions = missed.map(|(probe, tally)| Condition::ProbeAccuracy {
            probe: probe.clone(),
            right: tally.right,
            total: tally.total,
            limit,
        });
        conditions.collect()
    }

    fn forget(&mut self) {
        self.kept.prospects = Prospects::default();
        self.kept.calls = Calls::default();
        self.kept.probes = BTreeMap::new();
    }
}
