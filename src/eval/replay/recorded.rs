//! What `judged decisions export` has written.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Side;
use crate::channel::Channel;
use crate::context::Context;
use crate::dataset::case::Case;
use crate::decision_log::{Finding, FindingKind};
use crate::verdict::{DecidedBy, Disposition, Label, ModelRevision};

#[derive(Debug, Default)]
pub struct Export {
    pub decisions: Vec<Recorded>,
    /// Without both texts, with a draft that is masked, or with a context that masking has made
    /// unreadable.
    pub left_out: u64,
}

impl Export {
    pub fn cases(&self) -> impl Iterator<Item = &Case> {
        self.decisions.iter().map(|recorded| &recorded.case)
    }
}

/// A decision that can be judged again.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Its id is the decision's, its expected label the recorded one.
    pub case: Case,
    pub side: Side,
    pub received: String,
    pub prospect: String,
    pub bundle: Option<String>,
    pub masked: bool,
    /// What was reported last.
    pub finding: Option<Finding>,
}

impl Recorded {
    /// What the label should have been, where a finding tells.
    pub fn right_label(&self, finding: Finding) -> Option<Label> {
        match finding {
            Finding::Right => Some(self.side.label),
            Finding::FalsePositive => Some(Label::Pass),
            Finding::MissedViolation(label) => Some(label),
            Finding::Incident { .. } => None,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("cannot read `{}`", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("`{}`, line {line} is no line of `judged decisions export`: {problem}", path.display())]
    Line {
        path: PathBuf,
        line: usize,
        problem: String,
    },
}

/// Reads a file, or stdin where the path is `-`. Of a decision that stands there twice the first
/// line counts.
pub fn read(path: &Path) -> Result<Export, ExportError> {
    let mut text = String::new();
    let outcome = match path == Path::new("-") {
        true => io::stdin().read_to_string(&mut text),
        false => std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text)),
    };
    outcome.map_err(|source| ExportError::Read {
        path: path.to_owned(),
        source,
    })?;
    let mut export = Export::default();
    let mut known = HashSet::new();
    for (line, text) in (1..).zip(text.lines()) {
        if text.trim().is_empty() {
            continue;
        }
        let read = parse(text).map_err(|problem| ExportError::Line {
            path: path.to_owned(),
            line,
            problem,
        })?;
        match read {
            Some(recorded) => {
                if known.insert(recorded.case.id.clone()) {
                    export.decisions.push(recorded);
                }
            }
            None => export.left_out += 1,
        }
    }
    Ok(export)
}

/// The place of the draft where all of it is masked.
const DRAFT_PATH: &str = "$['draft']";

#[derive(Deserialize)]
struct Line {
    decision_id: String,
    received: String,
    prospect: String,
    channel: String,
    context: Option<Box<RawValue>>,
    draft: Option<String>,
    masked: Vec<String>,
    label: Label,
    disposition: Disposition,
    decided_by: DecidedBy,
    scores: Option<BTreeMap<Label, f64>>,
    rules: Vec<String>,
    rationale: String,
    model: Option<ModelRevision>,
    outcomes: Vec<OutcomeLine>,
}

#[derive(Deserialize)]
struct OutcomeLine {
    kind: FindingKind,
    true_label: Option<Label>,
    incident_tier: Option<u8>,
}

/// `None` where its texts do not suffice to judge it again.
pub(super) fn parse(line: &str) -> Result<Option<Recorded>, String> {
    let line: Line = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let channel: Channel = line.channel.parse().map_err(|error| format!("{error}"))?;
    let finding = match line.outcomes.last() {
        None => None,
        Some(last) => Some(finding(last)?),
    };
    let (Some(context), Some(draft)) = (line.context, line.draft) else {
        return Ok(None);
    };
    let is_draft_masked = line.masked.iter().any(|path| path == DRAFT_PATH);
    if is_draft_masked || Context::parse(context.get()).is_err() {
        return Ok(None);
    }
    Ok(Some(Recorded {
        case: Case {
            id: line.decision_id,
            probe: None,
            difficulty: None,
            context_json: context.get().to_owned(),
            draft,
            channel: Some(channel),
            expected: line.label,
            exact: true,
        },
        side: Side {
            label: line.label,
            disposition: Some(line.disposition),
            decided_by: line.decided_by,
            score: line
                .scores
                .and_then(|scores| scores.get(&line.label).copied()),
            rules: line.rules,
            rationale: line.rationale,
        },
        received: line.received,
        prospect: line.prospect,
        bundle: line.model.map(|model| model.bundle),
        masked: !line.masked.is_empty(),
        finding,
    }))
}

fn finding(line: &OutcomeLine) -> Result<Finding, String> {
    match line.kind {
        FindingKind::Right => Ok(Finding::Right),
        FindingKind::FalsePositive => Ok(Finding::FalsePositive),
        FindingKind::MissedViolation => line
            .true_label
            .map(Finding::MissedViolation)
            .ok_or_else(|| "a missed violation without `true_label`".to_owned()),
        FindingKind::Incident => line
            .incident_tier
            .map(|tier| Finding::Incident { tier })
            .ok_or_else(|| "an incident without `incident_tier`".to_owned()),
    }
}
