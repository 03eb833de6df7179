use super::*;

fn timeout_of(text: &str) -> Option<Duration> {
    super::timeout(text)
}

#[test]
fn a_timeout_is_up_to_eight_digits_and_a_unit() {
    let seconds = |seconds: u64| Some(Duration::from_secs(seconds));
    assert_eq!(timeout_of("2H"), seconds(7200));
    assert_eq!(timeout_of("3M"), seconds(180));
    assert_eq!(timeout_of("4S"), seconds(4));
    assert_eq!(timeout_of("5m"), Some(Duration::from_millis(5)));
    assert_eq!(timeout_of("6u"), Some(Duration::from_micros(6)));
    assert_eq!(timeout_of("7n"), Some(Duration::from_nanos(7)));
    assert_eq!(timeout_of("99999999H"), seconds(99_999_999 * 3600));
    assert_eq!(timeout_of("0S"), seconds(0));
    for text in [
        "",
        "S",
        "5",
        "5s",
        "5 S",
        "-5S",
        "+5S",
        "5.0S",
        "123456789S",
        "5\u{e9}",
        "\u{e9}",
    ] {
        assert_eq!(timeout_of(text), None, "{text}");
    }
}

#[test]
fn an_answer_leaves_before_its_caller_stops_waiting() {
    let arrived = Instant::now();
    let left = |text: &str| {
        let mut metadata = MetadataMap::new();
        metadata.insert("grpc-timeout", text.parse().unwrap());
        Some(deadline(&metadata, arrived)?.duration_since(arrived))
    };
    assert_eq!(left("10S"), Some(Duration::from_millis(9990)));
    assert_eq!(left("20m"), Some(Duration::from_millis(18)));
    assert_eq!(left("0n"), Some(Duration::ZERO));
    assert_eq!(left("soon"), None);
    assert_eq!(deadline(&MetadataMap::new(), arrived), None);
}

#[test]
fn every_value_of_an_enum_of_the_wire_is_read_and_no_other() {
    let read: Vec<_> = (-1..6).map(channel).collect();
    let known = [
        None,
        Some(Channel::Email),
        Some(Channel::Sms),
        Some(Channel::Linkedin),
    ];
    assert_eq!(read[0], Err(-1));
    assert_eq!(read[1..5], known.map(Ok));
    assert_eq!(read[5..], [Err(4), Err(5)]);

    let read: Vec<_> = (-1..6).map(rationale_mode).collect();
    let known = [
        RationaleMode::Sentence,
        RationaleMode::None,
        RationaleMode::Sentence,
        RationaleMode::Evidence,
    ];
    assert_eq!(read[0], Err(-1));
    assert_eq!(read[1..5], known.map(Ok));
    assert_eq!(read[5..], [Err(4), Err(5)]);
}

#[test]
fn every_value_of_ours_has_one_of_the_wire_by_the_same_name() {
    for ours in Label::ALL {
        assert_eq!(label(ours).as_str_name(), format!("LABEL_{ours}"));
    }
    for ours in Disposition::ALL {
        assert_eq!(
            disposition(ours).as_str_name(),
            format!("DISPOSITION_{ours}")
        );
    }
    for ours in [DecidedBy::Model, DecidedBy::Rules] {
        assert_eq!(decided_by(ours).as_str_name(), format!("DECIDED_BY_{ours}"));
    }
    for ours in [Mode::Enforce, Mode::Shadow, Mode::RulesOnly] {
        assert_eq!(mode(ours).as_str_name(), format!("MODE_{ours}"));
    }
}

#[test]
fn contents_differ_by_any_field_that_can_change_the_answer_and_by_no_other() {
    let message = proto::JudgeRequest {
        request_id: "1".to_owned(),
        context_json: "{}".to_owned(),
        draft: "ab".to_owned(),
        channel: 0,
        rationale_mode: 0,
    };
    let own = content_hash(&message);
    let other_id = proto::JudgeRequest {
        request_id: "2".to_owned(),
        ..message.clone()
    };
    assert_eq!(content_hash(&other_id), own);
    let others = [
        proto::JudgeRequest {
            draft: "abc".to_owned(),
            ..message.clone()
        },
        proto::JudgeRequest {
            context_json: "{ }".to_owned(),
            ..message.clone()
        },
        // The same bytes, cut elsewhere.
        proto::JudgeRequest {
            context_json: "{}a".to_owned(),
            draft: "b".to_owned(),
            ..message.clone()
        },
        proto::JudgeRequest {
            channel: 1,
            ..message.clone()
        },
        proto::JudgeRequest {
            rationale_mode: 1,
            ..message.clone()
        },
    ];
    for other in others {
        assert_ne!(content_hash(&other), own, "{other:?}");
    }
}

#[test]
fn a_rationale_that_nobody_asks_for_by_name_is_the_sentence_that_it_is_answered_with() {
    let content = |mode: proto::RationaleMode| {
        content_hash(&proto::JudgeRequest {
            context_json: "{}".to_owned(),
            draft: "ab".to_owned(),
            rationale_mode: mode.into(),
            ..proto::JudgeRequest::default()
        })
    };
    let unnamed = content(proto::RationaleMode::Unspecified);
    assert_eq!(unnamed, content(proto::RationaleMode::Sentence));
    assert_ne!(unnamed, content(proto::RationaleMode::None));
    assert_ne!(unnamed, content(proto::RationaleMode::Evidence));
}
