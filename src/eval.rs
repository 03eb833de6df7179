//! Measures a judge on labelled cases, or on decisions that were recorded: asks a daemon, counts.
//! All but [`ask`] and the files is pure.

pub mod ask;
pub mod baseline;
pub mod calibration;
pub mod confusion;
pub mod html;
pub mod latency;
pub mod mcnemar;
pub mod measure;
pub mod rationale;
pub mod record;
pub mod replay;
pub mod report;
pub mod results;
pub mod text;
pub mod wilson;
