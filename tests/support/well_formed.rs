//! What every rationale must be, said once more and apart from the grammar.

#![allow(dead_code, reason = "each test crate uses its own part")]

/// Unicode's categories Cc, Cf and Z.
const INVISIBLE: &[(u32, u32)] = &[
    (0x0, 0x20),
    (0x7f, 0xa0),
    (0xad, 0xad),
    (0x600, 0x605),
    (0x61c, 0x61c),
    (0x6dd, 0x6dd),
    (0x70f, 0x70f),
    (0x890, 0x891),
    (0x8e2, 0x8e2),
    (0x1680, 0x1680),
    (0x180e, 0x180e),
    (0x2000, 0x200f),
    (0x2028, 0x202f),
    (0x205f, 0x2064),
    (0x2066, 0x206f),
    (0x3000, 0x3000),
    (0xfeff, 0xfeff),
    (0xfff9, 0xfffb),
    (0x110bd, 0x110bd),
    (0x110cd, 0x110cd),
    (0x13430, 0x1343f),
    (0x1bca0, 0x1bca3),
    (0x1d173, 0x1d17a),
    (0xe0001, 0xe0001),
    (0xe0020, 0xe007f),
];

/// One line, one sentence with its mark at the end, nothing invisible but single spaces between
/// words, nothing that looks like a control token, and within its bytes.
#[track_caller]
pub fn assert_sentence(text: &str, max_bytes: usize) {
    assert!(text.len() >= 2, "no sentence: {text:?}");
    assert!(text.len() <= max_bytes, "{} bytes: {text:?}", text.len());
    let characters: Vec<char> = text.chars().collect();
    let mark = |c: char| matches!(c, '.' | '!' | '?');
    for (at, &character) in characters.iter().enumerate() {
        let next = characters.get(at + 1).copied();
        if character == ' ' {
            assert!(at > 0, "begins with a space: {text:?}");
            let next = next.unwrap_or(' ');
            assert!(next != ' ' && !mark(next), "a space too many: {text:?}");
        } else {
            let code = u32::from(character);
            let invisible = INVISIBLE.iter().any(|&(a, b)| (a..=b).contains(&code));
            assert!(!invisible, "U+{code:04X} in {text:?}");
        }
        assert_ne!(character, '<', "could be a control token: {text:?}");
        if mark(character) {
            assert!(at > 0, "begins with its end: {text:?}");
            let inner = next.is_none_or(|next| next != ' ' && !mark(next));
            assert!(inner, "a second sentence: {text:?}");
        }
    }
    assert!(text.ends_with(mark), "no end: {text:?}");
}
