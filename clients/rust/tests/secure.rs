//! TLS, client certificates and tokens, against the daemon at JUDGED_SECURE_ADDR, which asks for
//! all of them and has no model. JUDGED_SECURE_DIR holds ca.pem, and crm.pem, crm.key and
//! crm.token of a client that may judge. Without them nothing is tested here.

#![expect(clippy::unwrap_used, reason = "a test that goes wrong should stop")]

use std::env;
use std::fs;
use std::path::PathBuf;

use judged_client::{Code, Connection, Draft, Finding, Judge, JudgeError, Kind, Label, Report};

fn connection() -> Option<Connection> {
    let folder = PathBuf::from(env::var_os("JUDGED_SECURE_DIR")?);
    let file = |name: &str| fs::read(folder.join(name)).unwrap();
    Some(Connection {
        ca: Some(file("ca.pem")),
        identity: Some((file("crm.pem"), file("crm.key"))),
        token: Some(String::from_utf8(file("crm.token")).unwrap()),
        attempts: 1,
        ..Connection::to(env::var("JUDGED_SECURE_ADDR").unwrap())
    })
}

async fn ask(connection: Connection) -> Result<Label, JudgeError> {
    let judge = Judge::new(&connection).unwrap();
    Ok(judge.judge(&Draft::new("{}", "Hi")).await?.label)
}

#[tokio::test]
async fn who_shows_certificate_and_token_is_answered_and_nobody_else() {
    let Some(known) = connection() else { return };
    assert_eq!(ask(known.clone()).await, Ok(Label::Pass));

    let without_token = Connection {
        token: None,
        ..known.clone()
    };
    let error = ask(without_token).await.unwrap_err();
    assert_eq!(
        (error.code, error.reason.as_str()),
        (Code::Unauthenticated, "TOKEN_MISSING")
    );
    assert_eq!(error.kind(), Kind::Denied);

    let judge = Judge::new(&known).unwrap();
    let report = Report::new("any", Finding::Right, "Ada Moss");
    let error = judge.report(&report).await.unwrap_err();
    assert_eq!(
        (error.code, error.reason.as_str()),
        (Code::PermissionDenied, "SCOPE_MISSING")
    );

    let without_certificate = Connection {
        identity: None,
        ..known
    };
    let error = ask(without_certificate).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
}
