//! Promise: whatever the model would rather say, an answer is a label and one finished sentence
//! within its bounds.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::support::tiny_backend::TinyFiles;
use crate::support::well_formed::assert_sentence;
use judged::backend::{Token, Tokenizer};
use judged::grammar::{Grammar, GrammarError, Progress};
use judged::models::AnswerSpec;
use judged::verdict::{Label, RationaleMode};

const GRAMMAR: &str = include_str!("../../models/tenacious-judge.lark");

fn with_tokenizer(work: impl FnOnce(Arc<dyn Tokenizer>)) {
    let files = TinyFiles::new();
    files.open(|backend| work(backend.tokenizer())).unwrap();
}

fn spec(tokens: u32, bytes: u32) -> AnswerSpec {
    AnswerSpec {
        grammar: GRAMMAR.to_owned(),
        evidence_grammar: None,
        max_rationale_tokens: tokens,
        max_rationale_bytes: bytes,
        rules: BTreeMap::new(),
    }
}

/// Has a whole answer chosen from such rows, and checks it; gives the sentence.
fn answer(grammar: &Grammar, spec: &AnswerSpec, mut next: impl FnMut(&[u8], &mut [f32])) -> String {
    // More logits than tokens do no harm.
    let mut row = vec![0.0; 1024];
    let mut answer = grammar
        .begin(Label::Penalise, RationaleMode::Sentence)
        .unwrap();
    let label_tokens = answer.tokens().len();
    loop {
        row.fill(0.0);
        next(answer.sentence().as_bytes(), &mut row);
        if answer.advance(&row).unwrap() == Progress::Finished {
            break;
        }
        assert!(!answer.pending().is_empty());
    }
    let sentence = answer.sentence();
    assert_sentence(&sentence, spec.max_rationale_bytes as usize);
    let tokens = answer.tokens().len() - label_tokens;
    assert!(tokens <= spec.max_rationale_tokens as usize, "{sentence:?}");
    assert!(answer.tokens().len() <= grammar.max_answer_tokens());
    sentence
}

/// A model that always wants this token most.
fn obsessed(text: &[u8], tokens: u32, bytes: u32) -> String {
    let mut sentence = String::new();
    with_tokenizer(|tokenizer| {
        let spec = spec(tokens, bytes);
        let grammar = Grammar::compile(&spec, Arc::clone(&tokenizer)).unwrap();
        let wanted = tokenizer.tokenize(text);
        sentence = answer(&grammar, &spec, |_, row| {
            wanted.iter().for_each(|token| row[*token as usize] = 9.0);
        });
    });
    sentence
}

#[test]
fn a_model_that_wants_only_full_stops_is_brought_to_an_end() {
    // "makes..." could once neither end nor be closed.
    for marks in [".", "!", "?", "...", ".!?"] {
        let sentence = obsessed(marks.as_bytes(), 48, 320);
        assert!(!sentence.contains(".."), "{sentence}");
    }
}

#[test]
fn a_model_that_never_ends_is_closed_within_its_bounds() {
    for text in ["a", " a", "PASS", "ing", "é", "—", "😀"] {
        for (tokens, bytes) in [(8, 320), (9, 320), (48, 16), (48, 17), (48, 18), (48, 320)] {
            obsessed(text.as_bytes(), tokens, bytes);
        }
    }
}

#[test]
fn a_model_that_cuts_characters_leaves_none_open() {
    // First bytes of longer characters, alone and at the end of a token.
    for lead in [
        &b"\xf0"[..],
        b"\xe2",
        b"\xc3",
        b"\xf0\x9f",
        b"\xe2\x80",
        b"a\xc3",
    ] {
        for tokens in 8..14 {
            obsessed(lead, tokens, 320);
            obsessed(lead, 48, 8 + tokens);
        }
    }
}

#[test]
fn a_model_that_wants_control_or_space_gets_neither() {
    for text in [
        "\n",
        "  ",
        "\0",
        "<|im_end|>",
        "<",
        "\u{202e}",
        "\u{a0}",
        "\t",
    ] {
        let sentence = obsessed(text.as_bytes(), 48, 320);
        assert!(!sentence.contains('<'), "{sentence}");
    }
}

#[test]
fn control_tokens_never_win_but_the_end() {
    with_tokenizer(|tokenizer| {
        let spec = spec(48, 320);
        let grammar = Grammar::compile(&spec, Arc::clone(&tokenizer)).unwrap();
        let size = tokenizer.vocab_size() as Token;
        let control: Vec<_> = (0..size).filter(|t| tokenizer.is_control(*t)).collect();
        let letter = tokenizer.tokenize(b"a")[0] as usize;
        let stop = tokenizer.tokenize(b".")[0] as usize;
        let sentence = answer(&grammar, &spec, |so_far, row| {
            control.iter().for_each(|token| row[*token as usize] = 9.0);
            row[letter] = 5.0;
            row[stop] = if so_far.len() == 3 { 6.0 } else { 0.0 };
        });
        // After its full stop the sentence may end, and the end is wanted most.
        assert_eq!(sentence, "aaa.");
    });
}

#[test]
fn rows_of_noise_give_only_well_formed_answers() {
    with_tokenizer(|tokenizer| {
        let mut state = 1_u64;
        let mut noise = move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 40) as f32 / 1e6
        };
        for (tokens, bytes) in [(8, 320), (48, 16), (48, 320), (20, 60)] {
            let spec = spec(tokens, bytes);
            let grammar = Grammar::compile(&spec, Arc::clone(&tokenizer)).unwrap();
            for _ in 0..500 {
                answer(&grammar, &spec, |_, row| {
                    row.iter_mut().for_each(|logit| *logit = noise());
                });
            }
        }
    });
}

#[test]
fn rows_without_numbers_give_no_answer() {
    with_tokenizer(|tokenizer| {
        let grammar = Grammar::compile(&spec(48, 320), tokenizer).unwrap();
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let begun = grammar.begin(Label::Penalise, RationaleMode::Sentence);
            let refused = begun.unwrap().advance(&[value; 1024]);
            assert_eq!(refused, Err(GrammarError::NoNumbers));
        }
    });
}

#[test]
fn a_grammar_that_no_full_stop_can_end_is_an_error_within_the_bounds() {
    with_tokenizer(|tokenizer| {
        let endless = "start: LABEL \"\\n\" /[a-z]{900}/\n\
            LABEL: \"SUPPRESS\" | \"ESCALATE\" | \"BLOCK\" | \"PENALISE\" | \"PASS\"\n";
        let spec = AnswerSpec {
            grammar: endless.to_owned(),
            ..spec(48, 320)
        };
        let grammar = Grammar::compile(&spec, tokenizer).unwrap();
        let mut answer = grammar.begin(Label::Pass, RationaleMode::Sentence).unwrap();
        let row = vec![0.0; 1024];
        let ended = (0..100).find_map(|_| answer.advance(&row).err());
        assert_eq!(ended, Some(GrammarError::Stuck));
        assert!(answer.tokens().len() <= grammar.max_answer_tokens());
    });
}

#[test]
fn scores_are_the_softmax_over_the_labels_first_tokens() {
    with_tokenizer(|tokenizer| {
        let grammar = Grammar::compile(&spec(48, 320), Arc::clone(&tokenizer)).unwrap();
        let mut row = vec![0.0_f32; tokenizer.vocab_size()];
        let first = |label: Label| tokenizer.tokenize(label.as_str().as_bytes())[0] as usize;
        row[first(Label::Block)] = 3.0_f32.ln();
        let scores = grammar.score(&row);
        assert_eq!(scores.best(), Label::Block);
        for label in Label::ALL {
            let expected = if label == Label::Block { 3.0 } else { 1.0 } / 7.0;
            assert!((scores.probabilities[label.index()] - expected).abs() < 1e-6);
        }
        let mass = 7.0 / (tokenizer.vocab_size() as f64 + 2.0);
        assert!((scores.legal_mass - mass).abs() < 1e-6);
        // Far below the rest the five still have their order and their sum.
        row.fill(2000.0);
        for label in Label::ALL {
            row[first(label)] = -1000.0;
        }
        row[first(Label::Pass)] = -999.0;
        let scores = grammar.score(&row);
        assert_eq!(scores.best(), Label::Pass);
        assert!((scores.probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        assert_eq!(scores.legal_mass, 0.0);
    });
}
