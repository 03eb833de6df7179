//! `judged convert-adapter`: a PEFT folder to a GGUF file.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::ValueEnum;
use indicatif::HumanBytes;
use serde_json::json;

use super::print;
use crate::convert::{Conversion, Converted, Precision};
use crate::exit_code::ExitCode;
use crate::models::{Bundle, Store, StoreError};

const EXAMPLES: &str = "\
Examples:
  judged convert-adapter my-lora
      write my-lora/adapter.gguf; nothing tells whether it fits a base
  judged convert-adapter my-lora --bundle tenacious-judge
      check it against that bundle's base, which `judged pull` brought
  judged convert-adapter my-lora --base qwen2.5-1.5b-instruct-q4_k_m.gguf \\
      --out mine/my-lora.gguf --type f32 --json
      check it against a file, lose nothing to rounding, report as JSON

To serve it, name the file and its sha256 in a bundle's manifest:
  [adapter]
  file = \"my-lora.gguf\"      # beside the manifest
  sha256 = \"…\"               # as this command says it
and change the bundle's `revision`.";

/// Convert a LoRA adapter that PEFT saved into a GGUF file that judged serves.
///
/// The folder holds `adapter_config.json` and `adapter_model.safetensors`.
/// What the adapter computes stays the same: alpha, rank, rsLoRA, and ranks
/// and alphas of single modules are all taken in. What LoRA in GGUF cannot say
/// (DoRA, biases, trained embeddings) is refused with the reason. The file
/// gets its name only when it is whole and checked.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ConvertAdapterArgs {
    /// The folder that PEFT's `save_pretrained` wrote
    #[arg(value_name = "PEFT_FOLDER")]
    folder: PathBuf,

    /// The file to write [default: adapter.gguf in the folder]
    #[arg(long, value_name = "FILE.gguf")]
    out: Option<PathBuf>,

    /// How exactly numbers are kept
    #[arg(long = "type", value_enum, value_name = "TYPE", default_value = "f16")]
    kind: Kind,

    /// A GGUF model that the adapter must fit
    #[arg(long, value_name = "FILE.gguf", conflicts_with = "bundle")]
    base: Option<PathBuf>,

    /// Bundle whose base the adapter must fit: a name, or the path of a manifest
    #[arg(long, value_name = "NAME")]
    bundle: Option<String>,

    /// The store of model files, for --bundle
    #[arg(long, value_name = "DIR", env = "JUDGED_MODEL_DIR")]
    model_dir: Option<PathBuf>,

    /// Replace a file that is there
    #[arg(long)]
    force: bool,

    /// Print JSON on stdout
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// Nothing is rounded
    F32,
    /// Half the size, some three digits
    F16,
    /// A quarter, 8 bits a number; rows that are no multiple of 32 long stay f16
    #[value(name = "q8_0")]
    Q8_0,
}

pub fn run(args: ConvertAdapterArgs) -> Result<ExitCode> {
    let base = match (&args.base, &args.bundle) {
        (Some(base), _) => Some(base.clone()),
        (None, Some(bundle)) => base_of(bundle, args.model_dir)?,
        (None, None) => None,
    };
    if base.is_none() {
        print::say!(
            "warning: no base at hand, so nothing tells whether the adapter fits one; \
             name it with --base or --bundle"
        );
    }
    let conversion = Conversion {
        out: args.out.unwrap_or_else(|| args.folder.join("adapter.gguf")),
        folder: args.folder,
        precision: match args.kind {
            Kind::F32 => Precision::F32,
            Kind::F16 => Precision::F16,
            Kind::Q8_0 => Precision::Q8_0,
        },
        base,
        replace: args.force,
    };
    let converted = conversion.run()?;
    match args.json {
        true => print_json(&conversion, &converted)?,
        false => print_text(&conversion, &converted)?,
    }
    Ok(ExitCode::Ok)
}

/// The base in the store; none, with a warning, where it was not pulled yet.
fn base_of(bundle: &str, model_dir: Option<PathBuf>) -> Result<Option<PathBuf>> {
    let dir = model_dir
        .or_else(Store::default_dir)
        .context("no home folder to look for models in; name one with --model-dir")?;
    let store = Store::new(dir);
    let bundle = Bundle::find(bundle, &Bundle::default_dirs())?;
    match store.verified(&bundle.base, &mut |_| {}) {
        Ok(path) => Ok(Some(path)),
        Err(StoreError::Missing { path }) => {
            let (path, pull) = (path.display(), store.pull_command(&bundle));
            print::say!("warning: `{path}` is not there: `{pull}` brings it");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn print_text(conversion: &Conversion, converted: &Converted) -> Result<()> {
    let Converted {
        info,
        bytes,
        sha256,
        tensors,
        ..
    } = converted;
    print::out!("{}", conversion.out.display());
    print::out!("  size     {} ({bytes} bytes)", HumanBytes(*bytes));
    print::out!("  sha256   {sha256}");
    let kinds = tensors
        .iter()
        .map(|(kind, count)| format!("{count} {kind}"));
    print::out!("  tensors  {}", list(kinds));
    print::out!("  rank     {}", list(info.ranks.iter()));
    print::out!("  alpha    {}", info.alpha);
    print::out!(
        "  modules  {}",
        list(converted.kinds.iter().map(|k| k.name()))
    );
    print::out!("  layers   {}", list(ranges(info.layers.iter().copied())));
    if converted.folded > 0 {
        print::out!(
            "  scaling  of {} modules differs from alpha / rank, and went into their B",
            converted.folded
        );
    }
    match &conversion.base {
        Some(base) => print::out!("  base     fits `{}`", base.display()),
        None => print::out!("  base     not checked"),
    }
    Ok(())
}

fn print_json(conversion: &Conversion, converted: &Converted) -> Result<()> {
    let Converted {
        info,
        bytes,
        sha256,
        tensors,
        kinds,
        folded,
    } = converted;
    let tensors: serde_json::Map<_, _> = tensors
        .iter()
        .map(|(kind, count)| (kind.to_string(), json!(count)))
        .collect();
    print::out!(
        "{}",
        json!({
            "path": conversion.out,
            "bytes": bytes,
            "sha256": sha256,
            "tensors": tensors,
            "ranks": info.ranks,
            "alpha": info.alpha,
            "modules": kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>(),
            "layers": info.layers,
            "folded_modules": folded,
            "base": conversion.base,
        })
    );
    Ok(())
}

fn list(items: impl Iterator<Item = impl ToString>) -> String {
    let items: Vec<_> = items.map(|item| item.to_string()).collect();
    items.join(", ")
}

/// `0-2` and `5` for 0, 1, 2 and 5.
fn ranges(numbers: impl Iterator<Item = u32>) -> impl Iterator<Item = String> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    ranges.into_iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    })
}
