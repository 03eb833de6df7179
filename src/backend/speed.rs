//! How fast the model reads and writes here, and on the machines we know.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::{Backend, DecodeError, Description, SequenceId, Span, Token, gave_numbers};

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Speed {
    /// Tokens per second that it reads.
    pub prefill: f64,
    /// Tokens per second that it writes.
    pub decode: f64,
    /// Seconds that it takes to copy a sequence's cells out of the context, and back.
    pub copying: f64,
}

const PREFILL_TOKENS: usize = 256;
const DECODE_TOKENS: usize = 24;
/// Of a usual prompt and answer.
const NEW_TOKENS: f64 = 130.0;
const ANSWER_TOKENS: f64 = 31.0;
/// Below this share of what is expected something is wrong.
const MUCH_SLOWER: f64 = 0.6;

/// Of one thread, by CPU code, for the default base: half of what `judged
/// doctor` measured with two threads on an AMD EPYC of family 26 (Zen 5) with
/// that module alone in the folder that JUDGED_BACKENDS_DIR names.
const PER_THREAD: [(&str, Speed); 4] = [
    ("haswell", speed(42.0, 15.5)),
    ("skylakex", speed(68.0, 16.5)),
    ("icelake", speed(71.0, 16.5)),
    ("zen4", speed(77.0, 16.5)),
];

const fn speed(prefill: f64, decode: f64) -> Speed {
    Speed {
        prefill,
        decode,
        // Not measured there.
        copying: 0.0,
    }
}

impl Speed {
    pub fn measure(backend: &mut dyn Backend) -> Result<Self, DecodeError> {
        let sequence = SequenceId(0);
        let text = tokens(backend, PREFILL_TOKENS);
        let read = |backend: &mut dyn Backend| {
            backend.release(sequence)?;
            let started = Instant::now();
            let mut start = 0;
            for chunk in text.chunks(backend.capacity().batch) {
                backend.decode(&[span(sequence, start, chunk)])?;
                start += chunk.len();
            }
            Ok::<f64, DecodeError>(text.len() as f64 / started.elapsed().as_secs_f64())
        };
        // The first one also faults the weights in.
        read(backend)?;
        if !gave_numbers(backend) {
            let reason = "the logits are not finite".to_owned();
            return Err(DecodeError::Runtime(reason));
        }
        let prefill = read(backend)?;
        let started = Instant::now();
        for index in 0..DECODE_TOKENS {
            let token = [text[index % text.len()]];
            backend.decode(&[span(sequence, text.len() + index, &token)])?;
        }
        let decode = DECODE_TOKENS as f64 / started.elapsed().as_secs_f64();
        let held = text.len() + DECODE_TOKENS;
        let started = Instant::now();
        let cells = backend.save(sequence, 0..held)?;
        backend.release(sequence)?;
        backend.restore(sequence, &[(&cells, held)])?;
        let copying = started.elapsed().as_secs_f64();
        Ok(Self {
            prefill,
            decode,
            copying,
        })
    }

    /// How long a judgement takes whose context and draft are new, with its sentence. It begins
    /// with kept cells, and its own are kept: on a GPU that is thousands of small copies.
    pub fn judgement_seconds(&self) -> f64 {
        NEW_TOKENS / self.prefill + ANSWER_TOKENS / self.decode + self.copying
    }

    /// What such CPU code gives with as many threads; `None` where we have no figure.
    pub fn expected(&self, description: &Description) -> Option<Self> {
        let (_, one) = PER_THREAD
            .iter()
            .find(|(variant, _)| *variant == description.cpu_variant)?;
        let threads = f64::from(description.threads);
        Some(Self {
            prefill: one.prefill * threads,
            // Beyond a few threads decode waits for memory.
            decode: one.decode * threads.min(4.0),
            ..*one
        })
    }

    pub fn is_below(&self, expected: &Self) -> bool {
        self.prefill < MUCH_SLOWER * expected.prefill || self.decode < MUCH_SLOWER * expected.decode
    }
}

fn span(sequence: SequenceId, start: usize, tokens: &[Token]) -> Span<'_> {
    Span {
        sequence,
        start,
        tokens,
        outputs: 1,
    }
}

/// Ordinary text, as long as it is wanted.
fn tokens(backend: &dyn Backend, count: usize) -> Vec<Token> {
    let text = "We help growing companies find senior engineers in their own time zone. ";
    let tokens = backend.tokenizer().tokenize(text.as_bytes());
    tokens.into_iter().cycle().take(count).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::backend::Source;
    use crate::backend::scripted::{Reply, ScriptedSource};
    use crate::verdict::Label;

    #[test]
    fn a_judgement_takes_the_time_of_its_copies_too() {
        let mut source = ScriptedSource::new(|_| Reply {
            label: Label::Pass,
            sentence: String::new(),
            fault: None,
        });
        source.per_copy = Duration::from_millis(50);
        let mut measured = None;
        let opened = source.open(&|| (), &mut |backend| {
            measured = Some(Speed::measure(backend));
            Ok(())
        });
        opened.unwrap();
        let speed = measured.unwrap().unwrap();
        assert!(speed.judgement_seconds() >= 0.1, "{speed:?}");
    }
}
