//! Weights of a quantized row, moved by whole steps of their grid.

use half::f16;

use crate::gguf::TensorKind;

/// How a kind of tensor keeps its numbers. The layouts are those of ggml's `ggml-common.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grid {
    F32,
    F16,
    Q8_0,
    Q4K,
    Q6K,
}

impl Grid {
    pub(super) fn of(kind: TensorKind) -> Option<Self> {
        match kind {
            TensorKind::F32 => Some(Self::F32),
            TensorKind::F16 => Some(Self::F16),
            TensorKind::Q8_0 => Some(Self::Q8_0),
            TensorKind::Q4_K => Some(Self::Q4K),
            TensorKind::Q6_K => Some(Self::Q6K),
            _ => None,
        }
    }

    /// Adds `delta` to a row of weights, the first of which is the matrix's `place`-th.
    pub(super) fn shift(self, row: &mut [u8], delta: &[f32], place: usize) {
        match self {
            Self::F32 => {
                for (word, delta) in row.as_chunks_mut::<4>().0.iter_mut().zip(delta) {
                    *word = (f32::from_le_bytes(*word) + delta).to_le_bytes();
                }
            }
            Self::F16 => {
                for (half, delta) in row.as_chunks_mut::<2>().0.iter_mut().zip(delta) {
                    *half = f16::from_f32(f16::from_le_bytes(*half).to_f32() + delta).to_le_bytes();
                }
            }
            Self::Q8_0 => each::<34, 32>(row, delta, place, shift_q8_0),
            Self::Q4K => each::<144, 256>(row, delta, place, shift_q4_k),
            Self::Q6K => each::<210, 256>(row, delta, place, shift_q6_k),
        }
    }
}

fn each<const BYTES: usize, const WEIGHTS: usize>(
    row: &mut [u8],
    delta: &[f32],
    place: usize,
    shift: fn(&mut [u8; BYTES], &[f32; WEIGHTS], usize),
) {
    let blocks = row.as_chunks_mut::<BYTES>().0.iter_mut();
    let deltas = delta.as_chunks::<WEIGHTS>().0;
    for (index, (block, delta)) in blocks.zip(deltas).enumerate() {
        shift(block, delta, place + index * WEIGHTS);
    }
}

/// A step for 32 weights, and a signed byte for each.
fn shift_q8_0(block: &mut [u8; 34], delta: &[f32; 32], place: usize) {
    let step = half_at(block, 0);
    for (index, delta) in delta.iter().enumerate() {
        let weight = &mut block[2 + index];
        let moved = i32::from(*weight as i8) + steps(*delta, step, place + index);
        *weight = moved.clamp(-127, 127) as i8 as u8;
    }
}

/// Eight groups of 32 weights: a step and a minimum for each in twelve bytes, and four bits a weight.
fn shift_q4_k(block: &mut [u8; 144], delta: &[f32; 256], place: usize) {
    const SCALES: usize = 4;
    const WEIGHTS: usize = 16;
    let unit = half_at(block, 0);
    for group in 0..8 {
        let scale = match group {
            0..4 => block[SCALES + group] & 63,
            _ => (block[SCALES + 4 + group] & 15) | (block[SCALES + group - 4] >> 6 << 4),
        };
        let step = unit * f32::from(scale);
        let shift = group % 2 * 4;
        for index in 0..32 {
            let number = group * 32 + index;
            let byte = &mut block[WEIGHTS + group / 2 * 32 + index];
            let moved = i32::from(*byte >> shift & 15) + steps(delta[number], step, place + number);
            *byte = *byte & !(15 << shift) | (moved.clamp(0, 15) as u8) << shift;
        }
    }
}

/// Sixteen groups of 16 weights: the lower four bits of each, then its upper two, then the groups'
/// signed scales, then the unit that these count.
fn shift_q6_k(block: &mut [u8; 210], delta: &[f32; 256], place: usize) {
    const UPPER: usize = 128;
    const SCALES: usize = 192;
    let unit = half_at(block, 208);
    for number in 0..256 {
        let (half, quarter, index) = (number / 128, number / 32 % 4, number % 32);
        let scale = block[SCALES + number / 16] as i8;
        let step = unit * f32::from(scale);
        let lower = half * 64 + quarter % 2 * 32 + index;
        let upper = UPPER + half * 32 + index;
        let (low, high) = (quarter / 2 * 4, quarter * 2);
        let found = (block[lower] >> low & 15) | ((block[upper] >> high & 3) << 4);
        let moved = i32::from(found) + steps(delta[number], step, place + number);
        let moved = moved.clamp(0, 63) as u8;
        block[lower] = block[lower] & !(15 << low) | (moved & 15) << low;
        block[upper] = block[upper] & !(3 << high) | (moved >> 4) << high;
    }
}

fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// `delta` in whole steps, up or down by the chance of the weight's place. A grid without a step
/// holds one value.
fn steps(delta: f32, step: f32, place: usize) -> i32 {
    match step {
        0.0 => 0,
        step => (delta / step + chance(place)).floor() as i32,
    }
}

/// From 0 to below 1, evenly: the finalizer of SplitMix64 (Steele, Lea, Flood 2014).
fn chance(place: usize) -> f32 {
    let mut bits = (place as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^= bits >> 31;
    // As many bits as an f32 holds.
    (bits >> 40) as f32 / (1 << 24) as f32
}
