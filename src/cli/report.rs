//! `judged report`

use std::time::SystemTime;

use anyhow::bail;
use clap::{Args, ValueEnum};

use super::daemon::Daemon;
use super::print;
use crate::decision_log::{Finding, Outcome};
use crate::exit_code::ExitCode;
use crate::verdict::Label;

/// Say what was true of a decision, looked at afterwards.
///
/// Reports are kept with the decision, at most 100, and the last one counts.
/// False positives and incidents are what the kill switch watches: an incident
/// of tier 1 trips it at once. The command ends with 0 even where it trips the
/// switch; stderr says so.
#[derive(Args, Debug)]
pub struct ReportArgs {
    /// The decision's id, from an answer or from `judged decisions`.
    decision_id: String,

    /// What was found.
    #[arg(value_enum)]
    kind: Kind,

    /// With `missed-violation`: what the label should have been, never PASS.
    #[arg(long, value_name = "LABEL", required_if_eq("kind", "missed-violation"))]
    label: Option<Label>,

    /// With `incident`: 1 is the worst, 3 the least.
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u8).range(1..=3),
        required_if_eq("kind", "incident")
    )]
    tier: Option<u8>,

    /// What it is a case of, such as `E01` (1 to 32 letters, digits, `-` or `_`): `judged
    /// status` counts how the model did on each.
    #[arg(long, value_name = "NAME")]
    probe: Option<String>,

    /// Who found it: 1 to 256 bytes.
    #[arg(long, value_name = "NAME", env = "USER")]
    by: String,

    /// What people should know of it later: at most 4,096 bytes.
    #[arg(long, value_name = "TEXT", default_value = "")]
    note: String,

    #[command(flatten)]
    daemon: Daemon,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// The label was right.
    Right,
    /// A draft was stopped or held though no rule was violated.
    FalsePositive,
    /// A violation was not seen, or another one than there was.
    MissedViolation,
    /// Harm was done.
    Incident,
}

pub fn run(args: &ReportArgs) -> anyhow::Result<ExitCode> {
    let finding = match (args.kind, args.label, args.tier) {
        (Kind::Right, ..) => Finding::Right,
        (Kind::FalsePositive, ..) => Finding::FalsePositive,
        (Kind::MissedViolation, Some(label), _) => Finding::MissedViolation(label),
        (Kind::Incident, _, Some(tier)) => Finding::Incident { tier },
        (Kind::MissedViolation, None, _) => bail!("`--label` is missing"),
        (Kind::Incident, _, None) => bail!("`--tier` is missing"),
    };
    let outcome = Outcome {
        decision_id: args.decision_id.clone(),
        time: SystemTime::now(),
        finding,
        probe: args.probe.clone(),
        who: args.by.clone(),
        note: args.note.clone(),
    };
    let tripped = super::runtime()?.block_on(async {
        let mut client = args.daemon.connect().await?;
        anyhow::Ok(client.report(&outcome).await?)
    })?;
    print::say!("reported");
    if tripped {
        print::say!(
            "this has tripped the kill switch: rules decide until `judged kill-switch re-arm`"
        );
    }
    Ok(ExitCode::Ok)
}
