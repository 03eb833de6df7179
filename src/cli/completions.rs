use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::print;
use crate::exit_code::ExitCode;

/// Print a completion script for a shell.
///
/// For bash: `judged completions bash > /etc/bash_completion.d/judged`.
#[derive(Args, Debug)]
pub struct CompletionsArgs {
    #[arg(value_enum)]
    shell: Shell,
}

pub fn run(args: &CompletionsArgs) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(
        args.shell,
        &mut super::Cli::command(),
        "judged",
        &mut script,
    );
    print::line(String::from_utf8(script)?.trim_end())?;
    Ok(ExitCode::Ok)
}
