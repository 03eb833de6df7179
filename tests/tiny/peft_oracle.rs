//! Promise: a converted adapter is byte for byte what llama.cpp's own converter makes of the same
//! folder, and changes the model as PEFT does.
//!
//! `tests/peft/make.py` makes the adapters with PEFT, on the weights of a tiny model.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use crate::support::tiny::TinyModel;
use crate::support::tiny_backend::{CONTEXT, largest_difference, open, row};
use judged::backend::llama::{AdapterFile, Files, LlamaSource};
use judged::backend::offload::Wish;
use judged::backend::{Backend, Token};
use judged::convert::{Conversion, Precision};
use judged::gguf::{self, Gguf, Tensor, TensorKind};
use safetensors::SafeTensors;
use serde::Deserialize;

const SKIP: &str = "JUDGED_SKIP_PEFT";
const KINDS: [(Precision, &str); 3] = [
    (Precision::F32, "f32"),
    (Precision::F16, "f16"),
    (Precision::Q8_0, "q8_0"),
];
/// Cases whose modules PEFT does not all scale alike: llama.cpp's converter passes over that.
const FOLDED: [&str; 2] = ["alpha_pattern", "patterns_rank_stabilised"];
/// llama.cpp divides alpha by the rank, PEFT by its root: the file's alpha makes up for it.
const RANK_STABILISED: &str = "rank_stabilised";

struct Made {
    dir: PathBuf,
    list: List,
}

#[derive(Deserialize)]
struct List {
    tokens: Vec<Token>,
    prefixes: Vec<usize>,
    cases: Vec<String>,
}

static MADE: LazyLock<Made> = LazyLock::new(make);

/// Runs a test on what PEFT made, or says that it is skipped.
fn with_cases(test: impl Fn(&Made, &str)) {
    if std::env::var_os(SKIP).is_some_and(|value| value == "1") {
        println!("skipped: {SKIP}=1");
        return;
    }
    assert!(MADE.list.cases.len() > 8);
    for case in &MADE.list.cases {
        test(&MADE, case);
    }
}

/// Tied, as the real base, and with rows that are no multiple of Q8_0's blocks.
fn tiny() -> TinyModel {
    TinyModel {
        n_layer: 4,
        n_ff: 144,
        tied: true,
        ..TinyModel::default()
    }
}

fn make() -> Made {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // Not a temporary folder: a static is never dropped.
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("peft_oracle");
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    let base = dir.join("base.gguf");
    tiny().write_base(&base);
    let python = match std::env::var_os("JUDGED_PYTHON") {
        Some(python) => PathBuf::from(python),
        None => root.join(".venv/bin/python"),
    };
    let output = Command::new(&python)
        .arg(root.join("tests/peft/make.py"))
        .arg(&base)
        .arg(root.join("target/llama.cpp-converter"))
        .arg(&dir)
        .output();
    let hint = format!("`scripts/setup test` brings what it needs, {SKIP}=1 skips these tests");
    let output = output.unwrap_or_else(|error| panic!("`{}`: {error}; {hint}", python.display()));
    assert!(
        output.status.success(),
        "make.py failed; {hint}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let list = fs::read(dir.join("made.json")).unwrap();
    let list = serde_json::from_slice(&list).unwrap();
    Made { dir, list }
}

impl Made {
    fn base(&self) -> PathBuf {
        self.dir.join("base.gguf")
    }

    fn convert(&self, case: &str, precision: Precision, name: &str) -> Gguf {
        let folder = self.dir.join(case);
        // Tests that run at the same time do not share files.
        let out = tempfile::tempdir_in(&folder).unwrap().keep();
        let conversion = Conversion {
            out: out.join(format!("{name}.gguf")),
            folder,
            precision,
            base: Some(self.base()),
            replace: false,
        };
        conversion.run().unwrap();
        gguf::read(&conversion.out).unwrap()
    }

    fn tensors(&self, case: &str, file: &str) -> BTreeMap<String, Vec<f32>> {
        let bytes = fs::read(self.dir.join(case).join(file)).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let named = tensors.iter().map(|(name, view)| {
            let values = view.data().as_chunks::<4>().0.iter();
            let values = values.map(|&value| f32::from_le_bytes(value)).collect();
            (name.to_owned(), values)
        });
        named.collect()
    }
}

fn data(file: &Gguf, tensor: &Tensor) -> Vec<u8> {
    let mut bytes = vec![0; tensor.size as usize];
    let mut file = File::open(file.path()).unwrap();
    file.seek(SeekFrom::Start(tensor.offset)).unwrap();
    file.read_exact(&mut bytes).unwrap();
    bytes
}

fn floats(file: &Gguf, name: &str) -> Vec<f32> {
    let tensor = file.tensor(name).expect("a tensor of this name");
    assert_eq!(tensor.kind, TensorKind::F32);
    let bytes = data(file, tensor);
    let values = bytes.as_chunks::<4>().0.iter();
    values.map(|&value| f32::from_le_bytes(value)).collect()
}

#[test]
fn tensors_are_byte_for_byte_those_of_llama_cpps_converter() {
    with_cases(|made, case| {
        let mut kinds_seen = BTreeMap::new();
        for (precision, name) in KINDS {
            let ours = made.convert(case, precision, name);
            let theirs = format!("theirs-{name}.gguf");
            let theirs = gguf::read(&made.dir.join(case).join(theirs)).unwrap();
            assert_eq!(ours.tensors.len(), theirs.tensors.len(), "{case} {name}");
            for tensor in &ours.tensors {
                let other = theirs.tensor(&tensor.name).expect("llama.cpp's name");
                let same = (&tensor.shape, tensor.kind) == (&other.shape, other.kind);
                assert!(same, "{case}: {tensor:?} is not {other:?}");
                *kinds_seen.entry(tensor.kind).or_insert(0) += 1;
                let folded = FOLDED.contains(&case) && tensor.name.ends_with(".lora_b");
                if !folded {
                    let same = data(&ours, tensor) == data(&theirs, other);
                    assert!(same, "{case} {name}: {} differs", tensor.name);
                }
            }
            for key in ["general.architecture", "general.type", "adapter.type"] {
                assert_eq!(ours.string(key).unwrap(), theirs.string(key).unwrap());
            }
            for key in ours.metadata.keys() {
                assert!(theirs.metadata.contains_key(key), "llama.cpp has no {key}");
            }
            let alpha = |file: &Gguf| file.f32("adapter.lora.alpha").unwrap();
            match case.contains(RANK_STABILISED) {
                true => assert_eq!(alpha(&ours), alpha(&theirs) * 4.0),
                false => assert_eq!(alpha(&ours), alpha(&theirs)),
            }
        }
        let kinds: Vec<_> = kinds_seen.into_keys().collect();
        assert_eq!(kinds, [TensorKind::F32, TensorKind::F16, TensorKind::Q8_0]);
    });
}

#[test]
fn what_a_converted_adapter_adds_to_each_matrix_is_what_peft_adds() {
    with_cases(|made, case| {
        let ours = made.convert(case, Precision::F32, "f32");
        let deltas = made.tensors(case, "deltas.safetensors");
        assert_eq!(ours.tensors.len(), 2 * deltas.len(), "{case}");
        for (name, expected) in deltas {
            let rank = ours.tensor(&format!("{name}.lora_b")).unwrap().shape[0] as usize;
            let a = floats(&ours, &format!("{name}.lora_a"));
            let b = floats(&ours, &format!("{name}.lora_b"));
            let scale = f64::from(ours.f32("adapter.lora.alpha").unwrap()) / rank as f64;
            let inputs = a.len() / rank;
            let delta = |at: usize| {
                let (output, input) = (at / inputs, at % inputs);
                let terms = (0..rank)
                    .map(|r| f64::from(b[output * rank + r]) * f64::from(a[r * inputs + input]));
                (scale * terms.sum::<f64>()) as f32
            };
            let found: Vec<f32> = (0..expected.len()).map(delta).collect();
            let largest = expected.iter().fold(0.0_f32, |most, v| most.max(v.abs()));
            let error = largest_difference(&found, &expected);
            assert!(largest > 0.01, "{case}: {name} adds hardly anything");
            assert!(error < 2e-6 * largest, "{case}: {name} is off by {error}");
        }
    });
}

/// The rows after each of the prefixes, one after the other.
fn rows(made: &Made, adapter: Option<&Gguf>) -> Vec<f32> {
    let adapter = adapter.map(|file| AdapterFile {
        path: file.path().to_owned(),
        scale: 1.0,
        merged: false,
    });
    let base = made.base();
    let files = Files { base, adapter };
    let source = LlamaSource {
        find: Box::new(move || Ok(files.clone())),
        context: CONTEXT,
        gpu: Wish::CPU,
        trial: None,
    };
    let all = |backend: &mut dyn Backend| {
        let mut rows = Vec::new();
        for &length in &made.list.prefixes {
            backend.clear();
            rows.extend(row(backend, 1, 0, &made.list.tokens[..length]));
        }
        rows
    };
    open(source, all).unwrap()
}

#[test]
fn logits_with_a_converted_adapter_are_those_of_peft() {
    with_cases(|made, case| {
        let expected = made.tensors(case, "logits.safetensors");
        let (plain, adapted) = (&expected["plain"], &expected["adapted"]);
        let effect = largest_difference(plain, adapted);
        let base_error = largest_difference(plain, &rows(made, None));
        print!("{case}: effect {effect:.3}, base off by {base_error:.6}");
        for (precision, name) in KINDS {
            let ours = made.convert(case, precision, name);
            let error = largest_difference(adapted, &rows(made, Some(&ours)));
            print!(", {name} by {error:.6}");
            // The base alone differs as much from PyTorch: llama.cpp keeps its cache in 16 bits.
            let tolerance = match precision {
                Precision::F32 | Precision::F16 => 0.1,
                Precision::Q8_0 => 0.4,
            };
            assert!(error < tolerance, "{case} {name}: {error}");
            assert!(effect > 10.0 * tolerance, "{case}: {effect}");
        }
        println!();
    });
}
