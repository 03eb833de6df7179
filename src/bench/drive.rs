//! Sends requests in one of two ways, and notes what became of each.

use std::future::Future;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::task::{JoinError, JoinSet};

use super::arrivals::Arrivals;
use super::sample::{Answer, Failure, Sample};
use super::workload::Request;

/// Whoever judges.
pub trait Target: Clone + Send + 'static {
    fn ask(&self, request: Request) -> impl Future<Output = Result<Answer, Failure>> + Send;
}

/// How requests come.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Load {
    /// So many callers, each of whom sends the next request on its answer.
    Closed { concurrency: usize },
    /// So many a second, whether or not earlier ones are answered.
    Open { rate: f64 },
}

/// When it is enough.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    Requests(usize),
    /// Nothing is sent after it; what was sent is waited for.
    Time(Duration),
}

/// What became of all requests, and how long it took until the last answer.
#[derive(Clone, Debug, Default)]
pub struct Driven {
    pub samples: Vec<Sample>,
    pub elapsed: Duration,
}

/// Returns once every request has its outcome: how long that may take is the target's to limit.
pub async fn drive<T: Target>(
    target: &T,
    load: Load,
    amount: Amount,
    seed: u64,
    requests: impl Iterator<Item = Request>,
) -> Result<Driven, JoinError> {
    let start = Instant::now();
    let limit = match amount {
        Amount::Requests(count) => count,
        Amount::Time(_) => usize::MAX,
    };
    let numbered = requests.take(limit).enumerate();
    let mut samples = match load {
        Load::Closed { concurrency } => {
            closed(target, concurrency, amount, start, numbered).await?
        }
        Load::Open { rate } => {
            let arrivals = Arrivals::new(rate, seed).take_while(|due| !is_over(amount, *due));
            open(target, arrivals, start, numbered).await?
        }
    };
    samples.sort_by_key(|sample| sample.number);
    Ok(Driven {
        samples,
        elapsed: start.elapsed(),
    })
}

fn is_over(amount: Amount, elapsed: Duration) -> bool {
    matches!(amount, Amount::Time(time) if elapsed >= time)
}

async fn closed<T: Target>(
    target: &T,
    concurrency: usize,
    amount: Amount,
    start: Instant,
    mut requests: impl Iterator<Item = (usize, Request)>,
) -> Result<Vec<Sample>, JoinError> {
    let mut running = JoinSet::new();
    let mut samples = Vec::new();
    loop {
        while running.len() < concurrency
            && !is_over(amount, start.elapsed())
            && let Some((number, request)) = requests.next()
        {
            running.spawn(ask(target.clone(), number, Instant::now(), request));
        }
        match running.join_next().await {
            None => return Ok(samples),
            Some(sample) => samples.push(sample?),
        }
    }
}

/// A request that is sent late was due all the same: its waiting counts.
async fn open<T: Target>(
    target: &T,
    mut arrivals: impl Iterator<Item = Duration>,
    start: Instant,
    requests: impl Iterator<Item = (usize, Request)>,
) -> Result<Vec<Sample>, JoinError> {
    let mut running = JoinSet::new();
    let mut samples = Vec::new();
    for (number, request) in requests {
        let Some(due) = arrivals.next().map(|since| start + since) else {
            break;
        };
        tokio::time::sleep_until(due.into()).await;
        running.spawn(ask(target.clone(), number, due, request));
        while let Some(sample) = running.try_join_next() {
            samples.push(sample?);
        }
    }
    while let Some(sample) = running.join_next().await {
        samples.push(sample?);
    }
    Ok(samples)
}

async fn ask<T: Target>(target: T, number: usize, due: Instant, request: Request) -> Sample {
    Sample::new(number, due, target.ask(request).await)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;
    use crate::verdict::{Label, Usage};

    const STEP: Duration = Duration::from_millis(10);

    /// Holds up the whole thread, the sender too, for each request.
    #[derive(Clone, Default)]
    struct Blocking;

    impl Target for Blocking {
        async fn ask(&self, _: Request) -> Result<Answer, Failure> {
            std::thread::sleep(STEP);
            Ok(pass())
        }
    }

    /// Counts how many wait for it at a time.
    #[derive(Clone, Default)]
    struct Counting(Arc<[AtomicUsize; 2]>);

    impl Target for Counting {
        async fn ask(&self, _: Request) -> Result<Answer, Failure> {
            let [now, most] = &*self.0;
            most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
            tokio::time::sleep(STEP).await;
            now.fetch_sub(1, SeqCst);
            Ok(pass())
        }
    }

    fn pass() -> Answer {
        Answer {
            label: Label::Pass,
            labelled: Instant::now(),
            done: Instant::now(),
            by_rules: false,
            usage: Usage::default(),
        }
    }

    fn requests() -> impl Iterator<Item = Request> {
        std::iter::repeat_with(|| Request {
            context_json: "{}".to_owned(),
            draft: "Hi".to_owned(),
            channel: None,
        })
    }

    /// Twenty requests are due within some 20 ms, and the target takes 10 ms for each: had the wait
    /// for a late sender not counted, each would seem to take 10 ms.
    #[tokio::test]
    async fn open_latency_counts_from_the_intended_arrival() {
        let load = Load::Open { rate: 1000.0 };
        let driven = drive(&Blocking, load, Amount::Requests(20), 1, requests());
        let driven = driven.await.unwrap();
        let taken = |sample: &Sample| sample.outcome.as_ref().unwrap().to_answer;
        let last = driven.samples.iter().map(taken).max().unwrap();
        assert!(last >= STEP * 10, "{last:?}");
        assert!(driven.elapsed >= STEP * 20);
    }

    #[tokio::test]
    async fn a_closed_loop_keeps_as_many_callers_busy_as_asked() {
        let target = Counting::default();
        let load = Load::Closed { concurrency: 3 };
        let driven = drive(&target, load, Amount::Requests(20), 1, requests());
        let driven = driven.await.unwrap();
        assert_eq!(target.0[1].load(SeqCst), 3);
        let numbers: Vec<usize> = driven.samples.iter().map(|sample| sample.number).collect();
        assert_eq!(numbers, (0..20).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn after_the_time_nothing_is_sent_and_what_was_sent_is_answered() {
        let time = STEP * 10;
        for load in [Load::Closed { concurrency: 2 }, Load::Open { rate: 200.0 }] {
            let target = Counting::default();
            let driven = drive(&target, load, Amount::Time(time), 1, requests());
            let driven = driven.await.unwrap();
            assert!(!driven.samples.is_empty(), "{load:?}");
            assert!(driven.samples.iter().all(|sample| sample.outcome.is_ok()));
            assert!(driven.elapsed < time * 20, "{load:?}: {:?}", driven.elapsed);
        }
    }
}
