//! What a worker tells Prometheus. docs/scaling.md has the table, and `tests/daemon/worker.rs` holds it
//! against this.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Registry;

use super::Worker;
use super::poison::Cause;
use crate::metrics::Metrics;
use crate::metrics::sheet::{Sheet, truth};

pub(super) fn metrics(worker: &Arc<Worker>) -> Metrics {
    let mut registry = Registry::default();
    registry.register(
        "judged_worker_publish_seconds",
        "Time from a draft's arrival to its verdict in the stream",
        worker.tally.publish_seconds.clone(),
    );
    registry.register_collector(Box::new(WorkerState(Arc::clone(worker))));
    Metrics::of(registry)
}

struct WorkerState(Arc<Worker>);

impl fmt::Debug for WorkerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WorkerState")
    }
}

impl Collector for WorkerState {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut sheet = Sheet(encoder);
        counted(&mut sheet, &self.0)?;
        at_the_moment(&mut sheet, &self.0)
    }
}

fn counted(sheet: &mut Sheet<'_>, worker: &Worker) -> fmt::Result {
    let counts = worker.tally.counts();
    for (name, help, count) in [
        (
            "judged_worker_delivered",
            "Messages that came.",
            counts.delivered,
        ),
        (
            "judged_worker_redelivered",
            "Messages that had come before, to this worker or another.",
            counts.redelivered,
        ),
        (
            "judged_worker_judged",
            "Decisions that the daemon gave.",
            counts.judged,
        ),
        (
            "judged_worker_published",
            "Verdicts that the stream took.",
            counts.published,
        ),
        (
            "judged_worker_known",
            "Verdicts that the stream had already.",
            counts.known,
        ),
        (
            "judged_worker_failed",
            "Tries that failed, to be tried again.",
            counts.failed,
        ),
        (
            "judged_worker_given_back",
            "Drafts that were given back, those that failed included.",
            counts.given_back,
        ),
    ] {
        sheet.counter(name, help, count)?;
    }
    let dead = Cause::ALL.map(Cause::as_str).into_iter().zip(counts.buried);
    sheet.counters(
        "judged_worker_dead_lettered",
        "Messages that became dead letters, by what they died of.",
        "cause",
        dead.map(|(cause, count)| (cause, count as f64)),
    )
}

fn at_the_moment(sheet: &mut Sheet<'_>, worker: &Worker) -> fmt::Result {
    sheet.info(
        "judged_build_info",
        "The worker's version.",
        &[("version", env!("CARGO_PKG_VERSION"))],
    )?;
    sheet.gauge(
        "judged_worker_in_flight",
        "Drafts that are at the daemon, or wait for it.",
        worker.at_work.len() as f64,
    )?;
    sheet.gauge(
        "judged_worker_in_flight_capacity",
        "Drafts that may be.",
        worker.limits.in_flight.into(),
    )?;
    sheet.gauge(
        "judged_worker_daemon_away",
        "1 while nothing is pulled, since the daemon is away or full.",
        truth(worker.asker.waits()),
    )?;
    sheet.gauge(
        "judged_worker_connected",
        "1 while there is a connection to a NATS server.",
        truth(worker.queue.is_connected()),
    )
}
