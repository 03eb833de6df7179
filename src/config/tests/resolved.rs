use std::path::Path;

use super::*;

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
