//! One side of a comparison: the policies that select a class of agents, and what they decide under assumptions about
//! their conditions.
//!
//! Only rules and credentials count here. Risk, limits, secrets in requests and suspension depend on more than the
//! call; they are compared as [settings](super::Setting).

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use rustc_hash::FxHashMap;
use serde::Serialize;

use super::{
    logic::{Question, Truth},
    settings::credential_text,
};
use crate::{
    call::Call,
    caller::Caller,
    decide::{Decision, Facts, Verdict, decide},
    definition::{Effect, LimitsDef, Mode, PolicyDef, RuleDef},
    set::{HitMode, PolicySet},
};

/// A rule by its names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct RuleName {
    /// `NAMESPACE/NAME` of the policy.
    pub policy: String,
    /// Name of the rule.
    pub rule: String,
}

/// What one side does with a call.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Answer {
    /// What happens.
    pub effect: Effect,
    /// The rules that decide; none where nothing allows the call.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleName>,
    /// Whether it is denied because its rules name different credentials.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub conflict: bool,
    /// The credential of an allowed call, where it is not the gateway's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

impl Answer {
    /// Whether an agent notices a difference.
    pub(super) fn same_as(&self, other: &Self) -> bool {
        self.effect == other.effect && self.credential == other.credential
    }

    /// The same, whichever rules decide.
    pub(super) fn without_rules(&self) -> Self {
        Self {
            rules: Vec::new(),
            credential: self.credential.clone(),
            ..*self
        }
    }

    /// The same, by these rules.
    pub(super) fn by(self, rules: BTreeSet<RuleName>) -> Self {
        Self {
            rules: rules.into_iter().collect(),
            ..self
        }
    }

    /// What was decided, in short.
    pub(super) fn of(set: &PolicySet, decision: &Decision) -> Self {
        let effect = decision.verdict.effect();
        let mut rules: Vec<RuleName> = decision
            .hits
            .iter()
            .filter(|hit| hit.mode == HitMode::Enforce && hit.effect == effect)
            .map(|hit| {
                let found = set.rule(hit.rule);
                RuleName {
                    policy: format!("{}/{}", found.policy.namespace, found.policy.name),
                    rule: found.rule.name.clone(),
                }
            })
            .collect();
        rules.sort_unstable();
        rules.dedup();
        let credential = match &decision.verdict {
            Verdict::Allow(permit) => credential_text(permit.credential()),
            Verdict::Hold(_) | Verdict::Deny(_) => None,
        };
        let conflict = matches!(
            decision.verdict,
            Verdict::Deny(crate::decide::Denial::CredentialConflict(..))
        );
        Self {
            effect,
            rules,
            conflict,
            credential,
        }
    }
}

/// Conditions and what they come to.
pub(super) type Assumption<'q> = Vec<(&'q str, Truth)>;

/// The policies of one side that select a class of agents and decide.
#[derive(Debug)]
pub(super) struct Side<'a> {
    policies: Vec<&'a PolicyDef>,
    /// As if every condition held.
    open: PolicySet,
    /// By what is assumed of conditions.
    sets: FxHashMap<Vec<(Box<str>, Truth)>, PolicySet>,
}

impl<'a> Side<'a> {
    /// The policies of a set, by their indices.
    pub(super) fn new(set: &'a PolicySet, selected: &[usize]) -> Self {
        let policies: Vec<&PolicyDef> = selected
            .iter()
            .filter_map(|at| set.policies().get(*at))
            .filter(|policy| policy.mode == Mode::Enforce)
            .collect();
        let open = PolicySet::new(policies.iter().map(|p| bare(p, |_| true)).collect());
        Self {
            policies,
            open,
            sets: FxHashMap::default(),
        }
    }

    /// All rules.
    pub(super) fn rules(&self) -> impl Iterator<Item = (&'a PolicyDef, &'a RuleDef)> {
        self.policies
            .iter()
            .flat_map(|policy| policy.rules.iter().map(move |rule| (*policy, rule)))
    }

    /// Adds the conditions that could matter for a call.
    pub(super) fn conditions(
        &self,
        caller: &Caller,
        call: &Call,
        found: &mut BTreeMap<&'a str, (bool, bool)>,
    ) {
        let decision = ask(&self.open, caller, call);
        for hit in &decision.hits {
            let open = self.open.rule(hit.rule);
            let own = self
                .policies
                .iter()
                .filter(|policy| policy.namespace == open.policy.namespace && policy.name == open.policy.name)
                .flat_map(|policy| &policy.rules)
                .find(|rule| rule.name == open.rule.name);
            if let Some(text) = own.and_then(|rule| rule.when.as_deref()) {
                let (allows, restricts) = found.entry(text).or_default();
                *allows |= hit.effect == Effect::Allow;
                *restricts |= hit.effect != Effect::Allow;
            }
        }
    }

    /// What happens to a call under an assumption about all conditions that could matter for it.
    pub(super) fn answer(&mut self, caller: &Caller, call: &Call, assumed: &Assumption<'_>) -> Answer {
        let set = if assumed.is_empty() {
            &self.open
        } else {
            let key: Vec<(Box<str>, Truth)> = assumed.iter().map(|(text, t)| ((*text).into(), *t)).collect();
            let policies = &self.policies;
            self.sets.entry(key).or_insert_with(|| {
                let stays = |rule: &RuleDef| match &rule.when {
                    None => true,
                    Some(when) => match assumed.iter().find(|(text, _)| text == when) {
                        Some((_, Truth::Yes)) => true,
                        Some((_, Truth::Failed)) => rule.effect != Effect::Allow,
                        Some((_, Truth::No)) | None => false,
                    },
                };
                PolicySet::new(policies.iter().map(|p| bare(p, stays)).collect())
            })
        };
        Answer::of(set, &ask(set, caller, call))
    }
}

/// The questions that conditions put.
pub(super) fn questions(found: &BTreeMap<&str, (bool, bool)>) -> Vec<Question> {
    found
        .iter()
        .map(|(text, (allows, restricts))| Question {
            text: (*text).to_owned(),
            may_fail: *allows && *restricts,
        })
        .collect()
}

fn ask(set: &PolicySet, caller: &Caller, call: &Call) -> Decision {
    let facts = Facts::of(caller, std::slice::from_ref(call), Timestamp::UNIX_EPOCH);
    decide(set, &facts)
}

/// A policy with some of its rules, without conditions, and nothing else that decides.
fn bare(policy: &PolicyDef, stays: impl Fn(&RuleDef) -> bool) -> PolicyDef {
    PolicyDef {
        suspend: false,
        risk: None,
        limits: LimitsDef::default(),
        outbound: None,
        masks: Vec::new(),
        record_bodies: None,
        rules: policy
            .rules
            .iter()
            .filter(|rule| stays(rule))
            .map(|rule| RuleDef {
                when: None,
                ..rule.clone()
            })
            .collect(),
        ..policy.clone()
    }
}
