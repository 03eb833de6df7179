//! How the NATS server is reached: what is shown to it, and whom it must be known by.

use std::fmt;
use std::io;
use std::path::PathBuf;

use async_nats::{Client, ConnectOptions, Event, ServerAddr};

/// The default is neither TLS nor credentials.
#[derive(Clone, Default)]
pub struct Access {
    /// The text of a credentials file: a JWT and the seed of its key.
    pub credentials: Option<String>,
    /// The seed of an nkey.
    pub nkey: Option<String>,
    pub token: Option<String>,
    pub password: Option<(String, String)>,
    /// The authorities that the server's certificate may come from: a PEM file. Without it those
    /// that this machine trusts.
    pub ca: Option<PathBuf>,
    /// Our certificate and its key: PEM files.
    pub identity: Option<(PathBuf, PathBuf)>,
}

#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    #[error("`{addr}` is no address of a NATS server")]
    Address { addr: String, source: io::Error },
    #[error("the NATS credentials cannot be read")]
    Credentials(#[source] io::Error),
    #[error("no NATS server lets us in at `{servers}`: is nats-server running there?")]
    Connect {
        servers: String,
        source: async_nats::ConnectError,
    },
}

/// Connects to one of `servers`, `host:port` or URLs. Afterwards a lost connection is made anew as
/// often as it takes.
pub async fn connect(servers: &[String], access: &Access) -> Result<Client, NatsError> {
    let addrs = servers.iter().map(|addr| {
        addr.parse().map_err(|source| NatsError::Address {
            // It may hold a password.
            addr: addr.rsplit('@').next().unwrap_or_default().to_owned(),
            source,
        })
    });
    let addrs: Vec<ServerAddr> = addrs.collect::<Result<_, _>>()?;
    let shown = Shown(&addrs).to_string();
    let options = options(access).map_err(NatsError::Credentials)?;
    let connected = options.connect(&addrs[..]).await;
    connected.map_err(|source| NatsError::Connect {
        servers: shown,
        source,
    })
}

fn options(access: &Access) -> io::Result<ConnectOptions> {
    let mut options = ConnectOptions::new()
        .name(concat!("judged worker ", env!("CARGO_PKG_VERSION")))
        .max_reconnects(None)
        .event_callback(tell);
    let access = access.clone();
    if let Some(text) = &access.credentials {
        // It is read up to a line's end.
        options = options.credentials(&format!("{text}\n"))?;
    }
    if let Some(seed) = access.nkey {
        options = options.nkey(seed);
    }
    if let Some(token) = access.token {
        options = options.token(token);
    }
    if let Some((user, password)) = access.password {
        options = options.user_and_password(user, password);
    }
    if access.ca.is_some() || access.identity.is_some() {
        options = options.require_tls(true);
    }
    if let Some(ca) = access.ca {
        options = options.add_root_certificates(ca);
    }
    if let Some((cert, key)) = access.identity {
        options = options.add_client_certificate(cert, key);
    }
    Ok(options)
}

async fn tell(event: Event) {
    match event {
        Event::Connected | Event::Closed | Event::Draining => {
            tracing::info!(%event, "NATS");
        }
        _ => tracing::warn!(%event, "NATS"),
    }
}

/// Addresses without what they hold of passwords.
struct Shown<'a>(&'a [ServerAddr]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, addr) in self.0.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{}:{}", addr.host(), addr.port())?;
        }
        Ok(())
    }
}
