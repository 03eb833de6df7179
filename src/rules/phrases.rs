//! Tables of phrases, found in a sentence by their first word.

use std::collections::HashMap;
use std::ops::Range;

use super::draft::Sentence;

/// Phrases of one or more tokens, in lower case.
pub struct Phrases(HashMap<&'static str, Vec<Vec<&'static str>>>);

impl Phrases {
    /// One phrase a line, or several with commas between them.
    pub fn new(text: &'static str) -> Self {
        let mut by_first: HashMap<_, Vec<Vec<_>>> = HashMap::new();
        for phrase in text.split([',', '\n']) {
            let mut words = phrase.split_whitespace();
            if let Some(first) = words.next() {
                by_first.entry(first).or_default().push(words.collect());
            }
        }
        Self(by_first)
    }

    /// The length of the longest phrase that stands at a token.
    pub fn at(&self, sentence: &Sentence<'_>, at: usize) -> Option<usize> {
        let rests = self.0.get(sentence.token(at))?;
        let fitting = rests.iter().filter(|rest| {
            let mut rest = rest.iter().zip(at + 1..);
            rest.all(|(word, at)| sentence.token(at) == *word)
        });
        fitting.map(|rest| rest.len() + 1).max()
    }

    /// The first of these phrases that begins in a range of tokens.
    pub fn find(&self, sentence: &Sentence<'_>, within: Range<usize>) -> Option<Range<usize>> {
        let end = within.end.min(sentence.len());
        (within.start..end).find_map(|at| Some(at..at + self.at(sentence, at)?))
    }

    pub fn is_in(&self, sentence: &Sentence<'_>) -> bool {
        self.find(sentence, 0..sentence.len()).is_some()
    }
}
