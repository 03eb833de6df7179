//! How a command reaches its daemon.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;

use crate::client::{Access, Client};

// No doc comment: clap would take it for that of the command.
#[derive(Args, Debug)]
pub(super) struct AccessArgs {
    /// The authorities that the daemon's certificate may come from: a PEM file. Without it,
    /// `https://` trusts those that browsers trust.
    #[arg(long, value_name = "FILE", env = "JUDGED_CLIENT_TLS_CA")]
    tls_ca: Option<PathBuf>,

    /// Our certificate, for a daemon that asks for one: a PEM file.
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_key",
        env = "JUDGED_CLIENT_TLS_CERT"
    )]
    tls_cert: Option<PathBuf>,

    /// The private key of --tls-cert: a PEM file.
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_cert",
        env = "JUDGED_CLIENT_TLS_KEY"
    )]
    tls_key: Option<PathBuf>,

    /// A file with the token for a daemon that asks for one; else the environment variable
    /// JUDGED_TOKEN holds it.
    #[arg(long, value_name = "FILE", env = "JUDGED_TOKEN_FILE")]
    token_file: Option<PathBuf>,
}

impl AccessArgs {
    /// Reads the files.
    pub(super) fn read(&self) -> anyhow::Result<Access> {
        let token = match &self.token_file {
            Some(path) => Some(token(path)?),
            None => std::env::var("JUDGED_TOKEN").ok(),
        };
        let identity = match (&self.tls_cert, &self.tls_key) {
            (Some(cert), Some(key)) => Some((read(cert)?, read(key)?)),
            _ => None,
        };
        Ok(Access {
            ca: self.tls_ca.as_deref().map(read).transpose()?,
            identity,
            token: token.filter(|token| !token.is_empty()),
        })
    }

    pub(super) async fn connect(&self, addr: &str) -> anyhow::Result<Client> {
        Ok(Client::connect_with(addr, &self.read()?).await?)
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))
}

fn token(path: &Path) -> anyhow::Result<String> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    match text.trim() {
        "" => bail!("`{}` holds no token", path.display()),
        token => Ok(token.to_owned()),
    }
}
