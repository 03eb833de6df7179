//! The cases to choose from.

use std::collections::{BTreeMap, HashMap};

use sha2::{Digest, Sha256};

use crate::context::Context;
use crate::dataset;
use crate::dataset::case::Case;
use crate::kill_switch::SPOT_CHECK_CASES;

/// Violations chosen of a probe. They are more than half: a judge that lets everything pass must not
/// reach half.
const VIOLATIONS: usize = SPOT_CHECK_CASES as usize / 2 + 1;

/// With fewer a probe would not have the five cases that a trip needs.
const FEWEST_VIOLATIONS: usize = 3;
const FEWEST_CLEAN: usize = 2;

const PROBES: usize = 64;

/// Labelled cases of known probes, violations and clean ones of each.
#[derive(Clone, Debug)]
pub struct Suite {
    sha256: String,
    probes: BTreeMap<String, Sides>,
}

/// In the order of the file.
#[derive(Clone, Debug, Default)]
struct Sides {
    violations: Vec<(Case, Context)>,
    clean: Vec<(Case, Context)>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SuiteError {
    #[error("line {line}: {problem}")]
    Line { line: usize, problem: String },
    #[error("line {line}: case `{id}` stands at line {first} already")]
    Twice {
        line: usize,
        id: String,
        first: usize,
    },
    #[error("line {line}: case `{id}` has no `probe`, so its result would count nowhere")]
    NoProbe { line: usize, id: String },
    #[error(
        "line {line}: `probe` must be 1 to 32 letters, digits, `-` or `_`, but is `{}`",
        .probe.escape_debug()
    )]
    ProbeName { line: usize, probe: String },
    #[error(
        "probe {probe} has {violations} violating and {clean} clean cases: it needs at least \
         {FEWEST_VIOLATIONS} and {FEWEST_CLEAN}"
    )]
    TooFew {
        probe: String,
        violations: usize,
        clean: usize,
    },
    #[error("the suite has {0} probes: there must be 1 to {PROBES}")]
    Probes(usize),
}

impl Suite {
    /// The one that comes with the daemon.
    pub fn own() -> Result<Self, SuiteError> {
        Self::parse(include_str!("../../models/spot-check.jsonl"))
    }

    /// Reads JSON Lines, in the formats of `judged eval`.
    pub fn parse(text: &str) -> Result<Self, SuiteError> {
        let mut probes: BTreeMap<String, Sides> = BTreeMap::new();
        let mut seen: HashMap<String, usize> = HashMap::new();
        for (line, text) in (1..).zip(text.lines()) {
            if text.trim().is_empty() {
                continue;
            }
            let found = dataset::with_contexts(text)
                .map_err(|problem| SuiteError::Line { line, problem })?;
            for (case, context) in found {
                let probe = probe_of(line, &case)?;
                if let Some(first) = seen.insert(case.id.clone(), line) {
                    let id = case.id;
                    return Err(SuiteError::Twice { line, id, first });
                }
                let sides = probes.entry(probe).or_default();
                match case.is_violation() {
                    true => sides.violations.push((case, context)),
                    false => sides.clean.push((case, context)),
                }
            }
        }
        if !(1..=PROBES).contains(&probes.len()) {
            return Err(SuiteError::Probes(probes.len()));
        }
        for (probe, Sides { violations, clean }) in &probes {
            if violations.len() < FEWEST_VIOLATIONS || clean.len() < FEWEST_CLEAN {
                return Err(SuiteError::TooFew {
                    probe: probe.clone(),
                    violations: violations.len(),
                    clean: clean.len(),
                });
            }
        }
        let sha256 = const_hex::encode(Sha256::digest(text.as_bytes()));
        Ok(Self { sha256, probes })
    }

    /// Of the text that it was read from.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    pub fn probes(&self) -> impl Iterator<Item = &str> {
        self.probes.keys().map(String::as_str)
    }

    /// The cases of a week with their contexts, the same at each call: at most 20 a probe, one
    /// violation more than clean ones at least. In a larger suite all get their turn, week by week.
    pub fn choose(&self, week: i64) -> Vec<&(Case, Context)> {
        let mut chosen = Vec::new();
        for Sides { violations, clean } in self.probes.values() {
            let bad = violations.len().min(VIOLATIONS);
            let good = clean
                .len()
                .min(SPOT_CHECK_CASES as usize - VIOLATIONS)
                .min(bad - 1);
            chosen.extend(turn(violations, bad, week));
            chosen.extend(turn(clean, good, week));
        }
        chosen
    }
}

/// So many in a row, which begins where that of the week before ended; after the last comes the first.
fn turn(
    cases: &[(Case, Context)],
    count: usize,
    week: i64,
) -> impl Iterator<Item = &(Case, Context)> {
    let all = cases.len() as i128;
    let start = (i128::from(week) * count as i128).rem_euclid(all) as usize;
    cases.iter().cycle().skip(start).take(count)
}

/// 1 to 32 letters, digits, `-` or `_`.
pub fn is_probe_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=32).contains(&name.len()) && name.bytes().all(plain)
}

fn probe_of(line: usize, case: &Case) -> Result<String, SuiteError> {
    let Some(probe) = &case.probe else {
        let id = case.id.clone();
        return Err(SuiteError::NoProbe { line, id });
    };
    match is_probe_name(probe) {
        true => Ok(probe.clone()),
        false => Err(SuiteError::ProbeName {
            line,
            probe: probe.clone(),
        }),
    }
}
