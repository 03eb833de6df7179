//! One context of llama.cpp, and the checks that keep it from aborting.

use std::sync::Arc;

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::session::{LlamaStateSeqFlags, SeqState};
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaLoraAdapter;
use llama_cpp_2::token::LlamaToken;

use super::tokenizer::LlamaTokenizer;
use crate::backend::{Backend, Capacity, DecodeError, Description, SequenceId, Span, Tokenizer};

/// One context on the engine thread's stack.
pub struct Llama<'m> {
    context: LlamaContext<'m>,
    batch: LlamaBatch<'static>,
    /// For each span of the last batch, the index of its last token, if its
    /// logits were asked for.
    outputs: Vec<Option<i32>>,
    /// The cells of the sequence that was shared last, and its length then.
    shared: Option<(SequenceId, usize, SeqState)>,
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
            shared: None,
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

    /// The sequence changes: what was read of it holds no more.
    fn forget(&mut self, changed: SequenceId) {
        let kept = self.shared.take();
        self.shared = kept.filter(|(sequence, _, _)| *sequence != changed);
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
        self.outputs = vec![None; spans.len()];
        // llama.cpp computes neighbouring sequences together, and only them.
        let mut order: Vec<(usize, &Span<'_>)> = spans.iter().enumerate().collect();
        order.sort_by_key(|(_, span)| span.sequence);
        for (index, span) in order {
            self.forget(span.sequence);
            let sequence = self.sequence(span.sequence)?;
            for (offset, token) in span.tokens.iter().enumerate() {
                let position = position(span.start + offset)?;
                let wanted = span.logits && offset + 1 == span.tokens.len();
                // Safe with one sequence id: the batch was made for one.
                self.batch
                    .add(LlamaToken(*token as i32), position, &[sequence], wanted)
                    .map_err(|error| DecodeError::Runtime(error.to_string()))?;
            }
            let last = self.batch.n_tokens() - 1;
            self.outputs[index] = span.logits.then_some(last);
        }
        self.context.decode(&mut self.batch).map_err(|error| {
            self.outputs.clear();
            match error {
                llama_cpp_2::DecodeError::NoKvCacheSlot => DecodeError::CacheFull,
                other => DecodeError::Runtime(other.to_string()),
            }
        })
    }

    fn logits(&self, index: usize) -> Option<&[f32]> {
        let output = self.outputs.get(index).copied().flatten()?;
        Some(self.context.get_logits_ith(output))
    }

    fn share(
        &mut self,
        from: SequenceId,
        to: SequenceId,
        length: usize,
    ) -> Result<(), DecodeError> {
        let (had, has) = (self.length(from)?, self.length(to)?);
        self.expect_length(to, has, 0)?;
        self.expect_length(from, had.min(length), length)?;
        if length == 0 {
            return Ok(());
        }
        let failed = |error: &dyn std::fmt::Display| DecodeError::Runtime(error.to_string());
        let to = self.sequence(to)?;
        // All requests share one prefix: its cells are read once.
        let known = self.shared.take();
        let known = known.filter(|(sequence, tokens, _)| (*sequence, *tokens) == (from, had));
        let state = match known {
            Some((_, _, state)) => state,
            None => self
                .context
                .state_seq_get(self.sequence(from)?, LlamaStateSeqFlags::empty())
                .map_err(|error| failed(&error))?,
        };
        self.context
            .state_seq_set(&state, to)
            .map_err(|error| failed(&error))?;
        self.shared = Some((from, had, state));
        if had > length {
            let (sequence, start) = (u32::try_from(to).ok(), u32::try_from(length).ok());
            self.context
                .clear_kv_cache_seq(sequence, start, None)
                .map_err(|error| failed(&error))?;
        }
        Ok(())
    }

    fn release(&mut self, sequence: SequenceId) -> Result<(), DecodeError> {
        self.forget(sequence);
        let sequence = self.sequence(sequence)?;
        let sequence = u32::try_from(sequence).ok();
        self.context
            .clear_kv_cache_seq(sequence, None, None)
            .map(drop)
            .map_err(|error| DecodeError::Runtime(error.to_string()))
    }

    fn clear(&mut self) {
        self.shared = None;
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
