//! `judged kill-switch`

use clap::{Args, Subcommand};
use serde_json::json;

use super::control::Control;
use super::{print, record};
use crate::client::KillSwitch;
use crate::exit_code::ExitCode;

/// See how near the kill switch is to a trip, or end one.
///
/// It takes the adapter off when the conditions of its model card are met:
/// docs/kill-switch.md tells them, and what to do then.
#[derive(Args, Debug)]
pub struct KillSwitchArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Tell its state and how far each condition is from a trip.
    ///
    /// Ends with 5 while it is tripped or re-armed through SHADOW only.
    Status {
        #[command(flatten)]
        control: Control,

        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// End a trip: the adapter is put on again, and what counted before the trip is
    /// forgotten.
    ReArm {
        /// Who answers for it.
        #[arg(long, value_name = "NAME")]
        by: String,

        /// What was done about it.
        #[arg(long, value_name = "TEXT")]
        reason: String,

        /// Let the model's answers only be logged at first; re-arm again without
        /// this to let it decide.
        #[arg(long)]
        via_shadow: bool,

        #[command(flatten)]
        control: Control,
    },
}

pub fn run(args: &KillSwitchArgs) -> anyhow::Result<ExitCode> {
    super::runtime()?.block_on(async {
        match &args.action {
            Action::Status { control, json } => {
                let mut client = control.connect().await?;
                let switch = client.status().await?.kill_switch;
                match json {
                    true => print::out!("{}", to_json(&switch)),
                    false => print::out!("{}", to_text(&switch)),
                }
                Ok(match switch.state.is_armed() {
                    true => ExitCode::Ok,
                    false => ExitCode::Degraded,
                })
            }
            Action::ReArm {
                by,
                reason,
                via_shadow,
                control,
            } => {
                let mut client = control.connect().await?;
                let switch = client.re_arm(by, reason, *via_shadow).await?;
                print::out!("{}", to_text(&switch));
                Ok(ExitCode::Ok)
            }
        }
    })
}

pub fn to_text(switch: &KillSwitch) -> String {
    let mut lines = vec![format!("kill switch  {}", switch.state.as_str())];
    lines.extend(
        switch
            .since
            .map(|since| format!("  since      {}", record::time(since))),
    );
    if !switch.reason.is_empty() {
        lines.push(format!("  why        {}", switch.reason));
    }
    for condition in &switch.conditions {
        let (count, samples) = (condition.count, condition.samples);
        // Shares are exact to a millionth.
        let limit = (condition.limit * 1e6).round() / 1e4;
        let mut line = format!(
            "  {:<20} {count} of {samples}, limit {limit} %",
            condition.name
        );
        if samples < condition.least_samples {
            line += &format!(" of at least {}", condition.least_samples);
        }
        if let Some(more) = condition.more {
            line += &format!("; {more} more would trip it");
        }
        lines.push(line);
    }
    lines.join("\n")
}

pub fn to_json(switch: &KillSwitch) -> serde_json::Value {
    let conditions = switch.conditions.iter().map(|condition| {
        json!({
            "name": condition.name,
            "count": condition.count,
            "samples": condition.samples,
            "least_samples": condition.least_samples,
            "limit": condition.limit,
            "more": condition.more,
        })
    });
    json!({
        "state": switch.state.as_str(),
        "since": switch.since.map(record::time),
        "reason": switch.reason,
        "conditions": conditions.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Condition, SwitchState};

    #[test]
    fn a_limit_is_told_as_it_was_set() {
        let told = |limit| {
            to_text(&KillSwitch {
                state: SwitchState::Armed,
                since: None,
                reason: String::new(),
                conditions: vec![Condition {
                    name: "false_positives".to_owned(),
                    count: 3,
                    samples: 40,
                    least_samples: 40,
                    limit,
                    more: None,
                }],
            })
        };
        for (limit, words) in [(0.07, "7 %"), (0.15, "15 %"), (0.000_007, "0.0007 %")] {
            let text = told(limit);
            let end = format!("3 of 40, limit {words}");
            assert!(text.ends_with(&end), "{text}");
        }
    }
}
