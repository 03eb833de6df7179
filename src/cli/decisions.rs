//! `judged decisions`

use std::time::SystemTime;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use jiff::{SignedDuration, Timestamp};

use super::control::Control;
use super::print;
use super::record;
use crate::decision_log::{Contents, Filter, FindingKind, Origin};
use crate::exit_code::ExitCode;
use crate::verdict::{DecidedBy, Label, Mode};

/// Look at recorded decisions, newest first.
///
/// Without a subcommand it lists. What a decision rests on, the masked texts
/// and what people reported is in `show`; `export` writes all of it as JSONL,
/// which `judged eval --replay` reads.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct DecisionsArgs {
    #[command(subcommand)]
    action: Option<Action>,

    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show one decision whole.
    Show {
        /// The decision's id, from an answer or the list.
        decision_id: String,

        #[command(flatten)]
        control: Control,

        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Write every decision, with its masked texts, as a line of JSON.
    Export {
        #[command(flatten)]
        which: Which,

        #[command(flatten)]
        control: Control,
    },
}

#[derive(Args, Debug)]
struct ListArgs {
    #[command(flatten)]
    which: Which,

    #[command(flatten)]
    control: Control,

    /// List at most so many.
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,

    /// Print a line of JSON for each.
    #[arg(long)]
    json: bool,
}

/// Each flag that is given narrows.
#[derive(Args, Debug)]
struct Which {
    /// Only this label.
    #[arg(long)]
    label: Option<Label>,

    /// Only this prospect: the context's `prospect_id`, else its `company`, else its hash.
    #[arg(long, value_name = "NAME")]
    prospect: Option<String>,

    /// Received then or later: `2026-11-24T08:00:00Z`, or how long ago, as `90m` or `7d`.
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<SystemTime>,

    /// Received earlier than that.
    #[arg(long, value_name = "TIME", value_parser = time)]
    to: Option<SystemTime>,

    /// Only decisions of this mode.
    #[arg(long, value_enum)]
    mode: Option<ModeName>,

    /// Only decisions of the model, or of the rules.
    #[arg(long, value_enum)]
    decided_by: Option<DecidedByName>,

    /// Only where the model's answer in mode SHADOW was not the rules' label.
    #[arg(long)]
    disagreements: bool,

    /// Only decisions with such a report.
    #[arg(long, value_enum)]
    outcome: Option<OutcomeName>,

    /// Cases of spot checks too, which are no traffic.
    #[arg(long)]
    spot_checks: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ModeName {
    Enforce,
    Shadow,
    RulesOnly,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DecidedByName {
    Model,
    Rules,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OutcomeName {
    Right,
    FalsePositive,
    MissedViolation,
    Incident,
}

impl Which {
    fn filter(&self) -> Filter {
        Filter {
            label: self.label,
            prospect: self.prospect.clone(),
            from: self.from,
            to: self.to,
            mode: self.mode.map(|mode| match mode {
                ModeName::Enforce => Mode::Enforce,
                ModeName::Shadow => Mode::Shadow,
                ModeName::RulesOnly => Mode::RulesOnly,
            }),
            decided_by: self.decided_by.map(|by| match by {
                DecidedByName::Model => DecidedBy::Model,
                DecidedByName::Rules => DecidedBy::Rules,
            }),
            origin: (!self.spot_checks).then_some(Origin::Traffic),
            disagreement: self.disagreements,
            outcome: self.outcome.map(|kind| match kind {
                OutcomeName::Right => FindingKind::Right,
                OutcomeName::FalsePositive => FindingKind::FalsePositive,
                OutcomeName::MissedViolation => FindingKind::MissedViolation,
                OutcomeName::Incident => FindingKind::Incident,
            }),
        }
    }
}

/// A moment, or how long ago it was.
fn time(text: &str) -> anyhow::Result<SystemTime> {
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment.try_into()?);
    }
    // A day is 24 hours here.
    let ago: SignedDuration = match text.strip_suffix('d').map(str::parse::<i64>) {
        Some(days) => {
            let hours = days.context("not a number of days")?.checked_mul(24);
            let ago = hours.and_then(SignedDuration::try_from_hours);
            ago.context("too many days")?
        }
        None => text.parse().with_context(|| {
            format!("`{text}` is neither a time like 2026-11-24T08:00:00Z nor one ago like 90m")
        })?,
    };
    let moment = Timestamp::now().checked_sub(ago)?;
    Ok(moment.try_into()?)
}

pub fn run(args: &DecisionsArgs) -> anyhow::Result<ExitCode> {
    super::runtime()?.block_on(async {
        match &args.action {
            None => list(&args.list).await,
            Some(Action::Show {
                decision_id,
                control,
                json,
            }) => show(decision_id, control, *json).await,
            Some(Action::Export { which, control }) => export(which, control).await,
        }
    })
}

async fn list(args: &ListArgs) -> anyhow::Result<ExitCode> {
    let mut left = args.limit;
    let mut first = true;
    let mut token = String::new();
    let filter = args.which.filter();
    let mut client = args.control.connect().await?;
    while left > 0 {
        let size = u32::try_from(left).unwrap_or(u32::MAX);
        let page = client.decisions(&filter, size, &token, Contents::Without);
        let page = page.await?;
        for entry in &page.entries {
            if args.json {
                print::out!("{}", record::json(entry));
                continue;
            }
            if std::mem::take(&mut first) {
                print::out!("{}", record::HEAD);
            }
            print::out!("{}", record::line(entry));
        }
        left = left.saturating_sub(page.entries.len());
        if page.next_page_token.is_empty() {
            return Ok(ExitCode::Ok);
        }
        token = page.next_page_token;
    }
    if !args.json {
        print::say!("there are more: see them with a larger --limit");
    }
    Ok(ExitCode::Ok)
}

async fn show(decision_id: &str, control: &Control, json: bool) -> anyhow::Result<ExitCode> {
    let mut client = control.connect().await?;
    let entry = client.decision(decision_id).await?;
    if json {
        print::out!("{:#}", record::json(&entry));
    } else {
        print::out!("{}", record::text(&entry));
    }
    Ok(ExitCode::Ok)
}

async fn export(which: &Which, control: &Control) -> anyhow::Result<ExitCode> {
    let filter = which.filter();
    let mut client = control.connect().await?;
    let mut token = String::new();
    loop {
        let page = client.decisions(&filter, 0, &token, Contents::With);
        let page = page.await?;
        for entry in &page.entries {
            print::out!("{}", record::json(entry));
        }
        if page.next_page_token.is_empty() {
            return Ok(ExitCode::Ok);
        }
        token = page.next_page_token;
    }
}
