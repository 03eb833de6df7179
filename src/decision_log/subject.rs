//! What was judged, as it may be kept.

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::mask::{MASKED, Mask, Masked};
use crate::channel::Channel;
use crate::context::Context;
use crate::verdict::Case;

/// A longer name of a prospect is kept as its hash.
const PROSPECT_BYTES: usize = 200;

#[derive(Clone, Debug, PartialEq)]
pub struct Subject {
    /// Who is written to: the context's `prospect_id`, else its `company`, else the
    /// context's hash. A hash too where that value is masked.
    pub prospect: String,
    pub channel: Channel,
    /// Of the context without spaces, before anything was masked.
    pub context_sha256: [u8; 32],
    pub draft_sha256: [u8; 32],
    /// Where masked values stood, as in `$['context']['email']`.
    pub masked: Vec<String>,
    /// `None` where it is not kept, or was not asked for.
    pub content: Option<Content>,
}

/// The judged texts, masked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// JSON; an object unless all of it is masked.
    pub context: String,
    pub draft: String,
}

impl Subject {
    pub fn of(case: &Case, mask: &Mask) -> Self {
        let context = case.context.to_compact();
        let context_sha256 = sha256(&context);
        let whole = Content {
            context,
            draft: case.draft.clone(),
        };
        let (content, masked) = match mask.may_select_in(case.context.as_json()) {
            true => whole.masked(case, mask),
            false => (whole, Masked::default()),
        };
        Self {
            prospect: prospect(&case.context, &masked, &context_sha256),
            channel: case.channel(),
            context_sha256,
            draft_sha256: sha256(&case.draft),
            content: Some(content),
            masked: masked.paths,
        }
    }
}

impl Content {
    fn masked(self, case: &Case, mask: &Mask) -> (Self, Masked) {
        let mut values = Value::from_iter([
            ("context", case.context.as_json().clone()),
            ("draft", Value::from(case.draft.as_str())),
        ]);
        let masked = mask.apply(&mut values);
        if masked.paths.is_empty() {
            return (self, masked);
        }
        let mut part = |name: &str| {
            values
                .get_mut(name)
                .map_or_else(|| MASKED.into(), Value::take)
        };
        let draft = match part("draft") {
            Value::String(text) => text,
            other => other.to_string(),
        };
        let context = part("context").to_string();
        (Self { context, draft }, masked)
    }
}

fn prospect(context: &Context, masked: &Masked, context_sha256: &[u8; 32]) -> String {
    let named = ["prospect_id", "company"].into_iter().find_map(|field| {
        let name = match context.get(field)? {
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        (!name.is_empty()).then_some((field, name))
    });
    match named {
        Some((field, name)) => {
            let hidden = masked.holds(&format!("/context/{field}"));
            if hidden || name.len() > PROSPECT_BYTES {
                hash_name(&sha256(&name))
            } else {
                name
            }
        }
        None => hash_name(context_sha256),
    }
}

fn hash_name(hash: &[u8; 32]) -> String {
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn sha256(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}
