//! The model's vocabulary.

use std::sync::Arc;

use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token_type::LlamaTokenAttr;

use crate::backend::{Token, Tokenizer};

/// The vocabulary, with every token's bytes at hand.
pub struct LlamaTokenizer {
    model: Arc<LlamaModel>,
    pieces: Vec<Vec<u8>>,
    control: Vec<bool>,
    /// Names such as `<tool_call>` that llama.cpp finds in any text, although
    /// it is told to parse none.
    found_in_text: Vec<Vec<u8>>,
    ends: Vec<Token>,
}

impl LlamaTokenizer {
    pub fn new(model: Arc<LlamaModel>) -> Result<Self, String> {
        let vocab = model.vocab();
        let size = usize::try_from(vocab.n_tokens()).map_err(|error| error.to_string())?;
        let mut pieces = Vec::with_capacity(size);
        let mut control = Vec::with_capacity(size);
        let mut found_in_text = Vec::new();
        let mut ends = Vec::new();
        for token in vocab.tokens() {
            // What has no bytes as plain text is a control token: its name then.
            let plain = vocab.token_to_piece(token, false, None);
            let user_defined = vocab.attr(token).contains(LlamaTokenAttr::UserDefined);
            let named = plain.is_empty() || user_defined || vocab.is_control(token);
            if user_defined {
                found_in_text.push(vocab.token_to_piece(token, true, None));
            }
            pieces.push(if named {
                vocab.token_to_piece(token, true, None)
            } else {
                plain
            });
            control.push(named);
            if vocab.is_eog(token) {
                ends.push(token.0 as Token);
            }
        }
        let eos = vocab.eos().0;
        if pieces.len() != size || ends.is_empty() {
            return Err("the model's vocabulary has no end token".to_owned());
        }
        // The model's own choice comes first.
        ends.sort_by_key(|end| i64::from(*end) != i64::from(eos));
        Ok(Self {
            pieces,
            control,
            found_in_text,
            ends,
            model,
        })
    }
}

impl LlamaTokenizer {
    /// The text, cut after the first byte of each name that llama.cpp would
    /// find in it: no part holds a whole one.
    fn parts<'t>(&self, text: &'t [u8]) -> Vec<&'t [u8]> {
        let mut parts = Vec::new();
        let mut start = 0;
        for at in 0..text.len() {
            let mut names = self.found_in_text.iter();
            if names.any(|name| text[at..].starts_with(name)) {
                parts.push(&text[start..=at]);
                start = at + 1;
            }
        }
        if start < text.len() {
            parts.push(&text[start..]);
        }
        parts
    }
}

impl Tokenizer for LlamaTokenizer {
    fn vocab_size(&self) -> usize {
        self.pieces.len()
    }

    fn tokenize(&self, text: &[u8]) -> Vec<Token> {
        let vocab = self.model.vocab();
        let mut tokens = Vec::new();
        for part in self.parts(text) {
            tokens.extend(vocab.tokenize(part, false, false));
        }
        tokens.into_iter().map(|token| token.0 as Token).collect()
    }

    fn control(&self, name: &str) -> Option<Token> {
        let names = self.pieces.iter().zip(&self.control);
        let found = names
            .enumerate()
            .find(|(_, (piece, control))| **control && piece.as_slice() == name.as_bytes());
        found.and_then(|(token, _)| Token::try_from(token).ok())
    }

    fn is_control(&self, token: Token) -> bool {
        self.control.get(token as usize).copied().unwrap_or(true)
    }

    fn piece(&self, token: Token) -> &[u8] {
        self.pieces
            .get(token as usize)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    fn end_tokens(&self) -> &[Token] {
        &self.ends
    }
}
