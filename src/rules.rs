//! The rules that need no model: pure, total, three-valued.
//!
//! Values are uneven in real data, and so are drafts. They are normalised, never guessed: what a
//! field or a draft does not say plainly is [`Finding::CannotTell`], which neither blocks nor
//! permits.

mod c_level;
mod company;
mod disqualifier;
mod draft;
mod engineer;
mod evidence;
mod funding;
mod headcount;
mod marks;
mod opt_out;
mod other_thread;
mod peers;
mod phrases;
mod rulebook;
#[cfg(test)]
mod tests;
mod title;
mod words;

use crate::context;
use crate::verdict::Label;

pub use evidence::Evidence;
pub use peers::NotAName;
pub use rulebook::Rulebook;

/// What the rubric forbids and needs no model to be seen, in the rubric's order of priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    Disqualifier,
    OptOut,
    CLevelAtLargeCompany,
    OtherThread,
    UnconfirmedFunding,
    CommittedEngineer,
    PlaceholderPeers,
}

impl Rule {
    pub const ALL: [Rule; 7] = [
        Rule::Disqualifier,
        Rule::OptOut,
        Rule::CLevelAtLargeCompany,
        Rule::OtherThread,
        Rule::UnconfirmedFunding,
        Rule::CommittedEngineer,
        Rule::PlaceholderPeers,
    ];

    /// How the rubric counts it.
    pub const fn mark(self) -> &'static str {
        match self {
            Rule::Disqualifier => "1",
            Rule::OptOut => "2",
            Rule::CLevelAtLargeCompany => "3",
            Rule::OtherThread => "4",
            Rule::UnconfirmedFunding => "5",
            Rule::CommittedEngineer => "5c",
            Rule::PlaceholderPeers => "6",
        }
    }

    /// Its mark as a number; a rule without one is never a hard rule.
    pub fn number(self) -> Option<u32> {
        self.mark().parse().ok()
    }

    /// The stable name, for records and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Rule::Disqualifier => "rule_1_disqualifier",
            Rule::OptOut => "rule_2_opt_out",
            Rule::CLevelAtLargeCompany => "rule_3_c_level_at_large_company",
            Rule::OtherThread => "rule_4_other_thread",
            Rule::UnconfirmedFunding => "rule_5_unconfirmed_funding",
            Rule::CommittedEngineer => "rule_5c_committed_engineer",
            Rule::PlaceholderPeers => "rule_6_placeholder_peers",
        }
    }

    /// What the rubric says of a draft that the rule fires on.
    pub const fn label(self) -> Label {
        match self {
            Rule::Disqualifier | Rule::OptOut => Label::Suppress,
            Rule::CLevelAtLargeCompany => Label::Escalate,
            Rule::OtherThread | Rule::UnconfirmedFunding | Rule::CommittedEngineer => Label::Block,
            Rule::PlaceholderPeers => Label::Penalise,
        }
    }

    fn claim(self) -> String {
        match self {
            Rule::Disqualifier => "The prospect is disqualified".to_owned(),
            Rule::OptOut => "The prospect has opted out, which covers every channel".to_owned(),
            Rule::CLevelAtLargeCompany => format!(
                "The recipient is C-level at a company of more than {} people",
                headcount::LARGE
            ),
            Rule::OtherThread => "The draft uses content of another thread".to_owned(),
            Rule::UnconfirmedFunding => {
                "The draft states funding as fact that is not confirmed".to_owned()
            }
            Rule::CommittedEngineer => {
                "The draft offers an engineer who is committed, and does not say so".to_owned()
            }
            Rule::PlaceholderPeers => "The draft names a placeholder as a peer".to_owned(),
        }
    }
}

/// What a rule found, with the fields that it rests on; `draft` is one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// More than one piece of evidence where only together they make the rule fire.
    Fired(Vec<Evidence>),
    NotFired,
    CannotTell(Evidence),
}

impl Finding {
    /// What several findings of one rule come to: fired if one fired, else cannot tell if one cannot.
    fn any(findings: impl IntoIterator<Item = Finding>) -> Finding {
        let mut sum = Finding::NotFired;
        for finding in findings {
            match (&sum, &finding) {
                (_, Finding::Fired(_)) => return finding,
                (Finding::NotFired, Finding::CannotTell(_)) => sum = finding,
                _ => {}
            }
        }
        sum
    }
}

/// One piece of work on a text, which tests count: it must grow as the text does, and no faster.
#[inline]
fn step() {
    #[cfg(test)]
    tests::linear::count();
}

/// [`context::squash_name`], each byte of which is a piece of work.
fn squash_name(name: &str) -> String {
    name.bytes().for_each(|_| step());
    context::squash_name(name)
}

/// What the rules say together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleVerdict {
    /// The label of the first rule that fired, else PASS.
    pub label: Label,
    /// One sentence on one line, naming field and value.
    pub rationale: String,
    /// In order of priority.
    pub fired: Vec<Rule>,
}

impl RuleVerdict {
    /// What these rules come to, each asked with `evaluate`.
    fn of(rules: &[Rule], evaluate: impl Fn(Rule) -> Finding) -> Self {
        let mut first = None;
        let mut fired = Vec::new();
        let mut cannot_tell = Vec::new();
        for rule in rules.iter().copied() {
            match evaluate(rule) {
                Finding::Fired(evidence) => {
                    first.get_or_insert((rule, evidence));
                    fired.push(rule);
                }
                Finding::NotFired => {}
                Finding::CannotTell(evidence) => cannot_tell.push((rule, evidence)),
            }
        }
        let (label, rationale) = match &first {
            Some((rule, evidence)) => (rule.label(), fired_sentence(*rule, evidence)),
            None => (Label::Pass, pass_sentence(rules, &cannot_tell)),
        };
        Self {
            label,
            rationale,
            fired,
        }
    }
}

fn fired_sentence(rule: Rule, evidence: &[Evidence]) -> String {
    let evidence: Vec<String> = evidence.iter().map(Evidence::to_string).collect();
    format!("{}: {}.", rule.claim(), evidence.join(" and "))
}

fn pass_sentence(asked: &[Rule], cannot_tell: &[(Rule, Evidence)]) -> String {
    let marks: Vec<&str> = asked.iter().map(|rule| rule.mark()).collect();
    let none = match marks.as_slice() {
        [] => "No rule was asked".to_owned(),
        [one] => format!("Rule {one} does not fire"),
        [most @ .., last] => format!("None of rules {} and {last} fires", most.join(", ")),
    };
    if cannot_tell.is_empty() {
        return format!("{none}.");
    }
    let doubts: Vec<String> = cannot_tell
        .iter()
        .map(|(rule, evidence)| format!("rule {} cannot be told since {evidence}", rule.mark()))
        .collect();
    format!("{none}, but {}.", doubts.join(" and "))
}
