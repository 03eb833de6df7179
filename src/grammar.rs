//! The answer's language: a label, then one bounded sentence.
//!
//! The bundle's Lark grammar is compiled once. An answer begins with its
//! label, chosen from the logits after prefill; the rest is decoded greedily
//! among the tokens that the grammar allows, and is closed by a full stop
//! before it can outgrow its bounds, so that every answer is well formed.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use llguidance::api::TopLevelGrammar;
use llguidance::{Matcher, ParserFactory};
use toktrie::{InferenceCapabilities, TokEnv, TokRxInfo, TokTrie, TokenizerEnv};

use crate::backend::{Token, Tokenizer};
use crate::models::AnswerSpec;
use crate::verdict::{Label, Scores};

/// What closes a sentence that has reached its bounds.
const CLOSE: &[u8] = b".";
/// Room for closing after a space: a character may need four single-byte
/// tokens, and the full stop comes after it.
const CLOSING_TOKENS: usize = 6;
/// The same in bytes.
const CLOSING_BYTES: usize = 8;

/// A compiled grammar, with its labels' tokens.
pub struct Grammar {
    tokenizer: Arc<dyn Tokenizer>,
    start: Matcher,
    labels: [Vec<Token>; 5],
    close: Token,
    max_tokens: usize,
    max_bytes: usize,
}

impl Grammar {
    /// Compiles the grammar and checks that the five labels, and nothing else,
    /// can come first, and that their first tokens tell them apart.
    pub fn compile(spec: &AnswerSpec, tokenizer: Arc<dyn Tokenizer>) -> Result<Self, GrammarError> {
        let start = start(&spec.grammar, &tokenizer)?;
        let labels = Label::ALL.map(|label| tokenizer.tokenize(label.as_str().as_bytes()));
        let mut closes = tokenizer.tokenize(CLOSE);
        let (Some(close), true) = (closes.pop(), closes.is_empty()) else {
            return Err(GrammarError::Close);
        };
        let grammar = Self {
            tokenizer,
            start,
            labels,
            close,
            max_tokens: spec.max_rationale_tokens as usize,
            max_bytes: spec.max_rationale_bytes as usize,
        };
        if grammar.max_tokens < CLOSING_TOKENS + 2 || grammar.max_bytes < CLOSING_BYTES + 8 {
            return Err(GrammarError::Bounds {
                tokens: CLOSING_TOKENS + 2,
                bytes: CLOSING_BYTES + 8,
            });
        }
        grammar.check_labels()?;
        Ok(grammar)
    }

    /// The most tokens an answer can have: label, forced text and sentence.
    pub fn max_answer_tokens(&self) -> usize {
        let label = self.labels.iter().map(Vec::len).max().unwrap_or(0);
        label + FORCED_LIMIT + self.max_tokens
    }

    /// A token to try the model with.
    pub fn probe_token(&self) -> Token {
        self.close
    }

    /// The probabilities of the labels, from the logits after prefill. Where
    /// the row holds what is no number, `legal_mass` is none either.
    pub fn score(&self, logits: &[f32]) -> Scores {
        let five = self.labels.each_ref().map(|tokens| {
            let logit = tokens.first().and_then(|token| logits.get(*token as usize));
            logit.copied().unwrap_or(f32::NEG_INFINITY)
        });
        let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mass = |row: &[f32]| {
            row.iter()
                .map(|logit| f64::from(logit - max).exp())
                .sum::<f64>()
        };
        Scores {
            probabilities: softmax(five),
            legal_mass: mass(&five) / mass(logits),
        }
    }

    /// Begins an answer with its label. The answer's pending tokens are what
    /// the model must read before it can go on.
    pub fn begin(&self, label: Label) -> Result<Answer<'_>, GrammarError> {
        let mut matcher = self.start.clone();
        let tokens = self.labels[label.index()].clone();
        matcher.consume_tokens(&tokens).map_err(GrammarError::of)?;
        let forced = matcher.consume_ff_tokens();
        if forced.len() > FORCED_LIMIT {
            return Err(GrammarError::Forced(forced.len()));
        }
        let mut answer = Answer {
            grammar: self,
            matcher,
            sentence_tokens: 0,
            sentence: Vec::new(),
            tokens,
            read: 0,
        };
        // Forced text after the line end belongs to the sentence.
        let text = self.bytes(&forced);
        if let Some(line_end) = text.iter().position(|byte| *byte == b'\n') {
            answer.sentence.extend_from_slice(&text[line_end + 1..]);
        }
        answer.tokens.extend(forced);
        Ok(answer)
    }

    fn check_labels(&self) -> Result<(), GrammarError> {
        for (index, label) in Label::ALL.into_iter().enumerate() {
            let tokens = &self.labels[index];
            let mut matcher = self.start.clone();
            let accepted = matcher
                .try_consume_tokens(tokens)
                .map_err(GrammarError::of)?;
            if tokens.is_empty() || accepted != tokens.len() {
                return Err(GrammarError::LabelRefused(label));
            }
            for other in &Label::ALL[..index] {
                if self.labels[other.index()].first() == tokens.first() {
                    return Err(GrammarError::SameFirstToken(*other, label));
                }
            }
        }
        let mask = self
            .start
            .clone()
            .compute_mask()
            .map_err(GrammarError::of)?;
        for token in mask.iter() {
            let piece = self.tokenizer.piece(token);
            let label = Label::ALL
                .iter()
                .any(|label| label.as_str().as_bytes().starts_with(piece));
            if !label || self.tokenizer.is_control(token) {
                let text = String::from_utf8_lossy(piece).into_owned();
                return Err(GrammarError::NotALabel(text));
            }
        }
        Ok(())
    }

    fn bytes(&self, tokens: &[Token]) -> Vec<u8> {
        tokens
            .iter()
            .flat_map(|token| self.tokenizer.piece(*token))
            .copied()
            .collect()
    }
}

/// With the five's own maximum: far below the rest, all of them could vanish beside it.
fn softmax(logits: [f32; 5]) -> [f64; 5] {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if !max.is_finite() {
        return [0.2; 5];
    }
    let weights = logits.map(|logit| f64::from(logit - max).exp());
    let sum: f64 = weights.iter().sum();
    weights.map(|weight| weight / sum)
}

/// Tokens that the grammar may force between the label and the sentence.
const FORCED_LIMIT: usize = 8;

/// One answer on its way.
pub struct Answer<'g> {
    grammar: &'g Grammar,
    matcher: Matcher,
    sentence_tokens: usize,
    sentence: Vec<u8>,
    /// All so far, the label's and forced ones included.
    tokens: Vec<Token>,
    /// Tokens that the model has read.
    read: usize,
}

impl Answer<'_> {
    /// Tokens that the model has not read yet.
    pub fn pending(&self) -> &[Token] {
        &self.tokens[self.read..]
    }

    /// Tokens so far.
    pub fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// Chooses the next token from the logits after the pending ones.
    /// `Finished` is certain to come within the bounds.
    pub fn advance(&mut self, logits: &[f32]) -> Result<Progress, GrammarError> {
        self.read = self.tokens.len();
        if self.closing() {
            if self.matcher.is_accepting().map_err(GrammarError::of)? {
                return self.finish();
            }
            if self.can_close()? {
                self.consume(self.grammar.close)?;
                return self.finish();
            }
            // A grammar that no full stop can end: an error, never an overlong answer.
            if self.sentence_tokens >= self.grammar.max_tokens {
                return Err(GrammarError::Stuck);
            }
        }
        let token = self.choose(logits)?;
        if self.grammar.tokenizer.end_tokens().contains(&token) {
            return self.finish();
        }
        self.consume(token)?;
        for forced in self.matcher.compute_ff_tokens() {
            if self.closing() {
                break;
            }
            self.consume(forced)?;
        }
        if self.matcher.is_stopped() {
            return self.finish();
        }
        Ok(Progress::More)
    }

    /// The sentence so far.
    pub fn sentence(&self) -> String {
        String::from_utf8_lossy(&self.sentence).trim().to_owned()
    }

    fn closing(&self) -> bool {
        self.sentence_tokens + CLOSING_TOKENS >= self.grammar.max_tokens
            || self.sentence.len() + CLOSING_BYTES >= self.grammar.max_bytes
    }

    /// Whether a full stop ends the answer here. That the grammar takes one is not enough: it
    /// could be the beginning of "...".
    fn can_close(&self) -> Result<bool, GrammarError> {
        let mut matcher = self.matcher.clone();
        let taken = matcher
            .try_consume_tokens(&[self.grammar.close])
            .map_err(GrammarError::of)?;
        Ok(taken == 1 && matcher.is_accepting().map_err(GrammarError::of)?)
    }

    /// The likeliest token that the grammar and the bounds allow.
    fn choose(&mut self, logits: &[f32]) -> Result<Token, GrammarError> {
        let mask = self.matcher.compute_mask().map_err(GrammarError::of)?;
        let tokenizer = self.grammar.tokenizer.as_ref();
        let closing = self.closing();
        let room = self.grammar.max_bytes.saturating_sub(self.sentence.len());
        let room = room.saturating_sub(if closing { CLOSE.len() } else { CLOSING_BYTES });
        let mut best: Option<(Token, f32)> = None;
        for token in mask.iter() {
            let logit = match logits.get(token as usize) {
                // Not a number never wins, and a row of them still gives a token.
                Some(logit) if !logit.is_nan() => *logit,
                _ => f32::NEG_INFINITY,
            };
            if best.is_some_and(|(_, most)| logit <= most) {
                continue;
            }
            let end = tokenizer.end_tokens().contains(&token);
            let piece = tokenizer.piece(token);
            let fits = end
                || (piece.len() <= room.max(1) && (!closing || self.completes_character(piece)));
            if fits {
                best = Some((token, logit));
            }
        }
        best.map(|(token, _)| token).ok_or(GrammarError::Stuck)
    }

    /// While closing, only tokens that leave no character open are taken, or
    /// single bytes of one that is open already.
    fn completes_character(&self, piece: &[u8]) -> bool {
        if piece.len() == 1 {
            return true;
        }
        let mut text = self.sentence.clone();
        text.extend_from_slice(piece);
        std::str::from_utf8(&text).is_ok()
    }

    fn consume(&mut self, token: Token) -> Result<(), GrammarError> {
        self.matcher
            .consume_token(token)
            .map_err(GrammarError::of)?;
        self.sentence
            .extend_from_slice(self.grammar.tokenizer.piece(token));
        self.sentence_tokens += 1;
        self.tokens.push(token);
        Ok(())
    }

    fn finish(&mut self) -> Result<Progress, GrammarError> {
        if !self.matcher.is_accepting().unwrap_or(true) && !self.matcher.is_stopped() {
            return Err(GrammarError::Stuck);
        }
        Ok(Progress::Finished)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The model must read the pending tokens.
    More,
    Finished,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrammarError {
    #[error("the grammar does not compile: {0}")]
    Compile(String),
    #[error("the grammar failed: {0}")]
    Match(String),
    #[error("the grammar does not accept the label `{0}` as the model's tokenizer writes it")]
    LabelRefused(Label),
    #[error("the labels `{0}` and `{1}` begin with the same token")]
    SameFirstToken(Label, Label),
    #[error("the grammar lets an answer begin with `{0}`, which begins no label")]
    NotALabel(String),
    #[error("the grammar forces `{0}` tokens after a label, more than `{FORCED_LIMIT}`")]
    Forced(usize),
    #[error("the tokenizer has no single token for a full stop")]
    Close,
    #[error("the rationale's bounds must be at least `{tokens}` tokens and `{bytes}` bytes")]
    Bounds { tokens: usize, bytes: usize },
    #[error("no token is allowed although the answer is not finished")]
    Stuck,
}

impl GrammarError {
    /// llguidance gives its errors as text.
    fn of(error: impl std::fmt::Display) -> Self {
        Self::Match(error.to_string())
    }
}

/// The matcher before the first token.
fn start(grammar: &str, tokenizer: &Arc<dyn Tokenizer>) -> Result<Matcher, GrammarError> {
    let compile = |error: &dyn std::fmt::Display| GrammarError::Compile(error.to_string());
    let env: TokEnv = Arc::new(Vocabulary::new(tokenizer)?);
    // Without slices: those that the crate brings are made for JSON, and cost as much as the rest.
    let capabilities = InferenceCapabilities::default();
    let mut factory =
        ParserFactory::new(&env, capabilities, &[]).map_err(|error| compile(&error))?;
    factory.quiet();
    factory.limits_mut().verbose_errors = false;
    let parser = factory.create_parser(TopLevelGrammar::from_lark(grammar.to_owned()));
    let matcher = Matcher::new(parser);
    match matcher.get_error() {
        Some(error) => Err(compile(&error)),
        None => Ok(matcher),
    }
}

/// Our tokenizer, as llguidance sees it.
struct Vocabulary {
    tokenizer: Arc<dyn Tokenizer>,
    trie: TokTrie,
}

impl Vocabulary {
    fn new(tokenizer: &Arc<dyn Tokenizer>) -> Result<Self, GrammarError> {
        let size = tokenizer.vocab_size() as u32;
        let ends = tokenizer.end_tokens();
        let Some(end) = ends.first().filter(|_| ends.iter().all(|end| *end < size)) else {
            return Err(GrammarError::Compile(
                "the model has no end token".to_owned(),
            ));
        };
        let words: Vec<Vec<u8>> = (0..size)
            .map(|token| {
                let piece = tokenizer.piece(token);
                if tokenizer.is_control(token) {
                    // The marker keeps control tokens apart from any text.
                    [&[TokTrie::SPECIAL_TOKEN_MARKER], piece].concat()
                } else {
                    piece.to_vec()
                }
            })
            .collect();
        let trie = TokTrie::from(&TokRxInfo::new(size, *end), &words).with_eos_tokens(ends);
        Ok(Self {
            tokenizer: Arc::clone(tokenizer),
            trie,
        })
    }
}

impl TokenizerEnv for Vocabulary {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, text: &[u8]) -> Vec<Token> {
        self.tokenizer.tokenize(text)
    }
}
