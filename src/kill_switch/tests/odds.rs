//! How often chance alone trips it: the table of docs/kill-switch.md.

use std::fs;

use super::*;
use crate::tests::chance::Chance;

const RUNS: u64 = 400;
/// Prospects: a full window, a week and four weeks at 300 a day.
const WITHIN: [u32; 3] = [500, 2_100, 8_400];

#[test]
#[ignore = "simulates millions of prospects, and prints a table"]
#[expect(clippy::print_stdout, reason = "what is printed is for the page")]
fn the_page_tells_how_often_chance_trips_it() {
    let mut table = String::new();
    for percent in [8, 10, 12, 13, 15, 20] {
        let trips: Vec<u32> = (0..RUNS)
            .filter_map(|seed| trip(percent, Chance(seed)))
            .collect();
        table += &format!("| {percent} % |");
        for within in WITHIN {
            let tripped = trips.iter().filter(|at| **at <= within).count();
            table += &format!(" {:.0} % |", 100.0 * tripped as f64 / RUNS as f64);
        }
        table += "\n";
    }
    println!("{table}");
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/kill-switch.md");
    assert!(fs::read_to_string(page).unwrap().contains(&table));
}

/// Every prospect has a false positive of this probability, reported at once: how many prospects
/// until it trips?
fn trip(percent: u32, mut chance: Chance) -> Option<u32> {
    let mut switch = KillSwitch::new(Thresholds::default());
    (1..=WITHIN[2]).find(|&prospect| {
        switch.step(judged(prospect, prospect), 0);
        switch.step(reported(prospect, chance.below(100) < percent), 0);
        switch.state().is_tripped()
    })
}
