//! Promise: whatever a GPU's module or driver does, the model decides, on the CPU if need be, and
//! the status says why.

#![expect(clippy::unwrap_used, reason = "a test that goes wrong should stop")]

mod support {
    pub mod command;
    pub mod gguf_writer;
    pub mod tiny;
    pub mod tiny_daemon;
    pub mod tiny_vocabulary;
}

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::command::Shell;
use support::tiny_daemon::TinyBundle;

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
        let env = [("JUDGED_BACKENDS_DIR", modules.to_str().unwrap())];
        let daemon = self.shell.serve_with(&arguments, &env);
        let waited = ["status", "--addr", &daemon.control, "--wait", "--json"];
        let status = self.shell.run(&waited);
        assert_eq!(status.code, 0, "{status:?}");
        status.json().remove(0)
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
        reason.ends_with("the GPU modules found no device"),
        "{reason}"
    );
}

#[test]
fn a_module_that_is_none_is_told_of() {
    let host = Host::new();
    std::fs::write(host.module(), "no library").unwrap();
    let reason = host.gpu_reason(&[]);
    assert!(
        reason.ends_with("the GPU modules found no device"),
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
    assert!(reason.ends_with(expected), "{reason}");
}

#[test]
fn a_number_of_layers_that_is_none_is_refused() {
    let refused = Shell::new().run(&["serve", "--gpu-layers", "many", "--print-config"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    let expected = "`many` is neither `auto` nor a number of layers";
    assert!(refused.stderr.contains(expected), "{refused:?}");
}
