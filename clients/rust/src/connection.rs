//! Where the daemon is, and how it knows us: see docs/security.md of judged.

use std::env;
use std::fmt;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status};

/// TLS is spoken where there is a `ca` or an `identity`, or where the address begins with `https://`.
#[derive(Clone)]
pub struct Connection {
    /// `host:port`, or a URL.
    pub addr: String,
    /// The authorities that the daemon's certificate may come from, as PEM; without them,
    /// those that browsers trust.
    pub ca: Option<Vec<u8>>,
    /// Our certificate and its key, as PEM.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
    /// It goes in plaintext to this machine alone.
    pub token: Option<String>,
    /// How long a call may take in all; streams have no limit.
    pub timeout: Duration,
    /// How often a draft is sent at most, where the daemon is away or full.
    pub attempts: u32,
}

/// Why there can be no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// A file that the environment names.
    #[error("cannot read `{}`, which `{variable}` names", path.display())]
    File {
        /// The environment's variable.
        variable: &'static str,
        /// What it names.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// One of two that belong together.
    #[error("`JUDGED_CLIENT_TLS_CERT` and `JUDGED_CLIENT_TLS_KEY` are of use together only")]
    HalfIdentity,
    /// No address.
    #[error("`{addr}` is no address: {reason}")]
    Address {
        /// What was given.
        addr: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No token.
    #[error("the token cannot be sent: it is not one line of plain letters")]
    Token,
    /// Others could read it.
    #[error("the token would go to `{addr}` in the clear: give `ca`, or an address with https://")]
    TokenInClear {
        /// Where.
        addr: String,
    },
    /// Certificates or a key.
    #[error("the certificates cannot be used")]
    Tls(#[source] tonic::transport::Error),
}

impl Connection {
    /// To a daemon that asks for neither certificate nor token.
    pub fn to(addr: impl Into<String>) -> Self {
        Self {
            addr: addr.into(),
            ca: None,
            identity: None,
            token: None,
            timeout: Duration::from_secs(60),
            attempts: 5,
        }
    }

    /// As the environment says: `JUDGED_ADDR`, `JUDGED_CLIENT_TLS_CA`, `_CERT` and `_KEY` (PEM files), and
    /// `JUDGED_TOKEN`, or the content of `JUDGED_TOKEN_FILE`.
    pub fn from_env() -> Result<Self, ConnectionError> {
        let addr = text("JUDGED_ADDR").unwrap_or_else(|| "127.0.0.1:50551".to_owned());
        let identity = match (
            file("JUDGED_CLIENT_TLS_CERT")?,
            file("JUDGED_CLIENT_TLS_KEY")?,
        ) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => return Err(ConnectionError::HalfIdentity),
        };
        let token = match file("JUDGED_TOKEN_FILE")? {
            Some(kept) => Some(String::from_utf8(kept).map_err(|_| ConnectionError::Token)?),
            None => text("JUDGED_TOKEN"),
        };
        Ok(Self {
            ca: file("JUDGED_CLIENT_TLS_CA")?,
            identity,
            token,
            ..Self::to(addr)
        })
    }

    pub(crate) fn endpoint(&self) -> Result<Endpoint, ConnectionError> {
        let scheme = match self.ca.is_some() || self.identity.is_some() {
            true => "https",
            false => "http",
        };
        let url = match self.addr.contains("://") {
            true => self.addr.clone(),
            false => format!("{scheme}://{}", self.addr),
        };
        let invalid = |reason: String| ConnectionError::Address {
            addr: self.addr.clone(),
            reason,
        };
        let endpoint = Endpoint::from_shared(url).map_err(|error| invalid(error.to_string()))?;
        let uri = endpoint.uri().clone();
        let endpoint = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(PINGS_APART)
            .keep_alive_timeout(PING_TIMEOUT);
        match uri.scheme_str() {
            Some("https") => endpoint
                .tls_config(self.tls())
                .map_err(ConnectionError::Tls),
            Some("http") if self.token.is_none() || is_here(uri.host()) => Ok(endpoint),
            Some("http") => Err(ConnectionError::TokenInClear {
                addr: self.addr.clone(),
            }),
            _ => Err(invalid("its scheme is neither http nor https".to_owned())),
        }
    }

    fn tls(&self) -> ClientTlsConfig {
        let config = match &self.ca {
            Some(ca) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca)),
            None => ClientTlsConfig::new().with_webpki_roots(),
        };
        match &self.identity {
            Some((cert, key)) => config.identity(Identity::from_pem(cert, key)),
            None => config,
        }
    }

    pub(crate) fn bearer(&self) -> Result<Bearer, ConnectionError> {
        let Some(token) = &self.token else {
            return Ok(Bearer(None));
        };
        let header = format!("Bearer {}", token.trim()).parse();
        let mut header: MetadataValue<Ascii> = header.map_err(|_| ConnectionError::Token)?;
        header.set_sensitive(true);
        Ok(Bearer(Some(header)))
    }
}

/// A key and a token are not to be seen.
impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("addr", &self.addr)
            .field("timeout", &self.timeout)
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}

/// A machine that does not answer is tried again.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// While a call is open: what waits for a host that is gone without a word ends as `Unavailable`.
const PINGS_APART: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

fn text(variable: &str) -> Option<String> {
    env::var(variable)
        .ok()
        .filter(|text| !text.trim().is_empty())
}

fn file(variable: &'static str) -> Result<Option<Vec<u8>>, ConnectionError> {
    let Some(path) = text(variable).map(PathBuf::from) else {
        return Ok(None);
    };
    match fs::read(&path) {
        Ok(content) => Ok(Some(content)),
        Err(source) => Err(ConnectionError::File {
            variable,
            path,
            source,
        }),
    }
}

fn is_here(host: Option<&str>) -> bool {
    let host = host.unwrap_or_default();
    let addr: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    host == "localhost" || addr.is_some_and(|addr| addr.is_loopback())
}

/// Shows the token with each call.
#[derive(Clone)]
pub(crate) struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(header) = &self.0 {
            let metadata = request.metadata_mut();
            metadata.insert("authorization", header.clone());
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_in_the_clear_to_this_machine_alone() {
        let with_token = |addr: &str| Connection {
            token: Some("secret".to_owned()),
            ..Connection::to(addr)
        };
        for addr in [
            "127.0.0.1:1",
            "localhost:1",
            "[::1]:1",
            "https://judge.example:1",
        ] {
            with_token(addr).endpoint().unwrap();
        }
        for addr in ["192.0.2.1:1", "http://127.0.0.1.example:1"] {
            let refused = with_token(addr).endpoint();
            assert!(
                matches!(refused, Err(ConnectionError::TokenInClear { .. })),
                "{addr}"
            );
        }
    }

    #[test]
    fn what_is_no_address_and_no_token_is_told() {
        let refused = Connection::to("ftp://judge.example").endpoint();
        assert!(matches!(refused, Err(ConnectionError::Address { .. })));
        let two_lines = Connection {
            token: Some("a\nb".to_owned()),
            ..Connection::to("localhost:1")
        };
        assert!(matches!(two_lines.bearer(), Err(ConnectionError::Token)));
        assert!(!format!("{two_lines:?}").contains("a\\nb"));
    }
}
