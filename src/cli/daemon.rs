//! Which daemon a caller's command asks.

use clap::Args;

use super::access::AccessArgs;
use crate::client::Client;
use crate::config::LISTEN;

// No doc comment: clap would take it for that of the command.
#[derive(Args, Debug)]
pub(super) struct Daemon {
    /// Where JudgeService listens.
    #[arg(long, value_name = "ADDR", default_value_t = LISTEN.to_string(), env = "JUDGED_ADDR")]
    pub(super) addr: String,

    #[command(flatten)]
    pub(super) access: AccessArgs,
}

impl Daemon {
    pub(super) async fn connect(&self) -> anyhow::Result<Client> {
        self.access.connect(&self.addr).await
    }
}
