//! The command line: one file a subcommand. Data goes to stdout, the rest to stderr.

mod access;
mod bench;
mod completions;
mod control;
mod convert_adapter;
mod daemon;
mod decisions;
mod doctor;
mod eval;
mod gpu_trial;
mod health;
mod judge;
mod kill_switch;
mod mode;
mod own_daemon;
mod print;
mod pull;
mod rationale;
mod record;
mod report;
mod serve;
mod spot_check;
mod status;
mod token;
mod worker;

use std::io::IsTerminal;

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use tracing_subscriber::EnvFilter;

use crate::client::ClientError;
use crate::exit_code::{self, ExitCode};

/// Decides whether an AI-written sales e-mail may be sent.
///
/// `judged serve` is the daemon: it runs a small language model behind gRPC,
/// and answers SUPPRESS, ESCALATE, BLOCK, PENALISE or PASS with one sentence
/// that says why. The other commands bring the model, ask the daemon, and
/// tell how it is.
#[derive(Debug, Parser)]
#[command(version, after_help = exit_code::HELP, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,

    /// How log lines are written, on stderr.
    #[arg(
        long,
        global = true,
        value_enum,
        default_value = "text",
        env = "JUDGED_LOG_FORMAT"
    )]
    log_format: LogFormat,

    /// What is logged: a level, or a filter such as `judged=debug,llama-cpp-2=info`. `judged eval`
    /// and `judged bench` log warnings only, unless asked.
    #[arg(
        long,
        global = true,
        value_name = "FILTER",
        default_value = "info",
        env = "JUDGED_LOG"
    )]
    log: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(Box<serve::ServeArgs>),
    Judge(judge::JudgeArgs),
    Eval(Box<eval::EvalArgs>),
    Bench(Box<bench::BenchArgs>),
    Worker(Box<worker::WorkerArgs>),
    Pull(pull::PullArgs),
    ConvertAdapter(convert_adapter::ConvertAdapterArgs),
    Doctor(doctor::DoctorArgs),
    Status(status::StatusArgs),
    Health(health::HealthArgs),
    Decisions(decisions::DecisionsArgs),
    Report(report::ReportArgs),
    Mode(mode::ModeArgs),
    KillSwitch(kill_switch::KillSwitchArgs),
    SpotCheck(spot_check::SpotCheckArgs),
    Token(token::TokenArgs),
    Completions(completions::CompletionsArgs),
    #[command(hide = true)]
    GpuTrial(gpu_trial::GpuTrialArgs),
}

/// Reads the arguments of this process and does what they say.
pub fn run() -> ExitCode {
    let matches = match Cli::command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            let _ = error.print();
            return match error.use_stderr() {
                true => ExitCode::Usage,
                false => ExitCode::Ok,
            };
        }
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::Usage;
        }
    };
    if let Err(error) = start_log(&cli, &filter(&cli, &matches)) {
        print::say!("error: `--log`: {error}");
        return ExitCode::Usage;
    }
    let outcome = match cli.command {
        Command::Serve(args) => serve::run(&args, matches.subcommand_matches("serve")),
        Command::Judge(args) => judge::run(&args),
        Command::Eval(args) => eval::run(&args, matches.subcommand_matches("eval")),
        Command::Bench(args) => bench::run(&args, matches.subcommand_matches("bench")),
        Command::Worker(args) => worker::run(&args),
        Command::Pull(args) => pull::run(args),
        Command::ConvertAdapter(args) => convert_adapter::run(args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Health(args) => health::run(&args),
        Command::Decisions(args) => decisions::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Mode(args) => mode::run(&args),
        Command::KillSwitch(args) => kill_switch::run(&args),
        Command::SpotCheck(args) => spot_check::run(&args),
        Command::Token(args) => token::run(&args),
        Command::Completions(args) => completions::run(&args),
        Command::GpuTrial(args) => gpu_trial::run(&args),
    };
    outcome.unwrap_or_else(|error| {
        // Who reads no further wants no explanation either.
        if error.is::<print::ReaderGone>() {
            return ExitCode::ReaderGone;
        }
        if let Some(error) = error.downcast_ref::<ClientError>() {
            print::error_chain(error);
            return ExitCode::from(error);
        }
        print::say!("error: {error:#}");
        ExitCode::Failed
    })
}

/// What is logged; a report is not to be torn by what its daemon has to say.
fn filter(cli: &Cli, matches: &ArgMatches) -> String {
    let unasked = matches.value_source("log") == Some(ValueSource::DefaultValue);
    match &cli.command {
        Command::Eval(args) if unasked => args.log_filter().to_owned(),
        Command::Bench(_) if unasked => "warn".to_owned(),
        _ => cli.log.clone(),
    }
}

/// llama.cpp is loud, rustls tells what strangers do wrong, and what the NATS client tells the
/// worker tells too: of their lines only errors are shown, unless asked for.
fn start_log(cli: &Cli, filter: &str) -> Result<(), String> {
    let mut filter = filter.to_owned();
    for loud in ["llama-cpp-2", "rustls", "async_nats"] {
        if !filter.contains(loud) {
            filter.push_str(&format!(",{loud}=error"));
        }
    }
    let filter = EnvFilter::try_new(filter).map_err(|error| error.to_string())?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match cli.log_format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().try_init(),
    }
    .map_err(|error| error.to_string())
}

/// Runs a command to its end, which waits for no thread: one may still read from a pipe, or
/// wait for a file's lock.
fn run_to_end<T>(runtime: tokio::runtime::Runtime, command: impl Future<Output = T>) -> T {
    let outcome = runtime.block_on(command);
    runtime.shutdown_background();
    outcome
}

/// A runtime for commands that ask a daemon.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}
