//! Promise: an adapter that llama.cpp would refuse, abort on, or be poisoned by is refused first.

use std::collections::BTreeSet;

use crate::support::gguf_writer::{BF16, Field, GgufWriter, I32, Q8_0};
use crate::support::tiny::{LoraKind, LoraSpec, MODULES, TinyModel};
use judged::adapter::{self, AdapterInfo, AdapterProblem};
use judged::gguf::{self, Gguf, Problem};

const A: &str = "blk.0.attn_q.weight.lora_a";
const B: &str = "blk.0.attn_q.weight.lora_b";

fn check(file: &GgufWriter) -> Result<AdapterInfo, AdapterProblem> {
    check_for(&TinyModel::default(), file)
}

fn check_for(tiny: &TinyModel, file: &GgufWriter) -> Result<AdapterInfo, AdapterProblem> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("adapter.gguf");
    file.write(&path);
    adapter::check(&path, &base(tiny, &dir)).map_err(|error| {
        assert_eq!(error.path, path);
        error.problem
    })
}

fn base(tiny: &TinyModel, dir: &tempfile::TempDir) -> Gguf {
    let path = dir.path().join("base.gguf");
    tiny.write_base(&path);
    gguf::read(&path).unwrap()
}

/// An adapter for one matrix.
fn one() -> GgufWriter {
    TinyModel::default().lora(&LoraSpec {
        layers: vec![0],
        modules: vec!["attn_q"],
        ..LoraSpec::default()
    })
}

fn one_with(spoil: impl FnOnce(&mut GgufWriter)) -> Result<AdapterInfo, AdapterProblem> {
    let mut file = one();
    spoil(&mut file);
    check(&file)
}

fn ones(count: usize) -> Vec<f32> {
    vec![1.0; count]
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
fn a_good_adapter_passes_and_is_described() {
    for kind in [LoraKind::F32, LoraKind::F16] {
        let spec = LoraSpec {
            kind,
            ..LoraSpec::default()
        };
        let info = check(&TinyModel::default().lora(&spec)).unwrap();
        let expected = AdapterInfo {
            alpha: 8.0,
            ranks: BTreeSet::from([4]),
            tensors: 2 * 2 * MODULES.len(),
            layers: BTreeSet::from([0, 1]),
        };
        assert_eq!(info, expected);
    }
}

#[test]
fn ranks_may_differ_between_matrices() {
    let info = one_with(|file| {
        file.f32_tensor("blk.1.ffn_up.weight.lora_a", &[64, 2], &ones(128))
            .f32_tensor("blk.1.ffn_up.weight.lora_b", &[2, 128], &ones(256));
    });
    assert_eq!(info.unwrap().ranks, BTreeSet::from([2, 4]));
}

#[test]
fn norm_tensors_are_skipped_as_the_loader_does() {
    let info = one_with(|file| {
        file.f32_tensor("blk.0.attn_norm.weight", &[64], &[f32::NAN; 64]);
    });
    assert_eq!(info.unwrap().tensors, 2);
    let only_norms = one_with(|file| {
        file.tensors.clear();
        file.f32_tensor("blk.0.attn_norm.weight", &[64], &ones(64));
    });
    assert_refused!(only_norms, AdapterProblem::Empty);
}

#[test]
fn the_wrong_kind_of_file_is_refused() {
    for (key, value) in [
        ("general.type", "model"),
        ("general.architecture", "llama"),
        ("adapter.type", "control"),
        ("adapter.type", "lora\0"),
    ] {
        let result = one_with(|file| {
            file.set(key, Field::Str(value.to_owned()));
        });
        assert_refused!(result, AdapterProblem::Metadata { .. });
    }
}

#[test]
fn metadata_of_the_wrong_type_is_refused() {
    for (key, value) in [
        ("general.type", Field::U32(1)),
        ("general.architecture", Field::Strings(Vec::new())),
        ("general.name", Field::Bool(true)),
        ("adapter.type", Field::F32(1.0)),
        ("adapter.lora.alpha", Field::Str("8.0".to_owned())),
        ("adapter.lora.alpha", Field::U32(8)),
    ] {
        let result = one_with(|file| {
            file.set(key, value);
        });
        assert_refused!(result, AdapterProblem::Gguf(Problem::WrongType { .. }));
    }
}

#[test]
fn missing_metadata_is_refused() {
    for key in [
        "general.type",
        "general.architecture",
        "adapter.type",
        "adapter.lora.alpha",
    ] {
        let result = one_with(|file| {
            file.remove(key);
        });
        assert_refused!(result, AdapterProblem::Gguf(Problem::MissingKey { .. }));
    }
}

#[test]
fn an_alpha_that_is_no_scale_is_refused() {
    for alpha in [f32::NAN, f32::INFINITY, -1.0, 1e9] {
        let result = one_with(|file| {
            file.set("adapter.lora.alpha", Field::F32(alpha));
        });
        assert_refused!(result, AdapterProblem::Alpha { .. });
    }
}

#[test]
fn an_activated_lora_is_refused() {
    let result = one_with(|file| {
        file.field("adapter.alora.invocation_tokens", Field::I32s(vec![1, 2]));
    });
    assert_refused!(result, AdapterProblem::Activated);
}

#[test]
fn an_adapter_without_tensors_is_refused() {
    assert_refused!(one_with(|file| file.tensors.clear()), AdapterProblem::Empty);
}

#[test]
fn a_missing_half_is_refused() {
    for half in [A, B] {
        let result = one_with(|file| {
            file.remove_tensor(half);
        });
        assert_refused!(result, AdapterProblem::HalfMissing { .. });
    }
}

#[test]
fn tensors_with_other_names_are_refused() {
    for name in [
        "blk.0.attn_q.weight",
        "blk.0.attn_q.weight.lora_c",
        "blk.0.attn_q.weight.lora_magnitude",
        // llama.cpp would take it for the matrix's lora_a.
        "blk.0.attn_q.weight.lora_a.lora_a",
    ] {
        let result = one_with(|file| {
            file.f32_tensor(name, &[64, 4], &ones(256));
        });
        assert_refused!(result, AdapterProblem::UnexpectedTensor { .. });
    }
}

#[test]
fn a_matrix_that_the_base_lacks_is_refused() {
    let deeper = TinyModel {
        n_layer: 3,
        ..TinyModel::default()
    };
    let spec = LoraSpec {
        layers: vec![2],
        ..LoraSpec::default()
    };
    assert_refused!(check(&deeper.lora(&spec)), AdapterProblem::NotInBase { .. });
}

#[test]
fn an_adapter_for_another_width_is_refused() {
    let wider = TinyModel {
        n_embd: 128,
        ..TinyModel::default()
    };
    let file = wider.lora(&LoraSpec::default());
    assert_refused!(check(&file), AdapterProblem::Shape { .. });
}

#[test]
fn halves_of_different_rank_or_turned_round_are_refused() {
    for (a, b) in [
        ([64, 4], [2, 64]),
        ([4, 64], [64, 4]),
        ([4, 64], [4, 64]),
        ([64, 4], [64, 4]),
    ] {
        let result = one_with(|file| {
            file.tensors.clear();
            file.f32_tensor(A, &a, &ones((a[0] * a[1]) as usize))
                .f32_tensor(B, &b, &ones((b[0] * b[1]) as usize));
        });
        assert_refused!(result, AdapterProblem::Shape { .. });
    }
}

#[test]
fn halves_with_more_or_fewer_than_two_dimensions_are_refused() {
    for shape in [&[64, 4, 1][..], &[256], &[64, 2, 2]] {
        let result = one_with(|file| file.entry(A).shape = shape.to_vec());
        assert_refused!(result, AdapterProblem::Shape { .. });
    }
}

#[test]
fn an_update_of_a_vector_is_refused() {
    let result = one_with(|file| {
        file.f32_tensor("blk.0.attn_q.bias.lora_a", &[64, 1], &ones(64))
            .f32_tensor("blk.0.attn_q.bias.lora_b", &[1, 1], &ones(1));
    });
    assert_refused!(result, AdapterProblem::NotMatrix { .. });
}

#[test]
fn embeddings_may_be_changed_unless_they_are_the_output_too() {
    let untied = TinyModel::default();
    let tokens = untied.shape("token_embd.weight")[1];
    let mut file = one();
    file.f32_tensor(
        "token_embd.weight.lora_a",
        &[2, tokens],
        &ones(2 * tokens as usize),
    )
    .f32_tensor("token_embd.weight.lora_b", &[2, 64], &ones(128));
    assert_eq!(check_for(&untied, &file).unwrap().tensors, 4);

    // Here the loader is content, and the first decode aborts.
    let tied = TinyModel {
        tied: true,
        ..TinyModel::default()
    };
    assert_refused!(
        check_for(&tied, &file),
        AdapterProblem::TiedEmbedding { .. }
    );

    // The loader does not compare the ranks of these.
    let entry = file.entry("token_embd.weight.lora_b");
    entry.shape = vec![1, 64];
    entry.data.truncate(256);
    assert_refused!(check_for(&untied, &file), AdapterProblem::Shape { .. });
}

#[test]
fn kinds_that_cannot_be_multiplied_or_checked_are_refused() {
    let result = one_with(|file| file.entry(A).kind = I32);
    assert_refused!(result, AdapterProblem::Kind { .. });
}

#[test]
fn values_that_are_not_finite_or_absurd_are_refused() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -65_536.0] {
        for half in [A, B] {
            let result = one_with(|file| {
                file.entry(half).data[4 * 77..][..4].copy_from_slice(&value.to_le_bytes());
            });
            assert_refused!(result, AdapterProblem::OutOfRange { .. });
        }
    }
}

#[test]
fn values_that_are_not_finite_are_refused_in_the_shorter_kinds_too() {
    let infinity = half::f16::INFINITY.to_le_bytes();
    let spec = LoraSpec {
        layers: vec![0],
        modules: vec!["attn_q"],
        kind: LoraKind::F16,
        ..LoraSpec::default()
    };
    let mut file = TinyModel::default().lora(&spec);
    file.entry(B).data[100..102].copy_from_slice(&infinity);
    assert_refused!(check(&file), AdapterProblem::OutOfRange { .. });

    let short = |kind, bytes| {
        one_with(|file: &mut GgufWriter| {
            file.entry(A).kind = kind;
            file.entry(A).data = bytes;
        })
    };
    let bf16 = half::bf16::from_f32(0.5).to_le_bytes().repeat(256);
    assert!(short(BF16, bf16.clone()).is_ok());
    let nan = half::bf16::NAN.to_le_bytes();
    assert_refused!(
        short(BF16, [&bf16[..510], &nan[..]].concat()),
        AdapterProblem::OutOfRange { .. }
    );

    // Eight blocks of a scale and 32 numbers, which may have any bits.
    let block = [&half::f16::from_f32(0.1).to_le_bytes()[..], &[0xff; 32]].concat();
    assert!(short(Q8_0, block.repeat(8)).is_ok());
    let mut spoiled = block.repeat(8);
    spoiled[34 * 7..][..2].copy_from_slice(&infinity);
    assert_refused!(short(Q8_0, spoiled), AdapterProblem::OutOfRange { .. });
}

#[test]
fn a_truncated_adapter_is_refused() {
    let tiny = TinyModel::default();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("adapter.gguf");
    let bytes = tiny.lora(&LoraSpec::default()).bytes();
    std::fs::write(&path, &bytes[..bytes.len() - 64]).unwrap();
    let error = adapter::check(&path, &base(&tiny, &dir)).unwrap_err();
    let problem = AdapterProblem::Gguf(Problem::Truncated {
        expected: bytes.len() as u64,
        found: bytes.len() as u64 - 64,
    });
    assert_eq!(error.problem.to_string(), problem.to_string());
}

#[test]
fn an_adapter_of_more_than_a_gibibyte_is_refused() {
    let tiny = TinyModel::default();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("adapter.gguf");
    one().write(&path);
    let file = std::fs::File::options().append(true).open(&path).unwrap();
    file.set_len((1 << 30) + 1).unwrap();
    let error = adapter::check(&path, &base(&tiny, &dir)).unwrap_err();
    assert_refused!(Err::<(), _>(error.problem), AdapterProblem::TooLarge { .. });
}

#[test]
fn a_header_of_many_megabytes_is_refused() {
    let text = Field::Strings(vec!["x".repeat(1000); 20_000]);
    let result = one_with(|file| {
        file.field("padding", text);
    });
    assert_refused!(result, AdapterProblem::TooLarge { what: "header", .. });
}
