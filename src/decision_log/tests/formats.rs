use proptest::prelude::*;

use super::*;
use crate::decision_log::stored::{StoredScores, StoredTimings};
use crate::decision_log::time::{before, from_micros, to_micros};

/// A file keeps for years: what format 1 was is written here once more.
#[tokio::test]
async fn a_row_of_format_1_is_read_as_it_was_written() {
    let folder = Folder::new();
    let log = folder.open();
    let insert = r#"
        INSERT INTO decisions (seq, format, decision_id, request_id, content_hash, received,
            origin, mode, decided_by, label, prospect, channel, answer, rest, pending,
            shadow_label, shadow) VALUES (1, 1, 'd-1', 'r-1', zeroblob(32), 1800000000000001,
            'TRAFFIC', 'SHADOW', 'RULES', 'ESCALATE', 'p', 'sms',
            '{"disposition":"ROUTE_TO_HUMAN","scores":{"probabilities":[0.30000000000000004,0.3333333333333333,5e-324,0.0,0.3666666666666666],"legal_mass":0.9999999999999999},"rules":["c_level"],"model":{"bundle":"tiny@1","base_sha256":"ab","adapter_sha256":"cd","adapter_scale":0.7,"template_sha256":"ef"}}',
            '{"rationale":"Why.","degraded_reason":"so","usage":{"prompt_tokens":3,"cached_tokens":2,"generated_tokens":1},"timings":{"queue_nanos":1,"prefill_nanos":2,"decode_nanos":3,"total_nanos":7}}',
            0, 'PASS',
            '{"scores":{"probabilities":[0,0,0,0,1],"legal_mass":1},"model":{"bundle":"tiny@1","base_sha256":"ab","adapter_sha256":null,"adapter_scale":0,"template_sha256":"ef"}}');
        INSERT INTO subjects VALUES (1, zeroblob(32), zeroblob(32), '["$[''draft'']"]', '{}', '[masked]');
        INSERT INTO outcomes VALUES (1, 1, 1800000000000002, 'MISSED_VIOLATION', 'SUPPRESS', NULL, NULL, 'Ada', '');
        INSERT INTO outcomes VALUES (2, 1, 1800000000000003, 'INCIDENT', NULL, 1, NULL, 'Ada', 'called');
    "#;
    let insert_all = move |connection: &mut rusqlite::Connection| {
        for statement in insert.split_inclusive(");\n") {
            connection.execute_batch(statement).unwrap();
        }
    };
    log.run(insert_all).await;
    let entry = log.get("d-1").await.unwrap().unwrap();
    let time = |micros: u64| UNIX_EPOCH + Duration::from_micros(1_800_000_000_000_000 + micros);
    let revision = |adapter: Option<&str>, scale| ModelRevision {
        bundle: "tiny@1".to_owned(),
        base_sha256: "ab".to_owned(),
        adapter_sha256: adapter.map(str::to_owned),
        adapter_scale: scale,
        // Added later: what was written before was never merged.
        adapter_merged: false,
        template_sha256: "ef".to_owned(),
    };
    let of_ada = |micros, finding, note: &str| Outcome {
        decision_id: "d-1".to_owned(),
        time: time(micros),
        finding,
        probe: None,
        who: "Ada".to_owned(),
        note: note.to_owned(),
    };
    let expected = Entry {
        record: Record {
            decision: Decision {
                decision_id: "d-1".to_owned(),
                label: Label::Escalate,
                rationale: "Why.".to_owned(),
                scores: Some(scores()),
                disposition: Disposition::RouteToHuman,
                decided_by: DecidedBy::Rules,
                mode: Mode::Shadow,
                degraded_reason: Some("so".to_owned()),
                rules: vec!["c_level".to_owned()],
                model: Some(revision(Some("cd"), 0.7)),
                usage: Usage {
                    prompt_tokens: 3,
                    cached_tokens: 2,
                    generated_tokens: 1,
                },
                timings: Timings {
                    queue: Duration::from_nanos(1),
                    prefill: Duration::from_nanos(2),
                    decode: Duration::from_nanos(3),
                    total: Duration::from_nanos(7),
                },
            },
            request_id: Some("r-1".to_owned()),
            caller: None,
            content_hash: [0; 32],
            received: time(1),
            origin: Origin::Traffic,
            rationale_pending: false,
            subject: Subject {
                prospect: "p".to_owned(),
                channel: Channel::Sms,
                context_sha256: [0; 32],
                draft_sha256: [0; 32],
                masked: vec!["$['draft']".to_owned()],
                content: Some(Content {
                    context: "{}".to_owned(),
                    draft: "[masked]".to_owned(),
                }),
            },
        },
        shadow: Some(ShadowAnswer {
            label: Label::Pass,
            scores: Scores {
                probabilities: [0.0, 0.0, 0.0, 0.0, 1.0],
                legal_mass: 1.0,
            },
            model: revision(None, 0.0),
        }),
        outcomes: vec![
            of_ada(2, Finding::MissedViolation(Label::Suppress), ""),
            of_ada(3, Finding::Incident { tier: 1 }, "called"),
        ],
    };
    assert_eq!(entry, expected);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_named_with_its_column() {
    let folder = Folder::new();
    let log = folder.open();
    log.record(record("d-1", 0)).await.unwrap();
    let changes = [
        (
            "format = 2",
            "`format` of record `d-1` is not readable: 2 is not known",
        ),
        (
            "format = 1, label = 'MAYBE'",
            "`label` of record `d-1` is not readable: ",
        ),
        (
            "label = 'PASS', rest = '{}'",
            "`rest` of record `d-1` is not readable: ",
        ),
    ];
    for (change, expected) in changes {
        let sql = format!("UPDATE decisions SET {change}");
        log.run(move |connection| connection.execute_batch(&sql).unwrap())
            .await;
        let error = log.get("d-1").await.unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
        assert!(
            log.list(Filter::default(), Contents::Without, 9, "")
                .await
                .is_err()
        );
    }
    assert!(log.health().borrow().is_none());
}

proptest! {
    #[test]
    fn scores_are_kept_to_the_bit(probabilities in any::<[f64; 5]>(), legal_mass in any::<f64>()) {
        let finite = |float: f64| if float.is_finite() { float } else { 0.25 };
        let scores = Scores {
            probabilities: probabilities.map(finite),
            legal_mass: finite(legal_mass),
        };
        let text = serde_json::to_string(&StoredScores::from(scores)).unwrap();
        let read: StoredScores = serde_json::from_str(&text).unwrap();
        let read = Scores::from(read);
        prop_assert_eq!(read.probabilities.map(f64::to_bits), scores.probabilities.map(f64::to_bits));
        prop_assert_eq!(read.legal_mass.to_bits(), scores.legal_mass.to_bits());
    }

    #[test]
    fn timings_are_kept_to_the_nanosecond(nanos in any::<[u64; 4]>()) {
        let [queue, prefill, decode, total] = nanos.map(Duration::from_nanos);
        let timings = Timings { queue, prefill, decode, total };
        let text = serde_json::to_string(&StoredTimings::from(timings)).unwrap();
        let read: StoredTimings = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(Timings::from(read), timings);
    }

    #[test]
    fn times_are_kept_to_the_microsecond(micros in any::<i64>()) {
        prop_assert_eq!(to_micros(from_micros(micros)), micros);
    }
}

#[test]
fn a_score_that_is_no_number_is_read_as_none() {
    let scores = Scores {
        probabilities: [f64::NAN, f64::INFINITY, 0.0, 0.0, 0.0],
        legal_mass: f64::NAN,
    };
    let text = serde_json::to_string(&StoredScores::from(scores)).unwrap();
    let read: StoredScores = serde_json::from_str(&text).unwrap();
    let read = Scores::from(read);
    assert!(read.probabilities[0].is_nan() && read.probabilities[1].is_nan());
    assert!(read.legal_mass.is_nan());
    assert_eq!(read.probabilities[2..], [0.0, 0.0, 0.0]);
}

#[test]
fn a_span_longer_than_time_itself_goes_back_to_the_beginning() {
    assert_eq!(before(1_000_000, Duration::from_secs(1)), 0);
    assert!(before(1_000_000, Duration::MAX) < -9_000_000_000_000_000_000);
}
