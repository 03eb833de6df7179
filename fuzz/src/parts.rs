//! One input made of two, so that its file can be read and written by hand.

use judged::context::Context;
use judged::verdict::Case;
use serde_json::json;

const BETWEEN: &[u8] = b"\n---\n";

/// What stands before the first line of three dashes, and what after it.
pub fn two(bytes: &[u8]) -> (&[u8], &[u8]) {
    let at = bytes
        .windows(BETWEEN.len())
        .position(|window| window == BETWEEN);
    match at {
        Some(at) => (&bytes[..at], &bytes[at + BETWEEN.len()..]),
        None => (bytes, b""),
    }
}

/// A context and a draft. What is no context becomes one with a note, so that no input is
/// lost.
pub fn case(bytes: &[u8]) -> Case {
    let (context, draft) = two(bytes);
    let context = String::from_utf8_lossy(context);
    Case {
        context: Context::parse(&context).unwrap_or_else(|_| noted(&context)),
        draft: String::from_utf8_lossy(draft).into_owned(),
        requested_channel: None,
    }
}

fn noted(text: &str) -> Context {
    let object = json!({ "note": text, "available_signals": { "note": [text] } });
    Context::parse(&object.to_string()).expect("an object of strings is a context")
}
