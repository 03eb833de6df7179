//! Shares are exact, and thresholds that make no sense are named.

use super::*;

#[test]
fn a_share_is_met_exactly_where_floating_point_is_not() {
    for percent in 0..=100 {
        let share = Share::try_from(f64::from(percent) / 100.0).unwrap();
        for samples in (100..=10_000).step_by(100) {
            let exactly = percent * (samples / 100);
            assert!(!share.is_exceeded_by(exactly, samples));
            assert!(!share.is_missed_by(exactly, samples));
            assert!(share.is_exceeded_by(exactly + 1, samples));
            assert!(exactly == 0 || share.is_missed_by(exactly - 1, samples));
        }
    }
}

#[test]
fn a_share_is_a_number_between_0_and_1() {
    let read = |text: &str| toml::from_str::<Thresholds>(&format!("malformed_share = {text}"));
    assert_eq!(read("0.01").unwrap(), Thresholds::default());
    assert_eq!(
        read("0.0025").unwrap().malformed_share.to_string(),
        "0.25 %"
    );
    for wrong in ["1.01", "-0.1", "nan", "inf"] {
        let message = read(wrong).unwrap_err().to_string();
        assert!(
            message.contains("a share lies between 0 and 1"),
            "{message}"
        );
    }
    let json = serde_json::to_string(&Share::percent(15)).unwrap();
    assert_eq!(json, "0.15");
}

#[test]
fn the_defaults_are_those_of_the_card_and_can_be_set_one_by_one() {
    let thresholds: Thresholds = toml::from_str("false_positive_share = 0.1").unwrap();
    assert_eq!(thresholds.false_positive_share, Share::percent(10));
    assert_eq!(thresholds.false_positive_window, 500);
    assert_eq!(Thresholds::default().problems(), Vec::<String>::new());
    let unknown = toml::from_str::<Thresholds>("false_positive_shere = 0.1").unwrap_err();
    assert!(unknown.to_string().contains("false_positive_shere"));
}

#[test]
fn all_that_makes_no_sense_is_named_together() {
    let wrong = Thresholds {
        false_positive_minimum: 501,
        malformed_window: 0,
        probe_minimum: 21,
        incident_tier: 0,
        ..Thresholds::default()
    };
    assert_eq!(
        wrong.problems(),
        [
            "`false_positive_minimum` must lie between 1 and `false_positive_window`, which is 500, \
             but is 501",
            "`malformed_window` must lie between 1 and 10000, but is 0",
            "`probe_minimum` must lie between 1 and 20, as many cases as a spot check has of a \
             probe, but is 21",
            "`incident_tier` must be at least 1, the worst tier",
        ]
    );
    let never = Thresholds {
        false_positive_minimum: 0,
        malformed_window: 10_001,
        probe_minimum: 0,
        ..Thresholds::default()
    };
    assert_eq!(never.problems().len(), 3);
}

#[test]
fn what_is_looser_than_the_card_is_told() {
    assert!(Thresholds::default().looser_than_the_card().is_empty());
    let tighter = Thresholds {
        false_positive_share: Share::percent(10),
        false_positive_minimum: 50,
        probe_accuracy: Share::percent(70),
        probe_minimum: 4,
        malformed_share: Share::percent(0),
        malformed_minimum: 10,
        incident_tier: 2,
        ..Thresholds::default()
    };
    assert!(tighter.looser_than_the_card().is_empty());
    let looser = Thresholds {
        false_positive_share: Share::percent(16),
        false_positive_minimum: 101,
        probe_accuracy: Share::percent(49),
        probe_minimum: 6,
        malformed_share: Share::percent(2),
        malformed_minimum: 101,
        ..Thresholds::default()
    };
    assert_eq!(
        looser.looser_than_the_card(),
        [
            "false_positive_share",
            "false_positive_minimum",
            "probe_accuracy",
            "probe_minimum",
            "malformed_share",
            "malformed_minimum",
        ]
    );
}

#[test]
fn thresholds_that_make_no_sense_still_never_panic() {
    let nonsense = Thresholds {
        false_positive_window: 0,
        false_positive_minimum: 0,
        malformed_window: 0,
        malformed_minimum: 0,
        ..Thresholds::default()
    };
    let mut switch = KillSwitch::new(nonsense);
    assert!(switch.step(judged("ada", 1), 0).is_empty());
    assert!(switch.step(reported(1, true), 0).is_empty());
    let malformed = Event::Call { well_formed: false };
    assert!(switch.step(malformed, 0).is_empty());
    assert_eq!(switch.distance().malformed.samples, 0);
}
