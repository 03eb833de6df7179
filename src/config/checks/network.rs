//! Who can reach the daemon, and how much of it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use axum::http::Uri;

use super::{Checks, Settings};
use crate::edge::{Guard, Limits, TlsFiles};

impl Checks<'_> {
    pub(super) fn guard(&mut self, settings: &Settings) -> Guard {
        let file = |path: &Option<PathBuf>| {
            let path = path.clone();
            path.filter(|path| !path.as_os_str().is_empty())
        };
        let client_ca = file(&settings.tls_client_ca);
        let tls = match (file(&settings.tls_cert), file(&settings.tls_key)) {
            (Some(cert), Some(key)) => Some(TlsFiles {
                cert,
                key,
                client_ca,
            }),
            (Some(_), None) => {
                self.problem("tls_cert", "it is of no use without its key: set `tls_key`");
                None
            }
            (None, Some(_)) => {
                let problem = "it is of no use without its certificate: set `tls_cert`";
                self.problem("tls_key", problem);
                None
            }
            (None, None) => {
                if client_ca.is_some() {
                    let problem = "client certificates need TLS: set `tls_cert` and `tls_key`";
                    self.problem("tls_client_ca", problem);
                }
                None
            }
        };
        Guard {
            tls,
            tokens: file(&settings.tokens),
        }
    }

    pub(super) fn limits(
        &mut self,
        settings: &Settings,
        max_deadline: Option<Duration>,
    ) -> Option<Limits> {
        let connections = self.within("max_connections", settings.max_connections, 1, 100_000);
        let calls = self.within("max_calls", settings.max_calls, 1, 100_000);
        let streams = self.within("max_streams", settings.max_streams, 1, 100_000);
        let keepalive = self.seconds("keepalive", settings.keepalive, 1.0);
        let handshake = self.seconds("handshake_timeout", settings.handshake_timeout, 0.1);
        let idle = self.seconds("idle_timeout", settings.idle_timeout, 1.0);
        Some(Limits {
            connections: connections? as usize,
            calls: calls? as usize,
            streams: streams?,
            handshake: handshake?,
            call: max_deadline? + LATE,
            idle: idle?,
            keepalive: keepalive?,
        })
    }

    pub(super) fn address(
        &mut self,
        name: &str,
        value: Option<SocketAddr>,
        anywhere: bool,
    ) -> Option<SocketAddr> {
        let value = self.given(name, value)?;
        if value.ip().is_loopback() || anywhere {
            return Some(value);
        }
        self.problem(
            name,
            format!(
                "`{value}` is not on the loopback, and anyone who reaches it could read or ask: \
                 set `tls_cert`, `tls_key` and one of `tokens` and `tls_client_ca` \
                 (docs/security.md), or `allow_insecure_listen` if that is meant"
            ),
        );
        None
    }

    /// `None` where metrics are not asked for.
    pub(super) fn metrics_address(
        &mut self,
        text: Option<&str>,
        public: bool,
    ) -> Option<SocketAddr> {
        let text = text.unwrap_or_default().trim();
        if text.is_empty() {
            return None;
        }
        match text.parse::<SocketAddr>() {
            Ok(addr) if addr.ip().is_loopback() || public => Some(addr),
            Ok(addr) => {
                let problem = format!(
                    "`{addr}` is not on the loopback, and metrics know neither TLS nor tokens: set \
                     `allow_insecure_metrics` if anyone who reaches it may read them"
                );
                self.problem("metrics_listen", problem);
                None
            }
            Err(_) => {
                let problem = format!("`{text}` is not IP:PORT, such as `127.0.0.1:9464`");
                self.problem("metrics_listen", problem);
                None
            }
        }
    }

    /// `None` where traces are not asked for.
    pub(super) fn collector(&mut self, text: Option<String>) -> Option<String> {
        let text = text.unwrap_or_default().trim().to_owned();
        if text.is_empty() {
            return None;
        }
        let has_host = text.parse::<Uri>().is_ok_and(|url| url.host().is_some());
        if has_host && text.starts_with("http://") {
            return Some(text);
        }
        let problem = match text.starts_with("https://") {
            true => format!(
                "`{text}` asks for TLS, which there is none of yet: name a collector nearby \
                 that takes plain gRPC, such as `http://127.0.0.1:4317`, or set it to nothing"
            ),
            false => format!("`{text}` is not http://HOST:PORT, such as `http://127.0.0.1:4317`"),
        };
        self.problem("otlp_endpoint", problem);
        None
    }
}

/// An answer that comes at the longest deadline still has to be written.
const LATE: Duration = Duration::from_secs(5);
