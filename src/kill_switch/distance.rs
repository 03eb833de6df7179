//! How far the switch is from a trip, for status and metrics.

use super::share::Share;
use super::{Kept, Tally, Thresholds};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distance {
    pub false_positives: Measure,
    pub malformed: Measure,
    /// As the last spot check found them.
    pub probes: Vec<ProbeMeasure>,
}

/// A count that must not exceed a share of its samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measure {
    pub count: u32,
    pub samples: u32,
    /// With fewer samples it never trips.
    pub minimum: u32,
    pub limit: Share,
    /// The smallest number of further bad ones that trips, with nothing else in between; `None`
    /// where none does. False positives are reported of prospects in the window, so too few of those
    /// never trip; a malformed call is a sample itself.
    pub more: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeMeasure {
    pub probe: String,
    pub tally: Tally,
    pub minimum: u32,
    /// Under it the probe trips.
    pub limit: Share,
}

pub(super) fn of(thresholds: &Thresholds, kept: &Kept) -> Distance {
    let probes = kept.probes.iter().map(|(probe, tally)| ProbeMeasure {
        probe: probe.clone(),
        tally: *tally,
        minimum: thresholds.probe_minimum,
        limit: thresholds.probe_accuracy,
    });
    Distance {
        false_positives: false_positives(thresholds, kept),
        malformed: malformed(thresholds, kept),
        probes: probes.collect(),
    }
}

fn false_positives(thresholds: &Thresholds, kept: &Kept) -> Measure {
    let (count, samples) = kept.prospects.tally();
    let (minimum, limit) = (
        thresholds.false_positive_minimum,
        thresholds.false_positive_share,
    );
    let enough = limit.of(samples) + 1;
    let possible = samples >= minimum && enough <= samples;
    Measure {
        count,
        samples,
        minimum,
        limit,
        more: possible.then(|| enough.saturating_sub(count)),
    }
}

fn malformed(thresholds: &Thresholds, kept: &Kept) -> Measure {
    let (count, samples) = kept.calls.tally();
    let (minimum, limit) = (thresholds.malformed_minimum, thresholds.malformed_share);
    let mut after = kept.calls.if_more_fail(thresholds.malformed_window);
    let more = after
        .position(|(count, samples)| samples >= minimum && limit.is_exceeded_by(count, samples));
    Measure {
        count,
        samples,
        minimum,
        limit,
        more: more.map(|more| more as u32),
    }
}
