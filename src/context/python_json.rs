//! JSON as Python's `json.dumps(value, indent=2)` writes it: the published adapter was trained on
//! that text, and reads no other as well.

use std::fmt::Write;

use serde_json::Value;

/// The text of a value, over several lines.
pub fn indented(value: &Value) -> String {
    let mut out = String::new();
    write_value(value, 0, &mut out);
    out
}

fn write_value(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => out.push_str(&python_number(number.as_str())),
        Value::String(text) => write_string(text, out),
        Value::Array(items) => {
            write_items("[]", items, depth, out, |item, out| {
                write_value(item, depth + 1, out);
            });
        }
        Value::Object(fields) => {
            write_items("{}", fields, depth, out, |(key, value), out| {
                write_string(key, out);
                out.push_str(": ");
                write_value(value, depth + 1, out);
            });
        }
    }
}

/// One item a line between two brackets; nothing between them where there is none.
fn write_items<T>(
    brackets: &str,
    items: impl IntoIterator<Item = T>,
    depth: usize,
    out: &mut String,
    write: impl Fn(T, &mut String),
) {
    let (open, close) = brackets.split_at(1);
    out.push_str(open);
    let mut separator = "";
    for item in items {
        out.push_str(separator);
        new_line(depth + 1, out);
        write(item, out);
        separator = ",";
    }
    if !separator.is_empty() {
        new_line(depth, out);
    }
    out.push_str(close);
}

fn new_line(depth: usize, out: &mut String) {
    out.push('\n');
    for _ in 0..depth {
        out.push_str("  ");
    }
}

/// All but printable ASCII is escaped, as UTF-16 units.
fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a string cannot fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
}

/// A number as Python reads and writes it: integers as they are, the rest as doubles.
fn python_number(text: &str) -> String {
    if text == "-0" {
        return "0".to_owned();
    }
    let is_integer = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'-');
    match text.parse::<f64>() {
        Ok(double) if !is_integer => python_float(double),
        _ => text.to_owned(),
    }
}

/// `repr(float)`: the shortest digits, as `{:?}` has them, with an exponent of a sign and two digits.
fn python_float(double: f64) -> String {
    if double.is_infinite() {
        let sign = if double < 0.0 { "-" } else { "" };
        return format!("{sign}Infinity");
    }
    let digits = format!("{double:?}");
    match digits.split_once('e') {
        None => digits,
        Some((mantissa, exponent)) => {
            let (sign, exponent) = match exponent.strip_prefix('-') {
                Some(exponent) => ('-', exponent),
                None => ('+', exponent),
            };
            format!("{mantissa}e{sign}{exponent:0>2}")
        }
    }
}
