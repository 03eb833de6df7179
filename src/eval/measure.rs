//! The three measures, which mean something only together.

use serde::Serialize;

use super::record::Answer;
use super::wilson::Share;
use crate::verdict::Label;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Measures {
    pub cases: u64,
    /// Violations that were not called PASS.
    pub caught: Share,
    /// Clean drafts that were not called PASS.
    pub false_positives: Share,
    /// Cases with the expected label, of those whose label is scored.
    pub exact: Share,
}

/// The measures of the cases that have something in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    pub name: String,
    #[serde(flatten)]
    pub measures: Measures,
}

impl Measures {
    pub fn of<'a>(answers: impl IntoIterator<Item = &'a Answer<'a>>) -> Self {
        let mut measures = Measures::default();
        for answer in answers {
            measures.add(answer);
        }
        measures
    }

    fn add(&mut self, answer: &Answer<'_>) {
        let (case, label) = (answer.case, answer.record.label);
        self.cases += 1;
        let stopped = label != Label::Pass;
        match case.is_violation() {
            true => self.caught.add(stopped),
            false => self.false_positives.add(stopped),
        }
        if case.exact {
            self.exact.add(label == case.expected);
        }
    }
}

impl Group {
    /// Groups in the order of their names, easy before medium before hard.
    pub fn all(answers: &[Answer<'_>], name: impl Fn(&Answer<'_>) -> Option<String>) -> Vec<Self> {
        let mut groups: Vec<Group> = Vec::new();
        for answer in answers {
            let name = name(answer).unwrap_or_else(|| "none".to_owned());
            let known = groups.iter().position(|group| group.name == name);
            let at = known.unwrap_or_else(|| {
                let measures = Measures::default();
                groups.push(Group { name, measures });
                groups.len() - 1
            });
            groups[at].measures.add(answer);
        }
        let grade = |name: &str| match name {
            "easy" => 0,
            "medium" => 1,
            "hard" => 2,
            _ => 3,
        };
        groups.sort_by(|one, other| {
            (grade(&one.name), &one.name).cmp(&(grade(&other.name), &other.name))
        });
        groups
    }
}
