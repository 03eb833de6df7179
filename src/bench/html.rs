//! The figures as one page that needs nothing else.

mod plot;

use maud::{Markup, html};

use super::compare::Comparison;
use super::drive::Load;
use super::report::{Report, Run};
use super::text::{load, number};
use crate::eval::html::page;
use crate::eval::latency::Percentiles;

pub fn render(report: &Report) -> String {
    let sent: u64 = report.runs.iter().map(|run| run.sent).sum();
    let title = format!("{sent} requests in {} runs", report.runs.len());
    let open = report
        .runs
        .iter()
        .filter(|run| matches!(run.load, Load::Open { .. }));
    let open: Vec<&Run> = open.collect();
    let body = html! {
        p class="faint mono" {
            "daemon " (report.setup.addr)
            @if let Some(server) = &report.setup.against {
                ", llama-server " (server.url) " with " (server.slots) " slots"
            }
        }
        @for note in &report.notes { p class="warning" { (note) } }
        @if open.len() > 1 { (sweep(&open)) }
        (runs(&report.runs))
        @if let Some(comparison) = &report.comparison { (compared(comparison)) }
    };
    page("judged bench", &title, &body)
}

/// What a run's percentiles are of.
type Of = fn(&Run) -> Option<Percentiles>;

fn sweep(runs: &[&Run]) -> Markup {
    let panels: [(&str, Of); 2] = [
        ("Seconds to the label", |run| run.to_label),
        ("Seconds to the full answer", |run| run.to_answer),
    ];
    html! {
        h2 { "Latency against offered load" }
        div class="grid" {
            @for (name, of) in panels {
                figure class="tile" {
                    figcaption { (name) ", from a request's intended arrival: p50, p90 (dashed), p99 (dotted)" }
                    (plot::latency(name, runs, of))
                }
            }
        }
    }
}

fn runs(runs: &[Run]) -> Markup {
    let percentiles = |found: Option<Percentiles>| match found {
        None => "–".to_owned(),
        Some(Percentiles { p50, p90, p99 }) => format!("{p50:.3} / {p90:.3} / {p99:.3}"),
    };
    let columns = [
        "answered",
        "decisions/s",
        "to label p50 / p90 / p99",
        "to answer p50 / p90 / p99",
        "shed",
        "failed",
        "evaluated",
        "spared",
        "generated",
    ];
    html! {
        h2 { "Runs" }
        div class="tile scroll" {
            table {
                thead {
                    tr {
                        th { "load" }
                        @for column in columns { th class="count" { (column) } }
                    }
                }
                tbody {
                    @for run in runs {
                        tr {
                            td { (run.target.as_str()) ", " (load(run.load)) }
                            td class="count" { (run.answered) " of " (run.sent) }
                            td class="count" { (format!("{:.3}", run.decisions_per_second)) }
                            td class="count" { (percentiles(run.to_label)) }
                            td class="count" { (percentiles(run.to_answer)) }
                            td class="count" { (run.shed) }
                            td class="count" { (run.sent - run.answered - run.shed) }
                            td class="count" { (run.tokens.evaluated) }
                            td class="count" { (run.tokens.cached) }
                            td class="count" { (run.tokens.generated) }
                        }
                    }
                }
            }
        }
    }
}

fn compared(comparison: &Comparison) -> Markup {
    html! {
        h2 { "The daemon over llama-server" }
        p class="faint" {
            "Equal labels: " (comparison.equal_labels.k) " of " (comparison.equal_labels.n) ". "
            "Prompts of equal length: " (comparison.equal_prompts.k) " of " (comparison.equal_prompts.n) "."
        }
        div class="tile scroll" {
            table {
                thead {
                    tr {
                        th { "measure" }
                        @for column in ["daemon", "llama-server", "ratio"] { th class="count" { (column) } }
                    }
                }
                tbody {
                    @for (name, ratio) in comparison.rows() {
                        tr {
                            td { (name) }
                            td class="count" { (number(ratio.daemon, 3)) }
                            td class="count" { (number(ratio.llama_server, 3)) }
                            td class="count" { (number(ratio.ratio, 2)) }
                        }
                    }
                }
            }
        }
    }
}
