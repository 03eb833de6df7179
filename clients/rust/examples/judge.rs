//! Asks a running daemon about one draft.

use judged_client::{Connection, Draft, Judge};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let judge = Judge::new(&Connection::from_env()?)?;
    let context = r#"{"company": "DevCo", "headcount": 200, "opt_out_channels": ["email"]}"#;
    let draft = Draft::new(context, "Hi, a word about your roadmap …");
    let verdict = judge.judge(&draft).await?;
    println!(
        "{} {} {}",
        verdict.label, verdict.disposition, verdict.rationale
    );
    if verdict.may_send() {
        println!("send it");
    }
    Ok(())
}
