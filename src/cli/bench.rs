mod plan;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{ArgMatches, Args};

use self::plan::{Plan, positive, share};
use super::access::AccessArgs;
use super::own_daemon::{EngineArgs, OwnDaemon, Refusal, settled};
use super::print;
use super::rationale::RationaleArgs;
use crate::bench::compare::{Comparison, Round};
use crate::bench::daemon::DaemonTarget;
use crate::bench::drive::{Amount, Driven, Load, Target, drive};
use crate::bench::engine::{Engine, Raw};
use crate::bench::llama_server::{LlamaServer, ServerError, ServerInfo};
use crate::bench::report::{Report, Run, Setup, TargetName};
use crate::bench::workload::Request;
use crate::bench::{html, text};
use crate::client::{Access, Client, ClientError, Status};
use crate::config::{CONTROL_LISTEN, LISTEN};
use crate::eval::record::Decider;
use crate::exit_code::ExitCode;
use crate::models::Bundle;

const DETAILS: &str = "\
Data is what `judged eval` reads, or cases without a label as `judged judge` reads them. Its drafts are
asked about in order, again and again, each time for another prospect, whose id stands first in the
context: no cache holds what follows. A share of the requests (--repeat-contexts) has the very context
of an earlier one, with another draft of that context or the same one with a sentence more.

Load:
  closed loop      --concurrency N: so many callers, each of whom sends the next request on its answer
  open loop        --rate R: so many a second, as a Poisson process, answered or not. Latency counts
                   from the moment at which a request was due, sent late or not.

Measures:
  to label         until the `verdict` event; to answer: until the sentence is there too
  percentiles      nearest rank, over the answers alone
  shed             refused for want of room (RESOURCE_EXHAUSTED)
  evaluated        prompt tokens that no cache held; spared: those that one held
  prefill, decode  tokens over the time that the engine spent on them, by its own counters; with
                   --raw-prefill and --raw-decode over llama.cpp's own rates, see `judged doctor`

Each request is decided, recorded and counted as any other: give the daemon a --state-dir of its own.

Examples:
  judged bench --concurrency 8 --requests 200
  judged bench cases/ --rate 0.5 --duration 120 --repeat-contexts 0.5 --rationale none
  judged bench --sweep 0.2,0.4,0.8,1.6 --duration 60 --html sweep.html
  judged bench --in-process --slots 8 --concurrency 8
  judged bench --against http://127.0.0.1:8080 --concurrency 8 --rounds 3 --json";

/// Put a load on a daemon, and measure how it bears it.
///
/// With --against the same prompts go to a llama-server with the same model too, in turns, and both
/// are compared.
#[derive(Args, Debug)]
#[command(after_help = DETAILS)]
pub struct BenchArgs {
    /// Files of cases, or folders of `.jsonl` files [default: the model card's examples].
    #[arg(value_name = "DATA")]
    data: Vec<PathBuf>,

    /// Requests of each run [default: 100, or as many as --duration lets].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    requests: Option<u32>,

    /// Send for so long in each run, then wait for what was sent.
    #[arg(long, value_name = "SECONDS", conflicts_with = "requests", value_parser = positive)]
    duration: Option<f64>,

    /// Requests on their way at the same time, in a closed loop.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=4096))]
    concurrency: u32,

    /// Requests a second, in an open loop.
    #[arg(long, value_name = "R", conflicts_with = "concurrency", value_parser = positive)]
    rate: Option<f64>,

    /// An open loop at each of these rates, one after the other.
    #[arg(long, value_name = "R1,R2,…", value_delimiter = ',', conflicts_with_all = ["concurrency", "rate"], value_parser = positive)]
    sweep: Vec<f64>,

    /// Share of the requests that have an earlier one's context: 0 to 1.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    repeat_contexts: f64,

    #[command(flatten)]
    rationale: RationaleArgs,

    /// The deadline of each request.
    #[arg(long, value_name = "SECONDS", default_value_t = 120.0, value_parser = positive)]
    deadline: f64,

    /// Requests that are sent before each target's first run, and count nowhere [default: as many as
    /// are on their way at the same time, 1 in an open loop].
    #[arg(long, value_name = "N")]
    warm_up: Option<u32>,

    /// Decides when requests come in an open loop, and which repeat a context.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Start a daemon in this process for it, and end it then: --addr is not asked.
    #[arg(long)]
    in_process: bool,

    /// Where JudgeService listens.
    #[arg(long, value_name = "ADDR", default_value_t = LISTEN.to_string(), env = "JUDGED_ADDR")]
    addr: String,

    /// Where that daemon's ControlService listens; where it does not, the engine's own figures are
    /// left out.
    #[arg(long, value_name = "ADDR", default_value_t = CONTROL_LISTEN.to_string(), env = "JUDGED_CONTROL_ADDR")]
    control_addr: String,

    #[command(flatten)]
    access: AccessArgs,

    /// Connections that requests go over in turn.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    connections: u16,

    /// Prefill of llama.cpp alone: `prefill_tokens_per_second` of `judged doctor --json`.
    #[arg(long, value_name = "TOKENS/S", value_parser = positive)]
    raw_prefill: Option<f64>,

    /// Decode of llama.cpp alone: `decode_tokens_per_second` of `judged doctor --json`.
    #[arg(long, value_name = "TOKENS/S", value_parser = positive)]
    raw_decode: Option<f64>,

    /// Ask a llama-server the same, in turns with the daemon, by the template of --bundle.
    #[arg(long, value_name = "URL", conflicts_with_all = ["duration", "sweep"])]
    against: Option<String>,

    /// With --against: how often each is driven.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "against", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// Write the figures into this file too, as JSON.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,

    /// Write the figures as one page, which needs nothing else.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Print one JSON document.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    engine: EngineArgs,
}

pub fn run(args: &BenchArgs, matches: Option<&ArgMatches>) -> anyhow::Result<ExitCode> {
    let plan = match Plan::new(args, matches) {
        Ok(plan) => plan,
        Err(error) => {
            print::error_chain(error.as_ref());
            return Ok(ExitCode::Usage);
        }
    };
    super::serve::runtime()?.block_on(measure(args, matches, plan))
}

async fn measure(
    args: &BenchArgs,
    matches: Option<&ArgMatches>,
    plan: Plan,
) -> anyhow::Result<ExitCode> {
    if !args.in_process {
        let access = args.access.read()?;
        return measure_at(args, plan, &args.addr, &args.control_addr, &access).await;
    }
    let own = match own(args, matches, plan.deadline).await {
        Ok(own) => own,
        Err(error) => return failed(error),
    };
    let (addr, control) = own.addresses();
    let outcome = measure_at(args, plan, &addr, &control, &Access::default()).await;
    own.end().await;
    outcome
}

/// A daemon of our own, with its model loaded.
async fn own(
    args: &BenchArgs,
    matches: Option<&ArgMatches>,
    deadline: Duration,
) -> anyhow::Result<OwnDaemon> {
    let own = args.engine.start(Decider::Daemon, matches, deadline);
    let own = own.await?;
    let (_, control) = own.addresses();
    let status = settled(Client::connect(&control).await?).await?;
    match status.degraded_reason {
        None => Ok(own),
        Some(reason) => {
            own.end().await;
            Err(Refusal::Degraded(reason).into())
        }
    }
}

async fn measure_at(
    args: &BenchArgs,
    plan: Plan,
    addr: &str,
    control_addr: &str,
    access: &Access,
) -> anyhow::Result<ExitCode> {
    let rationale = args.rationale.mode();
    let connections = usize::from(args.connections);
    let daemon = DaemonTarget::connect(addr, access, connections, rationale, plan.deadline).await?;
    let mut bench = Bench {
        control: Counters::connect(control_addr, access).await,
        raw: Raw {
            prefill: args.raw_prefill,
            decode: args.raw_decode,
        },
        runs: Vec::new(),
        notes: Vec::new(),
        daemon,
        plan,
    };
    let compared = match (&args.against, bench.plan.bundle.clone()) {
        (Some(url), Some(bundle)) => match bench.against(url, &bundle, args).await {
            Ok(compared) => Some(compared),
            Err(error) => return failed(error),
        },
        _ => {
            bench.alone().await?;
            None
        }
    };
    let (against, comparison) = compared.unzip();
    let report = Report {
        judged: env!("CARGO_PKG_VERSION"),
        setup: Setup {
            addr: addr.to_owned(),
            connections,
            against,
            drafts: bench.plan.drafts.len(),
            repeat_contexts: args.repeat_contexts,
            rationale,
            deadline_seconds: args.deadline,
            seed: args.seed,
        },
        runs: bench.runs,
        comparison,
        notes: bench.notes,
    };
    write(args, &report)?;
    Ok(ending(&report))
}

/// Both files are written even where nobody reads stdout.
fn write(args: &BenchArgs, report: &Report) -> anyhow::Result<()> {
    let json = serde_json::to_string_pretty(report)?;
    let files = [
        (&args.save, json.clone() + "\n"),
        (&args.html, html::render(report)),
    ];
    let mut outcome = Ok(());
    for (path, text) in files {
        if let Some(path) = path {
            let written = fs::write(path, text);
            let written = written.with_context(|| format!("cannot write `{}`", path.display()));
            outcome = outcome.and(written);
        }
    }
    match args.json {
        true => print::line(json)?,
        false => print::line(text::render(report).trim_end())?,
    }
    outcome
}

/// What is shed, or late, under a load is a finding; another refusal is not.
fn ending(report: &Report) -> ExitCode {
    match report.runs.iter().any(|run| run.broken() > 0) {
        true => ExitCode::Refused,
        false => ExitCode::Ok,
    }
}

fn failed(error: anyhow::Error) -> anyhow::Result<ExitCode> {
    if let Some(refusal) = error.downcast_ref::<Refusal>() {
        print::error_chain(refusal);
        return Ok(ExitCode::from(refusal));
    }
    let code = match error.downcast_ref::<ServerError>() {
        Some(ServerError::Unreachable { .. }) => ExitCode::Unreachable,
        Some(ServerError::Grammar | ServerError::Template(_) | ServerError::Context(_)) => {
            ExitCode::Usage
        }
        Some(ServerError::Answer { .. }) => ExitCode::Failed,
        None => return Err(error),
    };
    print::error_chain(error.as_ref());
    Ok(code)
}

/// Who is driven, and what came of it so far.
struct Bench {
    plan: Plan,
    daemon: DaemonTarget,
    control: Counters,
    raw: Raw,
    runs: Vec<Run>,
    notes: Vec<String>,
}

impl Bench {
    async fn alone(&mut self) -> anyhow::Result<()> {
        self.warm_up(&self.daemon, self.plan.warming()).await?;
        for (number, load) in self.plan.loads.clone().into_iter().enumerate() {
            let requests = self.plan.workload(&number.to_string());
            self.daemon_run(load, requests).await?;
        }
        Ok(())
    }

    /// The same requests to both in each round. What a round asks, no other has asked.
    async fn against(
        &mut self,
        url: &str,
        bundle: &Bundle,
        args: &BenchArgs,
    ) -> anyhow::Result<(ServerInfo, Comparison)> {
        let (Amount::Requests(count), &[load]) = (self.plan.amount, &self.plan.loads[..]) else {
            bail!("a comparison is of one load, and of so many requests");
        };
        let rationale = args.rationale.mode();
        let server = LlamaServer::new(url, bundle, rationale, self.plan.deadline)?;
        let info = tokio::task::block_in_place(|| server.info())?;
        let prepare =
            |requests: &[Request]| tokio::task::block_in_place(|| server.prepare(requests));
        let warming: Vec<Request> = self.plan.warming().collect();
        self.warm_up(&self.daemon, warming.iter().cloned()).await?;
        let target = prepare(&warming)?;
        self.warm_up(&target, warming.into_iter()).await?;
        let mut rounds = Vec::new();
        for number in 0..args.rounds {
            let requests: Vec<Request> = self
                .plan
                .workload(&number.to_string())
                .take(count)
                .collect();
            let target = prepare(&requests)?;
            let daemon = self.daemon_run(load, requests.iter().cloned()).await?;
            let requests = requests.into_iter();
            let llama_server =
                drive(&target, load, self.plan.amount, self.plan.seed, requests).await?;
            self.runs
                .push(Run::new(TargetName::LlamaServer, load, &llama_server, None));
            rounds.push(Round {
                daemon,
                llama_server,
            });
        }
        self.doubts(&rounds, info.adapters, bundle.adapter.is_some());
        Ok((info, Comparison::of(&rounds)))
    }

    async fn daemon_run(
        &mut self,
        load: Load,
        requests: impl Iterator<Item = Request>,
    ) -> anyhow::Result<Driven> {
        let before = self.control.read().await;
        let driven = drive(
            &self.daemon,
            load,
            self.plan.amount,
            self.plan.seed,
            requests,
        )
        .await?;
        let after = self.control.read().await;
        let run = Run::new(TargetName::Daemon, load, &driven, None);
        let engine = match (before, after) {
            (Ok(before), Ok(after)) => {
                let engine = Engine::between(&before, &after, run.answered, self.raw);
                engine.ok_or_else(|| "the ControlService is another daemon's".to_owned())
            }
            (Err(error), _) | (_, Err(error)) => Err(error.to_string()),
        };
        let engine = engine.map_err(|problem| {
            self.note(format!(
                "no figures of the engine: {problem} (--control-addr)"
            ));
        });
        self.runs.push(Run {
            engine: engine.ok(),
            ..run
        });
        Ok(driven)
    }

    /// What is asked first pays for what is done once, such as reading the rubric.
    async fn warm_up<T: Target>(
        &self,
        target: &T,
        requests: impl Iterator<Item = Request>,
    ) -> anyhow::Result<()> {
        let load = Load::Closed {
            concurrency: self.plan.warm_up.max(1),
        };
        let amount = Amount::Requests(self.plan.warm_up);
        drive(target, load, amount, self.plan.seed, requests).await?;
        Ok(())
    }

    /// Why the two may not be comparable.
    fn doubts(&mut self, rounds: &[Round], adapters: usize, has_adapter: bool) {
        let by_rules: u64 = self.runs.iter().map(|run| run.by_rules).sum();
        if by_rules > 0 {
            self.note(format!(
                "{by_rules} answers are of the daemon's rules, and cost it nothing: \
                 compare with a daemon whose model decides, started with --hard-rules none"
            ));
        }
        if has_adapter != (adapters > 0) {
            self.note(format!(
                "the bundle has {} adapter and the server {adapters}: start it with --lora as the bundle says",
                if has_adapter { "an" } else { "no" }
            ));
        }
        let prompts = Comparison::of(rounds).equal_prompts;
        if prompts.k < prompts.n {
            self.note("some prompts differ in length: is it the same model?".to_owned());
        }
    }

    fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}

/// The counters of a daemon, where they can be read.
struct Counters(Result<Client, ClientError>);

impl Counters {
    async fn connect(addr: &str, access: &Access) -> Self {
        Self(Client::connect_with(addr, access).await)
    }

    async fn read(&mut self) -> Result<Status, String> {
        let client = self.0.as_mut().map_err(|error| error.to_string())?;
        client.status().await.map_err(|error| error.to_string())
    }
}
