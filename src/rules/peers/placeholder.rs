//! Names that stand where a real one should, by a list of patterns.

use std::collections::HashMap;
use std::ops::Range;

use crate::rules::company::is_form;
use crate::rules::draft::{Draft, Sentence, is_word};

/// The names that are compiled in.
const BUILT_IN: &str = include_str!("../../../models/placeholder-peers.txt");

/// A list of names, found by their first word.
#[derive(Clone, Debug, Default)]
pub struct Placeholders(HashMap<String, Vec<Vec<Part>>>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Word(String),
    /// One letter or digit.
    One,
    /// The first word has one more letter or digit, such as `StartupX`.
    Glued,
    Form,
}

/// Why a text is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no name: it needs a word of letters")]
pub struct NotAName(String);

impl NotAName {
    /// Gives a word back that has a letter in it.
    pub fn check(text: &str, word: String) -> Result<String, Self> {
        match word.contains(char::is_alphabetic) {
            true => Ok(word),
            false => Err(Self(text.trim().to_owned())),
        }
    }
}

impl Placeholders {
    pub fn built_in() -> Self {
        let mut list = Self::default();
        for line in BUILT_IN.lines().filter(|line| !line.starts_with('#')) {
            // What is no name is an empty line: a test holds the file to that.
            let _ = list.add(line);
        }
        list
    }

    /// Adds one name, as a line of the list.
    pub fn add(&mut self, name: &str) -> Result<(), NotAName> {
        let in_brackets = name.trim().starts_with('[');
        let mut parts = parts(name).into_iter();
        let first = match parts.next() {
            Some(Part::Word(word)) => word,
            _ => String::new(),
        };
        let first = NotAName::check(name, first)?;
        let key = match in_brackets {
            true => format!("[{first}"),
            false => first,
        };
        self.0.entry(key).or_default().push(parts.collect());
        Ok(())
    }

    /// The tokens of the longest name that begins here.
    pub fn at(&self, sentence: &Sentence<'_>, at: usize) -> Option<Range<usize>> {
        let token = sentence.token(at);
        if matches!(token, "[" | "{" | "<") {
            return self.in_brackets(sentence, at);
        }
        if !sentence.is_capital(at) {
            return None;
        }
        let end = self.longest(token, sentence, at + 1, true);
        let end = end.or_else(|| self.glued(sentence.written(at), token).then_some(at + 1))?;
        let form = is_form(sentence.token(end)) && sentence.is_capital(end);
        Some(at..end + usize::from(form))
    }

    /// `StartupX`, but not `STARTUPS`.
    fn glued(&self, written: &str, token: &str) -> bool {
        let Some((last, _)) = written.char_indices().next_back() else {
            return false;
        };
        let (stem, one) = written.split_at(last);
        let stem_lower = token.get(..last).unwrap_or_default();
        let names = self.0.get(stem_lower).into_iter().flatten();
        let mut glued = names.filter(|rest| matches!(rest.as_slice(), [Part::Glued]));
        is_one(one) && !stem.ends_with(char::is_uppercase) && glued.next().is_some()
    }

    fn in_brackets(&self, sentence: &Sentence<'_>, at: usize) -> Option<Range<usize>> {
        // `{{company}}`.
        let twice = sentence.token(at + 1) == sentence.token(at);
        let first = at + 1 + usize::from(twice);
        let key = format!("[{}", sentence.token(first));
        let end = self.longest(&key, sentence, first + 1, false)?;
        let closed = matches!(sentence.token(end), "]" | "}" | ">");
        closed.then_some(at..end + 1)
    }

    /// Where the longest name that begins with `first` ends.
    fn longest(
        &self,
        first: &str,
        sentence: &Sentence<'_>,
        from: usize,
        capital: bool,
    ) -> Option<usize> {
        let fits = |part: &Part, at: usize| {
            let token = sentence.token(at);
            let is_capital = !capital || sentence.is_capital(at);
            match part {
                Part::Word(word) => is_capital && token == word,
                // Not `Customer A/B tests`.
                Part::One => is_one(sentence.written(at)) && sentence.token(at + 1) != "/",
                Part::Form => is_capital && is_form(token),
                Part::Glued => false,
            }
        };
        let ends = self.0.get(first).into_iter().flatten().filter_map(|rest| {
            let mut fitting = rest.iter().zip(from..);
            fitting
                .all(|(part, at)| fits(part, at))
                .then_some(from + rest.len())
        });
        ends.max()
    }
}

/// `X`, `1`, but not the article `a`.
fn is_one(written: &str) -> bool {
    let mut chars = written.chars();
    let one = chars
        .next()
        .is_some_and(|c| c.is_uppercase() || c.is_ascii_digit());
    one && chars.next().is_none()
}

fn parts(name: &str) -> Vec<Part> {
    let name = Draft::new(name.trim());
    let mut parts = Vec::new();
    for sentence in name.sentences() {
        for at in 0..sentence.len() {
            let token = sentence.token(at);
            match token {
                "?" if at == 1 && sentence.is_joined(0) => parts.push(Part::Glued),
                "?" => parts.push(Part::One),
                token if at > 0 && is_form(token) => parts.push(Part::Form),
                token if is_word(token) => parts.push(Part::Word(token.to_owned())),
                _ => {}
            }
        }
    }
    parts
}
