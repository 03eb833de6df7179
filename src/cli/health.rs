//! `judged health`

use clap::Args;
use serde_json::json;

use super::access::AccessArgs;
use super::print;
use crate::config::LISTEN;
use crate::exit_code::ExitCode;

/// Ask whether the daemon serves, as a probe does.
///
/// By grpc.health.v1, which needs no token, and over TLS, which the probes of Kubernetes do not
/// know. Ends with 0 if it serves, with 5 if it does not, with 3 if no daemon is there.
#[derive(Args, Debug)]
pub struct HealthArgs {
    /// Where JudgeService listens; ControlService's address does as well.
    #[arg(long, value_name = "ADDR", default_value_t = LISTEN.to_string(), env = "JUDGED_ADDR")]
    addr: String,

    /// Whose health: `judge.v1.JudgeService` serves where verdicts are as the mode asks, the
    /// empty name where the process answers at all.
    #[arg(long, value_name = "NAME", default_value = "judge.v1.JudgeService")]
    service: String,

    #[command(flatten)]
    access: AccessArgs,

    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &HealthArgs) -> anyhow::Result<ExitCode> {
    let serves = super::runtime()?.block_on(async {
        let mut client = args.access.connect(&args.addr).await?;
        anyhow::Ok(client.serves(&args.service).await?)
    })?;
    let status = match serves {
        true => "SERVING",
        false => "NOT_SERVING",
    };
    match args.json {
        true => print::out!("{}", json!({"service": args.service, "status": status})),
        false => print::out!("{status}"),
    }
    Ok(match serves {
        true => ExitCode::Ok,
        false => ExitCode::Degraded,
    })
}
