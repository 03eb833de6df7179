//! Promise: the header of any file, however made, is read or refused with the reason.

use std::path::Path;

use crate::support::gguf_writer::{F16, F32, Field, GgufWriter, Q8_0};
use judged::gguf::{self, ARRAY_KEPT, Gguf, GgufError, Problem, TensorKind, Value, ValueKind};

/// Reads a file of these bytes; what is kept of it outlives the file.
fn read(bytes: &[u8]) -> Result<Gguf, Problem> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("made.gguf");
    std::fs::write(&path, bytes).unwrap();
    gguf::read(&path).map_err(|GgufError { problem, .. }| problem)
}

fn read_file(file: &GgufWriter) -> Result<Gguf, Problem> {
    read(&file.bytes())
}

/// Two keys and two small tensors.
fn small() -> GgufWriter {
    let mut file = GgufWriter::new();
    file.str("general.name", "small")
        .field("answer", Field::U32(42))
        .f32_tensor("first", &[3, 2], &[1.0; 6])
        .tensor("second", &[32], Q8_0, vec![0; 34]);
    file
}

macro_rules! assert_refused {
    ($result:expr, $pattern:pat) => {
        match $result {
            Err($pattern) => {}
            other => panic!("expected {}, got {other:?}", stringify!($pattern)),
        }
    };
}

#[test]
fn a_good_file_is_read_as_written() {
    let file = read_file(&small()).unwrap();
    assert_eq!(file.string("general.name").unwrap(), "small");
    assert_eq!(file.u32("answer").unwrap(), 42);
    let [first, second] = file.tensors.as_slice() else {
        panic!("expected two tensors, got {:?}", file.tensors);
    };
    assert_eq!((first.shape.as_slice(), first.size), (&[3, 2][..], 24));
    assert_eq!((second.kind, second.size), (TensorKind::Q8_0, 34));
    assert_eq!(first.offset, file.data_start);
    assert_eq!(second.offset, file.data_start + 32);
    assert_eq!(file.tensor("second"), Some(second));
    assert_eq!(file.tensor("third"), None);
}

#[test]
fn a_getter_names_the_key_and_both_types() {
    let file = read_file(&small()).unwrap();
    let wrong = file.f32("answer").unwrap_err().to_string();
    assert!(
        wrong.contains("`answer` has type `u32`, expected `f32`"),
        "{wrong}"
    );
    let missing = file.string("nothing").unwrap_err().to_string();
    assert!(
        missing.contains("`nothing` of type `string` is missing"),
        "{missing}"
    );
}

#[test]
fn a_long_array_is_not_kept_but_can_be_visited() {
    let strings = |count: u64| (0..count).map(|n| n.to_string()).collect::<Vec<_>>();
    let mut file = small();
    file.field("short", Field::Strings(strings(ARRAY_KEPT)))
        .field("long", Field::Strings(strings(ARRAY_KEPT + 1)));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("made.gguf");
    file.write(&path);
    let file = gguf::read(&path).unwrap();

    let short = file.array("short").unwrap().values.as_ref().unwrap();
    assert_eq!(short.last(), Some(&Value::String("4095".to_owned())));
    let long = file.array("long").unwrap();
    assert_eq!(
        (long.kind, long.len, &long.values),
        (ValueKind::String, 4097, &None)
    );
    let mut seen = Vec::new();
    file.each_string("long", |text| seen.push(text.to_owned()))
        .unwrap();
    assert_eq!(seen, strings(ARRAY_KEPT + 1));
    assert_eq!(
        file.u32("answer").unwrap(),
        42,
        "what follows an array is found"
    );
}

#[test]
fn a_file_that_is_not_there_is_an_error_with_its_path() {
    let error = gguf::read(Path::new("/no/such/file.gguf")).unwrap_err();
    assert!(error.to_string().contains("`/no/such/file.gguf`"));
    assert!(matches!(error.problem, Problem::Io(_)));
}

#[test]
fn a_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let error = gguf::read(dir.path()).unwrap_err();
    assert!(matches!(error.problem, Problem::NotRegular));
}

#[test]
fn another_format_is_refused() {
    let mut file = small();
    file.magic = *b"PK\x03\x04";
    assert_refused!(read_file(&file), Problem::Magic { .. });
}

#[test]
fn other_versions_are_refused_big_endian_included() {
    for version in [0, 1, 4, 3_u32.swap_bytes()] {
        let mut file = small();
        file.version = version;
        assert_refused!(read_file(&file), Problem::Version { .. });
    }
    let mut file = small();
    file.version = 2;
    assert!(read_file(&file).is_ok());
}

#[test]
fn every_truncation_is_noticed() {
    let bytes = small().bytes();
    // The padding after the last tensor may be missing, as llama.cpp allows.
    let needed = bytes.len() - 30;
    assert!(read(&bytes[..needed]).is_ok());
    for len in 0..needed {
        match read(&bytes[..len]) {
            Err(Problem::Truncated { expected, found }) => {
                assert_eq!(found, len as u64);
                assert!(expected > found && expected <= needed as u64);
            }
            other => panic!("cut to {len} bytes: {other:?}"),
        }
    }
}

#[test]
fn huge_counts_are_refused_before_anything_is_allocated() {
    for count in [65_536, 1 << 40, u64::MAX] {
        let mut file = small();
        file.tensor_count = Some(count);
        assert_refused!(read_file(&file), Problem::OverLimit { .. });
        let mut file = small();
        file.field_count = Some(count);
        assert_refused!(read_file(&file), Problem::OverLimit { .. });
    }
    let mut file = small();
    file.tensor_count = Some(60_000);
    assert_refused!(read_file(&file), Problem::Truncated { .. });
}

#[test]
fn huge_strings_and_arrays_are_refused_before_anything_is_allocated() {
    let array = |kind: u32, len: u64| {
        let bytes = [&kind.to_le_bytes()[..], &len.to_le_bytes()].concat();
        Field::Raw(9, bytes)
    };
    for value in [
        Field::Raw(8, u64::MAX.to_le_bytes().to_vec()),
        Field::Raw(8, (1_u64 << 21).to_le_bytes().to_vec()),
        array(0, u64::MAX),
        array(8, (1 << 30) + 1),
    ] {
        let mut file = small();
        file.field("huge", value);
        assert_refused!(read_file(&file), Problem::OverLimit { .. });
    }
    for value in [
        Field::Raw(8, 100_000_u64.to_le_bytes().to_vec()),
        array(12, 4000),
        array(8, 1 << 29),
    ] {
        let mut file = small();
        file.field("huge", value);
        assert_refused!(read_file(&file), Problem::Truncated { .. });
    }
}

#[test]
fn metadata_that_would_fill_the_memory_is_refused() {
    let mut file = small();
    for n in 0..20 {
        file.str(&format!("key.{n}"), &"x".repeat(1024 * 1024));
    }
    assert_refused!(read_file(&file), Problem::OverLimit { .. });
}

#[test]
fn values_of_unknown_or_nested_types_are_refused() {
    let mut file = small();
    file.field("odd", Field::Raw(13, vec![0; 64]));
    assert_refused!(
        read_file(&file),
        Problem::UnknownValueKind { number: 13, .. }
    );
    let mut file = small();
    file.field("nested", Field::Raw(9, [9, 0, 0, 0].repeat(20)));
    assert_refused!(read_file(&file), Problem::NestedArray { .. });
}

#[test]
fn text_that_is_not_utf8_is_refused() {
    let text = [&2_u64.to_le_bytes()[..], &[0xc3, 0x28]].concat();
    let mut file = small();
    file.field("text", Field::Raw(8, text));
    assert_refused!(read_file(&file), Problem::NotUtf8 { .. });
}

#[test]
fn duplicate_keys_and_tensor_names_are_refused() {
    let mut file = small();
    file.field("answer", Field::U32(43));
    assert_refused!(read_file(&file), Problem::Duplicate { what: "key", .. });
    let mut file = small();
    file.f32_tensor("first", &[1], &[1.0]);
    assert_refused!(
        read_file(&file),
        Problem::Duplicate {
            what: "tensor name",
            ..
        }
    );
}

#[test]
fn names_that_c_would_read_otherwise_are_refused() {
    for name in [&b"answer\0x"[..], b"", b"two words", b"line\n", b"\xc3\xa9"] {
        let mut file = small();
        file.field(name, Field::U32(1));
        assert_refused!(read_file(&file), Problem::Name { what: "key", .. });
        let mut file = small();
        file.entry("first").name = name.to_vec();
        assert_refused!(read_file(&file), Problem::Name { .. });
    }
}

#[test]
fn a_tensor_name_too_long_for_ggml_is_refused() {
    let mut file = small();
    file.entry("first").name = vec![b'x'; 64];
    assert_refused!(
        read_file(&file),
        Problem::OverLimit {
            found: 64,
            limit: 63,
            ..
        }
    );
    file.entry(&"x".repeat(64)).name = vec![b'x'; 63];
    assert!(read_file(&file).is_ok());
}

#[test]
fn an_alignment_that_is_no_power_of_two_is_refused() {
    for alignment in [0, 33, 48] {
        let mut file = small();
        file.set("general.alignment", Field::U32(alignment));
        assert_refused!(read_file(&file), Problem::Alignment { .. });
    }
    let mut file = small();
    file.set("general.alignment", Field::Str("32".to_owned()));
    assert_refused!(read_file(&file), Problem::WrongType { .. });
    let mut file = small();
    file.alignment = 128;
    file.set("general.alignment", Field::U32(128));
    assert_eq!(read_file(&file).unwrap().data_start % 128, 0);
}

#[test]
fn unknown_and_withdrawn_tensor_types_are_refused() {
    for kind in [4, 5, 31, 36, 43, u32::MAX] {
        let mut file = small();
        file.entry("first").kind = kind;
        assert_refused!(read_file(&file), Problem::UnknownTensorKind { .. });
    }
}

#[test]
fn shapes_that_make_no_tensor_are_refused() {
    for shape in [
        &[3, 0][..],
        &[u64::MAX, 2],
        &[1 << 62, 2],
        &[1 << 32, 1 << 31],
    ] {
        let mut file = small();
        file.entry("first").shape = shape.to_vec();
        assert_refused!(read_file(&file), Problem::Shape { .. });
    }
    for shape in [&[][..], &[1, 1, 1, 1, 6]] {
        let mut file = small();
        file.entry("first").shape = shape.to_vec();
        assert_refused!(read_file(&file), Problem::Dimensions { .. });
    }
    let mut file = small();
    file.entry("second").shape = vec![31];
    assert_refused!(read_file(&file), Problem::Shape { .. });
}

#[test]
fn overlapping_and_gaping_offsets_are_refused() {
    for offset in [0, 16, 64, u64::MAX] {
        let mut file = small();
        file.entry("second").offset = Some(offset);
        assert_refused!(read_file(&file), Problem::Offset { expected: 32, .. });
    }
}

#[test]
fn tensors_whose_data_no_file_could_hold_are_refused() {
    let mut file = small();
    file.entry("first").shape = vec![1 << 60];
    file.entry("second").offset = Some(1 << 62);
    assert_refused!(read_file(&file), Problem::Truncated { .. });
    let mut file = GgufWriter::new();
    for (n, offset) in [(0, 0), (1, (1 << 63) - 64), (2, u64::MAX - 127)] {
        file.tensor(&n.to_string(), &[(1 << 61) - 16], F32, Vec::new());
        file.entry(&n.to_string()).offset = Some(offset);
    }
    assert_refused!(read_file(&file), Problem::Truncated { .. });
}

#[test]
fn an_f16_tensor_takes_two_bytes_an_element() {
    let mut file = GgufWriter::new();
    file.tensor("half", &[5, 3], F16, vec![0; 30]);
    assert_eq!(read_file(&file).unwrap().tensors[0].size, 30);
}
