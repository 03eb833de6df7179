//! The backend over llama.cpp: the only file that names its binding.
//!
//! llama.cpp aborts the process on much that a caller could get wrong. Each
//! such case is refused here, or before, in Rust: files are read and checked
//! by [`crate::gguf`] and [`crate::adapter`] before llama.cpp sees them, and
//! tokens, sequences and batch sizes are checked at each call.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::context::session::LlamaStateSeqFlags;
use llama_cpp_2::llama_backend::{LlamaBackend, load_backends_from_path};
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::model::{LlamaLoraAdapter, LlamaModel};
use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::token_type::LlamaTokenAttr;
use llama_cpp_2::{
    LlamaBackendDeviceType, LogOptions, list_llama_ggml_backend_devices, send_logs_to_tracing,
};

use super::backend::{
    Backend, Capacity, DecodeError, Description, Device, OpenError, SequenceId, Source, Span,
    Token, Tokenizer,
};
use crate::{adapter, base, gguf};

/// The versions that this daemon is built with.
pub const RUNTIME: &str = "llama.cpp 0.6.0-dev, ggml 0.26.0 (llama-cpp-2 0.1.160)";

/// What to load, and how.
pub struct LlamaSource {
    /// Finds the files and proves that they are the right ones.
    pub find: Box<dyn FnMut() -> Result<Files, OpenError> + Send>,
    pub context: ContextConfig,
}

#[derive(Clone, Debug)]
pub struct Files {
    pub base: PathBuf,
    pub adapter: Option<AdapterFile>,
}

#[derive(Clone, Debug)]
pub struct AdapterFile {
    pub path: PathBuf,
    pub scale: f32,
}

#[derive(Clone, Copy, Debug)]
pub struct ContextConfig {
    /// Tokens that the KV cache holds, an equal share for each sequence.
    pub cells: u32,
    /// Tokens of one batch.
    pub batch: u32,
    pub sequences: u32,
    pub threads: u32,
}

/// `LLAMA_FLASH_ATTN_TYPE_DISABLED`.
const FLASH_ATTENTION_OFF: i32 = 0;

/// llama.cpp's own limit (`LLAMA_MAX_SEQ`).
pub const MAX_SEQUENCES: u32 = 256;

impl Source for LlamaSource {
    fn open(&mut self, serve: &mut dyn FnMut(&mut dyn Backend)) -> Result<(), OpenError> {
        let failed = |text: String| OpenError::Failed(text);
        let runtime = runtime().map_err(failed)?;
        let files = (self.find)()?;
        let description_of_adapter = check_files(&files).map_err(failed)?;
        let mut model = load(runtime, &files.base).map_err(failed)?;
        let mut adapter = match &files.adapter {
            Some(file) => Some((load_adapter(&mut model, &file.path).map_err(failed)?, file.scale)),
            None => None,
        };
        let model = Arc::new(model);
        let tokenizer = Arc::new(LlamaTokenizer::new(Arc::clone(&model)).map_err(failed)?);
        let mut context = {
            // llama.cpp changes the model while it makes a context: one at a time.
            static MAKING: Mutex<()> = Mutex::new(());
            let _guard = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
            model
                .new_context(runtime, self.context.params().map_err(failed)?)
                .map_err(|error| failed(format!("no context: {error}")))?
        };
        if let Some((adapter, scale)) = &mut adapter {
            context
                .lora_adapter_set(adapter, *scale)
                .map_err(|error| failed(format!("the adapter was refused: {error}")))?;
        }
        let batch = context.n_batch() as usize;
        let mut backend = Llama {
            batch: LlamaBatch::new(batch, 1),
            outputs: Vec::new(),
            capacity: Capacity {
                cells: context.n_ctx() as usize,
                batch,
                sequences: self.context.sequences as usize,
            },
            vocab_size: tokenizer.vocab_size(),
            description: Description {
                runtime: RUNTIME.to_owned(),
                cpu_variant: cpu_variant(),
                devices: devices(),
                threads: self.context.threads,
                adapter: description_of_adapter,
            },
            tokenizer,
            context,
        };
        serve(&mut backend);
        Ok(())
    }
}

impl ContextConfig {
    fn params(self) -> Result<LlamaContextParams, String> {
        let sequences = self.sequences;
        if sequences > MAX_SEQUENCES {
            return Err(format!("`{sequences}` sequences are over `{MAX_SEQUENCES}`"));
        }
        let cells = NonZeroU32::new(self.cells).ok_or("a KV cache needs cells")?;
        let threads = i32::try_from(self.threads.max(1)).map_err(|error| error.to_string())?;
        Ok(LlamaContextParams::default()
            .with_n_ctx(Some(cells))
            .with_n_batch(self.batch)
            .with_n_ubatch(self.batch)
            .with_n_seq_max(sequences)
            // Cells of its own for each sequence. In one pool the order of a sum depends on
            // who else is there, and a few hundredths of a score with it: labels flip.
            .with_kv_unified(false)
            // Off, since on the CPU it computes the last tokens of a prompt otherwise where
            // the prompt is cut otherwise: by the shared part, or into chunks.
            .with_flash_attention_policy(FLASH_ATTENTION_OFF)
            .with_n_threads(threads)
            .with_n_threads_batch(threads))
    }
}

/// One context on the engine thread's stack.
struct Llama<'m> {
    context: LlamaContext<'m>,
    batch: LlamaBatch<'static>,
    /// For each span of the last batch, the index of its last token, if its
    /// logits were asked for.
    outputs: Vec<Option<i32>>,
    capacity: Capacity,
    vocab_size: usize,
    tokenizer: Arc<LlamaTokenizer>,
    description: Description,
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
        let (from, to) = (self.sequence(from)?, self.sequence(to)?);
        let failed = |error: &dyn std::fmt::Display| DecodeError::Runtime(error.to_string());
        let state = self
            .context
            .state_seq_get(from, LlamaStateSeqFlags::empty())
            .map_err(|error| failed(&error))?;
        self.context
            .state_seq_set(&state, to)
            .map_err(|error| failed(&error))?;
        if had > length {
            let (sequence, start) = (u32::try_from(to).ok(), u32::try_from(length).ok());
            self.context
                .clear_kv_cache_seq(sequence, start, None)
                .map_err(|error| failed(&error))?;
        }
        Ok(())
    }

    fn release(&mut self, sequence: SequenceId) -> Result<(), DecodeError> {
        let sequence = self.sequence(sequence)?;
        let sequence = u32::try_from(sequence).ok();
        self.context
            .clear_kv_cache_seq(sequence, None, None)
            .map(drop)
            .map_err(|error| DecodeError::Runtime(error.to_string()))
    }

    fn clear(&mut self) {
        self.outputs.clear();
        self.context.clear_kv_cache();
    }
}

fn position(index: usize) -> Result<i32, DecodeError> {
    i32::try_from(index).map_err(|_| DecodeError::CacheFull)
}

/// The vocabulary, with every token's bytes at hand.
pub struct LlamaTokenizer {
    model: Arc<LlamaModel>,
    pieces: Vec<Vec<u8>>,
    control: Vec<bool>,
    /// Names such as `<tool_call>` that llama.cpp finds in any text, although
    /// it is told to parse none.
    found_in_text: Vec<Vec<u8>>,
    ends: Vec<Token>,
}

impl LlamaTokenizer {
    fn new(model: Arc<LlamaModel>) -> Result<Self, String> {
        let vocab = model.vocab();
        let size = usize::try_from(vocab.n_tokens()).map_err(|error| error.to_string())?;
        let mut pieces = Vec::with_capacity(size);
        let mut control = Vec::with_capacity(size);
        let mut found_in_text = Vec::new();
        let mut ends = Vec::new();
        for token in vocab.tokens() {
            // What has no bytes as plain text is a control token: its name then.
            let plain = vocab.token_to_piece(token, false, None);
            let user_defined = vocab.attr(token).contains(LlamaTokenAttr::UserDefined);
            let named = plain.is_empty() || user_defined || vocab.is_control(token);
            if user_defined {
                found_in_text.push(vocab.token_to_piece(token, true, None));
            }
            pieces.push(if named {
                vocab.token_to_piece(token, true, None)
            } else {
                plain
            });
            control.push(named);
            if vocab.is_eog(token) {
                ends.push(token.0 as Token);
            }
        }
        let eos = vocab.eos().0;
        if pieces.len() != size || ends.is_empty() {
            return Err("the model's vocabulary has no end token".to_owned());
        }
        // The model's own choice comes first.
        ends.sort_by_key(|end| i64::from(*end) != i64::from(eos));
        Ok(Self {
            pieces,
            control,
            found_in_text,
            ends,
            model,
        })
    }
}

impl LlamaTokenizer {
    /// The text, cut after the first byte of each name that llama.cpp would
    /// find in it: no part holds a whole one.
    fn parts<'t>(&self, text: &'t [u8]) -> Vec<&'t [u8]> {
        let mut parts = Vec::new();
        let mut start = 0;
        for at in 0..text.len() {
            let mut names = self.found_in_text.iter();
            if names.any(|name| text[at..].starts_with(name)) {
                parts.push(&text[start..=at]);
                start = at + 1;
            }
        }
        if start < text.len() {
            parts.push(&text[start..]);
        }
        parts
    }
}

impl Tokenizer for LlamaTokenizer {
    fn vocab_size(&self) -> usize {
        self.pieces.len()
    }

    fn tokenize(&self, text: &[u8]) -> Vec<Token> {
        let vocab = self.model.vocab();
        let mut tokens = Vec::new();
        for part in self.parts(text) {
            tokens.extend(vocab.tokenize(part, false, false));
        }
        tokens.into_iter().map(|token| token.0 as Token).collect()
    }

    fn control(&self, name: &str) -> Option<Token> {
        let names = self.pieces.iter().zip(&self.control);
        let found = names
            .enumerate()
            .find(|(_, (piece, control))| **control && piece.as_slice() == name.as_bytes());
        found.and_then(|(token, _)| Token::try_from(token).ok())
    }

    fn is_control(&self, token: Token) -> bool {
        self.control.get(token as usize).copied().unwrap_or(true)
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

/// The process-wide runtime: initialized once, never freed, so that no model
/// can outlive it.
fn runtime() -> Result<&'static LlamaBackend, String> {
    static RUNTIME: OnceLock<Result<LlamaBackend, String>> = OnceLock::new();
    RUNTIME
        .get_or_init(|| {
            send_logs_to_tracing(LogOptions::default());
            let dir = backends_dir().ok_or_else(|| {
                "no folder `lib` with libggml-cpu-*.so beside the executable: \
                 reinstall the whole distribution, or set JUDGED_BACKENDS_DIR"
                    .to_owned()
            })?;
            load_backends_from_path(&dir);
            LlamaBackend::init().map_err(|error| error.to_string())
        })
        .as_ref()
        .map_err(Clone::clone)
}

/// Where the backend modules lie: beside the executable, as the build, a
/// distribution and an installation put them.
pub fn backends_dir() -> Option<PathBuf> {
    let named = std::env::var_os("JUDGED_BACKENDS_DIR").map(PathBuf::from);
    let executable = std::env::current_exe().ok();
    let beside = executable.as_deref().and_then(Path::parent);
    let places = ["lib", "../lib", "../lib/judged"];
    named
        .into_iter()
        .chain(beside.into_iter().flat_map(|dir| places.map(|place| dir.join(place))))
        .filter(|dir| dir.to_str().is_some())
        .find(|dir| has_backend(dir))
}

fn has_backend(dir: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return false;
    };
    entries
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().starts_with("libggml-cpu"))
}

/// Reads the files in Rust, since llama.cpp aborts on some malformed ones;
/// says what the adapter is.
fn check_files(files: &Files) -> Result<String, String> {
    let header = gguf::read(&files.base).map_err(|error| error.to_string())?;
    base::check_base(&header).map_err(|error| error.to_string())?;
    match &files.adapter {
        None => Ok("none".to_owned()),
        Some(file) => {
            let info = adapter::check(&file.path, &header).map_err(|error| error.to_string())?;
            let ranks: Vec<String> = info.ranks.iter().map(u64::to_string).collect();
            Ok(format!(
                "LoRA of rank {} on {} tensors, scale {}",
                ranks.join("/"),
                info.tensors,
                file.scale
            ))
        }
    }
}

fn load(runtime: &LlamaBackend, path: &Path) -> Result<LlamaModel, String> {
    // No devices and no layers: strictly the CPU.
    let params = LlamaModelParams::default()
        .with_n_gpu_layers(0)
        .with_devices(&[])
        .map_err(|error| error.to_string())?
        // Without a callback of ours llama.cpp logs its progress in pieces
        // that the binding's log handler cannot take.
        .with_progress_callback(|_| true);
    LlamaModel::load_from_file(runtime, path, &params)
        .map_err(|error| format!("llama.cpp refused the base `{}`: {error}", path.display()))
}

fn load_adapter(model: &mut LlamaModel, path: &Path) -> Result<LlamaLoraAdapter, String> {
    model
        .lora_adapter_init(path)
        .map_err(|error| format!("llama.cpp refused the adapter `{}`: {error}", path.display()))
}

fn devices() -> Vec<Device> {
    list_llama_ggml_backend_devices()
        .into_iter()
        .map(|device| Device {
            name: device.name,
            description: device.description,
            kind: match device.device_type {
                LlamaBackendDeviceType::Cpu => "cpu",
                LlamaBackendDeviceType::Gpu | LlamaBackendDeviceType::IntegratedGpu => "gpu",
                LlamaBackendDeviceType::Accelerator | LlamaBackendDeviceType::Unknown => {
                    "accelerator"
                }
            },
            memory_free_bytes: device.memory_free as u64,
            memory_total_bytes: device.memory_total as u64,
        })
        .collect()
}

/// The CPU module that ggml chose: it is mapped into this process.
pub fn cpu_variant() -> String {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    maps.lines()
        .filter_map(|line| line.rsplit('/').next())
        .filter_map(|file| file.strip_prefix("libggml-cpu-")?.strip_suffix(".so"))
        .next()
        .unwrap_or("unknown")
        .to_owned()
}

/// Threads that can really run: the affinity mask and the cgroup's quota.
pub fn available_threads() -> u32 {
    std::thread::available_parallelism().map_or(1, |threads| {
        u32::try_from(threads.get()).unwrap_or(u32::MAX)
    })
}
