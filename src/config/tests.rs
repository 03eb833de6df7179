use std::fs;

use clap::{CommandFactory, FromArgMatches, Parser};
use tempfile::TempDir;

use super::*;
use crate::context::Context;
use crate::verdict::Case;

#[derive(Debug, Parser)]
struct Flags {
    #[command(flatten)]
    settings: Settings,
}

fn resolve(flags: &[&str], file: Option<&str>) -> Result<Resolved, ConfigError> {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("judged.toml");
    if let Some(text) = file {
        fs::write(&path, text).unwrap();
    }
    let arguments = ["judged"].iter().chain(flags);
    let matches = Flags::command().try_get_matches_from(arguments).unwrap();
    let flags = Flags::from_arg_matches(&matches).unwrap();
    flags
        .settings
        .resolve(Some(&matches), file.map(|_| path.as_path()))
}

fn config(flags: &[&str]) -> Result<Config, ConfigError> {
    Config::new(&resolve(flags, None).unwrap())
}

fn problems(flags: &[&str]) -> Vec<String> {
    match config(flags) {
        Err(ConfigError::Invalid(problems)) => problems,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_defaults_can_be_used_and_are_on_the_loopback() {
    let config = config(&[]).unwrap();
    assert!(config.listen.ip().is_loopback() && config.control_listen.ip().is_loopback());
    assert_eq!(config.policy.mode, Mode::Enforce);
    assert_eq!(
        config.policy.hard_rules,
        [Rule::Disqualifier, Rule::OptOut, Rule::CLevelAtLargeCompany]
    );
    assert_eq!(config.policy.rules_pass, Disposition::HoldForReview);
    assert_eq!(config.policy.dispositions, Dispositions::default());
    assert!(config.threads > 0);
}

#[test]
fn a_flag_goes_before_the_file_and_the_file_before_the_default() {
    let resolved = resolve(&["--slots", "2"], Some("slots = 3\nqueue = 5")).unwrap();
    assert_eq!(resolved["slots"].value, 2);
    assert_eq!(resolved["slots"].origin, Origin::Flag);
    assert_eq!(resolved["queue"].value, 5);
    assert!(matches!(resolved["queue"].origin, Origin::File(_)));
    assert_eq!(resolved["keepalive"].origin, Origin::Default);
}

#[test]
fn every_setting_has_a_place_in_the_file() {
    for (name, sourced) in Settings::defaults().to_map() {
        // Whoever runs the tests may have set one for the real model.
        if std::env::var_os(format!("JUDGED_{}", name.to_uppercase())).is_some() {
            continue;
        }
        let value = serde_json::from_value::<toml::Value>(sourced).unwrap();
        let resolved = resolve(&[], Some(&format!("{name} = {value}"))).unwrap();
        assert!(matches!(resolved[&name].origin, Origin::File(_)), "{name}");
        Config::new(&resolved).unwrap();
    }
}

#[test]
fn an_unknown_key_of_the_file_is_named_with_its_line() {
    let error = resolve(&[], Some("slots = 3\nslotz = 4"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("slotz"), "{error}");
    assert!(error.contains("line 2"), "{error}");
    assert!(error.contains("judged.toml"), "{error}");
}

#[test]
fn a_value_of_the_wrong_kind_in_the_file_is_refused() {
    for text in [
        "slots = \"four\"",
        "slots = -1",
        "mode = \"maybe\"",
        "listen = \"here\"",
        "[",
    ] {
        resolve(&[], Some(text)).unwrap_err();
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let path = Path::new("/nowhere/judged.toml");
    let error = Settings::default().resolve(None, Some(path)).unwrap_err();
    assert!(error.to_string().contains("/nowhere/judged.toml"));
}

#[test]
fn all_that_is_wrong_is_reported_together_with_its_origin() {
    let problems = problems(&[
        "--listen=0.0.0.0:1",
        "--slots=0",
        "--queue=0",
        "--prefill-chunk=1",
        "--max-deadline=0",
        "--drain-timeout=nan",
        "--hard-rules=1,5c",
        "--disqualifiers=works_council,17",
        "--placeholder-peers=?,Muster AG",
        "--dispositions=PASS=SEND,MAYBE=DISPATCH,BLOCK",
        "--rules-pass=never",
    ]);
    let names = [
        "listen",
        "slots",
        "queue",
        "prefill_chunk",
        "max_deadline",
        "drain_timeout",
        "hard_rules",
        "disqualifiers",
        "placeholder_peers",
        "dispositions",
        "rules_pass",
    ];
    for name in names {
        let start = format!("`{name}` (flag): ");
        assert!(
            problems.iter().any(|line| line.starts_with(&start)),
            "{name}: {problems:#?}"
        );
    }
    assert_eq!(
        problems.len(),
        names.len() + 2,
        "three of them are of dispositions"
    );
}

#[test]
fn listening_beyond_the_loopback_must_be_meant() {
    let told = problems(&["--control-listen=192.0.2.1:1"]);
    assert!(told[0].contains("allow_insecure_listen"), "{told:?}");
    assert!(told[0].contains("tls_cert"), "{told:?}");
    config(&["--control-listen=192.0.2.1:1", "--allow-insecure-listen"]).unwrap();
    config(&["--listen=[::1]:0"]).unwrap();
}

#[test]
fn listening_beyond_the_loopback_takes_tls_and_authentication() {
    let with = |more: &[&str]| config(&[&["--listen=192.0.2.1:1"], more].concat());
    let tls = ["--tls-cert=cert.pem", "--tls-key=key.pem"];
    with(&tls).unwrap_err();
    with(&["--tokens=tokens.toml"]).unwrap_err();
    with(&[&tls[..], &["--tokens=tokens.toml"]].concat()).unwrap();
    with(&[&tls[..], &["--tls-client-ca=ca.pem"]].concat()).unwrap();
}

#[test]
fn half_a_pair_of_tls_is_refused() {
    for (flag, other) in [
        ("--tls-cert=a", "`tls_key`"),
        ("--tls-key=a", "`tls_cert`"),
        ("--tls-client-ca=a", "`tls_cert`"),
    ] {
        let told = problems(&[flag]);
        assert!(told.len() == 1 && told[0].contains(other), "{told:?}");
    }
}

#[test]
fn hard_rules_are_a_set_and_may_be_none() {
    let rules = |text| config(&["--hard-rules", text]).unwrap().policy.hard_rules;
    assert_eq!(rules("none"), []);
    assert_eq!(
        rules("3, 1,3"),
        [Rule::Disqualifier, Rule::CLevelAtLargeCompany]
    );
    assert_eq!(rules("6,4"), [Rule::OtherThread, Rule::PlaceholderPeers]);
    assert_eq!(
        problems(&["--hard-rules", ""]).len(),
        1,
        "an empty list is no answer"
    );
}

#[test]
fn the_operators_lists_reach_the_rules() {
    let flags = [
        "--disqualifiers= works_council , dealer",
        "--placeholder-peers=Muster AG,Bidon ?",
    ];
    let book = config(&flags).unwrap().policy.rulebook;
    let judge = |context: &str, draft: &str| {
        let case = Case {
            context: Context::parse(context).unwrap(),
            draft: draft.to_owned(),
            requested_channel: None,
        };
        book.judge(&case).label
    };
    assert_eq!(judge(r#"{"works_council":true}"#, "Hello"), Label::Suppress);
    assert_eq!(
        judge("{}", "Firms like Muster AG and Bidon B use us."),
        Label::Penalise
    );
    assert_eq!(judge("{}", "Hello"), Label::Pass);
}

#[test]
fn dispositions_change_only_the_labels_they_name() {
    let text = "penalise=dispatch, ESCALATE = DO_NOT_SEND";
    let table = config(&["--dispositions", text])
        .unwrap()
        .policy
        .dispositions;
    assert_eq!(table.of(Label::Penalise), Disposition::Dispatch);
    assert_eq!(table.of(Label::Escalate), Disposition::DoNotSend);
    assert_eq!(table.of(Label::Pass), Disposition::Dispatch);
    assert_eq!(table.of(Label::Block), Disposition::DoNotSend);
}

#[test]
fn nobody_supervises_unless_asked_and_a_stuck_engine_is_left_alone() {
    let default = config(&[]).unwrap();
    assert_eq!(default.supervise, None);
    assert_eq!(default.engine.abort_stuck, None);
    let flags = ["--supervise", "--restart-limit", "3", "--abort-stuck", "90"];
    let asked = config(&flags).unwrap();
    let limit = supervisor::Limit {
        crashes: 3,
        window: Duration::from_secs(300),
    };
    assert_eq!(asked.supervise, Some(limit));
    assert_eq!(asked.engine.abort_stuck, Some(Duration::from_secs(90)));
    let problems = problems(&["--abort-stuck", "60"]);
    assert!(
        problems[0].starts_with("`abort_stuck` (flag): "),
        "{problems:?}"
    );
}
