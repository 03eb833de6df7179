use super::*;

#[tokio::test]
async fn what_was_recorded_is_read_back_to_the_bit() {
    let folder = Folder::new();
    let log = folder.open();
    let written = Record {
        request_id: Some("r-1".to_owned()),
        caller: Some("crm".to_owned()),
        ..record("d-1", 5)
    };
    log.record(written.clone()).await.unwrap();
    let entry = log.get("d-1").await.unwrap().unwrap();
    assert_eq!(entry.record, written);
    assert_eq!(entry.record.subject.channel, Channel::Linkedin);
    assert_eq!((entry.shadow, entry.outcomes), (None, Vec::new()));
    assert_eq!(log.get("d-2").await.unwrap(), None);
}

#[tokio::test]
async fn a_decision_without_a_model_or_a_content_is_read_back_too() {
    let folder = Folder::new();
    let log = folder.open();
    let mut written = record("d-1", 0);
    written.decision = Decision {
        scores: None,
        model: None,
        decided_by: DecidedBy::Rules,
        mode: Mode::RulesOnly,
        degraded_reason: Some("the model is missing".to_owned()),
        rules: Vec::new(),
        ..written.decision
    };
    written.subject.content = None;
    written.origin = Origin::SpotCheck;
    log.record(written.clone()).await.unwrap();
    let entry = log.get("d-1").await.unwrap().unwrap();
    assert_eq!(entry.record, written);
}

#[tokio::test]
async fn a_rationale_is_filled_in_once() {
    let folder = Folder::new();
    let log = folder.open();
    let certain = Record {
        rationale_pending: true,
        request_id: Some("r".to_owned()),
        ..record("d-1", 0)
    };
    log.record(certain).await.unwrap();
    let found = log.find_request("r", at(0)).await.unwrap().unwrap();
    assert!(found.rationale_pending);
    let completion = Completion {
        rationale: "Because.".to_owned(),
        usage: Usage::default(),
        timings: Timings::default(),
        degraded_reason: Some("no rationale".to_owned()),
    };
    log.complete("d-1", completion.clone()).await.unwrap();
    let entry = log.get("d-1").await.unwrap().unwrap();
    assert!(!entry.record.rationale_pending);
    assert_eq!(Completion::of(&entry.record.decision), completion);

    let again = log.complete("d-1", completion.clone()).await.unwrap_err();
    assert_eq!(
        again.to_string(),
        "decision `d-1` has its rationale already"
    );
    let unknown = log.complete("d-2", completion).await.unwrap_err();
    assert_eq!(unknown.to_string(), "decision `d-2` is not in the log");
}

#[tokio::test]
async fn the_models_answer_is_kept_beside_the_rules() {
    let folder = Folder::new();
    let log = folder.open();
    log.record(record("d-1", 0)).await.unwrap();
    log.attach_shadow("d-1", &shadow(Label::Pass))
        .await
        .unwrap();
    let entry = log.get("d-1").await.unwrap().unwrap();
    assert_eq!(entry.shadow, Some(shadow(Label::Pass)));
    assert_eq!(entry.record.decision.label, Label::Block);
    let again = log.attach_shadow("d-1", &shadow(Label::Block)).await;
    assert!(matches!(again, Err(LogError::AlreadyThere { .. })));
    let unknown = log.attach_shadow("d-2", &shadow(Label::Block)).await;
    assert!(matches!(unknown, Err(LogError::UnknownDecision(_))));
}

#[tokio::test]
async fn a_decision_keeps_all_its_outcomes_in_their_order() {
    let folder = Folder::new();
    let log = folder.open();
    log.record(record("d-1", 0)).await.unwrap();
    let findings = [
        Finding::FalsePositive,
        Finding::MissedViolation(Label::Suppress),
        Finding::Incident { tier: 1 },
        Finding::Right,
    ];
    for finding in findings {
        log.report(outcome("d-1", finding)).await.unwrap();
    }
    let entry = log.get("d-1").await.unwrap().unwrap();
    let expected = findings.map(|finding| outcome("d-1", finding));
    assert_eq!(entry.outcomes, expected);

    let unknown = log.report(outcome("d-2", Finding::Right)).await;
    assert!(matches!(unknown, Err(LogError::UnknownDecision(id)) if id == "d-2"));
}

#[tokio::test]
async fn reports_of_one_decision_have_a_limit() {
    let folder = Folder::new();
    let log = folder.open();
    log.record(record("d-1", 0)).await.unwrap();
    for _ in 0..OUTCOMES_LIMIT {
        log.report(outcome("d-1", Finding::Right)).await.unwrap();
    }
    let over = log.report(outcome("d-1", Finding::Right)).await;
    assert!(matches!(over, Err(LogError::TooManyOutcomes { .. })));
}

#[tokio::test]
async fn a_request_id_stands_for_one_decision_within_the_window() {
    let folder = Folder::new();
    let hour = 3600;
    let log = folder.open();
    let with_id = |decision_id: &str, seconds| Record {
        request_id: Some("r".to_owned()),
        ..record(decision_id, seconds)
    };
    log.record(with_id("d-1", 0)).await.unwrap();
    let taken = log.record(with_id("d-2", 24 * hour)).await.unwrap_err();
    assert_eq!(
        taken.to_string(),
        "request id `r` stands for another decision"
    );
    assert_eq!(log.get("d-2").await.unwrap(), None);

    log.record(with_id("d-3", 24 * hour + 1)).await.unwrap();
    let found = log.find_request("r", at(0)).await.unwrap().unwrap();
    assert_eq!(found.decision, decision("d-3"));
    assert_eq!(found.content_hash, [7; 32]);
    let old = log.get("d-1").await.unwrap().unwrap();
    assert_eq!(old.record.request_id.as_deref(), Some("r"));
    let later = log.find_request("r", at(24 * hour + 2)).await.unwrap();
    assert_eq!(later, None);
    assert_eq!(log.find_request("other", at(0)).await.unwrap(), None);
}

#[tokio::test]
async fn request_ids_are_known_after_a_restart() {
    let folder = Folder::new();
    let log = folder.open();
    let written = Record {
        request_id: Some("r".to_owned()),
        ..record("d-1", 0)
    };
    log.record(written).await.unwrap();
    log.close().await;
    let found = folder.open().find_request("r", at(0)).await.unwrap();
    assert_eq!(found.unwrap().decision, decision("d-1"));
}

#[tokio::test]
async fn a_decision_id_is_taken_once() {
    let folder = Folder::new();
    let log = folder.open();
    log.record(record("d-1", 0)).await.unwrap();
    let taken = log.record(record("d-1", 1)).await;
    assert!(matches!(taken, Err(LogError::DecisionIdTaken(id)) if id == "d-1"));
}

#[tokio::test]
async fn the_last_spot_check_is_the_one_that_was_recorded_last() {
    let folder = Folder::new();
    let log = folder.open();
    assert_eq!(log.last_spot_check().await.unwrap(), None);
    let check = |run_id: &str, seconds| SpotCheck {
        run_id: run_id.to_owned(),
        time: at(seconds),
        suite_sha256: "ef".repeat(32),
        probes: [(
            "A07".to_owned(),
            ProbeScore {
                right: 9,
                total: 20,
            },
        )]
        .into(),
        model: Some(model()),
    };
    let without_model = SpotCheck {
        model: None,
        ..check("s-1", 60)
    };
    log.record_spot_check(without_model.clone()).await.unwrap();
    assert_eq!(log.last_spot_check().await.unwrap(), Some(without_model));
    // The clock ran ahead before.
    log.record_spot_check(check("s-0", 30)).await.unwrap();
    assert_eq!(log.last_spot_check().await.unwrap(), Some(check("s-0", 30)));
    log.record_spot_check(check("s-2", 90)).await.unwrap();
    assert_eq!(log.last_spot_check().await.unwrap(), Some(check("s-2", 90)));
    let again = log.record_spot_check(check("s-2", 120)).await;
    assert!(matches!(again, Err(LogError::SpotCheckTaken(id)) if id == "s-2"));
}

#[tokio::test]
async fn a_state_document_takes_the_place_of_the_one_before_and_outlives_the_daemon() {
    let folder = Folder::new();
    let log = folder.open();
    assert_eq!(log.state("mode").await.unwrap(), None);
    let first = serde_json::json!({ "mode": "SHADOW" });
    let second = serde_json::json!({ "mode": "ENFORCE", "since": 3 });
    log.put_state("mode", &first).await.unwrap();
    log.put_state("mode", &second).await.unwrap();
    log.put_state("other", &first).await.unwrap();
    drop(log);
    let log = folder.open();
    assert_eq!(log.state("mode").await.unwrap(), Some(second));
}
