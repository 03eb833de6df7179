//! Situations and the steps that follow, as text files in `tests/data/scheduler`.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::tests::situations;

#[test]
fn every_situation_is_followed_by_the_steps_written_below_it() {
    situations::check("scheduler", || {
        let mut scheduler = Scheduler::new(Limits {
            slots: 1,
            chunk: 1,
            least: 1,
            prefill_run: 1,
        });
        move |line: &str| obey(&mut scheduler, line)
    });
}

fn obey(scheduler: &mut Scheduler, line: &str) -> Vec<String> {
    let mut words = line.split_whitespace();
    let command = words.next().unwrap();
    let rest: Vec<&str> = words.collect();
    let named = |name: &str, default: Option<u64>| {
        let value = rest
            .iter()
            .find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        let value = value.map(|value| value.parse().unwrap()).or(default);
        value.unwrap_or_else(|| panic!("`{line}` has no {name}"))
    };
    let size = |name: &str, default| usize::try_from(named(name, default)).unwrap();
    let first = || rest[0].parse::<u64>().unwrap();
    match command {
        "limits" => {
            *scheduler = Scheduler::new(Limits {
                slots: size("slots", None),
                chunk: size("chunk", None),
                least: size("least", Some(1)),
                prefill_run: size("run", None),
            });
            Vec::new()
        }
        "submit" => {
            scheduler.submit(Arrival {
                id: first(),
                caller: named("caller", Some(0)),
                deadline: Duration::from_millis(named("deadline", Some(1_000_000))),
                cached: size("cached", Some(0)),
                prompt: size("prompt", None),
            });
            Vec::new()
        }
        "now" => {
            let pace = Duration::from_millis(named("pace", Some(0)));
            told(scheduler.expire(Duration::from_millis(first()), pace))
        }
        "ahead" => vec![format!(
            "{} tokens",
            scheduler.tokens_ahead(named("caller", None))
        )],
        "extend" => {
            scheduler.extend(first(), Duration::from_millis(named("deadline", None)));
            Vec::new()
        }
        "remove" => told(scheduler.remove(first())),
        "clear" => told(scheduler.clear()),
        "steps" => (0..first()).flat_map(|_| step(scheduler)).collect(),
        other => panic!("no command `{other}`"),
    }
}

fn told(ended: impl IntoIterator<Item = Ended>) -> Vec<String> {
    let ended = ended.into_iter().map(|Ended { id, slot, .. }| match slot {
        Some(slot) => format!("{id} ends and leaves slot {slot}"),
        None => format!("{id} ends"),
    });
    ended.collect()
}

fn step(scheduler: &mut Scheduler) -> Vec<String> {
    let admitted = scheduler.admit().into_iter();
    let mut happened: Vec<String> = admitted
        .map(|(id, slot)| format!("{id} gets slot {slot}"))
        .collect();
    happened.push(match scheduler.next() {
        Step::Prefill { slot, tokens, last } => {
            scheduler.prefilled(slot, tokens.end);
            let label = if last { ": label" } else { "" };
            format!("slot {slot} reads {}..{}{label}", tokens.start, tokens.end)
        }
        Step::Decode { slots } => {
            scheduler.decoded();
            let slots: Vec<String> = slots.iter().map(usize::to_string).collect();
            format!("slots {} write", slots.join(" "))
        }
        Step::Idle => "idle".to_owned(),
    });
    happened
}

#[derive(Clone, Debug)]
enum Act {
    Submit {
        caller: Caller,
        prompt: usize,
        cached: usize,
        deadline: u64,
        sentence: usize,
    },
    /// Of the jobs so far, counted from the last.
    Remove(usize),
    Wait(u64),
    Steps(usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let submit = (0..3_u64, 1..60_usize, 0..60_usize, 1..2000_u64, 0..12_usize).prop_map(
        |(caller, prompt, cached, deadline, sentence)| Act::Submit {
            caller,
            prompt,
            cached: cached.min(prompt - 1),
            deadline,
            sentence,
        },
    );
    let act = prop_oneof![
        4 => submit,
        1 => (0..8_usize).prop_map(Act::Remove),
        1 => (0..200_u64).prop_map(Act::Wait),
        4 => (1..12_usize).prop_map(Act::Steps),
    ];
    vec(act, 0..80)
}

/// A worker's part of the work, with the books that it needs.
struct Owner {
    scheduler: Scheduler,
    limits: Limits,
    now: u64,
    /// Steps of its sentence that each job still wants, and how often it ended.
    jobs: Vec<(usize, u32)>,
    in_slot: Vec<Option<JobId>>,
    /// Tokens of each job's prompt that need not be read.
    cached: Vec<usize>,
    /// Of each caller.
    last_admitted: [Option<JobId>; 3],
    callers: Vec<Caller>,
    prefills_in_a_row: usize,
}

impl Owner {
    fn end(&mut self, ended: impl IntoIterator<Item = Ended>) {
        for Ended { id, slot, .. } in ended {
            self.jobs[id as usize].1 += 1;
            if let Some(slot) = slot {
                assert_eq!(self.in_slot[slot].take(), Some(id));
            }
        }
    }

    fn step(&mut self) {
        let ended = self
            .scheduler
            .expire(Duration::from_millis(self.now), Duration::ZERO);
        self.end(ended);
        for (id, slot) in self.scheduler.admit() {
            let last = &mut self.last_admitted[self.callers[id as usize] as usize];
            assert!(*last < Some(id), "a caller's jobs keep their order");
            *last = Some(id);
            assert_eq!(self.in_slot[slot].replace(id), None, "a slot has one job");
        }
        let writers = self.scheduler.decoding().count();
        match self.scheduler.next() {
            Step::Prefill { slot, tokens, last } => {
                let id = self.in_slot[slot].unwrap();
                let Limits { chunk, least, .. } = self.limits;
                assert!(!tokens.is_empty() && tokens.len() < chunk + least);
                let first = tokens.start == self.cached[id as usize];
                assert!(first || !last || tokens.len() >= least);
                self.prefills_in_a_row = if writers == 0 {
                    0
                } else {
                    self.prefills_in_a_row + 1
                };
                assert!(self.prefills_in_a_row <= self.limits.prefill_run);
                self.scheduler.prefilled(slot, tokens.end);
                if last && self.jobs[id as usize].0 == 0 {
                    let ended = self.scheduler.remove(id);
                    self.end(ended);
                }
            }
            Step::Decode { slots } => {
                assert_eq!(slots.len(), writers, "all rationales share the step");
                self.prefills_in_a_row = 0;
                self.scheduler.decoded();
                for slot in slots {
                    let id = self.in_slot[slot].unwrap();
                    self.jobs[id as usize].0 -= 1;
                    if self.jobs[id as usize].0 == 0 {
                        let ended = self.scheduler.remove(id);
                        self.end(ended);
                    }
                }
            }
            Step::Idle => assert!(self.scheduler.is_idle()),
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_every_job_ends_once_and_none_starves(
        acts in acts(),
        slots in 1..5_usize,
        chunk in 1..20_usize,
        least in 1..6_usize,
        prefill_run in 1..5_usize,
    ) {
        let limits = Limits { slots, chunk, least, prefill_run };
        let mut owner = Owner {
            scheduler: Scheduler::new(limits),
            limits,
            now: 0,
            jobs: Vec::new(),
            in_slot: vec![None; slots],
            cached: Vec::new(),
            last_admitted: [None; 3],
            callers: Vec::new(),
            prefills_in_a_row: 0,
        };
        let mut work = 0;
        for act in acts {
            match act {
                Act::Submit { caller, prompt, cached, deadline, sentence } => {
                    let id = owner.jobs.len() as JobId;
                    let deadline = Duration::from_millis(owner.now + deadline);
                    owner.jobs.push((sentence, 0));
                    owner.callers.push(caller);
                    owner.cached.push(cached);
                    owner.scheduler.submit(Arrival { id, caller, deadline, cached, prompt });
                    work += (prompt - cached).div_ceil(chunk) + sentence;
                }
                Act::Remove(back) => {
                    if let Some(id) = owner.jobs.len().checked_sub(back + 1) {
                        let ended = owner.scheduler.remove(id as JobId);
                        owner.end(ended);
                    }
                }
                Act::Wait(time) => owner.now += time,
                Act::Steps(steps) => (0..steps).for_each(|_| owner.step()),
            }
        }
        // No step is without work: what was submitted bounds what is left.
        for _ in 0..work {
            owner.step();
        }
        prop_assert!(owner.scheduler.is_idle());
        prop_assert_eq!(owner.scheduler.running(), 0);
        prop_assert!(owner.jobs.iter().all(|(_, ends)| *ends == 1), "{:?}", owner.jobs);
    }
}
