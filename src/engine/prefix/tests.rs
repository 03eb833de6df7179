//! A token is a letter here, and its cells are that letter again: what the tree
//! gives back must read as the prompt does.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const ROWS: usize = 4;

fn tokens(text: &str) -> Vec<Token> {
    text.bytes().map(Token::from).collect()
}

fn cells(text: &str) -> Cells {
    let widths: Arc<[usize]> = Arc::new([1]);
    Cells::gather(text.len(), &widths, [text.as_bytes()])
}

/// What a prompt finds.
fn found(tree: &mut PrefixTree, prompt: &str) -> String {
    let runs = tree.find(&tokens(prompt));
    let texts = runs.into_iter().flat_map(|(cells, few)| {
        cells
            .planes(few)
            .map(|plane| String::from_utf8(plane.to_vec()).unwrap())
            .collect::<Vec<_>>()
    });
    texts.collect::<Vec<_>>().join("|")
}

/// Judges a prompt: what it finds is restored, the rest is evaluated and kept.
fn judge(tree: &mut PrefixTree, prompt: &str) -> String {
    let spared = found(tree, prompt);
    let missing = tree.missing(&tokens(prompt));
    tree.insert(&tokens(prompt), cells(&prompt[missing]));
    spared
}

fn tree(budget: usize) -> PrefixTree {
    let mut tree = PrefixTree::new(ROWS, budget);
    tree.pin(&tokens("rubric__"), cells("rubric__"));
    tree
}

#[test]
fn a_corrected_draft_finds_the_rubric_and_its_context() {
    let mut tree = tree(100);
    assert_eq!(judge(&mut tree, "rubric__acme-cto:hello-ida!!"), "rubric__");
    let again = judge(&mut tree, "rubric__acme-cto:dear-ida-xyz");
    assert_eq!(again, "rubric__|acme-cto");
    // The third finds what the second has cut off, and what is common beyond it.
    let third = judge(&mut tree, "rubric__acme-cto:dear-eve");
    assert_eq!(third, "rubric__|acme-cto|:dea");
}

#[test]
fn the_very_same_prompt_is_found_as_a_whole() {
    let mut tree = tree(100);
    judge(&mut tree, "rubric__acme-cto:hello-id");
    assert_eq!(
        found(&mut tree, "rubric__acme-cto:hello-id"),
        "rubric__|acme-cto:hello-i"
    );
    assert_eq!(tree.missing(&tokens("rubric__acme-cto:hello-id")).len(), 0);
}

#[test]
fn runs_are_cut_at_multiples_of_the_rows_that_are_multiplied_at_once() {
    let mut tree = tree(100);
    judge(&mut tree, "rubric__abcdefg");
    assert_eq!(tree.used(), 4);
    assert_eq!(found(&mut tree, "rubric__abcxyz"), "rubric__");
    assert_eq!(found(&mut tree, "rubric__abcdxyz"), "rubric__|abcd");
}

/// However long it is, since every prompt goes on from its end.
#[test]
fn rows_are_counted_from_the_end_of_what_all_share() {
    let mut tree = PrefixTree::new(ROWS, 100);
    tree.pin(&tokens("rubric"), cells("rubric"));
    assert_eq!(judge(&mut tree, "rubric-abcdefg"), "rubric");
    assert_eq!(tree.used(), 8);
    assert_eq!(found(&mut tree, "rubric-abcxyz"), "rubric|-abc");
    assert_eq!(found(&mut tree, "rubric-abcdefxyz"), "rubric|-abc");
    assert_eq!(found(&mut tree, "rubric-abcdefgxyz"), "rubric|-abcdefg");
}

#[test]
fn over_the_budget_what_was_used_longest_ago_goes_but_never_the_rubric() {
    let mut tree = tree(24);
    judge(&mut tree, "rubric__acmeacme");
    judge(&mut tree, "rubric__bolbbolb");
    judge(&mut tree, "rubric__acmeacme");
    judge(&mut tree, "rubric__catocato");
    judge(&mut tree, "rubric__dunadunaduna");
    assert!(tree.used() <= 24);
    assert_eq!(found(&mut tree, "rubric__bolbbolb"), "rubric__");
    assert_eq!(found(&mut tree, "rubric__acmeacme"), "rubric__");
    assert_eq!(found(&mut tree, "rubric__catocato"), "rubric__|catocato");
    assert_eq!(
        found(&mut tree, "rubric__dunadunaduna"),
        "rubric__|dunadunaduna"
    );
}

#[test]
fn a_context_goes_after_the_drafts_below_it() {
    let mut tree = tree(16);
    judge(&mut tree, "rubric__acmehell");
    judge(&mut tree, "rubric__acmedear");
    judge(&mut tree, "rubric__acmeciao");
    judge(&mut tree, "rubric__acmetata");
    assert_eq!(tree.used(), 16);
    assert_eq!(found(&mut tree, "rubric__acmehell"), "rubric__|acme");
}

#[test]
fn a_prompt_beyond_the_budget_is_not_kept_at_all() {
    let mut tree = tree(8);
    judge(&mut tree, "rubric__acme");
    assert_eq!(judge(&mut tree, "rubric__bolbbolbbolb"), "rubric__");
    assert_eq!(found(&mut tree, "rubric__acme"), "rubric__|acme");
    assert!(PrefixTree::new(ROWS, 0).missing(&tokens("acme")).is_empty());
}

#[test]
fn an_emptied_tree_finds_nothing() {
    let mut tree = tree(100);
    judge(&mut tree, "rubric__acme");
    tree.clear();
    assert_eq!(
        (found(&mut tree, "rubric__acme").as_str(), tree.used()),
        ("", 0)
    );
}

proptest! {
    #[test]
    fn whatever_was_judged_before_a_prompt_finds_its_own_beginning(
        prompts in vec("[ab]{0,24}", 1..40),
        budget in 0..60_usize,
    ) {
        let mut tree = tree(budget);
        for prompt in prompts {
            let prompt = format!("rubric__{prompt}");
            let spared = judge(&mut tree, &prompt).replace('|', "");
            prop_assert!(prompt.starts_with(&spared) && spared.starts_with("rubric__"));
            prop_assert_eq!(spared.len() % ROWS, 0);
            let kept = tree.nodes.values().filter(|node| !node.pinned);
            prop_assert_eq!(tree.used(), kept.map(|node| node.tokens.len()).sum::<usize>());
            prop_assert!(tree.used() <= budget);
            for (id, node) in &tree.nodes {
                prop_assert_eq!(node.tokens.len(), node.cells.tokens());
                let children = tree.nodes.values().filter(|other| other.parent == Some(*id));
                prop_assert_eq!(children.count(), node.children);
            }
        }
    }
}
