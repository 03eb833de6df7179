//! The replay for a terminal.

use super::{Change, Replay, Side};
use crate::decision_log::FindingKind;
use crate::eval::text::{BAD, FAINT, GOOD, LINE, Page, one_line};

pub fn render(replay: &Replay) -> String {
    let mut page = Page::default();
    page.setup(&replay.setup, &replay.run);
    let recorded: Vec<String> = replay
        .recorded
        .iter()
        .map(|(bundle, count)| format!("{count} by {}", one_line(bundle, LINE)))
        .collect();
    page.line(format_args!("recorded: {}", recorded.join(", ")));
    if replay.masked > 0 {
        let count = replay.masked;
        page.line(format_args!(
            "{count} with masked texts, which alone may change an answer"
        ));
    }
    if replay.left_out > 0 {
        let count = replay.left_out;
        page.line(format_args!("{count} left out: their texts are not whole"));
    }
    page.confusion("recorded  now", &replay.labels);
    if !replay.reported.is_empty() {
        page.head("what people reported, and the label now");
        for reported in &replay.reported {
            page.line(format_args!(
                "{:<16}  {} of {} {}",
                reported.finding.as_str(),
                reported.right_now,
                reported.decisions,
                match reported.finding {
                    FindingKind::Right => "would be judged so again",
                    FindingKind::FalsePositive => "would be called PASS",
                    // No incident is among them: it tells no right label.
                    FindingKind::MissedViolation | FindingKind::Incident => "would be found",
                }
            ));
        }
    }
    let labels = replay.changed.iter().filter(|change| change.is_of_label());
    page.head(&format!(
        "would change: {} of {}, {} of them in their label",
        replay.changed.len(),
        replay.run.answered,
        labels.count()
    ));
    for change in &replay.changed {
        row(&mut page, change);
    }
    page.0
}

fn row(page: &mut Page, change: &Change) {
    let masked = if change.masked { "  masked" } else { "" };
    let finding = change.finding.map(|kind| format!("  reported {kind}"));
    page.line(format_args!(
        "{}  {}  {BAD}{}{BAD:#} -> {GOOD}{}{GOOD:#}{masked}{}  {}",
        one_line(&change.received, LINE),
        one_line(&change.prospect, LINE),
        side(&change.was),
        side(&change.now),
        finding.unwrap_or_default(),
        one_line(&change.decision_id, LINE),
    ));
    for (name, side) in [("was", &change.was), ("now", &change.now)] {
        if !side.rationale.is_empty() {
            page.line(format_args!(
                "  {name:<5}  {}",
                one_line(&side.rationale, LINE)
            ));
        }
    }
    page.line(format_args!(
        "  {FAINT}draft  {}{FAINT:#}",
        one_line(&change.draft, LINE)
    ));
}

fn side(side: &Side) -> String {
    let score = side.score.map(|score| format!(" {score:.3}"));
    let disposition = side
        .disposition
        .map(|disposition| format!(" {disposition}"));
    format!(
        "{}{}{} by {}",
        side.label,
        score.unwrap_or_default(),
        disposition.unwrap_or_default(),
        side.decided_by
    )
}
