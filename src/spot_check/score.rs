//! How each probe did.

use std::collections::BTreeMap;

use crate::dataset::case::Case;
use crate::kill_switch::Tally;
use crate::verdict::Label;

/// Of cases and the labels that the model gave them.
pub fn score<'c>(answers: impl IntoIterator<Item = (&'c Case, Label)>) -> BTreeMap<String, Tally> {
    let mut probes: BTreeMap<String, Tally> = BTreeMap::new();
    for (case, label) in answers {
        let probe = case.probe.clone().unwrap_or_default();
        let tally = probes.entry(probe).or_default();
        tally.total += 1;
        tally.right += u32::from(case.is_right(label));
    }
    probes
}
