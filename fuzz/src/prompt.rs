//! A context and a draft, rendered by the default bundle's template with the tokenizer of
//! llama.cpp: the control tokens are the template's, and every other byte is there.

use std::sync::{Arc, LazyLock};

use judged::backend::{Token, Tokenizer};
use judged::models::ContextFormat;
use judged::prompt::Prompt;
use judged::verdict::Case;

use super::parts::case;
use super::support::tiny_backend::TinyFiles;

const TEMPLATE: &str = include_str!("../../models/tenacious-judge.prompt");

struct Rendered {
    prompt: Prompt,
    tokenizer: Arc<dyn Tokenizer>,
    /// The template's control tokens, in order.
    controls: Vec<Token>,
}

static RENDERED: LazyLock<Rendered> = LazyLock::new(|| {
    let files = TinyFiles::new();
    let tokenizer = files.open(|backend| backend.tokenizer());
    let tokenizer = tokenizer.expect("the tiny model opens");
    let format = ContextFormat::Compact;
    let prompt = Prompt::new(TEMPLATE, format, usize::MAX, Arc::clone(&tokenizer));
    let prompt = prompt.expect("the bundle's template");
    let plain = prompt.render(&case(b"{}\n---\nplain")).expect("no budget");
    let controls = controls(tokenizer.as_ref(), &plain);
    assert_eq!(controls.len(), 5, "two turns, and the answer's beginning");
    Rendered {
        prompt,
        tokenizer,
        controls,
    }
});

pub fn check(bytes: &[u8]) {
    let case = case(bytes);
    let this = &*RENDERED;
    let tokens = this.prompt.render(&case).expect("no budget");
    assert_eq!(controls(this.tokenizer.as_ref(), &tokens), this.controls);
    let pieces = tokens.iter().flat_map(|token| this.tokenizer.piece(*token));
    let text: Vec<u8> = pieces.copied().collect();
    assert_eq!(String::from_utf8_lossy(&text), written(&case));
}

fn controls(tokenizer: &dyn Tokenizer, tokens: &[Token]) -> Vec<Token> {
    let control = |token: &Token| tokenizer.is_control(*token);
    tokens.iter().copied().filter(control).collect()
}

/// The template with its places filled; nothing that is filled in is looked at again.
fn written(case: &Case) -> String {
    let mut text = String::new();
    for piece in TEMPLATE.split_inclusive("}}") {
        let (plain, place) = piece.split_once("{{").unwrap_or((piece, ""));
        text.push_str(plain);
        match place {
            "" => {}
            "channel}}" => text.push_str(case.channel().as_str()),
            "context}}" => text.push_str(&case.context.to_compact()),
            "draft}}" => text.push_str(&case.draft),
            other => panic!("the template has the place {other}"),
        }
    }
    text
}
