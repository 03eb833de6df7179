//! The last calls of the model: which gave malformed output.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Kept as text, the oldest call first: `.` well formed, `x` malformed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Calls {
    malformed: VecDeque<bool>,
    count: u32,
}

impl Calls {
    pub fn push(&mut self, well_formed: bool, window: u32) {
        self.malformed.push_back(!well_formed);
        self.count += u32::from(!well_formed);
        self.fit(window);
    }

    /// Drops the oldest beyond the window.
    pub fn fit(&mut self, window: u32) {
        while self.malformed.len() > window as usize {
            let malformed = self.malformed.pop_front();
            self.count -= u32::from(malformed == Some(true));
        }
    }

    /// Malformed ones, of how many.
    pub fn tally(&self) -> (u32, u32) {
        (self.count, self.malformed.len() as u32)
    }

    /// The tallies after so many malformed calls more: none, one, two, …
    pub fn if_more_fail(&self, window: u32) -> impl Iterator<Item = (u32, u32)> {
        let (mut count, mut samples) = self.tally();
        let mut oldest = self.malformed.iter();
        let after = (0..window).map(move |_| {
            if samples < window {
                samples += 1;
                count += 1;
            } else {
                // The newest takes the place of the oldest.
                count += u32::from(oldest.next() == Some(&false));
            }
            (count, samples)
        });
        [self.tally()].into_iter().chain(after)
    }
}

impl TryFrom<String> for Calls {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let malformed = text.chars().map(|call| match call {
            '.' => Ok(false),
            'x' => Ok(true),
            other => Err(format!("`{}` is no call", other.escape_debug())),
        });
        let malformed: VecDeque<bool> = malformed.collect::<Result<_, String>>()?;
        let count = malformed.iter().filter(|malformed| **malformed).count() as u32;
        Ok(Self { malformed, count })
    }
}

impl From<Calls> for String {
    fn from(calls: Calls) -> String {
        let calls = calls.malformed.into_iter();
        calls
            .map(|malformed| if malformed { 'x' } else { '.' })
            .collect()
    }
}
