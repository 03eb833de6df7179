//! Plots as SVG whose colours come from the page's style, so that they follow light and dark.

use maud::{Markup, html};

use super::super::calibration::Calibration;
use super::super::latency::Bar;
use super::super::wilson::Share;

/// Numbers on an axis from 0 to 1.
const TICKS: [f64; 5] = [0.0, 0.25, 0.5, 0.75, 1.0];

/// A line for each share: its interval, its value and its counts.
pub(super) fn forest<'n>(title: &str, rows: impl Iterator<Item = (&'n str, Share)>) -> Markup {
    let rows: Vec<_> = rows.filter(|(_, share)| share.n > 0).collect();
    let (left, width, step, top) = (84.0, 240.0, 22.0, 8.0);
    let bottom = top + step * rows.len() as f64;
    let x = |value: f64| left + value * width;
    let y = |row: usize| top + step * (row as f64 + 0.5);
    html! {
        svg viewBox=(format!("0 0 420 {}", bottom + 24.0)) role="img" aria-label=(title) {
            @for tick in TICKS {
                line class="axis" x1=(x(tick)) x2=(x(tick)) y1=(top) y2=(bottom) {}
                text class="faint" x=(x(tick)) y=(bottom + 16.0) text-anchor="middle" {
                    (format!("{:.0}", tick * 100.0))
                }
            }
            @for (row, (name, share)) in rows.iter().enumerate() {
                text x=(left - 8.0) y=(y(row) + 4.0) text-anchor="end" { (cut(name)) title { (name) } }
                @if let (Some(value), Some((low, high))) = (share.fraction(), share.interval()) {
                    line class="interval" x1=(x(low)) x2=(x(high)) y1=(y(row)) y2=(y(row)) {}
                    circle class="dot" cx=(x(value)) cy=(y(row)) r="4.5" {}
                    text x=(left + width + 12.0) y=(y(row) + 4.0) {
                        (format!("{}/{} ", share.k, share.n))
                        tspan class="faint" { (format!("{:.0} %", value * 100.0)) }
                    }
                }
            }
        }
    }
}

fn cut(name: &str) -> String {
    match name.char_indices().nth(11) {
        None => name.to_owned(),
        Some((end, _)) => format!("{}…", &name[..end]),
    }
}

/// Right answers over confidence, beside the line of perfect calibration.
pub(super) fn reliability(calibration: &Calibration) -> Markup {
    let (left, top, size) = (48.0, 10.0, 300.0);
    let x = |value: f64| left + value * size;
    let y = |value: f64| top + (1.0 - value) * size;
    let most = calibration
        .bins
        .iter()
        .map(|bin| bin.cases)
        .max()
        .unwrap_or(1)
        .max(1);
    let radius = |cases: u64| 3.0 + 9.0 * (cases as f64 / most as f64).sqrt();
    html! {
        svg class="square" viewBox="0 0 370 360" role="img" aria-label="reliability diagram" {
            @for tick in TICKS {
                line class="axis" x1=(x(tick)) x2=(x(tick)) y1=(y(0.0)) y2=(y(1.0)) {}
                line class="axis" x1=(x(0.0)) x2=(x(1.0)) y1=(y(tick)) y2=(y(tick)) {}
                text class="faint" x=(x(tick)) y=(y(0.0) + 16.0) text-anchor="middle" { (tick) }
                text class="faint" x=(left - 8.0) y=(y(tick) + 4.0) text-anchor="end" { (tick) }
            }
            line class="ideal" x1=(x(0.0)) y1=(y(0.0)) x2=(x(1.0)) y2=(y(1.0)) {}
            @for bin in &calibration.bins {
                @if let (Some(confidence), Some(accuracy)) = (bin.confidence, bin.accuracy) {
                    line class="interval" opacity="0.45"
                        x1=(x(confidence)) x2=(x(confidence)) y1=(y(confidence)) y2=(y(accuracy)) {}
                    circle class="dot" cx=(x(confidence)) cy=(y(accuracy)) r=(radius(bin.cases)) {
                        title { (bin.cases) " cases" }
                    }
                }
            }
            text class="faint" x=(x(0.5)) y=(y(0.0) + 34.0) text-anchor="middle" { "confidence" }
        }
    }
}

pub(super) fn histogram(bars: &[Bar]) -> Markup {
    let (left, top, width, height) = (40.0, 10.0, 360.0, 200.0);
    let most = bars.iter().map(|bar| bar.cases).max().unwrap_or(0).max(1);
    let step = width / bars.len().max(1) as f64;
    let tall = |bar: &Bar| height * bar.cases as f64 / most as f64;
    let longest = bars.last().map_or(0.0, |bar| bar.high);
    html! {
        svg viewBox="0 0 420 250" role="img" aria-label="histogram of total seconds" {
            line class="axis" x1=(left) x2=(left + width) y1=(top + height) y2=(top + height) {}
            text class="faint" x=(left - 8.0) y=(top + 10.0) text-anchor="end" { (most) }
            text class="faint" x=(left - 8.0) y=(top + height) text-anchor="end" { "0" }
            @for (index, bar) in bars.iter().enumerate() {
                rect class="bar" x=(left + step * index as f64 + 1.0) y=(top + height - tall(bar))
                    width=(step - 2.0) height=(tall(bar)) rx="2" {
                    title { (format!("{} from {:.2} to {:.2} s", bar.cases, bar.low, bar.high)) }
                }
            }
            @for tick in TICKS {
                text class="faint" x=(left + width * tick) y=(top + height + 18.0) text-anchor="middle" {
                    (format!("{:.2}", longest * tick))
                }
            }
            text class="faint" x=(left + width / 2.0) y=(top + height + 36.0) text-anchor="middle" { "seconds" }
        }
    }
}
