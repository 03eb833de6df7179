mod network;
mod policy;
mod resolved;

use std::fs;

use clap::{CommandFactory, FromArgMatches, Parser};
use tempfile::TempDir;

use super::*;
use crate::judge::Dispositions;
use crate::rules::Rule;
use crate::verdict::Mode;

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
fn a_request_id_stands_for_its_decision_no_longer_than_that_is_kept() {
    let problems = problems(&["--retention-days=1", "--request-window=86401"]);
    assert_eq!(problems.len(), 1, "{problems:?}");
    let start = "`request_window` (flag): it is longer than `retention_days`";
    assert!(problems[0].starts_with(start), "{problems:?}");
    let allowed: [&[&str]; 3] = [
        &["--retention-days=1"],
        &["--retention-days=7", "--request-window=604800"],
        &["--retention-days=0", "--request-window=604800"],
    ];
    for flags in allowed {
        assert!(config(flags).is_ok(), "{flags:?}");
    }
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
    // An idle engine shows a sign of life each half second only.
    for (flag, seconds) in [("abort_stuck", "60"), ("stuck_after", "0.3")] {
        let problems = problems(&[&format!("--{}", flag.replace('_', "-")), seconds]);
        let named = problems[0].starts_with(&format!("`{flag}` (flag): "));
        assert!(named, "{problems:?}");
    }
}
