//! Situations and what the switch does, as text files in `tests/data/kill_switch`.

use super::*;
use crate::tests::situations;

#[test]
fn every_situation_is_followed_by_what_the_switch_does() {
    situations::check("kill_switch", || {
        let mut player = Player::new(Thresholds::default());
        move |line: &str| player.obey(line)
    });
}

struct Player {
    switch: KillSwitch,
    now: UnixMicros,
    /// Decisions, and new prospects, so far.
    decisions: u32,
    prospects: u32,
}

impl Player {
    fn new(thresholds: Thresholds) -> Self {
        Self {
            switch: KillSwitch::new(thresholds),
            now: 0,
            decisions: 0,
            prospects: 0,
        }
    }

    fn obey(&mut self, line: &str) -> Vec<String> {
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        let words: Vec<&str> = rest.split_whitespace().collect();
        match command {
            // A fresh switch, with these of the card's numbers changed.
            "new" => {
                let settings = words.join("\n");
                *self = Self::new(toml::from_str(&settings).unwrap());
                Vec::new()
            }
            "day" => {
                self.now = rest.parse::<UnixMicros>().unwrap() * DAY;
                Vec::new()
            }
            "judge" => match words[0].starts_with('p') {
                true => self.judge(rest),
                false => (0..number(rest)).flat_map(|_| self.judge_next()).collect(),
            },
            "report" => {
                let false_positive = match words[0] {
                    "false-positive" => true,
                    "right" | "missed" => false,
                    other => panic!("no finding `{other}`"),
                };
                let each = range(words[1]).flat_map(|decision| {
                    let decision = format!("d{decision}");
                    let event = reported(&decision, false_positive);
                    self.told(&decision, event)
                });
                each.collect()
            }
            "call" => {
                let well_formed = match words[0] {
                    "well-formed" => true,
                    "malformed" => false,
                    other => panic!("no call `{other}`"),
                };
                let each = (1..=number(words[1])).flat_map(|call| {
                    self.told(&format!("call {call}"), Event::Call { well_formed })
                });
                each.collect()
            }
            "spot-check" => {
                let probes = words.iter().map(|word| {
                    let (probe, tally) = word.split_once('=').unwrap();
                    let (right, total) = tally.split_once('/').unwrap();
                    (probe, number(right), number(total))
                });
                let event = checked(&probes.collect::<Vec<_>>());
                self.told("", event)
            }
            "incident" => {
                let named = |name: &str| {
                    let mut words = words.iter();
                    words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
                };
                let event = Event::Incident {
                    tier: named("tier").unwrap().parse().unwrap(),
                    decision: named("decision").map(str::to_owned),
                    probe: named("probe").map(str::to_owned),
                };
                self.told("", event)
            }
            "adapter-loaded" => {
                let revision = rest.to_owned();
                self.told("", Event::AdapterLoaded { revision })
            }
            "adapter-failed" => {
                let reason = rest.to_owned();
                self.told("", Event::AdapterFailed { reason })
            }
            "re-arm" | "re-arm-via-shadow" => {
                let (name, reason) = rest.split_once(':').unwrap();
                let via_shadow = command == "re-arm-via-shadow";
                match self.switch.rearm(by(name, reason, self.now), via_shadow) {
                    Ok(()) => vec![self.switch.state().name().to_owned()],
                    Err(refusal) => vec![format!("refused: {refusal}")],
                }
            }
            "restart" => {
                self.switch = restarted(&self.switch);
                Vec::new()
            }
            "status" => self.status(),
            other => panic!("no command `{other}`"),
        }
    }

    fn judge_next(&mut self) -> Vec<String> {
        self.prospects += 1;
        self.judge(&format!("p{}", self.prospects))
    }

    fn judge(&mut self, prospect: &str) -> Vec<String> {
        self.decisions += 1;
        let decision = format!("d{}", self.decisions);
        self.told(&decision, judged(prospect, &decision))
    }

    fn told(&mut self, what: &str, event: Event) -> Vec<String> {
        let effects = self.switch.step(event, self.now).into_iter();
        let told = effects.map(|effect| {
            let (verb, trip) = match effect {
                Effect::Trip(trip) => ("trips", trip),
                Effect::AlsoMet(trip) => ("also met", trip),
            };
            assert_eq!(trip.at, self.now);
            match what {
                "" => format!("{verb}: {}", trip.condition),
                what => format!("{what} {verb}: {}", trip.condition),
            }
        });
        told.collect()
    }

    fn status(&self) -> Vec<String> {
        let Distance {
            false_positives,
            malformed,
            probes,
        } = self.switch.distance();
        let mut lines = vec![self.switch.state().to_string()];
        match self.switch.state() {
            State::Armed { rearmed: None } => {}
            State::Armed {
                rearmed: Some(rearm),
            }
            | State::Shadowing { rearmed: rearm } => {
                let (day, by, reason) = (rearm.at / DAY, &rearm.by, &rearm.reason);
                lines.push(format!("re-armed on day {day} by {by}: {reason}"));
            }
            State::Tripped { first, later } => {
                lines.push(format!("since day {}", first.at / DAY));
                let later = later.iter();
                lines
                    .extend(later.map(|trip| format!("day {}: {}", trip.at / DAY, trip.condition)));
            }
        }
        for (name, measure) in [
            ("false positives", false_positives),
            ("malformed", malformed),
        ] {
            let Measure { count, samples, .. } = measure;
            lines.push(match measure.more {
                Some(more) => format!("{name}: {count} of {samples}, {more} more trip"),
                None => format!("{name}: {count} of {samples}, no more can trip"),
            });
        }
        let probes = probes.iter();
        lines.extend(probes.map(|ProbeMeasure { probe, tally, .. }| {
            format!("probe {probe}: {} of {}", tally.right, tally.total)
        }));
        let failure = self.switch.kept.adapter_failure.iter();
        lines.extend(failure.map(|reason| format!("no adapter: {reason}")));
        lines
    }
}

fn number(text: &str) -> u32 {
    text.parse()
        .unwrap_or_else(|_| panic!("`{text}` is no number"))
}

/// `d3` or `d3..d9`, both ends included.
fn range(text: &str) -> impl Iterator<Item = u32> {
    let (first, last) = text.split_once("..").unwrap_or((text, text));
    number(&first[1..])..=number(&last[1..])
}
