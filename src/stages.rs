//! The stages of a request: which there were, and when. Those that its decision
//! does not tell of are noted by who does the work; they travel with its task, so
//! that no function takes them along.

use std::cell::Cell;
use std::time::Instant;

use crate::verdict::Timings;

tokio::task_local! {
    static NOTED: Cell<Stages>;
}

/// What was noted of one request; `None` where it had no such stage.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stages {
    /// The case became the prompt's tokens.
    pub render: Option<Stage>,
    /// The decision was recorded. A repeated request has no such stage.
    pub log: Option<Stage>,
}

#[derive(Clone, Copy, Debug)]
pub struct Stage {
    /// One of [`NAMES`].
    pub name: &'static str,
    pub start: Instant,
    pub end: Instant,
}

pub const RENDER: &str = "render";
pub const QUEUE: &str = "queue";
pub const PREFILL: &str = "prefill";
pub const DECODE: &str = "decode";
pub const LOG: &str = "log";
/// In the order in which a request passes through them.
pub const NAMES: [&str; 5] = [RENDER, QUEUE, PREFILL, DECODE, LOG];

impl Stages {
    /// Does the work, and tells what was noted meanwhile.
    pub async fn watch<T>(work: impl Future<Output = T>) -> (T, Stages) {
        let watched = async {
            let outcome = work.await;
            (outcome, NOTED.with(Cell::get))
        };
        NOTED.scope(Cell::default(), watched).await
    }

    pub fn rendered(start: Instant) {
        note(|stages| stages.render = Some(Stage::since(RENDER, start)));
    }

    pub fn logged(start: Instant) {
        note(|stages| stages.log = Some(Stage::since(LOG, start)));
    }

    /// All stages, with those of the engine if it took part. A request waits for a
    /// slot from the moment in which its prompt is rendered.
    pub fn all(self, arrived: Instant, engine: Option<Timings>) -> impl Iterator<Item = Stage> {
        let engine = engine.map(|timings| {
            let admitted = arrived + timings.queue;
            let scored = admitted + timings.prefill;
            let rendered = self.render.map_or(arrived, |render| render.end);
            let stage = |name, start, end| Stage { name, start, end };
            [
                stage(QUEUE, rendered.min(admitted), admitted),
                stage(PREFILL, admitted, scored),
                stage(DECODE, scored, scored + timings.decode),
            ]
        });
        let engine = engine.into_iter().flatten();
        self.render.into_iter().chain(engine).chain(self.log)
    }
}

impl Stage {
    fn since(name: &'static str, start: Instant) -> Self {
        let end = Instant::now();
        Self { name, start, end }
    }
}

/// Where nobody watches, nothing is noted.
fn note(change: impl FnOnce(&mut Stages)) {
    let _ = NOTED.try_with(|noted| {
        let mut stages = noted.get();
        change(&mut stages);
        noted.set(stages);
    });
}
