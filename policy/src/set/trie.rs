//! A trie over method globs, whose leaves file rules by the literal text that their resource glob starts with.

use std::hash::Hasher;

use rustc_hash::{FxHashMap, FxHasher};
use smallvec::SmallVec;

use super::RuleId;
use crate::{
    call::Call,
    definition::RuleDef,
    glob::GlobKey,
    groups::{GroupId, Groups},
};

/// One entry of a trie's leaf: a rule under one of its resource globs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) rule: RuleId,
    pub(super) method_glob: u16,
    pub(super) resource_glob: Option<u16>,
}

#[derive(Debug, Default)]
pub(super) struct Trie {
    nodes: Vec<Node>,
    /// Groups that rules name in the place of globs, each with the node of those rules.
    groups: Vec<(GroupId, u32)>,
}

#[derive(Debug, Default)]
pub(super) struct Node {
    literals: FxHashMap<Box<str>, u32>,
    patterns: Vec<(Box<str>, u32)>,
    deep: Option<u32>,
    pub(super) leaf: Leaf,
}

/// The rules whose method glob ends at a node, by the literal prefix of their resource glob.
#[derive(Debug, Default)]
pub(super) struct Leaf {
    /// Distinct prefixes, sorted, each with its entries. Rules for every resource stand under the empty one.
    filed: Vec<(Box<str>, Vec<Entry>)>,
    /// Where a prefix stands in `filed`, by its hash. A collision costs a comparison and no correctness:
    /// globs are always matched in full.
    places: FxHashMap<u64, SmallVec<[u32; 1]>>,
    /// The lengths that occur, ascending.
    lengths: Vec<usize>,
}

impl Leaf {
    fn file(&mut self, prefix: &str, entry: Entry) {
        self.filed.push((prefix.into(), vec![entry]));
    }

    /// Sorts and indexes what was filed.
    fn seal(&mut self) {
        self.filed.sort_by(|a, b| a.0.cmp(&b.0));
        self.filed.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            if same {
                kept.1.append(&mut next.1);
            }
            same
        });
        for (at, (prefix, _)) in (0u32..).zip(&self.filed) {
            self.places.entry(hash(prefix.as_bytes())).or_default().push(at);
            self.lengths.push(prefix.len());
        }
        self.lengths.sort_unstable();
        self.lengths.dedup();
    }

    /// The entries whose glob may match the name, which has no open segment.
    pub(super) fn for_name(&self, name: &str, mut visit: impl FnMut(&[Entry])) {
        let bytes = name.as_bytes();
        for length in self.lengths.iter().take_while(|l| **l <= bytes.len()) {
            if let Some(places) = self.places.get(&hash(&bytes[..*length])) {
                places.iter().for_each(|at| visit(&self.filed[*at as usize].1));
            }
        }
    }

    /// The entries whose glob may match something below the name, besides those of [`Self::for_name`].
    pub(super) fn for_longer(&self, name: &str, mut visit: impl FnMut(&[Entry])) {
        let from = self.filed.partition_point(|(p, _)| **p <= *name);
        self.filed[from..]
            .iter()
            .take_while(|(p, _)| p.starts_with(name))
            .for_each(|(_, entries)| visit(entries));
    }
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(bytes);
    hasher.finish()
}

impl Trie {
    /// Sorts and indexes what was inserted.
    pub(super) fn seal(&mut self) {
        self.nodes.iter_mut().for_each(|node| node.leaf.seal());
    }

    pub(super) fn insert(&mut self, id: RuleId, rule: &RuleDef) {
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        }
        for (m, glob) in (0u16..).zip(&rule.methods) {
            let at = match glob.group() {
                Some(group) => self.group(group),
                None => glob.keys().fold(0, |at, key| self.child(at, key)),
            };
            let leaf = &mut self.nodes[at].leaf;
            if rule.resources.is_empty() {
                leaf.file(
                    "",
                    Entry {
                        rule: id,
                        method_glob: m,
                        resource_glob: None,
                    },
                );
            }
            for (r, glob) in (0u16..).zip(&rule.resources) {
                let entry = Entry {
                    rule: id,
                    method_glob: m,
                    resource_glob: Some(r),
                };
                leaf.file(glob.literal_prefix(), entry);
            }
        }
    }

    fn child(&mut self, at: usize, key: GlobKey<'_>) -> usize {
        let fresh = self.nodes.len() as u32;
        let node = &mut self.nodes[at];
        let found = match key {
            GlobKey::Literal(text) => *node.literals.entry(text.into()).or_insert(fresh),
            GlobKey::Pattern(text) => match node.patterns.iter().find(|(t, _)| **t == *text) {
                Some((_, child)) => *child,
                None => {
                    node.patterns.push((text.into(), fresh));
                    fresh
                }
            },
            GlobKey::Deep => *node.deep.get_or_insert(fresh),
        };
        if found == fresh {
            self.nodes.push(Node::default());
        }
        found as usize
    }

    fn group(&mut self, group: GroupId) -> usize {
        if let Some((_, node)) = self.groups.iter().find(|(known, _)| *known == group) {
            return *node as usize;
        }
        let fresh = self.nodes.len();
        self.nodes.push(Node::default());
        self.groups.push((group, fresh as u32));
        fresh
    }

    /// Visits every node whose glob matches the method, or whose group has it.
    pub(super) fn walk(&self, call: &Call, mut visit: impl FnMut(&Node)) {
        if !self.nodes.is_empty() {
            self.step(0, Some(call.method), &mut visit);
        }
        // A rule names a group only where the table of them could be read.
        if !self.groups.is_empty()
            && let Ok(groups) = Groups::embedded()
        {
            let of = groups.of(call.method, call.index);
            for (_, node) in self.groups.iter().filter(|(group, _)| of.has(*group)) {
                visit(&self.nodes[*node as usize]);
            }
        }
    }

    fn step(&self, at: usize, rest: Option<&str>, visit: &mut impl FnMut(&Node)) {
        let node = &self.nodes[at];
        if let Some(deep) = node.deep {
            let mut suffix = rest;
            loop {
                self.step(deep as usize, suffix, visit);
                match suffix {
                    None => break,
                    Some(text) => suffix = text.split_once('.').map(|(_, tail)| tail),
                }
            }
        }
        let Some(text) = rest else {
            if !node.leaf.filed.is_empty() {
                visit(node);
            }
            return;
        };
        let (segment, tail) = match text.split_once('.') {
            Some((segment, tail)) => (segment, Some(tail)),
            None => (text, None),
        };
        if let Some(child) = node.literals.get(segment) {
            self.step(*child as usize, tail, visit);
        }
        for (pattern, child) in &node.patterns {
            if GlobKey::pattern_matches(pattern, segment) {
                self.step(*child as usize, tail, visit);
            }
        }
    }
}
