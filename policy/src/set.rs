//! A policy set: all policies that a gateway enforces, indexed once so that a decision looks only at rules
//! that could match.
//!
//! Three steps narrow the search. A *shelf* holds the rules of the policies that share an agent selector,
//! so other tenants' rules are never touched. On a shelf, a trie over method globs yields the rules whose
//! method matches. There, rules are filed by the literal text that their resource glob starts with
//! (`projects/acme`), so rules of other projects are not looked at.
//!
//! The set is immutable; a change of policy builds a new one and swaps it whole.

mod standing;

use std::{collections::BTreeSet, hash::Hasher, sync::Arc};

use rustc_hash::{FxHashMap, FxHasher};
use smallvec::SmallVec;

use crate::{
    call::{Call, Scope},
    caller::{Caller, Identity},
    definition::{AgentMatch, BodyRetention, Effect, Mode, PolicyDef, RuleDef},
    glob::{GlobKey, MethodGlob, ResourceGlob, first_open},
    groups::{GroupId, Groups},
    mask::{BuiltinMasks, MaskPlan},
};

/// All policies in force, ready to decide with.
#[derive(Debug)]
pub struct PolicySet {
    policies: Vec<PolicyDef>,
    rules: Vec<RuleAt>,
    shelves: Shelves,
    builtin: &'static BuiltinMasks,
    /// Whether any policy suspends, or limits: most sets have none, and are not searched for them.
    suspends: bool,
    limits: bool,
}

#[derive(Debug, Clone, Copy)]
struct RuleAt {
    policy: u32,
    rule: u32,
}

/// Number of a rule in its set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(pub(crate) u32);

/// A rule with the policy it stands in.
#[derive(Debug, Clone, Copy)]
pub struct RuleRef<'a> {
    /// The policy.
    pub policy: &'a PolicyDef,
    /// The rule.
    pub rule: &'a RuleDef,
}

/// Shelves by selector. Maps within maps, so that looking one up needs no owned key.
#[derive(Debug, Default)]
struct Shelves {
    exact: FxHashMap<Box<str>, FxHashMap<Box<str>, Shelf>>,
    namespace: FxHashMap<Box<str>, Shelf>,
    name: FxHashMap<Box<str>, Shelf>,
    everybody: Shelf,
    issuer: FxHashMap<Box<str>, Shelf>,
    lists: Lists,
}

/// Shelves for lists of namespaces. Selectors that match the same namespaces share a shelf, however many those are.
#[derive(Debug, Default)]
struct Lists {
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

    fn visit(&self, namespace: &str, name: &str, mut visit: impl FnMut(&Shelf)) {
        for at in self.of.get(namespace).into_iter().flatten() {
            let (only, shelf) = &self.shelves[*at as usize];
            if only.as_deref().is_none_or(|only| only == name) {
                visit(shelf);
            }
        }
    }
}

impl Shelves {
    fn of(&mut self, agent: &AgentMatch) -> &mut Shelf {
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

    fn all(&mut self) -> impl Iterator<Item = &mut Shelf> {
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
struct Shelf {
    trie: Trie,
    /// The policy put here last; several selectors of one policy can lead to one shelf.
    last: Option<u32>,
    /// Policies on this shelf that mask something or keep bodies.
    with_masks: Vec<u32>,
    with_recording: Vec<u32>,
    /// Policies on this shelf that suspend or limit.
    with_standing: Vec<u32>,
}

/// One entry of a trie's leaf: a rule under one of its resource globs.
#[derive(Debug, Clone, Copy)]
struct Entry {
    rule: RuleId,
    method_glob: u16,
    resource_glob: Option<u16>,
}

#[derive(Debug, Default)]
struct Trie {
    nodes: Vec<Node>,
    /// Groups that rules name in the place of globs, each with the node of those rules.
    groups: Vec<(GroupId, u32)>,
}

#[derive(Debug, Default)]
struct Node {
    literals: FxHashMap<Box<str>, u32>,
    patterns: Vec<(Box<str>, u32)>,
    deep: Option<u32>,
    leaf: Leaf,
}

/// The rules whose method glob ends at a node, by the literal prefix of their resource glob.
#[derive(Debug, Default)]
struct Leaf {
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
    fn for_name(&self, name: &str, mut visit: impl FnMut(&[Entry])) {
        let bytes = name.as_bytes();
        for length in self.lengths.iter().take_while(|l| **l <= bytes.len()) {
            if let Some(places) = self.places.get(&hash(&bytes[..*length])) {
                places.iter().for_each(|at| visit(&self.filed[*at as usize].1));
            }
        }
    }

    /// The entries whose glob may match something below the name, besides those of [`Self::for_name`].
    fn for_longer(&self, name: &str, mut visit: impl FnMut(&[Entry])) {
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

/// A rule that matched, and by which of its globs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hit {
    /// The rule.
    pub rule: RuleId,
    /// Its effect.
    pub effect: Effect,
    /// Whether its policy decides.
    pub mode: HitMode,
    /// Number of the call, where one request is taken for several methods.
    pub call: u16,
    /// Number of the resource within the call.
    pub resource: u16,
    /// Which of the rule's method globs matched.
    pub method_glob: u16,
    /// Which of its resource globs matched; `None` where the rule names no resources.
    pub resource_glob: Option<u16>,
}

/// Mode of a hit's policy, ordered so that hits can be sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HitMode {
    /// Decides.
    Enforce,
    /// Is recorded only.
    DryRun,
}

/// Rules that matched, of one or several calls.
pub type Hits = SmallVec<[Hit; 8]>;

/// A resource that rules are sought for.
#[derive(Debug, Clone, Copy)]
struct Sought<'a> {
    name: &'a str,
    below: bool,
    /// The name up to its first open segment: the part that a literal prefix can be compared with.
    certain: &'a str,
    /// Whether globs whose prefix goes on after that part may match.
    longer: bool,
}

impl<'a> Sought<'a> {
    fn new(name: &'a str, scope: Scope) -> Self {
        let below = scope == Scope::Below;
        let open = first_open(name);
        Self {
            name,
            below,
            certain: open.map_or(name, |at| &name[..at]),
            longer: below || open.is_some(),
        }
    }

    /// Whether a glob matches everything that the name stands for.
    fn is_covered_by(self, glob: &ResourceGlob) -> bool {
        if self.below {
            glob.covers_below(self.name)
        } else {
            glob.matches(self.name)
        }
    }

    /// Whether a glob matches something that the name may stand for.
    fn may_be_under(self, glob: &ResourceGlob) -> bool {
        glob.may_match(self.name) || (self.below && glob.may_match_below(self.name))
    }
}

impl PolicySet {
    /// The set without a policy: everything is denied.
    pub fn deny_all() -> Self {
        Self::new(Vec::new())
    }

    /// Builds a set. Policies in no order; the set sorts them by namespace and name, so equal policies make
    /// equal sets.
    pub fn new(mut policies: Vec<PolicyDef>) -> Self {
        policies.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        let mut rules = Vec::new();
        let mut shelves = Shelves::default();
        for (p, policy) in (0u32..).zip(&policies) {
            let first = rules.len() as u32;
            rules.extend(
                (0u32..)
                    .zip(&policy.rules)
                    .map(|(rule, _)| RuleAt { policy: p, rule }),
            );
            for agent in &policy.agents {
                let shelf = shelves.of(agent);
                if shelf.last.replace(p) == Some(p) {
                    continue;
                }
                for (id, rule) in (first..).zip(&policy.rules) {
                    shelf.trie.insert(RuleId(id), rule);
                }
                if policy.suspend || !policy.limits.is_none() {
                    shelf.with_standing.push(p);
                }
                if policy.mode == Mode::Enforce {
                    if !policy.masks.is_empty() {
                        shelf.with_masks.push(p);
                    }
                    if policy.record_bodies.is_some() {
                        shelf.with_recording.push(p);
                    }
                }
            }
        }
        shelves.lists.known = FxHashMap::default();
        for shelf in shelves.all() {
            shelf.trie.nodes.iter_mut().for_each(|node| node.leaf.seal());
        }
        Self {
            suspends: policies.iter().any(|p| p.suspend),
            limits: policies.iter().any(|p| !p.limits.is_none()),
            policies,
            rules,
            shelves,
            builtin: BuiltinMasks::get(),
        }
    }

    /// The policies, sorted by namespace and name.
    pub fn policies(&self) -> &[PolicyDef] {
        &self.policies
    }

    /// The rule behind an id of this set.
    pub fn rule(&self, id: RuleId) -> RuleRef<'_> {
        let at = self.rules[id.0 as usize];
        let policy = &self.policies[at.policy as usize];
        RuleRef {
            policy,
            rule: &policy.rules[at.rule as usize],
        }
    }

    /// The glob texts behind a hit: of the method, and of the resource where the rule names any.
    pub fn globs(&self, hit: &Hit) -> (&str, Option<&str>) {
        let rule = self.rule(hit.rule).rule;
        (
            rule.methods[usize::from(hit.method_glob)].as_str(),
            hit.resource_glob.map(|g| rule.resources[usize::from(g)].as_str()),
        )
    }

    /// Collects the rules that match one resource of one call. A rule that allows must match whatever the
    /// resource's name stands for; one that restricts matches if it could be true of any of that.
    pub(crate) fn collect(&self, caller: &Caller, call: &Call, at: (u16, u16), hits: &mut Hits) {
        let sought = match call.resources.get(usize::from(at.1)) {
            Some(resource) => Sought::new(&resource.name, resource.scope),
            // A method that names no resource acts on the empty name: only globs for everything match it.
            None => Sought::new("", Scope::Exact),
        };
        let start = hits.len();
        self.for_shelves(caller, |shelf, sure| {
            shelf.trie.walk(call, |node| {
                self.take(node, sought, at, if sure { None } else { Some(caller) }, hits);
            });
        });
        // A rule can be found twice: by two of its globs, or on two shelves. The first way is kept.
        let found = &mut hits[start..];
        found.sort_unstable();
        let mut kept = start;
        for i in start..hits.len() {
            if kept == start || hits[kept - 1].rule != hits[i].rule {
                hits[kept] = hits[i];
                kept += 1;
            }
        }
        hits.truncate(kept);
    }

    fn take(&self, node: &Node, sought: Sought<'_>, at: (u16, u16), check: Option<&Caller>, hits: &mut Hits) {
        let mut consider = |entries: &[Entry]| {
            for entry in entries {
                let RuleRef { policy, rule } = self.rule(entry.rule);
                let matched = match entry.resource_glob.map(|g| &rule.resources[usize::from(g)]) {
                    None => true,
                    Some(glob) if rule.effect == Effect::Allow => sought.is_covered_by(glob),
                    Some(glob) => sought.may_be_under(glob),
                };
                if matched && check.is_none_or(|caller| selects(policy, caller)) {
                    hits.push(Hit {
                        rule: entry.rule,
                        effect: rule.effect,
                        mode: match policy.mode {
                            Mode::Enforce => HitMode::Enforce,
                            Mode::DryRun => HitMode::DryRun,
                        },
                        call: at.0,
                        resource: at.1,
                        method_glob: entry.method_glob,
                        resource_glob: entry.resource_glob,
                    });
                }
            }
        };
        node.leaf.for_name(sought.certain, &mut consider);
        if sought.longer {
            node.leaf.for_longer(sought.certain, &mut consider);
        }
    }

    /// Visits the shelves that can hold policies for the caller. The flag tells whether all that stands
    /// there selects him; otherwise each policy has to be asked.
    fn for_shelves(&self, caller: &Caller, mut visit: impl FnMut(&Shelf, bool)) {
        match &caller.identity {
            Identity::ServiceAccount { namespace, name } => {
                let exact = self
                    .shelves
                    .exact
                    .get(namespace.as_str())
                    .and_then(|names| names.get(name.as_str()));
                let by_namespace = self.shelves.namespace.get(namespace.as_str());
                let by_name = self.shelves.name.get(name.as_str());
                for shelf in [exact, by_namespace, by_name, Some(&self.shelves.everybody)]
                    .into_iter()
                    .flatten()
                {
                    visit(shelf, true);
                }
                self.shelves
                    .lists
                    .visit(namespace, name, |shelf| visit(shelf, true));
            }
            Identity::Oidc { issuer, .. } => {
                if let Some(shelf) = self.shelves.issuer.get(issuer.as_str()) {
                    visit(shelf, false);
                }
            }
        }
    }

    /// What to mask in the answer to a call: the built-in table and the caller's policies.
    pub fn mask_plan(&self, caller: &Caller, calls: &[Call]) -> MaskPlan<'_> {
        let mut plan = MaskPlan::default();
        for call in calls {
            self.builtin.collect(call, &mut plan);
        }
        self.for_shelves(caller, |shelf, sure| {
            for policy in shelf.with_masks.iter().map(|p| &self.policies[*p as usize]) {
                if !sure && !selects(policy, caller) {
                    continue;
                }
                for mask in &policy.masks {
                    if calls.iter().any(|c| any_matches(&mask.methods, c.method)) {
                        plan.add(&mask.kind, &mask.paths);
                    }
                }
            }
        });
        plan
    }

    /// How long masked bodies of the caller's calls are kept; `None` where no policy wants them.
    pub fn body_retention(&self, caller: &Caller) -> Option<BodyRetention> {
        let mut longest: Option<BodyRetention> = None;
        self.for_shelves(caller, |shelf, sure| {
            for policy in shelf.with_recording.iter().map(|p| &self.policies[*p as usize]) {
                if (sure || selects(policy, caller))
                    && let Some(keep) = policy.record_bodies
                    && longest.is_none_or(|l| l.keep_ms < keep.keep_ms)
                {
                    longest = Some(keep);
                }
            }
        });
        longest
    }
}

fn any_matches(globs: &[MethodGlob], method: &str) -> bool {
    globs.iter().any(|g| g.matches(method))
}

/// Whether a policy selects a caller.
pub(crate) fn selects(policy: &PolicyDef, caller: &Caller) -> bool {
    policy.agents.iter().any(|agent| match (agent, &caller.identity) {
        (
            AgentMatch::ServiceAccount { namespace, name },
            Identity::ServiceAccount {
                namespace: caller_namespace,
                name: caller_name,
            },
        ) => {
            namespace.as_ref().is_none_or(|n| n == caller_namespace)
                && name.as_ref().is_none_or(|n| n == caller_name)
        }
        (
            AgentMatch::Namespaces { namespaces, name },
            Identity::ServiceAccount {
                namespace: caller_namespace,
                name: caller_name,
            },
        ) => namespaces.contains(caller_namespace) && name.as_ref().is_none_or(|n| n == caller_name),
        (
            AgentMatch::Oidc {
                issuer,
                audience,
                subject,
                claims,
            },
            Identity::Oidc {
                issuer: i,
                subject: s,
                audiences,
                claims: c,
            },
        ) => {
            issuer == i
                && audiences.contains(audience)
                && subject.as_ref().is_none_or(|wanted| wanted == s)
                && claims.iter().all(|(k, v)| c.get(k) == Some(v))
        }
        _ => false,
    })
}

impl Trie {
    fn insert(&mut self, id: RuleId, rule: &RuleDef) {
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
    fn walk(&self, call: &Call, mut visit: impl FnMut(&Node)) {
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
