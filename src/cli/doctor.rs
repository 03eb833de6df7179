use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::print;
use crate::app::llama_source;
use crate::backend::llama::{RUNTIME, available_threads, backends_dir};
use crate::backend::speed::Speed;
use crate::backend::{Description, OpenError, Source};
use crate::config::{Config, Settings};
use crate::exit_code::ExitCode;
use crate::models::{Bundle, FileState, Store};

/// Check this machine: libraries, CPU code, threads, model, and speed.
///
/// Loads the model as `judged serve` would and measures prefill and decode
/// beside what such a CPU is expected to give. Run it while the machine is
/// otherwise idle: a running daemon halves both figures.
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// The model bundle: a name, or the path of a manifest.
    #[arg(long, value_name = "NAME", env = "JUDGED_BUNDLE")]
    bundle: Option<String>,

    /// The store of model files.
    #[arg(long, value_name = "DIR", env = "JUDGED_MODEL_DIR")]
    model_dir: Option<PathBuf>,

    /// Measure the base alone: what the adapter costs is the difference.
    #[arg(long)]
    no_adapter: bool,

    /// Threads of the model; 0 means as many as may run here.
    #[arg(long, value_name = "N", env = "JUDGED_THREADS")]
    threads: Option<u32>,

    /// As in `judged serve`.
    #[arg(long, value_name = "auto|N", env = "JUDGED_GPU_LAYERS")]
    gpu_layers: Option<String>,

    /// As in `judged serve`.
    #[arg(long, value_name = "NAME", env = "JUDGED_GPU_DEVICE")]
    gpu_device: Option<String>,

    /// As in `judged serve`.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", env = "JUDGED_MERGE_ADAPTER")]
    merge_adapter: Option<bool>,

    /// A TOML file of settings, as `judged serve` reads it.
    #[arg(long, value_name = "FILE", env = "JUDGED_CONFIG")]
    config: Option<PathBuf>,

    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What was found.
struct Findings {
    backends: Option<PathBuf>,
    threads_available: u32,
    cores_online: usize,
    bundle: Bundle,
    base: PathBuf,
    base_state: FileState,
    engine: Option<(Description, Speed)>,
    problems: Vec<String>,
}

pub fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let findings = match examine(args) {
        Ok(findings) => findings,
        Err(error) => {
            print::error_chain(error.as_ref());
            return Ok(ExitCode::Usage);
        }
    };
    if args.json {
        print::out!("{}", findings.to_json());
    } else {
        findings.print()?;
    }
    Ok(match findings.problems.is_empty() {
        true => ExitCode::Ok,
        false => ExitCode::Degraded,
    })
}

fn examine(args: &DoctorArgs) -> anyhow::Result<Findings> {
    let settings = Settings {
        bundle: args.bundle.clone(),
        model_dir: args.model_dir.clone(),
        threads: args.threads,
        gpu_layers: args.gpu_layers.clone(),
        gpu_device: args.gpu_device.clone(),
        merge_adapter: args.merge_adapter,
        slots: Some(1),
        ..Settings::default()
    };
    let config = Config::new(&settings.resolve(None, args.config.as_deref())?)?;
    let mut bundle = Bundle::find(&config.bundle, &Bundle::default_dirs())?;
    if args.no_adapter {
        bundle.adapter = None;
    }
    let store = Store::new(&config.model_dir);
    let mut findings = Findings {
        backends: backends_dir(),
        threads_available: available_threads(),
        cores_online: cores_online(),
        base: store.path(&bundle.base),
        base_state: store.state(&bundle.base),
        engine: None,
        problems: Vec::new(),
        bundle,
    };
    let mut measured = None;
    print::say!("loading the model and measuring: some ten seconds");
    let opened = llama_source(&config, &findings.bundle).open(&|| (), &mut |backend| {
        measured = Some((backend.description(), Speed::measure(backend)));
        Ok(())
    });
    match (opened, measured) {
        (Ok(()), Some((description, Ok(speed)))) => {
            if let Some(expected) = speed.expected(&description)
                && speed.is_below(&expected)
            {
                findings.problems.push(
                    "slower than expected: are the cores busy, throttled, or shared?".to_owned(),
                );
            }
            findings.engine = Some((description, speed));
        }
        (Ok(()), Some((_, Err(error)))) => findings.problems.push(format!("no decode: {error}")),
        (Ok(()), None) => findings
            .problems
            .push("the model was not opened".to_owned()),
        (
            Err(
                OpenError::Missing(reason) | OpenError::Failed(reason) | OpenError::Adapter(reason),
            ),
            _,
        ) => {
            findings.problems.push(reason);
        }
    }
    Ok(findings)
}

impl Findings {
    fn print(&self) -> anyhow::Result<()> {
        print::out!("judged {}, {RUNTIME}", env!("CARGO_PKG_VERSION"));
        match &self.backends {
            Some(dir) => print::out!("libraries  {}", dir.display()),
            None => print::out!("libraries  none found"),
        }
        print::out!(
            "threads    {} may run here, {} cores online",
            self.threads_available,
            self.cores_online
        );
        print::out!("bundle     {}@{}", self.bundle.name, self.bundle.revision);
        print::out!(
            "base       {} ({})",
            self.base.display(),
            state(&self.base_state)
        );
        if let Some((description, speed)) = &self.engine {
            print::out!("adapter    {}", description.adapter);
            print::out!(
                "cpu code   {}, {} threads",
                description.cpu_variant,
                description.threads
            );
            for device in &description.devices {
                print::out!(
                    "device     {} ({}): {}",
                    device.name,
                    device.kind,
                    device.description
                );
            }
            let gpu = print::gpu(description.gpu.as_ref(), &description.gpu_reason);
            print::out!("gpu        {gpu}");
            let expected = speed.expected(description);
            let beside = |rate: fn(&Speed) -> f64| match &expected {
                Some(expected) => format!("{:.1} expected", rate(expected)),
                None => "no figure for this CPU code".to_owned(),
            };
            print::out!(
                "prefill    {:.1} tokens/s ({})",
                speed.prefill,
                beside(|speed| speed.prefill)
            );
            print::out!(
                "decode     {:.1} tokens/s ({})",
                speed.decode,
                beside(|speed| speed.decode)
            );
        }
        for problem in &self.problems {
            print::out!("problem    {problem}");
        }
        if self.problems.is_empty() {
            print::out!("all well");
        }
        Ok(())
    }

    fn to_json(&self) -> serde_json::Value {
        let engine = self.engine.as_ref().map(|(description, speed)| {
            let expected = speed.expected(description);
            json!({
                "cpu_variant": description.cpu_variant,
                "threads": description.threads,
                "adapter": description.adapter,
                "gpu_device": description.gpu.as_ref().map(|gpu| &gpu.device),
                "gpu_layers": description.gpu.as_ref().map_or(0, |gpu| gpu.layers),
                "gpu_reason": description.gpu_reason,
                "devices": description.devices.iter().map(print::device).collect::<Vec<_>>(),
                "prefill_tokens_per_second": speed.prefill,
                "decode_tokens_per_second": speed.decode,
                "expected_prefill_tokens_per_second": expected.map(|speed| speed.prefill),
                "expected_decode_tokens_per_second": expected.map(|speed| speed.decode),
            })
        });
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "runtime": RUNTIME,
            "backends_dir": self.backends,
            "threads_available": self.threads_available,
            "cores_online": self.cores_online,
            "bundle": format!("{}@{}", self.bundle.name, self.bundle.revision),
            "base": self.base,
            "base_state": state(&self.base_state),
            "engine": engine,
            "problems": self.problems,
        })
    }
}

fn state(state: &FileState) -> &'static str {
    match state {
        FileState::Missing => "missing",
        FileState::Partial { .. } => "partial",
        FileState::Present => "present",
    }
}

fn cores_online() -> usize {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cores = text.lines().filter(|line| line.starts_with("processor"));
    cores.count()
}
