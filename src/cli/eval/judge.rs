//! The daemon that is measured: one that runs, or one of our own.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::ArgMatches;

use super::super::own_daemon::{OwnDaemon, Refusal, settled};
use super::EvalArgs;
use crate::client::{Access, Client, Status};
use crate::eval::record::{Decider, Setup};
use crate::verdict::{Label, Mode};

/// A daemon that is fit to be measured.
pub struct Judge {
    pub client: Client,
    pub setup: Setup,
    pub slots: u32,
    pub answer_rules: BTreeMap<String, Label>,
    own: Option<OwnDaemon>,
}

/// Where no model takes part, so many questions are on their way at the same time.
const RULES_AT_ONCE: u32 = 4;

impl Judge {
    /// `timeout` is the longest that somebody waits for one of its answers.
    pub async fn find(
        args: &EvalArgs,
        matches: Option<&ArgMatches>,
        timeout: Duration,
    ) -> anyhow::Result<Self> {
        let own = match &args.addr {
            Some(_) => None,
            None => Some(args.engine.start(args.decider, matches, timeout).await?),
        };
        let (addr, control, access) = match &own {
            Some(own) => {
                let (addr, control) = own.addresses();
                (addr, control, Access::default())
            }
            None => (
                args.addr.clone().unwrap_or_default(),
                args.control_addr.clone(),
                args.access.read()?,
            ),
        };
        let client = Client::connect_with(&addr, &access).await?;
        let status = settled(Client::connect_with(&control, &access).await?).await?;
        let setup = setup(args, &status)?;
        Ok(Self {
            client,
            setup,
            slots: status.engine.map_or(RULES_AT_ONCE, |engine| engine.slots),
            answer_rules: status.answer_rules,
            own,
        })
    }

    /// Ends our own daemon.
    pub async fn end(self) {
        if let Some(own) = self.own {
            own.end().await;
        }
    }
}

fn setup(args: &EvalArgs, status: &Status) -> Result<Setup, Refusal> {
    if args.decider == Decider::Model {
        if status.mode != Mode::Enforce {
            return Err(Refusal::Usage(format!(
                "--decider model: the daemon is in mode {}, where its rules decide: \
                 start it with --mode enforce --hard-rules none",
                status.mode
            )));
        }
        if !status.hard_rules.is_empty() {
            let rules: Vec<String> = status.hard_rules.iter().map(u32::to_string).collect();
            return Err(Refusal::Usage(format!(
                "--decider model: the daemon decides by its hard rules {} before the model: \
                 start it with --hard-rules none",
                rules.join(", ")
            )));
        }
    }
    if args.decider == Decider::Rules && status.mode != Mode::RulesOnly {
        return Err(Refusal::Usage(format!(
            "--decider rules: the daemon is in mode {}, where they do not decide alone: \
             start it with --mode rules-only",
            status.mode
        )));
    }
    if let Some(reason) = &status.degraded_reason {
        return Err(Refusal::Degraded(reason.clone()));
    }
    let model = match status.mode {
        Mode::RulesOnly => None,
        Mode::Enforce | Mode::Shadow => status.model.clone(),
    };
    Ok(Setup {
        decider: args.decider,
        mode: status.mode,
        hard_rules: status.hard_rules.clone(),
        rationale: args.rationale.mode(),
        model,
    })
}
