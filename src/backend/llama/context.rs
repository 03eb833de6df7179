//! One context of llama.cpp, and the checks that keep it from aborting.

use std::ops::Range;
use std::sync::Arc;

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::session::LlamaStateSeqFlags;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaLoraAdapter;
use llama_cpp_2::token::LlamaToken;

use super::state::Layout;
use super::tokenizer::LlamaTokenizer;
use crate::backend::{
    Backend, Capacity, Cells, DecodeError, Description, SequenceId, Span, Tokenizer,
};

/// One context on the engine thread's stack.
pub struct Llama<'m> {
    context: LlamaContext<'m>,
    batch: LlamaBatch<'static>,
    /// For each span of the last batch, which of the batch's tokens have logits.
    outputs: Vec<Range<i32>>,
    /// How states are written; known after the first.
    layout: Option<Layout>,
    /// The state that was read or written last: room for the next.
    state: Vec<u8>,
    /// With its scale. llama.cpp frees it with the model.
    adapter: Option<(LlamaLoraAdapter, f32)>,
    capacity: Capacity,
    vocab_size: usize,
    tokenizer: Arc<LlamaTokenizer>,
    description: Description,
}

impl<'m> Llama<'m> {
    pub fn new(
        context: LlamaContext<'m>,
        adapter: Option<(LlamaLoraAdapter, f32)>,
        sequences: usize,
        tokenizer: Arc<LlamaTokenizer>,
        description: Description,
    ) -> Self {
        let batch = context.n_batch() as usize;
        Self {
            batch: LlamaBatch::new(batch, 1),
            outputs: Vec::new(),
            layout: None,
            state: Vec::new(),
            adapter,
            capacity: Capacity {
                cells: context.n_ctx() as usize,
                batch,
                sequences,
            },
            vocab_size: tokenizer.vocab_size(),
            tokenizer,
            description,
            context,
        }
    }
}

impl Llama<'_> {
    /// A sequence id out of range is an abort in llama.cpp.
    fn sequence(&self, SequenceId(id): SequenceId) -> Result<i32, DecodeError> {
        let limit = self.capacity.sequences;
        let error = DecodeError::NoSuchSequence {
            sequence: id,
            limit,
        };
        if id as usize >= limit {
            return Err(error);
        }
        i32::try_from(id).map_err(|_| error)
    }

    /// The tokens that a sequence has.
    fn length(&self, sequence: SequenceId) -> Result<usize, DecodeError> {
        let last = self.context.kv_cache_seq_pos_max(self.sequence(sequence)?);
        Ok(usize::try_from(last + 1).unwrap_or(0))
    }

    /// Drops a sequence's tokens from position `from` on.
    fn cut(&mut self, sequence: SequenceId, from: usize) -> Result<(), DecodeError> {
        let sequence = u32::try_from(self.sequence(sequence)?).ok();
        let from = u32::try_from(from).ok();
        self.context
            .clear_kv_cache_seq(sequence, from, None)
            .map(drop)
            .map_err(|error| DecodeError::Runtime(error.to_string()))
    }

    /// Reads a sequence's state.
    #[expect(unsafe_code, reason = "the safe call hides the bytes")]
    fn read_state(&mut self, sequence: SequenceId) -> Result<(), DecodeError> {
        let (sequence, flags) = (self.sequence(sequence)?, LlamaStateSeqFlags::empty());
        let size = self.context.state_seq_get_size_ext(sequence, flags);
        self.state.resize(size, 0);
        // SAFETY: llama.cpp writes as many bytes as it has just said, to a buffer of that size.
        let written = unsafe {
            self.context
                .state_seq_get_data_ext(self.state.as_mut_ptr(), sequence, flags)
        };
        if written != size || size == 0 {
            let reason = format!("`{written}` bytes of state instead of `{size}`");
            return Err(DecodeError::Runtime(reason));
        }
        Ok(())
    }

    /// Makes a sequence what the state says.
    #[expect(
        unsafe_code,
        reason = "the safe call takes only what it has read itself"
    )]
    fn write_state(&mut self, sequence: SequenceId) -> Result<(), DecodeError> {
        let (sequence, flags) = (self.sequence(sequence)?, LlamaStateSeqFlags::empty());
        // SAFETY: the layout is that of this very context's states, and llama.cpp checks each
        // layer's kind and size against its own, and that the buffer does not end too soon.
        let taken = unsafe {
            self.context
                .state_seq_set_data_ext(&self.state, sequence, flags)
        };
        match taken {
            true => Ok(()),
            false => {
                let reason = "llama.cpp refused the cells of a prefix".to_owned();
                Err(DecodeError::Runtime(reason))
            }
        }
    }

    fn expect_length(
        &self,
        sequence: SequenceId,
        tokens: usize,
        expected: usize,
    ) -> Result<(), DecodeError> {
        if tokens == expected {
            return Ok(());
        }
        Err(DecodeError::Length {
            sequence: sequence.0,
            tokens,
            expected,
        })
    }

    /// More tokens than the batch holds, and unknown tokens, are too.
    fn check(&self, spans: &[Span<'_>]) -> Result<(), DecodeError> {
        let tokens: usize = spans.iter().map(|span| span.tokens.len()).sum();
        if tokens > self.capacity.batch {
            return Err(DecodeError::BatchTooLarge {
                tokens,
                limit: self.capacity.batch,
            });
        }
        for (index, span) in spans.iter().enumerate() {
            let before = spans[..index].iter();
            let before = before.filter(|other| other.sequence == span.sequence);
            let before: usize = before.map(|other| other.tokens.len()).sum();
            // llama.cpp takes a gap at the beginning of a sequence, and answers something.
            let length = self.length(span.sequence)? + before;
            self.expect_length(span.sequence, length, span.start)?;
            if span.tokens.is_empty() {
                return Err(DecodeError::Empty);
            }
            if let Some(token) = span
                .tokens
                .iter()
                .find(|token| **token as usize >= self.vocab_size)
            {
                return Err(DecodeError::NoSuchToken { token: *token });
            }
        }
        if spans.is_empty() {
            return Err(DecodeError::Empty);
        }
        Ok(())
    }
}

impl Backend for Llama<'_> {
    fn tokenizer(&self) -> Arc<dyn Tokenizer> {
        Arc::clone(&self.tokenizer) as Arc<dyn Tokenizer>
    }

    fn capacity(&self) -> Capacity {
        self.capacity
    }

    fn description(&self) -> Description {
        self.description.clone()
    }

    fn decode(&mut self, spans: &[Span<'_>]) -> Result<(), DecodeError> {
        self.check(spans)?;
        self.batch.clear();
        self.outputs = vec![0..0; spans.len()];
        // llama.cpp computes neighbouring sequences together, and only them.
        let mut order: Vec<(usize, &Span<'_>)> = spans.iter().enumerate().collect();
        order.sort_by_key(|(_, span)| span.sequence);
        for (index, span) in order {
            let sequence = self.sequence(span.sequence)?;
            for (offset, token) in span.tokens.iter().enumerate() {
                let position = position(span.start + offset)?;
                let wanted = offset + span.outputs >= span.tokens.len();
                // Safe with one sequence id: the batch was made for one.
                self.batch
                    .add(LlamaToken(*token as i32), position, &[sequence], wanted)
                    .map_err(|error| DecodeError::Runtime(error.to_string()))?;
            }
            let end = self.batch.n_tokens();
            let outputs = span.outputs.min(span.tokens.len());
            self.outputs[index] = end - i32::try_from(outputs).unwrap_or(end)..end;
        }
        self.context.decode(&mut self.batch).map_err(|error| {
            self.outputs.clear();
            match error {
                llama_cpp_2::DecodeError::NoKvCacheSlot => DecodeError::CacheFull,
                other => DecodeError::Runtime(other.to_string()),
            }
        })?;
        // A GPU may have begun only: who measures steps would measure nothing.
        self.context.synchronize();
        Ok(())
    }

    fn logits(&self, span: usize, output: usize) -> Option<&[f32]> {
        let token = self.outputs.get(span)?.clone().nth(output)?;
        Some(self.context.get_logits_ith(token))
    }

    fn save(&mut self, sequence: SequenceId, range: Range<usize>) -> Result<Cells, DecodeError> {
        let tokens = self.length(sequence)?;
        self.expect_length(sequence, tokens.min(range.end), range.end)?;
        self.read_state(sequence)?;
        let layout = match self.layout.take() {
            Some(layout) => layout,
            None => Layout::learn(&self.state, tokens)?,
        };
        let cells = layout.cells(&self.state, tokens, range);
        self.layout = Some(layout);
        cells
    }

    fn restore(
        &mut self,
        sequence: SequenceId,
        runs: &[(&Cells, usize)],
    ) -> Result<(), DecodeError> {
        let tokens = runs.iter().map(|(_, tokens)| tokens).sum();
        self.expect_length(sequence, self.length(sequence)?, 0)?;
        if tokens == 0 {
            return Ok(());
        }
        // Cells come from `save`, which has learned the layout.
        let Some(layout) = &self.layout else {
            let reason = "cells of another context".to_owned();
            return Err(DecodeError::Runtime(reason));
        };
        layout.write(runs, &mut self.state)?;
        self.write_state(sequence)?;
        self.expect_length(sequence, self.length(sequence)?, tokens)
    }

    fn truncate(&mut self, sequence: SequenceId, length: usize) -> Result<(), DecodeError> {
        let tokens = self.length(sequence)?;
        self.expect_length(sequence, tokens.min(length), length)?;
        self.cut(sequence, length)
    }

    fn release(&mut self, sequence: SequenceId) -> Result<(), DecodeError> {
        self.cut(sequence, 0)
    }

    fn clear(&mut self) {
        self.outputs.clear();
        self.context.clear_kv_cache();
    }

    fn set_adapter(&mut self, on: bool) -> Result<(), DecodeError> {
        let Some((adapter, scale)) = &mut self.adapter else {
            return Ok(());
        };
        let outcome = match on {
            true => {
                let outcome = self.context.lora_adapter_set(adapter, *scale);
                outcome.map_err(|error| error.to_string())
            }
            false => {
                let outcome = self.context.lora_adapter_remove(adapter);
                outcome.map_err(|error| error.to_string())
            }
        };
        outcome.map_err(|error| DecodeError::Runtime(format!("the adapter was refused: {error}")))
    }
}

fn position(index: usize) -> Result<i32, DecodeError> {
    i32::try_from(index).map_err(|_| DecodeError::CacheFull)
}
