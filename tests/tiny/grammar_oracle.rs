//! Promise: llama.cpp's own grammar, told the same language, accepts every answer of the daemon.

use std::mem::ManuallyDrop;
use std::path::Path;

use crate::support::hostile::{Chance, context, text};
use crate::support::tiny_daemon::TinyBundle;
use judged::client::Question;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::sampling::LlamaSampler;
use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::token::data::LlamaTokenData;
use llama_cpp_2::token::data_array::LlamaTokenDataArray;

const GRAMMAR: &str = include_str!("../../src/bench/llama_server/answer.gbnf");
const ANSWERS: u64 = 400;

/// llama.cpp's grammar over the tiny model's vocabulary.
struct Oracle {
    model: LlamaModel,
}

impl Oracle {
    /// The daemon has initialized llama.cpp, which can be done once, and never frees it.
    fn of(base: &Path) -> Self {
        let runtime = ManuallyDrop::new(LlamaBackend {});
        let params = LlamaModelParams::default()
            .with_vocab_only(true)
            .with_progress_callback(|_| true);
        let model = LlamaModel::load_from_file(&runtime, base, &params).unwrap();
        Self { model }
    }

    fn accepts(&self, answer: &str) -> bool {
        let mut sampler = LlamaSampler::grammar(&self.model, GRAMMAR, "root").unwrap();
        let vocab = self.model.vocab();
        for token in vocab.tokenize(answer.as_bytes(), false, false) {
            // A token that the grammar refuses must never be accepted: llama.cpp would abort.
            if !allows(&mut sampler, token) {
                return false;
            }
            sampler.accept(token);
        }
        allows(&mut sampler, vocab.eos())
    }
}

fn allows(sampler: &mut LlamaSampler, token: LlamaToken) -> bool {
    let candidate = LlamaTokenData::new(token, 0.0, 0.0);
    let mut candidates = LlamaTokenDataArray::new(vec![candidate], false);
    sampler.apply(&mut candidates);
    candidates.data[0].logit() != f32::NEG_INFINITY
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn llama_cpps_own_grammar_accepts_every_answer() {
    let daemon = TinyBundle::new().serve().await;
    let oracle = Oracle::of(&daemon.dir.path().join("elsewhere.gguf"));

    assert!(oracle.accepts("PASS\nAll is well."));
    assert!(oracle.accepts("PENALISE\nPeers (2.5 of 3) are “generic”, e.g—TechCorp😀!"));
    for spoilt in [
        "PASS",
        "PASS\n",
        "PASS\nAll is well",
        "PASS\nAll is well.\n",
        "PASS\nAll is well. Or not.",
        "PASS\nAll is well..",
        "PASS\n All is well.",
        "PASS\nAll  is well.",
        "PASS\nAll is <well>.",
        "PASS\nAll is\u{a0}well.",
        "PASS\nAll is \u{202e}well.",
        "MAYBE\nAll is well.",
        " PASS\nAll is well.",
    ] {
        assert!(!oracle.accepts(spoilt), "{spoilt:?}");
    }

    let calls = (0..8).map(|caller| {
        let mut client = daemon.client.clone();
        tokio::spawn(async move {
            let mut answers = Vec::new();
            for number in 0..ANSWERS / 8 {
                let mut chance = Chance(1_000_000 * caller + number);
                let question = Question {
                    context_json: context(&mut chance).to_string(),
                    draft: text(&mut chance, 8) + "a",
                    ..Question::default()
                };
                let decision = client.judge(question).await.unwrap();
                answers.push(format!("{}\n{}", decision.label, decision.rationale));
            }
            answers
        })
    });
    for call in calls.collect::<Vec<_>>() {
        for answer in call.await.unwrap() {
            assert!(oracle.accepts(&answer), "{answer:?}");
        }
    }
    daemon.app.shut_down().await;
}
