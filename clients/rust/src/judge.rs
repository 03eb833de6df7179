//! The client.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use tokio_stream::{Stream, StreamExt};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::connection::{Bearer, Connection, ConnectionError};
use crate::draft::Draft;
use crate::error::{JudgeError, Kind};
use crate::event::Events;
use crate::proto;
use crate::proto::judge_service_client::JudgeServiceClient;
use crate::report::Report;
use crate::verdict::Verdict;

/// One connection, which clones share. It is made with the first call, and again when lost.
#[derive(Clone, Debug)]
pub struct Judge {
    client: JudgeServiceClient<InterceptedService<Channel, Bearer>>,
    timeout: Duration,
    attempts: u32,
}

/// Before a draft is sent for the second time; each further pause is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl Judge {
    /// Needs a runtime of tokio, and no daemon yet.
    pub fn new(connection: &Connection) -> Result<Self, ConnectionError> {
        let bearer = connection.bearer()?;
        let channel = connection.endpoint()?.connect_lazy();
        let client = JudgeServiceClient::new(InterceptedService::new(channel, bearer));
        Ok(Self {
            client,
            timeout: connection.timeout,
            attempts: connection.attempts,
        })
    }

    /// May this text be sent? Where the daemon is away or full the draft is sent again, which is safe: it
    /// has a request id.
    pub async fn judge(&self, draft: &Draft) -> Result<Verdict, JudgeError> {
        let end = Instant::now() + self.timeout;
        let mut pause = FIRST_PAUSE;
        let mut attempt = 1;
        loop {
            let request = draft.to_wire();
            let asked = within(end, request, async |request| {
                self.client.clone().judge(request).await
            });
            let error = match asked.await {
                Ok(answer) => return Ok(Verdict::of_wire(draft.request_id.clone(), answer)),
                Err(error) => error,
            };
            // So that many callers do not come back together.
            let jittered = pause.mul_f64(0.8 + 0.4 * fastrand::f64());
            let again = error.kind() == Kind::Unavailable && attempt < self.attempts;
            if !again || Instant::now() + jittered >= end {
                return Err(error);
            }
            sleep(jittered).await;
            pause = LONGEST_PAUSE.min(2 * pause);
            attempt += 1;
        }
    }

    /// Judges drafts as they come, on one stream: of each, the label first. It has no deadline, and is not
    /// opened again by itself.
    pub async fn stream(
        &self,
        drafts: impl Stream<Item = Draft> + Send + 'static,
    ) -> Result<Events, JudgeError> {
        let requests = drafts.map(|draft| proto::JudgeStreamRequest {
            request: Some(draft.to_wire()),
        });
        let answers = self.client.clone().judge_stream(requests).await;
        let answers = answers.map_err(|status| JudgeError::of_status(&status))?;
        Ok(Events(answers.into_inner()))
    }

    /// Tells what a person later found; whether that has tripped the kill switch. It is sent once, since
    /// each report counts.
    pub async fn report(&self, report: &Report) -> Result<bool, JudgeError> {
        let end = Instant::now() + self.timeout;
        let answer = within(end, report.to_wire(), async |request| {
            self.client.clone().report_outcome(request).await
        });
        Ok(answer.await?.tripped)
    }
}

/// The daemon knows the deadline too, and stops working for who has left.
async fn within<T, A>(
    end: Instant,
    message: T,
    call: impl AsyncFnOnce(Request<T>) -> Result<Response<A>, Status>,
) -> Result<A, JudgeError> {
    let mut request = Request::new(message);
    request.set_timeout(end - Instant::now());
    match timeout_at(end, call(request)).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(JudgeError::of_status(&status)),
        Err(_) => Err(JudgeError::deadline_exceeded()),
    }
}
