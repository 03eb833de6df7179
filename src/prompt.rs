//! A case to the model's tokens, by the bundle's template.
//!
//! The template is plain text with three places: `{{channel}}`, `{{context}}`
//! and `{{draft}}`. Control tokens such as `<|im_start|>` come from the
//! template's own text and from nowhere else: what a caller wrote is tokenized
//! as plain text, so that no draft can open or close a chat turn.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::backend::{Token, Tokenizer};
use crate::context::Context;
use crate::models::ContextFormat;
use crate::verdict::Case;

/// A template, ready to render.
pub struct Prompt {
    tokenizer: Arc<dyn Tokenizer>,
    turns: Vec<Piece>,
    context: ContextFormat,
    max_tokens: usize,
}

/// What the template's text is made of.
#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Control(Token),
    Text(String),
    Place(Place),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Channel,
    Context,
    Draft,
}

impl Prompt {
    pub fn new(
        template: &str,
        context: ContextFormat,
        max_tokens: usize,
        tokenizer: Arc<dyn Tokenizer>,
    ) -> Result<Self, TemplateError> {
        let turns = parse(template, tokenizer.as_ref())?;
        for (place, name) in [(Place::Context, "context"), (Place::Draft, "draft")] {
            let count = turns
                .iter()
                .filter(|piece| **piece == Piece::Place(place))
                .count();
            if count != 1 {
                return Err(TemplateError::Place { name, count });
            }
        }
        Ok(Self {
            tokenizer,
            turns,
            context,
            max_tokens,
        })
    }

    /// The prompt's tokens. Over the budget is an error: nothing is ever cut.
    pub fn render(&self, case: &Case) -> Result<Vec<Token>, PromptTooLong> {
        let tokens = self.tokens(
            case.channel().as_str(),
            &self.write(&case.context),
            &case.draft,
        );
        if tokens.len() > self.max_tokens {
            return Err(PromptTooLong {
                tokens: tokens.len(),
                budget: self.max_tokens,
            });
        }
        Ok(tokens)
    }

    /// The tokens with which every prompt begins: what two prompts that differ
    /// in all a caller can choose still have in common.
    pub fn shared_prefix(&self) -> Vec<Token> {
        let one = self.tokens("email", "{}", "A");
        let other = self.tokens("sms", "{\"a\":1}", "B");
        let common = one.iter().zip(&other).take_while(|(a, b)| a == b).count();
        one[..common].to_vec()
    }

    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    fn write(&self, context: &Context) -> String {
        match self.context {
            ContextFormat::Compact => context.to_compact(),
            ContextFormat::Indented => context.to_indented(),
        }
    }

    /// Text between two control tokens is tokenized as one run, as the
    /// tokenizers of the model's training do it.
    fn tokens(&self, channel: &str, context: &str, draft: &str) -> Vec<Token> {
        let mut tokens = Vec::new();
        let mut run = String::new();
        for piece in &self.turns {
            match piece {
                Piece::Text(text) => run.push_str(text),
                Piece::Place(Place::Channel) => run.push_str(channel),
                Piece::Place(Place::Context) => run.push_str(context),
                Piece::Place(Place::Draft) => run.push_str(draft),
                Piece::Control(control) => {
                    self.flush(&mut run, &mut tokens);
                    tokens.push(*control);
                }
            }
        }
        self.flush(&mut run, &mut tokens);
        tokens
    }

    fn flush(&self, run: &mut String, tokens: &mut Vec<Token>) {
        if !run.is_empty() {
            tokens.extend(self.tokenizer.tokenize(run.as_bytes()));
            run.clear();
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the prompt has `{tokens}` tokens, over the budget of `{budget}`")]
pub struct PromptTooLong {
    pub tokens: usize,
    pub budget: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("the template has the place `{{{{{name}}}}}` `{count}` times, not once")]
    Place { name: &'static str, count: usize },
    #[error("the template has a place `{{{{{0}}}}}`, which is none of channel, context, draft")]
    UnknownPlace(String),
    #[error("the template opens `{{{{` and does not close it")]
    Unclosed,
    #[error("the template names the control token `{0}`, which the model does not have")]
    UnknownControl(String),
}

/// Splits a template at its places and control tokens. A final line end is
/// that of the file, not of the prompt's last line, and is kept: the prompt
/// ends just as the file does.
fn parse(template: &str, tokenizer: &dyn Tokenizer) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut rest = template;
    while let Some(next) = rest.chars().next() {
        let piece = if let Some(after) = rest.strip_prefix("{{") {
            let (name, after) = after.split_once("}}").ok_or(TemplateError::Unclosed)?;
            rest = after;
            Piece::Place(match name.trim() {
                "channel" => Place::Channel,
                "context" => Place::Context,
                "draft" => Place::Draft,
                other => return Err(TemplateError::UnknownPlace(other.to_owned())),
            })
        } else if let Some(name) = control_name(rest) {
            rest = &rest[name.len()..];
            let token = tokenizer
                .control(name)
                .ok_or_else(|| TemplateError::UnknownControl(name.to_owned()))?;
            Piece::Control(token)
        } else {
            text.push(next);
            rest = &rest[next.len_utf8()..];
            continue;
        };
        if !text.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut text)));
        }
        pieces.push(piece);
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    Ok(pieces)
}

/// `<|name|>` at the start of `text`.
fn control_name(text: &str) -> Option<&str> {
    let name = text.strip_prefix("<|")?;
    let length = name
        .bytes()
        .take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
        .count();
    (length > 0 && name[length..].starts_with("|>")).then(|| &text[..length + 4])
}
