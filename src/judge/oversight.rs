//! What people and the engine say of the judge: reports on decisions, the mode, a
//! re-arm, the adapter's fate.

use std::sync::Arc;

use super::{AuthorityError, Judge};
use crate::decision_log::{Finding, LogError, Outcome};
use crate::engine::State;
use crate::kill_switch;
use crate::verdict::{Disposition, Mode, ModelRevision};

impl Judge {
    /// Keeps what a person found of a decision; whether that trips the kill switch.
    pub async fn report(self: &Arc<Self>, outcome: Outcome) -> Result<bool, LogError> {
        let judge = Arc::clone(self);
        let report = async move {
            let decision = outcome.decision_id.clone();
            let Finding::Incident { tier } = outcome.finding else {
                let false_positive = outcome.finding == Finding::FalsePositive;
                if false_positive {
                    let entry = judge.log.get(&decision).await?;
                    let disposition = entry.map(|entry| entry.record.decision.disposition);
                    // Nothing was stopped: the switch is not to count it.
                    if disposition == Some(Disposition::Dispatch) {
                        return Err(LogError::Dispatched(decision));
                    }
                }
                judge.log.report(outcome).await?;
                let tripped = judge.authority.note(kill_switch::Event::Reported {
                    decision,
                    false_positive,
                });
                judge.authority.keep().await?;
                return Ok(tripped);
            };
            // First the switch: whatever becomes of the report, the adapter is off.
            if judge.log.get(&decision).await?.is_none() {
                return Err(LogError::UnknownDecision(decision));
            }
            let tripped = judge.authority.note(kill_switch::Event::Incident {
                tier,
                decision: Some(decision),
                probe: outcome.probe.clone(),
            });
            judge.authority.keep().await?;
            judge.log.report(outcome).await?;
            Ok(tripped)
        };
        self.carry(report).await.unwrap_or(Err(LogError::Closed))
    }

    /// Tells the kill switch whether the adapter could be loaded, once that is known.
    pub async fn tell_of_adapter(&self) {
        let mut state = self.engine.watch();
        let known = |state: &State| !matches!(state, State::Missing(_) | State::Loading);
        let Ok(state) = state.wait_for(known).await.as_deref().cloned() else {
            return; // Nobody watches any more.
        };
        let event = match state {
            State::AdapterFailed(reason) => kill_switch::Event::AdapterFailed { reason },
            State::Ready(_) | State::Stuck(_) | State::Suspended(_) => {
                let revision = name(&self.revision());
                kill_switch::Event::AdapterLoaded { revision }
            }
            // The base failed.
            State::Missing(_) | State::Loading | State::Failed(_) => return,
        };
        self.authority.note(event);
        // What is wrong with the log is told by its health.
        let _ = self.authority.keep().await;
    }

    /// Sets who decides from now on; the mode before.
    pub async fn set_mode(
        self: &Arc<Self>,
        mode: Mode,
        by: String,
        reason: String,
    ) -> Result<Mode, AuthorityError> {
        let judge = Arc::clone(self);
        let set = async move { judge.authority.set_mode(mode, &by, &reason).await };
        let set = self.carry(set).await;
        set.unwrap_or(Err(AuthorityError::Log(LogError::Closed)))
    }

    /// Ends a trip: the adapter is put on again.
    pub async fn re_arm(
        self: &Arc<Self>,
        by: String,
        reason: String,
        via_shadow: bool,
    ) -> Result<(), AuthorityError> {
        let judge = Arc::clone(self);
        let armed = async move { judge.authority.re_arm(&by, &reason, via_shadow).await };
        let armed = self.carry(armed).await;
        armed.unwrap_or(Err(AuthorityError::Log(LogError::Closed)))
    }
}

/// What the kill switch's evidence is about. It is kept: another text of the same revision would
/// empty the windows.
fn name(revision: &ModelRevision) -> String {
    let ModelRevision {
        bundle,
        base_sha256,
        adapter_sha256,
        adapter_scale,
        adapter_merged,
        template_sha256,
    } = revision;
    let adapter = adapter_sha256.as_deref().unwrap_or("none");
    let merged = if *adapter_merged { " merged" } else { "" };
    format!("{bundle} {base_sha256} {adapter} {adapter_scale}{merged} {template_sha256}")
}
