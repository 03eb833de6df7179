//! A llama-server with the same model, asked over HTTP for the same answer to the same tokens.

mod runs;
mod stream;

use std::collections::HashMap;
use std::io::BufReader;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use ureq::Agent;

use self::runs::{Run, Runs};
use super::drive::Target;
use super::sample::{Answer, Failure};
use super::workload::Request;
use crate::backend::Token;
use crate::context::Context;
use crate::models::Bundle;
use crate::prompt::{Prompt, TemplateError};
use crate::verdict::{Case, RationaleMode};

/// The language of an answer in llama.cpp's notation, that of [`GRAMMAR_HERE`].
const GRAMMAR_THERE: &str = include_str!("llama_server/answer.gbnf");
const GRAMMAR_HERE: &str = include_str!("../../models/tenacious-judge.lark");
/// Tokens of the longest label and the line end.
const LABEL_TOKENS: u32 = 8;
/// What is no answer to judge is answered at once, or never.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("no llama-server answers at `{url}`")]
    Unreachable {
        url: String,
        source: Box<ureq::Error>,
    },
    #[error("`{url}` does not answer as a llama-server does: {problem}")]
    Answer { url: String, problem: String },
    #[error(
        "the bundle's grammar is not that of `tenacious-judge`: for no other there is one in GBNF"
    )]
    Grammar,
    #[error("the bundle's template")]
    Template(#[from] TemplateError),
    #[error("a context is none")]
    Context(#[from] crate::context::ContextError),
}

/// What the server says of itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServerInfo {
    pub url: String,
    pub model: String,
    pub build: String,
    pub slots: u64,
    pub adapters: usize,
}

/// A server that runs, and what is to be asked of it.
pub struct LlamaServer {
    url: String,
    agent: Agent,
    prompt: Prompt,
    runs: Arc<Runs>,
    rationale: RationaleMode,
    most_tokens: u32,
    deadline: Duration,
}

impl LlamaServer {
    /// Blocks, up to half a minute a call.
    pub fn new(
        url: &str,
        bundle: &Bundle,
        rationale: RationaleMode,
        deadline: Duration,
    ) -> Result<Self, ServerError> {
        if bundle.answer.grammar != GRAMMAR_HERE {
            return Err(ServerError::Grammar);
        }
        let runs = Arc::new(Runs::default());
        let spec = &bundle.prompt;
        let budget = usize::MAX; // The daemon says what is too long.
        let prompt = Prompt::new(&spec.template, spec.context, budget, Arc::clone(&runs) as _)?;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_idle_connections(1024)
            .max_idle_connections_per_host(1024)
            .build();
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            agent: Agent::new_with_config(config),
            prompt,
            runs,
            rationale,
            most_tokens: match rationale {
                RationaleMode::None => LABEL_TOKENS,
                // It has no such grammar: its sentence is what ours is compared with.
                RationaleMode::Sentence | RationaleMode::Evidence => {
                    LABEL_TOKENS + bundle.answer.max_rationale_tokens
                }
            },
            deadline,
        })
    }

    /// Which server it is. Blocks.
    pub fn info(&self) -> Result<ServerInfo, ServerError> {
        let props = self.call("props", None)?;
        let text = |name: &str| props[name].as_str().unwrap_or_default().to_owned();
        let slots = props["total_slots"].as_u64();
        let adapters = self.call("lora-adapters", None)?;
        Ok(ServerInfo {
            url: self.url.clone(),
            model: text("model_path"),
            build: text("build_info"),
            slots: slots.ok_or_else(|| self.odd("`/props` has no `total_slots`"))?,
            adapters: adapters.as_array().map_or(0, Vec::len),
        })
    }

    /// Renders and tokenizes the requests, so that their time is not measured. Blocks.
    pub fn prepare(&self, requests: &[Request]) -> Result<Prepared, ServerError> {
        let mut known: HashMap<String, Vec<Token>> = HashMap::new();
        let mut bodies = HashMap::new();
        for request in requests {
            let mut tokens = Vec::new();
            for (text, special) in self.pieces(request)? {
                let run = match known.get(&text) {
                    Some(run) => run,
                    None => {
                        let run = self.tokenize(&text, special)?;
                        known.entry(text).or_insert(run)
                    }
                };
                tokens.extend(run);
            }
            bodies.insert(key(request), self.body(&tokens));
        }
        Ok(Prepared {
            url: Arc::from(format!("{}/completion", self.url)),
            agent: self.agent.clone(),
            bodies: Arc::new(bodies),
            deadline: self.deadline,
        })
    }

    /// The prompt's runs of text, and the names of control tokens between them.
    fn pieces(&self, request: &Request) -> Result<Vec<(String, bool)>, ServerError> {
        let case = Case {
            context: Context::parse(&request.context_json)?,
            draft: request.draft.clone(),
            requested_channel: request.channel,
        };
        let rendered = self.prompt.render(&case).unwrap_or_default();
        let runs = rendered.iter().filter_map(|token| self.runs.get(*token));
        Ok(runs
            .map(|run| match run {
                Run::Text(text) => (text, false),
                Run::Control(name) => (name, true),
            })
            .collect())
    }

    fn tokenize(&self, text: &str, special: bool) -> Result<Vec<Token>, ServerError> {
        #[derive(Deserialize)]
        struct Tokenized {
            tokens: Vec<Token>,
        }
        let asked = json!({"content": text, "add_special": false, "parse_special": special});
        let answer = self.call("tokenize", Some(&asked))?;
        let tokenized: Tokenized = serde_json::from_value(answer)
            .map_err(|error| self.odd(&format!("`/tokenize`: {error}")))?;
        if special && tokenized.tokens.len() != 1 {
            return Err(self.odd(&format!("its model has no control token `{text}`")));
        }
        Ok(tokenized.tokens)
    }

    /// What is best for the server: greedy, without a look at any other token.
    fn body(&self, tokens: &[Token]) -> String {
        json!({
            "prompt": tokens,
            "grammar": grammar(self.rationale),
            "n_predict": self.most_tokens,
            "cache_prompt": true,
            "stream": true,
            "temperature": 0,
            "top_k": 1,
            "samplers": ["top_k"],
        })
        .to_string()
    }

    fn call(&self, path: &str, body: Option<&Value>) -> Result<Value, ServerError> {
        let url = format!("{}/{path}", self.url);
        let unreachable = |source| ServerError::Unreachable {
            url: self.url.clone(),
            source: Box::new(source),
        };
        let response = match body {
            None => {
                let call = self.agent.get(&url).config();
                call.timeout_global(Some(PATIENCE)).build().call()
            }
            Some(body) => {
                let call = self.agent.post(&url).config();
                let call = call.timeout_global(Some(PATIENCE)).build();
                call.content_type("application/json").send(body.to_string())
            }
        };
        let mut response = response.map_err(unreachable)?;
        let text = response.body_mut().read_to_string().map_err(unreachable)?;
        match response.status().as_u16() {
            200 => serde_json::from_str(&text)
                .map_err(|error| self.odd(&format!("`/{path}`: {error}"))),
            status => Err(self.odd(&format!("`/{path}` is answered with HTTP {status}"))),
        }
    }

    fn odd(&self, problem: &str) -> ServerError {
        ServerError::Answer {
            url: self.url.clone(),
            problem: problem.to_owned(),
        }
    }
}

/// The whole answer, or its label alone.
fn grammar(rationale: RationaleMode) -> String {
    match rationale {
        RationaleMode::Sentence | RationaleMode::Evidence => GRAMMAR_THERE.to_owned(),
        RationaleMode::None => {
            GRAMMAR_THERE.replace("root ::= label \"\\n\" sentence", "root ::= label")
        }
    }
}

type Key = (String, String);

fn key(request: &Request) -> Key {
    (request.context_json.clone(), request.draft.clone())
}

/// A server and the bodies of the requests that it is to be asked.
#[derive(Clone)]
pub struct Prepared {
    url: Arc<str>,
    agent: Agent,
    bodies: Arc<HashMap<Key, String>>,
    deadline: Duration,
}

impl Target for Prepared {
    /// On a thread of its own: the client blocks.
    async fn ask(&self, request: Request) -> Result<Answer, Failure> {
        let prepared = self.clone();
        let asked = tokio::task::spawn_blocking(move || prepared.complete(&request)).await;
        asked.unwrap_or_else(|error| Err(failure("NoAnswer", error)))
    }
}

impl Prepared {
    fn complete(&self, request: &Request) -> Result<Answer, Failure> {
        let body = self.bodies.get(&key(request));
        let body = body.ok_or_else(|| failure("NoAnswer", "the request was not prepared"))?;
        let call = self.agent.post(&*self.url).config();
        let call = call.timeout_global(Some(self.deadline)).build();
        let response = call.content_type("application/json").send(body);
        let mut response = response.map_err(broken)?;
        let status = response.status().as_u16();
        if status != 200 {
            let text = response.body_mut().read_to_string().unwrap_or_default();
            return Err(Failure {
                shed: matches!(status, 429 | 503),
                ..failure(&format!("HTTP {status}"), stream::problem(&text))
            });
        }
        let reader = BufReader::new(response.body_mut().as_reader());
        let completed = stream::read(reader).map_err(|error| match error.get_ref() {
            Some(inner) if inner.is::<ureq::Error>() => timed_out_or(inner, &error),
            _ => failure("NoAnswer", &error),
        })?;
        Ok(Answer {
            label: completed.label,
            labelled: completed.labelled,
            done: Instant::now(),
            by_rules: false,
            usage: completed.usage,
        })
    }
}

fn timed_out_or(inner: &(dyn std::error::Error + 'static), error: &std::io::Error) -> Failure {
    match inner.downcast_ref::<ureq::Error>() {
        Some(ureq::Error::Timeout(_)) => failure("DeadlineExceeded", "no answer in time"),
        _ => failure("NoAnswer", error),
    }
}

fn broken(error: ureq::Error) -> Failure {
    match error {
        ureq::Error::Timeout(_) => failure("DeadlineExceeded", "no answer in time"),
        error => failure("NoAnswer", error),
    }
}

fn failure(status: &str, reason: impl std::fmt::Display) -> Failure {
    Failure {
        status: status.to_owned(),
        reason: reason.to_string(),
        shed: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_label_alone_has_a_grammar_without_a_sentence() {
        let alone = grammar(RationaleMode::None);
        assert_ne!(alone, grammar(RationaleMode::Sentence));
        assert!(alone.contains("\nroot ::= label\n"), "{alone}");
    }
}
