//! A daemon that runs, asked over JudgeStream.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::drive::Target;
use super::sample::{Answer, Failure};
use super::workload::Request;
use crate::client::{Access, Client, ClientError, Question};
use crate::verdict::{DecidedBy, RationaleMode};

/// A daemon, over some connections in turn.
#[derive(Clone)]
pub struct DaemonTarget {
    connections: Arc<[Client]>,
    next: Arc<AtomicUsize>,
    rationale: RationaleMode,
    deadline: Duration,
}

/// How much longer than its deadline an answer is waited for: the daemon says itself that it passed.
const GRACE: Duration = Duration::from_secs(5);

impl DaemonTarget {
    /// With `connections` above 0.
    pub async fn connect(
        addr: &str,
        access: &Access,
        connections: usize,
        rationale: RationaleMode,
        deadline: Duration,
    ) -> Result<Self, ClientError> {
        let mut clients = Vec::with_capacity(connections);
        for _ in 0..connections {
            clients.push(Client::connect_with(addr, access).await?);
        }
        Ok(Self {
            connections: clients.into(),
            next: Arc::default(),
            rationale,
            deadline,
        })
    }
}

impl Target for DaemonTarget {
    async fn ask(&self, request: Request) -> Result<Answer, Failure> {
        let turn = self.next.fetch_add(1, Relaxed) % self.connections.len();
        let mut client = self.connections[turn].clone();
        let question = Question {
            // An id that came before would get the decision that is recorded.
            request_id: uuid::Uuid::now_v7().to_string(),
            context_json: request.context_json,
            draft: request.draft,
            channel: request.channel,
            rationale: self.rationale,
            timeout: Some(self.deadline),
        };
        let mut labelled = None;
        let judging = client.judge_in_steps(question, |_| labelled = Some(Instant::now()));
        let decision = match tokio::time::timeout(self.deadline + GRACE, judging).await {
            Ok(Ok(decision)) => decision,
            Ok(Err(error)) => return Err(failure(&error)),
            Err(_) => {
                return Err(Failure {
                    status: "DeadlineExceeded".to_owned(),
                    reason: "the daemon did not end it".to_owned(),
                    shed: false,
                });
            }
        };
        let done = Instant::now();
        Ok(Answer {
            label: decision.label,
            labelled: labelled.unwrap_or(done),
            done,
            by_rules: decision.decided_by == DecidedBy::Rules,
            usage: decision.usage,
        })
    }
}

fn failure(error: &ClientError) -> Failure {
    let status = error.code().unwrap_or_else(|| "NoAnswer".to_owned());
    Failure {
        shed: status == "ResourceExhausted",
        reason: error.reason().unwrap_or_else(|| error.to_string()),
        status,
    }
}
