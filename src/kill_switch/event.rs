//! What the switch must be told.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The model decided on traffic, in mode ENFORCE.
    ///
    /// What it says in SHADOW is none: nobody was answered by it, so nobody can report it as a
    /// false positive, and counting it would only thin out those that are reported. What the
    /// rules decide, and spot checks, are none either.
    Judged {
        prospect: String,
        decision: String,
    },
    /// What a person found of a decision, right and missed violations included: the last report
    /// counts. Of a decision that is not in the window, it counts nothing.
    Reported {
        decision: String,
        false_positive: bool,
    },
    /// Harm was done; tier 1 is the worst. Whoever decided.
    Incident {
        tier: u8,
        decision: Option<String>,
        probe: Option<String>,
    },
    /// The model was asked, in whatever mode and for whomever. Malformed is a failed decode, a
    /// grammar that broke off, a legal mass under the floor, scores that are no numbers.
    Call {
        well_formed: bool,
    },
    /// A whole spot check, by probe. It takes the place of the one before.
    SpotCheck {
        probes: BTreeMap<String, Tally>,
    },
    /// What served before under another revision is no evidence about this one: the windows start
    /// empty. A trip stays.
    AdapterLoaded {
        revision: String,
    },
    AdapterFailed {
        reason: String,
    },
}

/// How a probe did in a spot check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tally {
    pub right: u32,
    pub total: u32,
}
