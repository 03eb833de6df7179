//! `judged gpu-trial`: what [`Trial`](crate::backend::llama::trial::Trial) starts.

use std::path::PathBuf;

use clap::Args;
use rustix::process::{Signal, getppid, set_parent_process_death_signal};

use super::print;
use crate::backend::llama::trial::Outcome;
use crate::backend::llama::{AdapterFile, ContextConfig, Files, LlamaSource};
use crate::backend::offload::{Layers, Placement, Wish};
use crate::backend::speed::Speed;
use crate::backend::{OpenError, Source};
use crate::exit_code::ExitCode;

/// Load a model on a GPU and use it, in a process that may die of it; the daemon asks for this.
#[derive(Args, Debug)]
pub struct GpuTrialArgs {
    #[arg(long)]
    base: PathBuf,

    #[arg(long, requires = "scale")]
    adapter: Option<PathBuf>,

    #[arg(long)]
    scale: Option<f32>,

    #[arg(long)]
    gpu_layers: Layers,

    #[arg(long)]
    gpu_device: Option<String>,

    #[arg(long)]
    cells: u32,

    #[arg(long)]
    batch: u32,

    #[arg(long)]
    sequences: u32,

    #[arg(long)]
    threads: u32,

    #[arg(long)]
    parent: i32,
}

pub fn run(args: &GpuTrialArgs) -> anyhow::Result<ExitCode> {
    args.end_with_parent()?;
    let wish = Wish {
        layers: args.gpu_layers,
        device: args.gpu_device.clone(),
    };
    let (gpu, placement) = args.measure(wish)?;
    let Some(Placement { device, layers }) = placement else {
        anyhow::bail!("no layer went to a GPU");
    };
    let (cpu, _) = args.measure(Wish::CPU)?;
    let outcome = Outcome {
        device,
        layers,
        gpu,
        cpu,
    };
    print::out!("{}", serde_json::to_string(&outcome)?);
    Ok(ExitCode::Ok)
}

impl GpuTrialArgs {
    /// Only the parent knows the trial's limit: without it a GPU that hangs would be held for ever.
    fn end_with_parent(&self) -> anyhow::Result<()> {
        // The kernel means the parent's thread, which waits for the trial.
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // That comes too late where it is gone already.
        let is_there = getppid().is_some_and(|parent| parent.as_raw_pid() == self.parent);
        anyhow::ensure!(is_there, "the process whose trial this is has ended");
        Ok(())
    }

    /// How fast it is, and on which GPU; a failure to use that is an error here.
    fn measure(&self, wish: Wish) -> anyhow::Result<(Speed, Option<Placement>)> {
        let on_cpu = wish == Wish::CPU;
        let mut measured = None;
        let opened = self.source(wish).open(&|| (), &mut |backend| {
            measured = Some((Speed::measure(backend), backend.description()));
            Ok(())
        });
        match (opened, measured) {
            (Ok(()), Some((speed, description))) => match description.gpu {
                None if !on_cpu => anyhow::bail!("{}", description.gpu_reason),
                gpu => Ok((speed?, gpu)),
            },
            (Ok(()), None) => anyhow::bail!("the model was not opened"),
            (
                Err(
                    OpenError::Missing(reason)
                    | OpenError::Failed(reason)
                    | OpenError::Adapter(reason),
                ),
                _,
            ) => anyhow::bail!(reason),
        }
    }

    fn source(&self, gpu: Wish) -> LlamaSource {
        let files = Files {
            base: self.base.clone(),
            adapter: self.adapter.clone().map(|path| AdapterFile {
                path,
                scale: self.scale.unwrap_or(1.0),
                merged: false,
            }),
        };
        LlamaSource {
            find: Box::new(move || Ok(files.clone())),
            context: ContextConfig {
                cells: self.cells,
                batch: self.batch,
                sequences: self.sequences,
                prefix_cells: 0,
                threads: self.threads,
            },
            gpu,
            trial: None,
        }
    }
}
