//! Promise: bytes that are no tensors, or lie about them, are refused with the reason.

use std::fs;

use super::{QUERY_A, WIDTH, assert_refused, conversion, convert, convert_folder, folder, one};
use judged::convert::{ConvertError, Converted};

fn convert_bytes(bytes: &[u8]) -> Result<Converted, ConvertError> {
    let folder = folder(&one());
    fs::write(folder.path().join("adapter_model.safetensors"), bytes).unwrap();
    convert_folder(&conversion(folder.path()))
}

#[test]
fn a_header_longer_than_the_file_is_refused() {
    for length in [1 << 16, 100_000_001, u64::MAX, u64::MAX - 7, 0, 1] {
        let mut peft = one();
        peft.header_length = Some(length);
        assert_refused(
            convert(&peft),
            &["adapter_model.safetensors", "safetensors file"],
        );
    }
}

#[test]
fn a_file_cut_short_anywhere_is_refused() {
    let bytes = one().safetensors();
    convert_bytes(&bytes).unwrap();
    for length in (0..bytes.len()).step_by(13).chain([bytes.len() - 1]) {
        let outcome = convert_bytes(&bytes[..length]);
        assert_refused(outcome, &["adapter_model.safetensors", "safetensors file"]);
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_refused(convert_bytes(&longer), &["safetensors file"]);
}

#[test]
fn a_header_that_is_no_json_is_refused() {
    for header in [
        "",
        "{",
        "[]",
        "null",
        "\u{0}",
        "{\"a\": 1}",
        "{\"a\": {\"dtype\": \"F32\"}}",
    ] {
        let length = (header.len() as u64).to_le_bytes();
        let bytes = [&length, header.as_bytes()].concat();
        assert_refused(convert_bytes(&bytes), &["safetensors file"]);
    }
    let no_text = [&2_u64.to_le_bytes()[..], &[0xff, 0xfe]].concat();
    assert_refused(convert_bytes(&no_text), &["safetensors file"]);
}

#[test]
fn offsets_that_overlap_or_lie_outside_are_refused() {
    let size = 4 * 4 * WIDTH;
    for offsets in [
        [0, size],
        [size - 4, 2 * size - 4],
        [size + 4, 2 * size + 4],
        [size, size],
        [2 * size, size],
        [size, u64::MAX],
        [u64::MAX - 3, u64::MAX],
    ] {
        let mut peft = one();
        peft.entry("lora_B.weight").offsets = Some(offsets);
        assert_refused(
            convert(&peft),
            &["adapter_model.safetensors", "safetensors file"],
        );
    }
}

#[test]
fn a_shape_that_does_not_fit_its_bytes_is_refused() {
    for shape in [[4, 63], [5, 64], [u64::MAX, u64::MAX], [1 << 62, 4]] {
        let mut peft = one();
        peft.entry("lora_A.weight").shape = shape.to_vec();
        assert_refused(
            convert(&peft),
            &["adapter_model.safetensors", "safetensors file"],
        );
    }
}

#[test]
fn a_tensor_that_is_there_twice_is_refused() {
    let mut peft = one();
    let twin = peft.entry("lora_A.weight").clone();
    peft.tensors.push(twin.clone());
    assert_refused(convert(&peft), &["adapter_model.safetensors"]);
    // Both for the same bytes: no hole tells of it.
    let last = peft.tensors.last_mut().unwrap();
    last.data.clear();
    last.offsets = Some([0, 4 * 4 * WIDTH]);
    assert_refused(convert(&peft), &[QUERY_A, "twice"]);
}
