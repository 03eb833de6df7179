//! The tokenizer's part of the metadata.

use std::collections::HashSet;

use super::{BaseProblem, expect, setting};
use crate::gguf::{Gguf, Problem, ValueKind};

const TOKENS: &str = "tokenizer.ggml.tokens";
/// Seven times what Qwen2 has.
const TOKENS_LIMIT: u64 = 1 << 20;
/// Of all token texts together; Qwen2's take 1 MB.
const BYTES_LIMIT: u64 = 16 * 1024 * 1024;

/// Gives the number of tokens.
pub(super) fn check(base: &Gguf) -> Result<u64, BaseProblem> {
    expect(base, "tokenizer.ggml.model", "gpt2")?;
    expect(base, "tokenizer.ggml.pre", "qwen2")?;
    let tokens = array(base, TOKENS, ValueKind::String)?;
    if !(1..=TOKENS_LIMIT).contains(&tokens) {
        return Err(BaseProblem::TokenCount {
            found: tokens,
            limit: TOKENS_LIMIT,
        });
    }
    array(base, "tokenizer.ggml.merges", ValueKind::String)?;
    let key = "tokenizer.ggml.token_type";
    let types = array(base, key, ValueKind::I32)?;
    if types != tokens {
        return Err(BaseProblem::ArrayLength {
            key,
            expected: tokens,
            found: types,
        });
    }
    for key in [
        "tokenizer.ggml.bos_token_id",
        "tokenizer.ggml.eos_token_id",
        "tokenizer.ggml.padding_token_id",
    ] {
        if let Some(id) = base.optional::<u32>(key)?
            && u64::from(id) >= tokens
        {
            return Err(setting(key, id, "a token of the vocabulary"));
        }
    }
    check_texts(base)?;
    Ok(tokens)
}

fn array(base: &Gguf, key: &str, expected: ValueKind) -> Result<u64, BaseProblem> {
    let array = base.array(key)?;
    if array.kind == expected {
        return Ok(array.len);
    }
    Err(BaseProblem::Gguf(Problem::WrongElements {
        key: key.to_owned(),
        expected,
        found: array.kind,
    }))
}

/// llama.cpp asserts that no token occurs twice, as C strings; an empty one gets a made-up name.
/// Without a token for each byte it would drop text silently, and judge something else.
fn check_texts(base: &Gguf) -> Result<(), BaseProblem> {
    let mut seen = HashSet::new();
    let mut bytes = 0;
    let mut place = 0;
    let mut problem = None;
    base.each_string(TOKENS, |token| {
        bytes += token.len() as u64;
        if problem.is_some() {
            return;
        }
        if bytes > BYTES_LIMIT {
            problem = Some(BaseProblem::TokenBytes { limit: BYTES_LIMIT });
        } else if token.is_empty() || token.contains('\0') {
            problem = Some(BaseProblem::BadToken { place });
        } else if !seen.insert(token.to_owned()) {
            let token = token.to_owned();
            problem = Some(BaseProblem::DuplicateToken { token, place });
        }
        place += 1;
    })?;
    if let Some(problem) = problem {
        return Err(problem);
    }
    let missing = (0..=u8::MAX).find(|&byte| !seen.contains(byte_token(byte).as_str()));
    match missing {
        None => Ok(()),
        Some(byte) => Err(BaseProblem::MissingByte { byte }),
    }
}

/// GPT-2 writes a byte as the visible Latin-1 character of its number; the 68 others become the
/// characters from 256 on, in order.
fn byte_token(byte: u8) -> String {
    let visible = |byte: &u8| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let character = if visible(&byte) {
        char::from(byte)
    } else {
        let before = (0..byte).filter(|other| !visible(other)).count() as u32;
        char::from_u32(256 + before).unwrap_or_default()
    };
    character.to_string()
}
