//! `grpc.health.v1`, fed by what the engine last did.
//!
//! The empty service name is liveness: the process answers, be it by rules.
//! `judge.v1.JudgeService` is readiness: the model decides (or the mode asks
//! for none), and nothing is draining. `judge.v1.ControlService` answers always.

use std::sync::Arc;

use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::engine::State;
use crate::judge::Judge;
use crate::verdict::Mode;

pub const JUDGE_SERVICE: &str = "judge.v1.JudgeService";
pub const CONTROL_SERVICE: &str = "judge.v1.ControlService";
const SERVICES: [&str; 3] = ["", JUDGE_SERVICE, CONTROL_SERVICE];

/// What holds before the engine has said anything.
pub async fn begin(reporter: &HealthReporter) {
    for (service, status) in [
        ("", ServingStatus::Serving),
        (CONTROL_SERVICE, ServingStatus::Serving),
        (JUDGE_SERVICE, ServingStatus::NotServing),
    ] {
        reporter.set_service_status(service, status).await;
    }
}

/// Reports until it is dropped.
pub async fn report(reporter: HealthReporter, judge: Arc<Judge>) {
    let mut state = judge.engine().watch();
    let mut standing = judge.authority().watch();
    let mut trouble = judge.log().health();
    loop {
        let decides = standing.borrow_and_update().mode == Mode::RulesOnly
            || matches!(&*state.borrow_and_update(), State::Ready(_));
        let serves = decides && trouble.borrow_and_update().is_none();
        let status = match serves && !judge.is_draining() {
            true => ServingStatus::Serving,
            false => ServingStatus::NotServing,
        };
        reporter.set_service_status(JUDGE_SERVICE, status).await;
        let changed = tokio::select! {
            changed = state.changed() => changed,
            changed = standing.changed() => changed,
            changed = trouble.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
}

/// Nothing is served any more.
pub async fn report_draining(reporter: &HealthReporter) {
    for service in SERVICES {
        reporter
            .set_service_status(service, ServingStatus::NotServing)
            .await;
    }
}

/// Ends all watches, which would else keep their connections open.
pub async fn end(reporter: &mut HealthReporter) {
    for service in SERVICES {
        reporter.clear_service_status(service).await;
    }
}
