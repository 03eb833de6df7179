//! A queue before the sending: judges drafts, and puts into the outbox what may be sent.
//!
//!     worker verdicts.jsonl outbox.jsonl <drafts.jsonl
//!
//! A line is {"id": …, "context": {…}, "draft": …, "channel": …}; without a channel it is the context's,
//! or e-mail. Verdicts are appended as they get ready. After a crash give the same lines again: an id
//! that the daemon knows gets the same decision, and may be twice in the files.

use std::collections::HashMap;
use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use judged_client::{Channel, Connection, Draft, Event, Judge, JudgeError, Kind, Verdict};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Drafts at the daemon.
const IN_FLIGHT: usize = 16;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

struct Worker {
    judge: Judge,
    verdicts: File,
    outbox: File,
    /// Drafts that wait for their last word, by id.
    open: HashMap<String, Draft>,
    /// Verdicts that wait for their rationale, by id.
    labels: HashMap<String, Verdict>,
    all_read: bool,
    /// Lines that got no verdict.
    failures: usize,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            // Without the wait for the thread that waits for a line.
            std::process::exit(1);
        }
    }
}

async fn run() -> Result<usize, Box<dyn Error>> {
    let files: Vec<String> = std::env::args().skip(1).collect();
    let [verdicts, outbox] = &files[..] else {
        return Err("usage: worker VERDICTS OUTBOX <DRAFTS".into());
    };
    let append = |path| File::options().create(true).append(true).open(path);
    let mut worker = Worker {
        judge: Judge::new(&Connection::from_env()?)?,
        verdicts: append(verdicts)?,
        outbox: append(outbox)?,
        open: HashMap::new(),
        labels: HashMap::new(),
        all_read: false,
        failures: 0,
    };
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut pause = FIRST_PAUSE;
    while !worker.is_done() {
        match worker.one_stream(&mut lines, &mut pause).await {
            Ok(()) => {}
            Err(error) => match error.downcast::<JudgeError>() {
                Ok(error) if error.kind() == Kind::Unavailable => {
                    eprintln!("again in {} s: {error}", pause.as_secs_f64());
                    tokio::time::sleep(pause).await;
                    pause = LONGEST_PAUSE.min(2 * pause);
                }
                Ok(error) => return Err(error),
                Err(error) => return Err(error),
            },
        }
    }
    Ok(worker.failures)
}

impl Worker {
    fn is_done(&self) -> bool {
        self.all_read && self.open.is_empty()
    }

    /// Judges on one stream until all is done, or it breaks.
    async fn one_stream(
        &mut self,
        lines: &mut Lines<BufReader<Stdin>>,
        pause: &mut Duration,
    ) -> Result<(), Box<dyn Error>> {
        // A label without its rationale says nothing of what this stream answers.
        self.labels.clear();
        // Room for all that is open, and for what is sent again.
        let (todo, drafts) = mpsc::channel(2 * IN_FLIGHT);
        for draft in self.open.values() {
            todo.send(draft.clone()).await?;
        }
        let mut events = self.judge.stream(ReceiverStream::new(drafts)).await?;
        while !self.is_done() {
            tokio::select! {
                line = lines.next_line(), if !self.all_read && self.open.len() < IN_FLIGHT => {
                    match line? {
                        Some(line) => self.enqueue(&line, &todo).await?,
                        None => self.all_read = true,
                    }
                }
                event = events.next() => match event? {
                    Some(event) => {
                        *pause = FIRST_PAUSE;
                        self.take(event, &todo)?;
                    }
                    None => return Ok(()),
                },
            }
        }
        Ok(())
    }

    async fn enqueue(
        &mut self,
        line: &str,
        todo: &mpsc::Sender<Draft>,
    ) -> Result<(), Box<dyn Error>> {
        match read(line) {
            Ok(draft) if !self.open.contains_key(&draft.request_id) => {
                self.open.insert(draft.request_id.clone(), draft.clone());
                // A stream that has just broken takes no more; the next one is given all that is open.
                let _ = todo.send(draft).await;
                Ok(())
            }
            Ok(_) => self.fail(json!({"line": line, "error": "this id is in flight already"})),
            Err(error) => self.fail(json!({"line": line, "error": error})),
        }
    }

    fn take(&mut self, event: Event, todo: &mpsc::Sender<Draft>) -> Result<(), Box<dyn Error>> {
        match event {
            Event::Judged(verdict) => {
                self.labels.insert(verdict.request_id.clone(), verdict);
                Ok(())
            }
            Event::Reasoned {
                request_id,
                rationale,
                ..
            } => self.decide(&request_id, rationale),
            Event::Failed { request_id, .. } if self.labels.contains_key(&request_id) => {
                self.decide(&request_id, String::new())
            }
            Event::Failed { request_id, error } if is_passing(&error) => {
                if let Some(draft) = self.open.get(&request_id).cloned() {
                    let todo = todo.clone();
                    let delay = error.retry_delay.unwrap_or(Duration::from_secs(1));
                    tokio::spawn(async move {
                        tokio::time::sleep(delay).await;
                        // A broken stream has sent it again itself.
                        let _ = todo.send(draft).await;
                    });
                }
                Ok(())
            }
            Event::Failed { request_id, error } => {
                self.open.remove(&request_id);
                self.fail(json!({"request_id": request_id, "error": error.to_string()}))
            }
            _ => Ok(()),
        }
    }

    fn decide(&mut self, id: &str, rationale: String) -> Result<(), Box<dyn Error>> {
        // What was sent twice has its last word already.
        let (Some(draft), Some(verdict)) = (self.open.remove(id), self.labels.remove(id)) else {
            return Ok(());
        };
        let may_send = verdict.may_send();
        writeln!(
            self.verdicts,
            "{}",
            json!({
                "request_id": id,
                "decision_id": verdict.decision_id,
                "label": verdict.label.as_str(),
                "disposition": verdict.disposition.as_str(),
                "decided_by": verdict.decided_by.as_str(),
                "degraded_reason": verdict.degraded_reason,
                "rationale": rationale,
                "may_send": may_send,
            })
        )?;
        if may_send {
            writeln!(self.outbox, "{}", json!({"id": id, "draft": draft.draft}))?;
        }
        Ok(())
    }

    fn fail(&mut self, row: Value) -> Result<(), Box<dyn Error>> {
        self.failures += 1;
        Ok(writeln!(self.verdicts, "{row}")?)
    }
}

/// A deadline that is out of reach says when to come back, too.
fn is_passing(error: &JudgeError) -> bool {
    error.kind() == Kind::Unavailable || error.retry_delay.is_some()
}

fn read(line: &str) -> Result<Draft, String> {
    let row: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let text = |name: &str| {
        let text = row[name].as_str().map(str::to_owned);
        text.ok_or_else(|| format!("`{name}` is missing, or no text"))
    };
    let channel = match row["channel"].as_str() {
        None if row["channel"].is_null() => None,
        Some("EMAIL") => Some(Channel::Email),
        Some("SMS") => Some(Channel::Sms),
        Some("LINKEDIN") => Some(Channel::Linkedin),
        _ => return Err(format!("there is no channel {}", row["channel"])),
    };
    Ok(Draft {
        request_id: text("id")?,
        channel,
        ..Draft::new(&row["context"], text("draft")?)
    })
}

/// Run as part of `tests/worker.rs`.
#[cfg(test)]
mod tests {
    use judged_client::{Code, DecidedBy, Disposition, Label, Mode, Timings, Usage};
    use tempfile::TempDir;

    use super::*;

    fn judged(disposition: Disposition) -> Event {
        Event::Judged(Verdict {
            request_id: "1".to_owned(),
            decision_id: String::new(),
            label: Label::Pass,
            disposition,
            rationale: String::new(),
            scores: Vec::new(),
            decided_by: DecidedBy::Model,
            mode: Mode::Enforce,
            degraded_reason: String::new(),
            rules: Vec::new(),
            model: None,
            usage: Usage::default(),
            timings: Timings::default(),
            legal_mass: 1.0,
        })
    }

    #[tokio::test]
    async fn a_label_of_a_broken_stream_decides_nothing_on_the_next_one() {
        let folder = TempDir::new().unwrap();
        let file = |name: &str| File::create(folder.path().join(name)).unwrap();
        let nobody = Connection::to("127.0.0.1:1");
        let mut worker = Worker {
            judge: Judge::new(&nobody).unwrap(),
            verdicts: file("verdicts"),
            outbox: file("outbox"),
            open: HashMap::new(),
            labels: HashMap::new(),
            all_read: true,
            failures: 0,
        };
        let draft = read(r#"{"id": "1", "context": {}, "draft": "Hi"}"#).unwrap();
        worker.open.insert("1".to_owned(), draft);
        let (todo, _taken) = mpsc::channel(1);
        worker.take(judged(Disposition::Dispatch), &todo).unwrap();

        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        let mut pause = FIRST_PAUSE;
        let broken = worker.one_stream(&mut lines, &mut pause).await;
        assert!(broken.is_err());

        let full = Event::Failed {
            request_id: "1".to_owned(),
            error: JudgeError {
                code: Code::ResourceExhausted,
                message: "the queue is full".to_owned(),
                reason: "QUEUE_FULL".to_owned(),
                field_violations: Vec::new(),
                retry_delay: None,
            },
        };
        worker.take(full, &todo).unwrap();
        worker
            .take(judged(Disposition::HoldForReview), &todo)
            .unwrap();
        let reasoned = Event::Reasoned {
            request_id: "1".to_owned(),
            decision_id: String::new(),
            rationale: "No rule fires.".to_owned(),
            usage: Usage::default(),
            timings: Timings::default(),
        };
        worker.take(reasoned, &todo).unwrap();
        let content = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(content("outbox"), "");
        let verdicts = content("verdicts");
        assert!(verdicts.contains("HOLD_FOR_REVIEW"), "{verdicts}");
        assert_eq!((verdicts.lines().count(), worker.failures), (1, 0));
    }
}
