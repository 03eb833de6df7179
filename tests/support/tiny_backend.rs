//! Opens a tiny model in the real llama.cpp, and asks it for logits.

#![allow(dead_code, reason = "each test crate uses its own part")]
#![expect(
    clippy::expect_used,
    reason = "a test that goes wrong here should stop"
)]

use std::path::{Path, PathBuf};

use judged::backend::llama::{AdapterFile, ContextConfig, Files, LlamaSource};
use judged::backend::offload::Wish;
use judged::backend::{Backend, DecodeError, OpenError, SequenceId, Source, Span, Token};
use tempfile::TempDir;

use super::gguf_writer::GgufWriter;
use super::tiny::TinyModel;

/// One thread: the same sums in the same order, and room for the tests beside it.
pub const CONTEXT: ContextConfig = ContextConfig {
    cells: 8 * 512,
    batch: 256,
    sequences: 8,
    prefix_cells: 0,
    threads: 1,
};

/// Files that live as long as this.
pub struct TinyFiles {
    dir: TempDir,
    pub base: PathBuf,
}

impl TinyFiles {
    pub fn new() -> Self {
        Self::of(&TinyModel::default().base())
    }

    pub fn of(base: &GgufWriter) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("base.gguf");
        base.write(&path);
        Self { dir, base: path }
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Writes an adapter beside the base.
    pub fn adapter(&self, file: &GgufWriter, scale: f32) -> AdapterFile {
        let path = self.dir.path().join("adapter.gguf");
        file.write(&path);
        AdapterFile {
            path,
            scale,
            merged: false,
        }
    }

    pub fn open<T>(&self, work: impl FnOnce(&mut dyn Backend) -> T) -> Result<T, OpenError> {
        self.open_with(None, CONTEXT, work)
    }

    pub fn open_with<T>(
        &self,
        adapter: Option<AdapterFile>,
        context: ContextConfig,
        work: impl FnOnce(&mut dyn Backend) -> T,
    ) -> Result<T, OpenError> {
        let files = Files {
            base: self.base.clone(),
            adapter,
        };
        let source = LlamaSource {
            find: Box::new(move || Ok(files.clone())),
            context,
            gpu: Wish::CPU,
            trial: None,
        };
        open(source, work)
    }
}

pub fn open<T>(
    mut source: LlamaSource,
    work: impl FnOnce(&mut dyn Backend) -> T,
) -> Result<T, OpenError> {
    let mut work = Some(work);
    let mut result = None;
    source.open(&|| (), &mut |backend| {
        result = work.take().map(|work| work(backend));
        Ok(())
    })?;
    Ok(result.expect("an opened source lends its backend"))
}

pub fn span(sequence: u32, start: usize, tokens: &[Token]) -> Span<'_> {
    Span {
        sequence: SequenceId(sequence),
        start,
        tokens,
        outputs: 1,
    }
}

/// Evaluates the tokens in one batch, and gives the row after the last one.
pub fn row(backend: &mut dyn Backend, sequence: u32, start: usize, tokens: &[Token]) -> Vec<f32> {
    backend
        .decode(&[span(sequence, start, tokens)])
        .expect("a good batch");
    backend.logits(0, 0).expect("a row was asked for").to_vec()
}

/// Lets `to` begin with the first tokens of `from`.
pub fn share(
    backend: &mut dyn Backend,
    from: SequenceId,
    to: SequenceId,
    length: usize,
) -> Result<(), DecodeError> {
    let cells = backend.save(from, 0..length)?;
    backend.restore(to, &[(&cells, length)])
}

pub fn largest_difference(left: &[f32], right: &[f32]) -> f32 {
    assert_eq!(left.len(), right.len());
    let pairs = left.iter().zip(right);
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}
