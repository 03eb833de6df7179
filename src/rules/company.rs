//! The prospect's own company, as a draft may name it.

use serde_json::Value;

use super::draft::{Draft, Sentence, is_word};
use crate::context::Context;

/// The words of its name, in lower case and without the legal form.
pub struct Company(Vec<String>);

impl Company {
    pub fn of(context: &Context) -> Self {
        let paths = ["company", "company_name", "prospect_company"];
        let name = paths
            .into_iter()
            .find_map(|path| context.all_at(path).find_map(Value::as_str));
        let draft = Draft::new(name.unwrap_or_default());
        let sentence = draft.sentences().next();
        let words = sentence
            .iter()
            .flat_map(|name| (0..name.len()).map(|at| name.token(at)));
        let words = words.filter(|word| is_word(word) && !is_form(word));
        Self(words.take(8).map(str::to_owned).collect())
    }

    /// How many tokens of the name stand here: all, or a first word that is no common one.
    pub fn at(&self, sentence: &Sentence<'_>, at: usize) -> usize {
        let same = self
            .0
            .iter()
            .zip(at..)
            .take_while(|(word, at)| sentence.token(*at) == *word);
        let count = same.count();
        let is_short = count > 0 && sentence.is_capital(at) && self.0[0].chars().count() >= 4;
        if count == self.0.len() || is_short {
            count
        } else {
            0
        }
    }

    /// Whether the name, or its start, ends with this token.
    pub fn ends_at(&self, sentence: &Sentence<'_>, at: usize) -> bool {
        let at = match is_form(sentence.token(at)) {
            true => at.saturating_sub(1),
            false => at,
        };
        let first = (at + 1).saturating_sub(self.0.len());
        (first..=at).any(|start| start + self.at(sentence, start) == at + 1)
    }

    /// Whether these words, in lower case, begin the name.
    pub fn is_named_by(&self, words: &[&str]) -> bool {
        let words = || words.iter().filter(|word| is_word(word) && !is_form(word));
        let same = words().zip(&self.0).all(|(word, own)| word == own);
        words().count() > 0 && words().count() <= self.0.len() && same
    }
}

/// A legal form, or a word that stands for one.
#[rustfmt::skip]
pub fn is_form(word: &str) -> bool {
    matches!(
        word,
        "inc" | "incorporated" | "corp" | "corporation" | "ltd" | "limited" | "llc" | "llp" | "plc"
            | "gmbh" | "ag" | "ab" | "as" | "oy" | "sa" | "sas" | "sarl" | "srl" | "spa" | "bv" | "nv"
            | "kg" | "pty" | "pvt" | "uab" | "oü" | "co"
    )
}
