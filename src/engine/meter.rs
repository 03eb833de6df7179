//! What the engine does, for those who watch it: a heartbeat and counters.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::pace::Pace;

/// Written by the engine's thread, read by anyone.
pub struct Meter {
    epoch: Instant,
    /// Milliseconds after the epoch.
    last_beat: AtomicU64,
    running: AtomicU64,
    abandoned: AtomicU64,
    joined: AtomicU64,
    failures: AtomicU64,
    prefill_tokens: AtomicU64,
    cached_tokens: AtomicU64,
    decode_tokens: AtomicU64,
    decode_steps: AtomicU64,
    held_tokens: AtomicU64,
    /// Guessed, and not held: what was guessed is the sum, so that neither seems to go back.
    missed_tokens: AtomicU64,
    prefix_cells: AtomicU64,
    prefill_micros: AtomicU64,
    decode_micros: AtomicU64,
    pace: Mutex<Pace>,
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    pub running: u64,
    /// Jobs dropped since nobody waited for them any more.
    pub abandoned: u64,
    /// Jobs that another one with the same prompt has answered.
    pub joined: u64,
    /// Decode calls that failed.
    pub failures: u64,
    pub prefill_tokens: u64,
    pub cached_tokens: u64,
    pub decode_tokens: u64,
    /// Decode calls for rationales: each holds a token or more of each that is written.
    pub decode_steps: u64,
    /// Tokens of rationales that were guessed ahead and read, and how many held.
    pub guessed_tokens: u64,
    pub held_tokens: u64,
    /// KV cells kept of earlier prompts.
    pub prefix_cells: u64,
    pub prefill: Duration,
    pub decode: Duration,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            epoch: Instant::now(),
            last_beat: AtomicU64::new(0),
            running: AtomicU64::new(0),
            abandoned: AtomicU64::new(0),
            joined: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            prefill_tokens: AtomicU64::new(0),
            cached_tokens: AtomicU64::new(0),
            decode_tokens: AtomicU64::new(0),
            decode_steps: AtomicU64::new(0),
            held_tokens: AtomicU64::new(0),
            missed_tokens: AtomicU64::new(0),
            prefix_cells: AtomicU64::new(0),
            prefill_micros: AtomicU64::new(0),
            decode_micros: AtomicU64::new(0),
            pace: Mutex::default(),
        }
    }
}

impl Meter {
    /// How long the thread has shown no sign of life; an idle one beats
    /// twice a second.
    pub fn silence(&self) -> Duration {
        let beat = Duration::from_millis(self.last_beat.load(Relaxed));
        self.epoch.elapsed().saturating_sub(beat)
    }

    pub fn read(&self) -> Reading {
        let held_tokens = self.held_tokens.load(Relaxed);
        Reading {
            running: self.running.load(Relaxed),
            abandoned: self.abandoned.load(Relaxed),
            joined: self.joined.load(Relaxed),
            failures: self.failures.load(Relaxed),
            prefill_tokens: self.prefill_tokens.load(Relaxed),
            cached_tokens: self.cached_tokens.load(Relaxed),
            decode_tokens: self.decode_tokens.load(Relaxed),
            decode_steps: self.decode_steps.load(Relaxed),
            guessed_tokens: held_tokens + self.missed_tokens.load(Relaxed),
            held_tokens,
            prefix_cells: self.prefix_cells.load(Relaxed),
            prefill: Duration::from_micros(self.prefill_micros.load(Relaxed)),
            decode: Duration::from_micros(self.decode_micros.load(Relaxed)),
        }
    }

    /// The time that a prompt's token takes at the least; zero where it is not known.
    pub fn pace(&self) -> Duration {
        self.steps().per_token(self.epoch.elapsed())
    }

    fn steps(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn beat(&self) {
        let now = self.epoch.elapsed().as_millis();
        self.last_beat
            .store(u64::try_from(now).unwrap_or(u64::MAX), Relaxed);
    }

    pub(super) fn begin_step(&self) -> Instant {
        self.beat();
        Instant::now()
    }

    pub(super) fn end_prefill(&self, started: Instant, tokens: usize) {
        self.end(started, tokens, &self.prefill_tokens, &self.prefill_micros);
        self.steps()
            .note(self.epoch.elapsed(), tokens, started.elapsed());
    }

    pub(super) fn end_decode(&self, started: Instant, tokens: usize) {
        self.decode_steps.fetch_add(1, Relaxed);
        self.end(started, tokens, &self.decode_tokens, &self.decode_micros);
    }

    pub(super) fn count_cached(&self, tokens: usize) {
        self.cached_tokens.fetch_add(tokens as u64, Relaxed);
    }

    pub(super) fn count_abandoned(&self) {
        self.abandoned.fetch_add(1, Relaxed);
    }

    pub(super) fn count_joined(&self) {
        self.joined.fetch_add(1, Relaxed);
    }

    pub(super) fn count_guessed(&self, guessed: usize, held: usize) {
        let missed = guessed.saturating_sub(held);
        self.held_tokens.fetch_add(held as u64, Relaxed);
        self.missed_tokens.fetch_add(missed as u64, Relaxed);
    }

    pub(super) fn set_prefix_cells(&self, cells: usize) {
        self.prefix_cells.store(cells as u64, Relaxed);
    }

    pub(super) fn count_failure(&self) {
        self.failures.fetch_add(1, Relaxed);
    }

    pub(super) fn set_running(&self, jobs: usize) {
        self.running.store(jobs as u64, Relaxed);
    }

    fn end(&self, started: Instant, tokens: usize, count: &AtomicU64, micros: &AtomicU64) {
        let took = started.elapsed().as_micros();
        micros.fetch_add(u64::try_from(took).unwrap_or(u64::MAX), Relaxed);
        count.fetch_add(tokens as u64, Relaxed);
        self.beat();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guess_that_held_never_moves_the_count_of_those_that_did_not() {
        let meter = Meter::default();
        meter.count_guessed(1000, 0);
        std::thread::scope(|scope| {
            let counting = scope.spawn(|| {
                for _ in 0..1_000_000 {
                    meter.count_guessed(1, 1);
                }
            });
            while !counting.is_finished() {
                let read = meter.read();
                assert_eq!(read.guessed_tokens - read.held_tokens, 1000);
            }
        });
        let read = meter.read();
        assert_eq!(
            (read.guessed_tokens, read.held_tokens),
            (1_001_000, 1_000_000)
        );
    }
}
