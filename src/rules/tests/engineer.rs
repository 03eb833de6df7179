use serde_json::{Value, json};

use super::*;

const COMMITTED: &str = r#"{"engineer_name":"Abebe Kebede","committed_until":"2026-09-30"}"#;

#[test]
fn an_offer_that_hides_the_commitment_fires() {
    check_all(
        Rule::CommittedEngineer,
        COMMITTED,
        "fired committed_until draft",
        &[
            "Abebe Kebede, a data engineer, is available immediately.",
            "Abebe is available to join your team. Shall I arrange a call?",
            "Abebe Kebede is a strong engineer. He can start right away.",
            "Abebe is available and ready to start.",
            "With Python and AWS, Abebe can hit the ground running this week.",
            "Meet Abebe Kebede, who could begin on Monday.",
            "Abebe Kebede, Python backend. Available now.",
            "Abebe Kebede would join you as soon as the contract is signed.",
            "Abebe is between projects.",
            "Abebe can start on 2026-09-01.",
            "Abebe is committed until June, and can start on 1 September 2026.",
            "Abebe could join you from Sept 14th, 2026.",
            "Abebe Kebede is available immediately. Happy to walk you through his profile.",
            "Abebe Kebede is not on a project and is available immediately.",
            "Abebe is ready to start on 5 September 2026.",
            "Abebe can start immediately, and we may add a second engineer.",
            "Abebe Kebede, who I have worked with for years, is available immediately.",
            "Abebe is on our bench, and if you are looking for a Go engineer he can start on Monday.",
        ],
    );
}

#[test]
fn a_commitment_that_is_disclosed_does_not_fire() {
    check_all(
        Rule::CommittedEngineer,
        COMMITTED,
        "not fired",
        &[
            "Abebe is committed until September 30, 2026, but could start after that.",
            "Abebe will be available to start on October 1st, 2026, after his current project.",
            "Abebe is on another project. He can start immediately after that date.",
            "Abebe is available from October.",
            "Abebe works for a bank through September. He is available immediately then.",
            "Abebe works for a bank through 30 September, and is available immediately then.",
            "Abebe works for a bank thru 2026-09-30, and is available immediately then.",
            "Abebe works for a bank through the end of Q3, and is available immediately then.",
            "Abebe can start on 7 October 2026, and has a commitment until then.",
            "Abebe is not available now, but he frees up in autumn.",
            "Abebe rolls off at the end of the month. I have two others who can start now.",
        ],
    );
}

#[test]
fn a_start_after_the_last_day_does_not_fire() {
    check_all(
        Rule::CommittedEngineer,
        COMMITTED,
        "not fired",
        &[
            "Abebe Kebede is available after 30 September 2026.",
            "Abebe Kebede is available after the 30th of September 2026.",
            "Abebe is available immediately after September 30th, 2026.",
            "Abebe is free once that ends on 30 September 2026.",
        ],
    );
    check_all(
        Rule::CommittedEngineer,
        COMMITTED,
        "fired committed_until draft",
        &[
            "Abebe Kebede is available after 1 September 2026.",
            "Abebe Kebede is available on 30 September 2026.",
        ],
    );
}

#[test]
fn a_draft_that_does_not_offer_the_engineer_does_not_fire() {
    check_all(
        Rule::CommittedEngineer,
        COMMITTED,
        "not fired",
        &[
            "We have three Go engineers available immediately.",
            "Abebe Girma is available now.",
            "Tigist can start today.",
        ],
    );
}

#[test]
fn a_first_name_that_is_a_word_too_is_not_taken_for_the_engineer() {
    let context = r#"{"engineer_name":"Will Stone","committed_until":"2026-09-30"}"#;
    check_drafts(
        Rule::CommittedEngineer,
        context,
        &[
            ("Will you be available now?", "not fired"),
            (
                "Will Stone is available now.",
                "fired committed_until draft",
            ),
        ],
    );
    let lower = "hi, abebe kebede is free right now if you need more hands. call?";
    check_all(
        Rule::CommittedEngineer,
        COMMITTED,
        "fired committed_until draft",
        &[lower],
    );
}

#[test]
fn an_offer_without_a_plain_date_cannot_be_told() {
    check_all(
        Rule::CommittedEngineer,
        COMMITTED,
        "cannot tell committed_until",
        &[
            "Abebe Kebede is a strong data engineer. Shall I send his profile?",
            "Abebe helped a bank to start its migration this month.",
            "Abebe's profile is ready now.",
            "Abebe is available on Thursday for a call.",
            "Abebe is available to discuss your project today.",
            "Abebe would fit, and Dawit can start now.",
            "Abebe would fit, and we can start now.",
            "Abebe fits. Feel free to reply today.",
            "Abebe could begin on 1 September.",
            // A start behind the commitment, or none.
            "Abebe Kebede will be available to start on 5 October 2026.",
            "Abebe Kebede is ready to start on Monday, October 5th.",
            "Abebe can begin in two weeks, on 2026-10-05.",
            "Abebe can't start right away; I can propose Dawit instead.",
            "Abebe won't be able to join immediately.",
            "Abebe isn’t ready to start yet.",
            // Who is free is the sender, or the reader.
            "Let me introduce Abebe Kebede, a senior data engineer; I am free on Tuesday if you want details.",
            "Abebe Kebede knows Kafka well, and I'm available this week if you have questions.",
            "Abebe Kebede knows Kafka well, so if you are free on Thursday I will send his profile.",
            "Abebe Kebede would love to talk: are you free this week?",
        ],
    );
}

#[test]
fn commitments_are_read_in_many_shapes() {
    let offer = "Abebe Kebede is available immediately.";
    let window = |starts: &str, ends: Value, kind: &str| {
        json!({"today": "2026-06-15", "engineer_name": "Abebe Kebede",
            "prior_commitments": [{"starts": starts, "ends": ends, "type": kind}]})
    };
    for (context, expected) in [
        (
            json!({"available_signals": {"bench_engineer_name": "Abebe Kebede", "committed_until": "2026-09-30"}}),
            "fired available_signals.committed_until draft",
        ),
        (
            json!({"availableSignals": {"engineerName": "Abebe Kebede", "committedUntil": "2026-09-30"}}),
            "fired availableSignals.committedUntil draft",
        ),
        (
            json!({"Engineer_Name__c": "Abebe Kebede", "Committed_Until__c": "2026-09-30"}),
            "fired Committed_Until__c draft",
        ),
        (
            json!({"prior_commitments": [{"Engineer__c": "Abebe Kebede", "Ends__c": "2026-09-30"}]}),
            "fired prior_commitments[0].Ends__c draft",
        ),
        (
            json!({"available_signals": {"proposed_engineer": {"name": "Abebe Kebede", "committed_until": "2026-09-30T17:00:00Z"}}}),
            "fired available_signals.proposed_engineer.committed_until draft",
        ),
        (
            json!({"bench": [{"name": "Ruth"}, {"name": "Abebe Kebede", "committed_until": "2026-09-30"}]}),
            "fired bench[1].committed_until draft",
        ),
        (
            json!({"bench_engineer_name": "Abebe Kebede", "committed_until": "mid-August"}),
            "fired committed_until draft",
        ),
        (
            json!({"prior_commitments": [{"engineer": "Abebe Kebede", "ends": "2026-09-30", "type": "client_project"}]}),
            "fired prior_commitments[0].ends draft",
        ),
        (
            window("2026-06-01", json!("2026-09-30"), "client_project"),
            "fired prior_commitments[0].ends draft",
        ),
        (
            window("2026-06-01", Value::Null, "client_project"),
            "fired prior_commitments[0].ends draft",
        ),
        // Not yet, no longer, not settled, not readable.
        (
            window("2026-07-01", json!("2026-09-30"), "client_project"),
            "cannot tell prior_commitments[0].ends",
        ),
        (
            window("2026-01-01", json!("2026-06-14"), "client_project"),
            "not fired",
        ),
        (
            window("2026-01-01", json!("2026-06-15"), "client_project"),
            "fired prior_commitments[0].ends draft",
        ),
        (
            window("2026-06-01", json!("2026-09-30"), "tentative"),
            "cannot tell prior_commitments[0].ends",
        ),
        (
            window("soon", json!("2026-09-30"), "client_project"),
            "cannot tell prior_commitments[0].ends",
        ),
        (
            window("2026-06-01", json!("unclear"), "client_project"),
            "cannot tell prior_commitments[0].ends",
        ),
        (
            json!({"engineer_name": "Abebe Kebede", "committed_until": "2026-09-30", "today": "2026-10-01"}),
            "not fired",
        ),
        (
            json!({"engineer_name": "Abebe Kebede", "committed_until": null}),
            "not fired",
        ),
        (json!({"engineer_name": "Abebe Kebede"}), "not fired"),
        (json!({"prior_commitments": "none"}), "not fired"),
        // Nobody is named: the offer may be of another.
        (
            json!({"committed_until": "2026-09-30"}),
            "cannot tell committed_until",
        ),
        // Without the day, a window that has a start may not have begun.
        (
            json!({"prior_commitments": [{"engineer": "Abebe", "starts": "2026-06-01", "ends": "2026-09-30"}]}),
            "cannot tell prior_commitments[0].ends",
        ),
    ] {
        check_drafts(
            Rule::CommittedEngineer,
            &context.to_string(),
            &[(offer, expected)],
        );
    }
}

#[test]
fn a_window_holds_its_first_and_its_last_day() {
    let context =
        r#"{"prior_commitments":[{"engineer":"Abebe","starts":"2026-06-01","ends":"2026-09-30"}]}"#;
    let fired = "fired prior_commitments[0].ends draft";
    let untold = "cannot tell prior_commitments[0].ends";
    check_drafts(
        Rule::CommittedEngineer,
        context,
        &[
            ("Abebe can start on 2026-05-31.", untold),
            ("Abebe can start on 2026-06-01.", fired),
            ("Abebe can start on 2026-09-30.", fired),
            ("Abebe can start on 2026-10-01.", untold),
            ("Abebe can start on 2026-02-30.", untold),
        ],
    );
}

#[test]
fn too_many_commitments_cannot_be_told() {
    let one = json!({"engineer": "Abebe", "ends": "2026-09-30"});
    let many = |count| json!({"prior_commitments": vec![one.clone(); count]}).to_string();
    let offer = "Abebe is available now.";
    check_drafts(
        Rule::CommittedEngineer,
        &many(16),
        &[(offer, "fired prior_commitments[0].ends draft")],
    );
    check_drafts(
        Rule::CommittedEngineer,
        &many(17),
        &[(offer, "cannot tell prior_commitments[16].ends")],
    );
}
