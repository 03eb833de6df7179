//! A draft with its context, and no label: what `judged judge` reads, and what a labelled case has.

use std::path::PathBuf;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::case::Case;
use super::{DatasetError, lines, parse, typed};
use crate::channel::Channel;
use crate::context::Context;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// That of the request, or of the case.
    pub id: Option<String>,
    /// As it was written.
    pub context_json: String,
    pub text: String,
    pub channel: Option<Channel>,
}

/// Reads files, and the `.jsonl` files of folders in the order of their names. An id may stand twice.
pub fn read(paths: &[PathBuf]) -> Result<Vec<Draft>, DatasetError> {
    let mut drafts = Vec::new();
    for (place, text) in lines(paths)? {
        drafts.extend(of_line(&text).map_err(|problem| DatasetError::Line { place, problem })?);
    }
    Ok(drafts)
}

/// The drafts of one line: those of its labelled cases, or the one of a case without a label.
pub fn of_line(line: &str) -> Result<Vec<Draft>, String> {
    /// What tells the formats apart.
    #[derive(Deserialize)]
    struct Marks {
        pair_id: Option<IgnoredAny>,
        expected: Option<IgnoredAny>,
    }
    let marks: Marks = typed(line)?;
    if marks.pair_id.is_some() || marks.expected.is_some() {
        return Ok(parse(line)?.into_iter().map(Draft::from).collect());
    }
    let unlabelled: Unlabelled = typed(line)?;
    if unlabelled.draft.trim().is_empty() {
        return Err("`draft` is empty: there is nothing to judge".to_owned());
    }
    let context_json = unlabelled.context.get().to_owned();
    Context::parse(&context_json).map_err(|error| format!("`context`: {error}"))?;
    let channel = unlabelled.channel.as_deref().map(str::parse).transpose();
    Ok(vec![Draft {
        id: unlabelled.request_id.filter(|id| !id.is_empty()),
        context_json,
        text: unlabelled.draft,
        channel: channel.map_err(|error| format!("`channel`: {error}"))?,
    }])
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unlabelled {
    #[serde(rename = "name")]
    _name: Option<IgnoredAny>,
    #[serde(alias = "id")]
    request_id: Option<String>,
    context: Box<RawValue>,
    draft: String,
    channel: Option<String>,
}

impl From<Case> for Draft {
    fn from(case: Case) -> Self {
        Self {
            id: Some(case.id).filter(|id| !id.is_empty()),
            context_json: case.context_json,
            text: case.draft,
            channel: case.channel,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_and_labelled_cases_are_drafts() {
        let examples = include_str!("../../examples/model-card.jsonl");
        for line in examples.lines() {
            assert_eq!(of_line(line).unwrap().len(), 1, "{line}");
        }
        let labelled = r#"{"id": "a", "context": {"x": 1}, "draft": "Hi", "expected": "PASS"}"#;
        let draft = &of_line(labelled).unwrap()[0];
        assert_eq!(
            (draft.context_json.as_str(), draft.text.as_str()),
            (r#"{"x": 1}"#, "Hi")
        );
        assert_eq!(draft.id.as_deref(), Some("a"));
        let unnamed = labelled.replace(r#""a""#, r#""""#);
        assert_eq!(of_line(&unnamed).unwrap()[0].id, None);
        for key in ["id", "request_id"] {
            let line = format!(r#"{{"{key}": "a", "context": {{}}, "draft": "Hi"}}"#);
            assert_eq!(of_line(&line).unwrap()[0].id.as_deref(), Some("a"));
        }
        let pairs = include_str!("../../tests/data/eval/pairs.jsonl");
        let drafts = pairs.lines().flat_map(|line| of_line(line).unwrap());
        assert_eq!(drafts.count(), 4);
    }

    #[test]
    fn what_is_wrong_with_a_line_is_named() {
        for (line, wanted) in [
            (r#"{"context": {}, "draft": " "}"#, "`draft` is empty"),
            (r#"{"context": [], "draft": "Hi"}"#, "`context`"),
            (r#"{"context": {}, "draft": "Hi", "label": 1}"#, "`label`"),
            (r#"{"context": {}, "draft": "Hi", "channel": "fax"}"#, "fax"),
            (r#"{"draft": "Hi"}"#, "`context`"),
            (r#"{"id": 7, "context": {}, "draft": "Hi"}"#, "`id`"),
        ] {
            let error = of_line(line).unwrap_err();
            assert!(error.contains(wanted), "{line}: {error}");
        }
    }
}
