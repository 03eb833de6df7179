//! What the operator says of decisions: rules, dispositions, the kill switch, the mask.

use serde_json::{Map, Value};

use super::{Checks, Settings};
use crate::decision_log::Mask;
use crate::judge::Dispositions;
use crate::kill_switch::Thresholds;
use crate::rules::{Rule, Rulebook};
use crate::verdict::{Disposition, Label};

impl Checks<'_> {
    pub(super) fn hard_rules(&mut self, text: Option<&str>) -> Vec<Rule> {
        let text = text.unwrap_or_default().trim();
        if text.eq_ignore_ascii_case("none") {
            return Vec::new();
        }
        let mut rules = Vec::new();
        for number in text.split(',').map(str::trim) {
            let mut numbered = Rule::ALL.into_iter().filter(|rule| rule.number().is_some());
            match numbered.find(|rule| rule.mark() == number) {
                Some(rule) => rules.push(rule),
                None => {
                    let problem = format!("`{number}` is none of 1, 2, 3, 4, 5, 6");
                    self.problem("hard_rules", problem);
                }
            }
        }
        rules.sort_unstable();
        rules.dedup();
        rules
    }

    pub(super) fn rulebook(&mut self, settings: &Settings) -> Rulebook {
        let mut book = Rulebook::default();
        for flag in words(settings.disqualifiers.as_deref()) {
            if let Err(error) = book.add_disqualifier(flag) {
                self.problem("disqualifiers", error);
            }
        }
        for name in words(settings.placeholder_peers.as_deref()) {
            if let Err(error) = book.add_placeholder_peer(name) {
                self.problem("placeholder_peers", error);
            }
        }
        book
    }

    pub(super) fn dispositions(&mut self, text: Option<&str>) -> Dispositions {
        let mut table = Dispositions::default();
        for pair in words(text) {
            let Some((label, disposition)) = pair.split_once('=') else {
                self.problem("dispositions", format!("`{pair}` is not LABEL=DISPOSITION"));
                continue;
            };
            let disposition = self.disposition("dispositions", disposition.trim());
            match (label.trim().parse::<Label>(), disposition) {
                (Ok(label), Some(disposition)) => table.set(label, disposition),
                (Err(error), _) => self.problem("dispositions", error),
                (Ok(_), None) => {}
            }
        }
        table
    }

    /// The thresholds that are named, over the model card's.
    pub(super) fn kill_switch(&mut self, text: Option<&str>) -> Option<Thresholds> {
        let mut named = Map::new();
        let pairs = text.unwrap_or_default().split(',').map(str::trim);
        for pair in pairs.filter(|pair| !pair.is_empty()) {
            let value = pair.split_once('=').and_then(|(name, number)| {
                let number = serde_json::from_str(number.trim()).ok()?;
                Some((name.trim().to_owned(), Value::Number(number)))
            });
            match value {
                Some((name, number)) => {
                    named.insert(name, number);
                }
                None => self.problem("kill_switch", format!("`{pair}` is not NAME=NUMBER")),
            }
        }
        match serde_json::from_value::<Thresholds>(Value::Object(named)) {
            Ok(thresholds) => {
                for problem in thresholds.problems() {
                    self.problem("kill_switch", problem);
                }
                Some(thresholds)
            }
            Err(error) => {
                self.problem("kill_switch", error);
                None
            }
        }
    }

    pub(super) fn mask(&mut self, text: Option<&str>) -> Option<Mask> {
        let paths = text.unwrap_or_default().split(';').map(str::trim);
        let paths: Vec<String> = paths
            .filter(|path| !path.is_empty())
            .map(str::to_owned)
            .collect();
        match Mask::new(&paths) {
            Ok(mask) => Some(mask),
            Err(error) => {
                self.problem("mask", error);
                None
            }
        }
    }

    pub(super) fn disposition(&mut self, name: &str, text: &str) -> Option<Disposition> {
        match text.parse() {
            Ok(disposition) => Some(disposition),
            Err(error) => {
                self.problem(name, error);
                None
            }
        }
    }
}

/// What stands between commas.
fn words(text: Option<&str>) -> impl Iterator<Item = &str> {
    let words = text.unwrap_or_default().split(',').map(str::trim);
    words.filter(|word| !word.is_empty())
}
