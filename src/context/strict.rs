//! What `serde_json` lets pass and we do not: keys given twice, and deep nesting.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::Value;

use super::ContextError;

/// The levels of nesting that a context may have, its own object counted.
pub const MAX_DEPTH: usize = 32;

/// `serde_json` names its numbers so where they keep their text.
const RESERVED: &str = "$serde_json::private::";

/// Longer keys are cut in messages.
const KEY_CHARS: usize = 60;

/// Counts the keys of a text that nobody has read yet. `serde_json` takes the string after a
/// reserved key for more JSON, whose levels it counts anew: enough of them overflow the stack.
pub fn scan(text: &str) -> Result<usize, ContextError> {
    let size = Size::of(text);
    if size.depth > MAX_DEPTH || size.has_reserved {
        find_fault(text)?;
    }
    Ok(size.keys)
}

/// Checks the value that was read: a key that stands twice is one entry of it.
pub fn check(text: &str, keys: usize, value: &Value) -> Result<(), ContextError> {
    if keys == keys_in(value) {
        return Ok(());
    }
    find_fault(text)
}

/// What a text holds, as far as it can be told in one pass without keeping anything.
struct Size {
    depth: usize,
    keys: usize,
    has_reserved: bool,
}

impl Size {
    fn of(text: &str) -> Self {
        let bytes = text.as_bytes();
        let mut size = Self {
            depth: 0,
            keys: 0,
            has_reserved: false,
        };
        let mut depth: usize = 0;
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            match byte {
                b'{' | b'[' => {
                    depth += 1;
                    size.depth = size.depth.max(depth);
                }
                b'}' | b']' => depth = depth.saturating_sub(1),
                b'"' => {
                    let end = string_end(bytes, at);
                    if is_key(bytes, end) {
                        size.keys += 1;
                        size.has_reserved |= is_reserved(text.get(at..end).unwrap_or_default());
                    }
                    at = end;
                    continue;
                }
                _ => {}
            }
            at += 1;
        }
        size
    }
}

/// Of a key with its quotes.
fn is_reserved(raw: &str) -> bool {
    // Few keys begin so, and only these are unescaped.
    raw.get(1..).is_some_and(|key| key.starts_with(['$', '\\']))
        && key_of(raw).is_ok_and(|key| key.starts_with(RESERVED))
}

fn keys_in(value: &Value) -> usize {
    match value {
        Value::Object(fields) => fields.len() + fields.values().map(keys_in).sum::<usize>(),
        Value::Array(values) => values.iter().map(keys_in).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// Tells what is wrong, and where.
///
/// It scans the text rather than visiting the document, since to a visitor a number that keeps its
/// text looks like an object with a reserved key.
fn find_fault(text: &str) -> Result<(), ContextError> {
    let bytes = text.as_bytes();
    let mut open: Vec<HashSet<Cow<'_, str>>> = Vec::new();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'{' | b'[' => {
                open.push(HashSet::new());
                if open.len() > MAX_DEPTH {
                    let (line, column) = position(bytes, at);
                    return Err(ContextError::TooDeep { line, column });
                }
            }
            b'}' | b']' => {
                open.pop();
            }
            b'"' => {
                let end = string_end(bytes, at);
                if is_key(bytes, end) {
                    let raw = text.get(at..end).unwrap_or_default();
                    // `serde_json` reads no further either, and tells where.
                    let Ok(key) = key_of(raw) else {
                        return Ok(());
                    };
                    check_key(key, open.last_mut(), || position(bytes, at))?;
                }
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    Ok(())
}

/// What stands between quotes.
fn key_of(raw: &str) -> serde_json::Result<Cow<'_, str>> {
    match raw.get(1..raw.len().saturating_sub(1)) {
        Some(plain) if !plain.contains('\\') => Ok(Cow::Borrowed(plain)),
        _ => serde_json::from_str(raw).map(Cow::Owned),
    }
}

fn check_key<'t>(
    key: Cow<'t, str>,
    seen: Option<&mut HashSet<Cow<'t, str>>>,
    position: impl Fn() -> (usize, usize),
) -> Result<(), ContextError> {
    if key.starts_with(RESERVED) {
        let (line, column) = position();
        let key = shown(&key);
        return Err(ContextError::ReservedKey { key, line, column });
    }
    if let Some(seen) = seen {
        if seen.contains(&key) {
            let (line, column) = position();
            let key = shown(&key);
            return Err(ContextError::DuplicateKey { key, line, column });
        }
        seen.insert(key);
    }
    Ok(())
}

/// The index after the closing quote of the string that opens at `start`.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    loop {
        match bytes.get(at) {
            Some(b'\\') => at += 2,
            Some(b'"') => return at + 1,
            Some(_) => at += 1,
            None => return bytes.len(),
        }
    }
}

/// In valid JSON only a key is followed by a colon.
fn is_key(bytes: &[u8], end: usize) -> bool {
    let rest = bytes.get(end..).unwrap_or_default();
    rest.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b':')
}

/// Line and column, from 1; the column counts bytes, as `serde_json`'s does.
fn position(bytes: &[u8], at: usize) -> (usize, usize) {
    let before = bytes.get(..at).unwrap_or_default();
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let line_start = before.iter().rposition(|byte| *byte == b'\n');
    (line, at + 1 - line_start.map_or(0, |newline| newline + 1))
}

fn shown(key: &str) -> String {
    let mut shown: String = key.chars().take(KEY_CHARS).collect();
    if shown.len() < key.len() {
        shown.push('…');
    }
    shown.escape_debug().to_string()
}
