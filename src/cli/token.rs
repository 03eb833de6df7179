use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::json;

use super::print;
use crate::exit_code::ExitCode;
use crate::tokens::{self, Scope, Tokens};

/// Make bearer tokens for callers of the daemon.
#[derive(Args, Debug)]
pub struct TokenArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    New(NewArgs),
}

const EXAMPLES: &str = "\
Examples:
  judged token new --name crm --scope judge --scope feedback --tokens tokens.toml > crm.token
  judged judge --token-file crm.token case.json";

/// Make a token: on stdout, this once, since only its hash is kept.
///
/// Its entry for the file that `judged serve --tokens` names goes to the end of --tokens, or to
/// stderr. A daemon sees a changed file within seconds.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
struct NewArgs {
    /// Whose it is, for logs: 1 to 64 letters, digits, `-`, `_` or `.`.
    #[arg(long, value_name = "NAME")]
    name: String,

    /// What it lets its bearer do, once or more: judge (Judge, JudgeStream), feedback
    /// (ReportOutcome), control (all of ControlService).
    #[arg(long, value_name = "SCOPE", required = true)]
    scope: Vec<Scope>,

    /// Append the entry to this file, which is made if there is none.
    #[arg(long, value_name = "FILE")]
    tokens: Option<PathBuf>,

    /// Print token and entry as one JSON object.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &TokenArgs) -> anyhow::Result<ExitCode> {
    let Action::New(args) = &args.action;
    let token = tokens::fresh().context("this system gives no random bytes")?;
    let scopes: BTreeSet<Scope> = args.scope.iter().copied().collect();
    let entry = match tokens::entry_text(&args.name, &token, &scopes) {
        Ok(entry) => entry,
        Err(error) => {
            print::error_chain(&error);
            return Ok(ExitCode::Usage);
        }
    };
    if let Some(path) = &args.tokens {
        append(path, &entry).with_context(|| format!("cannot add to `{}`", path.display()))?;
    }
    if args.json {
        print::out!("{}", json!({"token": token, "entry": entry}));
        return Ok(ExitCode::Ok);
    }
    if args.tokens.is_none() {
        print::say!("# for the file that `judged serve --tokens` names:\n{entry}");
    }
    print::out!("{token}");
    Ok(ExitCode::Ok)
}

/// The file must be good before and after.
fn append(path: &PathBuf, entry: &str) -> anyhow::Result<()> {
    let before = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error.into()),
    };
    let gap = match before.is_empty() || before.ends_with("\n\n") {
        true => "",
        false if before.ends_with('\n') => "\n",
        false => "\n\n",
    };
    let added = format!("{gap}{entry}");
    Tokens::parse(&format!("{before}{added}"))?;
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    // In one piece: a daemon that reads meanwhile sees all of it or nothing.
    file.write_all(added.as_bytes())?;
    Ok(())
}
