//! Promise: an adapter does what its formula says, and a file that llama.cpp could not take is an
//! error that says why.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::support::gguf_writer::{Field, GgufWriter};
use crate::support::tiny::{LoraKind, LoraSpec, TinyModel};
use crate::support::tiny_backend::{CONTEXT, TinyFiles, largest_difference, open, row};
use judged::backend::llama::{AdapterFile, LlamaSource};
use judged::backend::offload::Wish;
use judged::backend::{Backend, OpenError, Token};
use judged::merge::Recipe;

/// The row after a prompt that is long enough for attention to matter.
fn label_row(backend: &mut dyn Backend) -> Vec<f32> {
    let tokenizer = backend.tokenizer();
    let prompt: Vec<Token> = tokenizer.tokenize(b"The rule names the email, and the mail is late.");
    row(backend, 1, 0, &prompt)
}

fn row_of(base: &GgufWriter) -> Vec<f32> {
    TinyFiles::of(base).open(label_row).unwrap()
}

fn row_with(adapter: &GgufWriter, scale: f32) -> Vec<f32> {
    let files = TinyFiles::new();
    let adapter = files.adapter(adapter, scale);
    files.open_with(Some(adapter), CONTEXT, label_row).unwrap()
}

/// The base with `scale * alpha / rank * B * A` added to each matrix that the adapter changes.
fn merged(tiny: &TinyModel, spec: &LoraSpec, scale: f32) -> GgufWriter {
    let mut base = tiny.base();
    for layer in &spec.layers {
        for module in &spec.modules {
            let name = format!("blk.{layer}.{module}.weight");
            let a = tiny.lora_weight(spec, &format!("{name}.lora_a"));
            let b = tiny.lora_weight(spec, &format!("{name}.lora_b"));
            let (inputs, rank) = (tiny.shape(&name)[0] as usize, spec.rank as usize);
            let factor = scale * spec.alpha / spec.rank as f32;
            let weights = tiny
                .weight(&name)
                .into_iter()
                .enumerate()
                .map(|(at, weight)| {
                    let (output, input) = (at / inputs, at % inputs);
                    let products = (0..rank).map(|r| b[output * rank + r] * a[r * inputs + input]);
                    weight + factor * products.sum::<f32>()
                });
            base.entry(&name).data = weights.flat_map(f32::to_le_bytes).collect();
        }
    }
    base
}

fn assert_formula(spec: &LoraSpec, scale: f32) {
    let tiny = TinyModel::default();
    let plain = row_of(&tiny.base());
    let adapted = row_with(&tiny.lora(spec), scale);
    let expected = row_of(&merged(&tiny, spec, scale));
    let effect = largest_difference(&plain, &adapted);
    let error = largest_difference(&expected, &adapted);
    assert!(effect > 0.2, "{spec:?} changes hardly anything: {effect}");
    assert!(error < effect / 50.0, "{spec:?}: {error} beside {effect}");
}

fn spec(layer: u32, module: &'static str) -> LoraSpec {
    LoraSpec {
        layers: vec![layer],
        modules: vec![module],
        ..LoraSpec::default()
    }
}

#[test]
fn an_adapter_adds_its_formula_to_one_attention_matrix() {
    assert_formula(&spec(0, "attn_q"), 1.0);
    assert_formula(&spec(1, "attn_q"), 1.0);
}

#[test]
fn an_adapter_adds_its_formula_to_one_feed_forward_matrix() {
    assert_formula(&spec(0, "ffn_down"), 1.0);
    assert_formula(&spec(1, "ffn_down"), 1.0);
}

#[test]
fn an_adapter_adds_its_formula_to_every_matrix() {
    assert_formula(&LoraSpec::default(), 1.0);
}

#[test]
fn the_scale_is_a_factor_of_the_formula() {
    assert_formula(&spec(0, "ffn_down"), 0.5);
    assert_formula(&spec(0, "ffn_down"), -1.0);
    assert_formula(&spec(0, "ffn_down"), 2.0);
}

#[test]
fn rank_and_alpha_are_in_the_formula() {
    for (rank, alpha) in [(1, 8.0), (4, 1.0), (16, 32.0)] {
        let spec = spec(1, "ffn_up");
        assert_formula(
            &LoraSpec {
                rank,
                alpha,
                magnitude: 2.0,
                ..spec
            },
            1.0,
        );
    }
}

#[test]
fn an_adapter_of_half_precision_adds_its_rounded_formula() {
    let spec = LoraSpec {
        kind: LoraKind::F16,
        ..spec(0, "attn_v")
    };
    assert_formula(&spec, 1.0);
}

#[test]
fn scale_zero_is_no_adapter() {
    let tiny = TinyModel::default();
    let plain = row_of(&tiny.base());
    assert_eq!(plain, row_with(&tiny.lora(&LoraSpec::default()), 0.0));
}

#[test]
fn an_adapter_is_described() {
    let files = TinyFiles::new();
    let lora = TinyModel::default().lora(&LoraSpec::default());
    let adapter = files.adapter(&lora, 0.5);
    let description = files.open_with(Some(adapter), CONTEXT, |b| b.description());
    let adapter = description.unwrap().adapter;
    assert_eq!(adapter, "LoRA of rank 4 on 28 tensors, scale 0.5");
}

/// How the adapter is merged that lies beside the base.
fn recipe<'a>(base: &'a Path, adapter: &'a AdapterFile) -> Recipe<'a> {
    Recipe {
        base,
        adapter: &adapter.path,
        base_sha256: "0123456789abcdef",
        adapter_sha256: "fedcba9876543210",
        scale: adapter.scale,
    }
}

#[test]
fn a_merged_adapter_does_what_an_applied_one_does() {
    let tiny = TinyModel::default();
    let lora = tiny.lora(&LoraSpec::default());
    let files = TinyFiles::new();
    let mut adapter = files.adapter(&lora, 0.5);
    let base = files.dir().join("base.gguf");
    let merged = recipe(&base, &adapter).merged().unwrap();
    let applied = row_with(&lora, 0.5);
    adapter.merged = true;
    std::fs::rename(merged, base).unwrap();
    let (row, description) = files
        .open_with(Some(adapter), CONTEXT, |backend| {
            backend.set_adapter(true).unwrap();
            (label_row(backend), backend.description().adapter)
        })
        .unwrap();
    let effect = largest_difference(&row_of(&tiny.base()), &applied);
    let error = largest_difference(&applied, &row);
    assert!(error < effect / 50.0, "{error} beside {effect}");
    assert_eq!(
        description,
        "LoRA of rank 4 on 28 tensors, scale 0.5, merged into the weights"
    );
}

#[test]
fn a_merged_file_is_made_once_and_again_when_it_has_changed() {
    let files = TinyFiles::new();
    let lora = TinyModel::default().lora(&LoraSpec::default());
    let adapter = files.adapter(&lora, 1.0);
    let base = files.dir().join("base.gguf");
    let recipe = recipe(&base, &adapter);
    let path = recipe.merged().unwrap();
    let made = std::fs::metadata(&path).unwrap().modified().unwrap();
    let bytes = std::fs::read(&path).unwrap();
    recipe.merged().unwrap();
    let found = std::fs::metadata(&path).unwrap().modified().unwrap();
    assert_eq!(found, made, "it was made again");

    let mut rotten = bytes.clone();
    *rotten.last_mut().unwrap() ^= 1;
    std::fs::write(&path, rotten).unwrap();
    // As one is left by a process that was killed at it.
    std::fs::write(path.with_extension("part"), "a part").unwrap();
    recipe.merged().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    let left = std::fs::read_dir(files.dir()).unwrap();
    let left = left.filter(|entry| {
        let path = entry.as_ref().unwrap().path();
        path.extension()
            .is_some_and(|extension| extension == "part")
    });
    assert_eq!(left.count(), 0, "what was under way is left");
}

#[test]
fn an_adapter_is_merged_beside_a_base_that_may_only_be_read() {
    let files = TinyFiles::new();
    let lora = TinyModel::default().lora(&LoraSpec::default());
    let adapter = files.adapter(&lora, 1.0);
    let base = files.dir().join("base.gguf");
    let recipe = recipe(&base, &adapter);
    let path = recipe.merged().unwrap();
    let bytes = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let part = path.with_extension("part");
    fs::write(&part, "of a process that was killed").unwrap();
    for file in [&base, &part] {
        fs::set_permissions(file, Permissions::from_mode(0o444)).unwrap();
    }
    assert_eq!(recipe.merged().unwrap(), path);
    assert!(fs::read(&path).unwrap() == bytes);
    // Root could write to it all the same.
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o200, 0o200, "{mode:o}");
}

#[test]
fn what_cannot_be_merged_is_named_and_leaves_no_file() {
    let tiny = TinyModel::default();
    let mut base = tiny.base();
    // Q4_1: llama.cpp multiplies it, but nothing is merged into it.
    let name = "blk.0.attn_q.weight";
    let shape = tiny.shape(name);
    let entry = base.entry(name);
    entry.kind = 3;
    entry.data = vec![0; (shape.iter().product::<u64>() / 32 * 20) as usize];
    let files = TinyFiles::of(&base);
    let adapter = files.adapter(&tiny.lora(&LoraSpec::default()), 1.0);
    let base = files.dir().join("base.gguf");
    let error = recipe(&base, &adapter).merged().unwrap_err().to_string();
    assert_eq!(
        error,
        "`blk.0.attn_q.weight` is of the kind q4_1, into which nothing can be merged"
    );
    let left = std::fs::read_dir(files.dir()).unwrap();
    let left = left.map(|entry| entry.unwrap().path());
    // The base, the adapter, and an empty file that is locked.
    assert_eq!(
        left.filter(|path| path.extension().is_some_and(|name| name != "lock"))
            .count(),
        2
    );
}

/// Opens a good base with this adapter, which must fail; gives the reason.
fn refusal(adapter: &GgufWriter) -> String {
    refusal_of_bytes(&adapter.bytes())
}

fn refusal_of_bytes(bytes: &[u8]) -> String {
    let files = TinyFiles::new();
    let path = files.dir().join("adapter.gguf");
    std::fs::write(&path, bytes).unwrap();
    refusal_of_file(&files, path)
}

fn refusal_of_file(files: &TinyFiles, path: PathBuf) -> String {
    let adapter = AdapterFile {
        path,
        scale: 1.0,
        merged: false,
    };
    match files.open_with(Some(adapter), CONTEXT, |_| ()) {
        // Told apart from a base that fails: this trips the kill switch.
        Err(OpenError::Adapter(reason)) => reason,
        other => panic!("expected an adapter that is refused, not {other:?}"),
    }
}

fn failure(outcome: Result<(), OpenError>) -> String {
    match outcome {
        Err(OpenError::Failed(reason)) => reason,
        other => panic!("expected a failure, not {other:?}"),
    }
}

fn lora() -> GgufWriter {
    TinyModel::default().lora(&spec(0, "attn_q"))
}

#[track_caller]
fn assert_says(reason: &str, words: &[&str]) {
    for word in words {
        assert!(reason.contains(word), "`{word}` is not in: {reason}");
    }
}

#[test]
fn an_adapter_of_the_wrong_architecture_is_refused() {
    let mut file = lora();
    file.set("general.architecture", Field::Str("llama".to_owned()));
    assert_says(
        &refusal(&file),
        &["adapter.gguf", "general.architecture", "llama", "qwen2"],
    );
}

#[test]
fn an_adapter_of_wrong_shapes_is_refused() {
    let wide = TinyModel {
        n_embd: 128,
        ..TinyModel::default()
    };
    let reason = refusal(&wide.lora(&spec(0, "attn_q")));
    assert_says(&reason, &["adapter.gguf", "blk.0.attn_q.weight"]);
    let mut file = lora();
    file.remove_tensor("blk.0.attn_q.weight.lora_b");
    assert_says(&refusal(&file), &["blk.0.attn_q.weight"]);
}

#[test]
fn an_adapter_of_wrong_types_is_refused() {
    let mut file = lora();
    file.set("adapter.lora.alpha", Field::Str("8".to_owned()));
    assert_says(&refusal(&file), &["adapter.gguf", "adapter.lora.alpha"]);
    let mut file = lora();
    file.set("general.type", Field::U32(1));
    assert_says(&refusal(&file), &["adapter.gguf", "general.type"]);
}

#[test]
fn an_adapter_that_is_not_a_number_is_refused() {
    let mut file = lora();
    let data = &mut file.entry("blk.0.attn_q.weight.lora_a").data;
    data[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    assert_says(
        &refusal(&file),
        &["adapter.gguf", "blk.0.attn_q.weight.lora_a"],
    );
}

#[test]
fn an_adapter_cut_short_anywhere_is_refused() {
    let bytes = lora().bytes();
    for length in (0..bytes.len() - 32).step_by(bytes.len() / 60) {
        assert_says(&refusal_of_bytes(&bytes[..length]), &["adapter.gguf"]);
    }
}

#[test]
fn garbage_is_no_adapter() {
    let noise: Vec<u8> = (0..5000_u32).map(|n| ((n * n) >> 3) as u8).collect();
    assert_says(&refusal_of_bytes(&noise), &["adapter.gguf"]);
    assert_says(
        &refusal_of_bytes(&[b"GGUF", &noise[..]].concat()),
        &["adapter.gguf"],
    );
    let files = TinyFiles::new();
    refusal_of_file(&files, files.dir().to_owned());
}

#[test]
fn a_base_that_llama_cpp_could_not_take_is_refused() {
    let tiny = TinyModel::default();
    let refused = |file: &GgufWriter| failure(TinyFiles::of(file).open(|_| ()));
    let spoilt = |spoil: &dyn Fn(&mut GgufWriter)| {
        let mut base = tiny.base();
        spoil(&mut base);
        refused(&base)
    };
    let reason = spoilt(&|base| {
        base.set("general.architecture", Field::Str("gpt2".to_owned()));
    });
    assert_says(&reason, &["base.gguf", "general.architecture"]);
    let reason = spoilt(&|base| {
        base.set("qwen2.block_count", Field::U32(3));
    });
    assert_says(&reason, &["base.gguf", "blk.2"]);
    let reason = spoilt(&|base| {
        base.set("qwen2.attention.head_count", Field::Str("4".to_owned()));
    });
    assert_says(&reason, &["base.gguf", "qwen2.attention.head_count"]);
    let reason = spoilt(&|base| {
        base.remove_tensor("output_norm.weight");
    });
    assert_says(&reason, &["base.gguf", "output_norm.weight"]);
    assert_says(&refused(&lora()), &["base.gguf"]);
}

#[test]
fn a_base_cut_short_anywhere_is_refused() {
    let files = TinyFiles::new();
    let bytes = std::fs::read(&files.base).unwrap();
    for length in (0..bytes.len() - 32).step_by(bytes.len() / 40) {
        std::fs::write(&files.base, &bytes[..length]).unwrap();
        assert_says(&failure(files.open(|_| ())), &["base.gguf"]);
    }
    // The process lives, and the whole file loads.
    std::fs::write(&files.base, &bytes).unwrap();
    files.open(|_| ()).unwrap();
}

#[test]
fn weights_that_are_not_numbers_do_not_reach_a_label() {
    let mut base = TinyModel::default().base();
    let data = &mut base.entry("output_norm.weight").data;
    data[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    let row = row_of(&base);
    assert!(
        row.iter().any(|logit| !logit.is_finite()),
        "the warm-up would not see it"
    );
}

#[test]
fn missing_files_are_missing_and_not_failed() {
    let source = |find: fn() -> OpenError| LlamaSource {
        find: Box::new(move || Err(find())),
        context: CONTEXT,
        gpu: Wish::CPU,
        trial: None,
    };
    let outcome = open(source(|| OpenError::Missing("not yet".to_owned())), |_| ());
    assert!(matches!(outcome, Err(OpenError::Missing(reason)) if reason == "not yet"));
    // A file that goes away between the look and the load is a failure.
    let files = TinyFiles::new();
    std::fs::remove_file(&files.base).unwrap();
    assert_says(&failure(files.open(|_| ())), &["base.gguf"]);
}

#[test]
fn a_context_that_cannot_be_made_is_refused() {
    let files = TinyFiles::new();
    let with = |change: &dyn Fn(&mut judged::backend::llama::ContextConfig)| {
        let mut context = CONTEXT;
        change(&mut context);
        files.open_with(None, context, |_| ())
    };
    assert_says(
        &failure(with(&|context| context.sequences = 257)),
        &["257", "256"],
    );
    assert_says(&failure(with(&|context| context.cells = 0)), &["cells"]);
    assert_says(&failure(with(&|context| context.threads = u32::MAX)), &[]);
    with(&|context| context.threads = 0).unwrap();
}
