//! How long the certificate still holds.

use std::fmt;
use std::time::UNIX_EPOCH;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::sheet::Sheet;
use crate::edge::Certificate;

#[derive(Debug)]
pub struct Expiry(pub Certificate);

impl Collector for Expiry {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let expires = self.0.expires();
        let seconds = expires.and_then(|expires| expires.duration_since(UNIX_EPOCH).ok());
        Sheet(encoder).gauge_if_known(
            "judged_tls_certificate_expiry_timestamp_seconds",
            "When the daemon's certificate expires, as Unix time.",
            seconds.map(|seconds| seconds.as_secs_f64()),
        )
    }
}
