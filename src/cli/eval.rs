mod judge;
mod kept;
mod meter;
mod select;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{ArgMatches, Args};

use self::judge::Judge;
use self::kept::Kept;
use self::meter::Meter;
use self::select::Filter;
use super::access::AccessArgs;
use super::own_daemon::{EngineArgs, Refusal};
use super::print;
use super::rationale::RationaleArgs;
use crate::client::ClientError;
use crate::config::CONTROL_LISTEN;
use crate::dataset;
use crate::dataset::case::Case;
use crate::eval::ask::{AskError, Asker, End};
use crate::eval::baseline::{Baseline, Comparison};
use crate::eval::record::{Decider, Record};
use crate::eval::replay::recorded::{self, Export};
use crate::eval::replay::{self, Replay};
use crate::eval::report::{Report, Run};
use crate::eval::{html, results, text};
use crate::exit_code::ExitCode;

const DETAILS: &str = "\
Data is JSONL, and each line one of:
  a labelled case  {\"id\", \"context\": {…}, \"draft\", \"expected\": \"BLOCK\"} and, if wanted,
                   \"probe\", \"difficulty\", \"channel\" and \"rationale\" (which is not read)
  a pair           of the Tenacious benchmark: \"pair_id\", \"probe_id\", \"context\", \"chosen\" and
                   \"rejected\". Each side that was sent is a case, PAIR/clean or PAIR/violation;
                   the probe gives the violation's label. Pairs of B04 whose funding_confidence
                   is high or medium count as caught or not, but never as exact.

Measures:
  caught           violations that were not called PASS
  false positives  clean drafts that were not called PASS
  exact            cases with the expected label
  intervals        95 %, Wilson's score interval (1927) without continuity correction:
                   (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n), z = 1.96
  confidence       the answered label's probability
  ECE              over 10 bins of equal width, sum of n_bin/n · |accuracy - mean confidence|
                   (Naeini et al. 2015; Guo et al. 2017)
  Brier            mean over cases of the sum over the five labels of (p - o)², o = 1 for the
                   expected label, else 0: from 0 to 2 (Brier 1950)
  p                McNemar's exact test, two-sided, over the cases that changed (McNemar 1947)
  percentiles      nearest rank

A replay judges again what was decided, and tells what would change: labels and dispositions, and
whether what people reported as wrong would be right now. Its cases are the lines of `judged
decisions export`. What was masked in them is masked for the second judge too.

Examples:
  judged eval cases.jsonl --out results.jsonl     start the daemon here, keep each answer
  judged eval cases.jsonl --decider model --filter probe=E02,difficulty=hard
  judged eval cases.jsonl --decider rules       needs no model
  judged eval cases/ --addr 127.0.0.1:50551 --json
  judged eval cases/ --out new.jsonl --baseline old.jsonl --html report.html
  judged decisions export --from 7d | judged eval --replay - --bundle mine/new.toml
  judged eval --replay week.jsonl --decider rules";

/// Measure the judge on labelled cases.
///
/// Asks a daemon that runs (--addr), or one that it starts for this in the same process, and
/// reports what it caught, what it stopped wrongly and how often the label was right, with
/// intervals, calibration, latency and the cases it got wrong. Ctrl-C ends it with what is done;
/// the same --out file goes on from there.
#[derive(Args, Debug)]
#[command(after_help = DETAILS)]
pub struct EvalArgs {
    /// Files of labelled cases, or folders of `.jsonl` files.
    #[arg(value_name = "DATA", required_unless_present = "replay")]
    data: Vec<PathBuf>,

    /// Judge recorded decisions again, and tell what would change: a file of `judged decisions
    /// export`, or - for stdin.
    #[arg(long, value_name = "EXPORT.jsonl", conflicts_with_all = ["data", "filter", "baseline", "html"])]
    replay: Option<PathBuf>,

    /// Ask the daemon whose JudgeService listens here, rather than start one.
    #[arg(long, value_name = "ADDR")]
    addr: Option<String>,

    /// Where that daemon's ControlService listens.
    #[arg(long, value_name = "ADDR", default_value_t = CONTROL_LISTEN.to_string(), env = "JUDGED_CONTROL_ADDR")]
    control_addr: String,

    #[command(flatten)]
    access: AccessArgs,

    /// Whose judgement is measured: the model's alone, the daemon's as it is configured, or that
    /// of the rules alone.
    #[arg(long, value_enum, default_value = "daemon")]
    decider: Decider,

    /// Cases that are asked at the same time [default: the daemon's slots].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    concurrency: Option<u32>,

    /// Only the first N of the cases that the filter lets through.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,

    /// Only cases with these values of probe, difficulty, expected or kind (violation, clean); a
    /// key given twice means either value.
    #[arg(long, value_name = "KEY=VALUE,…")]
    filter: Option<Filter>,

    #[command(flatten)]
    rationale: RationaleArgs,

    /// The longest to wait for one answer.
    #[arg(long, value_name = "SECONDS", default_value_t = 120.0)]
    timeout: f64,

    /// Keep each answer in this file, and skip the cases that it holds already.
    #[arg(long, value_name = "RESULTS.jsonl")]
    out: Option<PathBuf>,

    /// Compare with an earlier run's --out file; ends with exit code 11 if by any measure more
    /// broke than was fixed, beyond chance (p < 0.05).
    #[arg(long, value_name = "RESULTS.jsonl")]
    baseline: Option<PathBuf>,

    /// With --baseline: end with exit code 11 if anything broke.
    #[arg(long, requires = "baseline")]
    strict: bool,

    /// Write the report as one page, which needs nothing else.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Print the whole report as one JSON document.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    engine: EngineArgs,
}

impl EvalArgs {
    /// What its own daemon may say: that it has no model is no news where none is wanted.
    pub fn log_filter(&self) -> &'static str {
        match self.decider {
            Decider::Rules => "warn,judged::engine=error",
            Decider::Daemon | Decider::Model => "warn",
        }
    }
}

/// What the command line asks for, read and checked.
struct Plan {
    cases: Vec<Case>,
    /// Where the cases come from in a replay.
    export: Option<Export>,
    baseline: Option<Baseline>,
    timeout: Duration,
}

pub fn run(args: &EvalArgs, matches: Option<&ArgMatches>) -> anyhow::Result<ExitCode> {
    let plan = match plan(args, matches) {
        Ok(plan) => plan,
        Err(error) => {
            print::error_chain(error.as_ref());
            return Ok(ExitCode::Usage);
        }
    };
    super::serve::runtime()?.block_on(measure(args, matches, &plan))
}

fn plan(args: &EvalArgs, matches: Option<&ArgMatches>) -> anyhow::Result<Plan> {
    if args.addr.is_some() {
        args.engine
            .refuse_flags(matches, &[], "--addr names one that runs")?;
    }
    let export = args.replay.as_deref().map(recorded::read).transpose()?;
    let mut cases = match &export {
        Some(export) => export.cases().cloned().collect(),
        None => dataset::read(&args.data)?,
    };
    if let Some(filter) = &args.filter {
        cases.retain(|case| filter.lets_through(case));
    }
    cases.truncate(args.limit.unwrap_or(usize::MAX));
    if cases.is_empty() {
        bail!("there is no case to judge");
    }
    let baseline = match &args.baseline {
        None => None,
        Some(path) => {
            let baseline = Baseline::new(results::read(path)?);
            if baseline.common(&cases) == 0 {
                bail!("the baseline `{}` has none of these cases", path.display());
            }
            Some(baseline)
        }
    };
    Ok(Plan {
        cases,
        export,
        baseline,
        timeout: Duration::try_from_secs_f64(args.timeout).context("`--timeout`")?,
    })
}

async fn measure(
    args: &EvalArgs,
    matches: Option<&ArgMatches>,
    plan: &Plan,
) -> anyhow::Result<ExitCode> {
    let judge = match Judge::find(args, matches, plan.timeout).await {
        Ok(judge) => judge,
        Err(error) => {
            print::error_chain(error.as_ref());
            return Ok(code_of(&error));
        }
    };
    let outcome = measure_by(args, plan, &judge).await;
    judge.end().await;
    outcome
}

async fn measure_by(args: &EvalArgs, plan: &Plan, judge: &Judge) -> anyhow::Result<ExitCode> {
    let mut kept = Kept::open(args.out.as_deref(), &plan.cases, &judge.setup)?;
    let open: Vec<&Case> = plan
        .cases
        .iter()
        .filter(|case| !kept.records.contains_key(&case.id))
        .collect();
    if !kept.records.is_empty() {
        let count = kept.records.len();
        print::say!(
            "{count} cases are answered already by the same setup: they are not asked again"
        );
    }
    let asker = Asker {
        client: judge.client.clone(),
        concurrency: args.concurrency.unwrap_or(judge.slots) as usize,
        rationale: args.rationale.mode(),
        timeout: plan.timeout,
    };
    let run = Run {
        selected: plan.cases.len() as u64,
        reused: kept.records.len() as u64,
        ..Run::default()
    };
    let mut meter = Meter::new(open.len());
    let (mut objected, mut objections) = (0, BTreeSet::new());
    let stop = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    let ended = asker
        .each(open, stop, |case, decision| {
            meter.tick();
            match judge.setup.objection(&decision) {
                None => kept.add(Record::new(case, &judge.setup, decision)),
                Some(objection) => {
                    objected += 1;
                    objections.insert(objection.to_string());
                    Ok(())
                }
            }
        })
        .await;
    meter.finish();
    let run = Run {
        objected,
        objections: objections.into_iter().collect(),
        ..run
    };
    let answers = kept.answers(&plan.cases);
    if let Some(export) = &plan.export {
        let replay = Replay::new(judge.setup.clone(), run, export, &answers);
        match args.json {
            true => print::line(serde_json::to_string_pretty(&replay)?)?,
            false => print::styled(replay::text::render(&replay).trim_end())?,
        }
        return Ok(verdict(args, &replay.run, None, ended));
    }
    let rules = &judge.answer_rules;
    let report = Report::new(
        judge.setup.clone(),
        run,
        &answers,
        rules,
        plan.baseline.as_ref(),
    );
    // The page is written even where nobody reads stdout, and the other way round.
    let page = args.html.as_ref().map_or(Ok(()), |path| {
        fs::write(path, html::render(&report))
            .with_context(|| format!("cannot write `{}`", path.display()))
    });
    match args.json {
        true => print::line(serde_json::to_string_pretty(&report)?)?,
        false => print::styled(text::render(&report).trim_end())?,
    }
    page?;
    let comparison = report.baseline.as_ref();
    Ok(verdict(args, &report.run, comparison, ended))
}

/// How it ends; what failed goes before what was found.
fn verdict(
    args: &EvalArgs,
    run: &Run,
    comparison: Option<&Comparison>,
    ended: Result<End, AskError>,
) -> ExitCode {
    let hint = match args.out {
        Some(_) => "run the same command again to go on",
        None => "with --out a later run can go on",
    };
    let (answered, selected) = (run.answered, run.selected);
    match ended {
        Err(error) => {
            print::error_chain(&error);
            print::say!("{answered} of {selected} cases are done: {hint}");
            match &error {
                AskError::Case { source, .. } => ExitCode::from(source),
                AskError::Keep(_) | AskError::Task(_) => ExitCode::Failed,
            }
        }
        Ok(End::Stopped) => {
            print::say!("stopped: {answered} of {selected} cases are done: {hint}");
            ExitCode::Failed
        }
        Ok(End::Complete) if run.objected > 0 => {
            let (count, reasons) = (run.objected, run.objections.join("; "));
            print::say!("error: answers that are not of what is measured: {count} ({reasons})");
            ExitCode::Degraded
        }
        Ok(End::Complete) => match comparison {
            Some(comparison) if comparison.is_worse(args.strict) => ExitCode::Worse,
            _ => ExitCode::Ok,
        },
    }
}

fn code_of(error: &anyhow::Error) -> ExitCode {
    if let Some(error) = error.downcast_ref::<ClientError>() {
        return ExitCode::from(error);
    }
    let refusal = error.downcast_ref::<Refusal>();
    refusal.map_or(ExitCode::Failed, ExitCode::from)
}
