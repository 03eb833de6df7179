//! Numbers to the bytes of a tensor, rounded as llama.cpp's converter rounds them.

use std::path::Path;

use half::f16;

use super::ConvertError;
use crate::gguf::TensorKind;

const BLOCK: usize = 32;

/// How exactly an adapter's numbers are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    F32,
    F16,
    /// 8 bits with a scale for each 32, where rows are made of such blocks; f16 elsewhere.
    Q8_0,
}

/// A number that has no place in the file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct BadValue {
    place: usize,
    value: f32,
    limit: f32,
}

impl Precision {
    pub(super) fn kind(self, row: u64) -> TensorKind {
        match self {
            Self::F32 => TensorKind::F32,
            Self::Q8_0 if row.is_multiple_of(BLOCK as u64) => TensorKind::Q8_0,
            Self::F16 | Self::Q8_0 => TensorKind::F16,
        }
    }
}

impl BadValue {
    pub(super) fn in_tensor(self, folder: &Path, name: &str) -> ConvertError {
        let Self {
            place,
            value,
            limit,
        } = self;
        let (folder, name) = (folder.to_owned(), name.to_owned());
        match value.is_finite() {
            false => ConvertError::NotFinite {
                folder,
                name,
                place,
                value,
            },
            true => ConvertError::Overflow {
                folder,
                name,
                place,
                value,
                limit,
            },
        }
    }
}

pub(super) fn encode(
    mut values: Vec<f32>,
    factor: f64,
    kind: TensorKind,
) -> Result<Vec<u8>, BadValue> {
    let limit = limit(kind);
    for (place, value) in values.iter_mut().enumerate() {
        if factor != 1.0 {
            *value = (f64::from(*value) * factor) as f32;
        }
        let value = *value;
        // Not `value.abs() > limit`, which NaN is not.
        if !(-limit..=limit).contains(&value) {
            return Err(BadValue {
                place,
                value,
                limit,
            });
        }
    }
    Ok(match kind {
        TensorKind::Q8_0 => values
            .as_chunks::<BLOCK>()
            .0
            .iter()
            .flat_map(q8_0)
            .collect(),
        TensorKind::F16 => values
            .into_iter()
            .flat_map(|value| f16::from_f32(value).to_le_bytes())
            .collect(),
        _ => values.into_iter().flat_map(f32::to_le_bytes).collect(),
    })
}

/// What the check at load lets through; far more than training gives.
fn limit(kind: TensorKind) -> f32 {
    match kind {
        // A scale of 512, the most that the check takes.
        TensorKind::Q8_0 => 512.0 * 127.0,
        _ => 65_504.0,
    }
}

/// ggml's `quantize_row_q8_0_ref`: the scale as f16, then each number over the unrounded scale.
fn q8_0(block: &[f32; BLOCK]) -> [u8; 34] {
    let largest = block
        .iter()
        .fold(0.0_f32, |most, value| most.max(value.abs()));
    let scale = largest / 127.0;
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    let mut bytes = [0; 34];
    bytes[..2].copy_from_slice(&f16::from_f32(scale).to_le_bytes());
    for (byte, value) in bytes[2..].iter_mut().zip(block) {
        *byte = ((value * inverse).round() as i8).cast_unsigned();
    }
    bytes
}
