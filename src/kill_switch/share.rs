//! A share of a whole, compared without rounding.

use std::fmt;

use serde::{Deserialize, Serialize};

const WHOLE: u32 = 1_000_000;

/// In millionths: 29 % of 100 is 29, which it is not in floating point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Share(u32);

#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("a share lies between 0 and 1, but this is `{0}`; 15 % is 0.15")]
pub struct ShareError(f64);

impl Share {
    pub const fn percent(percent: u32) -> Self {
        Self(percent * (WHOLE / 100))
    }

    /// The greatest count that does not exceed it.
    pub fn of(self, samples: u32) -> u32 {
        let count = u64::from(self.0) * u64::from(samples) / u64::from(WHOLE);
        // At most `samples`, since a share is at most 1.
        count as u32
    }

    /// Strictly.
    pub fn is_exceeded_by(self, count: u32, samples: u32) -> bool {
        count > self.of(samples)
    }

    /// Strictly.
    pub fn is_missed_by(self, count: u32, samples: u32) -> bool {
        u64::from(count) * u64::from(WHOLE) < u64::from(self.0) * u64::from(samples)
    }
}

impl TryFrom<f64> for Share {
    type Error = ShareError;

    fn try_from(share: f64) -> Result<Self, ShareError> {
        match (0.0..=1.0).contains(&share) {
            true => Ok(Self((share * f64::from(WHOLE)).round() as u32)),
            false => Err(ShareError(share)),
        }
    }
}

impl From<Share> for f64 {
    fn from(share: Share) -> f64 {
        f64::from(share.0) / f64::from(WHOLE)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", f64::from(self.0) / f64::from(WHOLE / 100))
    }
}
