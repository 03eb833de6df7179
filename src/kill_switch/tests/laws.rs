//! What holds whatever happens.

use proptest::collection::vec;
use proptest::prelude::*;

use super::naive::Naive;
use super::*;

#[derive(Clone, Debug)]
enum Act {
    Judge {
        prospect: u32,
    },
    /// Of the decisions so far, counted from the last.
    Report {
        back: u32,
        false_positive: bool,
    },
    Calls {
        well_formed: bool,
        times: usize,
    },
    SpotCheck {
        right: u32,
        total: u32,
    },
    Incident {
        tier: u8,
        back: u32,
    },
    Load(u8),
    Fail,
    Rearm {
        via_shadow: bool,
    },
}

/// What counts up to a limit.
fn counting() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0..12_u32).prop_map(|prospect| Act::Judge { prospect }),
        6 => (0..15_u32, any::<bool>())
            .prop_map(|(back, false_positive)| Act::Report { back, false_positive }),
        4 => (any::<bool>(), 0..6_usize)
            .prop_map(|(well_formed, times)| Act::Calls { well_formed, times }),
    ]
}

fn anything() -> impl Strategy<Value = Act> {
    prop_oneof![
        12 => counting(),
        1 => (0..10_u32, 0..10_u32).prop_map(|(right, total)| Act::SpotCheck { right, total }),
        1 => (1..4_u8, 0..15_u32).prop_map(|(tier, back)| Act::Incident { tier, back }),
        1 => (0..2_u8).prop_map(Act::Load),
        1 => Just(Act::Fail),
        2 => any::<bool>().prop_map(|via_shadow| Act::Rearm { via_shadow }),
    ]
}

fn small() -> impl Strategy<Value = Thresholds> {
    let windows = (1..10_u32, 1..10_u32, 1..20_u32, 1..20_u32);
    (windows, 0..60_u32, 0..60_u32).prop_map(|(windows, wrong, malformed)| Thresholds {
        false_positive_share: Share::percent(wrong),
        false_positive_window: windows.0.max(windows.1),
        false_positive_minimum: windows.0.min(windows.1),
        malformed_share: Share::percent(malformed),
        malformed_window: windows.2.max(windows.3),
        malformed_minimum: windows.2.min(windows.3),
        ..Thresholds::default()
    })
}

/// A switch, and a plain account of what it was told.
struct Witness {
    switch: KillSwitch,
    now: UnixMicros,
    decisions: u32,
    naive: Naive,
}

impl Witness {
    fn new(thresholds: Thresholds) -> Self {
        Self {
            switch: KillSwitch::new(thresholds),
            now: 0,
            decisions: 0,
            naive: Naive::default(),
        }
    }

    fn act(&mut self, act: &Act) -> Vec<Effect> {
        let thresholds = self.switch.thresholds;
        let recent = |back: u32| self.decisions.checked_sub(back + 1);
        self.now += 1;
        let event = match *act {
            Act::Judge { prospect } => {
                self.decisions += 1;
                let decision = self.decisions - 1;
                let window = thresholds.false_positive_window;
                self.naive.judged(prospect, decision, window);
                judged(prospect, decision)
            }
            Act::Report {
                back,
                false_positive,
            } => {
                let Some(decision) = recent(back) else {
                    return Vec::new();
                };
                self.naive.reported(decision, false_positive);
                reported(decision, false_positive)
            }
            Act::Calls { well_formed, times } => {
                let mut effects = Vec::new();
                for _ in 0..times {
                    let window = thresholds.malformed_window;
                    self.naive.called(well_formed, window);
                    let event = Event::Call { well_formed };
                    effects.extend(self.switch.step(event, self.now));
                }
                return effects;
            }
            Act::SpotCheck { right, total } => checked(&[("A07", right.min(total), total)]),
            Act::Incident { tier, back } => {
                let decision = recent(back);
                if let Some(decision) = decision {
                    self.naive.reported(decision, false);
                }
                Event::Incident {
                    tier,
                    decision: decision.map(|decision| decision.to_string()),
                    probe: None,
                }
            }
            Act::Load(revision) => {
                let revision = revision.to_string();
                let old = &self.switch.kept.revision;
                if old.as_ref().is_some_and(|old| *old != revision) {
                    self.naive = Naive::default();
                }
                Event::AdapterLoaded { revision }
            }
            Act::Fail => Event::AdapterFailed {
                reason: "gone".to_owned(),
            },
            Act::Rearm { via_shadow } => {
                let was_tripped = self.switch.state().is_tripped();
                let rearmed = self
                    .switch
                    .rearm(by("Ada", "why not", self.now), via_shadow);
                if was_tripped && rearmed.is_ok() {
                    self.naive = Naive::default();
                }
                return Vec::new();
            }
        };
        self.switch.step(event, self.now)
    }
}

proptest! {
    #[test]
    fn a_restored_switch_does_what_the_kept_one_does(
        thresholds in small(),
        before in vec(anything(), 0..60),
        after in vec(anything(), 0..60),
    ) {
        let mut kept = Witness::new(thresholds);
        for act in &before {
            kept.act(act);
        }
        let mut restored = Witness {
            switch: restarted(&kept.switch),
            naive: Naive::default(),
            ..kept
        };
        prop_assert_eq!(restored.switch.to_json(), kept.switch.to_json());
        for act in &after {
            prop_assert_eq!(restored.act(act), kept.act(act));
            prop_assert_eq!(restored.switch.distance(), kept.switch.distance());
        }
        prop_assert_eq!(restored.switch.to_json(), kept.switch.to_json());
    }

    #[test]
    fn the_windows_are_those_of_a_plain_account(
        thresholds in small(),
        acts in vec(counting(), 0..120),
    ) {
        let mut witness = Witness::new(thresholds);
        let mut held = false;
        for act in &acts {
            witness.act(act);
            let distance = witness.switch.distance();
            let (wrong, malformed) = (distance.false_positives, distance.malformed);
            prop_assert_eq!((wrong.count, wrong.samples), witness.naive.false_positives());
            prop_assert_eq!((malformed.count, malformed.samples), witness.naive.malformed());
            // Several calls are one act: what held between two of them may hold no longer.
            if !matches!(act, Act::Calls { .. }) {
                held |= witness.naive.holds(&thresholds);
                prop_assert!(!held || witness.switch.state().is_tripped());
            }
        }
    }

    #[test]
    fn it_trips_at_the_very_event_that_meets_a_condition(
        thresholds in small(),
        acts in vec(counting(), 0..120),
    ) {
        let mut witness = Witness::new(thresholds);
        for act in acts {
            let times = match act {
                Act::Calls { times, .. } => times,
                _ => 1,
            };
            let one = match act {
                Act::Calls { well_formed, .. } => Act::Calls { well_formed, times: 1 },
                act => act,
            };
            for _ in 0..times {
                let effects = witness.act(&one);
                let holds = witness.naive.holds(&thresholds);
                prop_assert_eq!(matches!(effects[..], [Effect::Trip(_), ..]), holds);
                prop_assert_eq!(witness.switch.state().is_tripped(), holds);
                if holds {
                    return Ok(());
                }
            }
        }
    }

    #[test]
    fn it_never_trips_on_fewer_samples_than_the_minimum(
        acts in vec(counting(), 0..300),
        minimum in 13..20_u32,
    ) {
        // Twelve prospects never reach it; calls may, and then it may trip.
        let thresholds = Thresholds {
            false_positive_share: Share::percent(0),
            false_positive_minimum: minimum,
            malformed_share: Share::percent(0),
            ..Thresholds::default()
        };
        let mut witness = Witness::new(thresholds);
        for act in &acts {
            let effects = witness.act(act);
            let (_, calls) = witness.naive.malformed();
            if calls >= thresholds.malformed_minimum {
                return Ok(());
            }
            prop_assert_eq!(effects, []);
        }
    }

    #[test]
    fn once_tripped_it_stays_so_until_somebody_rearms_it(
        thresholds in small(),
        acts in vec(anything(), 0..150),
    ) {
        let mut witness = Witness::new(thresholds);
        let mut tripped: Option<Trip> = None;
        for act in &acts {
            let refused = witness.switch.kept.adapter_failure.is_some();
            let effects = witness.act(act);
            let is_rearm = matches!(act, Act::Rearm { .. });
            match (&tripped, witness.switch.state()) {
                (Some(since), State::Tripped { first, .. }) => {
                    prop_assert_eq!(since, first);
                    prop_assert!(!is_rearm || refused);
                    prop_assert!(effects.iter().all(|effect| matches!(effect, Effect::AlsoMet(_))));
                    prop_assert_eq!(witness.switch.mode(Mode::Enforce), Mode::RulesOnly);
                }
                (Some(_), _) => {
                    prop_assert!(is_rearm && !refused);
                    tripped = None;
                }
                (None, State::Tripped { first, .. }) => {
                    prop_assert_eq!(effects.first(), Some(&Effect::Trip(first.clone())));
                    tripped = Some(first.clone());
                }
                (None, _) => prop_assert_eq!(effects, []),
            }
        }
    }

    #[test]
    fn as_many_more_as_it_says_trip_it_and_one_fewer_does_not(
        thresholds in small(),
        acts in vec(counting(), 0..60),
    ) {
        let mut witness = Witness::new(thresholds);
        for act in &acts {
            witness.act(act);
        }
        let Witness { switch, naive, .. } = witness;
        if switch.state().is_tripped() {
            return Ok(());
        }
        let Distance { false_positives, malformed, .. } = switch.distance();

        let good = naive.prospects.iter().filter(|(_, list)| list.iter().all(|(_, wrong)| !wrong));
        let mut reporting = switch.clone();
        let mut needed = None;
        for (more, (_, decisions)) in (1..).zip(good) {
            if !reporting.step(reported(decisions[0].0, true), 0).is_empty() {
                needed = Some(more);
                break;
            }
        }
        prop_assert_eq!(false_positives.more, needed);

        let mut calling = switch;
        let needed = (1..=100).find(|_| {
            !calling.step(Event::Call { well_formed: false }, 0).is_empty()
        });
        prop_assert_eq!(malformed.more, needed);
    }
}
