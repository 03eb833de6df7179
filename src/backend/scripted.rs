//! A backend without a model: answers as a script says, and keeps the same
//! books as a real one, so that a wrong use fails here too. For tests.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::{
    Backend, Capacity, Cells, DecodeError, Description, OpenError, SequenceId, Serve, Source, Span,
    Token, Tokenizer,
};
use crate::verdict::Label;

/// What the model is to say of a prompt.
#[derive(Clone, Debug)]
pub struct Reply {
    pub label: Label,
    pub sentence: String,
    pub fault: Option<Fault>,
}

/// What is to go wrong: at the end of a prompt's prefill, where nothing else is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Panic,
    /// The process ends, as llama.cpp ends it.
    Abort,
    DecodeError,
    /// The row of logits holds no numbers.
    NotFinite,
    /// That row does, and those after it do not.
    NotFiniteLater,
    /// The row prefers what is no label.
    Unmeant,
    /// The step takes this long.
    Hang(Duration),
}

type Script = Arc<dyn Fn(&str) -> Reply + Send + Sync>;

#[derive(Clone)]
pub struct ScriptedSource {
    script: Script,
    pub capacity: Capacity,
    /// How long each token of a batch takes.
    pub per_token: Duration,
    /// How long it takes to copy cells, out or back.
    pub per_copy: Duration,
    /// Opening fails with this.
    pub refuses: Option<String>,
    /// Opening takes this long.
    pub load_time: Duration,
}

impl ScriptedSource {
    /// `script` is given the whole prompt as text.
    pub fn new(script: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        Self {
            script: Arc::new(script),
            capacity: Capacity {
                cells: 1 << 20,
                batch: 512,
                sequences: 16,
            },
            per_token: Duration::ZERO,
            per_copy: Duration::ZERO,
            refuses: None,
            load_time: Duration::ZERO,
        }
    }
}

impl Source for ScriptedSource {
    fn open(&mut self, found: &dyn Fn(), serve: &mut Serve<'_>) -> Result<(), OpenError> {
        found();
        std::thread::sleep(self.load_time);
        if let Some(reason) = &self.refuses {
            return Err(OpenError::Failed(reason.clone()));
        }
        serve(&mut Scripted {
            source: self.clone(),
            tokenizer: Arc::new(ScriptedTokenizer::default()),
            sequences: BTreeMap::new(),
            rows: Vec::new(),
            adapter: true,
        })
    }
}

struct Scripted {
    source: ScriptedSource,
    tokenizer: Arc<ScriptedTokenizer>,
    sequences: BTreeMap<SequenceId, Vec<Token>>,
    /// Of each span of the last batch.
    rows: Vec<Vec<Vec<f32>>>,
    adapter: bool,
}

impl Scripted {
    fn row(&self, tokens: &[Token]) -> Result<Vec<f32>, DecodeError> {
        let vocabulary = &self.tokenizer;
        let mut row = vec![0.0; vocabulary.vocab_size()];
        // The prompt ends with the line that opens the assistant's turn.
        let open = tokens.iter().rposition(|token| *token == vocabulary.start);
        let open = open.map_or(0, |at| at + 1);
        let turn: Vec<u8> = self.text(&tokens[open..]);
        let Some(line_end) = turn.iter().position(|byte| *byte == b'\n') else {
            return Ok(row);
        };
        let said = &turn[line_end + 1..];
        let prompt = self.text(tokens);
        let prompt = String::from_utf8_lossy(&prompt[..prompt.len() - said.len()]).into_owned();
        let reply = (self.source.script)(&prompt);
        if said.is_empty() {
            match reply.fault {
                None | Some(Fault::NotFiniteLater) => {}
                #[expect(clippy::panic, reason = "the fault under test")]
                Some(Fault::Panic) => panic!("a panic that the script asked for"),
                Some(Fault::Abort) => std::process::abort(),
                Some(Fault::Hang(time)) => std::thread::sleep(time),
                Some(Fault::NotFinite) => row.fill(f32::NAN),
                Some(Fault::Unmeant) => row[vocabulary.end as usize] = 25.0,
                Some(Fault::DecodeError) => {
                    let reason = "a failure that the script asked for".to_owned();
                    return Err(DecodeError::Runtime(reason));
                }
            }
        } else if reply.fault == Some(Fault::NotFiniteLater) {
            row.fill(f32::NAN);
        }
        let answer = format!("{}\n{}", reply.label, reply.sentence);
        let next = match answer.as_bytes().strip_prefix(said) {
            Some([]) => vocabulary.end,
            Some(rest) => vocabulary.tokenize(rest)[0],
            // Another label was forced than the script's: end at once.
            None => vocabulary.end,
        };
        row[next as usize] += 20.0;
        Ok(row)
    }

    fn text(&self, tokens: &[Token]) -> Vec<u8> {
        let pieces = tokens.iter().map(|token| self.tokenizer.piece(*token));
        pieces.collect::<Vec<_>>().concat()
    }

    fn held(&self) -> usize {
        self.sequences.values().map(Vec::len).sum()
    }
}

impl Backend for Scripted {
    fn tokenizer(&self) -> Arc<dyn Tokenizer> {
        Arc::clone(&self.tokenizer) as Arc<dyn Tokenizer>
    }

    fn capacity(&self) -> Capacity {
        self.source.capacity
    }

    fn description(&self) -> Description {
        Description {
            runtime: "scripted".to_owned(),
            cpu_variant: "none".to_owned(),
            adapter: "none".to_owned(),
            threads: 1,
            gpu_reason: "scripted".to_owned(),
            ..Description::default()
        }
    }

    fn decode(&mut self, spans: &[Span<'_>]) -> Result<(), DecodeError> {
        self.rows.clear();
        if !self.adapter {
            let reason = "decoded without its adapter".to_owned();
            return Err(DecodeError::Runtime(reason));
        }
        let tokens: usize = spans.iter().map(|span| span.tokens.len()).sum();
        let capacity = self.source.capacity;
        if tokens > capacity.batch {
            return Err(DecodeError::BatchTooLarge {
                tokens,
                limit: capacity.batch,
            });
        }
        if self.held() + tokens > capacity.cells {
            return Err(DecodeError::CacheFull);
        }
        let time = u32::try_from(tokens).unwrap_or(u32::MAX);
        std::thread::sleep(self.source.per_token.saturating_mul(time));
        for span in spans {
            if span.tokens.is_empty() {
                return Err(DecodeError::Empty);
            }
            let held = self.sequences.entry(span.sequence).or_default();
            if held.len() != span.start {
                let reason = format!(
                    "position `{}` after `{}` tokens of sequence `{}`",
                    span.start,
                    held.len(),
                    span.sequence.0
                );
                return Err(DecodeError::Runtime(reason));
            }
            held.extend_from_slice(span.tokens);
        }
        for span in spans {
            let held = &self.sequences[&span.sequence];
            let first = held.len() - span.outputs.min(span.tokens.len());
            let rows = (first..held.len()).map(|last| self.row(&held[..=last]));
            let rows = rows.collect::<Result<_, _>>()?;
            self.rows.push(rows);
        }
        Ok(())
    }

    fn logits(&self, span: usize, output: usize) -> Option<&[f32]> {
        self.rows.get(span)?.get(output).map(Vec::as_slice)
    }

    /// The cells of a token are its number.
    fn save(&mut self, sequence: SequenceId, range: Range<usize>) -> Result<Cells, DecodeError> {
        std::thread::sleep(self.source.per_copy);
        let held = self.sequences.get(&sequence).map_or(&[][..], Vec::as_slice);
        let tokens = held.get(range.clone()).ok_or(DecodeError::Length {
            sequence: sequence.0,
            tokens: held.len(),
            expected: range.end,
        })?;
        let plane: Vec<u8> = tokens
            .iter()
            .flat_map(|token| token.to_ne_bytes())
            .collect();
        let widths: Arc<[usize]> = Arc::new([size_of::<Token>()]);
        Ok(Cells::gather(tokens.len(), &widths, [plane.as_slice()]))
    }

    fn restore(
        &mut self,
        sequence: SequenceId,
        runs: &[(&Cells, usize)],
    ) -> Result<(), DecodeError> {
        std::thread::sleep(self.source.per_copy);
        let held = self.sequences.entry(sequence).or_default();
        if !held.is_empty() {
            return Err(DecodeError::Length {
                sequence: sequence.0,
                tokens: held.len(),
                expected: 0,
            });
        }
        for plane in runs.iter().flat_map(|(cells, few)| cells.planes(*few)) {
            let tokens = plane.chunks_exact(size_of::<Token>());
            held.extend(
                tokens.map(|four| Token::from_ne_bytes([four[0], four[1], four[2], four[3]])),
            );
        }
        Ok(())
    }

    fn truncate(&mut self, sequence: SequenceId, length: usize) -> Result<(), DecodeError> {
        if let Some(held) = self.sequences.get_mut(&sequence) {
            held.truncate(length);
        }
        Ok(())
    }

    fn release(&mut self, sequence: SequenceId) -> Result<(), DecodeError> {
        self.sequences.remove(&sequence);
        Ok(())
    }

    fn clear(&mut self) {
        self.sequences.clear();
        self.rows.clear();
    }

    fn set_adapter(&mut self, on: bool) -> Result<(), DecodeError> {
        if !self.sequences.is_empty() {
            let reason = "sequences were kept over a change of the adapter".to_owned();
            return Err(DecodeError::Runtime(reason));
        }
        self.adapter = on;
        Ok(())
    }
}

/// The 256 bytes, the pieces of the labels as Qwen2 has them, and the control
/// tokens of the template. Text is split greedily.
pub struct ScriptedTokenizer {
    pieces: Vec<Vec<u8>>,
    start: Token,
    end: Token,
    ends: [Token; 1],
}

const LABEL_PIECES: [&str; 10] = [
    "SUP", "PRESS", "ES", "CAL", "ATE", "BLOCK", "EN", "AL", "ISE", "PASS",
];
const START: &str = "<|im_start|>";
const END: &str = "<|im_end|>";

/// A text with it makes the tokenizer panic.
pub const UNREADABLE: &str = "tokenize:panic";

impl Default for ScriptedTokenizer {
    fn default() -> Self {
        let bytes = (0..=u8::MAX).map(|byte| vec![byte]);
        let words = LABEL_PIECES.into_iter().chain([START, END]);
        let pieces: Vec<Vec<u8>> = bytes.chain(words.map(|word| word.into())).collect();
        let last = pieces.len() as Token;
        Self {
            pieces,
            start: last - 2,
            end: last - 1,
            ends: [last - 1],
        }
    }
}

impl Tokenizer for ScriptedTokenizer {
    fn vocab_size(&self) -> usize {
        self.pieces.len()
    }

    fn tokenize(&self, text: &[u8]) -> Vec<Token> {
        let mut tokens = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.first() {
            let is_readable = !rest.starts_with(UNREADABLE.as_bytes());
            assert!(is_readable, "a panic that the text asked for");
            let word = LABEL_PIECES
                .iter()
                .position(|word| rest.starts_with(word.as_bytes()));
            let (token, length) = match word {
                Some(index) => (256 + index as Token, LABEL_PIECES[index].len()),
                None => (Token::from(*first), 1),
            };
            tokens.push(token);
            rest = &rest[length..];
        }
        tokens
    }

    fn control(&self, name: &str) -> Option<Token> {
        match name {
            START => Some(self.start),
            END => Some(self.end),
            _ => None,
        }
    }

    fn is_control(&self, token: Token) -> bool {
        token >= self.start
    }

    fn piece(&self, token: Token) -> &[u8] {
        self.pieces
            .get(token as usize)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    fn end_tokens(&self) -> &[Token] {
        &self.ends
    }
}
