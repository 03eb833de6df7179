//! The three streams: drafts, verdicts, dead letters, and the consumer that the workers share.

use std::time::Duration;

use async_nats::connection::State;
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::consumer::pull::{Batch, BatchError, Config as ConsumerConfig};
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer};
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::stream::{Config as StreamConfig, RetentionPolicy};
use async_nats::jetstream::{self, Context, Message};
use async_nats::{Client, HeaderMap};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::delivery::Delivery;
use super::poison::Poison;

/// What is called how. A stream's name has no dot: a subject's stream is named with `-` instead.
#[derive(Clone, Debug)]
pub struct Names {
    /// The stream that drafts are in.
    pub stream: String,
    /// The subject by which drafts get into it, where it is made here.
    pub drafts: String,
    /// The durable consumer that all workers of a kind share.
    pub consumer: String,
    pub verdicts: String,
    pub dead: String,
}

/// What is made where it is missing.
#[derive(Clone, Copy, Debug)]
pub struct Creation {
    pub replicas: usize,
    /// How long an id stands for one verdict.
    pub duplicate_window: Duration,
    /// A draft of which nothing is heard for so long goes to another worker.
    pub ack_wait: Duration,
    /// Drafts that all workers together may have.
    pub max_ack_pending: i64,
}

#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    #[error("stream `{name}` cannot be used: make it, or let --create make it")]
    Stream {
        name: String,
        source: async_nats::Error,
    },
    #[error(
        "consumer `{name}` of stream `{stream}` cannot be used: make it, or let --create make it"
    )]
    Consumer {
        name: String,
        stream: String,
        source: async_nats::Error,
    },
    #[error("consumer `{name}` does not ask for explicit acknowledgements: drafts would be lost")]
    NoAcks { name: String },
    #[error(
        "consumer `{name}` delivers a draft {server} times at most, so that one that comes again so \
         often, be it for outages, would be lost: set its max_deliver to -1, or above {most}"
    )]
    GivesUp {
        name: String,
        server: i64,
        most: i64,
    },
    #[error(
        "no stream takes `{subject}`: what is published there would be lost; make one, or let --create make it"
    )]
    NoStream {
        subject: String,
        source: async_nats::Error,
    },
    #[error(
        "stream `{stream}` takes `{subject}` too, and consumer `{name}` would give what is published \
         there to a worker as drafts: name a subject of another stream, or set the consumer's \
         filter_subject to that of the drafts"
    )]
    Circle {
        subject: String,
        stream: String,
        name: String,
    },
}

pub struct Queue {
    context: Context,
    consumer: PullConsumer,
    verdicts: String,
    dead: String,
}

/// Whether a stream has taken a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Published {
    New,
    /// It was there already.
    Known,
}

/// Verdicts and dead letters in streams that are made here.
const KEPT_FOR: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long a pull waits for drafts.
pub(super) const PULL_WAIT: Duration = Duration::from_secs(2);
/// How long the end waits for a server that may be away.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(2);
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

impl Queue {
    /// Checks all that drafts could be lost by, if one may be delivered `most` times; makes what is
    /// missing, if asked.
    pub async fn open(
        client: Client,
        names: &Names,
        creation: Option<Creation>,
        most: i64,
    ) -> Result<Self, QueueError> {
        let context = jetstream::new(client);
        if let Some(creation) = creation {
            create_streams(&context, names, creation).await?;
        }
        let consumer = consumer(&context, names, creation).await?;
        let config = &consumer.cached_info().config;
        let name = names.consumer.clone();
        if config.ack_policy != AckPolicy::Explicit {
            return Err(QueueError::NoAcks { name });
        }
        let server = config.max_deliver;
        if server > 0 && server <= most {
            return Err(QueueError::GivesUp { name, server, most });
        }
        for subject in [&names.verdicts, &names.dead] {
            let taken = context.stream_by_subject(subject.clone()).await;
            let stream = taken.map_err(|error| QueueError::NoStream {
                subject: subject.clone(),
                source: error.into(),
            })?;
            if stream == names.stream && takes(&context, names, subject).await? {
                let subject = subject.clone();
                return Err(QueueError::Circle {
                    subject,
                    stream,
                    name,
                });
            }
        }
        Ok(Self {
            context,
            consumer,
            verdicts: names.verdicts.clone(),
            dead: names.dead.clone(),
        })
    }

    pub(super) fn is_connected(&self) -> bool {
        self.context.client().connection_state() == State::Connected
    }

    /// How long the server waits for a word on a draft.
    pub(super) fn ack_wait(&self) -> Duration {
        self.consumer.cached_info().config.ack_wait
    }

    /// Drafts as they come, until there are `most` or some seconds have passed.
    pub(super) async fn pull(&self, most: usize) -> Result<Batch, BatchError> {
        let pull = self.consumer.batch().max_messages(most).expires(PULL_WAIT);
        pull.messages().await
    }

    /// Returns once a stream has the verdict; tries until the stop.
    pub(super) async fn publish_verdict(
        &self,
        at: &Delivery,
        id: &str,
        verdict: &Value,
        stop: &CancellationToken,
    ) -> Result<Published, PublishError> {
        let headers = headers(at, id);
        let payload = verdict.to_string().into_bytes();
        self.publish(&self.verdicts, headers, payload, stop).await
    }

    /// The same for a dead letter, which has the message's own bytes as far as there is room.
    pub(super) async fn bury(
        &self,
        at: &Delivery,
        message: &Message,
        poison: &Poison,
        stop: &CancellationToken,
    ) -> Result<Published, PublishError> {
        let mut short = headers(at, &at.key());
        short.insert("Judged-Reason", poison.reason.as_str());
        short.insert("Judged-Delivered", at.count.to_string());
        let mut whole = short.clone();
        whole.insert("Judged-Error", poison.error.as_str());
        let mut empty = whole.clone();
        let bytes = message.payload.len();
        empty.insert("Judged-Left-Out", format!("{bytes} bytes"));
        let payload = || message.payload.to_vec();
        // Headers count towards what a message may have, and the draft may have had all of that.
        for (headers, payload) in [(whole, payload()), (short, payload())] {
            match self.publish(&self.dead, headers, payload, stop).await {
                Err(error) if error.kind() == PublishErrorKind::MaxPayloadExceeded => {}
                outcome => return outcome,
            }
        }
        tracing::error!(
            sequence = at.sequence,
            bytes,
            "a dead letter is without its message, which leaves no room for headers"
        );
        self.publish(&self.dead, empty, Vec::new(), stop).await
    }

    async fn publish(
        &self,
        subject: &str,
        headers: HeaderMap,
        payload: Vec<u8>,
        stop: &CancellationToken,
    ) -> Result<Published, PublishError> {
        let mut wait = FIRST_WAIT;
        loop {
            let error = match self.try_publish(subject, &headers, &payload).await {
                Ok(true) => return Ok(Published::Known),
                Ok(false) => return Ok(Published::New),
                Err(error) => error,
            };
            if error.kind() == PublishErrorKind::MaxPayloadExceeded || stop.is_cancelled() {
                return Err(error);
            }
            tracing::warn!(subject, %error, "not published; trying again");
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(wait) => {}
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Whether it was there already.
    async fn try_publish(
        &self,
        subject: &str,
        headers: &HeaderMap,
        payload: &[u8],
    ) -> Result<bool, PublishError> {
        let payload = payload.to_vec().into();
        let sent = self
            .context
            .publish_with_headers(subject.to_owned(), headers.clone(), payload);
        Ok(sent.await?.await?.duplicate)
    }

    /// Sends what waits to be sent. Without a connection the client would wait for one, for ever.
    pub(super) async fn flush(&self) {
        let client = self.context.client();
        let error = match tokio::time::timeout(LAST_WORDS, client.flush()).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(late) => late.to_string(),
        };
        tracing::warn!(
            error,
            "the last acknowledgements may be lost; their drafts come again"
        );
    }
}

fn headers(at: &Delivery, id: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(NATS_MESSAGE_ID, id);
    headers.insert("Judged-Stream", at.stream.as_str());
    headers.insert("Judged-Sequence", at.sequence.to_string());
    headers
}

async fn create_streams(
    context: &Context,
    names: &Names,
    creation: Creation,
) -> Result<(), QueueError> {
    let stream = |name: String, subject: &str| StreamConfig {
        name,
        subjects: vec![subject.to_owned()],
        num_replicas: creation.replicas,
        duplicate_window: creation.duplicate_window,
        max_age: KEPT_FOR,
        ..StreamConfig::default()
    };
    // A draft stays until a worker is done with it, however long that takes.
    let drafts = StreamConfig {
        retention: RetentionPolicy::WorkQueue,
        max_age: Duration::ZERO,
        ..stream(names.stream.clone(), &names.drafts)
    };
    let named = |subject: &str| stream(subject.replace('.', "-"), subject);
    for config in [drafts, named(&names.verdicts), named(&names.dead)] {
        let name = config.name.clone();
        let made = context.get_or_create_stream(config).await;
        made.map_err(|error| QueueError::Stream {
            name,
            source: error.into(),
        })?;
    }
    Ok(())
}

async fn consumer(
    context: &Context,
    names: &Names,
    creation: Option<Creation>,
) -> Result<PullConsumer, QueueError> {
    let stream = context.get_stream(&names.stream).await;
    let stream = stream.map_err(|error| QueueError::Stream {
        name: names.stream.clone(),
        source: error.into(),
    })?;
    let name = names.consumer.as_str();
    let found = match creation {
        None => stream.get_consumer(name).await,
        Some(creation) => {
            let config = ConsumerConfig {
                durable_name: Some(name.to_owned()),
                ack_policy: AckPolicy::Explicit,
                ack_wait: creation.ack_wait,
                max_deliver: -1,
                max_ack_pending: creation.max_ack_pending,
                ..ConsumerConfig::default()
            };
            let made = stream.get_or_create_consumer(name, config).await;
            made.map_err(async_nats::Error::from)
        }
    };
    found.map_err(|source| QueueError::Consumer {
        name: name.to_owned(),
        stream: names.stream.clone(),
        source,
    })
}

/// Whether the consumer gives to the workers what its stream has of a subject. The client's own types
/// leave out where a consumer has several filters, which servers know since 2.10.
async fn takes(context: &Context, names: &Names, subject: &str) -> Result<bool, QueueError> {
    let (stream, name) = (&names.stream, &names.consumer);
    let asked = format!("CONSUMER.INFO.{stream}.{name}");
    let info: Result<Value, _> = context.request(asked, &json!({})).await;
    let info = info.map_err(|error| QueueError::Consumer {
        name: name.clone(),
        stream: stream.clone(),
        source: error.into(),
    })?;
    let config = &info["config"];
    let several = config["filter_subjects"].as_array().into_iter().flatten();
    let filters = several.chain([&config["filter_subject"]]);
    let filters: Vec<&str> = filters.filter_map(Value::as_str).collect();
    Ok(filters.is_empty() || filters.iter().any(|filter| lets_through(filter, subject)))
}

/// As NATS compares a filter with a subject: `*` stands for a word, `>` for all that follow.
fn lets_through(filter: &str, subject: &str) -> bool {
    let mut words = subject.split('.');
    for wanted in filter.split('.') {
        match (wanted, words.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (wanted, Some(word)) if wanted == word => {}
            _ => return false,
        }
    }
    words.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_lets_through_what_nats_compares_it_with() {
        for filter in ["a.b", "a.*", "*.b", "*.*", "a.>", ">"] {
            assert!(lets_through(filter, "a.b"), "{filter}");
        }
        for filter in ["a", "b", "a.b.c", "a.b.*", "a.b.>", "a.c", "*", "b.>"] {
            assert!(!lets_through(filter, "a.b"), "{filter}");
        }
    }
}
