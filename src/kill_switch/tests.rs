mod laws;
mod naive;
mod odds;
mod situations;
mod thresholds;
mod weeks;

use super::*;

const DAY: UnixMicros = 24 * 60 * 60 * 1_000_000;

fn judged(prospect: impl ToString, decision: impl ToString) -> Event {
    Event::Judged {
        prospect: prospect.to_string(),
        decision: decision.to_string(),
    }
}

fn reported(decision: impl ToString, false_positive: bool) -> Event {
    Event::Reported {
        decision: decision.to_string(),
        false_positive,
    }
}

fn checked(probes: &[(&str, u32, u32)]) -> Event {
    let probes = probes.iter();
    let tallies = probes.map(|&(probe, right, total)| (probe.to_owned(), Tally { right, total }));
    Event::SpotCheck {
        probes: tallies.collect(),
    }
}

fn by(name: &str, reason: &str, at: UnixMicros) -> Rearm {
    Rearm {
        by: name.to_owned(),
        reason: reason.to_owned(),
        at,
    }
}

fn restarted(switch: &KillSwitch) -> KillSwitch {
    KillSwitch::restore(&switch.to_json(), switch.thresholds).unwrap()
}

#[test]
fn the_state_is_small_and_names_its_version() {
    let mut switch = KillSwitch::new(Thresholds::default());
    for number in 0..2_000 {
        switch.step(judged(number, format!("decision {number}")), 0);
        switch.step(Event::Call { well_formed: true }, 0);
    }
    let json = switch.to_json();
    assert!(json.starts_with(r#"{"version":1,"#), "{json}");
    assert!(json.len() < 40_000, "{} bytes", json.len());
    assert!(!json.contains("decision 1999"), "names are kept as hashes");
}

#[test]
fn a_state_of_another_version_is_refused_with_what_to_do() {
    let json = KillSwitch::new(Thresholds::default()).to_json();
    let newer = json.replace(r#""version":1"#, r#""version":2"#);
    let error = KillSwitch::restore(&newer, Thresholds::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the kept state of the kill switch has version 2, and this judged reads version 1: run the \
         judged that wrote it, or a newer one"
    );
}

#[test]
fn a_state_that_contradicts_itself_is_refused() {
    let mut switch = KillSwitch::new(Thresholds::default());
    switch.step(judged("ada", "d1"), 0);
    switch.step(judged("bo", "d2"), 0);
    switch.step(reported("d2", true), 0);
    switch.step(Event::Call { well_formed: true }, 0);
    let json = switch.to_json();
    let key = |name: &str| String::from(Key::of(name));
    for (from, to, wanted) in [
        (key("bo"), key("ada"), "stands twice"),
        (key("d1"), key("d2"), "stands twice"),
        (key("d1"), "d1".to_owned(), "no hash"),
        (
            format!(r#""decisions":["{}"]"#, key("d2")),
            r#""decisions":[]"#.to_owned(),
            "lacks a decision",
        ),
        (
            r#""calls":".""#.to_owned(),
            r#""calls":"y""#.to_owned(),
            "no call",
        ),
        (
            r#""calls""#.to_owned(),
            r#""call""#.to_owned(),
            "unknown field",
        ),
    ] {
        let broken = json.replace(&from, &to);
        assert_ne!(broken, json, "{from}");
        let error = KillSwitch::restore(&broken, Thresholds::default()).unwrap_err();
        let RestoreError::Unreadable(source) = error else {
            panic!("{error}");
        };
        assert!(source.to_string().contains(wanted), "{from}: {source}");
    }
}

#[test]
fn a_state_that_was_cut_off_is_refused_wherever_that_was() {
    let mut switch = KillSwitch::lost(Thresholds::default(), "torn".to_owned(), 3);
    switch.step(judged("ada", "d1"), 4);
    let json = switch.to_json();
    for end in 0..json.len() {
        assert!(KillSwitch::restore(&json[..end], Thresholds::default()).is_err());
    }
}

#[test]
fn a_decision_that_is_told_twice_is_one_and_of_its_first_prospect() {
    let mut switch = KillSwitch::new(Thresholds::default());
    switch.step(judged("ada", "d1"), 0);
    switch.step(judged("bo", "d2"), 0);
    let before = switch.to_json();
    switch.step(judged("ada", "d1"), 0);
    switch.step(judged("bo", "d1"), 0);
    assert_eq!(switch.to_json(), before);
}

#[test]
fn a_lost_state_is_a_trip() {
    let lost = KillSwitch::lost(Thresholds::default(), "unknown field `x`".to_owned(), 7);
    assert_eq!(lost.mode(Mode::Enforce), Mode::RulesOnly);
    assert_eq!(
        lost.state().to_string(),
        "the kill switch has tripped: its kept state cannot be read: unknown field `x`"
    );
    assert!(restarted(&lost).state().is_tripped());
}

#[test]
fn the_mode_is_at_most_what_the_switch_leaves() {
    let modes = [Mode::Enforce, Mode::Shadow, Mode::RulesOnly];
    let mut switch = KillSwitch::new(Thresholds::default());
    assert_eq!(modes.map(|mode| switch.mode(mode)), modes);
    let incident = Event::Incident {
        tier: 1,
        decision: None,
        probe: None,
    };
    switch.step(incident, 0);
    assert_eq!(modes.map(|mode| switch.mode(mode)), [Mode::RulesOnly; 3]);
    switch.rearm(by("Ada", "looked into", 1), true).unwrap();
    assert_eq!(
        modes.map(|mode| switch.mode(mode)),
        [Mode::Shadow, Mode::Shadow, Mode::RulesOnly]
    );
    switch.rearm(by("Ada", "a quiet week", 2), false).unwrap();
    assert_eq!(modes.map(|mode| switch.mode(mode)), modes);
}

#[test]
fn who_rearms_is_kept_without_the_spaces_around() {
    let mut switch = KillSwitch::lost(Thresholds::default(), "test".to_owned(), 0);
    switch.rearm(by(" Ada\n", "  checked ", 5), false).unwrap();
    let rearmed = Some(by("Ada", "checked", 5));
    assert_eq!(*switch.state(), State::Armed { rearmed });
}

#[test]
fn a_name_or_a_reason_beyond_its_length_is_refused() {
    let mut switch = KillSwitch::lost(Thresholds::default(), "test".to_owned(), 0);
    for (name, reason, wanted) in [
        (
            "é".repeat(201),
            "why".to_owned(),
            "`by` has 201 characters, more than 200",
        ),
        (
            "Ada".to_owned(),
            "x".repeat(2_001),
            "`reason` has 2001 characters, more than 2000",
        ),
    ] {
        let refusal = switch.rearm(by(&name, &reason, 1), false).unwrap_err();
        assert_eq!(refusal.to_string(), wanted);
    }
    let most = by(&"é".repeat(200), &"x".repeat(2_000), 1);
    assert_eq!(switch.rearm(most, false), Ok(()));
}

#[test]
fn a_trip_keeps_a_bounded_list_of_what_came_after_it() {
    let mut switch = KillSwitch::new(Thresholds::default());
    let effects = (0..100).flat_map(|number| {
        let incident = Event::Incident {
            tier: 1,
            decision: Some(format!("d{number}")),
            probe: None,
        };
        switch.step(incident, number)
    });
    let effects: Vec<Effect> = effects.collect();
    assert!(matches!(effects[0], Effect::Trip(_)));
    assert!(
        effects[1..]
            .iter()
            .all(|effect| matches!(effect, Effect::AlsoMet(_)))
    );
    assert_eq!(effects.len(), 33);
}

#[test]
fn a_prospect_that_is_judged_without_end_takes_bounded_memory_and_keeps_its_false_positive() {
    let mut switch = KillSwitch::new(Thresholds::default());
    switch.step(judged("ada", "first"), 0);
    switch.step(reported("first", true), 0);
    for number in 0..10_000 {
        switch.step(judged("ada", number), 0);
    }
    assert!(switch.to_json().len() < 1_000);
    let now = switch.distance().false_positives;
    assert_eq!((now.count, now.samples), (1, 1));
    switch.step(reported("first", false), 0);
    assert_eq!(switch.distance().false_positives.count, 0);
    switch.step(reported(0, true), 0);
    assert_eq!(
        switch.distance().false_positives.count,
        0,
        "its 32 latest decisions are remembered"
    );
    for number in 0..10_000 {
        switch.step(reported(number, true), 0);
    }
    for number in 0..100 {
        switch.step(judged("ada", format!("again {number}")), 0);
    }
    assert_eq!(
        switch.distance().false_positives.count,
        1,
        "more false positives than it remembers decisions stay one"
    );
}

#[test]
fn smaller_windows_forget_the_oldest_at_the_next_start() {
    let mut switch = KillSwitch::new(Thresholds::default());
    for number in 0..300 {
        switch.step(judged(number, number), 0);
        switch.step(reported(number, number < 30), 0);
        let well_formed = number != 0;
        switch.step(Event::Call { well_formed }, 0);
    }
    let smaller = Thresholds {
        false_positive_window: 280,
        malformed_window: 299,
        ..Thresholds::default()
    };
    let switch = KillSwitch::restore(&switch.to_json(), smaller).unwrap();
    let Distance {
        false_positives,
        malformed,
        ..
    } = switch.distance();
    assert_eq!((false_positives.count, false_positives.samples), (10, 280));
    assert_eq!((malformed.count, malformed.samples), (0, 299));
}

#[test]
fn a_condition_is_kept_under_its_own_name() {
    let limit = Share::percent(1);
    for condition in [
        Condition::FalsePositives {
            count: 1,
            samples: 2,
            limit,
        },
        Condition::ProbeAccuracy {
            probe: "A07".to_owned(),
            right: 1,
            total: 2,
            limit,
        },
        Condition::AdapterNotLoadable {
            reason: "gone".to_owned(),
        },
        Condition::MalformedOutput {
            count: 1,
            samples: 2,
            limit,
        },
        Condition::Incident {
            tier: 1,
            decision: None,
            probe: None,
        },
        Condition::StateUnreadable {
            reason: "torn".to_owned(),
        },
    ] {
        let json = serde_json::to_string(&condition).unwrap();
        assert!(
            json.starts_with(&format!(r#"{{"{}":"#, condition.name())),
            "{json}"
        );
    }
}
