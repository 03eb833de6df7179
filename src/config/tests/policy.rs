use super::*;
use crate::context::Context;
use crate::rules::Rule;
use crate::verdict::{Case, Label};

#[test]
fn hard_rules_are_a_set_and_may_be_none() {
    let rules = |text| config(&["--hard-rules", text]).unwrap().policy.hard_rules;
    assert_eq!(rules("none"), []);
    assert_eq!(
        rules("3, 1,3"),
        [Rule::Disqualifier, Rule::CLevelAtLargeCompany]
    );
    assert_eq!(rules("6,4"), [Rule::OtherThread, Rule::PlaceholderPeers]);
    assert_eq!(
        problems(&["--hard-rules", ""]).len(),
        1,
        "an empty list is no answer"
    );
}

#[test]
fn the_operators_lists_reach_the_rules() {
    let flags = [
        "--disqualifiers= works_council , dealer",
        "--placeholder-peers=Muster AG,Bidon ?",
    ];
    let book = config(&flags).unwrap().policy.rulebook;
    let judge = |context: &str, draft: &str| {
        let case = Case {
            context: Context::parse(context).unwrap(),
            draft: draft.to_owned(),
            requested_channel: None,
        };
        book.judge(&case).label
    };
    assert_eq!(judge(r#"{"works_council":true}"#, "Hello"), Label::Suppress);
    assert_eq!(
        judge("{}", "Firms like Muster AG and Bidon B use us."),
        Label::Penalise
    );
    assert_eq!(judge("{}", "Hello"), Label::Pass);
}

#[test]
fn dispositions_change_only_the_labels_they_name() {
    let text = "penalise=dispatch, ESCALATE = DO_NOT_SEND";
    let table = config(&["--dispositions", text])
        .unwrap()
        .policy
        .dispositions;
    assert_eq!(table.of(Label::Penalise), Disposition::Dispatch);
    assert_eq!(table.of(Label::Escalate), Disposition::DoNotSend);
    assert_eq!(table.of(Label::Pass), Disposition::Dispatch);
    assert_eq!(table.of(Label::Block), Disposition::DoNotSend);
}
