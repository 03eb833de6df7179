//! Promise: a conversion writes only what it was asked to write, and replaces nothing unasked.

use std::fs;
use std::path::Path;

use super::{assert_refused, conversion, convert_folder, folder, names, one};
use crate::support::tiny::TinyModel;
use judged::convert::Conversion;
use judged::gguf;

#[test]
fn a_file_that_is_there_is_kept_unless_it_may_be_replaced() {
    let folder = folder(&one());
    let mut conversion = conversion(folder.path());
    fs::write(&conversion.out, "mine").unwrap();
    assert_refused(convert_folder(&conversion), &["adapter.gguf", "--force"]);
    assert_eq!(fs::read(&conversion.out).unwrap(), b"mine");
    conversion.replace = true;
    convert_folder(&conversion).unwrap();
    gguf::read(&conversion.out).unwrap();
    assert_eq!(names(folder.path()).len(), 3);
}

#[test]
fn a_failed_conversion_keeps_the_file_that_it_would_have_replaced() {
    let mut peft = one();
    peft.entry("lora_B.weight").data[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    let folder = folder(&peft);
    let conversion = Conversion {
        replace: true,
        ..conversion(folder.path())
    };
    fs::write(&conversion.out, "mine").unwrap();
    assert_refused(convert_folder(&conversion), &["NaN"]);
    assert_eq!(fs::read(&conversion.out).unwrap(), b"mine");
}

#[test]
fn only_a_gguf_file_is_written_so_that_no_slip_replaces_the_weights() {
    let folder = folder(&one());
    for name in ["adapter_model.safetensors", "adapter", ".gguf"] {
        let conversion = Conversion {
            out: folder.path().join(name),
            replace: true,
            ..conversion(folder.path())
        };
        assert_refused(convert_folder(&conversion), &[name, "must end in `.gguf`"]);
    }
}

#[test]
fn the_base_is_never_replaced() {
    let folder = folder(&one());
    let base = folder.path().join("base.gguf");
    TinyModel::default().write_base(&base);
    let before = fs::read(&base).unwrap();
    let conversion = Conversion {
        out: folder.path().join(".").join("base.gguf"),
        base: Some(base.clone()),
        replace: true,
        ..conversion(folder.path())
    };
    assert_refused(
        convert_folder(&conversion),
        &["base.gguf", "the base itself"],
    );
    assert_eq!(fs::read(&base).unwrap(), before);
}

#[test]
fn a_target_that_cannot_be_written_is_named() {
    let folder = folder(&one());
    let conversion = Conversion {
        out: folder.path().join("nowhere/adapter.gguf"),
        ..conversion(folder.path())
    };
    assert_refused(convert_folder(&conversion), &["nowhere/adapter.gguf"]);
}

#[test]
fn a_written_file_has_the_rights_of_any_new_file() {
    use std::os::unix::fs::PermissionsExt;

    let folder = folder(&one());
    let conversion = conversion(folder.path());
    conversion.run().unwrap();
    let plain = folder.path().join("plain");
    fs::write(&plain, "").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&conversion.out), mode(&plain));
}
