//! The figures for a terminal.

use super::compare::Comparison;
use super::drive::Load;
use super::engine::Work;
use super::report::{Report, Run};
use crate::eval::latency::Percentiles;

pub fn render(report: &Report) -> String {
    let mut lines = Vec::new();
    for run in &report.runs {
        lines.extend(of_run(run));
        lines.push(String::new());
    }
    if let Some(comparison) = &report.comparison {
        lines.extend(compared(comparison));
    }
    lines.extend(report.notes.iter().map(|note| format!("note: {note}")));
    lines.join("\n")
}

pub(super) fn load(load: Load) -> String {
    match load {
        Load::Closed { concurrency } => format!("{concurrency} in flight"),
        Load::Open { rate } => format!("{rate} a second offered"),
    }
}

fn of_run(run: &Run) -> Vec<String> {
    let mut lines = vec![
        format!("# {}, {}", run.target.as_str(), load(run.load)),
        format!(
            "answered     {} of {} in {:.2} s: {:.3} decisions/s",
            run.answered, run.sent, run.seconds, run.decisions_per_second
        ),
    ];
    if run.by_rules > 0 {
        let count = run.by_rules;
        lines.push(format!("by rules     {count} of them, without the model"));
    }
    lines.extend(run.to_label.map(|seconds| percentiles("to label", seconds)));
    lines.extend(
        run.to_answer
            .map(|seconds| percentiles("to answer", seconds)),
    );
    if run.shed > 0 {
        lines.push(format!("shed         {}", run.shed));
    }
    lines.extend(run.errors.iter().map(|errors| {
        format!(
            "failed       {} {} ({})",
            errors.count, errors.status, errors.reason
        )
    }));
    let labels = run
        .labels
        .iter()
        .map(|(label, count)| format!("{label} {count}"));
    lines.push(format!(
        "labels       {}",
        labels.collect::<Vec<_>>().join("  ")
    ));
    let tokens = run.tokens;
    lines.push(format!(
        "tokens       {} in prompts: {} evaluated, {} spared; {} generated",
        tokens.prompt, tokens.evaluated, tokens.cached, tokens.generated
    ));
    if let Some(engine) = &run.engine {
        lines.extend(work("prefill", engine.prefill));
        lines.extend(work("decode", engine.decode));
        lines.extend(
            engine
                .tokens_per_step
                .map(|fill| format!("batch fill   {fill:.2} tokens a decode step")),
        );
    }
    lines
}

fn percentiles(name: &str, seconds: Percentiles) -> String {
    let Percentiles { p50, p90, p99 } = seconds;
    format!("{name:<12} p50 {p50:.3} s  p90 {p90:.3} s  p99 {p99:.3} s")
}

fn work(name: &str, work: Work) -> Option<String> {
    let rate = work.tokens_per_second?;
    let of_raw = work
        .of_raw
        .map(|ratio| format!(", {ratio:.2} of the raw rate"));
    let (tokens, seconds) = (work.tokens, work.seconds);
    Some(format!(
        "{name:<12} {tokens} tokens in {seconds:.2} s of the engine: {rate:.1} tokens/s{}",
        of_raw.unwrap_or_default()
    ))
}

fn compared(comparison: &Comparison) -> Vec<String> {
    let mut lines = vec![format!(
        "{:<16}{:>10}{:>14}{:>8}  by round",
        "", "daemon", "llama-server", "ratio"
    )];
    for (name, ratio) in comparison.rows() {
        let by_round = ratio.by_round.iter().map(|ratio| number(*ratio, 2));
        lines.push(format!(
            "{name:<16}{:>10}{:>14}{:>8}  {}",
            number(ratio.daemon, 3),
            number(ratio.llama_server, 3),
            number(ratio.ratio, 2),
            by_round.collect::<Vec<_>>().join(" ")
        ));
    }
    for (name, share) in [
        ("equal labels", comparison.equal_labels),
        ("equal prompts", comparison.equal_prompts),
    ] {
        lines.push(format!("{name:<16}{:>10} of {}", share.k, share.n));
    }
    lines
}

pub(super) fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or("–".to_owned(), |value| format!("{value:.digits$}"))
}
