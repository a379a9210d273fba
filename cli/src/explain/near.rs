//! Which rules match a request, and which nearly do and what they lack.
//!
//! Nothing here knows how rules match. It changes policies a little, asks the function that decides, and looks at
//! what is different: so what it says of a change is what that change does.

use std::collections::BTreeSet;

use serde::Serialize;
use turnpike_policy::{
    PolicySet,
    call::{Resource, Scope},
    caller::Identity,
    condition::{Condition, Scene},
    decide,
    decide::Facts,
    definition::{AgentMatch, Effect, Mode, PolicyDef, RuleDef},
    glob::MethodGlob,
};

use super::changes::Change;
use crate::offline::{Circumstances, Told, Understood};

/// A rule that matches.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub(super) struct Match {
    pub(super) rule: String,
    pub(super) effect: Effect,
    /// It is of a policy in DryRun.
    #[serde(skip_serializing_if = "std::ops::Not::not", rename = "dryRun")]
    pub(super) dry_run: bool,
    pub(super) method: String,
    /// The resource, where the rule names any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resource: Option<String>,
    /// Its condition, and what that comes to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) condition: Option<Held>,
}

/// A condition and what it comes to.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) when: String,
    /// `true`, `false`, or why it has no value.
    pub(super) value: String,
}

/// A rule that does not match, for want of one thing.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub(super) struct Near {
    pub(super) rule: String,
    pub(super) effect: Effect,
    /// What it lacks, as the end of "it would match".
    pub(super) lacks: String,
}

/// All that is to be said of a request under some policies.
#[derive(Debug)]
pub(super) struct Findings {
    pub(super) matched: Vec<Match>,
    pub(super) near: Vec<Near>,
    pub(super) changes: Vec<Change>,
}

/// A resource of a call, by their numbers.
pub(super) type Unit = (u16, u16);

/// A request under some policies.
pub(super) struct Case<'a> {
    pub(super) policies: &'a [PolicyDef],
    pub(super) understood: &'a Understood,
    pub(super) circumstances: &'a Circumstances,
    /// Everything that the request acts on.
    pub(super) units: BTreeSet<Unit>,
}

/// Looks into a decision.
pub(super) fn look(
    policies: &[PolicyDef],
    told: &Told,
    understood: &Understood,
    circumstances: &Circumstances,
) -> Findings {
    let units = (0u16..).zip(&understood.calls).flat_map(|(c, call)| {
        let resources = 0..u16::try_from(call.resources.len().max(1)).unwrap_or(u16::MAX);
        resources.map(move |r| (c, r))
    });
    let case = Case {
        policies,
        understood,
        circumstances,
        units: units.collect(),
    };
    let lacks: Vec<Lacking> = case.rules().filter_map(|at| case.lacking(at)).collect();
    Findings {
        matched: case.matched(),
        near: lacks
            .iter()
            .filter_map(|lacking| case.near(told, lacking))
            .collect(),
        changes: if told.effect == Effect::Allow {
            Vec::new()
        } else {
            case.changes(told, &lacks)
        },
    }
}

/// A rule by the numbers of its policy and its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct At {
    pub(super) policy: usize,
    pub(super) rule: usize,
}

/// What a rule lacks.
#[derive(Debug, Clone)]
pub(super) struct Lacking {
    pub(super) at: At,
    pub(super) unit: Unit,
    pub(super) lack: Lack,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lack {
    Condition,
    Resource,
    Method,
    Agent,
}

impl Case<'_> {
    fn rules(&self) -> impl Iterator<Item = At> + '_ {
        self.policies.iter().enumerate().flat_map(|(policy, of)| {
            let rules = 0..of.rules.len();
            rules.map(move |rule| At { policy, rule })
        })
    }

    pub(super) fn policy(&self, at: At) -> &PolicyDef {
        &self.policies[at.policy]
    }

    pub(super) fn rule(&self, at: At) -> &RuleDef {
        &self.policy(at).rules[at.rule]
    }

    pub(super) fn name(&self, at: At) -> String {
        let policy = self.policy(at);
        format!("{}/{}/{}", policy.namespace, policy.name, self.rule(at).name)
    }

    /// Where a rule alone matches, changed in some way.
    fn where_alone(&self, at: At, change: impl FnOnce(&mut PolicyDef)) -> BTreeSet<Unit> {
        let policy = self.policy(at);
        let mut alone = PolicyDef {
            rules: vec![self.rule(at).clone()],
            ..policy.clone()
        };
        change(&mut alone);
        let set = PolicySet::new(vec![alone]);
        self.with_facts(|facts| {
            decide(&set, facts)
                .hits
                .iter()
                .map(|hit| (hit.call, hit.resource))
                .collect()
        })
    }

    fn with_facts<T>(&self, then: impl FnOnce(&Facts<'_>) -> T) -> T {
        self.understood.with_facts(self.circumstances, then)
    }

    /// The one thing that a rule lacks to match the first part of the request that it does not match.
    fn lacking(&self, at: At) -> Option<Lacking> {
        let matched = self.where_alone(at, |_| ());
        let unit = *self.units.difference(&matched).next()?;
        let would = |change: &dyn Fn(&mut PolicyDef)| self.where_alone(at, |p| change(p)).contains(&unit);
        let lack = if would(&|p| p.rules[0].when = None) {
            Lack::Condition
        } else if would(&|p| p.rules[0].resources.clear()) {
            Lack::Resource
        } else if would(&|p| p.agents.extend(self.agent())) {
            Lack::Agent
        } else if self.same_service(at, unit) && would(&|p| p.rules[0].methods.extend(glob("**"))) {
            Lack::Method
        } else {
            return None;
        };
        Some(Lacking { at, unit, lack })
    }

    /// Whether a rule is about the service of a call: then it is likely to be the one that was meant.
    fn same_service(&self, at: At, unit: Unit) -> bool {
        let Some(call) = self.understood.calls.get(usize::from(unit.0)) else {
            return false;
        };
        let service = |text: &str| text.split('.').next().map(str::to_owned);
        self.rule(at).methods.iter().any(|glob| {
            let name = glob.as_str();
            let name = name.strip_prefix(turnpike_policy::groups::PREFIX).unwrap_or(name);
            service(name) == service(call.method) || service(name).as_deref() == Some(call.api)
        })
    }

    pub(super) fn agent(&self) -> Option<AgentMatch> {
        match &self.circumstances.caller.identity {
            Identity::ServiceAccount { namespace, name } => Some(AgentMatch::ServiceAccount {
                namespace: Some(namespace.clone()),
                name: Some(name.clone()),
            }),
            Identity::Oidc {
                issuer,
                subject,
                audiences,
                ..
            } => Some(AgentMatch::Oidc {
                issuer: issuer.clone(),
                audience: audiences.first()?.clone(),
                subject: Some(subject.clone()),
                claims: Default::default(),
            }),
        }
    }

    fn matched(&self) -> Vec<Match> {
        let set = PolicySet::new(self.policies.to_vec());
        let mut matched: Vec<Match> = Vec::new();
        self.with_facts(|facts| {
            for hit in &decide(&set, facts).hits {
                let found = set.rule(hit.rule);
                let (method, resource) = set.globs(hit);
                let policy = found.policy;
                let new = Match {
                    rule: format!("{}/{}/{}", policy.namespace, policy.name, found.rule.name),
                    effect: hit.effect,
                    dry_run: policy.mode == Mode::DryRun,
                    method: method.to_owned(),
                    resource: resource.map(str::to_owned),
                    condition: found.rule.when.as_ref().map(|when| Held {
                        when: when.clone(),
                        value: self.value(when, (hit.call, hit.resource)),
                    }),
                };
                if !matched.contains(&new) {
                    matched.push(new);
                }
            }
        });
        matched.sort_by(|a, b| b.effect.cmp(&a.effect).then_with(|| a.rule.cmp(&b.rule)));
        matched
    }

    /// What a condition comes to for a part of the request.
    fn value(&self, when: &str, unit: Unit) -> String {
        let condition = match Condition::compile(when) {
            Ok(condition) => condition,
            Err(error) => return error.to_string(),
        };
        let set = PolicySet::new(self.policies.to_vec());
        self.with_facts(|facts| {
            let Some(call) = facts.calls.get(usize::from(unit.0)) else {
                return String::new();
            };
            let scene = Scene {
                caller: facts.caller,
                call,
                resource: call.resources.get(usize::from(unit.1)),
                request: &facts.request,
                now: facts.now,
                risk: decide(&set, facts).risk.map(|score| score.total),
            };
            match condition.holds(&scene) {
                Ok(holds) => holds.to_string(),
                Err(error) => format!("it cannot be evaluated: {error}"),
            }
        })
    }

    fn resource(&self, unit: Unit) -> Option<&Resource> {
        let call = self.understood.calls.get(usize::from(unit.0))?;
        call.resources.get(usize::from(unit.1))
    }

    pub(super) fn method(&self, unit: Unit) -> &'static str {
        let call = self.understood.calls.get(usize::from(unit.0));
        call.map_or("", |call| call.method)
    }

    /// Of rules that could make the answer no looser, only those that a condition alone keeps from it: the others are
    /// about something else.
    fn near(&self, told: &Told, lacking: &Lacking) -> Option<Near> {
        let rule = self.rule(lacking.at);
        let looser = match rule.effect {
            Effect::Allow => told.effect != Effect::Allow,
            effect => effect < told.effect,
        };
        // A rule that is not enforced would decide nothing if it did match.
        if self.policy(lacking.at).mode == Mode::DryRun {
            return None;
        }
        if !looser && (rule.effect == Effect::Allow || lacking.lack != Lack::Condition) {
            return None;
        }
        let lacks = match lacking.lack {
            Lack::Condition => {
                let when = rule.when.as_deref().unwrap_or_default();
                match self.value(when, lacking.unit).as_str() {
                    "false" => format!("if its condition held, which is false: {}", one_line(when)),
                    other => format!("if its condition held, but {other}: {}", one_line(when)),
                }
            }
            Lack::Resource => match self.resource_glob(lacking.unit) {
                Some(glob) => format!("with {glob} in its resources"),
                None => "without resources: the method names none".to_owned(),
            },
            Lack::Method => format!("with {} in its methods", self.method(lacking.unit)),
            Lack::Agent => format!("if its policy selected {}", self.circumstances.caller.name()),
        };
        Some(Near {
            rule: self.name(lacking.at),
            effect: rule.effect,
            lacks,
        })
    }

    /// The narrowest glob that covers a resource.
    pub(super) fn resource_glob(&self, unit: Unit) -> Option<String> {
        let resource = self.resource(unit)?;
        match (resource.name.as_str(), resource.scope) {
            ("", _) => None,
            (name, Scope::Exact) => Some(name.to_owned()),
            (name, Scope::Below) => Some(format!("{name}/**")),
        }
    }
}

/// An expression on one line.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A glob, of a text that is a method's id and so surely one.
pub(super) fn glob(text: &str) -> Option<MethodGlob> {
    MethodGlob::parse(text).ok()
}
