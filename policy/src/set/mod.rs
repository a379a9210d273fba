//! A policy set: all policies that a gateway enforces, indexed once so that a decision looks only at rules
//! that could match.
//!
//! Three steps narrow the search. A *shelf* holds the rules of the policies that share an agent selector,
//! so other tenants' rules are never touched. On a shelf, a trie over method globs yields the rules whose
//! method matches. There, rules are filed by the literal text that their resource glob starts with
//! (`projects/acme`), so rules of other projects are not looked at.
//!
//! The set is immutable; a change of policy builds a new one and swaps it whole.

mod conditions;
mod needs;
mod shelf;
mod standing;
mod trie;

use smallvec::SmallVec;

use self::{
    conditions::Conditions,
    shelf::{Shelf, Shelves},
    trie::{Entry, Node},
};
pub use self::{
    conditions::{NoValue, SetCondition},
    needs::{Need, Needs},
};
use crate::{
    call::{Call, Scope},
    caller::{Caller, Identity},
    condition::Scene,
    definition::{AgentMatch, BodyRetention, Effect, Mode, PolicyDef, RuleDef},
    glob::{MethodGlob, ResourceGlob, first_open},
    mask::{BuiltinMasks, MaskPlan},
};

/// All policies in force, ready to decide with.
#[derive(Debug)]
pub struct PolicySet {
    policies: Vec<PolicyDef>,
    rules: Vec<RuleAt>,
    conditions: Conditions,
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

/// Number of a policy in its set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyId(pub(crate) u32);

/// A rule with the policy it stands in.
#[derive(Debug, Clone, Copy)]
pub struct RuleRef<'a> {
    /// The policy.
    pub policy: &'a PolicyDef,
    /// The rule.
    pub rule: &'a RuleDef,
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
    /// What became of its condition.
    pub condition: HitCondition,
}

/// What became of the condition of a rule that matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HitCondition {
    /// The rule has none.
    None,
    /// It holds.
    Holds,
    /// It could not be evaluated, so the rule, which restricts, counts.
    Failed,
}

/// Mode of a hit's policy, ordered so that hits can be sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HitMode {
    /// Decides.
    Enforce,
    /// Is recorded only.
    DryRun,
}

impl HitMode {
    /// The mode of a policy's hits.
    pub(crate) fn of(mode: Mode) -> Self {
        match mode {
            Mode::Enforce => Self::Enforce,
            Mode::DryRun => Self::DryRun,
        }
    }
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
                shelf.file(p, policy);
            }
        }
        shelves.lists.seal();
        for shelf in shelves.all() {
            shelf.trie.seal();
        }
        let conditions = Conditions::new(&policies);
        Self {
            suspends: policies.iter().any(|p| p.suspend),
            limits: policies.iter().any(|p| !p.limits.is_none()),
            policies,
            rules,
            conditions,
            shelves,
            builtin: BuiltinMasks::get(),
        }
    }

    /// The policies, sorted by namespace and name.
    pub fn policies(&self) -> &[PolicyDef] {
        &self.policies
    }

    /// The policy behind an id of this set.
    pub fn policy(&self, id: PolicyId) -> &PolicyDef {
        &self.policies[id.0 as usize]
    }

    /// The policy that a rule stands in.
    pub fn policy_of(&self, id: RuleId) -> PolicyId {
        PolicyId(self.rules[id.0 as usize].policy)
    }

    /// The condition of a rule, where it has one.
    pub fn condition(&self, id: RuleId) -> Option<&SetCondition> {
        self.conditions.of_rule(id)
    }

    /// The condition of a policy's factor of risk.
    pub(crate) fn factor(&self, policy: PolicyId, factor: usize) -> Option<&SetCondition> {
        self.conditions.of_factors(policy).get(factor).map(|c| &**c)
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
    /// resource's name stands for; one that restricts matches if it could be true of any of that. The same goes
    /// for conditions: one that cannot be evaluated is true of a rule that restricts and false of one that allows.
    /// `risk` gives the score that conditions of policies in a mode see.
    pub(crate) fn collect(
        &self,
        scene: &Scene<'_>,
        at: (u16, u16),
        risk: &mut dyn FnMut(Mode) -> Option<u8>,
        hits: &mut Hits,
    ) {
        let start = hits.len();
        self.candidates(scene.caller, scene.call, at, &mut |hit| {
            let condition = match self.conditions.of_rule(hit.rule) {
                None => HitCondition::None,
                Some(condition) => match self.holds(condition, scene, hit.rule, risk) {
                    Ok(true) => HitCondition::Holds,
                    Err(_) if hit.effect != Effect::Allow => HitCondition::Failed,
                    Ok(false) | Err(_) => return,
                },
            };
            hits.push(Hit { condition, ..hit });
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

    fn holds(
        &self,
        condition: &SetCondition,
        scene: &Scene<'_>,
        rule: RuleId,
        risk: &mut dyn FnMut(Mode) -> Option<u8>,
    ) -> Result<bool, NoValue> {
        if !condition.reads().risk {
            return condition.holds(scene);
        }
        let risk = risk(self.rule(rule).policy.mode);
        condition.holds(&Scene { risk, ..*scene })
    }

    /// Visits the rules that match one resource of one call, whatever their conditions say. A rule can be visited
    /// more than once.
    pub fn candidates(&self, caller: &Caller, call: &Call, at: (u16, u16), visit: &mut dyn FnMut(Hit)) {
        let sought = match call.resources.get(usize::from(at.1)) {
            Some(resource) => Sought::new(&resource.name, resource.scope),
            // A method that names no resource acts on the empty name: only globs for everything match it.
            None => Sought::new("", Scope::Exact),
        };
        self.for_shelves(caller, |shelf, sure| {
            shelf.trie.walk(call, |node| {
                self.take(node, sought, at, if sure { None } else { Some(caller) }, visit);
            });
        });
    }

    fn take(
        &self,
        node: &Node,
        sought: Sought<'_>,
        at: (u16, u16),
        check: Option<&Caller>,
        visit: &mut dyn FnMut(Hit),
    ) {
        let mut consider = |entries: &[Entry]| {
            for entry in entries {
                let RuleRef { policy, rule } = self.rule(entry.rule);
                let matched = match entry.resource_glob.map(|g| &rule.resources[usize::from(g)]) {
                    None => true,
                    Some(glob) if rule.effect == Effect::Allow => sought.is_covered_by(glob),
                    Some(glob) => sought.may_be_under(glob),
                };
                if matched && check.is_none_or(|caller| selects(policy, caller)) {
                    visit(Hit {
                        rule: entry.rule,
                        effect: rule.effect,
                        mode: HitMode::of(policy.mode),
                        call: at.0,
                        resource: at.1,
                        method_glob: entry.method_glob,
                        resource_glob: entry.resource_glob,
                        condition: HitCondition::None,
                    });
                }
            }
        };
        node.leaf.for_name(sought.certain, &mut consider);
        if sought.longer {
            node.leaf.for_longer(sought.certain, &mut consider);
        }
    }

    /// Visits the policies of one list that select the caller; one may be visited more than once.
    fn for_policies<'s>(
        &'s self,
        caller: &Caller,
        list: impl Fn(&Shelf) -> &[u32],
        mut visit: impl FnMut(PolicyId, &'s PolicyDef),
    ) {
        self.for_shelves(caller, |shelf, sure| {
            for p in list(shelf) {
                let policy = &self.policies[*p as usize];
                if sure || selects(policy, caller) {
                    visit(PolicyId(*p), policy);
                }
            }
        });
    }

    /// Visits the policies that score the risk of the caller's calls.
    pub(crate) fn for_risk(&self, caller: &Caller, visit: impl FnMut(PolicyId, &PolicyDef)) {
        self.for_policies(caller, |shelf| &shelf.with_risk, visit);
    }

    /// Visits the policies that say what happens to secrets in the caller's requests.
    pub fn for_outbound(&self, caller: &Caller, visit: impl FnMut(PolicyId, &PolicyDef)) {
        self.for_policies(caller, |shelf| &shelf.with_outbound, visit);
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
        self.for_policies(
            caller,
            |shelf| &shelf.with_masks,
            |_, policy| {
                for mask in &policy.masks {
                    if calls.iter().any(|c| any_matches(&mask.methods, c.method)) {
                        plan.add(&mask.kind, &mask.paths);
                    }
                }
            },
        );
        plan
    }

    /// How long masked bodies of the caller's calls are kept; `None` where no policy wants them.
    pub fn body_retention(&self, caller: &Caller) -> Option<BodyRetention> {
        let mut longest: Option<BodyRetention> = None;
        self.for_policies(
            caller,
            |shelf| &shelf.with_recording,
            |_, policy| {
                if let Some(keep) = policy.record_bodies
                    && longest.is_none_or(|l| l.keep_ms < keep.keep_ms)
                {
                    longest = Some(keep);
                }
            },
        );
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
