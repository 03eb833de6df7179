//! The answer's language: a label, then one bounded sentence, or the evidence alone.
//!
//! The bundle's Lark grammars are compiled once. An answer begins with its
//! label, chosen from the logits after prefill; the rest is decoded greedily
//! among the tokens that the grammar allows, and is closed by a full stop
//! before it can outgrow its bounds, so that every answer is well formed.

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};

use llguidance::api::TopLevelGrammar;
use llguidance::{Matcher, ParserFactory};
use toktrie::{InferenceCapabilities, TokEnv, TokRxInfo, TokTrie, TokenizerEnv};

use crate::backend::{Token, Tokenizer};
use crate::models::AnswerSpec;
use crate::verdict::{Label, RationaleMode, Scores};

/// What closes a sentence that has reached its bounds.
const CLOSE_SENTENCE: &str = ".";
/// What closes a quotation, and the sentence around it.
const CLOSE_EVIDENCE: &str = "'.";
/// What stands before a quotation, at most.
const BEFORE_EVIDENCE: &str = "Rule 5b: '";
/// Room before what closes, after a space: a character may need four single-byte
/// tokens.
const CLOSING_TOKENS: usize = 5;
/// The same in bytes.
const CLOSING_BYTES: usize = 7;

/// The compiled grammars, with the labels' tokens.
pub struct Grammar {
    tokenizer: Arc<dyn Tokenizer>,
    sentence: Language,
    evidence: Option<Language>,
    labels: [Vec<Token>; 5],
    max_tokens: usize,
    max_bytes: usize,
}

/// One grammar.
struct Language {
    /// Before the first token. Its clones share a lexer, which a panic breaks for all of them.
    start: Mutex<Matcher>,
    /// The same with a lexer of its own, which nothing runs.
    spare: Matcher,
    /// What ends an answer that has reached its bounds.
    close: Vec<Token>,
    /// Tokens and bytes that closing may take.
    closing: (usize, usize),
}

impl Grammar {
    /// Compiles the grammars and checks of each that the five labels, and nothing
    /// else, can come first, and that their first tokens tell them apart.
    pub fn compile(spec: &AnswerSpec, tokenizer: Arc<dyn Tokenizer>) -> Result<Self, GrammarError> {
        let env: TokEnv = Arc::new(Vocabulary::new(&tokenizer)?);
        let (max_tokens, max_bytes) = (spec.max_rationale_tokens, spec.max_rationale_bytes);
        let (max_tokens, max_bytes) = (max_tokens as usize, max_bytes as usize);
        let language = |text: &str, before: &str, end: &str| {
            let close = tokenizer.tokenize(end.as_bytes());
            let closing = (CLOSING_TOKENS + close.len(), CLOSING_BYTES + end.len());
            let tokens = tokenizer.tokenize(before.as_bytes()).len() + closing.0 + 2;
            let bytes = before.len() + closing.1 + 8;
            if max_tokens < tokens || max_bytes < bytes {
                return Err(GrammarError::Bounds { tokens, bytes });
            }
            let start = start(text, &env)?;
            Ok(Language {
                spare: start.deep_clone(),
                start: Mutex::new(start),
                close,
                closing,
            })
        };
        let sentence = language(&spec.grammar, "", CLOSE_SENTENCE)?;
        if sentence.close.len() != 1 {
            return Err(GrammarError::Close);
        }
        let evidence = match &spec.evidence_grammar {
            Some(text) => Some(language(text, BEFORE_EVIDENCE, CLOSE_EVIDENCE)?),
            None => None,
        };
        let labels = Label::ALL.map(|label| tokenizer.tokenize(label.as_str().as_bytes()));
        let grammar = Self {
            tokenizer,
            sentence,
            evidence,
            labels,
            max_tokens,
            max_bytes,
        };
        for language in grammar.evidence.iter().chain([&grammar.sentence]) {
            grammar.check_labels(&language.start())?;
        }
        Ok(grammar)
    }

    /// The most tokens an answer can have: label, forced text and sentence.
    pub fn max_answer_tokens(&self) -> usize {
        let label = self.labels.iter().map(Vec::len).max().unwrap_or(0);
        label + FORCED_LIMIT + self.max_tokens
    }

    /// A token to try the model with.
    pub fn probe_token(&self) -> Token {
        self.sentence.close[0]
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

    /// Begins an answer with its label: with evidence where that is asked for and
    /// there is a grammar for it, else with a sentence. The answer's pending tokens
    /// are what the model must read before it can go on.
    pub fn begin(&self, label: Label, mode: RationaleMode) -> Result<Answer<'_>, GrammarError> {
        let language = match (mode, &self.evidence) {
            (RationaleMode::Evidence, Some(evidence)) => evidence,
            _ => &self.sentence,
        };
        let tokens = self.labels[label.index()].clone();
        // Every label is taken, which was checked: what fails is a lexer that broke in another answer.
        let (matcher, forced) = language.after(&tokens).or_else(|_| {
            language.renew();
            language.after(&tokens)
        })?;
        if forced.len() > FORCED_LIMIT {
            return Err(GrammarError::Forced(forced.len()));
        }
        let mut answer = Answer {
            grammar: self,
            language,
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
            let ends = forced.iter().scan(0_usize, |end, token| {
                *end += self.tokenizer.piece(*token).len();
                Some(*end)
            });
            answer.sentence_tokens = ends.filter(|end| *end > line_end + 1).count();
        }
        answer.tokens.extend(forced);
        Ok(answer)
    }

    fn check_labels(&self, start: &Matcher) -> Result<(), GrammarError> {
        for (index, label) in Label::ALL.into_iter().enumerate() {
            let tokens = &self.labels[index];
            let mut matcher = start.clone();
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
        let mask = start.clone().compute_mask().map_err(GrammarError::of)?;
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

impl Language {
    fn start(&self) -> Matcher {
        let start = self.start.lock().unwrap_or_else(PoisonError::into_inner);
        start.clone()
    }

    /// With a lexer that no answer has run yet.
    fn renew(&self) {
        let fresh = self.spare.deep_clone();
        *self.start.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
    }

    /// A matcher that has read a label, and the tokens that it forces then.
    fn after(&self, label: &[Token]) -> Result<(Matcher, Vec<Token>), GrammarError> {
        let mut matcher = self.start();
        matcher.consume_tokens(label).map_err(GrammarError::of)?;
        let forced = matcher.consume_ff_tokens();
        check(&matcher)?;
        Ok((matcher, forced))
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
const FORCED_LIMIT: usize = 16;

/// One answer on its way.
pub struct Answer<'g> {
    grammar: &'g Grammar,
    language: &'g Language,
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

    /// Whether all of it was forced: nothing is left to choose.
    pub fn is_whole(&self) -> bool {
        self.matcher.is_stopped()
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
                for token in &self.language.close {
                    self.consume(*token)?;
                }
                return self.finish();
            }
            // A grammar that cannot be closed: an error, never an overlong answer.
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
        let (tokens, bytes) = self.language.closing;
        self.sentence_tokens + tokens >= self.grammar.max_tokens
            || self.sentence.len() + bytes >= self.grammar.max_bytes
    }

    /// Whether what closes ends the answer here. That the grammar takes it is not enough: a full
    /// stop could be the beginning of "...".
    fn can_close(&self) -> Result<bool, GrammarError> {
        let mut matcher = self.matcher.clone();
        let taken = matcher
            .try_consume_tokens(&self.language.close)
            .map_err(GrammarError::of)?;
        Ok(taken == self.language.close.len()
            && matcher.is_accepting().map_err(GrammarError::of)?)
    }

    /// The likeliest token that the grammar and the bounds allow.
    fn choose(&mut self, logits: &[f32]) -> Result<Token, GrammarError> {
        let mask = self.matcher.compute_mask().map_err(GrammarError::of)?;
        let tokenizer = self.grammar.tokenizer.as_ref();
        let closing = self.closing();
        let room = self.grammar.max_bytes.saturating_sub(self.sentence.len());
        let (_, bytes) = self.language.closing;
        let room = room.saturating_sub(match closing {
            true => bytes - CLOSING_BYTES,
            false => bytes,
        });
        let fits = |token| {
            let piece = tokenizer.piece(token);
            tokenizer.end_tokens().contains(&token)
                || (piece.len() <= room.max(1) && (!closing || self.completes_character(piece)))
        };
        let likeliest = likeliest(&logits[..logits.len().min(mask.len())]);
        let likeliest = likeliest.ok_or(GrammarError::NoNumbers)?;
        // Mostly the likeliest of all is allowed.
        if mask.is_allowed(likeliest) && fits(likeliest) {
            return Ok(likeliest);
        }
        let mut best: Option<(Token, f32)> = None;
        for token in mask.iter() {
            let logit = logits.get(token as usize).copied();
            let logit = logit.unwrap_or(f32::NEG_INFINITY);
            if best.is_none_or(|(_, most)| logit > most) && fits(token) {
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

    fn finish(&self) -> Result<Progress, GrammarError> {
        check(&self.matcher)?;
        Ok(Progress::Finished)
    }
}

/// A matcher that failed forces no token, and has stopped: it looks like one that is done.
fn check(matcher: &Matcher) -> Result<(), GrammarError> {
    match matcher.get_error() {
        Some(error) => Err(GrammarError::of(error)),
        None => Ok(()),
    }
}

/// The first of those with the largest logit; none where they are not all numbers.
fn likeliest(logits: &[f32]) -> Option<Token> {
    let mut best = (None, f32::NEG_INFINITY);
    for (token, logit) in logits.iter().enumerate() {
        if logit.is_nan() {
            return None;
        }
        if *logit > best.1 {
            best = (Some(token), *logit);
        }
    }
    let (token, logit) = best;
    Token::try_from(token.filter(|_| logit.is_finite())?).ok()
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
    #[error("the logits are no numbers")]
    NoNumbers,
}

impl GrammarError {
    /// llguidance gives its errors as text. A backtrace follows on further lines, and callers are
    /// told the error.
    fn of(error: impl std::fmt::Display) -> Self {
        let text = error.to_string();
        Self::Match(text.lines().next().unwrap_or_default().to_owned())
    }
}

/// The matcher before the first token.
fn start(grammar: &str, env: &TokEnv) -> Result<Matcher, GrammarError> {
    let compile = |error: &dyn std::fmt::Display| GrammarError::Compile(error.to_string());
    // Without slices: those that the crate brings are made for JSON, and cost as much as the rest.
    let capabilities = InferenceCapabilities::default();
    let mut factory =
        ParserFactory::new(env, capabilities, &[]).map_err(|error| compile(&error))?;
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
