//! A client of the daemon that speaks our types, not the wire's.

mod access;
mod decision;
mod error;
mod record;
mod status;
mod stream;
mod switch;

use std::time::Duration;

use tonic::Request;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel as Transport;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

pub use self::access::Access;
use self::access::Bearer;
use self::decision::decision;
use self::error::refused;
pub use self::error::{ClientError, Remedy};
use self::status::status;
pub use self::status::{EngineInfo, EngineState, Restarts, Status};
pub use self::switch::{Checked, Condition, KillSwitch, SpotChecks, SwitchState};
use crate::channel::Channel;
use crate::decision_log::{Contents, Entry, Filter, Outcome, Page};
use crate::rpc::proto::control_service_client::ControlServiceClient;
use crate::rpc::proto::judge_service_client::JudgeServiceClient;
use crate::rpc::{convert, proto};
use crate::verdict::{Decision, Mode, RationaleMode};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

type Connection = InterceptedService<Transport, Bearer>;

/// What ControlService answers is as long as what the daemon was asked about: a page of an export has
/// up to sixteen decisions, each on a message of up to 64 MiB. No message of gRPC is longer than this.
const ANSWER_LIMIT: usize = u32::MAX as usize;

/// How long a daemon that lives takes at most to say so.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection to one daemon. Cheap to clone: requests share it.
#[derive(Clone)]
pub struct Client {
    judge: JudgeServiceClient<Connection>,
    control: ControlServiceClient<Connection>,
    health: HealthClient<Connection>,
}

/// What to ask of the daemon.
#[derive(Clone, Debug, Default)]
pub struct Question {
    pub request_id: String,
    pub context_json: String,
    pub draft: String,
    pub channel: Option<Channel>,
    pub rationale: RationaleMode,
    pub timeout: Option<Duration>,
}

impl Client {
    /// Connects to `host:port`, or to a URL.
    pub async fn connect(addr: &str) -> Result<Self, ClientError> {
        Self::connect_with(addr, &Access::default()).await
    }

    /// The same, with TLS or a token.
    pub async fn connect_with(addr: &str, access: &Access) -> Result<Self, ClientError> {
        let bearer = access.bearer()?;
        let endpoint = access.endpoint(addr)?;
        let endpoint = endpoint.connect_timeout(CONNECT_TIMEOUT);
        let transport = endpoint
            .connect()
            .await
            .map_err(|source| ClientError::Unreachable {
                addr: addr.to_owned(),
                source,
            })?;
        Ok(Self::over(InterceptedService::new(transport, bearer)))
    }

    /// Connects with the first request, and again after a loss, which pings find where a host is
    /// gone without a word. Needs a runtime.
    pub fn connect_lazy(addr: &str, access: &Access) -> Result<Self, ClientError> {
        let bearer = access.bearer()?;
        let endpoint = access.endpoint(addr)?;
        let transport = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(10))
            .connect_lazy();
        Ok(Self::over(InterceptedService::new(transport, bearer)))
    }

    fn over(connection: Connection) -> Self {
        Self {
            judge: JudgeServiceClient::new(connection.clone()),
            control: ControlServiceClient::new(connection.clone())
                .max_decoding_message_size(ANSWER_LIMIT),
            health: HealthClient::new(connection),
        }
    }

    pub async fn judge(&mut self, question: Question) -> Result<Decision, ClientError> {
        let timeout = question.timeout;
        let mut request = Request::new(question.into_message());
        if let Some(timeout) = timeout {
            request.set_timeout(timeout);
        }
        let response = self.judge.judge(request).await.map_err(refused)?;
        decision(response.into_inner())
    }

    /// Says what was found of a decision; whether that has tripped the kill switch.
    pub async fn report(&mut self, outcome: &Outcome) -> Result<bool, ClientError> {
        let request = Request::new(record::report(outcome));
        let response = self.judge.report_outcome(request).await.map_err(refused)?;
        Ok(response.into_inner().tripped)
    }

    /// Recorded decisions, newest first. An empty token begins the list.
    pub async fn decisions(
        &mut self,
        filter: &Filter,
        page_size: u32,
        page_token: &str,
        contents: Contents,
    ) -> Result<Page, ClientError> {
        let request = proto::ListDecisionsRequest {
            filter: Some(record::filter(filter)),
            page_size,
            page_token: page_token.to_owned(),
            with_content: contents == Contents::With,
        };
        let response = self
            .control
            .list_decisions(request)
            .await
            .map_err(refused)?;
        let response = response.into_inner();
        let entries = response.decisions.into_iter().map(record::entry);
        Ok(Page {
            entries: entries.collect::<Result<_, _>>()?,
            next_page_token: response.next_page_token,
        })
    }

    /// One recorded decision, whole.
    pub async fn decision(&mut self, decision_id: &str) -> Result<Entry, ClientError> {
        let request = proto::GetDecisionRequest {
            decision_id: decision_id.to_owned(),
        };
        let response = self.control.get_decision(request).await.map_err(refused)?;
        let decision = response.into_inner().decision;
        record::entry(decision.ok_or_else(|| ClientError::Answer("it is empty".to_owned()))?)
    }

    /// Sets who decides; the mode before.
    pub async fn set_mode(
        &mut self,
        mode: Mode,
        by: &str,
        reason: &str,
    ) -> Result<Mode, ClientError> {
        let request = proto::SetModeRequest {
            mode: convert::mode(mode).into(),
            by: by.to_owned(),
            reason: reason.to_owned(),
        };
        let response = self.control.set_mode(request).await.map_err(refused)?;
        let previous = convert::mode_named(response.into_inner().previous);
        previous.ok_or_else(|| ClientError::Answer("it has no known mode".to_owned()))
    }

    /// Ends a trip of the kill switch.
    pub async fn re_arm(
        &mut self,
        by: &str,
        reason: &str,
        via_shadow: bool,
    ) -> Result<KillSwitch, ClientError> {
        let request = proto::ReArmRequest {
            by: by.to_owned(),
            reason: reason.to_owned(),
            via_shadow,
        };
        let response = self.control.re_arm(request).await.map_err(refused)?;
        switch::switch(response.into_inner().kill_switch.unwrap_or_default())
    }

    /// Lets the daemon ask its model labelled cases: those of `suite`, JSON
    /// Lines, or its own where that is empty. `each` learns how many are done.
    pub async fn spot_check(
        &mut self,
        suite_jsonl: String,
        mut each: impl FnMut(u32, u32),
    ) -> Result<Checked, ClientError> {
        let request = proto::RunSpotCheckRequest { suite_jsonl };
        let response = self.control.run_spot_check(request).await;
        let mut events = response.map_err(refused)?.into_inner();
        while let Some(event) = events.message().await.map_err(refused)? {
            each(event.done, event.total);
            if let Some(result) = event.result {
                return Ok(switch::checked(result));
            }
        }
        let cut = "the spot check ended without a result".to_owned();
        Err(ClientError::Answer(cut))
    }

    pub async fn status(&mut self) -> Result<Status, ClientError> {
        let request = Request::new(proto::GetStatusRequest {});
        let response = self.control.get_status(request).await.map_err(refused)?;
        status(response.into_inner())
    }

    /// Whether a service, by its full name, serves; the empty name is the process.
    pub async fn serves(&mut self, service: &str) -> Result<bool, ClientError> {
        let mut request = Request::new(HealthCheckRequest {
            service: service.to_owned(),
        });
        request.set_timeout(HEALTH_TIMEOUT);
        let response = self.health.check(request).await.map_err(refused)?;
        Ok(response.into_inner().status == i32::from(ServingStatus::Serving))
    }
}

impl Question {
    fn into_message(self) -> proto::JudgeRequest {
        let channel = self.channel.map(convert::channel_name);
        let rationale_mode = match self.rationale {
            RationaleMode::None => proto::RationaleMode::None,
            RationaleMode::Sentence => proto::RationaleMode::Sentence,
            RationaleMode::Evidence => proto::RationaleMode::Evidence,
        };
        proto::JudgeRequest {
            request_id: self.request_id,
            context_json: self.context_json,
            draft: self.draft,
            channel: channel.unwrap_or_default().into(),
            rationale_mode: rationale_mode.into(),
        }
    }
}
