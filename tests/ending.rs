//! Promise: a daemon ends as it was asked to, whatever the engine is doing.

mod support {
    pub mod command;
    pub mod gguf_writer;
    pub mod tiny;
    pub mod tiny_daemon;
    pub mod tiny_vocabulary;
}

use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use support::command::Shell;
use support::tiny::TinyModel;
use support::tiny_daemon::TinyBundle;

/// ggml's exit handlers unload the modules in which a decode may still run.
#[test]
fn a_daemon_that_ends_in_the_middle_of_a_decode_does_not_crash() {
    // Large enough to be met while it computes.
    let bundle = TinyBundle::new().of(TinyModel {
        n_layer: 4,
        n_embd: 256,
        n_ff: 1024,
        ..TinyModel::default()
    });
    let (manifest, store) = bundle.on_disk();
    let shell = Shell::new();
    let drafts: String = (0..8)
        .map(|number| {
            let draft = format!("{number} {}", "a word, ".repeat(60));
            format!(
                "{}\n",
                json!({"context": {"company": "DevCo"}, "draft": draft})
            )
        })
        .collect();
    let cases = shell.file("cases.jsonl", &drafts);
    for round in 0..5 {
        let daemon = shell.serve(&[
            "--bundle",
            manifest.to_str().unwrap(),
            "--model-dir",
            store.to_str().unwrap(),
            "--drain-timeout",
            "0",
        ]);
        let ready = shell.run(&["status", "--addr", &daemon.control, "--wait"]);
        assert_eq!(ready.code, 0, "{ready:?}");
        let mut asking = shell
            .command(&["judge", &cases, "--addr", &daemon.judge])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let running = || {
            let status = shell.run(&["status", "--addr", &daemon.control, "--json"]);
            status.json()[0]["running"] != 0
        };
        while !running() {}
        std::thread::sleep(Duration::from_millis(20 * round));
        daemon.signal("TERM");
        let ended = daemon.end(Duration::from_secs(30));
        assert_eq!(ended.code, 0, "{ended:?}");
        asking.wait().unwrap();
    }
}
