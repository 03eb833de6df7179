//! Each week some labelled cases are asked through the running daemon: which ones, how each probe
//! did, and when. Pure: the daemon asks, and the kill switch judges the result.

mod schedule;
mod score;
mod suite;
#[cfg(test)]
mod tests;

pub use schedule::{is_missed, next_due, week_of};
pub use score::score;
pub use suite::{Suite, SuiteError, is_probe_name};
