use std::path::PathBuf;
use std::pin::pin;
use std::process::Command;

use anyhow::Context as _;
use clap::{ArgMatches, Args};
use serde_json::json;

use super::print;
use crate::app::{App, listen, llama_source};
use crate::config::{Config, Resolved, Settings};
use crate::exit_code::ExitCode;
use crate::models::Bundle;
use crate::supervisor::{self, End, Ending, Limit, Link};

/// Run the daemon.
///
/// It listens at once and answers by rules until the model is loaded, or
/// where there is none; `judged status --wait` returns when the model decides.
/// SIGTERM and SIGINT drain it: what was accepted is finished, within
/// --drain-timeout; a second signal ends it at once.
///
/// With --supervise, a parent process holds the sockets and starts the daemon again
/// when a signal or a panic has ended it. It passes on the daemon's own exit code, and ends with 6
/// when there are more than --restart-limit crashes within --restart-window.
///
/// Every setting below is also an environment variable (shown beside it) and a
/// key of the TOML file that --config names, such as `control_listen = "…"`, but for --log and
/// --log-format, which are no keys. Flags go before the environment, the environment before the
/// file.
#[derive(Args, Debug)]
pub struct ServeArgs {
    #[command(flatten)]
    settings: Settings,

    /// A TOML file of settings.
    #[arg(long, value_name = "FILE", env = "JUDGED_CONFIG")]
    config: Option<PathBuf>,

    /// Print the settings that result, and where each comes from, and end.
    #[arg(long)]
    print_config: bool,

    /// With --print-config: as JSON.
    #[arg(long, requires = "print_config")]
    json: bool,
}

pub fn run(args: &ServeArgs, matches: Option<&ArgMatches>) -> anyhow::Result<ExitCode> {
    let usage = |error: &dyn std::error::Error| {
        print::error_chain(error);
        Ok(ExitCode::Usage)
    };
    let resolved = match args.settings.resolve(matches, args.config.as_deref()) {
        Ok(resolved) => resolved,
        Err(error) => return usage(&error),
    };
    if args.print_config {
        print_config(&resolved, args.json)?;
        return match Config::new(&resolved) {
            Ok(_) => Ok(ExitCode::Ok),
            Err(error) => usage(&error),
        };
    }
    let config = match Config::new(&resolved) {
        Ok(config) => config,
        Err(error) => return usage(&error),
    };
    let bundle = match Bundle::find(&config.bundle, &Bundle::default_dirs()) {
        Ok(bundle) => bundle,
        Err(error) => return usage(&error),
    };
    if let Some(limit) = config.supervise
        && !Link::is_there()
    {
        return supervise(&config, limit);
    }
    super::run_to_end(runtime()?, serve(&config, bundle))
}

/// A runtime for commands that have a daemon in this process, before any thread is started.
pub(super) fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    // A C++ abort of llama.cpp would otherwise start a debugger for its trace.
    set_no_backtrace();
    tokio::runtime::Builder::new_multi_thread()
        // The engine's threads need the cores; the edge needs little.
        .worker_threads(2)
        .enable_all()
        .build()
}

/// Runs this very command as a child.
fn supervise(config: &Config, limit: Limit) -> anyhow::Result<ExitCode> {
    let program = std::env::current_exe().context("cannot tell where this program lies")?;
    let command = || {
        let mut command = Command::new(&program);
        command.args(std::env::args_os().skip(1));
        command
    };
    let end = super::runtime()?.block_on(async {
        let listeners = listen(config).await?;
        Ok::<_, anyhow::Error>(supervisor::supervise(listeners, limit, command).await?)
    })?;
    Ok(match end {
        End::Exited(0) => ExitCode::Ok,
        End::Exited(2) => ExitCode::Usage,
        End::Exited(_) => ExitCode::Failed,
        End::GaveUp { last } => {
            let Limit { crashes, window } = limit;
            print::say!(
                "error: the daemon crashed more than {crashes} times within {} s, and is not started \
                 again; the last time, {last}\nhint: its log above tells what it did before; \
                 `judged doctor` tells whether this machine is fit",
                window.as_secs_f64()
            );
            ExitCode::Crashing
        }
    })
}

async fn serve(config: &Config, bundle: Bundle) -> anyhow::Result<ExitCode> {
    let (link, inherited) = match Link::is_there() {
        true => Link::take().map(|(link, inherited)| (Some(link), Some(inherited)))?,
        false => (None, None),
    };
    for looser in config.kill_switch.looser_than_the_card() {
        tracing::warn!(
            setting = looser,
            "the kill switch trips later than the model card asks"
        );
    }
    let mut ending = Ending::new(link)?;
    let source = llama_source(config, &bundle);
    let app = {
        let mut wanted = pin!(ending.wanted());
        let app = tokio::select! {
            biased;
            app = App::start_under(config, bundle, source, inherited) => app?,
            // Nothing was accepted that would have to be finished.
            () = &mut wanted => {
                tracing::info!("asked to end before it was started");
                return Ok(ExitCode::Ok);
            }
        };
        wanted.await;
        app
    };
    tokio::select! {
        () = app.shut_down() => Ok(ExitCode::Ok),
        () = ending.urged() => {
            tracing::warn!("a second signal: ending at once");
            Ok(ExitCode::Failed)
        }
    }
}

/// That the origins are aligned within.
const MOST_COLUMNS: usize = 60;

fn print_config(resolved: &Resolved, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        let settings = resolved.iter().map(|(name, sourced)| {
            let entry = json!({"value": sourced.value, "origin": sourced.origin.to_string()});
            (name.clone(), entry)
        });
        let settings: serde_json::Map<_, _> = settings.collect();
        print::out!("{}", serde_json::Value::Object(settings));
        return Ok(());
    }
    let lines = resolved
        .iter()
        .map(|(name, sourced)| (format!("{name} = {}", sourced.value), &sourced.origin));
    let lines: Vec<_> = lines.collect();
    // One long line pushes the others' origins out of sight.
    let widths = lines.iter().map(|(line, _)| line.chars().count());
    let width = widths.filter(|width| *width <= MOST_COLUMNS).max();
    for (line, origin) in &lines {
        print::out!("{line:width$}  # {origin}", width = width.unwrap_or(0));
    }
    Ok(())
}

#[expect(
    unsafe_code,
    reason = "before any thread is started, the environment can be changed"
)]
fn set_no_backtrace() {
    // SAFETY: `run` is called on the main thread before any other is started.
    unsafe { std::env::set_var("GGML_NO_BACKTRACE", "1") };
}
