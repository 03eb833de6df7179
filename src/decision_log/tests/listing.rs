use super::*;

/// Decisions `d-0` … in the order of their times.
async fn filled(folder: &Folder, count: u64) -> DecisionLog {
    let log = folder.open();
    for n in 0..count {
        log.record(record(&format!("d-{n}"), n)).await.unwrap();
    }
    log
}

/// All pages of a list together.
async fn all(log: &DecisionLog, filter: &Filter, size: usize) -> Vec<String> {
    let mut found = Vec::new();
    let mut token = String::new();
    loop {
        let page = log
            .list(filter.clone(), Contents::Without, size, &token)
            .await
            .unwrap();
        assert!(page.entries.len() <= size);
        found.extend(ids(&page.entries).into_iter().map(str::to_owned));
        if page.next_page_token.is_empty() {
            return found;
        }
        token = page.next_page_token;
    }
}

#[tokio::test]
async fn a_probes_accuracy_counts_the_last_reports_of_what_the_model_decided() {
    let folder = Folder::new();
    let log = filled(&folder, 4).await;
    let by_rules = Record {
        decision: Decision {
            decided_by: DecidedBy::Rules,
            ..decision("by-rules")
        },
        ..record("by-rules", 5)
    };
    log.record(by_rules).await.unwrap();
    for (id, finding, probe) in [
        ("d-1", Finding::FalsePositive, Some("E01")),
        ("d-1", Finding::Right, Some("E01")),
        ("d-2", Finding::MissedViolation(Label::Pass), Some("E01")),
        ("d-3", Finding::Right, None),
        ("by-rules", Finding::Right, Some("E01")),
        ("d-0", Finding::Right, Some("C02")),
    ] {
        let probe = probe.map(str::to_owned);
        let outcome = Outcome {
            probe,
            ..outcome(id, finding)
        };
        log.report(outcome).await.unwrap();
    }
    let accuracy = async |since| log.reported_accuracy(at(since)).await.unwrap();
    let score = |right, total| ProbeScore { right, total };
    let all = accuracy(0).await;
    assert_eq!(all["E01"], score(1, 2));
    assert_eq!(all["C02"], score(1, 1));
    let later = accuracy(1).await;
    assert_eq!(later.keys().collect::<Vec<_>>(), ["E01"]);
}

#[tokio::test]
async fn pages_join_to_the_whole_list_newest_first() {
    let folder = Folder::new();
    let log = filled(&folder, 10).await;
    let newest_first: Vec<String> = (0..10).rev().map(|n| format!("d-{n}")).collect();
    for size in [1, 3, 5, 10, 11, 500] {
        assert_eq!(all(&log, &Filter::default(), size).await, newest_first);
    }
}

#[tokio::test]
async fn decisions_of_the_same_moment_are_on_one_page_each() {
    let folder = Folder::new();
    let log = folder.open();
    for n in 0..9 {
        log.record(record(&format!("d-{n}"), 0)).await.unwrap();
    }
    let found = all(&log, &Filter::default(), 2).await;
    let expected: Vec<String> = (0..9).rev().map(|n| format!("d-{n}")).collect();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_page_token_stays_good_while_decisions_come_and_go() {
    let folder = Folder::new();
    let log = filled(&folder, 6).await;
    let page = log
        .list(Filter::default(), Contents::Without, 2, "")
        .await
        .unwrap();
    assert_eq!(ids(&page.entries), ["d-5", "d-4"]);
    log.record(record("new", 100)).await.unwrap();
    log.record(record("late", 2)).await.unwrap();
    // What the token points at, and what comes next.
    for gone in ["d-4", "d-3"] {
        let sql = "DELETE FROM decisions WHERE decision_id = ?";
        let delete = move |connection: &mut rusqlite::Connection| {
            connection.execute(sql, [gone]).unwrap();
        };
        log.run(delete).await;
    }
    let token = page.next_page_token;
    let page = log
        .list(Filter::default(), Contents::Without, 9, &token)
        .await
        .unwrap();
    assert_eq!(ids(&page.entries), ["late", "d-2", "d-1", "d-0"]);
}

#[tokio::test]
async fn what_is_no_page_token_is_refused() {
    let folder = Folder::new();
    let log = folder.open();
    for token in ["x", "1", "1.", "1.x", "1.2.3", "'; DROP TABLE decisions"] {
        let refused = log
            .list(Filter::default(), Contents::Without, 2, token)
            .await;
        assert!(matches!(refused, Err(LogError::PageToken(_))), "{token}");
    }
}

#[tokio::test]
async fn a_list_leaves_the_contents_out() {
    let folder = Folder::new();
    let log = filled(&folder, 1).await;
    let page = log
        .list(Filter::default(), Contents::Without, 9, "")
        .await
        .unwrap();
    let mut whole = log.get("d-0").await.unwrap().unwrap();
    assert!(whole.record.subject.content.take().is_some());
    assert_eq!(page.entries, [whole]);
}

#[tokio::test]
async fn each_filter_leaves_what_it_names() {
    let folder = Folder::new();
    let log = filled(&folder, 6).await;
    let with = |id: &str, seconds, change: &dyn Fn(&mut Record)| {
        let mut record = record(id, seconds);
        change(&mut record);
        log.record(record)
    };
    let by_rules = |record: &mut Record| record.decision.decided_by = DecidedBy::Rules;
    with("rules", 50, &by_rules).await.unwrap();
    let pass = |record: &mut Record| record.decision.label = Label::Pass;
    with("pass", 51, &pass).await.unwrap();
    let in_shadow = |record: &mut Record| record.decision.mode = Mode::Shadow;
    with("shadow", 52, &in_shadow).await.unwrap();
    let other = |record: &mut Record| record.subject.prospect = "other".to_owned();
    with("other", 53, &other).await.unwrap();
    let spot = |record: &mut Record| record.origin = Origin::SpotCheck;
    with("spot", 54, &spot).await.unwrap();
    log.attach_shadow("d-1", &shadow(Label::Pass))
        .await
        .unwrap();
    log.attach_shadow("d-2", &shadow(Label::Block))
        .await
        .unwrap();
    for (id, finding) in [
        ("d-3", Finding::FalsePositive),
        ("d-3", Finding::FalsePositive),
        ("d-3", Finding::Right),
        ("d-4", Finding::Right),
    ] {
        log.report(outcome(id, finding)).await.unwrap();
    }

    let none = Filter::default;
    let cases: [(Filter, &[&str]); 10] = [
        (
            Filter {
                decided_by: Some(DecidedBy::Rules),
                ..none()
            },
            &["rules"],
        ),
        (
            Filter {
                label: Some(Label::Pass),
                ..none()
            },
            &["pass"],
        ),
        (
            Filter {
                mode: Some(Mode::Shadow),
                ..none()
            },
            &["shadow"],
        ),
        (
            Filter {
                prospect: Some("other".to_owned()),
                ..none()
            },
            &["other"],
        ),
        (
            Filter {
                origin: Some(Origin::SpotCheck),
                ..none()
            },
            &["spot"],
        ),
        (
            Filter {
                disagreement: true,
                ..none()
            },
            &["d-1"],
        ),
        (
            Filter {
                outcome: Some(FindingKind::FalsePositive),
                ..none()
            },
            &["d-3"],
        ),
        (
            Filter {
                outcome: Some(FindingKind::Right),
                ..none()
            },
            &["d-4", "d-3"],
        ),
        (
            Filter {
                from: Some(at(1)),
                to: Some(at(3)),
                ..none()
            },
            &["d-2", "d-1"],
        ),
        (
            Filter {
                label: Some(Label::Block),
                prospect: Some("p".to_owned()),
                mode: Some(Mode::Enforce),
                decided_by: Some(DecidedBy::Model),
                origin: Some(Origin::Traffic),
                from: Some(at(3)),
                outcome: Some(FindingKind::Right),
                ..none()
            },
            &["d-4", "d-3"],
        ),
    ];
    for (filter, expected) in cases {
        assert_eq!(all(&log, &filter, 1).await, expected, "{filter:?}");
    }
}

#[tokio::test]
async fn pages_with_contents_are_short_whatever_is_asked_for_and_join_to_the_whole_list() {
    let folder = Folder::new();
    let log = filled(&folder, 40).await;
    let (mut found, mut token) = (Vec::new(), String::new());
    loop {
        let page = log
            .list(Filter::default(), Contents::With, PAGE_LIMIT, &token)
            .await
            .unwrap();
        assert!(page.entries.len() <= 16, "{}", page.entries.len());
        for entry in &page.entries {
            assert!(entry.record.subject.content.is_some());
        }
        found.extend(ids(&page.entries).into_iter().map(str::to_owned));
        if page.next_page_token.is_empty() {
            break;
        }
        token = page.next_page_token;
    }
    let newest_first: Vec<String> = (0..40).rev().map(|n| format!("d-{n}")).collect();
    assert_eq!(found, newest_first);
}
