//! Promise: one build judges alike on every CPU: it picks its code when it starts, and the
//! labels do not depend on it. qemu is other CPUs, and slow; this CPU with nothing but the
//! code for an older one is nearly so, and fast enough for the real model. An ordinary test
//! has this CPU alone, and `make drill-cpus` names the others: in `JUDGED_CPUS` as qemu
//! does, in `JUDGED_CPU_CODE` as llama.cpp does.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::support::command::Shell;
use crate::support::tiny_daemon::TinyBundle;
use judged::client::{Client, EngineState, Question};
use judged::models::Store;
use judged::verdict::{DecidedBy, Label, RationaleMode, Scores};
use serde_json::Value;

/// By qemu, or by code for old CPUs, a prompt takes minutes.
const PATIENCE: Duration = Duration::from_secs(7200);

/// What runs the daemon.
struct Cpu {
    name: String,
    program: Vec<String>,
}

impl Cpu {
    fn this() -> Self {
        Self {
            name: "this CPU".to_owned(),
            program: Vec::new(),
        }
    }

    fn qemus(model: &str) -> Self {
        Self {
            name: format!("qemu's {model}"),
            program: ["qemu-x86_64", "-cpu", model].map(str::to_owned).to_vec(),
        }
    }

    /// This one, with one module of llama.cpp's and no other, in `dir`.
    fn with_code(variant: &str, dir: &Path) -> Self {
        let module = format!("libggml-cpu-{variant}.so");
        let built = Path::new(env!("CARGO_BIN_EXE_judged")).with_file_name("lib");
        let only = dir.join(variant);
        fs::create_dir(&only).unwrap();
        fs::copy(built.join(&module), only.join(&module)).unwrap();
        Self {
            name: format!("this CPU by the code `{variant}`"),
            program: vec![
                "env".to_owned(),
                format!("JUDGED_BACKENDS_DIR={}", only.display()),
            ],
        }
    }
}

/// What a daemon on one CPU says of the cases.
struct Told {
    code: String,
    labels: Vec<Label>,
    scores: Vec<Scores>,
}

/// Every so-many-th case of the spot check, so that each probe has its share.
fn cases(count: usize) -> Vec<Question> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/spot-check.jsonl");
    let text = fs::read_to_string(path).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let chosen = lines.iter().step_by(lines.len() / count).take(count);
    chosen
        .map(|line| {
            let case: Value = serde_json::from_str(line).unwrap();
            Question {
                context_json: case["context"].to_string(),
                draft: case["draft"].as_str().unwrap().to_owned(),
                rationale: RationaleMode::None,
                timeout: Some(PATIENCE),
                ..Question::default()
            }
        })
        .collect()
}

/// Starts a daemon on a CPU, and asks it.
async fn asked(cpu: &Cpu, settings: &[&str], cases: &[Question]) -> Told {
    let shell = Shell::new();
    let state = shell.home.path().join("state");
    let common = [
        "--hard-rules=none",
        "--spot-checks=false",
        "--kill-switch=malformed_share=1",
        "--max-deadline=7200",
        "--stuck-after=7200",
        "--state-dir",
        state.to_str().unwrap(),
    ];
    let program: Vec<&str> = cpu.program.iter().map(String::as_str).collect();
    let started = Instant::now();
    let served = shell.serve_by(&program, &[&common, settings].concat());
    let mut control = Client::connect(&served.control).await.unwrap();
    let status = loop {
        let status = control.status().await.unwrap();
        assert_ne!(status.engine_state, EngineState::Failed, "{status:?}");
        if status.engine_state == EngineState::Ready {
            break status;
        }
        assert!(started.elapsed() < PATIENCE, "{status:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let loaded = started.elapsed();
    let mut client = Client::connect(&served.judge).await.unwrap();
    let mut told = Told {
        code: status.engine.unwrap().cpu_variant,
        labels: Vec::new(),
        scores: Vec::new(),
    };
    for case in cases {
        let decision = client.judge(case.clone()).await.unwrap();
        assert_eq!(decision.decided_by, DecidedBy::Model, "{decision:?}");
        told.labels.push(decision.label);
        told.scores.push(decision.scores.unwrap());
    }
    println!(
        "{}: code {}, ready after {:.0} s, {} cases in {:.0} s",
        cpu.name,
        told.code,
        loaded.as_secs_f64(),
        cases.len(),
        (started.elapsed() - loaded).as_secs_f64()
    );
    told
}

fn named_in(variable: &str) -> Vec<String> {
    let named = std::env::var(variable).unwrap_or_default();
    let names = named.split_whitespace().map(str::to_owned);
    names.collect()
}

fn asked_for(variable: &str, usually: usize) -> usize {
    std::env::var(variable).map_or(usually, |count| count.parse().unwrap())
}

/// Asks on each CPU; the labels must be those of this one.
async fn alike(others: &[Cpu], settings: &[&str], cases: &[Question]) {
    let here = asked(&Cpu::this(), settings, cases).await;
    for cpu in others {
        let there = asked(cpu, settings, cases).await;
        assert_ne!(there.code, here.code, "{} is no other CPU", cpu.name);
        let differences = here.scores.iter().zip(&there.scores).map(|(here, there)| {
            let pairs = here.probabilities.iter().zip(there.probabilities);
            pairs
                .map(|(here, there)| (here - there).abs())
                .fold(0.0, f64::max)
        });
        let largest = differences.fold(0.0, f64::max);
        println!("  the largest difference of a probability: {largest:.6}");
        assert_eq!(there.labels, here.labels, "{}", cpu.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tiny_model_gives_the_same_labels_on_every_cpu() {
    let tiny = TinyBundle::new().serve().await;
    let manifest = tiny.dir.path().join("tiny.toml");
    let store = tiny.dir.path().join("store");
    let settings = [
        "--bundle",
        manifest.to_str().unwrap(),
        "--model-dir",
        store.to_str().unwrap(),
    ];
    let others: Vec<Cpu> = named_in("JUDGED_CPUS")
        .iter()
        .map(|cpu| Cpu::qemus(cpu))
        .collect();
    alike(
        &others,
        &settings,
        &cases(asked_for("JUDGED_CPU_CASES", 20)),
    )
    .await;
}

/// Only in the drill: by one code alone there is nothing to compare.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_real_model_gives_the_same_labels_by_the_code_for_every_cpu() {
    let variants = named_in("JUDGED_CPU_CODE");
    if variants.is_empty() {
        println!("skipped: JUDGED_CPU_CODE names none");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let others = variants
        .iter()
        .map(|variant| Cpu::with_code(variant, dir.path()));
    let others: Vec<Cpu> = others.collect();
    let store = std::env::var_os("JUDGED_MODEL_DIR").map(PathBuf::from);
    let store = store.or_else(Store::default_dir).unwrap();
    let settings = ["--model-dir", store.to_str().unwrap()];
    alike(
        &others,
        &settings,
        &cases(asked_for("JUDGED_CPU_CASES", 20)),
    )
    .await;
}
