use std::path::Path;

use super::*;
use crate::backend::scripted::ScriptedTokenizer;
use crate::models::Bundle;
use crate::tests::chance::Chance;

fn spec(tokens: u32, bytes: u32) -> AnswerSpec {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let bundle = Bundle::load(&root.join("models/tenacious-judge.toml")).unwrap();
    AnswerSpec {
        max_rationale_tokens: tokens,
        max_rationale_bytes: bytes,
        evidence_grammar: None,
        ..bundle.answer
    }
}

fn with_evidence(tokens: u32, bytes: u32) -> Grammar {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let bundle = Bundle::load(&root.join("models/tenacious-judge.toml")).unwrap();
    let spec = AnswerSpec {
        evidence_grammar: bundle.answer.evidence_grammar,
        ..spec(tokens, bytes)
    };
    Grammar::compile(&spec, tokenizer()).unwrap()
}

fn grammar(tokens: u32, bytes: u32) -> Grammar {
    Grammar::compile(&spec(tokens, bytes), tokenizer()).unwrap()
}

fn tokenizer() -> Arc<dyn Tokenizer> {
    Arc::new(ScriptedTokenizer::default())
}

fn refused(text: &str) -> GrammarError {
    let spec = AnswerSpec {
        grammar: text.to_owned(),
        ..spec(48, 320)
    };
    Grammar::compile(&spec, tokenizer()).err().unwrap()
}

/// Writes an answer from rows of logits, and checks it on the way.
fn write(grammar: &Grammar, label: Label, row: impl FnMut(usize) -> Vec<f32>) -> String {
    let sentence = write_in(RationaleMode::Sentence, grammar, label, row);
    check_sentence(grammar, &sentence);
    sentence
}

fn write_in(
    mode: RationaleMode,
    grammar: &Grammar,
    label: Label,
    mut row: impl FnMut(usize) -> Vec<f32>,
) -> String {
    let mut answer = grammar.begin(label, mode).unwrap();
    if answer.is_whole() {
        return answer.sentence();
    }
    let mut tokens = answer.pending().to_vec();
    for step in 0.. {
        assert!(
            !answer.pending().is_empty(),
            "the model has something to read"
        );
        assert!(
            step <= grammar.max_answer_tokens(),
            "the answer does not end"
        );
        let progress = answer.advance(&row(step));
        let progress =
            progress.unwrap_or_else(|error| panic!("{error}: {label} {:?}", answer.sentence()));
        tokens.extend(answer.pending());
        if progress == Progress::Finished {
            break;
        }
    }
    assert_eq!(answer.tokens().len(), tokens.len());
    assert!(tokens.len() <= grammar.max_answer_tokens());
    assert!(
        tokens
            .iter()
            .all(|token| !grammar.tokenizer.is_control(*token))
    );
    let text = String::from_utf8(grammar.bytes(&tokens)).expect("valid UTF-8");
    let sentence = text.strip_prefix(&format!("{label}\n")).unwrap();
    assert_eq!(sentence, answer.sentence());
    sentence.to_owned()
}

fn check_sentence(grammar: &Grammar, sentence: &str) {
    assert!(sentence.ends_with(['.', '!', '?']), "{sentence:?}");
    assert!(sentence.len() <= grammar.max_bytes, "{sentence:?}");
    assert!(
        sentence.chars().all(|letter| !letter.is_control()),
        "{sentence:?}"
    );
    assert!(!sentence.contains("  "), "{sentence:?}");
    let formats = [
        '\u{200b}', '\u{200e}', '\u{202e}', '\u{feff}', '\u{2028}', '\u{ad}',
    ];
    assert!(!sentence.contains(formats), "{sentence:?}");
    let first = sentence.chars().next().unwrap();
    assert!(
        !first.is_whitespace() && !".!?".contains(first),
        "{sentence:?}"
    );
}

#[test]
fn whatever_the_logits_say_every_answer_is_one_well_formed_sentence() {
    let grammars = [grammar(48, 320), grammar(8, 16), grammar(200, 40)];
    let size = ScriptedTokenizer::default().vocab_size();
    let mut chance = Chance(7);
    for round in 0..3000 {
        let grammar = &grammars[round % grammars.len()];
        let label = Label::ALL[round % 5];
        write(grammar, label, |_| chance.row(size));
    }
}

/// Bytes from 0x80 begin and continue characters of two to four bytes: the
/// closing must not cut one.
#[test]
fn a_model_that_wants_only_rare_characters_still_ends_its_sentence() {
    let size = ScriptedTokenizer::default().vocab_size();
    let mut chance = Chance(11);
    for (tokens, bytes) in [(48, 320), (8, 16), (9, 17), (10, 18), (11, 19), (12, 20)] {
        let grammar = grammar(tokens, bytes);
        for from in [0x80, 0xc2, 0xe0, 0xf0] {
            for label in Label::ALL {
                write(&grammar, label, |_| {
                    let mut row = chance.row(size);
                    row[from..0x100]
                        .iter_mut()
                        .for_each(|logit| *logit += 1000.0);
                    row
                });
            }
        }
    }
}

#[test]
fn a_model_that_never_ends_its_sentence_is_ended_within_the_bounds() {
    let size = ScriptedTokenizer::default().vocab_size();
    let grammar = grammar(48, 320);
    for byte in [b'a', b'.', b'!', b' ', b'"', b'<', b'\n', 0] {
        write(&grammar, Label::Pass, |_| {
            let mut row = vec![0.0; size];
            row[byte as usize] = 50.0;
            row
        });
    }
}

#[test]
fn a_model_that_wants_control_tokens_gets_none() {
    let tokenizer = ScriptedTokenizer::default();
    let size = tokenizer.vocab_size();
    let grammar = grammar(48, 320);
    write(&grammar, Label::Pass, |_| {
        let mut row = vec![0.0; size];
        for token in 0..size as Token {
            if tokenizer.is_control(token) {
                row[token as usize] = 90.0;
            }
        }
        row
    });
}

#[test]
fn rows_that_are_no_numbers_give_no_sentence() {
    let grammar = grammar(48, 320);
    let size = ScriptedTokenizer::default().vocab_size();
    let all = [f32::NAN, f32::NEG_INFINITY, f32::INFINITY].map(|bad| vec![bad; size]);
    let mut one = vec![0.0; size];
    one[3] = f32::NAN;
    for row in all.into_iter().chain([one, Vec::new()]) {
        let begun = grammar.begin(Label::Block, RationaleMode::Sentence);
        let refused = begun.unwrap().advance(&row);
        assert_eq!(refused, Err(GrammarError::NoNumbers), "{row:?}");
    }
}

#[test]
fn the_sentence_is_what_the_model_wants_where_the_grammar_allows_it() {
    let tokenizer = ScriptedTokenizer::default();
    let wanted = b"Rule 2.5 of Acme.io holds.";
    let grammar = grammar(48, 320);
    let sentence = write(&grammar, Label::Pass, |step| {
        let mut row = vec![0.0; tokenizer.vocab_size()];
        let next = wanted
            .get(step)
            .map_or(tokenizer.end_tokens()[0], |byte| Token::from(*byte));
        row[next as usize] = 50.0;
        row
    });
    assert_eq!(sentence.as_bytes(), wanted);
}

#[test]
fn evidence_is_a_rule_of_the_label_with_a_quotation_whatever_the_logits_say() {
    let grammars = [
        with_evidence(48, 320),
        with_evidence(19, 27),
        with_evidence(200, 40),
    ];
    let size = ScriptedTokenizer::default().vocab_size();
    let rules = |label| match label {
        Label::Suppress => &["1", "2", "2b"][..],
        Label::Escalate => &["3"],
        Label::Block => &["4", "5", "5b", "5c", "5d"],
        Label::Penalise => &["6"],
        Label::Pass => &[],
    };
    let mut chance = Chance(13);
    for round in 0..3000 {
        let grammar = &grammars[round % grammars.len()];
        let label = Label::ALL[round % 5];
        let row = |_| chance.row(size);
        let evidence = write_in(RationaleMode::Evidence, grammar, label, row);
        if label == Label::Pass {
            assert_eq!(evidence, "No rule fires.");
            continue;
        }
        let rest = evidence.strip_prefix("Rule ").unwrap();
        let (rule, quotation) = rest.split_once(": '").unwrap();
        assert!(rules(label).contains(&rule), "{evidence:?}");
        let quoted = quotation.strip_suffix("'.").unwrap();
        assert!(
            !quoted.is_empty() && quoted.trim() == quoted,
            "{evidence:?}"
        );
        assert!(!quoted.chars().any(char::is_control), "{evidence:?}");
    }
}

#[test]
fn a_quotation_that_never_ends_is_ended_within_the_bounds() {
    let size = ScriptedTokenizer::default().vocab_size();
    let grammar = with_evidence(48, 320);
    // Of the one's evidence the rule's number is chosen, the other's is forced up to its quotation.
    for label in [Label::Block, Label::Escalate] {
        for byte in [b'a', b'\'', b'.', b' ', b'<', b'\n', 0, 0xf0] {
            let evidence = write_in(RationaleMode::Evidence, &grammar, label, |_| {
                let mut row = vec![0.0; size];
                row[byte as usize] = 50.0;
                row
            });
            assert!(evidence.ends_with("'."), "{evidence:?}");
            let tokens = tokenizer().tokenize(evidence.as_bytes());
            assert!(tokens.len() <= 48, "{evidence:?}");
        }
    }
}

#[test]
fn without_a_grammar_for_evidence_it_is_a_sentence() {
    let grammar = grammar(48, 320);
    let size = ScriptedTokenizer::default().vocab_size();
    let row = |_| vec![0.0; size];
    let asked = write_in(RationaleMode::Evidence, &grammar, Label::Block, row);
    assert_eq!(asked, write(&grammar, Label::Block, row));
}

#[test]
fn scores_are_a_softmax_over_the_five_first_tokens() {
    let grammar = grammar(48, 320);
    let tokenizer = ScriptedTokenizer::default();
    let mut row = vec![0.0_f32; tokenizer.vocab_size()];
    let tokens = Label::ALL.map(|label| tokenizer.tokenize(label.as_str().as_bytes())[0] as usize);
    for (index, token) in tokens.into_iter().enumerate() {
        row[token] = index as f32;
    }
    let scores = grammar.score(&row);
    let weights: Vec<f64> = (0..5).map(|index| f64::from(index).exp()).collect();
    let legal: f64 = weights.iter().sum();
    for (index, weight) in weights.iter().enumerate() {
        assert!((scores.probabilities[index] - weight / legal).abs() < 1e-12);
    }
    let all = legal + (row.len() - 5) as f64;
    assert!((scores.legal_mass - legal / all).abs() < 1e-12);
    assert_eq!(scores.best(), Label::Pass);
}

#[test]
fn scores_sum_to_one_even_where_the_five_vanish_beside_the_rest() {
    let grammar = grammar(48, 320);
    let mut row = vec![-1e9_f32; ScriptedTokenizer::default().vocab_size()];
    row[0] = 1e9;
    let scores = grammar.score(&row);
    let sum: f64 = scores.probabilities.iter().sum();
    assert!((sum - 1.0).abs() < 1e-9);
    assert_eq!(scores.legal_mass, 0.0);
}

#[test]
fn scores_of_what_is_no_number_have_no_mass() {
    let grammar = grammar(48, 320);
    let size = ScriptedTokenizer::default().vocab_size();
    let one = |bad| {
        let mut row = vec![0.0; size];
        row[3] = bad;
        row
    };
    let all = |bad| vec![bad; size];
    for row in [
        one(f32::NAN),
        one(f32::INFINITY),
        all(f32::NAN),
        all(f32::NEG_INFINITY),
    ] {
        assert!(!grammar.score(&row).legal_mass.is_finite());
    }
    assert!(
        grammar
            .score(&one(f32::NEG_INFINITY))
            .legal_mass
            .is_finite()
    );
}

#[test]
fn a_grammar_that_is_none_is_refused() {
    assert!(matches!(refused("start: ("), GrammarError::Compile(_)));
    assert!(matches!(refused(""), GrammarError::Compile(_)));
}

#[test]
fn a_grammar_without_one_of_the_labels_is_refused() {
    let text = "start: LABEL \"\\n\" /[a-z]+[.]/\nLABEL: \"SUPPRESS\" | \"ESCALATE\" | \"BLOCK\" | \"PENALISE\"";
    assert_eq!(refused(text), GrammarError::LabelRefused(Label::Pass));
}

#[test]
fn a_grammar_that_lets_another_word_come_first_is_refused() {
    let labels = "\"SUPPRESS\" | \"ESCALATE\" | \"BLOCK\" | \"PENALISE\" | \"PASS\"";
    let text = format!("start: LABEL \"\\n\" /[a-z]+[.]/\nLABEL: {labels} | \"MAYBE\"");
    assert_eq!(refused(&text), GrammarError::NotALabel("M".to_owned()));
}

#[test]
fn bounds_too_small_for_any_sentence_are_refused() {
    for (tokens, bytes) in [(7, 320), (48, 15), (0, 0)] {
        let error = Grammar::compile(&spec(tokens, bytes), tokenizer()).err();
        assert_eq!(
            error,
            Some(GrammarError::Bounds {
                tokens: 8,
                bytes: 16
            })
        );
    }
}

/// Every text a byte a token: PENALISE and PASS begin with the same.
struct Bytes(ScriptedTokenizer);

impl Tokenizer for Bytes {
    fn vocab_size(&self) -> usize {
        self.0.vocab_size()
    }

    fn tokenize(&self, text: &[u8]) -> Vec<Token> {
        text.iter().map(|byte| Token::from(*byte)).collect()
    }

    fn control(&self, name: &str) -> Option<Token> {
        self.0.control(name)
    }

    fn is_control(&self, token: Token) -> bool {
        self.0.is_control(token)
    }

    fn piece(&self, token: Token) -> &[u8] {
        self.0.piece(token)
    }

    fn end_tokens(&self) -> &[Token] {
        self.0.end_tokens()
    }
}

#[test]
fn a_matcher_that_failed_finishes_no_answer() {
    let grammar = grammar(48, 320);
    let begun = grammar.begin(Label::Pass, RationaleMode::Sentence);
    let mut answer = begun.unwrap();
    answer.matcher.test_trigger_lexer_error().unwrap_err();
    assert!(answer.matcher.is_stopped());
    let finished = answer.finish();
    assert!(
        matches!(finished, Err(GrammarError::Match(_))),
        "{finished:?}"
    );
}

#[test]
fn labels_that_begin_with_the_same_token_are_refused() {
    let tokenizer = Arc::new(Bytes(ScriptedTokenizer::default()));
    let error = Grammar::compile(&spec(48, 320), tokenizer).err();
    let same = GrammarError::SameFirstToken(Label::Penalise, Label::Pass);
    assert_eq!(error, Some(same));
}

#[test]
fn a_panic_inside_the_grammar_costs_the_answers_under_way_and_no_later_one() {
    let grammar = with_evidence(48, 320);
    for mode in [RationaleMode::Sentence, RationaleMode::Evidence] {
        let [mut broken, mut beside] =
            [Label::Pass, Label::Block].map(|label| grammar.begin(label, mode).unwrap());
        broken.matcher.test_trigger_lexer_error().unwrap_err();
        let size = grammar.tokenizer.vocab_size();
        let mut chance = Chance(11);
        let outcome = beside.advance(&chance.row(size));
        let Err(GrammarError::Match(why)) = &outcome else {
            panic!("{outcome:?}");
        };
        assert!(!why.is_empty() && !why.contains('\n'), "{why}");
        for label in Label::ALL {
            write_in(mode, &grammar, label, |_| chance.row(size));
        }
    }
}
