//! Writes an adapter into a copy of its base's weights, so that no step of the model pays for it.
//!
//! A quantized weight stands on a grid whose step is several times what an adapter adds: rounded to
//! the nearest, most of the adapter would be lost. So it is rounded up or down by chance, up
//! as often as it is near the upper step, and what is added is right in the sum. The chance depends
//! on the weight's place alone: the same files give the same bytes. Steps, kinds and the header stay.

mod grid;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use half::{bf16, f16};

use self::grid::Grid;
use crate::adapter::{self, AdapterError, Pair};
use crate::gguf::{self, Gguf, GgufError, Tensor, TensorKind};
use crate::models::sha256_file;

/// In the names of merged files: another way to merge gets another number.
const METHOD: &str = "m1";

/// What is merged.
#[derive(Clone, Copy, Debug)]
pub struct Recipe<'a> {
    pub base: &'a Path,
    pub adapter: &'a Path,
    /// Both are in the merged file's name: whoever asks has checked them.
    pub base_sha256: &'a str,
    pub adapter_sha256: &'a str,
    pub scale: f32,
}

#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    #[error(transparent)]
    Gguf(#[from] GgufError),
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    #[error("`{name}` is of the kind {kind}, into which nothing can be merged")]
    Kind { name: String, kind: TensorKind },
    #[error("cannot {action} `{}`", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

impl Recipe<'_> {
    /// Where the merged file lies, or would lie: beside its base.
    pub fn path(&self) -> PathBuf {
        let short = |sha256: &str| sha256.get(..12).unwrap_or(sha256).to_owned();
        let (base, adapter) = (short(self.base_sha256), short(self.adapter_sha256));
        let scale = self.scale;
        self.base
            .with_file_name(format!("{base}-{adapter}-{scale}-{METHOD}.gguf"))
    }

    /// The merged file, made unless it is there and has not changed since it was made. Takes
    /// seconds and as much room as the base.
    pub fn merged(&self) -> Result<PathBuf, MergeError> {
        let path = self.path();
        let checksum = path.with_extension("sha256");
        let is_there = || {
            fs::read_to_string(&checksum).is_ok_and(|expected| {
                sha256_file(&path, &mut |_| {}).is_ok_and(|found| found == expected)
            })
        };
        if is_there() {
            return Ok(path);
        }
        let lock = path.with_extension("lock");
        let _lock = hold(&lock).map_err(failed("lock", &lock))?;
        if is_there() {
            return Ok(path); // Another process has made it meanwhile.
        }
        // What a process left that was killed at it has this name too.
        let part = path.with_extension("part");
        let made = self.make(&part).and_then(|sha256| {
            fs::write(&checksum, sha256).map_err(failed("write", &checksum))?;
            fs::rename(&part, &path).map_err(failed("rename", &part))
        });
        if made.is_err() {
            let _ = fs::remove_file(&part);
        }
        made.map(|()| path)
    }

    /// Gives the file's sha256.
    fn make(&self, out: &Path) -> Result<String, MergeError> {
        let base = gguf::read(self.base)?;
        adapter::check(self.adapter, &base)?;
        let adapter = gguf::read(self.adapter)?;
        let alpha = adapter.f32("adapter.lora.alpha")?;
        let pairs = adapter::pairs(self.adapter, &adapter)?;
        let grids = pairs
            .iter()
            .map(|pair| grid_of(&base, pair))
            .collect::<Result<Vec<_>, _>>()?;

        match fs::remove_file(out) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove", out)(error));
            }
            _ => {}
        }
        // With a mode of its own: that of the base may be read-only.
        let mut unmerged = File::open(self.base).map_err(failed("open", self.base))?;
        let mut file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(out)
            .map_err(failed("make", out))?;
        io::copy(&mut unmerged, &mut file).map_err(failed("write", out))?;
        for (pair, (tensor, grid)) in pairs.iter().zip(grids) {
            let factor = match alpha {
                0.0 => self.scale,
                alpha => self.scale * alpha / pair.rank() as f32,
            };
            let update = Update {
                a: numbers(&adapter, pair.a)?,
                b: numbers(&adapter, pair.b)?,
                rank: pair.rank() as usize,
                factor,
            };
            let mut weights = vec![0; tensor.size as usize];
            file.seek(SeekFrom::Start(tensor.offset))
                .and_then(|_| file.read_exact(&mut weights))
                .map_err(failed("read", out))?;
            update.add_to(&mut weights, grid);
            file.seek(SeekFrom::Start(tensor.offset))
                .and_then(|_| file.write_all(&weights))
                .map_err(failed("write", out))?;
        }
        file.sync_all().map_err(failed("write", out))?;
        sha256_file(out, &mut |_| {}).map_err(failed("read", out))
    }
}

/// Waits until no other process holds the file. It stays, as a file that is deleted may be held by
/// one process while another makes it anew.
fn hold(path: &Path) -> std::io::Result<File> {
    let file = File::options().create(true).append(true).open(path)?;
    file.lock()?;
    Ok(file)
}

/// The matrix that a pair changes, and the grid of its weights.
fn grid_of<'g>(base: &'g Gguf, pair: &Pair<'_>) -> Result<(&'g Tensor, Grid), MergeError> {
    let refused = |kind| MergeError::Kind {
        name: pair.name.to_owned(),
        kind,
    };
    // The adapter was checked against the base.
    let Some(tensor) = base.tensor(pair.name) else {
        return Err(refused(TensorKind::F32));
    };
    match Grid::of(tensor.kind) {
        Some(grid) if !pair.is_embedding() => Ok((tensor, grid)),
        _ => Err(refused(tensor.kind)),
    }
}

/// What an adapter adds to one matrix: `factor · B · A`.
struct Update {
    a: Vec<f32>,
    b: Vec<f32>,
    rank: usize,
    factor: f32,
}

impl Update {
    fn add_to(&self, weights: &mut [u8], grid: Grid) {
        let inputs = self.a.len() / self.rank;
        let rows = self.b.len() / self.rank;
        let bytes = weights.len() / rows;
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let share = rows.div_ceil(threads);
        std::thread::scope(|scope| {
            for (part, weights) in weights.chunks_mut(share * bytes).enumerate() {
                scope.spawn(move || {
                    let mut delta = vec![0.0; inputs];
                    for (row, weights) in weights.chunks_exact_mut(bytes).enumerate() {
                        let row = part * share + row;
                        self.row(row, &mut delta);
                        grid.shift(weights, &delta, row * inputs);
                    }
                });
            }
        });
    }

    fn row(&self, row: usize, delta: &mut [f32]) {
        delta.fill(0.0);
        let weights = &self.b[row * self.rank..][..self.rank];
        for (weight, a) in weights.iter().zip(self.a.chunks_exact(delta.len())) {
            let weight = weight * self.factor;
            for (sum, a) in delta.iter_mut().zip(a) {
                *sum += weight * a;
            }
        }
    }
}

/// An adapter's tensor, of the kinds that [`adapter::check`] lets through.
fn numbers(adapter: &Gguf, tensor: &Tensor) -> Result<Vec<f32>, MergeError> {
    let mut bytes = vec![0; tensor.size as usize];
    adapter
        .open_at(tensor)?
        .read_exact(&mut bytes)
        .map_err(failed("read", adapter.path()))?;
    let halves = || bytes.as_chunks::<2>().0.iter().copied();
    Ok(match tensor.kind {
        TensorKind::F32 => {
            let words = bytes.as_chunks::<4>().0.iter();
            words.map(|&word| f32::from_le_bytes(word)).collect()
        }
        TensorKind::F16 => halves()
            .map(|half| f16::from_le_bytes(half).to_f32())
            .collect(),
        TensorKind::BF16 => halves()
            .map(|half| bf16::from_le_bytes(half).to_f32())
            .collect(),
        TensorKind::Q8_0 => {
            let blocks = bytes.as_chunks::<34>().0.iter();
            let values = blocks.flat_map(|block| {
                let step = f16::from_le_bytes([block[0], block[1]]).to_f32();
                block[2..]
                    .iter()
                    .map(move |&byte| step * f32::from(byte as i8))
            });
            values.collect()
        }
        kind => {
            let name = tensor.name.clone();
            return Err(MergeError::Kind { name, kind });
        }
    })
}

fn failed<'p>(action: &'static str, path: &'p Path) -> impl Fn(io::Error) -> MergeError + 'p {
    move |source| MergeError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}
