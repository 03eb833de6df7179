//! A folder as PEFT saves an adapter: its settings, three dashes, its safetensors file.

use std::fs;

use judged::convert::{Conversion, Precision};
use judged::{adapter, gguf};

use super::parts::two;

pub fn check(bytes: &[u8]) {
    let (config, weights) = two(bytes);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, bytes: &[u8]| {
        fs::write(folder.path().join(name), bytes).expect("room for a small file");
    };
    write("adapter_config.json", config);
    write("adapter_model.safetensors", weights);
    let conversion = Conversion {
        folder: folder.path().to_owned(),
        out: folder.path().join("adapter.gguf"),
        precision: Precision::F32,
        base: None,
        replace: false,
    };
    match conversion.run() {
        Ok(_) => {
            gguf::read(&conversion.out).expect("what is written can be read");
            let checked = adapter::check_alone(&conversion.out, "qwen2");
            checked.expect("what is written is an adapter");
        }
        Err(error) => {
            let told = error.to_string();
            assert!(told.contains(&*folder.path().to_string_lossy()), "{told}");
            assert!(!conversion.out.exists(), "half an adapter is left");
        }
    }
}
