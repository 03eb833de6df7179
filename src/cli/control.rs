//! Which daemon an operator's command is for.

use clap::Args;

// No doc comment: clap would take it for that of the command.
#[derive(Args, Debug)]
pub(super) struct Control {
    /// Where ControlService listens.
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "127.0.0.1:50552",
        env = "JUDGED_CONTROL_ADDR"
    )]
    pub(super) addr: String,
}
