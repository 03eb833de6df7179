//! Promise: a daemon ends as it was asked to, whatever the engine is doing.

use std::time::{Duration, Instant};

use crate::support::command::{Served, Shell};
use crate::support::tiny::TinyModel;
use crate::support::tiny_daemon::TinyBundle;
use judged::client::{Client, Question};

const PATIENCE: Duration = Duration::from_secs(60);

/// With exit handlers a round crashes more often than not.
const ROUNDS: usize = 6;

/// What exit handlers free, the engine's thread would read with its next operation. So that one
/// begins in the moment between them and the end, the model has many thin layers: a step is long,
/// and its operations are short.
#[test]
fn a_daemon_that_ends_in_the_middle_of_a_step_does_not_crash() {
    let bundle = TinyBundle::new().of(TinyModel {
        n_layer: 200,
        n_embd: 32,
        n_head: 2,
        n_head_kv: 1,
        n_ff: 32,
        ..TinyModel::default()
    });
    let (manifest, store) = bundle.on_disk();
    let (manifest, store) = (manifest.to_str().unwrap(), store.to_str().unwrap());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for round in 0..ROUNDS {
        let shell = Shell::new();
        let mut settings = vec!["--bundle", manifest, "--model-dir", store];
        settings.extend(["--threads", "1", "--prefill-chunk", "64"]);
        // The model is asked for the log alone: no caller whose leaving would end its work.
        settings.extend(["--mode", "shadow", "--drain-timeout", "0"]);
        let daemon = shell.serve(&settings);
        runtime.block_on(until_it_reads(&daemon));
        daemon.signal("TERM");
        // A signal would leave no exit code.
        let ended = daemon.end(PATIENCE);
        assert_eq!(ended.code, 0, "round {round}: {}", ended.stderr);
    }
}

/// Questions for seconds, and the model at the first of them.
async fn until_it_reads(daemon: &Served) {
    let mut control = Client::connect(&daemon.control).await.unwrap();
    let end = Instant::now() + PATIENCE;
    while control.status().await.unwrap().degraded_reason.is_some() {
        assert!(Instant::now() < end, "the model does not decide");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut client = Client::connect(&daemon.judge).await.unwrap();
    for prospect in 0..8 {
        let question = Question {
            context_json: format!(r#"{{"prospect_id": "p{prospect}"}}"#),
            draft: format!("{prospect} {}", "a word, ".repeat(60)),
            ..Question::default()
        };
        client.judge(question).await.unwrap();
    }
    while control.status().await.unwrap().running == 0 {
        assert!(Instant::now() < end, "the model is not asked");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
