//! Whether a company is large, from a number or a text such as `3,200`, `3.2k` or `1,001-5,000`.

use serde_json::Value;

/// A company is large with more people than this.
pub const LARGE: u32 = 2_000;

/// `None` where the value does not tell: no headcount at all, or a range on both sides of the line.
pub fn is_large(value: &Value) -> Option<bool> {
    let range = match value {
        Value::Number(number) => {
            let exact = count(number.as_str())?;
            Range::between(exact, exact)
        }
        Value::String(text) => range(text)?,
        _ => return None,
    };
    let line = f64::from(LARGE);
    if range.least > line {
        Some(true)
    } else if range.most <= line {
        Some(false)
    } else {
        None
    }
}

/// Both ends belong to it.
struct Range {
    least: f64,
    most: f64,
}

impl Range {
    fn between(least: f64, most: f64) -> Range {
        Range { least, most }
    }
}

fn range(text: &str) -> Option<Range> {
    let text = text.trim().to_lowercase();
    let text = ["employees", "people", "staff", "ftes", "fte"]
        .iter()
        .find_map(|unit| text.strip_suffix(unit))
        .unwrap_or(&text)
        .trim();
    let after = |words: &[&str]| count(words.iter().find_map(|word| text.strip_prefix(word))?);
    if let Some(most) = after(&["<=", "≤", "up to "]) {
        return Some(Range::between(0.0, most));
    }
    if let Some(beyond) = after(&["<", "under ", "less than ", "fewer than "]) {
        return Some(Range::between(0.0, beyond - 1.0));
    }
    if let Some(least) = after(&[">=", "≥", "at least "]) {
        return Some(Range::between(least, f64::INFINITY));
    }
    if let Some(beyond) = after(&[">", "over ", "more than "]) {
        return Some(Range::between(beyond + 1.0, f64::INFINITY));
    }
    if let Some(least) = text.strip_suffix('+') {
        return Some(Range::between(count(least)?, f64::INFINITY));
    }
    if let Some(exact) = count(text) {
        return Some(Range::between(exact, exact));
    }
    let (least, most) = ["-", "–", "—", " to "]
        .iter()
        .find_map(|dash| text.split_once(dash))?;
    let (least, most) = (count(least)?, count(most)?);
    (least <= most).then_some(Range::between(least, most))
}

/// A whole number of people, at least one: a zero in such data means that nobody knows.
fn count(text: &str) -> Option<f64> {
    let text = text.trim();
    let (text, unit) = match text.strip_suffix('k') {
        Some(thousands) => (thousands, 1_000.0),
        None => (text, 1.0),
    };
    // `5.000` may be five, or five thousand.
    if unit == 1.0 && is_thousands_or_decimals(text) {
        return None;
    }
    // `f64` would read `nan`, `inf` and signs too.
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let people = ungroup(text)?.parse::<f64>().ok()? * unit;
    let whole = people.round();
    // 2.001 * 1000 is a little less than 2001.
    let is_whole = (people - whole).abs() < 1e-6;
    (is_whole && whole.is_finite() && whole >= 1.0).then_some(whole)
}

fn is_thousands_or_decimals(text: &str) -> bool {
    let ends = text.rsplit_once('.');
    ends.is_some_and(|(before, behind)| before.len() <= 3 && behind.len() == 3)
}

/// `12,000`, `12'000` and `12 000` without what groups the digits; `None` where the groups are odd.
fn ungroup(text: &str) -> Option<String> {
    let is_separator = |c: char| matches!(c, ',' | '\'' | '’' | '_') || c.is_whitespace();
    let mut groups = text.split(is_separator);
    let mut digits = groups.next()?.to_owned();
    let is_grouped = text.contains(is_separator);
    if is_grouped && digits.len() > 3 {
        return None;
    }
    for group in groups {
        if group.len() != 3 || !group.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        digits.push_str(group);
    }
    Some(digits)
}
