//! What the command line asks for, read and checked.

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::ArgMatches;

use super::BenchArgs;
use crate::bench::drive::{Amount, Load};
use crate::bench::workload::{Request, Workload};
use crate::config::BUNDLE;
use crate::dataset::draft::{self, Draft};
use crate::models::Bundle;

pub(super) struct Plan {
    pub(super) drafts: Vec<Draft>,
    /// One a run.
    pub(super) loads: Vec<Load>,
    /// Of each run.
    pub(super) amount: Amount,
    pub(super) warm_up: usize,
    pub(super) deadline: Duration,
    pub(super) seed: u64,
    /// What the other server is asked with.
    pub(super) bundle: Option<Bundle>,
    repeat_contexts: f64,
    /// Tells the contexts of this command from those of all others, which a cache may hold.
    name: String,
}

const EXAMPLES: &str = include_str!("../../../examples/model-card.jsonl");
const REQUESTS: u32 = 100;

impl Plan {
    pub(super) fn new(args: &BenchArgs, matches: Option<&ArgMatches>) -> anyhow::Result<Self> {
        if !args.in_process {
            let but = args.against.as_ref().map_or(&[][..], |_| &["bundle"]);
            let why = "without --in-process none is";
            args.engine.refuse_flags(matches, but, why)?;
        }
        let drafts = match args.data.is_empty() {
            true => examples()?,
            false => draft::read(&args.data)?,
        };
        if drafts.is_empty() {
            bail!("there is no draft to judge");
        }
        let loads = match (args.rate, &args.sweep[..]) {
            (Some(rate), _) => vec![Load::Open { rate }],
            (None, []) => vec![Load::Closed {
                concurrency: args.concurrency as usize,
            }],
            (None, rates) => rates
                .iter()
                .map(|rate| Load::Open { rate: *rate })
                .collect(),
        };
        let at_once = match loads[..] {
            [Load::Closed { concurrency }] => concurrency,
            _ => 1,
        };
        let amount = match args.duration {
            Some(seconds) => Amount::Time(duration(seconds).context("`--duration`")?),
            None => Amount::Requests(args.requests.unwrap_or(REQUESTS) as usize),
        };
        let bundle = match (&args.against, args.in_process) {
            (None, _) => None,
            (Some(_), true) => Some(args.engine.bundle(matches)?),
            (Some(_), false) => {
                let named = args.engine.bundle.as_deref().unwrap_or(BUNDLE);
                Some(Bundle::find(named, &Bundle::default_dirs())?)
            }
        };
        let id = uuid::Uuid::now_v7().simple().to_string();
        Ok(Self {
            drafts,
            loads,
            amount,
            warm_up: args.warm_up.map_or(at_once, |count| count as usize),
            deadline: duration(args.deadline).context("`--deadline`")?,
            seed: args.seed,
            bundle,
            repeat_contexts: args.repeat_contexts,
            // Its end is drawn by chance.
            name: id.chars().skip(24).collect(),
        })
    }

    /// The requests of one run, without end.
    pub(super) fn workload(&self, run: &str) -> Workload {
        let name = format!("{}-{run}", self.name);
        Workload::new(self.drafts.clone(), self.repeat_contexts, &name, self.seed)
    }

    /// Requests that count nowhere.
    pub(super) fn warming(&self) -> impl Iterator<Item = Request> + use<> {
        let name = format!("{}-w", self.name);
        let requests = Workload::new(self.drafts.clone(), 0.0, &name, self.seed);
        requests.take(self.warm_up)
    }
}

fn examples() -> anyhow::Result<Vec<Draft>> {
    let mut drafts = Vec::new();
    for line in EXAMPLES.lines() {
        drafts.extend(draft::of_line(line).map_err(anyhow::Error::msg)?);
    }
    Ok(drafts)
}

fn duration(seconds: f64) -> anyhow::Result<Duration> {
    Ok(Duration::try_from_secs_f64(seconds)?)
}

/// A number above 0.
pub(super) fn positive(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if number > 0.0 && f64::is_finite(number) => Ok(number),
        _ => Err("it is to be a number above 0".to_owned()),
    }
}

/// A number of 0 to 1.
pub(super) fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if (0.0..=1.0).contains(&number) => Ok(number),
        _ => Err("it is to be a number of 0 to 1".to_owned()),
    }
}
