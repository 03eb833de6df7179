//! What of a judged content must not be kept.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;
use serde_json_path::JsonPath;

/// What stands in the place of a masked value.
pub const MASKED: &str = "[masked]";

/// What is masked unless the operator says otherwise: who the recipient is and
/// how to reach that person.
pub const DEFAULT_PATHS: [&str; 6] = [
    "$.context..email",
    "$.context..recipient_email",
    "$.context..phone",
    "$.context..recipient_phone",
    "$.context..recipient_name",
    "$.context..linkedin_url",
];

/// JSON paths (RFC 9535) into `{"context": …, "draft": …}`.
#[derive(Clone, Debug)]
pub struct Mask {
    paths: Vec<JsonPath>,
}

/// Each path that is none, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct MaskError(pub Vec<String>);

impl Mask {
    /// No path masks nothing.
    pub fn new(paths: &[String]) -> Result<Self, MaskError> {
        let mut wrong = Vec::new();
        let mut parsed = Vec::new();
        for path in paths {
            match JsonPath::parse(path) {
                Ok(_) if !can_select(path) => wrong.push(format!(
                    "`{path}` would mask nothing: a path begins with `$.context`, `$.draft` or `$..`"
                )),
                Ok(path) => parsed.push(path),
                Err(error) => wrong.push(format!("`{path}` is no JSON path: {error}")),
            }
        }
        if wrong.is_empty() {
            Ok(Self { paths: parsed })
        } else {
            Err(MaskError(wrong))
        }
    }

    /// Masks the values; tells where they stood, as normalized paths.
    pub(super) fn apply(&self, content: &mut Value) -> Masked {
        let mut found: Vec<(usize, String, String)> = Vec::new();
        for path in &self.paths {
            // Most select nothing, which costs less to tell without the places.
            if path.query(content).is_empty() {
                continue;
            }
            let nodes = path.query_located(content);
            found.extend(nodes.iter().map(|node| {
                let location = node.location();
                let pointer = location.to_json_pointer();
                (location.len(), pointer, location.to_string())
            }));
        }
        // A masked value has no parts any more: the outer ones go first.
        found.sort();
        found.dedup();
        let mut masked = Masked::default();
        for (_, pointer, path) in found {
            if let Some(value) = content.pointer_mut(&pointer) {
                *value = MASKED.into();
                masked.pointers.push(pointer);
                masked.paths.push(path);
            }
        }
        masked
    }
}

impl Default for Mask {
    fn default() -> Self {
        // A test reads every default path.
        let paths = DEFAULT_PATHS.iter().flat_map(|path| JsonPath::parse(path));
        Self {
            paths: paths.collect(),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Masked {
    pointers: Vec<String>,
    pub paths: Vec<String>,
}

impl Masked {
    /// Whether the value at a JSON pointer is masked, itself or with what holds it.
    pub fn holds(&self, pointer: &str) -> bool {
        self.pointers.iter().any(|masked| {
            pointer
                .strip_prefix(masked.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }
}

/// Whether the first step of a path can lead anywhere: the content has two keys.
fn can_select(path: &str) -> bool {
    static FIRST_STEP: LazyLock<Option<Regex>> = LazyLock::new(|| {
        let step = r#"^\s*\$\s*($|\.\.|\.\s*\*|\[\s*[*?]|\.\s*(context|draft)($|[\s.\[])|\[\s*['"](context|draft)['"])"#;
        Regex::new(step).ok()
    });
    FIRST_STEP.as_ref().is_none_or(|step| step.is_match(path))
}
