//! The backend over llama.cpp: the only place that names its binding.
//!
//! llama.cpp aborts the process on much that a caller could get wrong. Each
//! such case is refused here, or before, in Rust: files are read and checked
//! by [`crate::gguf`] and [`crate::adapter`] before llama.cpp sees them, and
//! tokens, sequences and batch sizes are checked at each call.

mod context;
mod runtime;
mod state;
mod tokenizer;

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::model::{LlamaLoraAdapter, LlamaModel};

use self::context::Llama;
use self::tokenizer::LlamaTokenizer;
use super::memory;
use super::{Backend, Description, OpenError, Source};
use crate::base::BaseInfo;
use crate::{adapter, base, gguf};

pub use self::runtime::{available_threads, backends_dir};

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
    /// Cells that are to be kept beside the context.
    pub prefix_cells: u32,
    pub threads: u32,
}

/// `LLAMA_FLASH_ATTN_TYPE_DISABLED`.
const FLASH_ATTENTION_OFF: i32 = 0;

/// llama.cpp's own limit (`LLAMA_MAX_SEQ`).
pub const MAX_SEQUENCES: u32 = 256;

impl Source for LlamaSource {
    fn open(&mut self, serve: &mut dyn FnMut(&mut dyn Backend)) -> Result<(), OpenError> {
        let failed = |text: String| OpenError::Failed(text);
        let library = runtime::get().map_err(failed)?;
        let files = (self.find)()?;
        let description_of_adapter = check_files(&files, self.context)?;
        let mut model = load(library, &files.base).map_err(failed)?;
        let adapter = match &files.adapter {
            Some(file) => Some((
                load_adapter(&mut model, &file.path).map_err(OpenError::Adapter)?,
                file.scale,
            )),
            None => None,
        };
        let model = Arc::new(model);
        let tokenizer = Arc::new(LlamaTokenizer::new(Arc::clone(&model)).map_err(failed)?);
        let context = {
            // llama.cpp changes the model while it makes a context: one at a time.
            static MAKING: Mutex<()> = Mutex::new(());
            let _guard = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
            model
                .new_context(library, self.context.params().map_err(failed)?)
                .map_err(|error| failed(format!("no context: {error}")))?
        };
        let description = Description {
            runtime: RUNTIME.to_owned(),
            cpu_variant: runtime::cpu_variant(),
            devices: runtime::devices(),
            threads: self.context.threads,
            adapter: description_of_adapter,
        };
        let sequences = self.context.sequences as usize;
        let mut backend = Llama::new(context, adapter, sequences, tokenizer, description);
        backend
            .set_adapter(true)
            .map_err(|error| OpenError::Adapter(error.to_string()))?;
        serve(&mut backend);
        Ok(())
    }
}

impl ContextConfig {
    fn params(self) -> Result<LlamaContextParams, String> {
        let sequences = self.sequences;
        if sequences > MAX_SEQUENCES {
            return Err(format!(
                "`{sequences}` sequences are over `{MAX_SEQUENCES}`"
            ));
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

/// Reads the files in Rust, since llama.cpp aborts on some malformed ones;
/// says what the adapter is.
fn check_files(files: &Files, context: ContextConfig) -> Result<String, OpenError> {
    let failed = |error: &dyn std::error::Error| OpenError::Failed(error.to_string());
    let header = gguf::read(&files.base).map_err(|error| failed(&error))?;
    let info = base::check_base(&header).map_err(|error| failed(&error))?;
    check_memory(&info, context).map_err(OpenError::Failed)?;
    match &files.adapter {
        None => Ok("none".to_owned()),
        Some(file) => {
            let info = adapter::check(&file.path, &header)
                .map_err(|error| OpenError::Adapter(error.to_string()))?;
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

/// A KV cache that does not fit ends the process instead of the attempt.
fn check_memory(base: &BaseInfo, context: ContextConfig) -> Result<(), String> {
    let head = u64::from(base.embedding_length / base.heads.max(1));
    let row = head * u64::from(base.kv_heads) * u64::from(base.layers);
    let cells = u64::from(context.cells) + u64::from(context.prefix_cells);
    let needed = cells * row * KEY_AND_VALUE_BYTES;
    match memory::available_bytes() {
        Some(available) if needed > available => Err(format!(
            "the KV cache needs {} MiB and {} MiB are free: lower `slots` or `prefix_cache`",
            needed >> 20,
            available >> 20
        )),
        _ => Ok(()),
    }
}

/// One f16 each.
const KEY_AND_VALUE_BYTES: u64 = 4;

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
    model.lora_adapter_init(path).map_err(|error| {
        format!(
            "llama.cpp refused the adapter `{}`: {error}",
            path.display()
        )
    })
}
