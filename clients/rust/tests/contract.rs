//! What only a daemon with a real model shows: the one at JUDGED_ADDR.
//! clients/python/tests/test_contract.py tests more.

use std::env;
use std::time::Duration;

use judged_client::{Connection, DecidedBy, Draft, Judge, Rationale};

const PROSPECT: &str = r#"{"company": "DevCo", "headcount": 200}"#;

#[tokio::test]
#[ignore = "needs a daemon with a real model at JUDGED_ADDR"]
async fn evidence_quotes_rather_than_explains() {
    let connection = Connection {
        timeout: Duration::from_secs(120),
        ..Connection::to(env::var("JUDGED_ADDR").unwrap())
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
