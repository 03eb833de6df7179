//! A labelled case as it is: `{"id", "context", "draft", "expected"}` and, if wanted, `probe`,
//! `difficulty`, `channel` and `rationale`.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::case::Case;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Plain {
    id: String,
    probe: Option<String>,
    difficulty: Option<String>,
    context: Box<RawValue>,
    draft: String,
    channel: Option<String>,
    expected: String,
    /// Training reads it; nothing here is measured by it.
    #[serde(rename = "rationale")]
    _rationale: Option<IgnoredAny>,
}

pub(super) fn case(plain: Plain) -> Result<Case, String> {
    if plain.draft.trim().is_empty() {
        return Err("`draft` is empty: there is nothing to judge".to_owned());
    }
    let expected = plain.expected.parse();
    let channel = plain.channel.as_deref().map(str::parse).transpose();
    Ok(Case {
        expected: expected.map_err(|error| format!("`expected`: {error}"))?,
        channel: channel.map_err(|error| format!("`channel`: {error}"))?,
        id: plain.id,
        probe: plain.probe,
        difficulty: plain.difficulty,
        context_json: plain.context.get().to_owned(),
        draft: plain.draft,
        exact: true,
    })
}
