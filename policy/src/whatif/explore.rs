//! The search for differences: classes of agents, methods and names, each decided once on both sides.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use jiff::Timestamp;
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::{
    agents::AgentClass,
    assume::{Answer, Asked, Difference, RuleName, Side, TooManyConditions, compare},
    cells::{Cell, Cutter, GlobId, Marks},
    diff::{Change, Example},
    methods::{Matcher, Methods, OfMethod},
    regions::{Region, regions},
};
use crate::{
    call::{Call, MethodIndex, Resource, Scope, Traits, Transport},
    caller::Caller,
    definition::{Mode, PolicyDef, RuleDef},
    glob::ResourceGlob,
    request::RequestFacts,
    set::PolicySet,
};

/// What was found for one class of agents.
#[derive(Debug)]
pub(super) struct Explored<'a> {
    /// What the class is called.
    pub(super) names: Vec<String>,
    /// By method, what its names lead to; a method that is missing is decided alike.
    pub(super) groups: FxHashMap<&'static str, Rc<Group<'a>>>,
}

/// Methods that no rule tells apart.
#[derive(Debug)]
pub(super) struct Group<'a> {
    /// The globs that their resources are matched with.
    pub(super) globs: Vec<&'a ResourceGlob>,
    /// What is different, by what the globs say of a name.
    pub(super) found: BTreeMap<(Scope, Marks), Rc<Vec<Difference>>>,
}

/// A rule of one side.
#[derive(Debug, Clone, Copy)]
struct SideRule<'a> {
    policy: &'a PolicyDef,
    rule: &'a RuleDef,
    new: bool,
}

/// What makes changes one: all but the rules that decide.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    agents: Vec<String>,
    kind: Kind,
    resources: Vec<Region>,
}

/// What happens on both sides, and when.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    from: Answer,
    to: Answer,
    when: Option<String>,
}

impl Kind {
    fn of(difference: &Difference) -> Self {
        Self {
            from: difference.from.without_rules(),
            to: difference.to.without_rules(),
            when: difference.when.clone(),
        }
    }
}

/// Where something is so, and the rules that decide there: of the old side, of the new one.
type Where<T> = (BTreeSet<T>, BTreeSet<RuleName>, BTreeSet<RuleName>);

#[derive(Debug)]
struct Collected {
    from: BTreeSet<RuleName>,
    to: BTreeSet<RuleName>,
    method_globs: BTreeSet<String>,
    methods: BTreeSet<&'static str>,
    example: Example,
}

impl Collected {
    fn change(self, key: Key) -> Change {
        let Kind { from, to, when } = key.kind;
        Change {
            agents: key.agents,
            from: from.by(self.from),
            to: to.by(self.to),
            when,
            method_globs: self.method_globs.into_iter().collect(),
            methods: self.methods.into_iter().collect(),
            resources: key.resources,
            example: self.example,
        }
    }
}

/// Names of one scope that some shape of a group's methods has, each kind once.
#[derive(Debug, Default)]
struct Kinds {
    cells: Vec<Cell>,
    known: FxHashMap<(Marks, bool), usize>,
}

impl Kinds {
    fn add(&mut self, cell: &Cell) -> usize {
        let next = self.cells.len();
        let at = *self.known.entry((cell.marks.clone(), cell.open)).or_insert(next);
        if at == next {
            self.cells.push(cell.clone());
        }
        at
    }
}

/// Looks at one class of agents after the other.
#[derive(Debug)]
pub(super) struct Explorer<'m> {
    methods: Matcher<'m>,
    cutter: Cutter,
    changes: BTreeMap<Key, Collected>,
    unexplored: BTreeSet<String>,
}

impl<'m> Explorer<'m> {
    pub(super) fn new(methods: &'m Methods) -> Self {
        Self {
            methods: Matcher::new(methods),
            cutter: Cutter::default(),
            changes: BTreeMap::new(),
            unexplored: BTreeSet::new(),
        }
    }

    /// All changes, in order, and what was not looked at.
    pub(super) fn finish(self) -> (Vec<Change>, Vec<String>) {
        let changes = self.changes.into_iter().map(|(key, c)| c.change(key));
        let mut changes: Vec<Change> = changes.collect();
        changes.sort();
        (changes, self.unexplored.into_iter().collect())
    }

    /// Compares what both sides do with the calls of a class.
    pub(super) fn explore<'a>(
        &mut self,
        class: &AgentClass,
        old: &'a PolicySet,
        new: &'a PolicySet,
    ) -> Explored<'a> {
        let of = |set: &'a PolicySet, selected: &[usize]| -> Vec<&'a PolicyDef> {
            let policies = selected.iter().filter_map(|at| set.policies().get(*at));
            policies.filter(|policy| policy.mode == Mode::Enforce).collect()
        };
        let (old, new) = (of(old, &class.old), of(new, &class.new));
        let rules: Vec<SideRule<'a>> = [(false, &old), (true, &new)]
            .into_iter()
            .flat_map(|(new, policies)| policies.iter().map(move |policy| (new, *policy)))
            .flat_map(|(new, policy)| {
                let rules = policy.rules.iter();
                rules.map(move |rule| SideRule { policy, rule, new })
            })
            .collect();
        let mut sides = [old, new].map(|policies| {
            // Suspension is told as a setting; here it would hide what the rules do.
            let policies = policies.into_iter().map(|policy| PolicyDef {
                suspend: false,
                ..policy.clone()
            });
            Side::new(policies.collect(), |_| true)
        });
        let mut groups = FxHashMap::default();
        for (matched, methods) in self.methods.grouped(rules.iter().map(|r| &*r.rule.methods)) {
            let of_group: Vec<SideRule<'a>> = matched
                .iter()
                .filter_map(|at| rules.get(usize::from(*at)).copied())
                .collect();
            if say_the_same(&of_group) {
                continue;
            }
            let group = Rc::new(self.group(class, &mut sides, &of_group, &methods));
            groups.extend(methods.iter().map(|m| (m.id, group.clone())));
        }
        Explored {
            names: class.names.clone(),
            groups,
        }
    }

    fn group<'a>(
        &mut self,
        class: &AgentClass,
        sides: &mut [Side; 2],
        rules: &[SideRule<'a>],
        methods: &[OfMethod],
    ) -> Group<'a> {
        let mut group = Group {
            globs: Vec::new(),
            found: BTreeMap::new(),
        };
        let mut numbered: BTreeMap<GlobId, &'a ResourceGlob> = BTreeMap::new();
        for glob in rules.iter().flat_map(|r| &r.rule.resources) {
            let Some(number) = self.cutter.glob(glob) else {
                self.unexplored
                    .insert("the policies have too many resource globs".to_owned());
                return group;
            };
            numbered.insert(number, glob);
        }
        let numbers: Vec<GlobId> = numbered.keys().copied().collect();
        group.globs = numbered.into_values().collect();
        for scope in [Scope::Exact, Scope::Below] {
            self.scope(class, sides, rules, methods, &numbers, scope, &mut group);
        }
        group
    }

    /// Compares what happens to all names of one scope.
    #[allow(clippy::too_many_arguments, reason = "all that a group has, and no more")]
    fn scope<'a>(
        &mut self,
        class: &AgentClass,
        sides: &mut [Side; 2],
        rules: &[SideRule<'a>],
        methods: &[OfMethod],
        numbers: &[GlobId],
        scope: Scope,
        group: &mut Group<'a>,
    ) {
        let mut kinds = Kinds::default();
        let mut of_method: Vec<(&'static str, BTreeSet<usize>)> = Vec::with_capacity(methods.len());
        for method in methods {
            let mut own = BTreeSet::new();
            for shape in method.shapes.iter().filter(|shape| shape.scope == scope) {
                match &*self.cutter.cells(numbers, shape) {
                    Ok(cells) => own.extend(cells.iter().map(|cell| kinds.add(cell))),
                    Err(_) => {
                        self.unexplored.insert(format!(
                            "{}: its resources have too many cases under the globs of the policies",
                            method.id
                        ));
                    }
                }
            }
            of_method.push((method.id, own));
        }
        let Some((method, _)) = of_method.iter().find(|(_, own)| !own.is_empty()) else {
            return;
        };
        let mut different: BTreeMap<Kind, Where<usize>> = BTreeMap::new();
        for (at, cell) in kinds.cells.iter().enumerate() {
            let call = call(method, &cell.name, scope);
            let found = Rc::new(self.differences(&class.caller, &call, sides));
            for difference in found.iter() {
                let (cells, from, to) = different.entry(Kind::of(difference)).or_default();
                cells.insert(at);
                from.extend(difference.from.rules.iter().cloned());
                to.extend(difference.to.rules.iter().cloned());
            }
            group.found.insert((scope, cell.marks.clone()), found);
        }
        let globs: Vec<&str> = group.globs.iter().map(|g| g.as_str()).collect();
        for (kind, (cells, from, to)) in different {
            let resources = regions(&kinds.cells, &cells, &globs, scope);
            for (method, own) in &of_method {
                let its = own.intersection(&cells).filter_map(|at| kinds.cells.get(*at));
                let Some(first) = its.min_by_key(|cell| cell.open) else {
                    continue;
                };
                let key = Key {
                    agents: class.names.clone(),
                    kind: kind.clone(),
                    resources: resources.clone(),
                };
                let collected = self.changes.entry(key).or_insert_with(|| Collected {
                    from: BTreeSet::new(),
                    to: BTreeSet::new(),
                    method_globs: BTreeSet::new(),
                    methods: BTreeSet::new(),
                    example: Example {
                        method,
                        resource: first.name.clone(),
                        below: scope == Scope::Below,
                    },
                });
                if collected.methods.insert(method) {
                    collected
                        .method_globs
                        .extend(method_globs(rules, &from, &to, method));
                }
                collected.from.extend(from.iter().cloned());
                collected.to.extend(to.iter().cloned());
            }
        }
    }

    fn differences(&mut self, caller: &Caller, call: &Call, [old, new]: &mut [Side; 2]) -> Vec<Difference> {
        let asked = Asked {
            caller,
            calls: std::slice::from_ref(call),
            // Only conditions look at these, and they are all unknown.
            request: RequestFacts::default(),
            now: Timestamp::UNIX_EPOCH,
        };
        match compare(old, new, &asked) {
            Ok(found) => found,
            Err(TooManyConditions(count)) => {
                let method = call.method;
                self.unexplored.insert(format!(
                    "{method}: {count} conditions decide it together, which is too many to look at all cases"
                ));
                Vec::new()
            }
        }
    }
}

/// Whether the rules of both sides are the same ones.
fn say_the_same(rules: &[SideRule<'_>]) -> bool {
    let of = |new: bool| -> Vec<(&PolicyDef, &RuleDef)> {
        rules
            .iter()
            .filter(|r| r.new == new)
            .map(|r| (r.policy, r.rule))
            .collect()
    };
    let (old, new) = (of(false), of(true));
    let alike = |(p, r): &(&PolicyDef, &RuleDef), (q, s): &(&PolicyDef, &RuleDef)| {
        r.name == s.name
            && p.name == q.name
            && p.namespace == q.namespace
            && p.credential == q.credential
            && r.effect == s.effect
            && r.methods == s.methods
            && r.resources == s.resources
            && r.when == s.when
    };
    old.len() == new.len() && old.iter().all(|o| new.iter().any(|n| alike(o, n)))
}

/// The globs by which the deciding rules take a method.
fn method_globs(
    rules: &[SideRule<'_>],
    from: &BTreeSet<RuleName>,
    to: &BTreeSet<RuleName>,
    method: &str,
) -> BTreeSet<String> {
    let decides = |r: &&SideRule<'_>| {
        let deciding = if r.new { to } else { from };
        deciding.iter().any(|name| {
            name.rule == r.rule.name
                && name.policy.split_once('/') == Some((r.policy.namespace.as_str(), r.policy.name.as_str()))
        })
    };
    rules
        .iter()
        .filter(decides)
        .flat_map(|r| r.rule.methods.iter().filter(|glob| glob.matches(method)))
        .map(|glob| glob.as_str().to_owned())
        .collect()
}

/// A call that stands for all that no rule tells from it. Rules look at its method and its resource alone.
fn call(method: &'static str, name: &str, scope: Scope) -> Call {
    let resource = Resource {
        name: name.to_owned(),
        project: None,
        location: None,
        kind: "",
        id: None,
        scope,
    };
    Call {
        method,
        index: MethodIndex(0),
        api: "",
        version: "",
        traits: Traits::NONE,
        transport: Transport::Rest,
        resources: SmallVec::from_iter([resource]),
    }
}
