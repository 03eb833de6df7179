//! A GGUF file, as a base model and as an adapter for it.

use std::io::Write;
use std::sync::LazyLock;

use judged::gguf::{self, Gguf, Value, ValueKind};
use judged::{adapter, base};
use tempfile::NamedTempFile;

use super::support::tiny::TinyModel;

/// The base that adapters must fit; as small as a model can be.
static BASE: LazyLock<(NamedTempFile, Gguf)> = LazyLock::new(|| {
    let file = NamedTempFile::new().expect("a temporary file");
    tiny().write_base(file.path());
    let base = gguf::read(file.path()).expect("a good base");
    (file, base)
});

/// One layer of eight numbers.
pub fn tiny() -> TinyModel {
    TinyModel {
        n_layer: 1,
        n_embd: 8,
        n_head: 2,
        n_head_kv: 1,
        n_ff: 8,
        ..TinyModel::default()
    }
}

pub fn check(bytes: &[u8]) {
    let mut file = NamedTempFile::new().expect("a temporary file");
    file.write_all(bytes).expect("room for a small file");
    let Ok(read) = gguf::read(file.path()) else {
        // What cannot be read is no adapter either.
        assert!(adapter::check(file.path(), &BASE.1).is_err());
        return;
    };
    tensors_have_places(&read);
    arrays_have_their_strings(&read);
    if base::check_base(&read).is_ok() {
        data_is_there(&read);
    }
    let alone = adapter::check_alone(file.path(), "qwen2").is_ok();
    let fits = adapter::check(file.path(), &BASE.1).is_ok();
    assert!(alone || !fits, "it fits a base, and is no adapter");
    if alone {
        data_is_there(&read);
    }
}

fn tensors_have_places(read: &Gguf) {
    for tensor in &read.tensors {
        assert_eq!(read.tensor(&tensor.name), Some(tensor));
        assert!(tensor.offset >= read.data_start);
        assert_eq!(tensor.offset % u64::from(read.alignment), 0);
        assert!(tensor.offset.checked_add(tensor.size).is_some());
    }
}

fn arrays_have_their_strings(read: &Gguf) {
    for (key, value) in &read.metadata {
        let Value::Array(array) = value else { continue };
        let mut seen = 0;
        let visited = read.each_string(key, |_| seen += 1);
        assert_eq!(visited.is_ok(), array.kind == ValueKind::String, "{key}");
        if visited.is_ok() {
            assert_eq!(seen, array.len, "{key}");
        }
    }
}

fn data_is_there(read: &Gguf) {
    for tensor in &read.tensors {
        assert!(tensor.offset + tensor.size <= read.file_len);
    }
}
