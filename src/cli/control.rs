//! Which daemon an operator's command is for.

use clap::Args;

use super::access::AccessArgs;
use crate::client::Client;
use crate::config::CONTROL_LISTEN;

// No doc comment: clap would take it for that of the command.
#[derive(Args, Debug)]
pub(super) struct Control {
    /// Where ControlService listens.
    #[arg(long, value_name = "ADDR", default_value_t = CONTROL_LISTEN.to_string(), env = "JUDGED_CONTROL_ADDR")]
    pub(super) addr: String,

    #[command(flatten)]
    pub(super) access: AccessArgs,
}

impl Control {
    pub(super) async fn connect(&self) -> anyhow::Result<Client> {
        self.access.connect(&self.addr).await
    }
}
