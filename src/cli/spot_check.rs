//! `judged spot-check`

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::json;

use super::control::Control;
use super::print;
use crate::exit_code::ExitCode;

/// Ask the running daemon's model labelled cases, and hold the result against
/// the kill switch.
///
/// At most 20 cases a probe are asked, chosen by the number of the week; the
/// model must be loaded. They count as no traffic, and are recorded as what they
/// are. The daemon does the same by itself once a week with the suite that comes
/// with it. A probe with fewer than half of its cases right trips the switch,
/// from five cases on (`probe_accuracy` and `probe_minimum` of the setting
/// `kill_switch` change that): the command ends with 12 then.
#[derive(Args, Debug)]
pub struct SpotCheckArgs {
    /// Labelled cases in a format of `judged eval`; without it, the suite that
    /// comes with the daemon.
    #[arg(long, value_name = "FILE")]
    suite: Option<PathBuf>,

    #[command(flatten)]
    control: Control,

    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &SpotCheckArgs) -> anyhow::Result<ExitCode> {
    let suite = args.suite.as_deref().map_or(Ok(String::new()), read)?;
    let checked = super::runtime()?.block_on(async {
        let mut client = args.control.connect().await?;
        let bar = print::bar("asked");
        let checked = client.spot_check(suite, |done, total| {
            bar.set_length(total.into());
            bar.set_position(done.into());
        });
        let checked = checked.await;
        bar.finish_and_clear();
        anyhow::Ok(checked?)
    })?;
    if args.json {
        let probes = checked.probes.iter().map(|(probe, (right, total))| {
            (probe.clone(), json!({ "right": right, "total": total }))
        });
        let value = json!({
            "probes": serde_json::Value::Object(probes.collect()),
            "suite_sha256": checked.suite_sha256,
            "tripped": checked.tripped,
        });
        print::out!("{value}");
    } else {
        for (probe, (right, total)) in &checked.probes {
            print::out!("{probe:<8} {right:>3} of {total} right");
        }
    }
    if checked.tripped {
        print::say!(
            "this has tripped the kill switch: rules decide until `judged kill-switch re-arm`"
        );
        return Ok(ExitCode::Tripped);
    }
    Ok(ExitCode::Ok)
}

fn read(path: &Path) -> anyhow::Result<String> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the suite `{shown}`"))?;
    // To the daemon no text at all means the suite that comes with it.
    if text.is_empty() {
        bail!("the suite `{shown}` has no case");
    }
    Ok(text)
}
