//! Reads the header of a GGUF file: metadata and tensor list, never the tensor data. Writes files
//! too, by [`Writer`].
//!
//! A file that is read may come from anyone. Nothing here panics on its bytes, and what is kept in
//! memory is bounded whatever the header claims. A file that passes is also one that llama.cpp's own
//! reader takes: the rules on names, alignment and offsets are the ones it enforces, plus a few
//! where it would read something else than we do (see [`Problem::Name`]).

mod error;
mod kind;
mod source;
mod tensor;
mod value;
mod write;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};

pub use self::error::{GgufError, Problem};
pub use self::kind::TensorKind;
use self::source::Source;
pub use self::tensor::Tensor;
pub use self::value::{ARRAY_KEPT, Array, Scalar, Value, ValueKind};
pub use self::write::{Field, NewTensor, Writer};

const MAGIC: [u8; 4] = *b"GGUF";
const DEFAULT_ALIGNMENT: u32 = 32;
/// Real files have some thirty keys; llama.cpp looks each one up by walking the list.
const KEYS_LIMIT: u64 = 4_096;

/// A header as found in the file. Made only by [`read`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Gguf {
    pub metadata: BTreeMap<String, Value>,
    /// In file order.
    pub tensors: Vec<Tensor>,
    /// Where the tensor data begins, a multiple of `alignment` if there is any.
    pub data_start: u64,
    pub alignment: u32,
    pub file_len: u64,
    path: PathBuf,
    by_name: HashMap<String, usize>,
}

/// Reads a header of GGUF version 2 or 3, little endian.
///
/// Blocks on the file; takes about ten milliseconds for a vocabulary of 150,000 tokens.
pub fn read(path: &Path) -> Result<Gguf, GgufError> {
    let at_path = |problem| GgufError::new(path, problem);
    let mut source = Source::open(path).map_err(at_path)?;
    read_header(path, &mut source).map_err(at_path)
}

impl Gguf {
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(*self.by_name.get(name)?)
    }

    pub fn string(&self, key: &str) -> Result<&str, GgufError> {
        self.required(key)
    }

    pub fn u32(&self, key: &str) -> Result<u32, GgufError> {
        self.required(key)
    }

    pub fn f32(&self, key: &str) -> Result<f32, GgufError> {
        self.required(key)
    }

    pub fn array(&self, key: &str) -> Result<&Array, GgufError> {
        self.required(key)
    }

    /// The value of a key that must be there and have the type asked for.
    pub fn required<'a, T: Scalar<'a>>(&'a self, key: &str) -> Result<T, GgufError> {
        self.optional(key)?.ok_or_else(|| {
            self.error(Problem::MissingKey {
                key: key.to_owned(),
                expected: T::KIND,
            })
        })
    }

    /// The value of a key that may be absent; present with another type it is an error.
    pub fn optional<'a, T: Scalar<'a>>(&'a self, key: &str) -> Result<Option<T>, GgufError> {
        let Some(value) = self.metadata.get(key) else {
            return Ok(None);
        };
        match T::from_value(value) {
            Some(found) => Ok(Some(found)),
            None => Err(self.error(Problem::WrongType {
                key: key.to_owned(),
                expected: T::KIND,
                found: value.kind(),
            })),
        }
    }

    /// Goes once more through the file for an array of strings that was too long to keep.
    pub fn each_string(&self, key: &str, visit: impl FnMut(&str)) -> Result<(), GgufError> {
        let array = self.array(key)?;
        if array.kind != ValueKind::String {
            return Err(self.error(Problem::WrongElements {
                key: key.to_owned(),
                expected: ValueKind::String,
                found: array.kind,
            }));
        }
        Source::open(&self.path)
            .and_then(|mut source| value::visit_strings(&mut source, array, visit))
            .map_err(|problem| self.error(problem))
    }

    /// Opens the file again at a tensor's first byte.
    pub(crate) fn open_at(&self, tensor: &Tensor) -> Result<File, GgufError> {
        File::open(&self.path)
            .and_then(|mut file| file.seek(SeekFrom::Start(tensor.offset)).map(|_| file))
            .map_err(|source| self.error(Problem::Io(source)))
    }

    fn error(&self, problem: Problem) -> GgufError {
        GgufError::new(&self.path, problem)
    }
}

fn read_header(path: &Path, source: &mut Source) -> Result<Gguf, Problem> {
    let magic = source.array::<4>()?;
    if magic != MAGIC {
        return Err(Problem::Magic { found: magic });
    }
    let version = source.u32()?;
    if !(2..=3).contains(&version) {
        return Err(Problem::Version { found: version });
    }
    let tensor_count = source.u64()?;
    let key_count = source.u64()?;
    let metadata = read_metadata(source, key_count)?;
    let alignment = alignment_of(&metadata)?;
    let (tensors, data_start) = tensor::read_all(source, tensor_count, alignment)?;
    let by_name = tensors
        .iter()
        .enumerate()
        .map(|(index, tensor)| (tensor.name.clone(), index))
        .collect();
    Ok(Gguf {
        metadata,
        tensors,
        data_start,
        alignment,
        file_len: source.len(),
        path: path.to_owned(),
        by_name,
    })
}

fn read_metadata(source: &mut Source, count: u64) -> Result<BTreeMap<String, Value>, Problem> {
    // A key takes its length, one letter, its type and one byte of value at the least.
    source.check_count("the number of keys", count, KEYS_LIMIT, 8 + 1 + 4 + 1)?;
    let mut metadata = BTreeMap::new();
    for _ in 0..count {
        let key = source.name("key", 65_536)?;
        let value = value::read(source, &key)?;
        if metadata.contains_key(&key) {
            return Err(Problem::Duplicate {
                what: "key",
                name: key,
            });
        }
        metadata.insert(key, value);
    }
    Ok(metadata)
}

fn alignment_of(metadata: &BTreeMap<String, Value>) -> Result<u32, Problem> {
    let key = "general.alignment";
    match metadata.get(key) {
        None => Ok(DEFAULT_ALIGNMENT),
        Some(Value::U32(found)) if found.is_power_of_two() => Ok(*found),
        Some(Value::U32(found)) => Err(Problem::Alignment { found: *found }),
        Some(other) => Err(Problem::WrongType {
            key: key.to_owned(),
            expected: ValueKind::U32,
            found: other.kind(),
        }),
    }
}
