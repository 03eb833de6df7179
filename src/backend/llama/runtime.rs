//! What is one for the whole process: the library's modules, and the machine.

use std::path::{Path, PathBuf};
use std::sync::{Once, OnceLock};

use llama_cpp_2::llama_backend::{LlamaBackend, load_backends_from_path};
use llama_cpp_2::{
    LlamaBackendDeviceType, LogOptions, list_llama_ggml_backend_devices, send_logs_to_tracing,
};

use crate::backend::Device;

/// The process-wide runtime: initialized once, never freed, so that no model
/// can outlive it.
pub fn get() -> Result<&'static LlamaBackend, String> {
    static RUNTIME: OnceLock<Result<LlamaBackend, String>> = OnceLock::new();
    RUNTIME
        .get_or_init(|| {
            send_logs_to_tracing(LogOptions::default());
            let dir = backends_dir().ok_or_else(|| {
                "no folder `lib` with libggml-cpu-*.so beside the executable: \
                 reinstall the whole distribution, or set JUDGED_BACKENDS_DIR"
                    .to_owned()
            })?;
            load_backends_from_path(&dir);
            LlamaBackend::init().map_err(|error| error.to_string())
        })
        .as_ref()
        .map_err(Clone::clone)
}

/// Where the backend modules lie: beside the executable, as the build, a
/// distribution and an installation put them.
pub fn backends_dir() -> Option<PathBuf> {
    let named = std::env::var_os("JUDGED_BACKENDS_DIR").map(PathBuf::from);
    let executable = std::env::current_exe().ok();
    let beside = executable.as_deref().and_then(Path::parent);
    let places = ["lib", "../lib", "../lib/judged"];
    named
        .into_iter()
        .chain(
            beside
                .into_iter()
                .flat_map(|dir| places.map(|place| dir.join(place))),
        )
        .filter(|dir| dir.to_str().is_some())
        .find(|dir| has_backend(dir))
}

fn has_backend(dir: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return false;
    };
    entries.flatten().any(|entry| {
        entry
            .file_name()
            .to_string_lossy()
            .starts_with("libggml-cpu")
    })
}

/// The modules of GPU backends in the folder `gpu` beside those of the CPU.
pub fn gpu_modules() -> Vec<PathBuf> {
    let dir = backends_dir().map(|dir| dir.join(GPU_DIR));
    let entries = dir.and_then(|dir| std::fs::read_dir(dir).ok());
    let paths = entries
        .into_iter()
        .flat_map(|entries| entries.flatten().map(|entry| entry.path()));
    let is_module = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("libggml-") && name.ends_with(".so")
    };
    paths.filter(is_module).collect()
}

/// Loads the GPU backends, once. A driver that fails can end the process here, and whenever
/// such a backend is used.
pub fn load_gpu_modules() {
    static LOADED: Once = Once::new();
    LOADED.call_once(|| {
        if let Some(dir) = backends_dir() {
            load_backends_from_path(&dir.join(GPU_DIR));
        }
    });
}

const GPU_DIR: &str = "gpu";

/// As [`devices`] numbers them.
pub fn device_index(name: &str) -> Option<usize> {
    let devices = list_llama_ggml_backend_devices();
    let device = devices.into_iter().find(|device| device.name == name);
    device.map(|device| device.index)
}

pub fn devices() -> Vec<Device> {
    list_llama_ggml_backend_devices()
        .into_iter()
        .map(|device| Device {
            name: device.name,
            description: device.description,
            kind: match device.device_type {
                LlamaBackendDeviceType::Cpu => "cpu",
                LlamaBackendDeviceType::Gpu | LlamaBackendDeviceType::IntegratedGpu => "gpu",
                LlamaBackendDeviceType::Accelerator | LlamaBackendDeviceType::Unknown => {
                    "accelerator"
                }
            },
            memory_free_bytes: device.memory_free as u64,
            memory_total_bytes: device.memory_total as u64,
        })
        .collect()
}

/// The CPU module that ggml chose: it is mapped into this process.
pub fn cpu_variant() -> String {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    maps.lines()
        .filter_map(|line| line.rsplit('/').next())
        .filter_map(|file| file.strip_prefix("libggml-cpu-")?.strip_suffix(".so"))
        .next()
        .unwrap_or("unknown")
        .to_owned()
}

/// Threads that can really run: the affinity mask and the cgroup's quota.
pub fn available_threads() -> u32 {
    std::thread::available_parallelism().map_or(1, |threads| {
        u32::try_from(threads.get()).unwrap_or(u32::MAX)
    })
}
