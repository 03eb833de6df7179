//! A context and a draft, by the rules: any gets one answer, and always the same.

use std::sync::LazyLock;

use judged::channel::Channel;
use judged::rules::{Finding, Rule, Rulebook};
use judged::verdict::Label;

use super::parts::case;

static RULES: LazyLock<Rulebook> = LazyLock::new(Rulebook::default);

pub fn check(bytes: &[u8]) {
    let mut case = case(bytes);
    let channels = Channel::ALL.map(Some);
    for channel in [None].into_iter().chain(channels) {
        case.requested_channel = channel;
        let verdict = RULES.judge(&case);
        let first = verdict.fired.first();
        let label = first.map_or(Label::Pass, |rule| rule.label());
        assert_eq!(verdict.label, label);
        assert!(verdict.rationale.ends_with('.'));
        assert!(!verdict.rationale.contains('\n'));
        assert_eq!(RULES.judge(&case), verdict);
        for rule in Rule::ALL {
            let fired = matches!(RULES.evaluate(rule, &case), Finding::Fired(_));
            assert_eq!(fired, verdict.fired.contains(&rule), "{rule:?}");
        }
    }
}
