//! Certificates to a TLS server: TLS 1.3 alone, HTTP/2 alone.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::{RootCertStore, ServerConfig, version};
use x509_cert::Certificate;
use x509_cert::der::Decode;

use super::EdgeError;
use super::reload::Source;

/// PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The daemon's certificate, and those between it and its authority.
    pub cert: PathBuf,
    pub key: PathBuf,
    /// Authorities of client certificates; with them every caller must show one.
    pub client_ca: Option<PathBuf>,
}

/// By what the listeners prove themselves.
#[derive(Debug)]
pub struct ServerTls {
    pub config: Arc<ServerConfig>,
    /// When the daemon's own certificate expires, where that can be read. Of those above it callers
    /// may pass over one.
    pub expires: Option<SystemTime>,
}

/// Whoever watches a log alone should hear of it in time for a new one.
const SOON: Duration = Duration::from_secs(21 * 24 * 60 * 60);

impl Source for TlsFiles {
    type Value = ServerTls;

    fn paths(&self) -> Vec<&Path> {
        let paths = [Some(&self.cert), Some(&self.key), self.client_ca.as_ref()];
        paths.into_iter().flatten().map(PathBuf::as_path).collect()
    }

    fn parse(&self, contents: &[Vec<u8>]) -> Result<ServerTls, EdgeError> {
        let content = |index: usize| contents.get(index).map_or(&[][..], Vec::as_slice);
        let chain = certificates(&self.cert, content(0))?;
        let expires = chain.first().and_then(expiry);
        let key = PrivateKeyDer::from_pem_slice(content(1)).map_err(|_| EdgeError::NoKey {
            path: self.key.clone(),
        })?;
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&version::TLS13])
            .map_err(EdgeError::Tls)?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let verifier = client_verifier(path, content(2), provider)?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config =
            builder
                .with_single_cert(chain, key)
                .map_err(|source| EdgeError::Pair {
                    cert: self.cert.clone(),
                    key: self.key.clone(),
                    source,
                })?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        if self.client_ca.is_some() {
            // A resumed session brings its certificate along, unchecked: one that has expired too.
            config.send_tls13_tickets = 0;
            config.session_storage = Arc::new(NoServerSessionStorage {});
        }
        Ok(ServerTls {
            config: Arc::new(config),
            expires,
        })
    }

    fn warn_of(&self, tls: &ServerTls) {
        let Some(expires) = tls.expires else { return };
        let file = self.cert.display();
        match expires.duration_since(SystemTime::now()) {
            Err(_) => {
                tracing::warn!(%file, "the certificate has expired: callers refuse it");
            }
            Ok(left) if left < SOON => {
                let days = left.as_secs() / (24 * 60 * 60);
                tracing::warn!(%file, days, "the certificate expires soon");
            }
            Ok(_) => {}
        }
    }
}

fn expiry(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let since_1970 = certificate
        .tbs_certificate
        .validity
        .not_after
        .to_unix_duration();
    SystemTime::UNIX_EPOCH.checked_add(since_1970)
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, EdgeError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(EdgeError::NoCertificate {
            path: path.to_owned(),
        }),
    }
}

fn client_verifier(
    path: &Path,
    pem: &[u8],
    provider: Arc<tokio_rustls::rustls::crypto::CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, EdgeError> {
    let unusable = |source: Box<dyn std::error::Error + Send + Sync>| EdgeError::ClientCa {
        path: path.to_owned(),
        source,
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, pem)? {
        roots
            .add(certificate)
            .map_err(|error| unusable(error.into()))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| unusable(error.into()))
}
