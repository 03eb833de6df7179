//! What can be wrong with the files of the edge.

use std::path::PathBuf;

use tokio_rustls::rustls;

use crate::tokens::TokensError;

#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    #[error("cannot read `{}`", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("`{}` is no PEM file with a certificate", path.display())]
    NoCertificate { path: PathBuf },
    #[error("`{}` is no PEM file with a private key", path.display())]
    NoKey { path: PathBuf },
    #[error(
        "the certificate `{}` cannot be used with the key `{}`: is it the key's own?",
        cert.display(),
        key.display()
    )]
    Pair {
        cert: PathBuf,
        key: PathBuf,
        source: rustls::Error,
    },
    #[error("`{}` has no authority that clients can be checked against", path.display())]
    ClientCa {
        path: PathBuf,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("this build of TLS lacks what TLS 1.3 needs")]
    Tls(#[source] rustls::Error),
    #[error("`{}` is not UTF-8", path.display())]
    NotText { path: PathBuf },
    #[error("the file of tokens `{}` cannot be used", path.display())]
    Tokens { path: PathBuf, source: TokensError },
}
