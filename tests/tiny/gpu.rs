//! Promise: whatever a GPU's module or driver does, the model decides, on the CPU if need be, and
//! the status says why.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::command::{Served, Shell};
use crate::support::tiny_daemon::TinyBundle;
use serde_json::{Value, json};

/// A daemon on the tiny model, with these modules for GPUs beside those of the CPU.
struct Host {
    shell: Shell,
    bundle: TinyBundle,
}

impl Host {
    fn new() -> Self {
        let host = Self {
            shell: Shell::new(),
            bundle: TinyBundle::new(),
        };
        std::fs::create_dir_all(host.modules().join("gpu")).unwrap();
        let executable = Path::new(env!("CARGO_BIN_EXE_judged"));
        for entry in std::fs::read_dir(executable.with_file_name("lib")).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                symlink(&path, host.modules().join(path.file_name().unwrap())).unwrap();
            }
        }
        host
    }

    fn modules(&self) -> PathBuf {
        self.shell.home.path().join("modules")
    }

    fn module(&self) -> PathBuf {
        self.modules().join("gpu/libggml-cuda.so")
    }

    /// Compiles what ggml calls when it has loaded a module.
    fn with_module(self, body: &str) -> Self {
        let source = format!("#include <stdlib.h>\nvoid *ggml_backend_init(void) {{ {body} }}\n");
        let source = self.shell.file("module.c", &source);
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .arg(self.module())
            .arg(source)
            .status();
        assert!(compiled.unwrap().success());
        self
    }

    /// The status once the model decides, of a daemon with these flags.
    fn status(&self, flags: &[&str]) -> Value {
        self.serve(flags, &[], |_, status| status)
    }

    /// What `work` gives of a daemon whose model decides, with these flags and variables.
    fn serve<T>(
        &self,
        flags: &[&str],
        env: &[(&str, &str)],
        work: impl FnOnce(&Served, Value) -> T,
    ) -> T {
        let (manifest, store) = self.bundle.on_disk();
        let mut arguments = vec![
            "--bundle",
            manifest.to_str().unwrap(),
            "--model-dir",
            store.to_str().unwrap(),
            "--threads",
            "1",
        ];
        arguments.extend(flags);
        let modules = self.modules();
        let modules = [("JUDGED_BACKENDS_DIR", modules.to_str().unwrap())];
        let variables = env.iter().chain(&modules);
        let variables: Vec<String> = variables
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let mut program = vec!["env"];
        program.extend(variables.iter().map(String::as_str));
        let daemon = self.shell.serve_by(&program, &arguments);
        // A driver that needs no GPU compiles for minutes where the machine is busy.
        let waited = [
            "status",
            "--addr",
            &daemon.control,
            "--wait",
            "900",
            "--json",
        ];
        let status = self.shell.run(&waited);
        assert_eq!(status.code, 0, "{status:?}");
        work(&daemon, status.json().remove(0))
    }

    /// The module of this kind that was built.
    fn with_built(self, kind: &str) -> Self {
        let module = format!("gpu/libggml-{kind}.so");
        let built = Path::new(env!("CARGO_BIN_EXE_judged"));
        let built = built.with_file_name("lib").join(&module);
        assert!(built.exists(), "run `scripts/gpu-module {kind}` first");
        symlink(built, self.modules().join(&module)).unwrap();
        self
    }

    /// As `labels`, on a driver for Vulkan that needs no GPU.
    fn on_lavapipe(&self, flags: &[&str], env: &[(&str, &str)]) -> (Value, Vec<String>) {
        self.labels(flags, &[env, &LAVAPIPE].concat())
    }

    /// What the status says of the GPU, and the labels of the cases.
    fn labels(&self, flags: &[&str], env: &[(&str, &str)]) -> (Value, Vec<String>) {
        self.serve(flags, env, |daemon, status| {
            let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("training/data/priority.jsonl");
            let asked: String = std::fs::read_to_string(cases)
                .unwrap()
                .lines()
                .take(CASES)
                .map(|line| {
                    let case: Value = serde_json::from_str(line).unwrap();
                    let (name, context, draft) = (&case["id"], &case["context"], &case["draft"]);
                    format!(
                        "{}\n",
                        json!({"name": name, "context": context, "draft": draft})
                    )
                })
                .collect();
            let cases = self.shell.file("cases.jsonl", &asked);
            let arguments = [
                "judge",
                &cases,
                "--addr",
                &daemon.judge,
                "--no-rationale",
                "--json",
            ];
            let answers = self.shell.run(&arguments);
            assert_eq!(answers.code, 0, "{answers:?}");
            let mut labels: Vec<String> = answers
                .json()
                .iter()
                .map(|answer| format!("{} {}", answer["name"], answer["label"]))
                .collect();
            labels.sort();
            assert_eq!(labels.len(), CASES);
            (status["engine"].clone(), labels)
        })
    }

    /// A library of one of the scripts, which takes a driver's place.
    fn library(&self, name: &str, source: &str, flags: &[&str]) -> PathBuf {
        let library = self.shell.home.path().join(name);
        std::fs::create_dir_all(library.parent().unwrap()).unwrap();
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .arg(&library)
            .arg(source)
            .args(flags)
            .status();
        assert!(compiled.unwrap().success());
        library
    }

    fn gpu_reason(&self, flags: &[&str]) -> String {
        let status = self.status(flags);
        assert_eq!(status["engine_state"], "ready", "{status}");
        assert_eq!(status["degraded_reason"], Value::Null, "{status}");
        assert_eq!(status["engine"]["gpu_layers"], 0, "{status}");
        assert_eq!(status["engine"]["gpu_device"], Value::Null, "{status}");
        status["engine"]["gpu_reason"].as_str().unwrap().to_owned()
    }
}

const CASES: usize = 20;

/// ggml takes a Vulkan device that is no GPU only where it is named.
const LAVAPIPE: [(&str, &str); 2] = [
    ("GGML_VK_VISIBLE_DEVICES", "0"),
    (
        "VK_ICD_FILENAMES",
        "/usr/share/vulkan/icd.d/lvp_icd.x86_64.json",
    ),
];

#[test]
#[ignore = "needs the module for Vulkan: `make drill-gpu` builds it"]
fn layers_on_vulkan_give_the_labels_of_the_cpu() {
    let host = Host::new().with_built("vulkan");
    let (_, expected) = host.on_lavapipe(&["--gpu-layers", "0"], &[]);
    // It has two layers and an output matrix.
    for (layers, found) in [("1", 1), ("2", 2), ("3", 3), ("99", 3)] {
        let (engine, labels) = host.on_lavapipe(&["--gpu-layers", layers], &[]);
        println!("gpu_layers {layers}: {}", engine["gpu_reason"]);
        assert_eq!(engine["gpu_device"], "Vulkan0", "{engine}");
        assert_eq!(engine["gpu_layers"], found, "{engine}");
        assert_eq!(labels, expected, "{layers} layers");
    }
}

#[test]
#[ignore = "needs the module for Vulkan: `make drill-gpu` builds it"]
fn a_gpu_that_is_slower_than_the_cpu_is_left_alone() {
    let host = Host::new().with_built("vulkan");
    let (engine, _) = host.on_lavapipe(&[], &[]);
    println!("gpu_layers auto: {}", engine["gpu_reason"]);
    let reason = engine["gpu_reason"].as_str().unwrap();
    assert!(
        reason.starts_with("`Vulkan0` is slower than the CPU"),
        "{reason}"
    );
}

#[test]
#[ignore = "needs the module for Vulkan: `make drill-gpu` builds it"]
fn a_driver_that_fails_at_whatever_stage_leaves_the_cpu_its_labels() {
    let host = Host::new().with_built("vulkan");
    let driver = host.library("failing-vulkan.so", "scripts/failing-vulkan.c", &[]);
    let (_, expected) = host.on_lavapipe(&["--gpu-layers", "0"], &[]);
    for stage in ["init", "load", "decode"] {
        let env = [("LD_PRELOAD", driver.to_str().unwrap()), ("FAIL_AT", stage)];
        let (engine, labels) = host.on_lavapipe(&["--gpu-layers", "3"], &env);
        println!("a driver that fails at {stage}: {}", engine["gpu_reason"]);
        let reason = engine["gpu_reason"].as_str().unwrap();
        assert!(
            reason.starts_with("the trial of the GPU failed"),
            "{reason}"
        );
        assert_eq!(engine["gpu_layers"], 0, "{engine}");
        assert_eq!(labels, expected, "{stage}");
    }
}

/// CUDA's own runtime stops a driver that is not NVIDIA's early. What fails later is in the runtime's place.
#[test]
#[ignore = "needs the module for CUDA, `scripts/gpu-module cuda`: `make drill-gpu` finds it"]
fn whatever_fails_below_cuda_leaves_the_cpu_its_labels() {
    let host = Host::new().with_built("cuda");
    let toolkit = std::env::var("CUDA_HOME").unwrap();
    let headers = format!("-I{toolkit}/include");
    let driver = host.library("driver/libcuda.so.1", "scripts/failing-cuda.c", &[]);
    let driver = driver.parent().unwrap().to_str().unwrap();
    let runtime = host.library("failing-cudart.so", "scripts/failing-cudart.c", &[&headers]);
    let runtime = runtime.to_str().unwrap();
    let cuda = format!("{toolkit}/lib:{toolkit}/lib64");
    let with_driver = format!("{driver}:{cuda}");
    let (_, expected) = host.labels(&["--gpu-layers", "0"], &[]);
    for (stage, libraries, preloaded, cause) in [
        ("no runtime", "", "", "found no device"),
        ("no driver", &*cuda, "", "driver version is insufficient"),
        (
            "version",
            &*with_driver,
            "",
            "driver version is insufficient",
        ),
        ("init", &*with_driver, "", "unknown error"),
        ("device", &*with_driver, "", "operation not supported"),
        ("context", &*cuda, runtime, "has 0 MiB free"),
        ("load", &*cuda, runtime, "out of memory"),
        ("kernel", &*cuda, runtime, "no kernel image is available"),
        ("decode", &*cuda, runtime, "an illegal memory access"),
    ] {
        let env = [
            ("LD_LIBRARY_PATH", libraries),
            ("LD_PRELOAD", preloaded),
            ("FAIL_AT", stage),
        ];
        let (engine, labels) = host.labels(&["--gpu-layers", "3"], &env);
        println!("{stage}: {}", engine["gpu_reason"]);
        let reason = engine["gpu_reason"].as_str().unwrap();
        assert!(
            reason.starts_with("the trial of the GPU failed"),
            "{reason}"
        );
        assert!(reason.contains(cause), "{stage}: {reason}");
        assert_eq!(engine["gpu_layers"], 0, "{engine}");
        assert_eq!(labels, expected, "{stage}");
    }
}

#[test]
fn without_a_gpu_module_the_cpu_has_all_layers() {
    let reason = Host::new().gpu_reason(&[]);
    assert_eq!(reason, "no GPU module is installed");
}

#[test]
fn a_module_that_ends_the_process_costs_the_daemon_nothing() {
    let host = Host::new().with_module("abort();");
    let reason = host.gpu_reason(&["--gpu-layers", "2"]);
    let expected = "the trial of the GPU failed: it died of signal 6";
    assert!(reason.starts_with(expected), "{reason}");
}

#[test]
fn a_module_without_a_device_is_told_of() {
    let host = Host::new().with_module("return NULL;");
    let reason = host.gpu_reason(&[]);
    assert!(
        reason.contains("the GPU modules found no device"),
        "{reason}"
    );
}

#[test]
fn a_module_that_is_none_is_told_of() {
    let host = Host::new();
    std::fs::write(host.module(), "no library").unwrap();
    let reason = host.gpu_reason(&[]);
    assert!(
        reason.contains("the GPU modules found no device"),
        "{reason}"
    );
}

#[test]
fn with_gpu_layers_0_no_module_is_touched() {
    let host = Host::new().with_module("abort();");
    let reason = host.gpu_reason(&["--gpu-layers", "0"]);
    assert_eq!(reason, "`gpu_layers` is 0");
}

#[test]
fn a_gpu_that_is_not_there_is_named_beside_those_that_are() {
    let host = Host::new().with_module("return NULL;");
    let reason = host.gpu_reason(&["--gpu-device", "CUDA7"]);
    let expected = "there is no GPU `CUDA7`, nor any other";
    assert!(reason.contains(expected), "{reason}");
}

#[test]
fn a_number_of_layers_that_is_none_is_refused() {
    let refused = Shell::new().run(&["serve", "--gpu-layers", "many", "--print-config"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    let expected = "`many` is neither `auto` nor a number of layers";
    assert!(refused.stderr.contains(expected), "{refused:?}");
}
