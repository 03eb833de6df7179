use std::path::PathBuf;
use std::time::Duration;

/// All that can happen while a model file is fetched or checked.
///
/// `Bytes` and `Verifying` come often (about once per 64 KiB to 1 MiB): whoever
/// draws them should limit its own rate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Another process is pulling the same file; this one waits for its lock.
    Waiting { lock: PathBuf },
    /// The file in the store is not the one in the manifest and will be replaced.
    Damaged { why: String },
    /// A source is asked now.
    Source { name: String },
    /// `part` of `parts` Python packages is fetched now.
    Part { part: u32, parts: u32 },
    /// So much of the file has been fetched, with what an earlier run left.
    Bytes { done: u64, total: u64 },
    /// So much of the file has been hashed.
    Verifying { done: u64, total: u64 },
    /// A failure that may pass: the same source is asked again after `wait`.
    Retrying { wait: Duration, why: String },
    /// A source failed for good. The next one, if any, follows.
    Failed { source: String, why: String },
}
