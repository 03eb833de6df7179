//! The events of a completion, as they come.

use std::io::{BufRead, Error, Result};
use std::time::Instant;

use serde::Deserialize;
use serde_json::Value;

use crate::verdict::{Label, Usage};

/// What a completion said, and when its label was whole.
pub(super) struct Completed {
    pub(super) label: Label,
    pub(super) labelled: Instant,
    pub(super) usage: Usage,
}

#[derive(Deserialize)]
struct Event {
    #[serde(default)]
    content: String,
    #[serde(default)]
    stop: bool,
    #[serde(default)]
    timings: Timings,
    error: Option<Value>,
}

/// Tokens, by what was done with them.
#[derive(Default, Deserialize)]
struct Timings {
    #[serde(default)]
    cache_n: u32,
    #[serde(default)]
    prompt_n: u32,
    #[serde(default)]
    predicted_n: u32,
}

/// Reads server-sent events up to the one that says that it is the last.
pub(super) fn read(events: impl BufRead) -> Result<Completed> {
    let (mut text, mut found) = (String::new(), None);
    for line in events.lines() {
        let line = line?;
        let Some(data) = line.strip_prefix("data:").or(line.strip_prefix("error:")) else {
            continue;
        };
        let event: Event = serde_json::from_str(data)?;
        if event.error.is_some() || line.starts_with("error:") {
            return Err(Error::other(problem(data)));
        }
        text.push_str(&event.content);
        if found.is_none() {
            found = label(&text).map(|label| (label, Instant::now()));
        }
        if event.stop {
            let none = || {
                Error::other(format!(
                    "the answer has no label: `{}`",
                    text.escape_debug()
                ))
            };
            let (label, labelled) = found.ok_or_else(none)?;
            let timings = event.timings;
            return Ok(Completed {
                label,
                labelled,
                usage: Usage {
                    prompt_tokens: timings.cache_n + timings.prompt_n,
                    cached_tokens: timings.cache_n,
                    generated_tokens: timings.predicted_n,
                },
            });
        }
    }
    Err(Error::other("the answer broke off"))
}

/// The label that the text begins with, once it is whole: none begins with another.
fn label(text: &str) -> Option<Label> {
    let mut labels = Label::ALL.into_iter();
    labels.find(|label| text.starts_with(label.as_str()))
}

/// What an error says, in one line.
pub(super) fn problem(text: &str) -> String {
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    let error = value.get("error").unwrap_or(&value);
    let message = error.get("message").and_then(Value::as_str);
    message.unwrap_or(text).escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(lines: &[&str]) -> Result<Completed> {
        read(lines.join("\n\n").as_bytes())
    }

    #[test]
    fn the_label_is_whole_when_the_streamed_text_holds_it() {
        assert_eq!(label("PENAL"), None);
        assert_eq!(label("PENALISE"), Some(Label::Penalise));
        assert_eq!(label("PASS\nNo rule"), Some(Label::Pass));
        let answered = answer(&[
            r#"data: {"content": "P", "stop": false}"#,
            r#"data: {"content": "ENALISE", "stop": false}"#,
            r#"data: {"content": "\nRule 6.", "stop": false}"#,
            r#"data: {"content": "", "stop": true, "tokens_evaluated": 300,
                "timings": {"cache_n": 270, "prompt_n": 30, "predicted_n": 9}}"#
                .replace('\n', "")
                .as_str(),
        ]);
        let answered = answered.unwrap();
        assert_eq!(answered.label, Label::Penalise);
        assert_eq!(
            (answered.usage.prompt_tokens, answered.usage.cached_tokens),
            (300, 270)
        );
        assert_eq!(answered.usage.generated_tokens, 9);
    }

    #[test]
    fn what_is_no_answer_is_an_error_that_says_why() {
        let message = |lines: &[&str]| answer(lines).err().unwrap().to_string();
        assert_eq!(
            message(&[r#"data: {"error": {"code": 500, "message": "no room"}}"#]),
            "no room"
        );
        assert!(message(&[r#"data: {"content": "PAS"}"#]).contains("broke off"));
        assert!(message(&[r#"data: {"content": "PAS", "stop": true}"#]).contains("`PAS`"));
    }
}
