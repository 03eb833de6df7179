use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::channel::Channel;
use crate::verdict::Label;

fn made(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("tests/data/eval").join(name)
}

fn pair(probe: &str, confidence: &str, rejected: &str) -> Vec<Case> {
    let line = format!(
        r#"{{"pair_id": "P-1", "probe_id": "{probe}", "difficulty": "hard",
            "context": {{"funding_confidence": "{confidence}"}},
            "chosen": {{"action": "send", "output": "good"}},
            "rejected": {{"action": "{rejected}", "output": "bad"}}}}"#
    );
    parse(&line.replace('\n', " ")).unwrap()
}

#[test]
fn a_folder_gives_the_cases_of_its_files_in_both_formats() {
    let cases = read(&[made("")]).unwrap();
    let ids: Vec<&str> = cases.iter().map(|case| case.id.as_str()).collect();
    let plain = ["made-1-v", "made-1-c", "made-2-v", "made-2-c"];
    let pairs = [
        "MADE-A07-1/violation",
        "MADE-B04-1/violation",
        "MADE-B04-1/clean",
        "MADE-G03-1/clean",
    ];
    assert_eq!(ids, [&plain[..], &pairs[..]].concat());
    assert_eq!(cases[2].channel, Some(Channel::Linkedin));
    assert_eq!(cases[2].expected, Label::Block);
    assert_eq!(
        cases[0].context_json,
        r#"{"company":"Birkenau Robotics","headcount":120}"#
    );
}

#[test]
fn each_probe_gives_its_violations_label() {
    for (probe, label) in [
        ("A07", Label::Suppress),
        ("E03", Label::Suppress),
        ("D05", Label::Suppress),
        ("G03", Label::Escalate),
        ("E01", Label::Block),
        ("B04", Label::Block),
        ("B03", Label::Block),
        ("C02", Label::Block),
        ("C04", Label::Block),
        ("E02", Label::Penalise),
    ] {
        for name in [probe.to_owned(), format!("PROBE-{probe}")] {
            let cases = pair(&name, "low", "send");
            let [violation, clean] = &cases[..] else {
                panic!("{cases:?}");
            };
            assert_eq!(
                (violation.id.as_str(), violation.expected),
                ("P-1/violation", label)
            );
            assert_eq!(
                (clean.id.as_str(), clean.expected),
                ("P-1/clean", Label::Pass)
            );
            assert_eq!(violation.probe.as_deref(), Some(probe));
        }
    }
}

#[test]
fn a_side_that_was_not_sent_is_no_case() {
    let cases = pair("G03", "low", "escalate");
    assert_eq!(cases.len(), 1);
    assert_eq!(cases[0].id, "P-1/clean");
}

#[test]
fn pairs_about_well_known_funding_are_left_out_of_exact_for_b04_alone() {
    let exact = |probe, confidence| {
        pair(probe, confidence, "send")
            .iter()
            .all(|case| case.exact)
    };
    assert!(!exact("B04", "high") && !exact("B04", "medium"));
    assert!(exact("B04", "low") && exact("B04", "insufficient_signal"));
    assert!(exact("B03", "high"));
}

#[test]
fn an_error_names_file_line_and_field() {
    let good = r#"{"id": "a", "context": {}, "draft": "Hi", "expected": "pass"}"#;
    for (line, wanted) in [
        ("nonsense", "expected"),
        ("[1]", "expected struct"),
        ("{}", "`pair_id`"),
        (
            r#"{"id": "b", "context": {}, "expected": "PASS"}"#,
            "`draft`",
        ),
        (
            r#"{"id": "b", "context": {}, "draft": 4, "expected": "PASS"}"#,
            "`draft`: invalid type",
        ),
        (
            r#"{"id": "b", "context": {}, "draft": " ", "expected": "PASS"}"#,
            "`draft` is empty",
        ),
        (
            r#"{"id": "b", "context": [], "draft": "Hi", "expected": "PASS"}"#,
            "`context`: expected a JSON object",
        ),
        (
            r#"{"id": "b", "context": {}, "draft": "Hi", "expected": "MAYBE"}"#,
            "`expected`: unknown label `MAYBE`",
        ),
        (
            r#"{"id": "b", "context": {}, "draft": "Hi", "expected": "PASS", "channel": "fax"}"#,
            "`channel`: unknown channel `fax`",
        ),
        (
            r#"{"id": "b", "context": {}, "draft": "Hi", "expected": "PASS", "chanel": "sms"}"#,
            "`chanel`",
        ),
        (
            r#"{"pair_id": "p", "probe_id": "Z99", "context": {}, "chosen": {"action": "send", "output": "a"}, "rejected": {"action": "send", "output": "b"}}"#,
            "`probe_id`: unknown probe `Z99`",
        ),
        (
            r#"{"pair_id": "p", "probe_id": "A07", "context": {}, "chosen": {"action": "send"}, "rejected": {"action": "send", "output": "b"}}"#,
            "`chosen`: missing field `output`",
        ),
        (
            r#"{"pair_id": "p", "probe_id": "A07", "context": {}, "chosen": {"action": "send", "output": "a"}, "rejected": {"action": "send", "output": ""}}"#,
            "`rejected.output` is empty",
        ),
    ] {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("bad.jsonl");
        fs::write(&path, format!("{good}\n\n{line}\n")).unwrap();
        let message = read(&[path]).unwrap_err().to_string();
        assert!(message.contains("bad.jsonl`, line 3: "), "{message}");
        assert!(message.contains(wanted), "{line}: {message}");
    }
}

#[test]
fn an_id_that_stands_twice_is_named_with_both_places() {
    let path = made("cases.jsonl");
    let message = read(&[path.clone(), path]).unwrap_err().to_string();
    assert!(message.contains("`made-1-v` stands at"), "{message}");
    assert_eq!(message.matches("line 1").count(), 2, "{message}");
}

#[test]
fn a_folder_without_cases_is_an_error() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("README.md"), "no cases").unwrap();
    let message = read(&[folder.path().to_owned()]).unwrap_err().to_string();
    assert!(message.contains("`.jsonl`"), "{message}");
}

#[test]
fn another_draft_label_or_channel_is_another_case() {
    let case = read(&[made("cases.jsonl")]).unwrap().remove(0);
    let changed = [
        Case {
            draft: "Hi".to_owned(),
            ..case.clone()
        },
        Case {
            context_json: "{}".to_owned(),
            ..case.clone()
        },
        Case {
            channel: Some(Channel::Sms),
            ..case.clone()
        },
        Case {
            expected: Label::Pass,
            ..case.clone()
        },
        Case {
            exact: false,
            ..case.clone()
        },
    ];
    for other in changed {
        assert_ne!(other.hash(), case.hash(), "{other:?}");
    }
    let renamed = Case {
        id: "other".to_owned(),
        difficulty: None,
        ..case.clone()
    };
    assert_eq!(renamed.hash(), case.hash());
}
