//! Decisions and errors, for people and as JSON.

use std::fmt::Display;
use std::io::{self, Write};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::backend::Device;
use crate::backend::offload::Placement;
use crate::client::ClientError;
pub use crate::decision_json::{decision as decision_json, revision};
use crate::eval::text::plain;
use crate::verdict::{Decision, Label};

/// Who read stdout left, as `head` does after its lines.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads stdout any more")]
pub struct ReaderGone;

/// Writes a line of data on stdout.
pub fn line(text: impl Display) -> anyhow::Result<()> {
    written(writeln!(io::stdout(), "{text}"))
}

/// The same with colours, which only a terminal gets.
pub fn styled(text: impl Display) -> anyhow::Result<()> {
    written(writeln!(anstream::stdout(), "{text}"))
}

fn written(outcome: io::Result<()>) -> anyhow::Result<()> {
    outcome.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => ReaderGone.into(),
        _ => anyhow::Error::new(error).context("cannot write to stdout"),
    })
}

/// [`line()`] with a format; returns where it fails.
macro_rules! out {
    ($($text:tt)*) => {
        $crate::cli::print::line(format_args!($($text)*))?
    };
}
pub(super) use out;

/// Writes a line on stderr, where somebody may read it.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($text)*);
    }};
}
pub(super) use say;

/// Which layers a GPU has, and why.
pub fn gpu(placement: Option<&Placement>, reason: &str) -> String {
    match placement {
        Some(Placement { device, layers }) => format!("{device} has {layers} layers: {reason}"),
        None => format!("none: {reason}"),
    }
}

/// A bar on a terminal, nothing elsewhere; its length comes later.
pub fn bar(done: &str) -> ProgressBar {
    let bar = ProgressBar::new(0);
    let template = format!("{{bar:30}} {{pos}}/{{len}} {done}, {{eta}} left");
    match ProgressStyle::with_template(&template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// An error and its causes, on stderr.
pub fn error_chain(error: &dyn std::error::Error) {
    let mut text = error.to_string();
    say!("error: {text}");
    let mut cause = error.source();
    while let Some(error) = cause {
        // Wrappers of wrappers often say the same.
        if error.to_string() != text {
            text = error.to_string();
            say!("  caused by: {text}");
        }
        cause = error.source();
    }
}

pub fn decision_text(name: Option<&str>, decision: &Decision) -> String {
    let mut lines = Vec::new();
    lines.extend(name.map(|name| format!("# {}", plain(name))));
    let confidence = decision
        .scores
        .map(|scores| format!(" {:.3}", scores.probabilities[decision.label.index()]));
    lines.push(format!(
        "{}{}  {}  decided by {} in mode {}",
        decision.label,
        confidence.unwrap_or_default(),
        decision.disposition,
        decision.decided_by,
        decision.mode,
    ));
    if !decision.rationale.is_empty() {
        lines.push(format!("  rationale  {}", plain(&decision.rationale)));
    }
    if !decision.rules.is_empty() {
        lines.push(format!("  rules      {}", decision.rules.join(", ")));
    }
    if let Some(scores) = decision.scores {
        let rows = Label::ALL.map(|label| {
            let probability = scores.probabilities[label.index()];
            format!("{label} {probability:.3}")
        });
        let mass = scores.legal_mass;
        lines.push(format!(
            "  scores     {}  (mass {mass:.3})",
            rows.join("  ")
        ));
    }
    if let Some(reason) = &decision.degraded_reason {
        lines.push(format!("  degraded   {}", plain(reason)));
    }
    let (usage, timings) = (decision.usage, decision.timings);
    if decision.model.is_some() {
        lines.push(format!(
            "  tokens     {} in the prompt, {} of them cached, {} generated",
            usage.prompt_tokens, usage.cached_tokens, usage.generated_tokens
        ));
    }
    lines.push(format!(
        "  seconds    queue {:.3}  prefill {:.3}  decode {:.3}  total {:.3}",
        timings.queue.as_secs_f64(),
        timings.prefill.as_secs_f64(),
        timings.decode.as_secs_f64(),
        timings.total.as_secs_f64(),
    ));
    lines.join("\n")
}

pub fn error_json(name: Option<&str>, request_id: &str, error: &ClientError) -> Value {
    json!({
        "name": name,
        "request_id": request_id,
        "error": error.to_string(),
        "code": error.code(),
        "reason": error.reason(),
    })
}

pub fn device(device: &Device) -> Value {
    json!({
        "name": device.name,
        "description": device.description,
        "kind": device.kind,
        "memory_free_bytes": device.memory_free_bytes,
        "memory_total_bytes": device.memory_total_bytes,
    })
}
