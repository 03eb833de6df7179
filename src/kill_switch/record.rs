//! The kept state as JSON, with the version of its shape.

use serde::{Deserialize, Serialize};

use super::Kept;

const VERSION: u32 = 1;

#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error("the kept state of the kill switch cannot be read")]
    Unreadable(#[from] serde_json::Error),
    #[error(
        "the kept state of the kill switch has version {0}, and this judged reads version {VERSION}: \
         run the judged that wrote it, or a newer one"
    )]
    UnknownVersion(u32),
}

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    version: u32,
    switch: T,
}

#[expect(
    clippy::expect_used,
    reason = "text, numbers and maps with text as keys: nothing that JSON cannot hold"
)]
pub(super) fn write(kept: &Kept) -> String {
    let record = Versioned {
        version: VERSION,
        switch: kept,
    };
    serde_json::to_string(&record).expect("a kept state is JSON")
}

pub(super) fn read(json: &str) -> Result<Kept, RestoreError> {
    let Versioned { version, .. }: Versioned<serde::de::IgnoredAny> = serde_json::from_str(json)?;
    if version != VERSION {
        return Err(RestoreError::UnknownVersion(version));
    }
    let record: Versioned<Kept> = serde_json::from_str(json)?;
    Ok(record.switch)
}
