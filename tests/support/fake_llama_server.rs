//! What `judged bench` asks of a llama-server, answered over plain HTTP by a script, with the tokens of
//! the scripted model.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that goes wrong should stop"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use judged::backend::scripted::ScriptedTokenizer;
use judged::backend::{Token, Tokenizer};
use serde_json::{Value, json};

pub struct FakeLlamaServer {
    pub url: String,
    completions: Arc<Mutex<Vec<Value>>>,
}

impl FakeLlamaServer {
    /// Streams this answer to every prompt, three bytes at a time.
    pub fn start(answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let completions = Arc::default();
        let noted = Arc::clone(&completions);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                stream.set_nodelay(true).unwrap();
                let noted = Arc::clone(&noted);
                std::thread::spawn(move || while serve(&stream, answer, &noted).is_some() {});
            }
        });
        Self { url, completions }
    }

    /// The bodies that it was asked to complete, in their order.
    pub fn completions(&self) -> Vec<Value> {
        self.completions.lock().unwrap().clone()
    }

    pub fn text(&self, tokens: &[Value]) -> String {
        let tokenizer = ScriptedTokenizer::default();
        let mut bytes = Vec::new();
        for token in tokens {
            bytes.extend(tokenizer.piece(token.as_u64().unwrap() as Token));
        }
        String::from_utf8(bytes).unwrap()
    }
}

/// Answers one request; `None` when the client is gone.
fn serve(stream: &TcpStream, answer: &str, noted: &Mutex<Vec<Value>>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let head = head.to_ascii_lowercase();
    let length = head.split("content-length: ").nth(1);
    let length = length.map_or(0, |rest| rest.split('\r').next().unwrap().parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    match head.split(' ').nth(1)? {
        "/props" => reply(
            stream,
            &json!({"total_slots": 8, "model_path": "m.gguf", "build_info": "b1"}),
        ),
        "/lora-adapters" => reply(stream, &json!([{"id": 0, "path": "a.gguf", "scale": 1.0}])),
        "/tokenize" => reply(stream, &json!({"tokens": tokens(&body)})),
        "/completion" => {
            let prompt = body["prompt"].as_array().unwrap().len();
            noted.lock().unwrap().push(body);
            complete(stream, answer, prompt)
        }
        path => panic!("asked for {path}"),
    }
}

fn tokens(body: &Value) -> Vec<Token> {
    let tokenizer = ScriptedTokenizer::default();
    let text = body["content"].as_str().unwrap();
    match body["parse_special"].as_bool().unwrap() {
        false => tokenizer.tokenize(text.as_bytes()),
        true => vec![tokenizer.control(text).unwrap()],
    }
}

fn reply(mut stream: &TcpStream, body: &Value) -> Option<()> {
    let body = body.to_string();
    let length = body.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all((head + &body).as_bytes()).ok()
}

fn complete(mut stream: &TcpStream, answer: &str, prompt: usize) -> Option<()> {
    let head =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).ok()?;
    let mut event = |value: Value| {
        let data = format!("data: {value}\n\n");
        let chunk = format!("{:x}\r\n{data}\r\n", data.len());
        stream.write_all(chunk.as_bytes()).ok()
    };
    for part in answer.as_bytes().chunks(3) {
        std::thread::sleep(Duration::from_millis(1));
        event(json!({"content": String::from_utf8_lossy(part), "stop": false}))?;
    }
    let timings = json!({"cache_n": 8, "prompt_n": prompt - 8, "predicted_n": answer.len()});
    event(json!({"content": "", "stop": true, "timings": timings}))?;
    stream.write_all(b"0\r\n\r\n").ok()
}
