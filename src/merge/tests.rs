use half::f16;

use super::grid::Grid;
use crate::gguf::TensorKind;

const KINDS: [TensorKind; 3] = [TensorKind::Q8_0, TensorKind::Q4_K, TensorKind::Q6_K];
const BLOCKS: usize = 64;

/// A row whose bytes are all sorts, with units that are no wild numbers.
fn row(kind: TensorKind) -> Vec<u8> {
    let (_, bytes) = kind.block();
    let bytes = bytes as usize;
    let mut row: Vec<u8> = (0..bytes * BLOCKS)
        .map(|index| (index as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect();
    for block in row.chunks_exact_mut(bytes) {
        let unit = f16::from_f32(0.01).to_le_bytes();
        match kind {
            TensorKind::Q6_K => block[208..].copy_from_slice(&unit),
            TensorKind::Q4_K => {
                block[..2].copy_from_slice(&unit);
                block[2..4].copy_from_slice(&unit);
            }
            _ => {
                block[..2].copy_from_slice(&unit);
                // ggml writes no -128.
                block[2..]
                    .iter_mut()
                    .filter(|byte| **byte == 128)
                    .for_each(|byte| *byte = 129);
            }
        }
    }
    row
}

/// Each weight's whole number and the step that it counts, in the order in which ggml's own
/// dequantization writes them.
fn read(kind: TensorKind, row: &[u8]) -> Vec<(i32, f32)> {
    let unit = |block: &[u8], at: usize| f16::from_le_bytes([block[at], block[at + 1]]).to_f32();
    let (_, bytes) = kind.block();
    let mut weights = Vec::new();
    for block in row.chunks_exact(bytes as usize) {
        match kind {
            TensorKind::Q8_0 => {
                let step = unit(block, 0);
                weights.extend(block[2..].iter().map(|&byte| (i32::from(byte as i8), step)));
            }
            TensorKind::Q4_K => {
                let scales = &block[4..16];
                for pair in 0..4 {
                    let bytes = &block[16 + 32 * pair..][..32];
                    for (half, group) in [2 * pair, 2 * pair + 1].into_iter().enumerate() {
                        let scale = match group < 4 {
                            true => scales[group] % 64,
                            false => scales[group + 4] % 16 + scales[group - 4] / 64 * 16,
                        };
                        let step = unit(block, 0) * f32::from(scale);
                        let number = |byte: u8| [byte % 16, byte / 16][half];
                        weights.extend(bytes.iter().map(|&byte| (i32::from(number(byte)), step)));
                    }
                }
            }
            _ => {
                let step = |at: usize| unit(block, 208) * f32::from(block[192 + at] as i8);
                for half in 0..2 {
                    let (lower, upper) =
                        (&block[64 * half..][..64], &block[128 + 32 * half..][..32]);
                    let mut quarters = [const { Vec::new() }; 4];
                    for index in 0..32 {
                        let scale = 8 * half + index / 16;
                        let (one, two, top) = (lower[index], lower[index + 32], upper[index]);
                        let parts = [
                            one % 16 + top % 4 * 16,
                            two % 16 + top / 4 % 4 * 16,
                            one / 16 + top / 16 % 4 * 16,
                            two / 16 + top / 64 * 16,
                        ];
                        for (quarter, part) in parts.into_iter().enumerate() {
                            quarters[quarter].push((i32::from(part), step(scale + 2 * quarter)));
                        }
                    }
                    weights.extend(quarters.concat());
                }
            }
        }
    }
    weights
}

fn bounds(kind: TensorKind) -> (i32, i32) {
    match kind {
        TensorKind::Q8_0 => (-127, 127),
        TensorKind::Q4_K => (0, 15),
        _ => (0, 63),
    }
}

fn shift(kind: TensorKind, row: &mut [u8], delta: &[f32]) {
    Grid::of(kind).unwrap().shift(row, delta, 0);
}

#[test]
fn nothing_added_changes_no_byte() {
    for kind in KINDS {
        let mut moved = row(kind);
        let weights = read(kind, &moved).len();
        shift(kind, &mut moved, &vec![0.0; weights]);
        assert!(moved == row(kind), "{kind}");
    }
}

#[test]
fn a_whole_step_moves_each_weight_by_one_within_its_bounds_and_nothing_else() {
    for kind in KINDS {
        let mut moved = row(kind);
        let before = read(kind, &moved);
        // A little more than a step, since a quotient may fall short of one by its last bit.
        let delta: Vec<f32> = before.iter().map(|(_, step)| step * 1.000_001).collect();
        shift(kind, &mut moved, &delta);
        let (least, most) = bounds(kind);
        let expected = before.iter().map(|&(number, step)| match step {
            0.0 => (number, step),
            step => ((number + 1).clamp(least, most), step),
        });
        let found = read(kind, &moved);
        let wrong = expected.zip(&found).filter(|(one, other)| one != *other);
        // One in a million is so near the upper step that chance takes it further.
        assert!(wrong.count() <= 1, "{kind}");
    }
}

#[test]
fn what_is_less_than_a_step_is_added_on_the_average() {
    for kind in KINDS {
        let (least, most) = bounds(kind);
        for share in [0.1, -0.3, 0.5] {
            let mut moved = row(kind);
            let before = read(kind, &moved);
            let delta: Vec<f32> = before.iter().map(|(_, step)| step * share).collect();
            shift(kind, &mut moved, &delta);
            let free = |number| (least + 1..most).contains(&number);
            let steps = before
                .iter()
                .zip(read(kind, &moved))
                .filter(|((number, step), _)| free(*number) && *step != 0.0)
                .map(|(one, other)| f64::from(other.0 - one.0));
            let steps: Vec<f64> = steps.collect();
            let mean = steps.iter().sum::<f64>() / steps.len() as f64;
            let error = 3.0 / (steps.len() as f64).sqrt();
            assert!(
                (mean - f64::from(share)).abs() < error,
                "{kind}: {mean}, not {share}"
            );
        }
    }
}

#[test]
fn kinds_whose_steps_are_not_known_have_no_grid() {
    assert_eq!(Grid::of(TensorKind::Q4_1), None);
    assert_eq!(Grid::of(TensorKind::IQ4_NL), None);
}
