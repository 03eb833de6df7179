//! `judged mode`

use clap::{Args, ValueEnum};

use super::control::Control;
use super::print;
use crate::exit_code::ExitCode;
use crate::verdict::Mode;

/// Tell who decides, or change it in the running daemon.
///
/// The change is durable: it holds after a restart too, until the settings
/// name another mode than they do now. While the kill switch is tripped only
/// rules-only is possible, and while it is re-armed through SHADOW not enforce.
/// Who wants it and why must be said.
#[derive(Args, Debug)]
pub struct ModeArgs {
    /// Who decides from now on; without it the mode is only told.
    #[arg(value_enum, requires = "reason")]
    mode: Option<ModeName>,

    /// Who wants it.
    #[arg(long, value_name = "NAME", env = "USER", default_value = "")]
    by: String,

    /// Why: it is kept, for those who ask later.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,

    #[command(flatten)]
    control: Control,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ModeName {
    /// The model, after the hard rules.
    Enforce,
    /// The rules; the model's answers are kept beside theirs.
    Shadow,
    /// The rules alone.
    RulesOnly,
}

pub fn run(args: &ModeArgs) -> anyhow::Result<ExitCode> {
    super::runtime()?.block_on(async {
        let mut client = args.control.connect().await?;
        let Some(mode) = args.mode else {
            print::out!("{}", client.status().await?.mode);
            return Ok(ExitCode::Ok);
        };
        let mode = match mode {
            ModeName::Enforce => Mode::Enforce,
            ModeName::Shadow => Mode::Shadow,
            ModeName::RulesOnly => Mode::RulesOnly,
        };
        let reason = args.reason.as_deref().unwrap_or_default();
        let previous = client.set_mode(mode, &args.by, reason).await?;
        print::say!("mode {mode}; it was {previous}");
        Ok(ExitCode::Ok)
    })
}
