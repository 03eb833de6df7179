//! One answer's part of a decode step: what it reads, and which tokens are chosen then.

use super::job::Active;
use super::meter::Meter;
use super::scheduler::JobId;
use super::speculate::Speculator;
use crate::backend::{SequenceId, Span, Token};
use crate::grammar::{GrammarError, Progress};

pub(super) struct Writer {
    pub(super) id: JobId,
    pub(super) sequence: SequenceId,
    start: usize,
    /// Tokens that were chosen; what follows is guessed.
    pending: usize,
    tokens: Vec<Token>,
    /// All that was guessed, also what the step leaves out.
    guess: Vec<Token>,
    /// Some of what it read was not chosen.
    pub(super) wrong: bool,
}

impl Writer {
    /// What each of the answers is to read in the next step, of `batch` tokens at most.
    pub(super) fn of_step<'j, 'a: 'j>(
        answers: impl Iterator<Item = (JobId, SequenceId, &'j Active<'a>)>,
        batch: usize,
        speculator: &Speculator,
    ) -> Vec<Self> {
        let mut writers = Vec::new();
        // Answers that begin bring several tokens each: who finds the batch
        // full takes part in the next step.
        let mut room = batch;
        for (id, sequence, active) in answers {
            if let Some(answer) = &active.answer
                && answer.pending().len() <= room
            {
                room -= answer.pending().len();
                writers.push(Self {
                    id,
                    sequence,
                    start: active.length,
                    pending: answer.pending().len(),
                    tokens: answer.pending().to_vec(),
                    guess: speculator.guess(&active.prompt, answer.tokens()),
                    wrong: false,
                });
            }
        }
        let guesses = writers.iter().filter(|writer| !writer.guess.is_empty());
        let depth = speculator.depth(batch - room, writers.len(), guesses.count());
        for writer in &mut writers {
            let depth = depth.min(writer.guess.len()).min(room);
            room -= depth;
            writer.tokens.extend_from_slice(&writer.guess[..depth]);
        }
        writers
    }

    pub(super) fn span(&self) -> Span<'_> {
        Span {
            sequence: self.sequence,
            start: self.start,
            tokens: &self.tokens,
            outputs: 1 + self.tokens.len() - self.pending,
        }
    }

    /// Chooses the answer's next tokens, one after the other as long as what was
    /// guessed is chosen. `row` gives the logits of an output of the span.
    pub(super) fn write<'r>(
        &mut self,
        active: &mut Active<'_>,
        row: impl Fn(usize) -> &'r [f32],
        speculator: &mut Speculator,
        meter: &Meter,
    ) -> Result<Progress, GrammarError> {
        let Some(answer) = &mut active.answer else {
            return Ok(Progress::More);
        };
        active.length += self.pending;
        let guess = &self.tokens[self.pending..];
        let mut held = 0;
        let outcome = loop {
            match answer.advance(row(held)) {
                Ok(Progress::More) => {}
                Ok(Progress::Finished) => {
                    speculator.remember(answer.tokens());
                    break Ok(Progress::Finished);
                }
                Err(error) => break Err(error),
            }
            let chosen = answer.pending();
            if let Some(guessed) = self.guess.get(held) {
                speculator.note(chosen.first() == Some(guessed));
            }
            if held == guess.len() || !guess[held..].starts_with(chosen) {
                break Ok(Progress::More);
            }
            held += chosen.len();
            active.length += chosen.len();
        };
        meter.count_guessed(guess.len(), held);
        self.wrong = held < guess.len();
        outcome
    }
}
