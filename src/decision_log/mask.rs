//! What of a judged content must not be kept.

use std::collections::{BTreeSet, HashSet};
use std::ptr;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;
use serde_json_path::JsonPath;

/// What stands in the place of a masked value.
pub const MASKED: &str = "[masked]";

/// The paths to the masked values of one content have at most so many bytes together.
const PATHS_BYTES: usize = 64 << 10;

/// What is masked unless the operator says otherwise: how to reach the recipient, as CRMs spell it, and
/// `recipient_name`; no `FirstName`. A name in a path is one spelling.
pub const DEFAULT_PATH: &str = "$.context..[\
    'email','Email','emails','Emails','email_address','emailAddress','EmailAddress',\
    'work_email','workEmail','WorkEmail','recipient_email','recipientEmail','RecipientEmail',\
    'phone','Phone','phones','Phones','phone_number','phoneNumber','PhoneNumber',\
    'mobile','Mobile','mobilephone','mobile_phone','mobilePhone','MobilePhone',\
    'recipient_phone','recipientPhone','RecipientPhone',\
    'recipient_name','recipientName','RecipientName',\
    'linkedin_url','linkedinUrl','linkedInUrl','LinkedInUrl']";

/// JSON paths (RFC 9535) into `{"context": …, "draft": …}`.
#[derive(Clone, Debug)]
pub struct Mask {
    paths: Vec<Path>,
}

#[derive(Clone, Debug)]
struct Path {
    query: JsonPath,
    /// The fields of the context that it selects, where it selects those of some names alone.
    names: Option<BTreeSet<String>>,
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
                Ok(query) => parsed.push(Path {
                    query,
                    names: names_in(path),
                }),
                Err(error) => wrong.push(format!("`{path}` is no JSON path: {error}")),
            }
        }
        if wrong.is_empty() {
            Ok(Self { paths: parsed })
        } else {
            Err(MaskError(wrong))
        }
    }

    /// Whether there may be something to mask where such a context is judged. Most have nothing, and
    /// a query looks at each value once for each name.
    pub(super) fn may_select_in(&self, context: &Value) -> bool {
        self.paths.iter().any(|path| match &path.names {
            Some(names) => has_field(context, names),
            None => true,
        })
    }

    /// Masks the values; tells where they stood, as normalized paths.
    pub(super) fn apply(&self, content: &mut Value) -> Masked {
        let whole: &Value = content;
        let nodes = self.paths.iter().flat_map(|path| path.query.query(whole));
        // A query that told the places would copy the place of each value once for each name.
        let mut selected: HashSet<*const Value> = nodes.map(ptr::from_ref).collect();
        let mut found = Found::default();
        if !selected.is_empty() {
            hide(content, &Place::Whole, &selected, &mut found);
        }
        if found.is_too_long() {
            // Each path repeats the names around its value, and one may be as long as the message.
            selected.extend(content.get("context").map(ptr::from_ref));
            found = Found::default();
            hide(content, &Place::Whole, &selected, &mut found);
        }
        found.places.sort();
        let mut masked = Masked::default();
        for (_, pointer, path) in found.places {
            masked.pointers.push(pointer);
            masked.paths.push(path);
        }
        masked
    }
}

impl Default for Mask {
    fn default() -> Self {
        // A test reads it.
        Self::new(&[DEFAULT_PATH.to_owned()]).unwrap_or(Self { paths: Vec::new() })
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

/// Where a value stands: in another, by its name or its index.
enum Place<'a> {
    Whole,
    Name(&'a Place<'a>, &'a str),
    Index(&'a Place<'a>, usize),
}

/// How deep a value stood, its JSON pointer and its normalized path.
type Told = (usize, String, String);

/// Where masked values stood.
#[derive(Default)]
struct Found {
    places: Vec<Told>,
    /// Of the paths.
    bytes: usize,
}

impl Found {
    fn push(&mut self, place: &Place<'_>) {
        let told = place.told();
        self.bytes += told.2.len();
        self.places.push(told);
    }

    fn is_too_long(&self) -> bool {
        self.bytes > PATHS_BYTES
    }
}

impl Place<'_> {
    fn told(&self) -> Told {
        match self {
            Place::Whole => (0, String::new(), "$".to_owned()),
            Place::Name(holder, name) => {
                let (depth, mut pointer, mut path) = holder.told();
                pointer.push('/');
                pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
                path.push_str("['");
                push_escaped(&mut path, name);
                path.push_str("']");
                (depth + 1, pointer, path)
            }
            Place::Index(holder, index) => {
                let (depth, mut pointer, mut path) = holder.told();
                let index = index.to_string();
                pointer.push('/');
                pointer.push_str(&index);
                path.push('[');
                path.push_str(&index);
                path.push(']');
                (depth + 1, pointer, path)
            }
        }
    }
}

/// A name as normalized paths have it: what could end it or break the line is escaped.
fn push_escaped(path: &mut String, name: &str) {
    for c in name.chars() {
        match c {
            '\'' | '\\' => path.extend(['\\', c]),
            '\u{8}' => path.push_str(r"\b"),
            '\t' => path.push_str(r"\t"),
            '\n' => path.push_str(r"\n"),
            '\u{c}' => path.push_str(r"\f"),
            '\r' => path.push_str(r"\r"),
            c if c < ' ' => path.push_str(&format!(r"\u{:04x}", u32::from(c))),
            c => path.push(c),
        }
    }
}

/// Masks what is selected, with all that it holds, until the paths are too long. A context is never
/// deep: it was read strictly.
fn hide(value: &mut Value, place: &Place<'_>, selected: &HashSet<*const Value>, found: &mut Found) {
    if found.is_too_long() {
        return;
    }
    if selected.contains(&ptr::from_ref::<Value>(value)) {
        *value = MASKED.into();
        found.push(place);
        return;
    }
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                hide(value, &Place::Name(place, name), selected, found);
            }
        }
        Value::Array(values) => {
            for (index, value) in values.iter_mut().enumerate() {
                hide(value, &Place::Index(place, index), selected, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The names in a path such as `$.context..['email','phone']`.
fn names_in(path: &str) -> Option<BTreeSet<String>> {
    let names = path.strip_prefix("$.context..['")?.strip_suffix("']")?;
    let names = names.split("','").map(str::to_owned);
    let names: BTreeSet<String> = names.collect();
    // Else it says more than names, or spells them otherwise.
    let are_plain = names.iter().all(|name| !name.contains(['\'', '\\']));
    are_plain.then_some(names)
}

/// Whether a field of such a name is in a value, at any depth. A context is never deep.
fn has_field(value: &Value, names: &BTreeSet<String>) -> bool {
    match value {
        Value::Object(fields) => fields
            .iter()
            .any(|(name, value)| names.contains(name) || has_field(value, names)),
        Value::Array(values) => values.iter().any(|value| has_field(value, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
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
