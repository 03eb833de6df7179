use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::super::print;
use crate::models::Progress;

const BAR: &str = "{msg} [{bar:30}] {bytes}/{total_bytes} {binary_bytes_per_sec} ETA {eta}";

/// Where no bar can be drawn, as in a log, a line this often must do.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows on stderr how far a pull has come: a bar on a terminal, else lines.
pub(super) struct Meter {
    on_terminal: bool,
    /// The stretch that is measured now: one kind of work without a break.
    stretch: Option<Stretch>,
    /// Which of several packages, as the bar says it.
    part: String,
}

struct Stretch {
    work: &'static str,
    bar: ProgressBar,
    started: Instant,
    started_at: u64,
    last_line: Instant,
}

impl Meter {
    pub(super) fn new() -> Meter {
        Meter {
            on_terminal: stderr().is_terminal(),
            stretch: None,
            part: String::new(),
        }
    }

    pub(super) fn on(&mut self, event: Progress) {
        match event {
            Progress::Waiting { lock } => {
                self.say(&format!(
                    "another process pulls this file; waiting for `{}`",
                    lock.display()
                ));
            }
            Progress::Damaged { why } => self.say(&format!("{why}; fetching it anew")),
            Progress::Source { name } => self.say(&format!("asking {name}")),
            Progress::Part { part, parts } => {
                self.part = format!(" part {part} of {parts}");
                if let Some(stretch) = &self.stretch {
                    stretch.label(&self.part);
                }
            }
            Progress::Bytes { done, total } => self.measure("fetching", done, total),
            Progress::Verifying { done, total } => self.measure("checking", done, total),
            Progress::Retrying { wait, why } => {
                self.say(&format!(
                    "{why}; trying again in {:.1} s",
                    wait.as_secs_f32()
                ));
            }
            Progress::Failed { source, why } => self.say(&format!("{source} failed: {why}")),
        }
    }

    pub(super) fn finish(mut self, last_words: &str) {
        self.say(last_words);
    }

    /// A line of its own; the bar, if one is drawn, begins anew below it.
    fn say(&mut self, line: &str) {
        if let Some(stretch) = self.stretch.take() {
            stretch.bar.finish_and_clear();
        }
        self.part.clear();
        print::say!("{line}");
    }

    fn measure(&mut self, work: &'static str, done: u64, total: u64) {
        let stretch = match &mut self.stretch {
            // Going backwards is a new start, too.
            Some(stretch) if stretch.work == work && done >= stretch.bar.position() => stretch,
            stretch => {
                if let Some(stretch) = stretch.take() {
                    stretch.bar.finish_and_clear();
                }
                let stretch = stretch.insert(Stretch::new(work, done, total, self.on_terminal));
                stretch.label(&self.part);
                stretch
            }
        };
        stretch.bar.set_position(done);
        if !self.on_terminal && stretch.last_line.elapsed() >= LINE_EVERY {
            stretch.last_line = Instant::now();
            print::say!("{}", stretch.line(done, total));
        }
    }
}

impl Stretch {
    fn new(work: &'static str, done: u64, total: u64, on_terminal: bool) -> Stretch {
        let target = match on_terminal {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        // What an earlier run left must not count as this run's speed.
        let bar = ProgressBar::with_draw_target(Some(total), target).with_position(done);
        if let Ok(style) = ProgressStyle::with_template(BAR) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.reset_eta();
        let now = Instant::now();
        Stretch {
            work,
            bar,
            started: now,
            started_at: done,
            last_line: now,
        }
    }

    fn label(&self, part: &str) {
        self.bar.set_message(format!("{}{part}", self.work));
    }

    fn line(&self, done: u64, total: u64) -> String {
        let rate =
            (done - self.started_at) as f64 / self.started.elapsed().as_secs_f64().max(0.001);
        let left =
            Duration::from_secs_f64((total.saturating_sub(done) as f64 / rate.max(1.0)).min(1e6));
        format!(
            "{} {} of {}, {}/s, {} left",
            self.work,
            HumanBytes(done),
            HumanBytes(total),
            HumanBytes(rate as u64),
            HumanDuration(left),
        )
    }
}
