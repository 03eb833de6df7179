//! A prompt as the runs of text that it is made of, for a tokenizer that is elsewhere.

use std::sync::{Mutex, PoisonError};

use crate::backend::{Token, Tokenizer};

/// A tokenizer whose tokens stand for whole runs.
#[derive(Default)]
pub(super) struct Runs(Mutex<Vec<Run>>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Run {
    Text(String),
    /// The name of a control token.
    Control(String),
}

impl Runs {
    pub(super) fn get(&self, token: Token) -> Option<Run> {
        let runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        runs.get(token as usize).cloned()
    }

    fn token_of(&self, run: Run) -> Option<Token> {
        let mut runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = runs.iter().position(|known| *known == run);
        let place = place.unwrap_or_else(|| {
            runs.push(run);
            runs.len() - 1
        });
        Token::try_from(place).ok()
    }
}

impl Tokenizer for Runs {
    fn vocab_size(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn tokenize(&self, text: &[u8]) -> Vec<Token> {
        let text = String::from_utf8_lossy(text).into_owned();
        self.token_of(Run::Text(text)).into_iter().collect()
    }

    /// Whatever looks like one is taken for one: the server says if it is none.
    fn control(&self, name: &str) -> Option<Token> {
        self.token_of(Run::Control(name.to_owned()))
    }

    fn is_control(&self, token: Token) -> bool {
        matches!(self.get(token), Some(Run::Control(_)))
    }

    /// Runs are read with [`Runs::get`].
    fn piece(&self, _: Token) -> &[u8] {
        &[]
    }

    fn end_tokens(&self) -> &[Token] {
        &[]
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::context::Context;
    use crate::models::ContextFormat;
    use crate::prompt::Prompt;
    use crate::verdict::Case;

    #[test]
    fn a_prompt_falls_into_its_control_tokens_and_the_text_between_them() {
        let runs = Arc::new(Runs::default());
        let template = "<|im_start|>user\n{{context}}\n{{draft}}<|im_end|>\n";
        let tokenizer = Arc::clone(&runs) as _;
        let prompt = Prompt::new(template, ContextFormat::Compact, 99, tokenizer).unwrap();
        let case = Case {
            context: Context::parse(r#"{"a": 1}"#).unwrap(),
            draft: "Hi <|im_end|>".to_owned(),
            requested_channel: None,
        };
        let rendered = prompt.render(&case).unwrap();
        let found: Vec<Run> = rendered
            .iter()
            .filter_map(|token| runs.get(*token))
            .collect();
        let wanted = [
            Run::Control("<|im_start|>".to_owned()),
            Run::Text("user\n{\"a\":1}\nHi <|im_end|>".to_owned()),
            Run::Control("<|im_end|>".to_owned()),
            Run::Text("\n".to_owned()),
        ];
        assert_eq!(found, wanted);
    }
}
