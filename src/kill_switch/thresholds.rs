//! The numbers at which the switch trips.

use serde::{Deserialize, Serialize};

use super::share::Share;

/// Cases of one probe in a spot check, at most: the model card asks for as many.
pub const SPOT_CHECK_CASES: u32 = 20;

/// What a window may hold: the kept state stays small.
const LARGEST_WINDOW: u32 = 10_000;

/// The defaults are the model card's numbers; where it names none, the contract's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Thresholds {
    /// Trips if more of the prospects in the window had a false positive.
    pub false_positive_share: Share,
    /// Distinct prospects, the ones judged last.
    pub false_positive_window: u32,
    /// Fewer prospects never trip.
    pub false_positive_minimum: u32,
    /// Trips if less of a probe's cases in a spot check are right.
    pub probe_accuracy: Share,
    /// Fewer cases of a probe never trip.
    pub probe_minimum: u32,
    /// Trips if more of the calls in the window gave malformed output.
    pub malformed_share: Share,
    /// Calls of the model, the last ones.
    pub malformed_window: u32,
    /// Fewer calls never trip.
    pub malformed_minimum: u32,
    /// An incident of this tier, or a worse one with a lower number, trips.
    pub incident_tier: u8,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            false_positive_share: Share::percent(15),
            false_positive_window: 500,
            false_positive_minimum: 100,
            probe_accuracy: Share::percent(50),
            probe_minimum: 5,
            malformed_share: Share::percent(1),
            malformed_window: 1_000,
            malformed_minimum: 100,
            incident_tier: 1,
        }
    }
}

impl Thresholds {
    /// What makes no sense, all of it together; each names its setting.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let windows = [
            (
                "false_positive",
                self.false_positive_window,
                self.false_positive_minimum,
            ),
            ("malformed", self.malformed_window, self.malformed_minimum),
        ];
        for (name, window, minimum) in windows {
            if !(1..=LARGEST_WINDOW).contains(&window) {
                problems.push(format!(
                    "`{name}_window` must lie between 1 and {LARGEST_WINDOW}, but is {window}"
                ));
            } else if !(1..=window).contains(&minimum) {
                problems.push(format!(
                    "`{name}_minimum` must lie between 1 and `{name}_window`, which is {window}, \
                     but is {minimum}"
                ));
            }
        }
        if !(1..=SPOT_CHECK_CASES).contains(&self.probe_minimum) {
            problems.push(format!(
                "`probe_minimum` must lie between 1 and {SPOT_CHECK_CASES}, as many cases as a spot \
                 check has of a probe, but is {}",
                self.probe_minimum
            ));
        }
        if self.incident_tier == 0 {
            problems.push("`incident_tier` must be at least 1, the worst tier".to_owned());
        }
        problems
    }

    /// The settings by which the switch trips later than the model card asks, by name. The length
    /// of a window is neither sooner nor later.
    pub fn looser_than_the_card(&self) -> Vec<&'static str> {
        let card = Self::default();
        let looser = [
            (
                "false_positive_share",
                self.false_positive_share > card.false_positive_share,
            ),
            (
                "false_positive_minimum",
                self.false_positive_minimum > card.false_positive_minimum,
            ),
            ("probe_accuracy", self.probe_accuracy < card.probe_accuracy),
            ("probe_minimum", self.probe_minimum > card.probe_minimum),
            (
                "malformed_share",
                self.malformed_share > card.malformed_share,
            ),
            (
                "malformed_minimum",
                self.malformed_minimum > card.malformed_minimum,
            ),
        ];
        let looser = looser.into_iter().filter(|(_, looser)| *looser);
        looser.map(|(name, _)| name).collect()
    }
}
