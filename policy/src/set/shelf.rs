//! Shelves: the policies that share an agent selector, so that other tenants' rules are never touched.

use std::{collections::BTreeSet, sync::Arc};

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::trie::Trie;
use crate::definition::{AgentMatch, Mode, PolicyDef};

/// Shelves by selector. Maps within maps, so that looking one up needs no owned key.
#[derive(Debug, Default)]
pub(super) struct Shelves {
    pub(super) exact: FxHashMap<Box<str>, FxHashMap<Box<str>, Shelf>>,
    pub(super) namespace: FxHashMap<Box<str>, Shelf>,
    pub(super) name: FxHashMap<Box<str>, Shelf>,
    pub(super) everybody: Shelf,
    pub(super) issuer: FxHashMap<Box<str>, Shelf>,
    pub(super) lists: Lists,
}

/// Shelves for lists of namespaces. Selectors that match the same namespaces share a shelf, however many those are.
#[derive(Debug, Default)]
pub(super) struct Lists {
    /// Each with the one name of ServiceAccounts that it is for, unless it is for all.
    shelves: Vec<(Option<Box<str>>, Shelf)>,
    /// Which of them each namespace is on.
    of: FxHashMap<Box<str>, SmallVec<[u32; 2]>>,
    /// Which of them stands for a list and a name, while the set is built.
    known: FxHashMap<(Arc<BTreeSet<String>>, Option<String>), u32>,
}

impl Lists {
    fn of(&mut self, namespaces: &Arc<BTreeSet<String>>, name: &Option<String>) -> &mut Shelf {
        let fresh = self.shelves.len() as u32;
        let key = (namespaces.clone(), name.clone());
        let at = *self.known.entry(key).or_insert(fresh);
        if at == fresh {
            self.shelves
                .push((name.as_deref().map(Box::from), Shelf::default()));
            for namespace in namespaces.iter() {
                self.of.entry(namespace.as_str().into()).or_default().push(at);
            }
        }
        &mut self.shelves[at as usize].1
    }

    /// Forgets what is needed to build them alone.
    pub(super) fn seal(&mut self) {
        self.known = FxHashMap::default();
    }

    pub(super) fn visit(&self, namespace: &str, name: &str, mut visit: impl FnMut(&Shelf)) {
        for at in self.of.get(namespace).into_iter().flatten() {
            let (only, shelf) = &self.shelves[*at as usize];
            if only.as_deref().is_none_or(|only| only == name) {
                visit(shelf);
            }
        }
    }
}

impl Shelves {
    pub(super) fn of(&mut self, agent: &AgentMatch) -> &mut Shelf {
        match agent {
            AgentMatch::ServiceAccount {
                namespace: Some(ns),
                name: Some(n),
            } => self
                .exact
                .entry(ns.as_str().into())
                .or_default()
                .entry(n.as_str().into())
                .or_default(),
            AgentMatch::ServiceAccount {
                namespace: Some(ns),
                name: None,
            } => self.namespace.entry(ns.as_str().into()).or_default(),
            AgentMatch::ServiceAccount {
                namespace: None,
                name: Some(n),
            } => self.name.entry(n.as_str().into()).or_default(),
            AgentMatch::ServiceAccount {
                namespace: None,
                name: None,
            } => &mut self.everybody,
            AgentMatch::Namespaces { namespaces, name } => self.lists.of(namespaces, name),
            AgentMatch::Oidc { issuer, .. } => self.issuer.entry(issuer.as_str().into()).or_default(),
        }
    }

    pub(super) fn all(&mut self) -> impl Iterator<Item = &mut Shelf> {
        self.exact
            .values_mut()
            .flat_map(|names| names.values_mut())
            .chain(self.namespace.values_mut())
            .chain(self.name.values_mut())
            .chain([&mut self.everybody])
            .chain(self.issuer.values_mut())
            .chain(self.lists.shelves.iter_mut().map(|(_, shelf)| shelf))
    }
}

#[derive(Debug, Default)]
pub(super) struct Shelf {
    pub(super) trie: Trie,
    /// The policy put here last; several selectors of one policy can lead to one shelf.
    pub(super) last: Option<u32>,
    /// Policies on this shelf that mask something or keep bodies.
    pub(super) with_masks: Vec<u32>,
    pub(super) with_recording: Vec<u32>,
    /// Policies on this shelf that score risks, DryRun ones included.
    pub(super) with_risk: Vec<u32>,
    /// Policies on this shelf that say what happens to secrets in requests, DryRun ones included.
    pub(super) with_outbound: Vec<u32>,
    /// Policies on this shelf that suspend or limit.
    pub(super) with_standing: Vec<u32>,
}

impl Shelf {
    /// Files what a policy says besides its rules.
    pub(super) fn file(&mut self, number: u32, policy: &PolicyDef) {
        if policy.mode == Mode::Enforce {
            if !policy.masks.is_empty() {
                self.with_masks.push(number);
            }
            if policy.record_bodies.is_some() {
                self.with_recording.push(number);
            }
        }
        if policy.risk.is_some() {
            self.with_risk.push(number);
        }
        if policy.outbound.is_some() {
            self.with_outbound.push(number);
        }
        if policy.suspend || !policy.limits.is_none() {
            self.with_standing.push(number);
        }
    }
}
