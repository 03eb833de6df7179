mod nats;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use self::nats::NatsArgs;
use super::daemon::Daemon;
use super::print;
use crate::client::Client;
use crate::exit_code::ExitCode;
use crate::metrics::endpoint;
use crate::verdict::RationaleMode;
use crate::worker::nats::NatsError;
use crate::worker::queue::{Creation, Names, Queue};
use crate::worker::{Counts, Limits, Worker};

const DETAILS: &str = "\
A message is one draft, as `judged judge` reads it: {\"context\": {…}, \"draft\": \"…\"} and, if wanted,
\"channel\" and \"id\"; or a labelled case. Without an id the message's Nats-Msg-Id is its request id, else
its place in the stream. A verdict is what `judged judge --json` prints, with that id as Nats-Msg-Id.

What becomes of a draft:
  judged            the verdict is published once for each id, then the draft is acknowledged
  interrupted       it comes again after --ack-wait; the daemon gives the decision that it has, and the
                    stream drops a verdict that it has
  daemon away/full  it waits, and tells the server so; after --patience all but one are given back, and
                    nothing more is pulled until the daemon answers
  failed            given back, as after --timeout, and tried again after 1 s, 2 s, 4 s … 60 s
  poison            no draft, refused by the daemon, or failed when it was delivered more than --max-deliver
                    times (or ten times as often, whatever the deliveries ended in): published as it came
                    to --dead, with the headers Judged-Reason and Judged-Error, and taken off

Workers with the same --consumer share the drafts: start as many as there are daemons to feed. SIGTERM
ends one: what it has is finished within --drain-timeout, or comes again to another.

Examples:
  judged worker --create                          streams and consumer, where they are missing
  judged worker --addr 10.0.0.7:50551 --in-flight 16 --nats nats://10.0.0.2:4222
  nats pub judged.drafts '{\"id\": \"m-1\", \"context\": {}, \"draft\": \"Hi\"}'

docs/scaling.md tells more.";

/// Judge drafts from a queue, and publish the verdicts.
///
/// Pulls drafts from a stream of NATS JetStream, asks a running daemon about each, publishes the verdict
/// to another subject, and only then acknowledges the draft. Ends at SIGTERM or SIGINT, and prints what
/// it has done.
#[derive(Args, Debug)]
#[command(after_help = DETAILS)]
pub struct WorkerArgs {
    #[command(flatten)]
    nats: NatsArgs,

    /// The stream that drafts are in.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "judged-drafts",
        env = "JUDGED_WORKER_STREAM"
    )]
    stream: String,

    /// The durable consumer of that stream; workers with the same one share the drafts.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "judged-worker",
        env = "JUDGED_WORKER_CONSUMER"
    )]
    consumer: String,

    /// Where verdicts are published.
    #[arg(
        long,
        value_name = "SUBJECT",
        default_value = "judged.verdicts",
        env = "JUDGED_WORKER_VERDICTS"
    )]
    verdicts: String,

    /// Where poison is published, as it came.
    #[arg(
        long,
        value_name = "SUBJECT",
        default_value = "judged.dead",
        env = "JUDGED_WORKER_DEAD"
    )]
    dead: String,

    /// Drafts that are at the daemon, or wait for it, at the same time.
    #[arg(long, value_name = "N", default_value_t = 8, env = "JUDGED_WORKER_IN_FLIGHT", value_parser = clap::value_parser!(u32).range(1..=4096))]
    in_flight: u32,

    /// A draft that fails when it was delivered more often is poison. An outage of the daemon is no
    /// failure.
    #[arg(long, value_name = "N", default_value_t = 10, env = "JUDGED_WORKER_MAX_DELIVER", value_parser = clap::value_parser!(i64).range(1..))]
    max_deliver: i64,

    /// Ask for the label alone, which is faster.
    #[arg(long, env = "JUDGED_WORKER_NO_RATIONALE")]
    no_rationale: bool,

    /// The deadline of each request.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 60.0,
        env = "JUDGED_WORKER_TIMEOUT"
    )]
    timeout: f64,

    /// How long a draft waits for a daemon that is away or full, until it is given back.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 30.0,
        env = "JUDGED_WORKER_PATIENCE"
    )]
    patience: f64,

    /// At the end, how long drafts may still take.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 20.0,
        env = "JUDGED_WORKER_DRAIN_TIMEOUT"
    )]
    drain_timeout: f64,

    /// Make the streams and the consumer where they are missing; the options below are for that alone.
    /// Drafts stay until they are done with, verdicts and dead letters for 30 days.
    #[arg(long, env = "JUDGED_WORKER_CREATE")]
    create: bool,

    /// With --create: where drafts are published.
    #[arg(
        long,
        value_name = "SUBJECT",
        default_value = "judged.drafts",
        env = "JUDGED_WORKER_DRAFTS"
    )]
    drafts: String,

    /// With --create: servers that keep each stream.
    #[arg(long, value_name = "N", default_value_t = 1, env = "JUDGED_WORKER_REPLICAS", value_parser = clap::value_parser!(u8).range(1..=5))]
    replicas: u8,

    /// With --create: how long an id stands for one draft, and for one verdict. The server keeps the ids
    /// of that time in memory.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 3600.0,
        env = "JUDGED_WORKER_DUPLICATE_WINDOW"
    )]
    duplicate_window: f64,

    /// With --create: a draft of which a worker says nothing for so long goes to another.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 30.0,
        env = "JUDGED_WORKER_ACK_WAIT"
    )]
    ack_wait: f64,

    /// With --create: drafts that all workers together may have.
    #[arg(long, value_name = "N", default_value_t = 1024, env = "JUDGED_WORKER_MAX_ACK_PENDING", value_parser = clap::value_parser!(i64).range(1..))]
    max_ack_pending: i64,

    #[command(flatten)]
    daemon: Daemon,

    /// Where metrics are served for Prometheus, at /metrics, such as 127.0.0.1:9465; nowhere if not given.
    #[arg(long, value_name = "IP:PORT", env = "JUDGED_WORKER_METRICS_LISTEN")]
    metrics_listen: Option<SocketAddr>,

    /// Let --metrics-listen be beyond the loopback, where anyone who reaches it reads them.
    #[arg(long, env = "JUDGED_WORKER_ALLOW_INSECURE_LISTEN")]
    allow_insecure_listen: bool,

    /// At the end, print what was done as JSON.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &WorkerArgs) -> anyhow::Result<ExitCode> {
    let read = || -> anyhow::Result<_> {
        args.check_metrics_listen()?;
        Ok((args.limits()?, args.creation()?))
    };
    let (limits, creation) = match read() {
        Ok(read) => read,
        Err(error) => {
            print::error_chain(error.as_ref());
            return Ok(ExitCode::Usage);
        }
    };
    super::run_to_end(super::runtime()?, work(args, limits, creation))
}

async fn work(
    args: &WorkerArgs,
    limits: Limits,
    creation: Option<Creation>,
) -> anyhow::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let client = Client::connect_lazy(&args.daemon.addr, &args.daemon.access.read()?)?;
    let listener = match args.metrics_listen {
        Some(addr) => Some(bind(addr).await?),
        None => None,
    };
    let nats = match args.nats.connect().await? {
        Ok(nats) => nats,
        Err(error) => {
            print::error_chain(&error);
            return Ok(match error {
                NatsError::Connect { .. } => ExitCode::Unreachable,
                NatsError::Address { .. } | NatsError::Credentials(_) => ExitCode::Usage,
            });
        }
    };
    let most = limits.most_deliveries();
    let queue = match Queue::open(nats, &args.names(), creation, most).await {
        Ok(queue) => queue,
        Err(error) => {
            print::error_chain(&error);
            return Ok(ExitCode::Failed);
        }
    };
    tracing::info!(stream = args.stream, addr = args.daemon.addr, "working");
    let stop = CancellationToken::new();
    let worker = Arc::new(Worker::new(queue, client, limits, stop.clone()));
    if let Some(listener) = listener {
        let metrics_addr = listener.local_addr()?;
        // To the end of the drain, which is that of the process.
        let never = CancellationToken::new();
        tokio::spawn(endpoint::serve(listener, worker.metrics(), never));
        tracing::info!(%metrics_addr, "metrics are served");
    }
    let mut working = tokio::spawn(worker.run());
    let counts = tokio::select! {
        counts = &mut working => counts?,
        _ = terminate.recv() => ended(&stop, &mut working, [terminate, interrupt]).await?,
        _ = interrupt.recv() => ended(&stop, &mut working, [terminate, interrupt]).await?,
    };
    match args.json {
        true => print::out!("{}", to_json(&counts)),
        false => print::out!("{counts}"),
    }
    Ok(ExitCode::Ok)
}

async fn bind(addr: SocketAddr) -> anyhow::Result<TcpListener> {
    let bound = TcpListener::bind(addr).await;
    bound.with_context(|| format!("cannot listen on `{addr}`"))
}

/// Drains; a second signal, of whichever kind, ends it at once.
async fn ended(
    stop: &CancellationToken,
    working: &mut tokio::task::JoinHandle<Counts>,
    [mut terminate, mut interrupt]: [Signal; 2],
) -> anyhow::Result<Counts> {
    stop.cancel();
    tokio::select! {
        counts = working => return Ok(counts?),
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    anyhow::bail!("a second signal: ending at once; drafts in flight come again")
}

fn to_json(counts: &Counts) -> serde_json::Value {
    json!({
        "delivered": counts.delivered,
        "redelivered": counts.redelivered,
        "judged": counts.judged,
        "published": counts.published,
        "known_already": counts.known,
        "dead_letters": counts.dead_letters(),
        "failed": counts.failed,
        "given_back": counts.given_back,
    })
}

impl WorkerArgs {
    fn names(&self) -> Names {
        Names {
            stream: self.stream.clone(),
            drafts: self.drafts.clone(),
            consumer: self.consumer.clone(),
            verdicts: self.verdicts.clone(),
            dead: self.dead.clone(),
        }
    }

    fn check_metrics_listen(&self) -> anyhow::Result<()> {
        let public = self.metrics_listen.filter(|addr| !addr.ip().is_loopback());
        if let Some(addr) = public.filter(|_| !self.allow_insecure_listen) {
            anyhow::bail!(
                "`--metrics-listen`: `{addr}` is not on the loopback, and anyone who reaches it could \
                 read: give `--allow-insecure-listen` if that is meant"
            );
        }
        Ok(())
    }

    fn limits(&self) -> anyhow::Result<Limits> {
        Ok(Limits {
            in_flight: self.in_flight,
            max_deliver: self.max_deliver,
            timeout: seconds("--timeout", self.timeout)?,
            patience: seconds("--patience", self.patience)?,
            drain_timeout: seconds("--drain-timeout", self.drain_timeout)?,
            rationale: match self.no_rationale {
                true => RationaleMode::None,
                false => RationaleMode::Sentence,
            },
        })
    }

    fn creation(&self) -> anyhow::Result<Option<Creation>> {
        Ok(self.create.then_some(Creation {
            replicas: self.replicas.into(),
            duplicate_window: seconds("--duplicate-window", self.duplicate_window)?,
            ack_wait: seconds("--ack-wait", self.ack_wait)?,
            max_ack_pending: self.max_ack_pending,
        }))
    }
}

fn seconds(flag: &'static str, seconds: f64) -> anyhow::Result<Duration> {
    let duration = Duration::try_from_secs_f64(seconds).with_context(|| format!("`{flag}`"))?;
    anyhow::ensure!(!duration.is_zero(), "`{flag}` must be above 0");
    Ok(duration)
}
