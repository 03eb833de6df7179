//! What prompts begin with, and the KV cells that it left: a tree of runs of
//! tokens, so that the rubric is kept once, each prospect's context once below it,
//! and each draft below its context. Pure, so that it can be tested from text.
//!
//! Below what all prompts share, runs are cut at multiples of a number of rows only,
//! counted from its end: a prompt that goes on from there gets the scores that it gets
//! when no more than the shared part is kept. Over its budget the tree
//! drops the leaf that was used longest ago. Cells are of one adapter, scale and
//! template: when one of them changes, the tree must be emptied.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Range;

use crate::backend::{Cells, Token};

pub struct PrefixTree {
    nodes: BTreeMap<NodeId, Node>,
    next_id: NodeId,
    /// Runs are cut at multiples of it.
    rows: usize,
    /// Tokens of the pinned run, from whose end they are counted.
    shared: usize,
    /// Cells beyond the pinned ones.
    budget: usize,
    used: usize,
    /// Uses so far: the time of last use.
    clock: u64,
}

type NodeId = u64;

struct Node {
    parent: Option<NodeId>,
    children: usize,
    tokens: Vec<Token>,
    cells: Cells,
    last_use: u64,
    /// Never dropped: the common part of all prompts.
    pinned: bool,
}

/// The way of a prompt through the tree.
struct Path {
    /// Each node, with how many of its tokens the prompt has.
    steps: Vec<(NodeId, usize)>,
    length: usize,
}

impl PrefixTree {
    /// `budget` is in cells, of which a token has one, beyond the pinned ones.
    pub fn new(rows: usize, budget: usize) -> Self {
        Self {
            rows,
            shared: 0,
            nodes: BTreeMap::new(),
            next_id: 0,
            budget,
            used: 0,
            clock: 0,
        }
    }

    pub fn clear(&mut self) {
        self.nodes.clear();
        self.used = 0;
        self.shared = 0;
    }

    /// Cells kept, the pinned ones not counted.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Whether it keeps more than what all prompts share.
    pub fn grows(&self) -> bool {
        self.budget > 0
    }

    /// How many tokens of a prompt are kept.
    pub fn length_of(&self, prompt: &[Token]) -> usize {
        self.path(prompt).length
    }

    /// The runs with which a prompt begins: of each its first cells, as many as
    /// stand beside it. Counts as a use.
    pub fn find(&mut self, prompt: &[Token]) -> Vec<(&Cells, usize)> {
        let path = self.path(prompt);
        self.touch(&path);
        let steps = path.steps.into_iter();
        steps
            .map(|(id, tokens)| (&self.nodes[&id].cells, tokens))
            .collect()
    }

    /// Keeps the cells with which all prompts begin, whatever comes.
    pub fn pin(&mut self, tokens: &[Token], cells: Cells) {
        self.shared = tokens.len();
        self.add(None, tokens, cells, true);
    }

    /// The tokens of an evaluated prompt that are worth keeping: those that are not
    /// kept yet, cut at a multiple of the rows.
    pub fn missing(&self, prompt: &[Token]) -> Range<usize> {
        let end = prompt.len() - prompt.len().saturating_sub(self.shared) % self.rows;
        let known = self.length_of(prompt).min(end);
        match end - known > self.budget {
            true => known..known,
            false => known..end,
        }
    }

    /// Keeps the cells of a prompt's [`missing`](Self::missing) tokens.
    pub fn insert(&mut self, prompt: &[Token], cells: Cells) {
        let range = self.missing(prompt);
        let path = self.path(prompt);
        self.touch(&path);
        if range.is_empty() || cells.tokens() != range.len() {
            return;
        }
        let mut parent = None;
        for (id, tokens) in path.steps {
            self.split(id, tokens);
            parent = Some(id);
        }
        self.used += range.len();
        self.add(parent, &prompt[range], cells, false);
        self.evict();
    }

    fn add(
        &mut self,
        parent: Option<NodeId>,
        tokens: &[Token],
        cells: Cells,
        pinned: bool,
    ) -> NodeId {
        let id = self.next_id;
        self.next_id += 1;
        if let Some(parent) = parent.and_then(|parent| self.nodes.get_mut(&parent)) {
            parent.children += 1;
        }
        let node = Node {
            parent,
            children: 0,
            tokens: tokens.to_vec(),
            cells,
            last_use: self.clock,
            pinned,
        };
        self.nodes.insert(id, node);
        id
    }

    fn path(&self, prompt: &[Token]) -> Path {
        let mut path = Path {
            steps: Vec::new(),
            length: 0,
        };
        let mut parent = None;
        loop {
            let rest = &prompt[path.length..];
            let children = self.nodes.iter().filter(|(_, node)| node.parent == parent);
            let best = children
                .map(|(id, node)| (*id, self.common(&node.tokens, rest), node.tokens.len()))
                .max_by_key(|(_, tokens, _)| *tokens);
            let Some((id, tokens, all)) = best.filter(|(_, tokens, _)| *tokens > 0) else {
                return path;
            };
            path.steps.push((id, tokens));
            path.length += tokens;
            if tokens < all {
                return path;
            }
            parent = Some(id);
        }
    }

    /// Tokens of a node with which a prompt goes on: all of them, or as many as may be cut off.
    fn common(&self, node: &[Token], prompt: &[Token]) -> usize {
        let common = node.iter().zip(prompt).take_while(|(a, b)| a == b).count();
        match common == node.len() {
            true => common,
            false => common - common % self.rows,
        }
    }

    fn touch(&mut self, path: &Path) {
        self.clock += 1;
        for (id, _) in &path.steps {
            if let Some(node) = self.nodes.get_mut(id) {
                node.last_use = self.clock;
            }
        }
    }

    /// Lets a node end after its first `at` tokens; what follows becomes its child.
    fn split(&mut self, id: NodeId, at: usize) {
        let Some(node) = self.nodes.get_mut(&id) else {
            return;
        };
        if at >= node.tokens.len() {
            return;
        }
        let tokens = node.tokens.split_off(at);
        let cells = node.cells.split_off(at);
        let pinned = node.pinned;
        let children = std::mem::take(&mut node.children);
        let below = self.add(Some(id), &tokens, cells, pinned);
        for (other, node) in &mut self.nodes {
            if *other == below {
                node.children = children;
            } else if node.parent == Some(id) {
                node.parent = Some(below);
            }
        }
    }

    /// Drops leaves until the rest is within the budget.
    fn evict(&mut self) {
        while self.used > self.budget {
            let leaves = self.nodes.iter();
            let leaves = leaves.filter(|(_, node)| node.children == 0 && !node.pinned);
            let oldest = leaves.min_by_key(|(_, node)| node.last_use);
            let Some(node) = oldest
                .map(|(id, _)| *id)
                .and_then(|id| self.nodes.remove(&id))
            else {
                return;
            };
            self.used -= node.tokens.len();
            if let Some(parent) = node.parent.and_then(|parent| self.nodes.get_mut(&parent)) {
                parent.children -= 1;
            }
        }
    }
}
