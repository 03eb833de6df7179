//! The gRPC edge: services, conversions, errors, health. Wire types stay here
//! and in [`crate::client`].

pub mod call;
pub mod control;
pub mod convert;
pub mod health;
pub mod judge;
pub mod meter;
pub mod record;
pub mod status;
mod switch;

/// The wire types, generated from `proto/`.
#[expect(clippy::all, reason = "generated")]
pub mod proto {
    tonic::include_proto!("judge.v1");

    /// For server reflection.
    pub const DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("descriptors");
}
