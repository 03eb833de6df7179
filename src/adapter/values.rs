//! Looks at every value: one NaN in an adapter makes every logit of every answer NaN.

use std::io::Read;

use super::AdapterProblem;
use crate::gguf::{Gguf, Problem, Tensor, TensorKind};

/// A multiple of all value and block sizes below, so that none is cut in two.
const CHUNK: u64 = 34 * 32 * 1024;

pub(super) fn check<'a>(
    adapter: &Gguf,
    tensors: impl Iterator<Item = &'a Tensor>,
) -> Result<(), AdapterProblem> {
    let mut bytes = Vec::new();
    for tensor in tensors {
        let mut data = adapter.open_at(tensor)?.take(tensor.size);
        let mut done = 0;
        while done < tensor.size {
            bytes.clear();
            data.by_ref()
                .take(CHUNK)
                .read_to_end(&mut bytes)
                .map_err(Problem::Io)?;
            if bytes.is_empty() {
                return Err(AdapterProblem::Gguf(Problem::Truncated {
                    expected: tensor.offset + tensor.size,
                    found: tensor.offset + done,
                }));
            }
            if !all_in_range(&bytes, tensor.kind) {
                let (elements, block) = tensor.kind.block();
                return Err(AdapterProblem::OutOfRange {
                    name: tensor.name.clone(),
                    place: done / block * elements,
                });
            }
            done += bytes.len() as u64;
        }
    }
    Ok(())
}

/// Whether all values are within ±65504, the most that f16 holds and far beyond what training
/// gives. Without its sign a float's bits are ordered as its value is, infinity and NaN on top.
fn all_in_range(bytes: &[u8], kind: TensorKind) -> bool {
    match kind {
        TensorKind::F32 => {
            let values = bytes.as_chunks::<4>().0.iter();
            values
                .map(|&value| u32::from_le_bytes(value))
                .all(|bits| bits & 0x7fff_ffff <= 65_504_f32.to_bits())
        }
        TensorKind::F16 => halves(bytes).all(|bits| bits & 0x7fff <= 0x7bff),
        TensorKind::BF16 => halves(bytes).all(|bits| bits & 0x7fff <= 0x477f),
        // Each block begins with its scale, an f16 here up to 512; the rest are integers.
        TensorKind::Q8_0 => bytes
            .as_chunks::<34>()
            .0
            .iter()
            .all(|block| u16::from_le_bytes([block[0], block[1]]) & 0x7fff <= 0x6000),
        // The kinds were checked before: nothing else comes here, and nothing else is trusted.
        _ => false,
    }
}

fn halves(bytes: &[u8]) -> impl Iterator<Item = u16> {
    let values = bytes.as_chunks::<2>().0.iter();
    values.map(|&value| u16::from_le_bytes(value))
}
