//! The report as one page that needs nothing else: no script, no font, no address. Whatever
//! comes from a case is escaped.

mod cases;
mod plots;
#[cfg(test)]
mod tests;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::baseline::Comparison;
use super::calibration::Calibration;
use super::confusion::Confusion;
use super::latency::Latency;
use super::measure::{Group, Measures};
use super::record::Setup;
use super::report::{Report, Run};
use super::wilson::Share;
use crate::verdict::Label;

const STYLE: &str = include_str!("html/style.css");
/// Should something slip through, a browser runs and fetches nothing.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

pub fn render(report: &Report) -> String {
    let title = format!(
        "{} of {} cases judged by {}",
        report.run.answered,
        report.run.selected,
        report.setup.judge()
    );
    let body = html! {
        (setup(&report.setup))
        (warnings(&report.run))
        (summary(&report.overall))
        (measures(report))
        (confusion(&report.confusion))
        @if let Some(calibration) = &report.calibration { (reliability(calibration)) }
        (latency(&report.seconds))
        (further(report))
        @if let Some(comparison) = &report.baseline { (baseline(comparison)) }
        (cases::table(&report.wrong))
    };
    page("judged eval", &title, &body)
}

/// A page that needs nothing else.
pub fn page(command: &str, title: &str, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                title { (command) ": " (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (title) }
                (body)
            }
        }
    };
    page.into_string()
}

fn setup(setup: &Setup) -> Markup {
    html! {
        p class="faint mono" {
            @match &setup.model {
                None => "no model",
                Some(model) => {
                    "bundle " (model.bundle) ", base " (short(&model.base_sha256)) ", adapter "
                    (model.adapter_sha256.as_deref().map_or("none", short))
                    ", template " (short(&model.template_sha256))
                }
            }
        }
    }
}

fn short(sha256: &str) -> &str {
    sha256.get(..12).unwrap_or(sha256)
}

fn warnings(run: &Run) -> Markup {
    html! {
        @if run.objected > 0 {
            p class="warning" {
                strong class="bad" {
                    "Answers that are not of what is measured, and count nowhere: " (run.objected)
                }
                " (" (run.objections.join("; ")) ")"
            }
        } @else if !run.is_complete() {
            p class="warning" { "The run was not finished." }
        }
        @if run.reused > 0 { p class="faint" { (run.reused) " answers are kept from an earlier run." } }
        @if run.decided_by_rules > 0 {
            p class="faint" { (run.decided_by_rules) " were decided by rules." }
        }
        @if run.left_out_of_exact > 0 {
            p class="faint" { (run.left_out_of_exact) " have no label that could be exact." }
        }
    }
}

fn summary(overall: &Measures) -> Markup {
    let tiles = [
        ("caught", "violations not called PASS", overall.caught),
        (
            "false positives",
            "clean drafts not called PASS",
            overall.false_positives,
        ),
        ("exact", "cases with the expected label", overall.exact),
    ];
    html! {
        div class="grid" {
            @for (name, meaning, share) in tiles {
                div class="tile" {
                    strong { (name) } " " span class="faint" { (meaning) }
                    div class="number" { (percent(share)) }
                    div class="faint" { (share.k) " of " (share.n) (bounds(share)) }
                }
            }
        }
    }
}

fn percent(share: Share) -> String {
    match share.fraction() {
        None => "–".to_owned(),
        Some(fraction) => format!("{:.1} %", fraction * 100.0),
    }
}

fn bounds(share: Share) -> String {
    match share.interval() {
        None => String::new(),
        Some((low, high)) => format!(", 95 % in {:.1} to {:.1} %", low * 100.0, high * 100.0),
    }
}

fn measures(report: &Report) -> Markup {
    let overall = Group {
        name: "overall".to_owned(),
        measures: report.overall,
    };
    let all = || {
        let probes = report.by_probe.iter();
        std::iter::once(&overall)
            .chain(probes)
            .chain(&report.by_difficulty)
    };
    type Of = fn(&Measures) -> Share;
    let panels: [(&str, Of); 3] = [
        ("caught", |measures| measures.caught),
        ("false positives", |measures| measures.false_positives),
        ("exact", |measures| measures.exact),
    ];
    html! {
        h2 { "By probe and difficulty" }
        div class="grid" {
            @for (name, of) in panels {
                figure class="tile" {
                    figcaption { (name) ", with 95 % intervals after Wilson" }
                    (plots::forest(name, all().map(|group| (group.name.as_str(), of(&group.measures)))))
                }
            }
        }
    }
}

fn confusion(confusion: &Confusion) -> Markup {
    let cell = |expected: Label, answered: Label| {
        let count = confusion.count(expected, answered);
        let sum: u64 = confusion.row(expected).iter().sum();
        let heat = count as f64 / sum.max(1) as f64;
        let class = match (count, expected == answered) {
            (0, _) => "count empty",
            (_, true) => "count right",
            (_, false) => "count wrong",
        };
        html! { td class=(class) style=(format!("--heat: {heat:.3}")) { (count) } }
    };
    html! {
        h2 { "Expected and answered labels" }
        div class="tile scroll" {
            table class="heat" {
                thead {
                    tr {
                        th { "expected" }
                        @for answered in Label::ALL { th class="count" { (answered) } }
                    }
                }
                tbody {
                    @for expected in Label::ALL {
                        tr {
                            th { (expected) }
                            @for answered in Label::ALL { (cell(expected, answered)) }
                        }
                    }
                }
            }
        }
    }
}

fn reliability(calibration: &Calibration) -> Markup {
    let mean = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.3}"));
    html! {
        h2 { "Calibration" }
        p {
            "Expected calibration error " strong { (format!("{:.3}", calibration.ece)) }
            ", Brier score " strong { (format!("{:.3}", calibration.brier)) }
            " of " (calibration.cases) " cases. An answer's confidence is its own label's probability."
        }
        div class="grid" {
            figure class="tile" {
                figcaption { "Share of right answers by confidence; a larger dot has more cases" }
                (plots::reliability(calibration))
            }
            div class="tile scroll" {
                table {
                    thead {
                        tr {
                            th { "confidence" }
                            th class="count" { "cases" }
                            th class="count" { "mean" }
                            th class="count" { "right" }
                        }
                    }
                    tbody {
                        @for bin in calibration.bins.iter().filter(|bin| bin.cases > 0) {
                            tr {
                                td { (format!("{:.1} to {:.1}", bin.low, bin.high)) }
                                td class="count" { (bin.cases) }
                                td class="count" { (mean(bin.confidence)) }
                                td class="count" { (mean(bin.accuracy)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn latency(seconds: &Latency) -> Markup {
    html! {
        h2 { "Latency" }
        div class="grid" {
            figure class="tile" {
                figcaption { "Answers by total seconds" }
                (plots::histogram(&seconds.total_histogram))
            }
            div class="tile scroll" {
                table {
                    thead {
                        tr {
                            th { "seconds" }
                            @for name in ["p50", "p90", "p99"] { th class="count" { (name) } }
                        }
                    }
                    tbody {
                        @for (name, percentiles) in seconds.rows() {
                            tr {
                                td { (name) }
                                @for value in [percentiles.p50, percentiles.p90, percentiles.p99] {
                                    td class="count" { (format!("{value:.3}")) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn further(report: &Report) -> Markup {
    let tokens = report.tokens;
    html! {
        p {
            "Tokens: " (tokens.prompt) " in prompts, " (tokens.cached) " of them cached, "
            (tokens.generated) " generated."
        }
        @if let Some(agreement) = report.rationales {
            h2 { "Rationales" }
            p {
                "Of " (agreement.total()) " rationales " (agreement.agrees)
                " name a rule of their label, " (agreement.contradicts)
                " name a rule of another label, " (agreement.names_none) " name no rule."
            }
        }
    }
}

fn baseline(comparison: &Comparison) -> Markup {
    html! {
        h2 { "Against the baseline" }
        p class="faint" {
            (comparison.common) " common cases; p is McNemar's exact test, two-sided."
        }
        div class="tile scroll" {
            table {
                thead { tr { th { "measure" } th { "fixed" } th { "broken" } th class="count" { "p" } } }
                tbody {
                    @for (name, change) in comparison.rows() {
                        tr {
                            td { (name) }
                            td { strong class="good" { (change.fixed.len()) } (ids(&change.fixed)) }
                            td { strong class="bad" { (change.broken.len()) } (ids(&change.broken)) }
                            td class="count" { (format!("{:.4}", change.p)) }
                        }
                    }
                }
            }
        }
        @if let Some(scores) = &comparison.scores {
            p {
                "Of " (scores.cases) " cases that the model scored both times "
                (scores.other_label.len()) " got another label; a probability moved by "
                (format!("{:.4}", scores.largest)) " at most, by " (format!("{:.4}", scores.mean))
                " on average over the cases."
            }
        }
    }
}

fn ids(ids: &[String]) -> Markup {
    html! { @for id in ids { div class="mono" { (id) } } }
}
