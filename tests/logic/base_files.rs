//! Promise: a base model on which llama.cpp would abort is refused first, with the reason.

use crate::support::gguf_writer::{F16, Field, GgufWriter, I32};
use crate::support::tiny::TinyModel;
use crate::support::tiny_vocabulary;
use judged::base::{BaseInfo, BaseProblem, check_base};
use judged::gguf::{self, Problem};

fn check(file: &GgufWriter) -> Result<BaseInfo, BaseProblem> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("base.gguf");
    file.write(&path);
    let base = gguf::read(&path).map_err(|error| error.problem)?;
    check_base(&base).map_err(|error| {
        assert_eq!(error.path, path);
        error.problem
    })
}

fn tiny_with(spoil: impl FnOnce(&mut GgufWriter)) -> Result<BaseInfo, BaseProblem> {
    let mut file = TinyModel::default().base();
    spoil(&mut file);
    check(&file)
}

fn tiny_with_field(key: &str, value: Field) -> Result<BaseInfo, BaseProblem> {
    tiny_with(|file| {
        file.set(key, value);
    })
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
fn the_tiny_model_passes_tied_or_not() {
    for tied in [false, true] {
        let tiny = TinyModel {
            tied,
            ..TinyModel::default()
        };
        let info = check(&tiny.base()).unwrap();
        assert_eq!((info.layers, info.heads, info.kv_heads), (2, 4, 2));
        assert_eq!(info.tokens, tiny_vocabulary::tokens().len() as u64);
        assert_eq!(info.tied, tied);
    }
}

#[test]
fn another_architecture_or_tokenizer_is_refused() {
    for key in [
        "general.architecture",
        "tokenizer.ggml.model",
        "tokenizer.ggml.pre",
    ] {
        let result = tiny_with_field(key, Field::Str("llama".to_owned()));
        assert_refused!(result, BaseProblem::Metadata { .. });
    }
}

#[test]
fn every_setting_is_needed_and_has_one_type() {
    for key in [
        "general.architecture",
        "qwen2.block_count",
        "qwen2.context_length",
        "qwen2.embedding_length",
        "qwen2.feed_forward_length",
        "qwen2.attention.head_count",
        "qwen2.attention.head_count_kv",
        "qwen2.attention.layer_norm_rms_epsilon",
        "qwen2.rope.freq_base",
        "tokenizer.ggml.model",
        "tokenizer.ggml.pre",
        "tokenizer.ggml.tokens",
        "tokenizer.ggml.token_type",
        "tokenizer.ggml.merges",
    ] {
        let missing = tiny_with(|file| {
            file.remove(key);
        });
        assert_refused!(missing, BaseProblem::Gguf(Problem::MissingKey { .. }));
        let wrong = tiny_with_field(key, Field::Bool(true));
        assert_refused!(wrong, BaseProblem::Gguf(Problem::WrongType { .. }));
    }
}

#[test]
fn settings_that_llama_cpp_asserts_on_are_refused() {
    for (key, value) in [
        ("qwen2.block_count", Field::U32(0)),
        ("qwen2.block_count", Field::U32(513)),
        ("qwen2.context_length", Field::U32(0)),
        ("qwen2.attention.head_count", Field::U32(0)),
        ("qwen2.attention.head_count", Field::U32(3)),
        ("qwen2.attention.head_count", Field::U32(64)),
        ("qwen2.attention.head_count_kv", Field::U32(3)),
        ("qwen2.rope.dimension_count", Field::U32(8)),
        (
            "qwen2.attention.layer_norm_rms_epsilon",
            Field::F32(f32::NAN),
        ),
        ("qwen2.attention.layer_norm_rms_epsilon", Field::F32(-1.0)),
        ("qwen2.rope.freq_base", Field::F32(0.0)),
        ("tokenizer.ggml.eos_token_id", Field::U32(1 << 20)),
    ] {
        let result = tiny_with_field(key, value.clone());
        assert!(
            matches!(result, Err(BaseProblem::Setting { .. })),
            "{key} {value:?}: {result:?}"
        );
    }
}

#[test]
fn settings_beyond_a_plain_model_are_refused() {
    for (key, value) in [
        ("qwen2.expert_used_count", Field::U32(2)),
        ("qwen2.rope.scaling.type", Field::Str("odd".to_owned())),
        ("qwen2.nextn_predict_layers", Field::U32(9)),
        ("qwen2.attention.key_length", Field::U32(7)),
    ] {
        assert_refused!(tiny_with_field(key, value), BaseProblem::UnknownKey { .. });
    }
    let split = tiny_with_field("split.count", Field::U16(2));
    assert_refused!(split, BaseProblem::Split { parts: 2 });
}

#[test]
fn a_vocabulary_with_a_doubled_empty_or_missing_token_is_refused() {
    let tokens = || -> Vec<String> {
        let tokens = tiny_vocabulary::tokens().into_iter();
        tokens.map(|(text, _)| text).collect()
    };
    let with = |place: usize, text: &str| {
        let mut changed = tokens();
        changed[place] = text.to_owned();
        tiny_with_field("tokenizer.ggml.tokens", Field::Strings(changed))
    };
    let last = tokens().len() - 1;
    assert_refused!(with(last, "!"), BaseProblem::DuplicateToken { .. });
    assert_refused!(with(last, ""), BaseProblem::BadToken { .. });
    assert_refused!(with(last, "!\0"), BaseProblem::BadToken { .. });
    assert_refused!(with(0, "odd"), BaseProblem::MissingByte { byte: b'!' });
    let none = Field::Strings(Vec::new());
    let result = tiny_with_field("tokenizer.ggml.tokens", none);
    assert_refused!(result, BaseProblem::TokenCount { found: 0, .. });
    let result = tiny_with_field("tokenizer.ggml.token_type", Field::I32s(vec![1; 9]));
    assert_refused!(result, BaseProblem::ArrayLength { found: 9, .. });
}

#[test]
fn a_missing_tensor_is_refused() {
    for name in [
        "token_embd.weight",
        "output_norm.weight",
        "blk.1.ffn_up.weight",
    ] {
        let result = tiny_with(|file| {
            file.remove_tensor(name);
        });
        assert_refused!(result, BaseProblem::MissingTensor { .. });
    }
    let without_biases = tiny_with(|file| {
        let tensors = &mut file.tensors;
        tensors.retain(|entry| !entry.name.ends_with(b".bias"));
    });
    assert!(without_biases.is_ok(), "biases are optional");
}

#[test]
fn a_tensor_too_many_is_refused() {
    let result = tiny_with(|file| {
        file.f32_tensor("rope_freqs.weight", &[8], &[1.0; 8]);
    });
    assert_refused!(result, BaseProblem::UnknownTensor { .. });
    let result = tiny_with_field("qwen2.block_count", Field::U32(1));
    assert_refused!(result, BaseProblem::UnknownTensor { .. });
}

#[test]
fn a_tensor_of_the_wrong_shape_is_refused() {
    for (name, shape) in [
        ("output_norm.weight", &[32, 2][..]),
        ("blk.0.attn_k.weight", &[32, 64]),
        ("blk.0.attn_k.bias", &[16, 2]),
    ] {
        let result = tiny_with(|file| file.entry(name).shape = shape.to_vec());
        assert_refused!(result, BaseProblem::Shape { .. });
    }
}

#[test]
fn a_tensor_of_a_kind_that_ggml_cannot_use_there_is_refused() {
    let matrix = tiny_with(|file| file.entry("blk.0.ffn_up.weight").kind = I32);
    assert_refused!(matrix, BaseProblem::Kind { .. });
    let norm = tiny_with(|file| {
        let entry = file.entry("blk.0.ffn_norm.weight");
        entry.kind = F16;
        entry.data.truncate(128);
    });
    assert_refused!(norm, BaseProblem::Kind { .. });
}

#[test]
fn data_that_cannot_be_mapped_is_refused() {
    let result = tiny_with(|file| {
        file.alignment = 16;
        file.set("general.alignment", Field::U32(16));
    });
    assert_refused!(result, BaseProblem::Setting { .. });
}

#[test]
fn a_truncated_base_is_refused() {
    let bytes = TinyModel::default().base().bytes();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("base.gguf");
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let error = gguf::read(&path).unwrap_err();
    assert_refused!(Err::<(), _>(error.problem), Problem::Truncated { .. });
}
