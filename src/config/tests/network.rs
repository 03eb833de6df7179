use super::*;

#[test]
fn listening_beyond_the_loopback_must_be_meant() {
    let told = problems(&["--control-listen=192.0.2.1:1"]);
    assert!(told[0].contains("allow_insecure_listen"), "{told:?}");
    assert!(told[0].contains("tls_cert"), "{told:?}");
    config(&["--control-listen=192.0.2.1:1", "--allow-insecure-listen"]).unwrap();
    config(&["--listen=[::1]:0"]).unwrap();
}

#[test]
fn metrics_beyond_the_loopback_must_be_meant_by_themselves() {
    let public = [
        "--metrics-listen=192.0.2.1:1",
        "--tls-cert=a",
        "--tls-key=b",
        "--tokens=c",
    ];
    let told = problems(&public);
    assert!(
        told[0].contains("allow_insecure_metrics") && !told[0].contains("tls"),
        "{told:?}"
    );
    config(&[&public[..], &["--allow-insecure-metrics"]].concat()).unwrap();
    // It opens nothing else.
    problems(&["--listen=192.0.2.1:1", "--allow-insecure-metrics"]);
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
