//! What change of the policies would make a decision looser. Each was tried: what it says comes of it is what the
//! function that decides made of it.

use serde::Serialize;
use turnpike_policy::{
    PolicySet,
    decide::Ground,
    definition::{Effect, LimitsDef, Mode, PolicyDef, RuleDef},
    glob::{MethodGlob, ResourceGlob},
};

use super::near::{Case, Lack, Lacking, glob};
use crate::offline::Told;

/// A change of the policies, and what would be decided then.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) change: String,
    pub(super) then: Told,
}

impl Case<'_> {
    /// The changes that help, those that help most first.
    pub(super) fn changes(&self, told: &Told, lacks: &[Lacking]) -> Vec<Change> {
        let mut changes: Vec<Change> = lacks
            .iter()
            .filter_map(|lacking| self.mended(told, lacking))
            .collect();
        let grounds: Vec<Obstacle<'_>> = told.rules.iter().filter_map(|g| self.obstacle(g)).collect();
        changes.extend(
            grounds
                .iter()
                .filter_map(|one| self.tried(told, one.way(), &|policies| one.remove(policies))),
        );
        let rule = self.new_rule();
        let new = format!("add a rule: {}", written(&rule));
        changes.extend(self.tried(told, new.clone(), &|policies| {
            policies.extend(self.policy_with(&rule))
        }));
        // What no single change does, all that stand in the way and a rule may do together.
        if !grounds.is_empty() && !changes.iter().any(|c| c.then.effect == Effect::Allow) {
            let mut ways: Vec<String> = grounds.iter().map(Obstacle::way).collect();
            ways.push(new);
            changes.extend(self.tried(told, ways.join("; "), &|policies| {
                grounds.iter().for_each(|one| one.remove(policies));
                policies.extend(self.policy_with(&rule));
            }));
        }
        changes.sort_by_key(|change| change.then.effect);
        changes.dedup();
        changes
    }

    /// A change, where it makes the answer looser.
    fn tried(&self, told: &Told, change: String, apply: &dyn Fn(&mut Vec<PolicyDef>)) -> Option<Change> {
        let mut policies = self.policies.to_vec();
        apply(&mut policies);
        let then = Told::of(&PolicySet::new(policies), self.understood, self.circumstances);
        (then.effect < told.effect).then_some(Change { change, then })
    }

    /// The change that gives a rule what it lacks.
    fn mended(&self, told: &Told, lacking: &Lacking) -> Option<Change> {
        let (at, rule) = (lacking.at, self.rule(lacking.at));
        if rule.effect == Effect::Deny {
            return None;
        }
        let name = self.name(at);
        match lacking.lack {
            Lack::Resource => {
                let text = self.resource_glob(lacking.unit)?;
                let glob = ResourceGlob::parse(&text).ok()?;
                self.tried(
                    told,
                    format!("add {text} to the resources of rule {name}"),
                    &|policies| {
                        policies[at.policy].rules[at.rule].resources.push(glob.clone());
                    },
                )
            }
            Lack::Method => {
                let method = self.method(lacking.unit);
                self.tried(
                    told,
                    format!("add {method} to the methods of rule {name}"),
                    &|policies| {
                        policies[at.policy].rules[at.rule].methods.extend(glob(method));
                    },
                )
            }
            Lack::Agent => {
                let (agent, policy) = (self.circumstances.caller.name(), self.policy(at));
                let change = format!(
                    "add {agent} to the agents of policy {}/{}",
                    policy.namespace, policy.name
                );
                self.tried(told, change, &|policies| {
                    policies[at.policy].agents.extend(self.agent())
                })
            }
            Lack::Condition => self.tried(
                told,
                format!("make the condition of rule {name} hold"),
                &|policies| {
                    policies[at.policy].rules[at.rule].when = None;
                },
            ),
        }
    }

    /// A policy of the agent with one rule.
    fn policy_with(&self, rule: &RuleDef) -> Option<PolicyDef> {
        Some(PolicyDef {
            namespace: String::new(),
            name: String::new(),
            uid: String::new(),
            generation: 0,
            mode: Mode::Enforce,
            suspend: false,
            agents: vec![self.agent()?],
            credential: None,
            rules: vec![rule.clone()],
            risk: None,
            limits: LimitsDef::default(),
            outbound: None,
            masks: Vec::new(),
            record_bodies: None,
        })
    }

    /// What stands behind `NAMESPACE/POLICY/PART`.
    fn obstacle<'g>(&self, name: &'g str) -> Option<Obstacle<'g>> {
        let mut words = name.splitn(3, '/');
        let (namespace, policy, part) = (words.next()?, words.next()?, words.next()?);
        let mut policies = self.policies.iter();
        let policy = policies.position(|p| p.namespace == namespace && p.name == policy)?;
        Some(Obstacle { name, policy, part })
    }

    /// A rule that allows the request and nothing else.
    fn new_rule(&self) -> RuleDef {
        let mut methods: Vec<MethodGlob> = Vec::new();
        let mut resources: Vec<ResourceGlob> = Vec::new();
        let mut anywhere = false;
        for unit in &self.units {
            let method = glob(self.method(*unit));
            methods.extend(method.filter(|glob| !methods.contains(glob)));
            match self
                .resource_glob(*unit)
                .and_then(|text| ResourceGlob::parse(&text).ok())
            {
                Some(glob) if !resources.contains(&glob) => resources.push(glob),
                Some(_) => {}
                None => anywhere = true,
            }
        }
        if anywhere {
            resources.clear();
        }
        let method = self.units.first().map_or("", |unit| self.method(*unit));
        let name: Vec<String> = method.rsplitn(3, '.').take(2).map(kebab).collect();
        RuleDef {
            name: name.join("-"),
            effect: Effect::Allow,
            methods,
            resources,
            when: None,
            message: None,
            approval: Default::default(),
        }
    }
}

/// What [`Told::rules`] calls a suspension.
const SUSPEND: &str = "spec.suspend";

/// What keeps a request from passing: a rule, or another part of a policy.
struct Obstacle<'g> {
    /// `NAMESPACE/POLICY/PART`
    name: &'g str,
    policy: usize,
    part: &'g str,
}

impl Obstacle<'_> {
    /// How it can be got out of the way.
    fn way(&self) -> String {
        let name = self.name;
        match self.part {
            Ground::RISK => format!("raise the thresholds of {name}"),
            Ground::SECRETS => format!("let {name} pass what is in the body"),
            SUSPEND => format!("set {name} to false"),
            _ => format!("take rule {name} away, or narrow it"),
        }
    }

    fn remove(&self, policies: &mut [PolicyDef]) {
        let policy = &mut policies[self.policy];
        match self.part {
            Ground::RISK => policy.risk = None,
            Ground::SECRETS => policy.outbound = None,
            SUSPEND => policy.suspend = false,
            rule => policy.rules.retain(|r| r.name != rule),
        }
    }
}

/// A rule as YAML on one line.
fn written(rule: &RuleDef) -> String {
    let list = |texts: Vec<&str>| {
        let quoted: Vec<String> = texts.iter().map(|text| format!("{text:?}")).collect();
        format!("[{}]", quoted.join(", "))
    };
    let methods = list(rule.methods.iter().map(MethodGlob::as_str).collect());
    let mut text = format!("{{name: {}, effect: Allow, methods: {methods}", rule.name);
    if !rule.resources.is_empty() {
        let resources = list(rule.resources.iter().map(ResourceGlob::as_str).collect());
        text.push_str(&format!(", resources: {resources}"));
    }
    text.push('}');
    text
}

/// `setIamPolicy` as `set-iam-policy`.
fn kebab(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() && !out.ends_with('-') {
            out.push('-');
        }
        if c.is_ascii_alphanumeric() {
            out.push(c.to_ascii_lowercase());
        }
    }
    out
}
