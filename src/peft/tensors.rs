//! The tensors of a safetensors file that is held in memory.

use std::collections::{HashMap, HashSet};
use std::fmt;

use half::{bf16, f16};
use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::{Dtype, SafeTensors};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::PeftProblem;

const LENGTH_BYTES: usize = 8;

pub(super) struct Tensors {
    bytes: Vec<u8>,
    data_start: usize,
    infos: HashMap<String, TensorInfo>,
}

/// A tensor's bytes and how to read them.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    bytes: &'a [u8],
    dtype: Dtype,
}

impl Tensors {
    pub(super) fn parse(bytes: Vec<u8>) -> Result<Self, PeftProblem> {
        let (length, metadata) =
            SafeTensors::read_metadata(&bytes).map_err(PeftProblem::Safetensors)?;
        let data_start = LENGTH_BYTES + length;
        check_names(bytes.get(LENGTH_BYTES..data_start).unwrap_or_default())?;
        Ok(Self {
            infos: owned(&metadata),
            bytes,
            data_start,
        })
    }

    pub(super) fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.infos.keys().map(String::as_str).collect();
        // In the same order each time, so that the same file gives the same error.
        names.sort_unstable();
        names
    }

    /// The shape of a tensor that can be one half of a LoRA pair.
    pub(super) fn matrix(&self, name: &str) -> Result<[u64; 2], PeftProblem> {
        let info = self.infos.get(name).ok_or(PeftProblem::Empty)?;
        if !matches!(info.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) {
            return Err(PeftProblem::Type {
                name: name.to_owned(),
                found: info.dtype,
            });
        }
        match info.shape.as_slice() {
            &[rows, columns] if rows > 0 && columns > 0 => Ok([rows as u64, columns as u64]),
            shape => Err(PeftProblem::Shape {
                name: name.to_owned(),
                shape: shape.to_vec(),
            }),
        }
    }

    pub(super) fn values(&self, name: &str) -> Option<Values<'_>> {
        let info = self.infos.get(name)?;
        let (start, end) = info.data_offsets;
        let bytes = self.bytes.get(self.data_start..)?.get(start..end)?;
        let dtype = info.dtype;
        Some(Values { bytes, dtype })
    }
}

impl Values<'_> {
    /// As numbers of 32 bits, which hold each of 16 exactly; none for other types.
    pub fn to_f32(self) -> Vec<f32> {
        let pairs = || self.bytes.as_chunks::<2>().0.iter();
        match self.dtype {
            Dtype::F32 => {
                let values = self.bytes.as_chunks::<4>().0.iter();
                values.map(|&value| f32::from_le_bytes(value)).collect()
            }
            Dtype::F16 => pairs().map(|&v| f16::from_le_bytes(v).to_f32()).collect(),
            Dtype::BF16 => pairs().map(|&v| bf16::from_le_bytes(v).to_f32()).collect(),
            _ => Vec::new(),
        }
    }
}

impl fmt::Debug for Tensors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tensors")
            .field("count", &self.infos.len())
            .finish_non_exhaustive()
    }
}

fn owned(metadata: &Metadata) -> HashMap<String, TensorInfo> {
    let copy = |info: &TensorInfo| TensorInfo {
        dtype: info.dtype,
        shape: info.shape.clone(),
        data_offsets: info.data_offsets,
    };
    let tensors = metadata.tensors().into_iter();
    tensors.map(|(name, info)| (name, copy(info))).collect()
}

/// The crate takes the last of several tensors of one name: the others would go unseen.
fn check_names(header: &[u8]) -> Result<(), PeftProblem> {
    let Names(names) = serde_json::from_slice(header).map_err(PeftProblem::Json)?;
    let mut seen = HashSet::new();
    match names.iter().find(|name| !seen.insert(name.as_str())) {
        None => Ok(()),
        Some(name) => Err(PeftProblem::Duplicate { name: name.clone() }),
    }
}

/// The keys of an object, each as often as it stands there.
struct Names(Vec<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;

        impl<'de> Visitor<'de> for Keys {
            type Value = Names;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Names, M::Error> {
                let mut names = Vec::new();
                while let Some((name, IgnoredAny)) = map.next_entry()? {
                    names.push(name);
                }
                Ok(Names(names))
            }
        }

        deserializer.deserialize_map(Keys)
    }
}
