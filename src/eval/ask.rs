//! Asks a daemon about many cases at the same time.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};

use crate::client::{Client, ClientError, Question};
use crate::dataset::case::Case;
use crate::verdict::{Decision, RationaleMode};

pub struct Asker {
    pub client: Client,
    pub concurrency: usize,
    pub rationale: RationaleMode,
    /// The longest to wait for one answer.
    pub timeout: Duration,
}

/// How asking ended, where nothing failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Complete,
    Stopped,
}

#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error("case `{id}` was not answered")]
    Case { id: String, source: ClientError },
    #[error("an answer could not be kept")]
    Keep(#[from] io::Error),
    #[error("a request's task ended")]
    Task(#[from] JoinError),
}

/// Patience with a daemon that is busy or starts anew: 26 to 43 seconds of waiting in all, as refusals
/// ask for none to five.
const TRIES: u32 = 8;
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

impl Asker {
    /// Hands over each answer as it comes, until the last one or until `stop`.
    pub async fn each<'c>(
        &self,
        cases: impl IntoIterator<Item = &'c Case>,
        stop: impl Future<Output = ()>,
        mut keep: impl FnMut(&'c Case, Decision) -> io::Result<()>,
    ) -> Result<End, AskError> {
        let mut waiting: VecDeque<&Case> = cases.into_iter().collect();
        let mut running = JoinSet::new();
        let mut asked = Vec::with_capacity(waiting.len());
        let mut stop = pin!(stop);
        loop {
            while running.len() < self.concurrency
                && let Some(case) = waiting.pop_front()
            {
                running.spawn(self.ask(asked.len(), case));
                asked.push(case);
            }
            let answered = tokio::select! {
                biased;
                () = &mut stop => return Ok(End::Stopped),
                answered = running.join_next() => answered,
            };
            let Some(answered) = answered else {
                return Ok(End::Complete);
            };
            let (index, outcome) = answered?;
            let case = asked[index];
            match outcome {
                Ok(decision) => keep(case, decision)?,
                Err(source) => {
                    let id = case.id.clone();
                    return Err(AskError::Case { id, source });
                }
            }
        }
    }

    fn ask(
        &self,
        index: usize,
        case: &Case,
    ) -> impl Future<Output = (usize, Result<Decision, ClientError>)> + Send + 'static {
        let client = self.client.clone();
        let question = Question {
            request_id: String::new(),
            context_json: case.context_json.clone(),
            draft: case.draft.clone(),
            channel: case.channel,
            rationale: self.rationale,
            timeout: Some(self.timeout),
        };
        async move { (index, patiently(client, question).await) }
    }
}

async fn patiently(mut client: Client, question: Question) -> Result<Decision, ClientError> {
    let mut wait = FIRST_WAIT;
    for _ in 1..TRIES {
        match client.judge(question.clone()).await {
            Err(error) if error.is_transient() => {
                let asked = error.retry_delay().unwrap_or_default();
                tokio::time::sleep(wait.max(asked).min(LONGEST_WAIT)).await;
                wait = (wait * 2).min(LONGEST_WAIT);
            }
            outcome => return outcome,
        }
    }
    client.judge(question).await
}
