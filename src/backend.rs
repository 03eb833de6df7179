//! What the engine asks of an inference runtime, so that all else runs, and is
//! tested, without one.

mod cells;
pub mod llama;
mod memory;
pub mod offload;
pub mod scripted;
pub mod speed;

use std::ops::Range;
use std::sync::Arc;

pub use self::cells::Cells;
use self::offload::Placement;

pub use toktrie::TokenId as Token;

/// Text to tokens and back. Shared with the RPC side, which tokenizes outside
/// the engine's thread.
pub trait Tokenizer: Send + Sync {
    fn vocab_size(&self) -> usize;

    /// Tokenizes plain text: what looks like a control token stays text.
    fn tokenize(&self, text: &[u8]) -> Vec<Token>;

    /// The control token of this name, such as `<|im_start|>`.
    fn control(&self, name: &str) -> Option<Token>;

    fn is_control(&self, token: Token) -> bool;

    /// The token's bytes, not always whole characters; the name of a control token.
    fn piece(&self, token: Token) -> &[u8];

    /// Tokens that end an answer; the first one is the model's own choice.
    fn end_tokens(&self) -> &[Token];
}

/// llama.cpp multiplies so many rows at once where the CPU has AVX-512, then the rest four at once,
/// then one by one, and each way rounds otherwise. A prompt that is cut at a multiple gives the
/// logits of one that is not cut, but for the last few bits. With AVX2, too: cut at multiples of 8
/// or of 4, scores were measured to differ by 0.02 and by 0.04.
pub const ROWS: usize = 16;

/// Fewer rows than these llama.cpp multiplies in yet another way: a step that reads a prompt has as
/// many at the least.
pub const LEAST_ROWS: usize = 4;

/// Names one sequence of tokens in the KV cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SequenceId(pub u32);

/// Tokens of one sequence within a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Span<'a> {
    pub sequence: SequenceId,
    /// The position of the first token: the number of tokens the sequence has.
    pub start: usize,
    pub tokens: &'a [Token],
    /// After how many of the last tokens the logits are wanted.
    pub outputs: usize,
}

/// One context of one model, owned by one thread.
pub trait Backend {
    fn tokenizer(&self) -> Arc<dyn Tokenizer>;

    fn capacity(&self) -> Capacity;

    fn description(&self) -> Description;

    /// Evaluates the spans in one batch. After an error the sequences named
    /// hold nothing certain and must be released.
    fn decode(&mut self, spans: &[Span<'_>]) -> Result<(), DecodeError>;

    /// Output `output` of span `span` of the last batch: a logit for each token
    /// of the vocabulary. `None` if it was not asked for.
    fn logits(&self, span: usize, output: usize) -> Option<&[f32]>;

    /// Copies the KV cells of a sequence's tokens in `range`.
    fn save(&mut self, sequence: SequenceId, range: Range<usize>) -> Result<Cells, DecodeError>;

    /// Lets a sequence, which must be empty, begin with these runs of cells, without
    /// computing them again: of each the first tokens, as many as stand beside it.
    fn restore(
        &mut self,
        sequence: SequenceId,
        runs: &[(&Cells, usize)],
    ) -> Result<(), DecodeError>;

    /// Drops what a sequence has after its first `length` tokens.
    fn truncate(&mut self, sequence: SequenceId, length: usize) -> Result<(), DecodeError>;

    /// Empties a sequence.
    fn release(&mut self, sequence: SequenceId) -> Result<(), DecodeError>;

    /// Empties all sequences.
    fn clear(&mut self);

    /// Puts the model's adapter on, or takes it off. What the sequences hold was
    /// computed otherwise: they must be emptied.
    fn set_adapter(&mut self, on: bool) -> Result<(), DecodeError>;
}

/// Whether the first logits of the last batch are numbers: a device that fails may give others.
pub fn gave_numbers(backend: &dyn Backend) -> bool {
    let row = backend.logits(0, 0);
    row.is_some_and(|row| row.iter().all(|logit| logit.is_finite()))
}

/// Where a backend comes from. It lives on the engine thread's stack, since a
/// context borrows its model.
pub trait Source: Send {
    /// Says when the files are `found`, loads the model, and lends the backend to `serve`, whose
    /// error means that this backend does not work: there may be another for the same files.
    fn open(&mut self, found: &dyn Fn(), serve: &mut Serve<'_>) -> Result<(), OpenError>;
}

/// What a [`Source`] lends its backend to.
pub type Serve<'s> = dyn FnMut(&mut dyn Backend) -> Result<(), OpenError> + 's;

/// What a context can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Tokens, over all sequences: an equal share for each.
    pub cells: usize,
    /// Tokens of one batch.
    pub batch: usize,
    pub sequences: usize,
}

impl Capacity {
    /// By how many tokens, `wanted` at most, a prompt is cut into steps: the last takes a rest of
    /// fewer than [`LEAST_ROWS`] along. Cut elsewhere, the prompt would get other scores.
    pub fn chunk(&self, wanted: usize) -> usize {
        let chunk = wanted.min(self.batch.saturating_sub(LEAST_ROWS - 1));
        (chunk - chunk % ROWS).max(1)
    }
}

/// What serves, for people.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Description {
    /// Versions of the runtime and its binding.
    pub runtime: String,
    /// The CPU code chosen at run time.
    pub cpu_variant: String,
    pub devices: Vec<Device>,
    pub threads: u32,
    /// What the adapter is, or that there is none.
    pub adapter: String,
    /// It is inside the weights.
    pub adapter_merged: bool,
    /// The GPU that holds layers; `None` where the CPU has them all.
    pub gpu: Option<Placement>,
    /// Why the layers are where they are.
    pub gpu_reason: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    pub name: String,
    pub description: String,
    /// `cpu`, `gpu` or `accelerator`.
    pub kind: &'static str,
    pub memory_free_bytes: u64,
    pub memory_total_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("the KV cache is full")]
    CacheFull,
    #[error("the batch holds `{tokens}` tokens, more than `{limit}`")]
    BatchTooLarge { tokens: usize, limit: usize },
    #[error("sequence `{sequence}` is not below `{limit}`")]
    NoSuchSequence { sequence: u32, limit: usize },
    #[error("token `{token}` is not in the vocabulary")]
    NoSuchToken { token: Token },
    #[error("a batch needs at least one token in each span")]
    Empty,
    #[error("sequence `{sequence}` has `{tokens}` tokens, not `{expected}`")]
    Length {
        sequence: u32,
        tokens: usize,
        expected: usize,
    },
    #[error("the runtime failed to decode: {0}")]
    Runtime(String),
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Not an error of the files: they are not there, and may come.
    #[error("{0}")]
    Missing(String),
    #[error("{0}")]
    Failed(String),
    /// The base would do, but not its adapter.
    #[error("{0}")]
    Adapter(String),
}
