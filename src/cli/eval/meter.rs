use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use super::super::print;

/// Shows on stderr how far it has come: a bar on a terminal, else a line now and then.
pub(super) struct Meter {
    bar: ProgressBar,
    last_line: Instant,
}

const LINE_EVERY: Duration = Duration::from_secs(15);

impl Meter {
    pub(super) fn new(cases: usize) -> Self {
        let bar = print::bar("judged");
        bar.set_length(cases as u64);
        Self {
            bar,
            last_line: Instant::now(),
        }
    }

    pub(super) fn tick(&mut self) {
        self.bar.inc(1);
        if self.bar.is_hidden() && self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            let (done, all) = (self.bar.position(), self.bar.length().unwrap_or_default());
            let left = indicatif::HumanDuration(self.bar.eta());
            print::say!("{done} of {all} judged, {left} left");
        }
    }

    pub(super) fn finish(self) {
        self.bar.finish_and_clear();
    }
}
