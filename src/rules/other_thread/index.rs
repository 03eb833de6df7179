//! The texts of other threads by their words, and what of them a sentence has.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::sync::LazyLock;

use super::field::is_role;
use super::foreign::Threads;
use crate::rules::draft::{Draft, Sentence, is_word};
use crate::rules::phrases::Phrases;
use crate::rules::step;

/// Words by which a draft passes on what somebody else said.
static TOLD: LazyLock<Phrases> = LazyLock::new(|| {
    Phrases::new(
        "mentioned, mentions, said, says, told, tells, noted, shared, wrote, writes, asked, wants
        thinks, thread, conversation, call with, chat with, talk with, discussing, discussed
        discussion, in confidence, is pushing, is planning, is considering, plans to, pushing for
        promised, raised, explained, named, let us know, let me know, confirmed, brought up",
    )
});

/// Words by which it says where it has that from.
static THREAD: LazyLock<Phrases> = LazyLock::new(|| {
    Phrases::new(
        "in her thread, in his thread, in their thread, s thread, other thread, separate thread, parallel thread, other conversation",
    )
});

/// Words that a foreign text is made of, at most.
const MAX_WORDS: usize = 400;
/// Words in a row that are a quotation.
const RUN: usize = 4;

/// What a sentence has of a foreign text, or of the thread that it is in.
pub struct Sign<'d> {
    pub text: Option<usize>,
    pub strength: Strength,
    pub quote: &'d str,
}

/// The foreign texts by their words.
pub struct Index {
    texts: Vec<Text>,
    /// The texts that a distinctive word stands in.
    by_word: HashMap<String, Vec<usize>>,
    /// Runs of words, each with its text.
    runs: HashMap<[String; RUN], usize>,
    people: HashSet<String>,
    pub has_more: bool,
}

struct Text {
    is_sure: bool,
    /// How many distinctive words it has.
    words: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strength {
    Doubtful,
    Plain,
}

impl Index {
    pub fn of(threads: &Threads<'_>) -> Self {
        let own: HashSet<String> = threads.own.iter().flat_map(|text| stems(text)).collect();
        let mut index = Self {
            texts: Vec::new(),
            by_word: HashMap::new(),
            runs: HashMap::new(),
            people: HashSet::new(),
            has_more: false,
        };
        for (place, foreign) in threads.foreign.iter().enumerate() {
            let mut stems = stems(foreign.text);
            index.has_more |= stems.len() > MAX_WORDS;
            stems.truncate(MAX_WORDS);
            for run in stems.windows(RUN) {
                let telling = run.iter().filter(|stem| is_telling(stem, &own)).count();
                if telling >= 2 {
                    let run = [0, 1, 2, 3].map(|at| run[at].clone());
                    let first = index.runs.entry(run).or_insert(place);
                    // A doubtful copy must not hide it.
                    if foreign.is_sure && !threads.foreign[*first].is_sure {
                        *first = place;
                    }
                }
            }
            let mut words = 0;
            for stem in stems {
                if !is_telling(&stem, &own) {
                    continue;
                }
                let texts = index.by_word.entry(stem).or_default();
                if texts.last() != Some(&place) {
                    texts.push(place);
                    words += 1;
                }
            }
            index.texts.push(Text {
                is_sure: foreign.is_sure,
                words,
            });
        }
        for person in &threads.people {
            let words = tokens(person).into_iter();
            let names = words.filter(|word| is_role(word) || is_name(word, person));
            index
                .people
                .extend(names.filter(|name| !own.contains(name)));
        }
        index
    }

    /// The strongest sign in a sentence.
    pub fn find<'d>(&self, sentence: &Sentence<'d>) -> Option<Sign<'d>> {
        let stems: Vec<String> = (0..sentence.len())
            .map(|at| stem(sentence.token(at)))
            .collect();
        if let Some((text, run)) = self.quotation(sentence, &stems) {
            return Some(Sign {
                text: Some(text),
                strength: match self.texts[text].is_sure {
                    true => Strength::Plain,
                    false => Strength::Doubtful,
                },
                quote: sentence.quote(run),
            });
        }
        let mut shared: BTreeMap<usize, Shared<'_>> = BTreeMap::new();
        for stem in &stems {
            for text in self.by_word.get(stem).into_iter().flatten() {
                step();
                shared.entry(*text).or_default().add(stem);
            }
        }
        let named = self.names_person(sentence);
        let told = named && TOLD.is_in(sentence);
        let signs = shared.iter().filter_map(|(text, shared)| {
            Some((shared.strength(&self.texts[*text], told)?, Some(*text)))
        });
        let by_thread = (named && THREAD.is_in(sentence)).then_some((Strength::Plain, None));
        let by_word = told.then_some((Strength::Doubtful, None));
        let (strength, text) = signs.chain(by_thread).chain(by_word).max()?;
        Some(Sign {
            text,
            strength,
            quote: sentence.quote(0..sentence.len()),
        })
    }

    fn quotation(
        &self,
        sentence: &Sentence<'_>,
        stems: &[String],
    ) -> Option<(usize, Range<usize>)> {
        let words: Vec<usize> = (0..stems.len())
            .filter(|at| is_word(sentence.token(*at)))
            .collect();
        words.windows(RUN).find_map(|window| {
            let run = [0, 1, 2, 3].map(|at| stems[window[at]].clone());
            let text = self.runs.get(&run)?;
            Some((*text, window[0]..window[RUN - 1] + 1))
        })
    }

    /// Whether the sentence speaks of somebody from another thread.
    fn names_person(&self, sentence: &Sentence<'_>) -> bool {
        (0..sentence.len()).any(|at| {
            let joined = sentence.token(at) == "co" && sentence.token(at + 1) == "founder";
            self.people.contains(sentence.token(at)) || joined && self.people.contains("cofounder")
        })
    }
}

/// Distinctive words that a sentence shares with a text.
#[derive(Default)]
struct Shared<'s> {
    words: HashSet<&'s str>,
    numbers: usize,
}

impl<'s> Shared<'s> {
    fn add(&mut self, stem: &'s str) {
        if self.words.insert(stem) && stem.starts_with(|c: char| c.is_ascii_digit()) {
            self.numbers += 1;
        }
    }

    /// A long text shares a word or two with any draft.
    fn strength(&self, text: &Text, told: bool) -> Option<Strength> {
        let words = self.words.len();
        let some = 1 + text.words / 16;
        let many = match text.words {
            0..=3 => 2,
            more => 3 + more / 10,
        };
        let plain = match text.is_sure {
            true => told && words >= some || words >= many || self.numbers >= 1 && words > some,
            false => told && words > some || words >= 3 + many,
        };
        match plain {
            true => Some(Strength::Plain),
            false => (told || words >= 2).then_some(Strength::Doubtful),
        }
    }
}

fn tokens(text: &str) -> Vec<String> {
    let text = Draft::new(text);
    let mut words = Vec::new();
    for sentence in text.sentences() {
        let tokens = (0..sentence.len()).map(|at| sentence.token(at));
        words.extend(tokens.filter(|token| is_word(token)).map(str::to_owned));
    }
    words
}

fn stems(text: &str) -> Vec<String> {
    tokens(text).iter().map(|word| stem(word)).collect()
}

/// A word without its ending, so that `prioritising` and `prioritised` are one.
fn stem(word: &str) -> String {
    let long = |stem: &&str| stem.chars().count() >= 4;
    let endings = ["ations", "ation", "ings", "ing", "ed", "es", "s", "e"];
    let cut = endings
        .iter()
        .find_map(|end| word.strip_suffix(end).filter(long));
    cut.unwrap_or(word).to_owned()
}

/// Whether a stem says something, and something that only another thread says.
fn is_telling(stem: &str, own: &HashSet<String>) -> bool {
    let number = stem.starts_with(|c: char| c.is_ascii_digit());
    let long = match number {
        true => stem.len() >= 2,
        false => stem.chars().count() >= 4,
    };
    long && !own.contains(stem) && !COMMON.contains(stem)
}

/// A part of a person's name, not of an id.
fn is_name(word: &str, person: &str) -> bool {
    let capital = person
        .split_whitespace()
        .any(|part| part.starts_with(char::is_uppercase) && part.to_ascii_lowercase() == word);
    capital && word.chars().count() >= 3
}

/// Stems of words that any sales e-mail may hold.
static COMMON: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let words = include_str!("common_words.txt").split_whitespace();
    words.map(stem).collect()
});
