//! What unit tests of several modules share.

pub mod chance;
pub mod situations;
