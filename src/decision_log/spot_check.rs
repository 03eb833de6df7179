//! One run of a labelled suite through the daemon.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::verdict::ModelRevision;

#[derive(Clone, Debug, PartialEq)]
pub struct SpotCheck {
    pub run_id: String,
    pub time: SystemTime,
    pub suite_sha256: String,
    /// By the probe's name.
    pub probes: BTreeMap<String, ProbeScore>,
    /// `None` where no model took part.
    pub model: Option<ModelRevision>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeScore {
    pub right: u32,
    pub total: u32,
}
