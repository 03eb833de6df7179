//! The tensor list: shapes, sizes and places of the data.

use std::collections::HashSet;

use super::source::Source;
use super::{Problem, TensorKind};

const TENSORS_LIMIT: u64 = 65_535;
/// ggml holds a name in 64 bytes with a final zero.
const NAME_LIMIT: u64 = 63;
const DIMENSIONS_LIMIT: u32 = 4;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    pub name: String,
    /// In ggml's order: innermost first, the reverse of PyTorch's.
    pub shape: Vec<u64>,
    pub kind: TensorKind,
    /// Of the first byte, from the beginning of the file.
    pub offset: u64,
    /// In bytes, without padding.
    pub size: u64,
}

/// Reads the list and gives with it the place where the data begins.
pub(super) fn read_all(
    source: &mut Source,
    count: u64,
    alignment: u32,
) -> Result<(Vec<Tensor>, u64), Problem> {
    // A name's length and one letter, a dimension count and one dimension, a type and an offset.
    let least = 8 + 1 + 4 + 8 + 4 + 8;
    source.check_count("the number of tensors", count, TENSORS_LIMIT, least)?;
    let mut names = HashSet::new();
    let mut tensors = Vec::new();
    for _ in 0..count {
        let tensor = read_one(source)?;
        if !names.insert(tensor.name.clone()) {
            return Err(Problem::Duplicate {
                what: "tensor name",
                name: tensor.name,
            });
        }
        tensors.push(tensor);
    }
    if tensors.is_empty() {
        return Ok((tensors, source.position()));
    }
    let data_start = place(&mut tensors, source.position(), alignment.into(), source)?;
    Ok((tensors, data_start))
}

/// Reads an entry; its offset still counts from the beginning of the data.
fn read_one(source: &mut Source) -> Result<Tensor, Problem> {
    let name = source.name("tensor name", NAME_LIMIT)?;
    let dimensions = source.u32()?;
    if !(1..=DIMENSIONS_LIMIT).contains(&dimensions) {
        return Err(Problem::Dimensions {
            name,
            found: dimensions,
        });
    }
    let shape = (0..dimensions)
        .map(|_| source.u64())
        .collect::<Result<Vec<_>, _>>()?;
    let number = source.u32()?;
    let Some(kind) = TensorKind::from_number(number) else {
        return Err(Problem::UnknownTensorKind { name, number });
    };
    let offset = source.u64()?;
    match size_of(&shape, kind) {
        Ok(size) => Ok(Tensor {
            name,
            shape,
            kind,
            offset,
            size,
        }),
        Err(reason) => Err(Problem::Shape {
            name,
            shape,
            reason,
        }),
    }
}

fn size_of(shape: &[u64], kind: TensorKind) -> Result<u64, &'static str> {
    let (block, bytes) = kind.block();
    if shape.contains(&0) {
        return Err("has no elements");
    }
    if shape
        .first()
        .is_none_or(|innermost| !innermost.is_multiple_of(block))
    {
        return Err("does not divide into the blocks of its type");
    }
    shape
        .iter()
        .try_fold(1_u64, |product, &length| product.checked_mul(length))
        // ggml counts elements with signed numbers.
        .filter(|&elements| i64::try_from(elements).is_ok())
        .and_then(|elements| (elements / block).checked_mul(bytes))
        .filter(|&size| i64::try_from(size).is_ok())
        .ok_or("is too large to be counted")
}

/// Checks that the tensors follow one another, each padded, as llama.cpp demands, and that the
/// file holds the last one's data. Makes the offsets absolute.
fn place(
    tensors: &mut [Tensor],
    header_end: u64,
    alignment: u64,
    source: &Source,
) -> Result<u64, Problem> {
    let too_far = Problem::Truncated {
        expected: u64::MAX,
        found: source.len(),
    };
    let Some(data_start) = header_end.checked_next_multiple_of(alignment) else {
        return Err(too_far);
    };
    let mut next = 0_u64;
    let mut end = data_start;
    for tensor in tensors {
        if tensor.offset != next {
            return Err(Problem::Offset {
                name: tensor.name.clone(),
                expected: next,
                found: tensor.offset,
            });
        }
        let after = next
            .checked_add(tensor.size)
            .and_then(|unpadded| unpadded.checked_next_multiple_of(alignment));
        let (Some(after), Some(offset)) = (after, data_start.checked_add(next)) else {
            return Err(too_far);
        };
        tensor.offset = offset;
        end = offset.saturating_add(tensor.size);
        next = after;
    }
    if end > source.len() {
        return Err(Problem::Truncated {
            expected: end,
            found: source.len(),
        });
    }
    Ok(data_start)
}
