//! Measures a judge on labelled cases: reads them, asks a daemon, counts. All but [`ask`] and the
//! results file is pure.

pub mod ask;
pub mod baseline;
pub mod calibration;
pub mod case;
pub mod confusion;
pub mod dataset;
pub mod html;
pub mod latency;
pub mod mcnemar;
pub mod measure;
pub mod rationale;
pub mod record;
pub mod report;
pub mod results;
pub mod text;
pub mod wilson;
