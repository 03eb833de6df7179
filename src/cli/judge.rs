mod questions;

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::mpsc;

use self::questions::Case;
use super::daemon::Daemon;
use super::print;
use crate::channel::Channel;
use crate::client::{Client, ClientError, Question};
use crate::eval::text::plain;
use crate::exit_code::ExitCode;
use crate::names::UnknownName;
use crate::verdict::{Decision, Disposition, Label, RationaleMode};

const EXAMPLES: &str = "\
Examples:
  judged judge --context '{\"disqualifiers\": [\"anti_offshore\"]}' --draft 'Hi Amir, …'
  judged judge --context prospect.json --draft @mail.txt --channel sms
  judged judge case.json                 one case, or a JSON array of them
  judged judge - < cases.jsonl           one case a line; answers as they come
  judged judge --fail-on any case.json && send-mail

A case is an object: {\"context\": {…}, \"draft\": \"…\"} and, if wanted, \"channel\"
(email, sms, linkedin), \"request_id\" (an idempotency key) and \"name\".";

/// Ask the daemon to judge one draft, or many.
///
/// Cases come from --context and --draft, from a file, or from stdin. Answers go to stdout in
/// completion order, one JSON object a line with --json.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct JudgeArgs {
    /// A file of cases (JSON or JSONL), or `-` for stdin.
    #[arg(value_name = "FILE", conflicts_with_all = ["context", "draft"])]
    file: Option<PathBuf>,

    /// What is known of the prospect: JSON, or the path of a JSON file.
    #[arg(long, value_name = "JSON|FILE", requires = "draft")]
    context: Option<String>,

    /// The text that would be sent; `@FILE` reads it from a file.
    #[arg(long, value_name = "TEXT|@FILE", requires = "context")]
    draft: Option<String>,

    /// How the draft would be sent, where a case does not say so itself.
    #[arg(long, value_name = "CHANNEL")]
    channel: Option<Channel>,

    /// Ask for the label alone, which is faster.
    #[arg(long)]
    no_rationale: bool,

    /// Ask for the rule and the words on which it rests, rather than for a sentence: sooner.
    #[arg(long, conflicts_with = "no_rationale")]
    evidence: bool,

    /// End with exit code 10 if an answer has one of these labels; `any` means
    /// any answer whose disposition is not DISPATCH, a held PASS too.
    #[arg(long, value_name = "any|LABEL,…")]
    fail_on: Option<FailOn>,

    /// Cases that are asked at the same time.
    #[arg(long, value_name = "N", default_value_t = 4)]
    concurrency: usize,

    /// The longest to wait for one answer.
    #[arg(long, value_name = "SECONDS", default_value_t = 120.0)]
    timeout: f64,

    #[command(flatten)]
    daemon: Daemon,

    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &JudgeArgs) -> anyhow::Result<ExitCode> {
    let timeout = Duration::try_from_secs_f64(args.timeout).context("`--timeout`");
    let (timeout, cases) = match timeout.and_then(|timeout| Ok((timeout, questions::read(args)?))) {
        Ok(read) => read,
        Err(error) => {
            print::error_chain(error.as_ref());
            return Ok(ExitCode::Usage);
        }
    };
    super::run_to_end(super::runtime()?, ask_all(args, cases, timeout))
}

async fn ask_all(
    args: &JudgeArgs,
    cases: questions::Cases,
    timeout: Duration,
) -> anyhow::Result<ExitCode> {
    let access = args.daemon.access.read()?;
    let client = match Client::connect_with(&args.daemon.addr, &access).await {
        Ok(client) => client,
        Err(error) => {
            print::error_chain(&error);
            return Ok(ExitCode::from(&error));
        }
    };
    let total = cases.len();
    let (answers, mut inbox) = mpsc::channel(args.concurrency.max(1));
    let ask = Ask {
        client,
        channel: args.channel,
        rationale: match (args.no_rationale, args.evidence) {
            (true, _) => RationaleMode::None,
            (false, true) => RationaleMode::Evidence,
            (false, false) => RationaleMode::Sentence,
        },
        timeout,
        concurrency: args.concurrency.max(1),
    };
    let asking = tokio::spawn(ask.each(cases, answers));
    let bar = progress(total);
    let mut end = ExitCode::Ok;
    while let Some((case, outcome)) = inbox.recv().await {
        bar.inc(1);
        let name = case.name.as_deref();
        let code = match &outcome {
            Ok(decision) => match &args.fail_on {
                Some(fail_on) if fail_on.meets(decision) => ExitCode::LabelMet,
                _ => ExitCode::Ok,
            },
            Err(error) => ExitCode::from(error),
        };
        end = worse(end, code);
        let line = match (&outcome, args.json) {
            (Ok(decision), true) => {
                print::decision_json(name, &case.request_id, decision).to_string()
            }
            (Ok(decision), false) => print::decision_text(name, decision) + "\n",
            (Err(error), true) => print::error_json(name, &case.request_id, error).to_string(),
            (Err(error), false) => {
                bar.suspend(|| {
                    print::say!("# {}", plain(name.unwrap_or("case")));
                    print::error_chain(error);
                });
                continue;
            }
        };
        bar.suspend(|| print::line(line))?;
    }
    bar.finish_and_clear();
    match asking.await {
        Ok(Ok(())) => Ok(end),
        Ok(Err(error)) => {
            print::error_chain(error.as_ref());
            Ok(ExitCode::Usage)
        }
        Err(panic) => bail!("{panic}"),
    }
}

type Answer = (Case, Result<Decision, ClientError>);

struct Ask {
    client: Client,
    channel: Option<Channel>,
    rationale: RationaleMode,
    timeout: Duration,
    concurrency: usize,
}

impl Ask {
    async fn each(
        self,
        mut cases: questions::Cases,
        answers: mpsc::Sender<Answer>,
    ) -> anyhow::Result<()> {
        let places = std::sync::Arc::new(tokio::sync::Semaphore::new(self.concurrency));
        loop {
            let place = std::sync::Arc::clone(&places).acquire_owned().await?;
            // Lines are read as they are needed: a pipe may never end.
            let (case, rest) = tokio::task::spawn_blocking(move || (cases.next(), cases)).await?;
            cases = rest;
            let Some(case) = case else { return Ok(()) };
            let case = case?;
            let mut client = self.client.clone();
            let answers = answers.clone();
            let question = Question {
                request_id: case.request_id.clone(),
                context_json: case.context_json.clone(),
                draft: case.draft.clone(),
                channel: case.channel.or(self.channel),
                rationale: self.rationale,
                timeout: Some(self.timeout),
            };
            tokio::spawn(async move {
                let outcome = client.judge(question).await;
                let _ = answers.send((case, outcome)).await;
                drop(place);
            });
        }
    }
}

/// Which answers are a failure.
#[derive(Clone, Debug)]
enum FailOn {
    /// Whatever may not be sent as it is.
    Any,
    Labels(BTreeSet<Label>),
}

impl FailOn {
    fn meets(&self, decision: &Decision) -> bool {
        match self {
            FailOn::Any => decision.disposition != Disposition::Dispatch,
            FailOn::Labels(labels) => labels.contains(&decision.label),
        }
    }
}

impl FromStr for FailOn {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "any" {
            return Ok(FailOn::Any);
        }
        let labels = text.split(',').map(|name| name.trim().parse());
        Ok(FailOn::Labels(labels.collect::<Result<_, _>>()?))
    }
}

/// A refusal tells more than a label that was met, and is told last.
fn worse(one: ExitCode, other: ExitCode) -> ExitCode {
    let weight = |code: ExitCode| match code {
        ExitCode::Ok => 0,
        ExitCode::LabelMet => 1,
        _ => 2,
    };
    if weight(other) > weight(one) {
        other
    } else {
        one
    }
}

/// A bar on a terminal, nothing elsewhere; for one case there is nothing to show.
fn progress(total: Option<u64>) -> ProgressBar {
    if total == Some(1) || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match total {
        Some(total) => (
            ProgressBar::new(total),
            "{bar:30} {pos}/{len} judged, {eta} left",
        ),
        None => (
            ProgressBar::new_spinner(),
            "{spinner} {pos} judged, {per_sec}",
        ),
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
