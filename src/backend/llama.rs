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
pub mod trial;

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::model::{LlamaLoraAdapter, LlamaModel};

use self::context::Llama;
use self::tokenizer::LlamaTokenizer;
use self::trial::Trial;
use super::memory;
use super::offload::{self, Layers, Placement, Sizes, Wish};
use super::speed::Speed;
use super::{Backend, Description, OpenError, Serve, Source};
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
    /// What is to run on a GPU; what cannot runs on the CPU.
    pub gpu: Wish,
    /// Who tries the GPU first, so that a driver's failure ends another process than this
    /// one; `None` tries nothing.
    pub trial: Option<Trial>,
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
    /// The base's weights hold it already.
    pub merged: bool,
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
    fn open(&mut self, found: &dyn Fn(), serve: &mut Serve<'_>) -> Result<(), OpenError> {
        let library = runtime::get().map_err(OpenError::Failed)?;
        let files = (self.find)()?;
        found();
        let checked = check_files(&files, self.context)?;
        let place = self.place(&files, &checked.sizes);
        let (placement, reason) = match place {
            Ok((placement, reason)) => (Some(placement), reason),
            Err(reason) => (None, reason),
        };
        let mut attempt = Attempt {
            library,
            files: &files,
            adapter: checked.adapter,
            context: self.context,
            placement,
            reason,
        };
        match attempt.open(serve) {
            // An adapter that is at fault itself fails on the CPU too.
            Err(OpenError::Failed(error) | OpenError::Adapter(error))
                if attempt.placement.is_some() =>
            {
                attempt.placement = None;
                attempt.reason = format!("the GPU could not be used: {error}");
                attempt.open(serve)
            }
            outcome => outcome,
        }
    }
}

impl LlamaSource {
    /// The layers that go to a GPU, and why so; the error says why there are none.
    fn place(&self, files: &Files, sizes: &Sizes) -> Result<(Placement, String), String> {
        if self.gpu.layers == Layers::Count(0) {
            return Err("`gpu_layers` is 0".to_owned());
        }
        if runtime::gpu_modules().is_empty() {
            return Err("no GPU module is installed".to_owned());
        }
        let Some(trial) = &self.trial else {
            runtime::load_gpu_modules();
            let placement = offload::place(&self.gpu, sizes, &runtime::devices())?;
            return Ok((placement, "without a trial".to_owned()));
        };
        let found = trial
            .run(&self.gpu, files, self.context)
            .map_err(|error| format!("the trial of the GPU failed: {error}"))?;
        let seconds = |speed: Speed| speed.judgement_seconds();
        let (gpu, cpu) = (seconds(found.gpu), seconds(found.cpu));
        if self.gpu.layers == Layers::Auto && gpu >= cpu {
            return Err(format!(
                "`{}` is slower than the CPU: {gpu:.2} s a judgement instead of {cpu:.2} s",
                found.device
            ));
        }
        runtime::load_gpu_modules();
        let reason = format!("tried: {gpu:.2} s a judgement, {cpu:.2} s on the CPU alone");
        let (device, layers) = (found.device, found.layers);
        Ok((Placement { device, layers }, reason))
    }
}

/// One way to load the model.
struct Attempt<'a> {
    library: &'static LlamaBackend,
    files: &'a Files,
    /// In words.
    adapter: String,
    context: ContextConfig,
    placement: Option<Placement>,
    reason: String,
}

impl Attempt<'_> {
    fn open(&self, serve: &mut Serve<'_>) -> Result<(), OpenError> {
        let failed = |text: String| OpenError::Failed(text);
        let mut model =
            load(self.library, &self.files.base, self.placement.as_ref()).map_err(failed)?;
        let adapter = match &self.files.adapter {
            Some(file) if !file.merged => Some((
                load_adapter(&mut model, &file.path).map_err(OpenError::Adapter)?,
                file.scale,
            )),
            _ => None,
        };
        let model = Arc::new(model);
        let tokenizer = Arc::new(LlamaTokenizer::new(Arc::clone(&model)).map_err(failed)?);
        let context = {
            // llama.cpp changes the model while it makes a context: one at a time.
            static MAKING: Mutex<()> = Mutex::new(());
            let _guard = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
            model
                .new_context(self.library, self.context.params().map_err(failed)?)
                .map_err(|error| failed(format!("no context: {error}")))?
        };
        let description = Description {
            runtime: RUNTIME.to_owned(),
            cpu_variant: runtime::cpu_variant(),
            devices: runtime::devices(),
            threads: self.context.threads,
            adapter: self.adapter.clone(),
            adapter_merged: self.files.adapter.as_ref().is_some_and(|file| file.merged),
            gpu: self.placement.clone(),
            gpu_reason: self.reason.clone(),
        };
        let sequences = self.context.sequences as usize;
        let mut backend = Llama::new(context, adapter, sequences, tokenizer, description);
        backend
            .set_adapter(true)
            .map_err(|error| OpenError::Adapter(error.to_string()))?;
        serve(&mut backend)
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

/// What the files' headers tell.
struct Checked {
    /// What the adapter is, in words.
    adapter: String,
    sizes: Sizes,
}

/// Reads the files in Rust, since llama.cpp aborts on some malformed ones.
fn check_files(files: &Files, context: ContextConfig) -> Result<Checked, OpenError> {
    let failed = |error: &dyn std::error::Error| OpenError::Failed(error.to_string());
    let header = gguf::read(&files.base).map_err(|error| failed(&error))?;
    let info = base::check_base(&header).map_err(|error| failed(&error))?;
    check_memory(&info, context).map_err(OpenError::Failed)?;
    let adapter = match &files.adapter {
        None => "none".to_owned(),
        Some(file) => {
            let info = adapter::check(&file.path, &header)
                .map_err(|error| OpenError::Adapter(error.to_string()))?;
            let ranks: Vec<String> = info.ranks.iter().map(u64::to_string).collect();
            format!(
                "LoRA of rank {} on {} tensors, scale {}{}",
                ranks.join("/"),
                info.tensors,
                file.scale,
                if file.merged {
                    ", merged into the weights"
                } else {
                    ""
                }
            )
        }
    };
    Ok(Checked {
        adapter,
        sizes: sizes(files, &info, context),
    })
}

/// What the model takes on a GPU. Its output matrix is the largest tensor, and often the
/// embeddings too, which stay on the CPU.
fn sizes(files: &Files, base: &BaseInfo, context: ContextConfig) -> Sizes {
    let bytes = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
    let adapter = files.adapter.as_ref().map_or(0, |file| bytes(&file.path));
    // One byte a weight is more than any kind of quantization takes for it.
    let output = base.tokens * u64::from(base.embedding_length);
    let cells = u64::from(context.cells) * kv_row(base) * KEY_AND_VALUE_BYTES;
    let layers = u64::from(base.layers.max(1));
    let logits = u64::from(context.batch) * base.tokens * LOGIT_BYTES;
    Sizes {
        layer: (bytes(&files.base) + adapter + cells) / layers,
        output,
        fixed: GPU_RUNTIME_BYTES + logits,
        layers: base.layers,
    }
}

/// What CUDA takes for itself, and more than what a batch's activations take.
const GPU_RUNTIME_BYTES: u64 = 512 << 20;
const LOGIT_BYTES: u64 = 4;

/// A KV cache that does not fit ends the process instead of the attempt.
fn check_memory(base: &BaseInfo, context: ContextConfig) -> Result<(), String> {
    let cells = u64::from(context.cells) + u64::from(context.prefix_cells);
    let needed = cells * kv_row(base) * KEY_AND_VALUE_BYTES;
    match memory::available_bytes() {
        Some(available) if needed > available => Err(format!(
            "the KV cache needs {} MiB and {} MiB are free: lower `slots` or `prefix_cache`",
            needed >> 20,
            available >> 20
        )),
        _ => Ok(()),
    }
}

/// Keys of one token over all layers; its values are as many.
fn kv_row(base: &BaseInfo) -> u64 {
    let head = u64::from(base.embedding_length / base.heads.max(1));
    head * u64::from(base.kv_heads) * u64::from(base.layers)
}

/// One f16 each.
const KEY_AND_VALUE_BYTES: u64 = 4;

fn load(
    runtime: &LlamaBackend,
    path: &Path,
    placement: Option<&Placement>,
) -> Result<LlamaModel, String> {
    let (devices, layers) = match placement {
        None => (Vec::new(), 0),
        Some(Placement { device, layers }) => match runtime::device_index(device) {
            Some(index) => (vec![index], *layers),
            None => return Err(format!("the device `{device}` is gone")),
        },
    };
    // Without devices and layers it is strictly the CPU.
    let params = LlamaModelParams::default()
        .with_n_gpu_layers(layers)
        .with_devices(&devices)
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
