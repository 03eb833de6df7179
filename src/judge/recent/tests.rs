use super::*;
use crate::verdict::{DecidedBy, Disposition, Label, Mode, Timings, Usage};

const CONTENT: ContentHash = [1; 32];

fn decision(id: &str) -> Decision {
    Decision {
        decision_id: id.to_owned(),
        label: Label::Pass,
        rationale: String::new(),
        scores: None,
        disposition: Disposition::HoldForReview,
        decided_by: DecidedBy::Rules,
        mode: Mode::RulesOnly,
        degraded_reason: None,
        rules: Vec::new(),
        model: None,
        usage: Usage::default(),
        timings: Timings::default(),
    }
}

/// Whether the id was known; it is afterwards.
async fn is_known(recent: &Recent, id: &str) -> bool {
    let mut claim = recent.claim(id, CONTENT).await.unwrap();
    let known = claim.decision().is_some();
    claim.set(&decision(id));
    recent.entries.run_pending_tasks();
    known
}

#[tokio::test]
async fn the_newest_ids_are_kept_however_often_old_ones_were_asked() {
    let recent = Recent::new(4, Duration::from_secs(60));
    for _ in 0..20 {
        for id in ["a", "b", "c", "d"] {
            is_known(&recent, id).await;
        }
    }
    for id in ["e", "f", "g", "h"] {
        assert!(!is_known(&recent, id).await, "{id}");
    }
    for id in ["e", "f", "g", "h"] {
        assert!(is_known(&recent, id).await, "{id}");
    }
    assert!(!is_known(&recent, "a").await, "there is no room for more");
}

#[tokio::test]
async fn what_the_log_had_is_kept_for_no_second_window() {
    let recent = Recent::new(4, Duration::from_secs(60));
    let mut claim = recent.claim("a", CONTENT).await.unwrap();
    claim.recall(decision("of the day before"));
    assert_eq!(claim.decision(), Some(decision("of the day before")));
    drop(claim);
    let claim = recent.claim("a", CONTENT).await.unwrap();
    assert_eq!(
        claim.decision(),
        None,
        "the log tells whether it still stands"
    );
}

#[tokio::test]
async fn an_id_is_free_again_when_its_claim_is_dropped_without_a_decision() {
    let recent = Recent::new(4, Duration::from_secs(60));
    // Whoever was refused may come again with less.
    drop(recent.claim("a", [2; 32]).await.unwrap());
    assert!(!is_known(&recent, "a").await);
    assert!(is_known(&recent, "a").await);
    assert!(recent.claim("a", [2; 32]).await.is_none());
}
