//! What only a daemon with a real model shows: the one at JUDGED_ADDR. Without it nothing is tested
//! here. clients/python/tests/test_contract.py tests more.

#![expect(clippy::unwrap_used, reason = "a test that goes wrong should stop")]

use std::env;
use std::time::Duration;

use judged_client::{Connection, DecidedBy, Draft, Judge, Rationale};

const PROSPECT: &str = r#"{"company": "DevCo", "headcount": 200}"#;

#[tokio::test]
async fn evidence_quotes_rather_than_explains() {
    let Ok(addr) = env::var("JUDGED_ADDR") else {
        return;
    };
    let connection = Connection {
        timeout: Duration::from_secs(120),
        ..Connection::to(addr)
    };
    let draft = Draft {
        rationale: Rationale::Evidence,
        ..Draft::new(PROSPECT, "Hi, a word about your hiring plans?")
    };
    let judge = Judge::new(&connection).unwrap();
    let verdict = judge.judge(&draft).await.unwrap();
    assert_eq!(verdict.decided_by, DecidedBy::Model);
    let said = verdict.rationale;
    let quotes = said.starts_with("Rule ") && said.contains(": '") && said.ends_with("'.");
    assert!(quotes || said == "No rule fires.", "{said}");
}
