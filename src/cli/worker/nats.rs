//! How the worker reaches its NATS server.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use async_nats::Client;
use clap::Args;

use crate::worker::nats::{Access, NatsError, connect};

// No doc comment: clap would take it for that of the command.
#[derive(Args, Debug)]
pub(super) struct NatsArgs {
    /// NATS servers: `host:port` or URLs, those of one cluster with `,` between them.
    #[arg(
        long,
        value_name = "URL,…",
        default_value = "nats://127.0.0.1:4222",
        value_delimiter = ',',
        env = "JUDGED_NATS"
    )]
    nats: Vec<String>,

    /// A credentials file (a JWT and the seed of its key), as `nsc` writes it.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["nats_nkey", "nats_token_file", "nats_user"],
        env = "JUDGED_NATS_CREDS"
    )]
    nats_creds: Option<PathBuf>,

    /// A file with the seed of an nkey.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["nats_token_file", "nats_user"],
        env = "JUDGED_NATS_NKEY"
    )]
    nats_nkey: Option<PathBuf>,

    /// A file with a token.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "nats_user",
        env = "JUDGED_NATS_TOKEN_FILE"
    )]
    nats_token_file: Option<PathBuf>,

    /// A user, with --nats-password-file.
    #[arg(
        long,
        value_name = "NAME",
        requires = "nats_password_file",
        env = "JUDGED_NATS_USER"
    )]
    nats_user: Option<String>,

    /// A file with the password of --nats-user.
    #[arg(
        long,
        value_name = "FILE",
        requires = "nats_user",
        env = "JUDGED_NATS_PASSWORD_FILE"
    )]
    nats_password_file: Option<PathBuf>,

    /// TLS, with the authorities that the server's certificate may come from: a PEM file. A `tls://`
    /// URL without it trusts those that this machine trusts.
    #[arg(long, value_name = "FILE", env = "JUDGED_NATS_TLS_CA")]
    nats_tls_ca: Option<PathBuf>,

    /// Our certificate, for a server that asks for one: a PEM file.
    #[arg(
        long,
        value_name = "FILE",
        requires = "nats_tls_key",
        env = "JUDGED_NATS_TLS_CERT"
    )]
    nats_tls_cert: Option<PathBuf>,

    /// The private key of --nats-tls-cert: a PEM file.
    #[arg(
        long,
        value_name = "FILE",
        requires = "nats_tls_cert",
        env = "JUDGED_NATS_TLS_KEY"
    )]
    nats_tls_key: Option<PathBuf>,
}

impl NatsArgs {
    /// Reads the files, and connects.
    pub(super) async fn connect(&self) -> anyhow::Result<Result<Client, NatsError>> {
        let password = self.nats_password_file.as_deref().map(secret).transpose()?;
        let access = Access {
            credentials: self.nats_creds.as_deref().map(secret).transpose()?,
            nkey: self.nats_nkey.as_deref().map(secret).transpose()?,
            token: self.nats_token_file.as_deref().map(secret).transpose()?,
            password: self.nats_user.clone().zip(password),
            ca: self.nats_tls_ca.clone(),
            identity: self.nats_tls_cert.clone().zip(self.nats_tls_key.clone()),
        };
        Ok(connect(&self.nats, &access).await)
    }
}

fn secret(path: &Path) -> anyhow::Result<String> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    match text.trim() {
        "" => bail!("`{}` is empty", path.display()),
        secret => Ok(secret.to_owned()),
    }
}
