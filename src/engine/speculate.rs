//! Guesses the next tokens of a rationale, so that one decode step can check
//! several of them: prompt-lookup decoding. What follows the last few tokens in an
//! earlier rationale, or in the prompt that is quoted, is likely to follow again.
//!
//! The model still chooses every token: a guess that it does not share costs the
//! time of a longer batch, and changes nothing. Whether guesses are worth that time
//! is measured all along: how often they hold, and what a longer batch costs here.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use crate::backend::Token;

/// Rationales that are remembered.
const REMEMBERED: usize = 128;
/// Tokens of a guess at most.
pub const LONGEST_GUESS: usize = 6;
/// Tokens that must have come before in the same order.
const KEYS: [usize; 3] = [4, 3, 2];
/// The weight of the newest observation.
const FRESHNESS: f64 = 0.02;

pub struct Speculator {
    enabled: bool,
    answers: VecDeque<Vec<Token>>,
    /// The share of guessed tokens that held, when all before them had.
    held: f64,
    steps: StepTime,
}

impl Speculator {
    pub fn new(enabled: bool) -> Self {
        Self {
            enabled,
            answers: VecDeque::new(),
            held: 0.5,
            steps: StepTime::default(),
        }
    }

    /// What may come after `answer`, as far as earlier answers or the prompt tell.
    pub fn guess(&self, prompt: &[Token], answer: &[Token]) -> Vec<Token> {
        if !self.enabled {
            return Vec::new();
        }
        let texts = || {
            let answers = self.answers.iter().rev().map(Vec::as_slice);
            answers.chain([prompt])
        };
        let keys = KEYS.iter().filter_map(|length| {
            let key = answer.len().checked_sub(*length)?;
            Some(&answer[key..])
        });
        keys.flat_map(|key| texts().map(move |text| continuation(text, key)))
            .find(|guess| !guess.is_empty())
            .unwrap_or_default()
            .to_vec()
    }

    /// How many tokens of each guess the next step should check: what gives the most
    /// tokens a second. Without guesses the step has `tokens` tokens and moves
    /// `sequences` answers on by one each.
    pub fn depth(&self, tokens: usize, sequences: usize, guesses: usize) -> usize {
        let rate = |depth: usize| {
            let held = (1..).map(|place| self.held.powi(place)).take(depth);
            let moved = sequences as f64 + guesses as f64 * held.sum::<f64>();
            moved / self.steps.expected(tokens + depth * guesses)
        };
        // Of equals the last one wins: the fewest guesses.
        let depths = (0..=LONGEST_GUESS).rev().map(|depth| (depth, rate(depth)));
        let best = depths.max_by(|(_, one), (_, other)| one.total_cmp(other));
        best.map_or(0, |(depth, _)| depth)
    }

    /// The model has chosen a token for which there was a guess.
    pub fn note(&mut self, held: bool) {
        self.held += FRESHNESS * (f64::from(u8::from(held)) - self.held);
    }

    /// A step of so many tokens took this long.
    pub fn note_step(&mut self, tokens: usize, took: Duration) {
        self.steps.note(tokens as f64, took.as_secs_f64());
    }

    /// Remembers a finished answer.
    pub fn remember(&mut self, answer: &[Token]) {
        if !self.enabled || self.answers.iter().any(|known| known == answer) {
            return;
        }
        if self.answers.len() == REMEMBERED {
            self.answers.pop_front();
        }
        self.answers.push_back(answer.to_vec());
    }
}

/// What follows `key` where it occurs last in `text`.
fn continuation<'t>(text: &'t [Token], key: &[Token]) -> &'t [Token] {
    let at = text.windows(key.len()).rposition(|window| window == key);
    let rest = at.map_or(&[][..], |at| &text[at + key.len()..]);
    &rest[..rest.len().min(LONGEST_GUESS)]
}

/// The time of a decode step by its tokens: a straight line through what was
/// measured, of which the newest counts most (weighted least squares).
#[derive(Default)]
struct StepTime {
    weight: f64,
    tokens: f64,
    seconds: f64,
    tokens_squared: f64,
    product: f64,
}

impl StepTime {
    fn note(&mut self, tokens: f64, seconds: f64) {
        let keep = 1.0 - FRESHNESS;
        self.weight = self.weight * keep + 1.0;
        self.tokens = self.tokens * keep + tokens;
        self.seconds = self.seconds * keep + seconds;
        self.tokens_squared = self.tokens_squared * keep + tokens * tokens;
        self.product = self.product * keep + tokens * seconds;
    }

    /// In seconds. As long as all steps had about the same size, as if each token
    /// took its share of the time.
    fn expected(&self, tokens: usize) -> f64 {
        if self.weight == 0.0 {
            return tokens as f64;
        }
        let spread = self.weight * self.tokens_squared - self.tokens * self.tokens;
        let slope = (self.weight * self.product - self.tokens * self.seconds) / spread;
        let share = self.seconds / self.tokens;
        let slope = match slope.is_finite() && spread > 0.01 * self.weight * self.weight {
            true => slope.clamp(0.0, share),
            false => share,
        };
        let mean = self.seconds / self.weight;
        mean + slope * (tokens as f64 - self.tokens / self.weight)
    }
}
