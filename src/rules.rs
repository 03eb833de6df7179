//! The rules that structured fields decide, without a model: pure, total, three-valued.
//!
//! Values are uneven in real data. They are normalised, never guessed: what a field does not say
//! plainly is [`Finding::CannotTell`], which neither blocks nor permits.

mod c_level;
mod disqualifier;
mod evidence;
mod headcount;
mod opt_out;
#[cfg(test)]
mod tests;
mod title;
mod words;

use crate::verdict::{Case, Label};

pub use evidence::Evidence;

/// The first three rules of the rubric, in its order of priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    Disqualifier,
    OptOut,
    CLevelAtLargeCompany,
}

impl Rule {
    pub const ALL: [Rule; 3] = [Rule::Disqualifier, Rule::OptOut, Rule::CLevelAtLargeCompany];

    /// Its number in the rubric.
    pub const fn number(self) -> u8 {
        match self {
            Rule::Disqualifier => 1,
            Rule::OptOut => 2,
            Rule::CLevelAtLargeCompany => 3,
        }
    }

    /// The stable name, for records and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Rule::Disqualifier => "rule_1_disqualifier",
            Rule::OptOut => "rule_2_opt_out",
            Rule::CLevelAtLargeCompany => "rule_3_c_level_at_large_company",
        }
    }

    /// What the rubric says of a draft that the rule fires on.
    pub const fn label(self) -> Label {
        match self {
            Rule::Disqualifier | Rule::OptOut => Label::Suppress,
            Rule::CLevelAtLargeCompany => Label::Escalate,
        }
    }
}

/// What a rule found, with the fields that it rests on.
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

/// Asks one rule.
pub fn evaluate(rule: Rule, case: &Case) -> Finding {
    match rule {
        Rule::Disqualifier => disqualifier::find(&case.context),
        Rule::OptOut => opt_out::find(&case.context, case.channel()),
        Rule::CLevelAtLargeCompany => c_level::find(&case.context),
    }
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
    pub cannot_tell: Vec<(Rule, Evidence)>,
}

/// Asks all rules, in strict priority.
pub fn judge(case: &Case) -> RuleVerdict {
    judge_by(&Rule::ALL, case)
}

/// Asks these rules only, in the order given.
pub fn judge_by(rules: &[Rule], case: &Case) -> RuleVerdict {
    let mut first = None;
    let mut fired = Vec::new();
    let mut cannot_tell = Vec::new();
    for rule in rules.iter().copied() {
        match evaluate(rule, case) {
            Finding::Fired(evidence) => {
                first.get_or_insert((rule, evidence));
                fired.push(rule);
            }
            Finding::NotFired => {}
            Finding::CannotTell(evidence) => cannot_tell.push((rule, evidence)),
        }
    }
    let (label, rationale) = match &first {
        Some((rule, evidence)) => (rule.label(), fired_sentence(*rule, evidence, case)),
        None => (Label::Pass, pass_sentence(&cannot_tell)),
    };
    RuleVerdict {
        label,
        rationale,
        fired,
        cannot_tell,
    }
}

fn fired_sentence(rule: Rule, evidence: &[Evidence], case: &Case) -> String {
    let claim = match rule {
        Rule::Disqualifier => "The prospect is disqualified".to_owned(),
        Rule::OptOut => format!("The prospect has opted out of `{}`", case.channel()),
        Rule::CLevelAtLargeCompany => format!(
            "The recipient is C-level at a company of more than {} people",
            headcount::LARGE
        ),
    };
    let evidence: Vec<String> = evidence.iter().map(Evidence::to_string).collect();
    format!("{claim}: {}.", evidence.join(" and "))
}

fn pass_sentence(cannot_tell: &[(Rule, Evidence)]) -> String {
    if cannot_tell.is_empty() {
        return "None of rules 1 to 3 fires.".to_owned();
    }
    let doubts: Vec<String> = cannot_tell
        .iter()
        .map(|(rule, evidence)| format!("rule {} cannot be told since {evidence}", rule.number()))
        .collect();
    format!("None of rules 1 to 3 fires, but {}.", doubts.join(" and "))
}
