//! Does the sentence say what the label says?

use std::collections::BTreeMap;

use serde::Serialize;

use super::record::Answer;
use crate::verdict::{DecidedBy, Label};

/// Of the model's answers with a rationale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Agreement {
    pub agrees: u64,
    pub contradicts: u64,
    pub names_none: u64,
}

impl Agreement {
    /// `None` where the bundle does not say which rule means which label, or nobody was asked why.
    pub fn of(answers: &[Answer<'_>], rules: &BTreeMap<String, Label>) -> Option<Self> {
        if rules.is_empty() {
            return None;
        }
        let mut agreement = Agreement::default();
        for answer in answers {
            let record = &answer.record;
            if record.decided_by == DecidedBy::Model && !record.rationale.is_empty() {
                match named(&record.rationale, rules) {
                    Some(label) if label == record.label => agreement.agrees += 1,
                    Some(_) => agreement.contradicts += 1,
                    None => agreement.names_none += 1,
                }
            }
        }
        (agreement != Agreement::default()).then_some(agreement)
    }

    pub fn total(&self) -> u64 {
        self.agrees + self.contradicts + self.names_none
    }
}

/// The rule that holds where no other does.
const NO_RULE: &str = "7";

/// The label of the rule that a sentence begins with, as in `Rule 2b: …` or `No rule fires: …`;
/// evidence says `No rule fires.`
fn named(rationale: &str, rules: &BTreeMap<String, Label>) -> Option<Label> {
    let (start, _) = rationale.split_once([':', '.'])?;
    let rule = match start.trim() {
        "No rule fires" => NO_RULE,
        start => start.strip_prefix("Rule ")?.trim(),
    };
    rules.get(rule).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_names_its_rule_before_a_colon() {
        let rules = [
            ("2b", Label::Suppress),
            ("5", Label::Block),
            ("7", Label::Pass),
        ];
        let rules = rules.map(|(rule, label)| (rule.to_owned(), label)).into();
        for (rationale, label) in [
            ("Rule 2b: the prospect said no.", Some(Label::Suppress)),
            (
                "Rule 5: a round is stated as fact: $5M.",
                Some(Label::Block),
            ),
            ("No rule fires: the round is hedged.", Some(Label::Pass)),
            ("Rule 7: all is well.", Some(Label::Pass)),
            ("No rule fires.", Some(Label::Pass)),
            ("Rule 9: there is no such rule.", None),
            ("The draft breaks rule 5: it states a round.", None),
            ("Rule 5 is broken.", None),
            ("", None),
        ] {
            assert_eq!(named(rationale, &rules), label, "{rationale}");
        }
    }
}
