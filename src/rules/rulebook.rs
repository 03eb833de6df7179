//! The rules with the lists that an operator may extend.

use std::collections::BTreeSet;

use super::draft::Draft;
use super::peers::{NotAName, Placeholders};
use super::{
    Finding, Rule, RuleVerdict, c_level, disqualifier, engineer, funding, opt_out, other_thread,
    peers, squash_name,
};
use crate::verdict::Case;

/// Judges cases by the rules. Its default knows the lists that are compiled in.
#[derive(Clone, Debug)]
pub struct Rulebook {
    /// Beside the rubric's own, squashed.
    disqualifiers: BTreeSet<String>,
    placeholders: Placeholders,
}

impl Default for Rulebook {
    fn default() -> Self {
        Self {
            disqualifiers: BTreeSet::new(),
            placeholders: Placeholders::built_in(),
        }
    }
}

impl Rulebook {
    /// A flag that disqualifies, such as `works_council`, in any spelling.
    pub fn add_disqualifier(&mut self, flag: &str) -> Result<(), NotAName> {
        let flag = NotAName::check(flag, squash_name(flag))?;
        self.disqualifiers.insert(flag);
        Ok(())
    }

    /// A name that stands for no real company, as in `models/placeholder-peers.txt`.
    pub fn add_placeholder_peer(&mut self, name: &str) -> Result<(), NotAName> {
        self.placeholders.add(name)
    }

    /// Asks all rules, in strict priority.
    pub fn judge(&self, case: &Case) -> RuleVerdict {
        self.judge_by(&Rule::ALL, case)
    }

    /// Asks these rules only, in the order given.
    pub fn judge_by(&self, rules: &[Rule], case: &Case) -> RuleVerdict {
        let draft = Draft::new(&case.draft);
        RuleVerdict::of(rules, |rule| self.find(rule, case, &draft))
    }

    /// Asks one rule.
    pub fn evaluate(&self, rule: Rule, case: &Case) -> Finding {
        self.find(rule, case, &Draft::new(&case.draft))
    }

    fn find(&self, rule: Rule, case: &Case, draft: &Draft<'_>) -> Finding {
        let context = &case.context;
        match rule {
            Rule::Disqualifier => disqualifier::find(context, &self.disqualifiers),
            Rule::OptOut => opt_out::find(context),
            Rule::CLevelAtLargeCompany => c_level::find(context),
            Rule::OtherThread => other_thread::find(context, draft),
            Rule::UnconfirmedFunding => funding::find(context, draft),
            Rule::CommittedEngineer => engineer::find(context, draft),
            Rule::PlaceholderPeers => peers::find(context, draft, &self.placeholders),
        }
    }
}
