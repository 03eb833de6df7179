//! The windows again, as plainly as can be.

use super::*;

#[derive(Default)]
pub(super) struct Naive {
    /// The prospects that were judged, the last one at the end, with each decision and whether it was
    /// a false positive.
    pub prospects: Vec<(u32, Vec<(u32, bool)>)>,
    /// Whether they were malformed.
    calls: Vec<bool>,
}

impl Naive {
    pub fn judged(&mut self, prospect: u32, decision: u32, window: u32) {
        let place = self
            .prospects
            .iter()
            .position(|(name, _)| *name == prospect);
        let mut decisions = match place {
            Some(place) => self.prospects.remove(place).1,
            None => Vec::new(),
        };
        decisions.push((decision, false));
        self.prospects.push((prospect, decisions));
        if self.prospects.len() > window as usize {
            self.prospects.remove(0);
        }
    }

    pub fn reported(&mut self, reported: u32, is_wrong: bool) {
        let decisions = self
            .prospects
            .iter_mut()
            .flat_map(|(_, decisions)| decisions);
        for (decision, wrong) in decisions {
            if *decision == reported {
                *wrong = is_wrong;
            }
        }
    }

    pub fn called(&mut self, well_formed: bool, window: u32) {
        self.calls.push(!well_formed);
        if self.calls.len() > window as usize {
            self.calls.remove(0);
        }
    }

    pub fn false_positives(&self) -> (u32, u32) {
        let wrong = |decisions: &[(u32, bool)]| decisions.iter().any(|(_, wrong)| *wrong);
        let wrong = self.prospects.iter().filter(|(_, list)| wrong(list));
        (wrong.count() as u32, self.prospects.len() as u32)
    }

    pub fn malformed(&self) -> (u32, u32) {
        let malformed = self.calls.iter().filter(|malformed| **malformed);
        (malformed.count() as u32, self.calls.len() as u32)
    }

    pub fn holds(&self, thresholds: &Thresholds) -> bool {
        let over = |(count, samples): (u32, u32), minimum, share: Share| {
            let percent = (f64::from(share) * 100.0).round() as u32;
            samples >= minimum && count * 100 > percent * samples
        };
        over(
            self.false_positives(),
            thresholds.false_positive_minimum,
            thresholds.false_positive_share,
        ) || over(
            self.malformed(),
            thresholds.malformed_minimum,
            thresholds.malformed_share,
        )
    }
}
