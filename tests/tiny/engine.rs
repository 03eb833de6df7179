//! Promise: over llama.cpp a shared prefix costs nothing and changes nothing, and no misuse of the
//! backend reaches an abort.

use crate::support::tiny_backend::{CONTEXT, TinyFiles, largest_difference, row, share, span};
use judged::backend::{Backend, DecodeError, SequenceId, Span, Token};

const SHARED: SequenceId = SequenceId(0);

/// Where batches are cut differently the sums have another order, and llama.cpp keeps K and V in
/// 16 bits. Another token anywhere in the prompt moves the row ten times as far.
fn assert_close(one: &[f32], other: &[f32]) {
    let difference = largest_difference(one, other);
    assert!(difference < 0.05, "{difference}");
}

fn tokens(backend: &dyn Backend, text: &str) -> Vec<Token> {
    backend.tokenizer().tokenize(text.as_bytes())
}

/// As many different tokens as asked for.
fn some_tokens(count: usize) -> Vec<Token> {
    (0..count).map(|n| (n * 37 % 250) as Token).collect()
}

fn open<T>(work: impl FnOnce(&mut dyn Backend) -> T) -> T {
    TinyFiles::new().open(work).unwrap()
}

#[test]
fn a_tiny_model_loads_and_its_logits_depend_on_the_prompt() {
    open(|backend| {
        assert_eq!(backend.description().adapter, "none");
        assert_eq!(backend.capacity().batch, 256);
        assert_eq!(backend.capacity().cells, 8 * 512);
        let one = tokens(backend, "The draft names a competitor.");
        let other = tokens(backend, "The draft names no competitor.");
        let one = row(backend, 1, 0, &one);
        let other = row(backend, 2, 0, &other);
        assert_eq!(one.len(), backend.tokenizer().vocab_size());
        assert!(one.iter().all(|logit| logit.is_finite()));
        assert!(largest_difference(&one, &other) > 0.5);
    });
}

#[test]
fn the_same_batch_gives_the_same_row() {
    open(|backend| {
        let prompt = some_tokens(100);
        let first = row(backend, 1, 0, &prompt);
        backend.release(SequenceId(1)).unwrap();
        assert_eq!(first, row(backend, 1, 0, &prompt));
        // And so it does in another sequence, beside others.
        row(backend, 5, 0, &some_tokens(33));
        assert_eq!(first, row(backend, 2, 0, &prompt));
    });
}

#[test]
fn rows_stand_in_the_order_of_the_spans_and_only_where_asked_for() {
    open(|backend| {
        let (one, other) = (some_tokens(5), some_tokens(9));
        let alone = row(backend, 3, 0, &other);
        let silent = Span {
            outputs: 0,
            ..span(1, 0, &one)
        };
        backend.decode(&[silent, span(2, 0, &other)]).unwrap();
        assert_eq!(backend.logits(0, 0), None);
        assert_eq!(backend.logits(2, 0), None);
        assert_close(backend.logits(1, 0).unwrap(), &alone);
    });
}

#[test]
fn a_batch_without_tokens_is_refused() {
    open(|backend| {
        assert_eq!(backend.decode(&[]), Err(DecodeError::Empty));
        let spans = [span(1, 0, &[1, 2]), span(2, 0, &[])];
        assert_eq!(backend.decode(&spans), Err(DecodeError::Empty));
    });
}

#[test]
fn a_token_outside_the_vocabulary_is_refused() {
    open(|backend| {
        let size = backend.tokenizer().vocab_size() as Token;
        row(backend, 1, 0, &[0, size - 1]);
        for token in [size, i32::MAX as Token, Token::MAX] {
            let outcome = backend.decode(&[span(2, 0, &[0, token])]);
            assert_eq!(outcome, Err(DecodeError::NoSuchToken { token }));
        }
    });
}

#[test]
fn a_sequence_that_the_context_lacks_is_refused() {
    open(|backend| {
        let limit = CONTEXT.sequences as usize;
        for sequence in [CONTEXT.sequences, u32::MAX] {
            let refused = Err(DecodeError::NoSuchSequence { sequence, limit });
            let id = SequenceId(sequence);
            assert_eq!(backend.decode(&[span(sequence, 0, &[1])]), refused);
            assert_eq!(backend.release(id), refused);
            assert_eq!(
                backend.save(id, 0..0),
                refused.clone().map(|()| unreachable!())
            );
            assert_eq!(backend.restore(id, &[]), refused);
            assert_eq!(backend.truncate(id, 0), refused);
        }
    });
}

#[test]
fn a_batch_that_is_too_large_is_refused() {
    open(|backend| {
        let refused = Err(DecodeError::BatchTooLarge {
            tokens: 257,
            limit: 256,
        });
        assert_eq!(backend.decode(&[span(1, 0, &some_tokens(257))]), refused);
        let (one, other) = (some_tokens(200), some_tokens(57));
        let halves = [span(1, 0, &one), span(2, 0, &other)];
        assert_eq!(backend.decode(&halves), refused);
        row(backend, 1, 0, &some_tokens(256));
    });
}

#[test]
fn a_span_must_begin_where_its_sequence_ends() {
    open(|backend| {
        row(backend, 1, 0, &some_tokens(10));
        for (sequence, start, has) in [(1, 9, 10), (1, 11, 10), (1, 0, 10), (2, 1, 0)] {
            let outcome = backend.decode(&[span(sequence, start, &[1])]);
            let refused = DecodeError::Length {
                sequence,
                tokens: has,
                expected: start,
            };
            assert_eq!(outcome, Err(refused));
        }
        // The second span goes on where the first one ends.
        backend
            .decode(&[span(1, 10, &[1, 2]), span(1, 12, &[3])])
            .unwrap();
        let twice = backend.decode(&[span(1, 13, &[1, 2]), span(1, 13, &[3])]);
        assert!(
            matches!(twice, Err(DecodeError::Length { .. })),
            "{twice:?}"
        );
        let far = backend.decode(&[span(3, usize::MAX, &[1])]);
        assert!(matches!(far, Err(DecodeError::Length { .. })), "{far:?}");
    });
}

#[test]
fn only_what_is_there_can_be_saved_and_only_an_empty_sequence_is_restored() {
    open(|backend| {
        row(backend, 0, 0, &some_tokens(10));
        let length = |sequence, tokens, expected| {
            Err(DecodeError::Length {
                sequence,
                tokens,
                expected,
            })
        };
        assert_eq!(share(backend, SHARED, SequenceId(1), 11), length(0, 10, 11));
        share(backend, SHARED, SequenceId(1), 10).unwrap();
        assert_eq!(share(backend, SHARED, SequenceId(1), 10), length(1, 10, 0));
        assert_eq!(share(backend, SHARED, SHARED, 10), length(0, 10, 0));
        assert_eq!(backend.truncate(SHARED, 11), length(0, 10, 11));
        row(backend, 1, 10, &[1]);
    });
}

#[test]
fn a_full_cache_is_an_error_that_a_release_ends() {
    open(|backend| {
        let (cells, chunk) = (512, some_tokens(256));
        for sequence in 0..8 {
            row(backend, sequence, 0, &chunk);
            row(backend, sequence, 256, &chunk);
        }
        for sequence in 0..8 {
            let outcome = backend.decode(&[span(sequence, cells, &[1])]);
            assert_eq!(outcome, Err(DecodeError::CacheFull));
        }
        backend.release(SequenceId(3)).unwrap();
        row(backend, 3, 0, &chunk);
    });
}

#[test]
fn released_cells_can_be_used_again_and_again() {
    open(|backend| {
        let shared = some_tokens(200);
        row(backend, 0, 0, &shared);
        let rest: Vec<Token> = some_tokens(150);
        let mut first = None;
        for _ in 0..30 {
            // 350 of each sequence's 512 cells: a leak would show at once.
            for slot in 1..=5 {
                share(backend, SHARED, SequenceId(slot), 200).unwrap();
                let logits = row(backend, slot, 200, &rest);
                // Exactly the same, whichever the slot and whoever else is there.
                assert_eq!(first.get_or_insert_with(|| logits.clone()), &logits);
            }
            for slot in 1..=5 {
                backend.release(SequenceId(slot)).unwrap();
            }
        }
        // The shared part is still there.
        row(backend, 0, 200, &[1]);
    });
}

#[test]
fn a_release_of_the_shared_part_leaves_it_with_those_who_share_it() {
    open(|backend| {
        let (shared, rest) = (some_tokens(120), some_tokens(30));
        row(backend, 0, 0, &shared);
        for slot in [1, 2] {
            share(backend, SHARED, SequenceId(slot), 120).unwrap();
        }
        let before = row(backend, 1, 120, &rest);
        backend.release(SHARED).unwrap();
        let after = row(backend, 2, 120, &rest);
        assert_eq!(before, after);
    });
}

#[test]
fn clear_empties_every_sequence() {
    open(|backend| {
        for sequence in 0..8 {
            row(backend, sequence, 0, &some_tokens(100));
        }
        backend.clear();
        assert_eq!(backend.logits(0, 0), None);
        for sequence in 0..8 {
            row(backend, sequence, 0, &some_tokens(100));
        }
    });
}

#[test]
fn a_shared_prefix_gives_exactly_the_row_of_the_same_split_without_sharing() {
    open(|backend| {
        for cut in [1, 32, 63, 100, 200] {
            backend.clear();
            let prompt = some_tokens(230);
            let (prefix, rest) = prompt.split_at(cut);
            row(backend, 1, 0, prefix);
            let split = row(backend, 1, cut, rest);
            backend.clear();
            row(backend, 0, 0, prefix);
            share(backend, SHARED, SequenceId(1), cut).unwrap();
            assert_eq!(split, row(backend, 1, cut, rest), "cut at {cut}");
        }
    });
}

#[test]
fn a_shared_prefix_gives_exactly_the_row_of_a_full_prefill() {
    open(|backend| {
        let prompt = some_tokens(230);
        let full = row(backend, 1, 0, &prompt);
        for cut in [1, 32, 63, 100, 200] {
            backend.clear();
            row(backend, 0, 0, &prompt[..cut]);
            share(backend, SHARED, SequenceId(1), cut).unwrap();
            assert_eq!(full, row(backend, 1, cut, &prompt[cut..]), "cut at {cut}");
        }
    });
}

#[test]
fn a_part_of_what_is_there_can_be_shared() {
    open(|backend| {
        let prompt = some_tokens(100);
        row(backend, 0, 0, &prompt);
        share(backend, SHARED, SequenceId(1), 40).unwrap();
        let shared = row(backend, 1, 40, &[7, 8, 9]);
        backend.clear();
        row(backend, 2, 0, &prompt[..40]);
        let alone = row(backend, 2, 40, &[7, 8, 9]);
        assert_eq!(shared, alone);
    });
}

#[test]
fn cells_that_were_cut_and_put_together_give_exactly_the_row_of_a_full_prefill() {
    open(|backend| {
        let prompt = some_tokens(230);
        let full = row(backend, 1, 0, &prompt);
        let mut rubric = backend.save(SequenceId(1), 0..200).unwrap();
        let context = rubric.split_off(120);
        let draft = backend.save(SequenceId(1), 200..228).unwrap();
        backend.clear();
        let runs = [(&rubric, 120), (&context, 80), (&draft, 24)];
        backend.restore(SequenceId(2), &runs).unwrap();
        assert_eq!(full, row(backend, 2, 224, &prompt[224..]));
    });
}

#[test]
fn what_is_cut_off_a_sequence_leaves_no_trace() {
    open(|backend| {
        let prompt = some_tokens(100);
        row(backend, 1, 0, &prompt[..80]);
        let full = row(backend, 1, 80, &prompt[80..]);
        backend.clear();
        row(backend, 1, 0, &prompt[..80]);
        row(backend, 1, 80, &[7, 8, 9]);
        backend.truncate(SequenceId(1), 80).unwrap();
        assert_eq!(full, row(backend, 1, 80, &prompt[80..]));
    });
}

#[test]
fn a_span_gives_a_row_for_each_of_its_last_tokens_that_are_asked_for() {
    open(|backend| {
        let prompt = some_tokens(10);
        let asked = Span {
            outputs: 3,
            ..span(1, 0, &prompt)
        };
        backend.decode(&[asked]).unwrap();
        let rows: Vec<Vec<f32>> = (0..3)
            .map(|output| backend.logits(0, output).unwrap().to_vec())
            .collect();
        assert_eq!(backend.logits(0, 3), None);
        for (output, given) in rows.iter().enumerate() {
            backend.clear();
            assert_close(given, &row(backend, 1, 0, &prompt[..8 + output]));
        }
    });
}
