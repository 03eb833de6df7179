//! How a daemon is reached: what is shown to it, and whom it must be known by.

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status};

use super::ClientError;

/// The default is neither TLS nor a token.
#[derive(Clone, Default)]
pub struct Access {
    /// The authorities that the daemon's certificate may come from, as PEM; without them,
    /// those that browsers trust.
    pub ca: Option<Vec<u8>>,
    /// Our certificate and its key, as PEM.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
    pub token: Option<String>,
}

impl Access {
    /// Where `host:port` or a URL is. Without a scheme, it is TLS where something here is
    /// of use for TLS alone.
    pub(super) fn endpoint(&self, addr: &str) -> Result<Endpoint, ClientError> {
        let scheme = match self.ca.is_some() || self.identity.is_some() {
            true => "https",
            false => "http",
        };
        let url = match addr.contains("://") {
            true => addr.to_owned(),
            false => format!("{scheme}://{addr}"),
        };
        let invalid = |reason: String| ClientError::Address {
            addr: addr.to_owned(),
            reason,
        };
        let endpoint = Endpoint::from_shared(url).map_err(|error| invalid(error.to_string()))?;
        let uri = endpoint.uri();
        match uri.scheme_str() {
            Some("https") => endpoint
                .tls_config(self.tls())
                .map_err(|source| ClientError::Tls { source }),
            Some("http") if self.token.is_none() || is_loopback(uri.host()) => Ok(endpoint),
            Some("http") => Err(ClientError::TokenInClear {
                addr: addr.to_owned(),
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

    pub(super) fn bearer(&self) -> Result<Bearer, ClientError> {
        let header = match &self.token {
            Some(token) => {
                let header = format!("Bearer {token}").parse();
                let mut header: MetadataValue<Ascii> = header.map_err(|_| ClientError::Token)?;
                header.set_sensitive(true);
                Some(header)
            }
            None => None,
        };
        Ok(Bearer { header })
    }
}

fn is_loopback(host: Option<&str>) -> bool {
    let host = host.unwrap_or_default();
    let addr: Option<std::net::IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    host == "localhost" || addr.is_some_and(|addr| addr.is_loopback())
}

/// Shows the token with each call.
#[derive(Clone)]
pub struct Bearer {
    header: Option<MetadataValue<Ascii>>,
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(header) = &self.header {
            let metadata = request.metadata_mut();
            metadata.insert("authorization", header.clone());
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(token: Option<&str>, ca: bool) -> Access {
        Access {
            ca: ca.then(Vec::new),
            token: token.map(str::to_owned),
            ..Access::default()
        }
    }

    #[test]
    fn a_token_goes_in_the_clear_to_this_machine_alone() {
        let with_token = access(Some("secret"), false);
        for addr in ["127.0.0.1:1", "localhost:1", "http://[::1]:1"] {
            with_token.endpoint(addr).unwrap();
        }
        for addr in [
            "192.0.2.1:1",
            "http://judge.example:1",
            "http://127.0.0.1.example:1",
        ] {
            let refused = with_token.endpoint(addr);
            assert!(
                matches!(refused, Err(ClientError::TokenInClear { .. })),
                "{addr}"
            );
            access(None, false).endpoint(addr).unwrap();
        }
        with_token.endpoint("https://judge.example:1").unwrap();
    }

    #[test]
    fn an_authority_means_tls_where_no_scheme_is_named() {
        let scheme = |access: Access| {
            let endpoint = access.endpoint("judge.example:1").unwrap();
            endpoint.uri().scheme_str().map(str::to_owned)
        };
        assert_eq!(scheme(access(None, true)).as_deref(), Some("https"));
        assert_eq!(scheme(access(None, false)).as_deref(), Some("http"));
    }

    #[test]
    fn what_is_no_token_and_no_address_is_refused() {
        let two_lines = access(Some("a\nb"), false);
        assert!(matches!(two_lines.bearer(), Err(ClientError::Token)));
        let refused = access(None, false).endpoint("ftp://judge.example");
        assert!(matches!(refused, Err(ClientError::Address { .. })));
    }
}
