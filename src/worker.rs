//! Judges drafts that come from a queue, a stream of NATS JetStream, and publishes the verdicts.
//!
//! A draft is acknowledged only after the daemon has recorded its decision and a stream has taken
//! the verdict. What is interrupted before comes again: the daemon then gives the decision that it
//! has for the request id, and the stream drops the verdict that it has for it.

mod ask;
mod delivery;
pub mod nats;
mod page;
mod poison;
pub mod queue;
mod tally;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::{AckKind, Message};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::ask::{Asked, Asker};
use self::delivery::Delivery;
use self::poison::Poison;
use self::queue::{LAST_WORDS, PULL_WAIT, Published, Queue};
pub use self::tally::Counts;
use self::tally::Tally;
use crate::client::Client;
use crate::decision_json;
use crate::metrics::Metrics;
use crate::verdict::{Decision, RationaleMode};

/// How drafts are judged.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Drafts that are with the daemon, or wait for it, at the same time; above 0.
    pub in_flight: u32,
    /// A draft that fails once more, though it was delivered more often, is dead.
    pub max_deliver: i64,
    /// The deadline of each request.
    pub timeout: Duration,
    /// How long a draft waits for a daemon that is away or full, until another worker may have it.
    pub patience: Duration,
    /// How long accepted drafts may still take after the stop.
    pub drain_timeout: Duration,
    pub rationale: RationaleMode,
}

pub struct Worker {
    queue: Queue,
    asker: Asker,
    limits: Limits,
    tally: Tally,
    at_work: TaskTracker,
    stop: CancellationToken,
}

/// Outages and deaths of workers are deliveries too. A draft that came so many times as often as
/// its tries may fail is taken for what the workers die of, and is asked about no more.
const SURELY: i64 = 10;

impl Limits {
    /// Deliveries after which a draft is dead, whatever they ended in.
    pub fn most_deliveries(&self) -> i64 {
        self.max_deliver.saturating_mul(SURELY)
    }
}

/// How long nothing is pulled after a pull failed.
const PAUSE: Duration = Duration::from_secs(1);
const REPORT_EVERY: Duration = Duration::from_secs(10);

impl Worker {
    pub fn new(queue: Queue, client: Client, limits: Limits, stop: CancellationToken) -> Self {
        Self {
            asker: Asker::new(client, &limits, stop.clone()),
            queue,
            limits,
            tally: Tally::default(),
            at_work: TaskTracker::new(),
            stop,
        }
    }

    /// What it tells Prometheus.
    pub fn metrics(self: &Arc<Self>) -> Metrics {
        page::metrics(self)
    }

    /// Works until the stop, then finishes what it has, within the limit. What is not finished comes
    /// again to another worker.
    pub async fn run(self: Arc<Self>) -> Counts {
        let reporting = tokio::spawn(report(Arc::clone(&self)));
        let places = Arc::new(Semaphore::new(self.limits.in_flight as usize));
        while let Some(free) = self.free(&places).await {
            tokio::select! {
                () = self.pull(free) => {}
                () = self.long_after_the_stop() => {}
            }
        }
        self.at_work.close();
        tracing::info!(in_flight = self.at_work.len(), "draining");
        let drained = tokio::time::timeout(self.limits.drain_timeout, self.at_work.wait()).await;
        if drained.is_err() {
            let left = self.at_work.len();
            tracing::warn!(left, "the drain took too long: these drafts come again");
        }
        self.queue.flush().await;
        reporting.abort();
        self.tally.counts()
    }

    /// Until a pull that was under way at the stop has ended, unless the server is away.
    async fn long_after_the_stop(&self) {
        self.stop.cancelled().await;
        tokio::time::sleep(PULL_WAIT + LAST_WORDS).await;
    }

    /// Every free place, at least one; `None` after the stop. None is free while the daemon is away:
    /// what is pulled then would only wait here.
    async fn free(&self, places: &Arc<Semaphore>) -> Option<Vec<OwnedSemaphorePermit>> {
        let first = async {
            let place = Arc::clone(places).acquire_owned().await.ok();
            self.asker.until_present().await;
            place
        };
        let first = tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            first = first => first,
        }?;
        let more = std::iter::from_fn(|| Arc::clone(places).try_acquire_owned().ok());
        Some(std::iter::once(first).chain(more).collect())
    }

    /// Pulls as many drafts as there are places, and starts on each. A pull ends after two seconds,
    /// also at the stop: what still comes then is given back.
    async fn pull(self: &Arc<Self>, mut places: Vec<OwnedSemaphorePermit>) {
        let mut batch = match self.queue.pull(places.len()).await {
            Ok(batch) => batch,
            Err(error) => return self.pause(&error).await,
        };
        while let Some(message) = batch.next().await {
            if let Ok(message) = &message {
                let before = message.info().is_ok_and(|info| info.delivered > 1);
                self.tally.delivered(before);
            }
            match message {
                Ok(message) if self.stop.is_cancelled() => self.give_back(&message, None).await,
                Ok(message) => {
                    let place = places.pop();
                    let worker = Arc::clone(self);
                    self.at_work.spawn(async move {
                        worker.hold_and_settle(&message).await;
                        drop(place);
                    });
                }
                Err(error) => return self.pause(error.as_ref()).await,
            }
        }
    }

    async fn pause(&self, error: &(dyn std::error::Error + Send + Sync)) {
        tracing::warn!(%error, "no drafts can be pulled; trying again");
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(PAUSE) => {}
        }
    }

    async fn hold_and_settle(&self, message: &Message) {
        tokio::select! {
            () = self.settle(message) => {}
            never = self.hold(message) => match never {},
        }
    }

    /// Says again and again that the draft is at work, so that no other worker gets it.
    async fn hold(&self, message: &Message) -> Infallible {
        loop {
            tokio::time::sleep(self.queue.ack_wait() / 3).await;
            if let Err(error) = message.ack_with(AckKind::Progress).await {
                tracing::warn!(%error, "the server cannot be told that a draft is at work");
            }
        }
    }

    async fn settle(&self, message: &Message) {
        let delivery = match Delivery::of(message) {
            Ok(delivery) => delivery,
            Err(error) => return tracing::error!(%error, "a message says nothing of its stream"),
        };
        if delivery.count > self.limits.most_deliveries() {
            let poison = Poison::too_often(delivery.count, "it ended in nothing each time");
            return self.bury(message, &delivery, &poison).await;
        }
        let question = match delivery.question(message) {
            Ok(question) => question,
            Err(poison) => return self.bury(message, &delivery, &poison).await,
        };
        let id = question.request_id.clone();
        match self.asker.ask(question).await {
            Asked::Decided(decision) => self.publish(message, &delivery, &id, &decision).await,
            Asked::Refused(error) => {
                let poison = Poison::refused(&error);
                self.bury(message, &delivery, &poison).await;
            }
            Asked::Failed(error) => {
                tracing::warn!(id, delivered = delivery.count, %error, "not judged; trying again");
                self.tally.failed();
                if delivery.count > self.limits.max_deliver {
                    let poison = Poison::too_often(delivery.count, &error.to_string());
                    return self.bury(message, &delivery, &poison).await;
                }
                self.give_back(message, Some(delivery.pause())).await;
            }
            Asked::Away(delay) => self.give_back(message, delay).await,
        }
    }

    async fn publish(&self, message: &Message, at: &Delivery, id: &str, decision: &Decision) {
        self.tally.judged();
        let verdict = decision_json::decision(None, id, decision);
        match self
            .queue
            .publish_verdict(at, id, &verdict, &self.stop)
            .await
        {
            Ok(Published::New) => self.tally.published(at.came.elapsed()),
            Ok(Published::Known) => self.tally.known(),
            Err(error) => {
                return tracing::error!(id, %error, "a verdict cannot be published; its draft comes again");
            }
        }
        tracing::debug!(id, label = %decision.label, "judged");
        self.acknowledge(message, AckKind::Ack).await;
    }

    /// Puts the message where people look at it, and takes it off the queue.
    async fn bury(&self, message: &Message, at: &Delivery, poison: &Poison) {
        if let Err(error) = self.queue.bury(at, message, poison, &self.stop).await {
            tracing::error!(sequence = at.sequence, %error, "a dead letter cannot be published; it comes again");
            return;
        }
        tracing::warn!(sequence = at.sequence, reason = %poison.reason, "a dead letter");
        self.tally.buried(poison.cause);
        self.acknowledge(message, AckKind::Term).await;
    }

    async fn give_back(&self, message: &Message, delay: Option<Duration>) {
        self.tally.given_back();
        if let Err(error) = message.ack_with(AckKind::Nak(delay)).await {
            tracing::warn!(%error, "a draft cannot be given back; it comes again by itself");
        }
    }

    /// Waits until the server knows.
    async fn acknowledge(&self, message: &Message, kind: AckKind) {
        if let Err(error) = message.double_ack_with(kind).await {
            tracing::warn!(%error, "an acknowledgement was lost; the draft comes again");
        }
    }
}

/// Tells how far it is, where something has happened.
async fn report(worker: Arc<Worker>) {
    let mut told = Counts::default();
    loop {
        tokio::time::sleep(REPORT_EVERY).await;
        let counts = worker.tally.counts();
        if counts != told {
            tracing::info!(%counts, "working");
            told = counts;
        }
    }
}
