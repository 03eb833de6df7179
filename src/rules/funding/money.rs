//! Sums of money as people write them: `$5M`, `5 million dollars`, `€5.000.000`, `Rs 10 crore`,
//! `a seven-figure …`.

use std::ops::Range;

use crate::rules::draft::Sentence;

/// A sum in a sentence.
pub struct Amount {
    pub tokens: Range<usize>,
    /// `None` for `seven-figure` and `multi-million`.
    pub value: Option<f64>,
    /// Whether a currency is named: without one, `5 million` may be users.
    pub has_currency: bool,
}

/// The sum that begins at a token.
pub fn at(sentence: &Sentence<'_>, start: usize) -> Option<Amount> {
    if let Some(length) = figure(sentence, start) {
        return Some(Amount {
            tokens: start..start + length,
            value: None,
            has_currency: true,
        });
    }
    let mut at = start;
    while at < start + 2 && is_currency_before(sentence.token(at)) {
        at += 1;
    }
    let has_sign = at > start;
    let (glued, number) = match without_code(sentence.token(at)) {
        Some(number) if !has_sign => (true, number),
        _ => (false, sentence.token(at)),
    };
    let (mut value, mut scaled) = read(number)?;
    at += 1;
    if let Some(factor) = (!scaled).then(|| scale(sentence.token(at))).flatten() {
        value *= factor;
        scaled = true;
        at += 1;
    }
    // `half a million`, `a million`: the word before is no number of its own.
    let has_code = is_currency_after(sentence.token(at));
    if has_code {
        at += 1;
    }
    let has_currency = has_sign || glued || has_code;
    (has_currency || scaled).then_some(Amount {
        tokens: start..at,
        value: Some(value),
        has_currency,
    })
}

impl Amount {
    /// A round of less would be no news; and a sum without a currency must be a large one.
    pub fn may_be_a_round(&self) -> bool {
        let least = if self.has_currency { 50_000.0 } else { 1e6 };
        self.value.is_none_or(|value| value >= least)
    }

    pub fn is(&self, other: f64) -> bool {
        self.value
            .is_some_and(|value| (value - other).abs() <= other.abs() * 0.02)
    }
}

/// `seven figure`, `multi million`: how many tokens.
fn figure(sentence: &Sentence<'_>, at: usize) -> Option<usize> {
    match (sentence.token(at), sentence.token(at + 1)) {
        ("six" | "seven" | "eight" | "nine" | "6" | "7" | "8" | "9", "figure" | "figures") => {
            Some(2)
        }
        ("multi", "million" | "billion") => Some(2),
        ("multimillion" | "multibillion", _) => Some(1),
        _ => None,
    }
}

/// A number with its scale, if it is written together: `5m`, `750,000`, `five`.
fn read(token: &str) -> Option<(f64, bool)> {
    if let Some(value) = word_number(token) {
        return Some((value, false));
    }
    let digits = token.trim_end_matches(|c: char| c.is_alphabetic());
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let value = plain(digits)?;
    match &token[digits.len()..] {
        "" => Some((value, false)),
        suffix => Some((value * scale(suffix)?, true)),
    }
}

/// `5`, `5.5`, `5,5`, `5,000,000`, `5.000.000`, `10,00,000`.
fn plain(digits: &str) -> Option<f64> {
    // More digits than any sum has.
    if digits.len() > 24 {
        return None;
    }
    let separator = digits.rfind([',', '.']);
    let Some(last) = separator else {
        return digits.parse().ok();
    };
    let kinds = digits.contains(',') && digits.contains('.');
    let several = digits.matches([',', '.']).count() > 1;
    let behind = digits.len() - last - 1;
    let is_fraction = behind != 3 || kinds;
    let whole = |text: &str| text.replace([',', '.'], "");
    if is_fraction && (kinds || !several) {
        let (before, after) = digits.split_at(last);
        format!("{}.{}", whole(before), &after[1..]).parse().ok()
    } else {
        whole(digits).parse().ok()
    }
}

#[rustfmt::skip]
fn word_number(token: &str) -> Option<f64> {
    let value = match token {
        "half" => 0.5, "a" | "one" => 1.0, "two" => 2.0, "three" => 3.0, "four" => 4.0,
        "five" => 5.0, "six" => 6.0, "seven" => 7.0, "eight" => 8.0, "nine" => 9.0, "ten" => 10.0,
        "eleven" => 11.0, "twelve" => 12.0, "thirteen" => 13.0, "fourteen" => 14.0,
        "fifteen" => 15.0, "sixteen" => 16.0, "seventeen" => 17.0, "eighteen" => 18.0,
        "nineteen" => 19.0, "twenty" => 20.0, "thirty" => 30.0, "forty" => 40.0, "fifty" => 50.0, "sixty" => 60.0, "seventy" => 70.0,
        "eighty" => 80.0, "ninety" => 90.0, "hundred" => 100.0,
        _ => return None,
    };
    Some(value)
}

#[rustfmt::skip]
fn scale(word: &str) -> Option<f64> {
    let factor = match word {
        "k" | "thousand" | "grand" => 1e3,
        "lakh" | "lakhs" | "lac" => 1e5,
        "m" | "mn" | "mm" | "mio" | "mil" | "mill" | "million" | "millions" => 1e6,
        "cr" | "crore" | "crores" => 1e7,
        "b" | "bn" | "billion" | "billions" => 1e9,
        _ => return None,
    };
    Some(factor)
}

/// `EUR5m`.
fn without_code(token: &str) -> Option<&str> {
    let code = token.get(..3)?;
    let number = token.get(3..)?;
    (is_code(code) && number.starts_with(|c: char| c.is_ascii_digit())).then_some(number)
}

fn is_currency_before(token: &str) -> bool {
    matches!(
        token,
        "$" | "€" | "£" | "¥" | "₹" | "₦" | "us" | "rs" | "r" | "kr"
    ) || is_code(token)
}

#[rustfmt::skip]
fn is_currency_after(token: &str) -> bool {
    matches!(
        token,
        "$" | "€" | "£" | "¥" | "₹" | "₦" | "dollar" | "dollars" | "euro" | "euros" | "pound"
            | "pounds" | "sterling" | "rupee" | "rupees" | "franc" | "francs" | "naira" | "birr"
            | "rand" | "shilling" | "shillings" | "yen" | "yuan" | "reais" | "kronor" | "kroner"
            | "bucks" | "kr"
    ) || is_code(token)
}

#[rustfmt::skip]
fn is_code(token: &str) -> bool {
    matches!(
        token,
        "usd" | "eur" | "gbp" | "chf" | "sek" | "nok" | "dkk" | "pln" | "czk" | "inr" | "jpy"
            | "cny" | "rmb" | "ngn" | "kes" | "ksh" | "zar" | "etb" | "egp" | "aud" | "cad" | "nzd"
            | "sgd" | "hkd" | "brl" | "mxn" | "ils" | "aed" | "ugx" | "ghs"
    )
}
