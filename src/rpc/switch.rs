//! The kill switch to wire types.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use super::proto;
use crate::decision_log::ProbeScore;
use crate::judge::{Authority, Checked, Schedule};
use crate::kill_switch::{Measure, ProbeMeasure, State, UnixMicros};
use crate::spot_check::Suite;

pub fn status(authority: &Authority) -> proto::KillSwitch {
    let state = authority.state();
    let distance = authority.distance();
    let (name, since, reason) = match &state {
        State::Armed { rearmed } => {
            let since = rearmed.as_ref().map(|rearm| rearm.at);
            let why = rearmed.as_ref().map(|rearm| told(&rearm.by, &rearm.reason));
            (
                proto::kill_switch::State::Armed,
                since,
                why.unwrap_or_default(),
            )
        }
        State::Shadowing { rearmed } => (
            proto::kill_switch::State::Shadowing,
            Some(rearmed.at),
            told(&rearmed.by, &rearmed.reason),
        ),
        State::Tripped { first, later } => {
            let all = [first].into_iter().chain(later);
            let reasons: Vec<String> = all.map(|trip| trip.condition.to_string()).collect();
            (
                proto::kill_switch::State::Tripped,
                Some(first.at),
                reasons.join("; "),
            )
        }
    };
    let mut conditions = vec![
        measure("false_positives", &distance.false_positives),
        measure("malformed_output", &distance.malformed),
    ];
    conditions.extend(distance.probes.iter().map(probe));
    proto::KillSwitch {
        state: name.into(),
        since: since.map(time),
        reason,
        conditions,
    }
}

pub fn schedule(schedule: &Schedule) -> proto::SpotChecks {
    let last = schedule.last.as_ref();
    proto::SpotChecks {
        last: last.map(|last| last.time.into()),
        next: Some(schedule.next.into()),
        missed: schedule.missed,
        probes: last.map_or_else(Vec::new, |last| accuracies(&last.probes)),
    }
}

pub fn accuracies(probes: &BTreeMap<String, ProbeScore>) -> Vec<proto::ProbeAccuracy> {
    let probes = probes.iter().map(|(probe, score)| proto::ProbeAccuracy {
        probe: probe.clone(),
        right: score.right,
        total: score.total,
    });
    probes.collect()
}

pub fn checked(suite: &Suite, checked: &Checked) -> proto::RunSpotCheckResponse {
    let probes: Vec<proto::ProbeAccuracy> = checked
        .probes
        .iter()
        .map(|(probe, tally)| proto::ProbeAccuracy {
            probe: probe.clone(),
            right: tally.right,
            total: tally.total,
        })
        .collect();
    let done = probes.iter().map(|probe| probe.total).sum();
    proto::RunSpotCheckResponse {
        done,
        total: done,
        result: Some(proto::SpotCheckResult {
            probes,
            suite_sha256: suite.sha256().to_owned(),
            tripped: checked.tripped,
        }),
    }
}

fn told(by: &str, reason: &str) -> String {
    format!("re-armed by {by}: {reason}")
}

fn measure(name: &str, measure: &Measure) -> proto::Condition {
    proto::Condition {
        name: name.to_owned(),
        count: measure.count,
        samples: measure.samples,
        least_samples: measure.minimum,
        limit: measure.limit.into(),
        more: measure.more,
    }
}

fn probe(probe: &ProbeMeasure) -> proto::Condition {
    proto::Condition {
        name: format!("probe_accuracy {}", probe.probe),
        count: probe.tally.right,
        samples: probe.tally.total,
        least_samples: probe.minimum,
        limit: probe.limit.into(),
        more: None,
    }
}

fn time(at: UnixMicros) -> prost_types::Timestamp {
    let since = Duration::from_micros(u64::try_from(at).unwrap_or(0));
    (UNIX_EPOCH + since).into()
}
