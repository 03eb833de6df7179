//! A spot check: labelled cases for the model alone, beside the traffic and
//! never counted as such.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{Judge, JudgeError, Request};
use crate::decision_log::{LogError, Origin, ProbeScore, SpotCheck};
use crate::engine::job::Scored;
use crate::engine::scheduler::OWN;
use crate::kill_switch::{Event, Tally, UnixMicros};
use crate::spot_check::{self, Suite};
use crate::verdict::{Case, ModelRevision, RationaleMode};

/// When the weekly spot check was and will be.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Of the model that is served, whichever probes it had.
    pub last: Option<SpotCheck>,
    pub next: SystemTime,
    /// It was due long ago.
    pub missed: bool,
}

impl Schedule {
    pub fn is_due(&self) -> bool {
        self.next <= SystemTime::now()
    }
}

#[derive(Clone, Debug)]
pub struct Checked {
    pub probes: BTreeMap<String, Tally>,
    pub tripped: bool,
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum SpotCheckError {
    #[error("another spot check runs: wait for its end")]
    Running,
    #[error("a spot check needs the model: {0}")]
    NoModel(String),
    #[error("case `{id}` was not judged: {source}")]
    Case { id: String, source: JudgeError },
    #[error(transparent)]
    Log(#[from] LogError),
}

impl Judge {
    pub async fn spot_check_schedule(&self) -> Result<Schedule, LogError> {
        let last = self.log.last_spot_check().await?;
        let last = last.filter(|last| self.is_of_this_model(last));
        let (then, since) = match &last {
            None => (None, micros(self.started)),
            Some(last) if has_all_probes(last) => (Some(micros(last.time)), micros(self.started)),
            // The switch keeps the last one alone: from then on the other probes are missing.
            Some(last) => (None, micros(last.time)),
        };
        let now = micros(SystemTime::now());
        let next = spot_check::next_due(then, since, now);
        Ok(Schedule {
            missed: spot_check::is_missed(then, since, now),
            next: UNIX_EPOCH + Duration::from_micros(u64::try_from(next).unwrap_or(0)),
            last,
        })
    }

    /// How the adapter is put on the weights counts for nothing here: it is not known before they
    /// are loaded.
    fn is_of_this_model(&self, check: &SpotCheck) -> bool {
        check.model.as_ref().is_some_and(|model| {
            let model = ModelRevision {
                adapter_merged: self.revision.adapter_merged,
                ..model.clone()
            };
            model == self.revision
        })
    }

    /// Asks this week's cases one after the other, so that traffic hardly
    /// notices, and holds the result against the kill switch. `each` learns how
    /// many are done, of how many.
    pub async fn spot_check(
        self: &Arc<Self>,
        suite: &Suite,
        mut each: impl FnMut(usize, usize),
    ) -> Result<Checked, SpotCheckError> {
        let _running = self
            .checking
            .try_lock()
            .map_err(|_| SpotCheckError::Running)?;
        let chosen = suite.choose(spot_check::week_of(micros(SystemTime::now())));
        let mut answers = Vec::new();
        for (case, context) in &chosen {
            each(answers.len(), chosen.len());
            let failed = |source| SpotCheckError::Case {
                id: case.id.clone(),
                source,
            };
            let request = Request {
                id: String::new(),
                content: [0; 32],
                bytes: case.context_json.len() + case.draft.len(),
                case: Case {
                    context: context.clone(),
                    draft: case.draft.clone(),
                    requested_channel: case.channel,
                },
                caller: OWN,
                caller_name: None,
                rationale: RationaleMode::None,
                arrived: Instant::now(),
                deadline: None,
            };
            let asked = self.ask_patiently(request).await.map_err(failed)?;
            let (request, scored) = asked.map_err(SpotCheckError::NoModel)?;
            let deadline = request.arrived + self.policy.max_deadline;
            let decision = self.by_model(&request, &scored);
            let recorded = self.record(&request, &decision, Origin::SpotCheck, false, deadline);
            recorded.await.map_err(failed)?;
            answers.push((case, decision.label));
        }
        each(answers.len(), chosen.len());
        let probes = spot_check::score(answers);
        let result = SpotCheck {
            run_id: uuid::Uuid::now_v7().to_string(),
            time: SystemTime::now(),
            suite_sha256: suite.sha256().to_owned(),
            probes: probes
                .iter()
                .map(|(probe, tally)| (probe.clone(), kept(tally)))
                .collect(),
            model: Some(self.revision()),
        };
        let judge = Arc::clone(self);
        let conclude = async move {
            // First the switch: a check that is on record is not made again for a week.
            let tripped = judge.authority.note(Event::SpotCheck {
                probes: probes.clone(),
            });
            judge.authority.keep().await?;
            judge.log.record_spot_check(result).await?;
            Ok(Checked { probes, tripped })
        };
        let concluded = self.carry(conclude).await;
        concluded.unwrap_or(Err(SpotCheckError::Log(LogError::Closed)))
    }
}

/// The longest that one case waits while the traffic takes all room.
const PATIENCE: Duration = Duration::from_secs(600);
const PAUSE: Duration = Duration::from_secs(1);

impl Judge {
    /// Traffic goes first: a case that finds no room is asked again, until the
    /// daemon drains.
    async fn ask_patiently(
        &self,
        mut request: Request,
    ) -> Result<Result<(Request, Scored), String>, JudgeError> {
        let end = Instant::now() + PATIENCE;
        loop {
            request.arrived = Instant::now();
            let deadline = request.arrived + self.policy.max_deadline;
            let asked = tokio::select! {
                asked = self.ask_model(&request, deadline) => asked,
                () = self.until_draining() => return Err(JudgeError::Draining),
            };
            match asked {
                Err(
                    JudgeError::QueueFull
                    | JudgeError::DeadlineExceeded
                    | JudgeError::DeadlineOutOfReach(_),
                ) if Instant::now() < end => {
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(error),
                Ok(asked) => return Ok(asked.map(|(scored, _)| (request, scored))),
            }
        }
    }
}

/// Those of the suite that is asked each week.
static PROBES: LazyLock<Vec<String>> = LazyLock::new(|| match Suite::own() {
    Ok(suite) => suite.probes().map(str::to_owned).collect(),
    Err(_) => Vec::new(),
});

fn has_all_probes(check: &SpotCheck) -> bool {
    PROBES.iter().all(|probe| check.probes.contains_key(probe))
}

fn kept(tally: &Tally) -> ProbeScore {
    ProbeScore {
        right: tally.right,
        total: tally.total,
    }
}

fn micros(time: SystemTime) -> UnixMicros {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMicros::try_from(since.as_micros()).unwrap_or(UnixMicros::MAX)
}
