//! The tiny model's tokenizer: Qwen2's way of cutting text with a few hundred tokens.
//!
//! The labels are cut as in the real model, because the merges that make them are the same and
//! stand in the same order. Some tokens end in the middle of a character.

#![allow(dead_code, reason = "each test crate uses its own part")]
#![expect(
    clippy::expect_used,
    reason = "a test that goes wrong here should stop"
)]

use super::gguf_writer::{Field, GgufWriter};

/// As numbered in GGUF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenType {
    Normal = 1,
    Control = 3,
    UserDefined = 4,
    Unused = 5,
}

/// Pairs that become one token, the first being the most eager. `_` stands for a space.
const MERGES: &[(&str, &str)] = &[
    ("i", "n"),
    ("_", "t"),
    ("e", "r"),
    ("o", "n"),
    ("_", "a"),
    ("r", "e"),
    ("a", "t"),
    ("e", "n"),
    ("o", "r"),
    ("_t", "h"),
    ("_th", "e"),
    ("i", "s"),
    ("_", "is"),
    ("in", "g"),
    ("a", "n"),
    ("_", "an"),
    ("_an", "d"),
    ("_", "r"),
    ("u", "l"),
    ("_r", "ul"),
    ("_rul", "e"),
    ("r", "ul"),
    ("rul", "e"),
    ("a", "il"),
    ("i", "l"),
    ("m", "ail"),
    ("R", "E"),
    ("A", "T"),
    ("S", "E"),
    ("E", "N"),
    ("A", "L"),
    ("S", "S"),
    ("E", "S"),
    ("L", "O"),
    ("AT", "E"),
    ("C", "K"),
    ("U", "P"),
    ("A", "SS"),
    ("RE", "SS"),
    ("LO", "CK"),
    ("I", "SE"),
    ("B", "LOCK"),
    ("C", "AL"),
    ("P", "ASS"),
    ("P", "RESS"),
    ("S", "UP"),
];

/// The same for raw bytes: whole characters, and pieces of some.
const BYTE_MERGES: &[(&[u8], &[u8])] = &[
    // é and ü, whole; an "a" with the first byte of any of them, cut.
    (&[0xc3], &[0xa9]),
    (&[0xc3], &[0xbc]),
    (b"a", &[0xc3]),
    // General punctuation: two bytes of three, also after a space; the em dash and ’ whole.
    (&[0xe2], &[0x80]),
    (&[0xe2, 0x80], &[0x94]),
    (&[0xe2, 0x80], &[0x99]),
    (b" ", &[0xe2, 0x80]),
    // Emoji: two and three bytes of four; one whole.
    (&[0xf0], &[0x9f]),
    (&[0xf0, 0x9f], &[0x98]),
    (&[0xf0, 0x9f, 0x98], &[0x80]),
    // A blank line, for templates.
    (b"\n", b"\n"),
];

const SPECIALS: &[(&str, TokenType)] = &[
    ("<|endoftext|>", TokenType::Control),
    ("<|im_start|>", TokenType::Control),
    ("<|im_end|>", TokenType::Control),
    ("<tool_call>", TokenType::UserDefined),
    ("</tool_call>", TokenType::UserDefined),
    ("<|fim_prefix|>", TokenType::Control),
    ("<|fim_middle|>", TokenType::Control),
    ("<|fim_suffix|>", TokenType::Control),
    ("<|fim_pad|>", TokenType::Control),
    ("<|repo_name|>", TokenType::Control),
    ("<|file_sep|>", TokenType::Control),
];

const CHAT_TEMPLATE: &str = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}\
    <|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// All tokens as they stand in the file, in order of their ids.
pub fn tokens() -> Vec<(String, TokenType)> {
    let visible = (0..=u8::MAX).filter(|&byte| is_visible(byte));
    let hidden = (0..=u8::MAX).filter(|&byte| !is_visible(byte));
    let bytes = visible.chain(hidden).map(|byte| encode(&[byte]));
    let merged = merges().into_iter().map(|(left, right)| left + &right);
    let specials = SPECIALS.iter().map(|&(text, kind)| (text.to_owned(), kind));
    let mut tokens: Vec<_> = bytes
        .chain(merged)
        .map(|text| (text, TokenType::Normal))
        .chain(specials)
        .collect();
    // The real vocabulary is filled up to a round number too.
    while !tokens.len().is_multiple_of(32) {
        tokens.push((format!("[PAD{}]", tokens.len()), TokenType::Unused));
    }
    tokens
}

/// The id of a token given as it stands in the file: `Ġthe` for " the".
pub fn token_id(text: &str) -> u32 {
    let place = tokens().iter().position(|(token, _)| token == text);
    place.expect("a token of the tiny vocabulary") as u32
}

/// GPT-2's visible form of bytes.
pub fn encode(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|&byte| {
            if is_visible(byte) {
                return char::from(byte);
            }
            let before = (0..byte).filter(|&other| !is_visible(other)).count();
            char::from_u32(256 + before as u32).expect("a character below U+0144")
        })
        .collect()
}

pub fn add_fields(file: &mut GgufWriter) {
    let (texts, kinds): (Vec<_>, Vec<_>) = tokens()
        .into_iter()
        .map(|(text, kind)| (text, kind as i32))
        .unzip();
    let merges = merges()
        .into_iter()
        .map(|(left, right)| format!("{left} {right}"));
    file.str("tokenizer.ggml.model", "gpt2")
        .str("tokenizer.ggml.pre", "qwen2")
        .field("tokenizer.ggml.tokens", Field::Strings(texts))
        .field("tokenizer.ggml.token_type", Field::I32s(kinds))
        .field("tokenizer.ggml.merges", Field::Strings(merges.collect()));
    for (key, token) in [
        ("tokenizer.ggml.eos_token_id", "<|im_end|>"),
        ("tokenizer.ggml.padding_token_id", "<|endoftext|>"),
        ("tokenizer.ggml.bos_token_id", "<|endoftext|>"),
    ] {
        file.field(key, Field::U32(token_id(token)));
    }
    file.field("tokenizer.ggml.add_bos_token", Field::Bool(false))
        .str("tokenizer.chat_template", CHAT_TEMPLATE);
}

fn merges() -> Vec<(String, String)> {
    let words = MERGES.iter().map(|(left, right)| {
        let bytes = |piece: &str| encode(piece.replace('_', " ").as_bytes());
        (bytes(left), bytes(right))
    });
    let pieces = BYTE_MERGES
        .iter()
        .map(|(left, right)| (encode(left), encode(right)));
    words.chain(pieces).collect()
}

fn is_visible(byte: u8) -> bool {
    matches!(byte, 33..=126 | 161..=172 | 174..=255)
}
