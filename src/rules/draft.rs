//! A text as sentences of words, read once for all rules that look into it.

use std::cell::OnceCell;
use std::ops::Range;

/// A sentence without an end is cut here.
const MAX_TOKENS: usize = 200;

/// A draft, or a text of the context, that is cut into words when a rule first asks.
pub struct Draft<'a> {
    text: &'a str,
    tokens: OnceCell<Tokens>,
}

/// A token is a word, which may hold digits, or a single mark such as `$` or `,`. Apostrophes,
/// hyphens and underscores inside a word end it and are no token: `can't` is `can t`.
struct Tokens {
    /// The text in lower case (ASCII only, so that places stay).
    lower: String,
    places: Vec<Range<usize>>,
    /// Ranges of `places`.
    sentences: Vec<Range<usize>>,
}

impl<'a> Draft<'a> {
    pub fn new(text: &'a str) -> Self {
        Self {
            text,
            tokens: OnceCell::new(),
        }
    }

    pub fn sentences(&self) -> impl Iterator<Item = Sentence<'_>> {
        let tokens = self.tokens.get_or_init(|| Tokens::read(self.text));
        tokens.sentences.iter().map(|range| Sentence {
            text: self.text,
            lower: &tokens.lower,
            places: &tokens.places[range.clone()],
        })
    }
}

/// Tokens up to a full stop, a question mark, an empty line and the like.
#[derive(Clone, Copy)]
pub struct Sentence<'d> {
    text: &'d str,
    lower: &'d str,
    places: &'d [Range<usize>],
}

impl<'d> Sentence<'d> {
    /// The number of tokens.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// A token in lower case; empty beyond the sentence.
    pub fn token(&self, at: usize) -> &'d str {
        super::step();
        self.places
            .get(at)
            .map_or("", |place| &self.lower[place.clone()])
    }

    /// A token as it was written; empty beyond the sentence.
    pub fn written(&self, at: usize) -> &'d str {
        self.places
            .get(at)
            .map_or("", |place| &self.text[place.clone()])
    }

    pub fn is_capital(&self, at: usize) -> bool {
        self.written(at).starts_with(char::is_uppercase)
    }

    /// Whether nothing stands between a token and the next.
    pub fn is_joined(&self, at: usize) -> bool {
        match (self.places.get(at), self.places.get(at + 1)) {
            (Some(one), Some(next)) => one.end == next.start,
            _ => false,
        }
    }

    pub fn is_question(&self) -> bool {
        self.len() > 0 && self.token(self.len() - 1) == "?"
    }

    /// The text from the first to the last of some tokens.
    pub fn quote(&self, tokens: Range<usize>) -> &'d str {
        let last = tokens.end.min(self.len()).saturating_sub(1);
        match (self.places.get(tokens.start), self.places.get(last)) {
            (Some(first), Some(last)) if first.start < last.end => {
                &self.text[first.start..last.end]
            }
            _ => "",
        }
    }
}

pub fn is_word(token: &str) -> bool {
    token.starts_with(char::is_alphanumeric)
}

impl Tokens {
    fn read(text: &str) -> Self {
        let mut tokens = Self {
            lower: text.to_ascii_lowercase(),
            places: Vec::new(),
            sentences: Vec::new(),
        };
        let mut begin = 0;
        let mut at = 0;
        while let Some(c) = text[at..].chars().next() {
            let next = at + c.len_utf8();
            if c.is_alphanumeric() {
                let end = word_end(text, at);
                tokens.places.push(at..end);
                at = end;
            } else if c == '\n' {
                if ends_paragraph(&text[next..]) {
                    tokens.end_sentence(&mut begin);
                }
                at = next;
            } else if c.is_whitespace() || c.is_control() || is_inside_word(text, at, c) {
                at = next;
            } else {
                let is_stop = c == '.' && tokens.is_full_stop(text, next);
                // A dot inside a name or behind an abbreviation is no mark.
                if is_stop || c != '.' {
                    tokens.places.push(at..next);
                }
                if is_stop || matches!(c, '!' | '?' | '…' | '。') {
                    tokens.end_sentence(&mut begin);
                }
                at = next;
            }
            if tokens.places.len() - begin >= MAX_TOKENS {
                tokens.end_sentence(&mut begin);
            }
        }
        tokens.end_sentence(&mut begin);
        tokens
    }

    fn end_sentence(&mut self, begin: &mut usize) {
        if self.places.len() > *begin {
            self.sentences.push(*begin..self.places.len());
            *begin = self.places.len();
        }
    }

    /// Whether the dot before `next` ends a sentence.
    fn is_full_stop(&self, text: &str, next: usize) -> bool {
        let rest = &text[next..];
        let closed = rest.trim_start_matches(['"', '\'', '”', '’', ')']);
        if !closed.is_empty() && !closed.starts_with(char::is_whitespace) {
            return false;
        }
        let after = closed.trim_start().chars().next();
        let word = |back| {
            let place = self.places.iter().nth_back(back);
            place.map_or("", |place| &self.lower[place.clone()])
        };
        let last = word(0);
        let is_letter = last.chars().count() == 1 && last.starts_with(char::is_alphabetic);
        // The letter of `Series A.` is no initial.
        let is_short = is_abbreviation(last) || is_letter && word(1) != "series";
        match after {
            Some(after) => !after.is_lowercase() && !is_short,
            None => true,
        }
    }
}

/// The end of the word at a place; `1,000.50` is one.
fn word_end(text: &str, start: usize) -> usize {
    let mut end = start;
    let mut before = ' ';
    let mut chars = text[start..].chars().peekable();
    while let Some(c) = chars.next() {
        let joins = matches!(c, '.' | ',')
            && before.is_ascii_digit()
            && chars.peek().is_some_and(char::is_ascii_digit);
        if !c.is_alphanumeric() && !joins {
            break;
        }
        end += c.len_utf8();
        before = c;
    }
    end
}

fn is_inside_word(text: &str, at: usize, c: char) -> bool {
    matches!(c, '\'' | '’' | '-' | '‑' | '_')
        && text[..at].ends_with(char::is_alphanumeric)
        && text[at + c.len_utf8()..].starts_with(char::is_alphanumeric)
}

/// Whether a line break is one between sentences: before an empty line or an item of a list.
fn ends_paragraph(rest: &str) -> bool {
    let line = rest.trim_start_matches([' ', '\t', '\r']);
    line.is_empty() || line.starts_with(['\n', '-', '*', '•', '–', '>'])
}

#[rustfmt::skip]
fn is_abbreviation(word: &str) -> bool {
    matches!(
        word,
        "mr" | "mrs" | "ms" | "dr" | "st" | "vs" | "rs" | "approx" | "ca" | "eg" | "ie" | "jr" | "sr"
    )
}
