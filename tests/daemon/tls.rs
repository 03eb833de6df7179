//! TLS and client certificates, with real clients, and certificates that change under
//! the daemon.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::certificates::{Authority, Pair};
use crate::support::command::Shell;
use crate::support::daemon::{Daemon, Setup};
use crate::support::http2::{PREFACE, SETTINGS, frame};
use judged::app::App;
use judged::client::{Access, Client, ClientError, Question};
use judged::edge::TlsFiles;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, HandshakeKind, RootCertStore};

/// A daemon whose files the test can change.
struct Secured {
    daemon: Daemon,
    authority: Authority,
    folder: TempDir,
}

impl Secured {
    /// It asks for client certificates of `clients`, if there is one.
    async fn start(clients: Option<&Authority>) -> Self {
        let authority = Authority::new("authority of the daemon");
        let folder = TempDir::new().unwrap();
        let (cert, key) = authority.sign().write(folder.path(), "daemon");
        let client_ca = clients.map(|clients| {
            let path = folder.path().join("clients.pem");
            fs::write(&path, clients.pem()).unwrap();
            path
        });
        let files = TlsFiles {
            cert,
            key,
            client_ca,
        };
        let daemon = Setup::new()
            .with(|config| config.edge.guard.tls = Some(files))
            .start()
            .await;
        Self {
            daemon,
            authority,
            folder,
        }
    }

    async fn judge(&self, access: &Access) -> Result<(), ClientError> {
        let addr = format!("https://{}", self.daemon.judge_addr);
        let mut client = Client::connect_with(&addr, access).await?;
        let question = Question {
            context_json: "{}".to_owned(),
            draft: "say:PASS".to_owned(),
            ..Question::default()
        };
        client.judge(question).await.map(|_| ())
    }

    fn write(&self, pair: &Pair) {
        pair.write(self.folder.path(), "daemon");
    }

    /// Until a client of this authority is answered, or no more.
    async fn until(&self, access: &Access, answered: bool) {
        let end = Instant::now() + Duration::from_secs(30);
        while self.judge(access).await.is_ok() != answered {
            assert!(Instant::now() < end, "the files were not read again");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn with(access: Access, pair: &Pair) -> Access {
    Access {
        identity: Some(pair.identity()),
        ..access
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_listeners_answer_over_tls_those_who_trust_their_authority() {
    let secured = Secured::start(None).await;
    let access = secured.authority.access();
    secured.judge(&access).await.unwrap();
    let control = &secured.daemon.control_addr;
    let mut client = Client::connect_with(control, &access).await.unwrap();
    client.status().await.unwrap();

    let other = Authority::new("another").access();
    let refused = secured.judge(&other).await;
    assert!(matches!(refused, Err(ClientError::Unreachable { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_the_clear_nobody_is_answered() {
    let secured = Secured::start(None).await;
    let plain = Client::connect(&secured.daemon.judge_addr).await;
    if let Ok(mut client) = plain {
        client.status().await.unwrap_err();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_an_authority_of_clients_every_caller_shows_a_certificate_of_it() {
    let clients = Authority::new("authority of the clients");
    let secured = Secured::start(Some(&clients)).await;
    let access = || secured.authority.access();
    secured
        .judge(&with(access(), &clients.sign()))
        .await
        .unwrap();
    secured.judge(&access()).await.unwrap_err();
    let stranger = Authority::new("another").sign();
    secured.judge(&with(access(), &stranger)).await.unwrap_err();
    // Of the daemon's own authority, which is not that of its clients.
    let own = secured.authority.sign();
    secured.judge(&with(access(), &own)).await.unwrap_err();
}

/// A client that goes on from an earlier connection where it may.
fn resuming(authority: &Authority, own: Option<&Pair>) -> TlsConnector {
    let certificate = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate(&authority.pem())).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match own {
        Some(pair) => {
            let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
            let chain = vec![certificate(&pair.cert)];
            builder.with_client_auth_cert(chain, key).unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsConnector::from(Arc::new(config))
}

/// How the handshake of one more connection went. What the next may go on from comes before the
/// first frame.
async fn handshake(client: &TlsConnector, addr: &str) -> HandshakeKind {
    let stream = TcpStream::connect(addr).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = client.connect(name, stream).await.unwrap();
    stream.write_all(PREFACE).await.unwrap();
    let settings = frame(SETTINGS, 0, 0, &[]);
    stream.write_all(&settings).await.unwrap();
    stream.read_exact(&mut [0; 9]).await.unwrap();
    let (_, tls) = stream.get_ref();
    tls.handshake_kind().unwrap()
}

/// One that was resumed would let a certificate in that has expired since.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_certificate_is_checked_with_each_connection() {
    let clients = Authority::new("authority of the clients");
    let pair = clients.sign();
    for (clients, own, again) in [
        (Some(&clients), Some(&pair), HandshakeKind::Full),
        (None, None, HandshakeKind::Resumed),
    ] {
        let secured = Secured::start(clients).await;
        let client = resuming(&secured.authority, own);
        let addr = &secured.daemon.judge_addr;
        assert_eq!(handshake(&client, addr).await, HandshakeKind::Full);
        assert_eq!(handshake(&client, addr).await, again);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_certificate_is_taken_up_without_a_restart_and_without_ending_connections() {
    let secured = Secured::start(None).await;
    let old = secured.authority.access();
    let addr = format!("https://{}", secured.daemon.control_addr);
    let mut open = Client::connect_with(&addr, &old).await.unwrap();
    open.status().await.unwrap();

    let next = Authority::new("the next authority");
    secured.write(&next.sign());
    secured.until(&next.access(), true).await;
    secured.judge(&old).await.unwrap_err();
    open.status().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_certificate_changes_nothing_until_it_is_whole() {
    let secured = Secured::start(None).await;
    let old = secured.authority.access();
    let next = Authority::new("the next authority");
    let pair = next.sign();
    // A certificate whose key has not come yet, then one that is cut, then none.
    let path = secured.folder.path().join("daemon.pem");
    for broken in [pair.cert.as_str(), &pair.cert[..200], ""] {
        fs::write(&path, broken).unwrap();
        tokio::time::sleep(Duration::from_millis(1300)).await;
        secured.judge(&old).await.unwrap();
    }
    fs::remove_file(&path).unwrap();
    tokio::time::sleep(Duration::from_millis(1300)).await;
    secured.judge(&old).await.unwrap();
    secured.write(&pair);
    secured.until(&next.access(), true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_of_clients_that_is_replaced_lets_its_clients_in_no_more() {
    let clients = Authority::new("authority of the clients");
    let secured = Secured::start(Some(&clients)).await;
    let old = with(secured.authority.access(), &clients.sign());
    secured.judge(&old).await.unwrap();
    let next = Authority::new("the next authority");
    fs::write(secured.folder.path().join("clients.pem"), next.pem()).unwrap();
    secured.until(&old, false).await;
    let new = with(secured.authority.access(), &next.sign());
    secured.judge(&new).await.unwrap();
}

#[tokio::test]
async fn files_that_cannot_be_used_end_the_start_and_are_named() {
    let authority = Authority::new("authority");
    let folder = TempDir::new().unwrap();
    let (cert, key) = authority.sign().write(folder.path(), "daemon");
    let (_, other_key) = authority.sign().write(folder.path(), "other");
    let missing = folder.path().join("missing.pem");
    for (cert, key, client_ca, told) in [
        (&cert, &other_key, None, "other.key"),
        (&missing, &key, None, "missing.pem"),
        (&key, &key, None, "no PEM file with a certificate"),
        (&cert, &cert, None, "no PEM file with a private key"),
        (&cert, &key, Some(&key), "daemon.key"),
    ] {
        let files = TlsFiles {
            cert: cert.clone(),
            key: key.clone(),
            client_ca: client_ca.cloned(),
        };
        let setup = Setup::new().with(|config| config.edge.guard.tls = Some(files));
        let started = App::start(&setup.config, setup.bundle.clone(), setup.source.clone()).await;
        let error = started.err().map(|error| format!("{error:#}")).unwrap();
        assert!(error.contains(told), "{told}: {error}");
    }
}

/// What `openssl s_client` says of a handshake.
fn s_client(addr: &str, arguments: &[&str]) -> (bool, String) {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", addr, "-verify_return_error"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text.into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openssl_sees_tls_1_3_with_http_2_and_nothing_older() {
    let secured = Secured::start(None).await;
    let ca = secured.folder.path().join("ca.pem");
    fs::write(&ca, secured.authority.pem()).unwrap();
    let ca = ca.to_str().unwrap();
    let addr = secured.daemon.judge_addr.clone();
    let ask = move |arguments: &[&str]| s_client(&addr, arguments);

    let (good, text) = ask(&["-CAfile", ca, "-alpn", "h2"]);
    assert!(good, "{text}");
    for told in ["TLSv1.3", "ALPN protocol: h2", "Verification: OK"] {
        assert!(text.contains(told), "{told}: {text}");
    }
    let (good, text) = ask(&["-CAfile", ca, "-alpn", "h2", "-tls1_2"]);
    assert!(!good, "{text}");
    let (good, text) = ask(&["-CAfile", ca, "-alpn", "http/1.1"]);
    assert!(!good, "{text}");
}

/// The shell commands of a section of docs/security.md.
fn commands(section: &str) -> String {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/security.md"));
    let page = page.unwrap();
    let (_, rest) = page.split_once(&format!("## {section}\n")).unwrap();
    let (_, block) = rest.split_once("```sh\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    block.to_owned()
}

/// As in a pod, where the probe is a command beside the daemon.
#[test]
fn health_is_told_over_tls_without_a_token() {
    let shell = Shell::new();
    let authority = Authority::new("authority of the daemon");
    let (cert, key) = authority.sign().write(shell.home.path(), "daemon");
    let ca = shell.file("ca.pem", &authority.pem());
    let tokens = shell.file("tokens.toml", "");
    let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
    let files = ["--tls-cert", cert, "--tls-key", key, "--tokens", &tokens];
    let served = shell.serve(&[&["--mode=rules-only"], &files[..]].concat());
    let addr = format!("https://{}", served.judge);
    let env = [("JUDGED_CLIENT_TLS_CA", ca.as_str())];
    let ran = shell.run_with(&["health", "--addr", &addr], &env, "");
    assert_eq!((ran.code, ran.stdout.trim()), (0, "SERVING"), "{ran:?}");
    assert_eq!(shell.run(&["health", "--addr", &addr]).code, 3);
    assert_ne!(shell.run(&["health", "--addr", &served.judge]).code, 0);
}

#[test]
fn the_commands_of_the_security_page_make_certificates_that_work() {
    let shell = Shell::new();
    let ran = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &commands("Certificates")])
        .current_dir(shell.home.path())
        .output()
        .unwrap();
    assert!(ran.status.success(), "{ran:?}");
    let path = |name: &str| {
        let path = shell.home.path().join(name);
        path.to_str().unwrap().to_owned()
    };
    let ca = path("ca.pem");
    let served = shell.serve(&[
        "--mode=rules-only",
        "--tls-cert",
        &path("judged.pem"),
        "--tls-key",
        &path("judged.key"),
        "--tls-client-ca",
        &ca,
    ]);
    let ask = |more: &[&str]| {
        let addr = ["judge", "--addr", &served.judge, "--tls-ca", &ca];
        let case = ["--context", "{}", "--draft", "Hi"];
        shell.run(&[&addr[..], &case, more].concat())
    };
    let (cert, key) = (path("crm.pem"), path("crm.key"));
    let answered = ask(&["--tls-cert", &cert, "--tls-key", &key]);
    assert_eq!(answered.code, 0, "{answered:?}");
    assert_ne!(ask(&[]).code, 0);
    served.signal("TERM");
    let log = served.end(Duration::from_secs(30)).stderr;
    assert!(log.contains("no connection came about"), "{log}");
}
