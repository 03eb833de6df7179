//! Promise: a PEFT folder is converted to what it computes, or refused with the reason, whatever
//! is in it.

mod hostile;
mod target;

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::peft_folder::{MODULES, PeftFolder, numbers};
use crate::support::tiny::TinyModel;
use half::{bf16, f16};
use judged::convert::{Conversion, ConvertError, Converted, Precision};
use judged::gguf::{self, TensorKind};
use serde_json::{Value, json};
use tempfile::TempDir;

const QUERY_A: &str = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight";
const QUERY_B: &str = "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight";

/// The width of the tiny model, and of its query matrix.
const WIDTH: u64 = 64;

/// An adapter of rank 4 for the first query matrix of the tiny model.
fn one() -> PeftFolder {
    let mut peft = PeftFolder::new(4, 8);
    peft.module(0, "self_attn.q_proj", [WIDTH, WIDTH], 4);
    peft
}

fn folder(peft: &PeftFolder) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    peft.write(folder.path());
    folder
}

fn conversion(folder: &Path) -> Conversion {
    Conversion {
        folder: folder.to_owned(),
        out: folder.join("adapter.gguf"),
        precision: Precision::F32,
        base: None,
        replace: false,
    }
}

fn convert(peft: &PeftFolder) -> Result<Converted, ConvertError> {
    convert_as(peft, Precision::F32)
}

fn convert_as(peft: &PeftFolder, precision: Precision) -> Result<Converted, ConvertError> {
    let folder = folder(peft);
    convert_folder(&Conversion {
        precision,
        ..conversion(folder.path())
    })
}

/// Where it fails it must leave the folder as it was.
fn convert_folder(conversion: &Conversion) -> Result<Converted, ConvertError> {
    let before = names(&conversion.folder);
    let outcome = conversion.run();
    if outcome.is_err() {
        assert_eq!(names(&conversion.folder), before);
    }
    outcome
}

fn names(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.path()).collect();
    names.sort();
    names
}

/// The error's text, which names a file and all of `words`.
#[track_caller]
fn assert_refused(outcome: Result<Converted, ConvertError>, words: &[&str]) {
    let text = match outcome {
        Ok(converted) => panic!("not refused: {converted:?}"),
        Err(error) => error.to_string(),
    };
    for word in words {
        assert!(text.contains(word), "`{word}` is not in: {text}");
    }
}

#[track_caller]
fn assert_setting_refused(key: &str, value: Value, words: &[&str]) {
    let outcome = convert(one().set(key, value));
    assert_refused(outcome, &[&["adapter_config.json", key], words].concat());
}

#[track_caller]
fn assert_tensor_refused(name: &str, words: &[&str]) {
    let mut peft = one();
    peft.f32(name, &[4, WIDTH], &vec![1.0; 4 * WIDTH as usize]);
    let place = ["adapter_model.safetensors", name];
    assert_refused(convert(&peft), &[&place, words].concat());
}

/// Alpha and the values of one tensor, as written.
fn written(peft: &PeftFolder, tensor: &str) -> (f32, Vec<f32>) {
    let folder = folder(peft);
    let conversion = conversion(folder.path());
    conversion.run().unwrap();
    let file = gguf::read(&conversion.out).unwrap();
    let tensor = file.tensor(tensor).unwrap();
    let bytes = fs::read(&conversion.out).unwrap();
    let bytes = &bytes[tensor.offset as usize..][..tensor.size as usize];
    let values = bytes.as_chunks::<4>().0.iter();
    let values = values.map(|&value| f32::from_le_bytes(value)).collect();
    (file.f32("adapter.lora.alpha").unwrap(), values)
}

#[test]
fn what_was_written_is_told() {
    let mut peft = PeftFolder::new(16, 32);
    for layer in [0, 1] {
        for (module, _) in MODULES {
            let shape = match module {
                "mlp.down_proj" => [128, 64],
                "mlp.gate_proj" | "mlp.up_proj" => [64, 128],
                "self_attn.k_proj" | "self_attn.v_proj" => [64, 32],
                _ => [64, 64],
            };
            peft.module(layer, module, shape, 16);
        }
    }
    let folder = folder(&peft);
    let base = folder.path().join("base.gguf");
    TinyModel::default().write_base(&base);
    let conversion = Conversion {
        precision: Precision::Q8_0,
        base: Some(base),
        ..conversion(folder.path())
    };
    let converted = conversion.run().unwrap();
    let tensors: Vec<_> = converted.tensors.into_iter().collect();
    assert_eq!(tensors, [(TensorKind::F16, 14), (TensorKind::Q8_0, 14)]);
    assert_eq!(
        converted.bytes,
        fs::metadata(&conversion.out).unwrap().len()
    );
    let digest = judged::models::sha256_file(&conversion.out, &mut |_| {}).unwrap();
    assert_eq!(converted.sha256, digest);
    assert_eq!((converted.info.alpha, converted.folded), (32.0, 0));
    assert_eq!(converted.info.ranks, [16].into());
    assert_eq!(converted.info.layers, [0, 1].into());
    let kinds: Vec<_> = converted.kinds.iter().map(|kind| kind.name()).collect();
    let expected = MODULES.map(|(path, _)| path.split_once('.').unwrap().1);
    assert_eq!(kinds, expected);
}

#[test]
fn the_same_folder_gives_the_same_bytes() {
    let once = || convert(&one()).unwrap().sha256;
    // But for the folder's name, which goes into `general.name`.
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("lora");
    fs::create_dir(&folder).unwrap();
    one().write(&folder);
    let first = conversion(&folder).run().unwrap().sha256;
    let again = Conversion {
        replace: true,
        ..conversion(&folder)
    };
    assert_eq!(again.run().unwrap().sha256, first);
    assert_ne!(once(), first);
}

#[test]
fn a_folder_without_its_files_is_refused() {
    let folder = folder(&one());
    let missing = conversion(&folder.path().join("nowhere"));
    assert_refused(convert_folder(&missing), &["nowhere"]);
    fs::remove_file(folder.path().join("adapter_model.safetensors")).unwrap();
    let outcome = convert_folder(&conversion(folder.path()));
    assert_refused(outcome, &["adapter_model.safetensors", "save_pretrained"]);
    fs::remove_file(folder.path().join("adapter_config.json")).unwrap();
    let outcome = convert_folder(&conversion(folder.path()));
    assert_refused(outcome, &["adapter_config.json", "save_pretrained"]);
}

#[test]
fn weights_in_a_pickle_or_in_shards_are_refused_with_the_way_out() {
    for (name, word) in [
        ("adapter_model.bin", "pickle"),
        ("adapter_model-00001-of-00002.safetensors", "several files"),
        ("adapter_model.safetensors.index.json", "several files"),
    ] {
        let folder = folder(&one());
        let weights = folder.path().join("adapter_model.safetensors");
        fs::rename(weights, folder.path().join(name)).unwrap();
        let outcome = convert_folder(&conversion(folder.path()));
        assert_refused(outcome, &[word, "safe_serialization=True"]);
    }
}

#[test]
fn a_config_that_is_no_json_object_is_refused() {
    for text in ["", "{", "[]", "null", "{\"r\": 4,}", "\u{0}"] {
        let folder = folder(&one());
        fs::write(folder.path().join("adapter_config.json"), text).unwrap();
        let outcome = convert_folder(&conversion(folder.path()));
        assert_refused(outcome, &["adapter_config.json", "JSON"]);
    }
}

#[test]
fn a_config_beyond_all_size_is_refused() {
    let folder = folder(&one());
    let text = " ".repeat(1024 * 1024 + 1);
    fs::write(folder.path().join("adapter_config.json"), text).unwrap();
    let outcome = convert_folder(&conversion(folder.path()));
    assert_refused(outcome, &["adapter_config.json", "1048576"]);
}

#[test]
fn another_kind_of_adapter_than_lora_is_refused() {
    for kind in ["LOHA", "IA3", "lora"] {
        assert_setting_refused("peft_type", json!(kind), &[kind, "LORA"]);
    }
    assert_setting_refused("peft_type", json!(null), &["LORA"]);
    assert_refused(
        convert(one().remove("peft_type")),
        &["`peft_type` is missing"],
    );
}

#[test]
fn settings_that_compute_something_else_than_lora_are_refused() {
    assert_setting_refused("use_dora", json!(true), &["DoRA"]);
    assert_setting_refused("bias", json!("lora_only"), &["biases"]);
    assert_setting_refused("bias", json!("all"), &["biases"]);
    assert_setting_refused("lora_bias", json!(true), &["biases"]);
    assert_setting_refused("fan_in_fan_out", json!(true), &["transposed"]);
    assert_setting_refused("modules_to_save", json!(["lm_head"]), &["whole modules"]);
    assert_setting_refused("layer_replication", json!([[0, 1], [0, 2]]), &["copies"]);
    assert_setting_refused("trainable_token_indices", json!([5]), &["embeddings"]);
    assert_setting_refused("alora_invocation_tokens", json!([5]), &["tokens"]);
    assert_setting_refused("target_parameters", json!(["x"]), &["parameters"]);
    assert_setting_refused("init_lora_weights", json!("pissa"), &["changes the base"]);
    assert_setting_refused("init_lora_weights", json!("olora"), &["changes the base"]);
    assert_setting_refused("use_rslora", json!("yes"), &["true or false"]);
}

#[test]
fn a_setting_that_nobody_knows_is_refused_unless_it_is_off() {
    assert_setting_refused("use_wonder", json!(true), &["not known"]);
    assert_setting_refused("wonder_size", json!(3), &["not known"]);
    for off in [json!(null), json!(false), json!([]), json!({})] {
        convert(one().set("use_wonder", off)).unwrap();
    }
}

#[test]
fn all_that_is_wrong_with_a_config_is_told_at_once() {
    let outcome = convert(
        one()
            .set("peft_type", json!("IA3"))
            .set("use_dora", json!(true))
            .set("r", json!(0))
            .remove("lora_alpha"),
    );
    assert_refused(
        outcome,
        &["peft_type", "use_dora", "`r` is `0`", "`lora_alpha`"],
    );
}

#[test]
fn ranks_and_alphas_that_are_no_good_numbers_are_refused() {
    for rank in [json!(0), json!(-4), json!(4.5), json!("4"), json!(null)] {
        assert_setting_refused("r", rank, &["whole number"]);
    }
    // The last one would become 0 in 32 bits.
    for alpha in [
        json!(0),
        json!(-1),
        json!(65_537),
        json!("8"),
        json!(null),
        json!(1e-46),
    ] {
        assert_setting_refused("lora_alpha", alpha, &["a number over `0`"]);
    }
    assert_setting_refused("rank_pattern", json!({"q_proj": 0}), &["whole number"]);
    assert_setting_refused("alpha_pattern", json!({"q_proj": "8"}), &["a number"]);
    assert_setting_refused("alpha_pattern", json!(["q_proj"]), &["an object"]);
    for key in ["(", "q_proj)|(?:x", "(?=q_proj)"] {
        assert_setting_refused("rank_pattern", json!({ key: 4 }), &["no pattern"]);
    }
    let outcome = convert(
        one()
            .set("use_rslora", json!(true))
            .set("lora_alpha", json!(60_000)),
    );
    assert_refused(outcome, &["lora_alpha", "65536"]);
}

#[test]
fn patterns_that_would_take_much_memory_are_refused() {
    let long = r"\w?".repeat(1000);
    for key in [r"\w{120}", &long] {
        let words = ["no pattern that can be read"];
        assert_setting_refused("alpha_pattern", json!({ key: 1 }), &words);
    }
    let many: serde_json::Map<_, _> = (0..=1024)
        .map(|layer| (format!("layers.{layer}.self_attn.q_proj"), json!(4)))
        .collect();
    assert_setting_refused("rank_pattern", json!(many), &["`1025` keys"]);
}

#[test]
fn tensors_that_are_no_plain_lora_are_refused() {
    let of = |end: &str| format!("base_model.model.model.{end}");
    for (end, word) in [
        ("layers.0.self_attn.q_proj.lora_magnitude_vector", "DoRA"),
        ("embed_tokens.lora_embedding_A", "embeddings"),
        ("embed_tokens.weight", "embeddings"),
        ("embed_tokens.lora_A.weight", "embeddings"),
        (
            "embed_tokens.token_adapter.trainable_tokens_delta",
            "tokens",
        ),
        ("layers.0.self_attn.q_proj.lora_B.bias", "bias"),
        ("layers.0.input_layernorm.weight", "modules_to_save"),
        ("norm.weight", "modules_to_save"),
    ] {
        assert_tensor_refused(&of(end), &[word]);
    }
    for end in ["lora_A.weight", "lora_B.weight", "weight"] {
        let name = format!("base_model.model.lm_head.{end}");
        assert_tensor_refused(&name, &["output"]);
    }
}

#[test]
fn names_that_are_no_module_of_qwen2_are_refused() {
    for name in [
        "base_model.model.model.layers.0.self_attn.qkv_proj.lora_A.weight",
        "base_model.model.model.layers.0.mlp.q_proj.lora_A.weight",
        "base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight",
        "base_model.model.model.layers.0.self_attn.q_proj.lora_C.weight",
        "base_model.model.model.layers.0.self_attn.q_proj.base_layer.weight",
        "base_model.model.model.layers.00.self_attn.q_proj.lora_A.weight",
        "base_model.model.model.layers.-1.self_attn.q_proj.lora_A.weight",
        "base_model.model.model.layers.+1.self_attn.q_proj.lora_A.weight",
        "base_model.model.model.layers.99999999999.self_attn.q_proj.lora_A.weight",
        "model.layers.0.self_attn.q_proj.lora_A.weight",
        "base_model.model.transformer.h.0.attn.c_attn.lora_A.weight",
        "",
    ] {
        assert_tensor_refused(name, &["no LoRA half of a Qwen2 module"]);
    }
}

#[test]
fn an_adapter_without_tensors_is_refused() {
    assert_refused(convert(&PeftFolder::new(4, 8)), &["no LoRA tensors"]);
}

#[test]
fn a_missing_half_is_named() {
    for (end, missing) in [("lora_A.weight", "lora_A"), ("lora_B.weight", "lora_B")] {
        let mut peft = one();
        peft.tensors.retain(|entry| !entry.name.ends_with(end));
        let module = "model.layers.0.self_attn.q_proj";
        assert_refused(convert(&peft), &[module, "has no", missing]);
    }
}

#[test]
fn halves_of_different_ranks_are_refused() {
    let mut peft = PeftFolder::new(4, 8);
    peft.f32(QUERY_A, &[4, 64], &[1.0; 256]);
    peft.f32(QUERY_B, &[64, 8], &[1.0; 512]);
    assert_refused(convert(&peft), &["`4` in `lora_A`", "`8` in `lora_B`"]);
}

#[test]
fn a_rank_that_is_not_the_configs_is_refused() {
    assert_refused(convert(one().set("r", json!(8))), &["`4`", "`8`"]);
    let patterns = json!({"q_proj": 2});
    assert_refused(
        convert(one().set("rank_pattern", patterns)),
        &["`4`", "`2`"],
    );
}

#[test]
fn a_tensor_that_is_no_matrix_is_refused() {
    for shape in [&[256_u64][..], &[4, 8, 8], &[]] {
        let mut peft = one();
        let count = shape.iter().product::<u64>() as usize;
        let entry = peft.entry("lora_A.weight");
        entry.shape = shape.to_vec();
        entry.data = vec![0; 4 * count];
        assert_refused(convert(&peft), &[QUERY_A, "no matrix"]);
    }
}

#[test]
fn a_matrix_without_elements_is_refused() {
    for shape in [[0, 64], [4, 0]] {
        let mut peft = one();
        let entry = peft.entry("lora_A.weight");
        entry.shape = shape.to_vec();
        entry.data.clear();
        assert_refused(convert(&peft), &[QUERY_A, "no matrix"]);
    }
}

#[test]
fn numbers_of_16_bits_are_widened_and_all_others_refused() {
    let values = numbers(QUERY_A, 256);
    let rounded = |round: fn(f32) -> f32| values.iter().map(|v| round(*v)).collect::<Vec<_>>();
    let halves = values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes());
    let brains = values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes());
    for (dtype, data, expected) in [
        (
            "F16",
            halves.collect(),
            rounded(|v| f16::from_f32(v).to_f32()),
        ),
        (
            "BF16",
            brains.collect(),
            rounded(|v| bf16::from_f32(v).to_f32()),
        ),
    ] {
        let mut peft = one();
        let entry = peft.entry("lora_A.weight");
        (entry.dtype, entry.data) = (dtype, data);
        assert_eq!(written(&peft, "blk.0.attn_q.weight.lora_a").1, expected);
    }
    for (dtype, size) in [
        ("F64", 8),
        ("I32", 4),
        ("U8", 1),
        ("BOOL", 1),
        ("F8_E4M3", 1),
    ] {
        let mut peft = one();
        let entry = peft.entry("lora_A.weight");
        (entry.dtype, entry.data) = (dtype, vec![0; 256 * size]);
        assert_refused(convert(&peft), &[QUERY_A, dtype, "BF16"]);
    }
}

#[test]
fn values_that_are_no_numbers_are_refused_in_every_type() {
    for precision in [Precision::F32, Precision::F16, Precision::Q8_0] {
        for (value, shown) in [
            (f32::NAN, "NaN"),
            (f32::INFINITY, "inf"),
            (f32::NEG_INFINITY, "-inf"),
        ] {
            let mut peft = one();
            peft.entry("lora_B.weight").data[40..44].copy_from_slice(&value.to_le_bytes());
            let outcome = convert_as(&peft, precision);
            assert_refused(outcome, &[QUERY_B, &format!("`{shown}`"), "place `10`"]);
        }
    }
}

#[test]
fn values_that_overflow_are_refused_and_the_largest_is_not() {
    for (precision, largest) in [
        (Precision::F32, 65_504.0_f32),
        (Precision::F16, 65_504.0),
        (Precision::Q8_0, 65_024.0),
    ] {
        let with = |value: f32| {
            let mut peft = one();
            peft.entry("lora_A.weight").data[..4].copy_from_slice(&value.to_le_bytes());
            convert_as(&peft, precision)
        };
        with(largest).unwrap();
        with(-largest).unwrap();
        assert_refused(with(largest.next_up()), &[QUERY_A, "over the limit"]);
        assert_refused(with(-largest.next_up()), &[QUERY_A, "over the limit"]);
    }
    // A module's scaling can make it overflow.
    let mut peft = one();
    peft.set("alpha_pattern", json!({"q_proj": 8e30}));
    assert_refused(convert(&peft), &[QUERY_B, "over the limit"]);
}

#[test]
fn rank_stabilised_scaling_goes_into_alpha() {
    let plain = written(&one(), "blk.0.attn_q.weight.lora_b");
    let stabilised = written(
        one().set("use_rslora", json!(true)),
        "blk.0.attn_q.weight.lora_b",
    );
    assert_eq!((plain.0, stabilised.0), (8.0, 16.0));
    assert_eq!(plain.1, stabilised.1);
}

/// By how much B of the only module was multiplied.
fn factor(key: &str, patterns: &Value) -> f32 {
    let tensor = "blk.0.attn_q.weight.lora_b";
    let (_, plain) = written(&one(), tensor);
    let (alpha, scaled) = written(one().set(key, patterns.clone()), tensor);
    assert_eq!(alpha, 8.0);
    let factor = scaled[0] / plain[0];
    let all = plain.iter().zip(&scaled);
    assert!(all.clone().all(|(a, b)| (a * factor - b).abs() < 1e-6));
    factor
}

#[test]
fn an_alpha_of_single_modules_goes_into_their_b() {
    // As PEFT matches: the whole name, or what follows a full stop of it; the first key wins.
    for (patterns, expected) in [
        (json!({"q_proj": 16}), 2.0),
        (json!({"self_attn.q_proj": 16}), 2.0),
        (json!({"model.layers.0.self_attn.q_proj": 16}), 2.0),
        (json!({"^model.layers.0.self_attn.q_proj": 16}), 2.0),
        (json!({"layers.[01].self_attn.(q|k)_proj": 4}), 0.5),
        (json!({"q_proj|k_proj": 4}), 0.5),
        (json!({"q_proj": 2, "self_attn.q_proj": 16}), 0.25),
        (json!({"self_attn.q_proj": 16, "q_proj": 2}), 2.0),
        (json!({"q_proj": 0}), 0.0),
        (json!({"q_proj": -8}), -1.0),
        (json!({"_proj": 16, "proj": 16, "q_pro": 16}), 1.0),
        (json!({"k_proj": 16, "layers.1.self_attn.q_proj": 16}), 1.0),
        (json!({"^self_attn.q_proj": 16}), 1.0),
    ] {
        assert_eq!(factor("alpha_pattern", &patterns), expected, "{patterns}");
    }
}

#[test]
fn a_rank_of_single_modules_changes_no_value() {
    let mut peft = PeftFolder::new(16, 8);
    peft.module(0, "self_attn.q_proj", [WIDTH, WIDTH], 4)
        .set("rank_pattern", json!({"q_proj": 4}));
    let tensor = "blk.0.attn_q.weight.lora_b";
    assert_eq!(written(&peft, tensor), written(&one(), tensor));
    // With rsLoRA PEFT divides by the root of 4, the file's alpha over the rank by that of 16.
    peft.set("use_rslora", json!(true));
    let (alpha, halved) = written(&peft, tensor);
    assert_eq!(alpha, 32.0);
    let plain = written(&one(), tensor).1;
    assert!(plain.iter().zip(&halved).all(|(a, b)| a * 0.5 == *b));
}

#[test]
fn an_adapter_must_fit_the_base() {
    let with_base = |peft: &PeftFolder, base: &dyn Fn(&Path)| {
        let folder = folder(peft);
        let path = folder.path().join("base.gguf");
        base(&path);
        convert_folder(&Conversion {
            base: Some(path),
            ..conversion(folder.path())
        })
    };
    let tiny = |path: &Path| TinyModel::default().write_base(path);
    with_base(&one(), &tiny).unwrap();

    let mut other_layer = PeftFolder::new(4, 8);
    other_layer.module(2, "self_attn.q_proj", [WIDTH, WIDTH], 4);
    let outcome = with_base(&other_layer, &tiny);
    assert_refused(outcome, &["base.gguf", "no tensor `blk.2.attn_q.weight`"]);
    for shape in [[WIDTH, 32], [32, WIDTH]] {
        let mut other_shape = PeftFolder::new(4, 8);
        other_shape.module(0, "self_attn.q_proj", shape, 4);
        let outcome = with_base(&other_shape, &tiny);
        assert_refused(outcome, &["base.gguf", "blk.0.attn_q.weight", "[64, 64]"]);
    }
    let other_kind = |path: &Path| {
        let mut base = TinyModel::default().base();
        base.str("general.architecture", "llama");
        base.fields.remove(0);
        base.write(path);
    };
    assert_refused(
        with_base(&one(), &other_kind),
        &["base.gguf", "qwen2", "llama"],
    );
    let no_base = |path: &Path| fs::write(path, "no GGUF").unwrap();
    assert_refused(with_base(&one(), &no_base), &["base.gguf", "GGUF"]);
    assert_refused(with_base(&one(), &|_| ()), &["base.gguf"]);
}
