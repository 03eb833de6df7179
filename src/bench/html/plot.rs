//! Latency over offered load, as SVG whose colours come from the page's style.

use maud::{Markup, html};

use super::super::drive::Load;
use super::super::report::Run;
use super::Of;

/// Marks on each axis, as shares of its length.
const TICKS: [f64; 5] = [0.0, 0.25, 0.5, 0.75, 1.0];

pub(super) fn latency(title: &str, runs: &[&Run], of: Of) -> Markup {
    let (left, top, width, height) = (52.0, 10.0, 340.0, 220.0);
    let points = runs.iter().filter_map(|run| match run.load {
        Load::Open { rate } => Some((rate, of(run)?)),
        Load::Closed { .. } => None,
    });
    let mut points: Vec<_> = points.collect();
    points.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    let most = |values: &mut dyn Iterator<Item = f64>| values.fold(f64::MIN_POSITIVE, f64::max);
    let most_rate = most(&mut points.iter().map(|(rate, _)| *rate));
    let longest = most(&mut points.iter().map(|(_, seconds)| seconds.p99));
    let x = |rate: f64| left + width * rate / most_rate;
    let y = |seconds: f64| top + height * (1.0 - seconds / longest);
    let lines = [("p50", 0), ("p90", 1), ("p99", 2)].map(|(name, which)| {
        let places = points.iter().map(|(rate, seconds)| {
            let seconds = [seconds.p50, seconds.p90, seconds.p99][which];
            (
                x(*rate),
                y(seconds),
                format!("{name} {seconds:.3} s at {rate} a second"),
            )
        });
        (name, places.collect::<Vec<_>>())
    });
    html! {
        svg viewBox="0 0 420 270" role="img" aria-label=(title) {
            @for tick in TICKS {
                line class="axis" x1=(left) x2=(left + width) y1=(y(longest * tick)) y2=(y(longest * tick)) {}
                text class="faint" x=(left - 8.0) y=(y(longest * tick) + 4.0) text-anchor="end" {
                    (format!("{:.2}", longest * tick))
                }
                text class="faint" x=(x(most_rate * tick)) y=(top + height + 18.0) text-anchor="middle" {
                    (format!("{:.2}", most_rate * tick))
                }
            }
            @for (name, places) in &lines {
                polyline class=(format!("line {name}")) points=(polyline(places)) {}
                @for (x, y, what) in places {
                    circle class="dot" cx=(x) cy=(y) r="3.5" { title { (what) } }
                }
            }
            text class="faint" x=(left + width / 2.0) y=(top + height + 36.0) text-anchor="middle" {
                "requests offered a second"
            }
        }
    }
}

fn polyline(places: &[(f64, f64, String)]) -> String {
    let places = places.iter().map(|(x, y, _)| format!("{x:.1},{y:.1}"));
    places.collect::<Vec<_>>().join(" ")
}
