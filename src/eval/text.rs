//! The report for a terminal. Its colours go where the writer keeps them.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};

use super::baseline::Comparison;
use super::calibration::Calibration;
use super::confusion::Confusion;
use super::latency::Latency;
use super::measure::{Group, Measures};
use super::rationale::Agreement;
use super::record::Setup;
use super::report::{Report, Run, Tokens, Wrong};
use super::wilson::Share;
use crate::verdict::Label;

pub(super) const HEAD: Style = Style::new().bold();
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
pub(super) const BAD: Style = AnsiColor::Red.on_default();
pub(super) const FAINT: Style = Style::new().dimmed();

/// The longest that a draft or a rationale is shown.
pub(super) const LINE: usize = 140;

pub fn render(report: &Report) -> String {
    let mut page = Page::default();
    page.setup(&report.setup, &report.run);
    page.measures(report);
    page.confusion("expected  answered", &report.confusion);
    if let Some(calibration) = &report.calibration {
        page.calibration(calibration);
    }
    page.seconds(&report.seconds);
    page.tokens(report.tokens);
    if let Some(agreement) = report.rationales {
        page.rationales(agreement);
    }
    if let Some(comparison) = &report.baseline {
        page.baseline(comparison);
    }
    page.wrong(&report.wrong);
    page.0
}

/// Without control characters: drafts are untrusted, and a terminal obeys what it is sent.
pub fn plain(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// One such line, cut where it is too long.
pub fn one_line(text: &str, longest: usize) -> String {
    let plain = plain(text);
    let words: Vec<&str> = plain.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(longest) {
        None => line,
        Some((end, _)) => format!("{}…", &line[..end]),
    }
}

#[derive(Default)]
pub(super) struct Page(pub(super) String);

impl Page {
    pub(super) fn line(&mut self, text: impl std::fmt::Display) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "{text}");
    }

    pub(super) fn head(&mut self, text: &str) {
        self.line(format_args!("\n{HEAD}{text}{HEAD:#}"));
    }

    pub(super) fn setup(&mut self, setup: &Setup, run: &Run) {
        let model = setup.model.as_ref();
        let bundle = model.map_or("none", |model| &model.bundle);
        let adapter = model.and_then(|model| model.adapter_sha256.as_deref());
        let adapter = adapter.map_or("none", |sha256| sha256.get(..12).unwrap_or(sha256));
        self.line(format_args!(
            "{HEAD}{} of {} cases judged by {}{HEAD:#}",
            run.answered,
            run.selected,
            setup.judge()
        ));
        self.line(format_args!("bundle {bundle}, adapter {adapter}"));
        if run.decided_by_rules > 0 {
            self.line(format_args!("{} decided by rules", run.decided_by_rules));
        }
        if run.reused > 0 {
            self.line(format_args!("{} kept from an earlier run", run.reused));
        }
        if run.left_out_of_exact > 0 {
            let count = run.left_out_of_exact;
            self.line(format_args!("{count} without a label that could be exact"));
        }
        if run.objected > 0 {
            self.line(format_args!(
                "{BAD}answers that are not of what is measured, and count nowhere: {}{BAD:#}",
                run.objected
            ));
            for reason in &run.objections {
                self.line(format_args!("{BAD}  {}{BAD:#}", one_line(reason, LINE)));
            }
        }
    }

    fn measures(&mut self, report: &Report) {
        let names: Vec<&Group> = report
            .by_probe
            .iter()
            .chain(&report.by_difficulty)
            .collect();
        let longest = names.iter().map(|group| group.name.chars().count()).max();
        let width = longest.unwrap_or(0).max("overall".len());
        self.head(&format!(
            "{:width$}  cases  {:<29}  {:<29}  {:<29}",
            "", "caught", "false positives", "exact"
        ));
        self.row("overall", width, &report.overall);
        for groups in [&report.by_probe, &report.by_difficulty] {
            // One group alone says what is above.
            if groups.len() > 1 {
                self.line("");
                for group in groups {
                    self.row(&one_line(&group.name, LINE), width, &group.measures);
                }
            }
        }
        self.line(format_args!(
            "{FAINT}In brackets: 95 % intervals after Wilson.{FAINT:#}"
        ));
    }

    fn row(&mut self, name: &str, width: usize, measures: &Measures) {
        let row = format!(
            "{name:width$}  {:>5}  {}  {}  {}",
            measures.cases,
            share(measures.caught),
            share(measures.false_positives),
            share(measures.exact)
        );
        self.line(row.trim_end());
    }

    /// `head` names the rows and the columns.
    pub(super) fn confusion(&mut self, head: &str, confusion: &Confusion) {
        let names = Label::ALL.map(|label| format!("{label:>8}"));
        self.head(&format!("{head:<18} {}", names.join("  ")));
        for expected in Label::ALL {
            let cells = Label::ALL.map(|answered| {
                let count = confusion.count(expected, answered);
                let style = match (expected == answered, count) {
                    (_, 0) => FAINT,
                    (true, _) => GOOD,
                    (false, _) => BAD,
                };
                format!("{style}{count:>8}{style:#}")
            });
            self.line(format_args!("{expected:<8}           {}", cells.join("  ")));
        }
    }

    fn calibration(&mut self, calibration: &Calibration) {
        self.head(&format!(
            "calibration  ECE {:.3}  Brier {:.3}  ({} cases)",
            calibration.ece, calibration.brier, calibration.cases
        ));
        self.line("confidence   cases  mean  right");
        for bin in calibration.bins.iter().filter(|bin| bin.cases > 0) {
            self.line(format_args!(
                "{:.1} to {:.1}   {:>5}  {:.3}  {:.3}",
                bin.low,
                bin.high,
                bin.cases,
                bin.confidence.unwrap_or_default(),
                bin.accuracy.unwrap_or_default()
            ));
        }
    }

    fn seconds(&mut self, seconds: &Latency) {
        self.head("seconds         p50       p90       p99");
        for (name, percentiles) in seconds.rows() {
            self.line(format_args!(
                "{name:<8}  {:>8.3}  {:>8.3}  {:>8.3}",
                percentiles.p50, percentiles.p90, percentiles.p99
            ));
        }
    }

    fn tokens(&mut self, tokens: Tokens) {
        self.head("tokens");
        self.line(format_args!(
            "{} in prompts, {} of them cached, {} generated",
            tokens.prompt, tokens.cached, tokens.generated
        ));
    }

    fn rationales(&mut self, agreement: Agreement) {
        self.head("rationales");
        self.line(format_args!(
            "{} agree with their label, {} contradict it, {} name no rule, of {}",
            agreement.agrees,
            agreement.contradicts,
            agreement.names_none,
            agreement.total()
        ));
    }

    fn baseline(&mut self, comparison: &Comparison) {
        self.head(&format!(
            "against the baseline, over {} common cases",
            comparison.common
        ));
        for (name, change) in comparison.rows() {
            self.line(format_args!(
                "{name:<15}  {GOOD}{} fixed{GOOD:#}, {BAD}{} broken{BAD:#}, p {:.4} (McNemar, exact, two-sided)",
                change.fixed.len(),
                change.broken.len(),
                change.p
            ));
            for (style, word, ids) in [
                (GOOD, "fixed", &change.fixed),
                (BAD, "broken", &change.broken),
            ] {
                for id in ids {
                    self.line(format_args!(
                        "  {style}{word:<6}{style:#} {}",
                        one_line(id, LINE)
                    ));
                }
            }
        }
        if let Some(scores) = &comparison.scores {
            self.line(format_args!(
                "scores           moved by {:.4} at most, {:.4} on average; {} of {} cases got another label",
                scores.largest,
                scores.mean,
                scores.other_label.len(),
                scores.cases
            ));
        }
    }

    fn wrong(&mut self, wrong: &[Wrong]) {
        self.head(&format!("judged wrongly: {}", wrong.len()));
        for case in wrong {
            let score = case.score.map(|score| format!(" {score:.3}"));
            let by = match case.rules.is_empty() {
                true => String::new(),
                false => format!("  by {}", case.rules.join(", ")),
            };
            self.line(format_args!(
                "{}  expected {GOOD}{}{GOOD:#}, answered {BAD}{}{}{BAD:#}{by}",
                one_line(&case.id, LINE),
                case.expected,
                case.answered,
                score.unwrap_or_default()
            ));
            if !case.rationale.is_empty() {
                self.line(format_args!(
                    "  rationale  {}",
                    one_line(&case.rationale, LINE)
                ));
            }
            self.line(format_args!(
                "  {FAINT}draft      {}{FAINT:#}",
                one_line(&case.draft, LINE)
            ));
        }
    }
}

/// `81/87   93.1 % [85.8, 96.8]`, as wide as any other.
fn share(share: Share) -> String {
    let Some((fraction, (low, high))) = share.fraction().zip(share.interval()) else {
        return format!("{:<29}", "-");
    };
    let counts = format!("{}/{}", share.k, share.n);
    format!(
        "{counts:>7} {:>5.1} % [{:>4.1}, {:>5.1}]",
        fraction * 100.0,
        low * 100.0,
        high * 100.0
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_becomes_one_line_that_no_terminal_obeys() {
        assert_eq!(
            one_line("Hi\n\n  there\u{1b}[31m\u{7}", 80),
            "Hi there [31m"
        );
        assert_eq!(one_line("äöü and more", 3), "äöü…");
        assert_eq!(one_line("abc", 3), "abc");
    }

    #[test]
    fn every_share_is_equally_wide() {
        for (k, n) in [(0, 0), (1, 3), (999, 999), (0, 20)] {
            assert_eq!(share(Share { k, n }).chars().count(), 29, "{k}/{n}");
        }
    }
}
