//! What one policy would have changed in recorded calls.
//!
//! What the other policies decided is on record, so they are not needed: their decision stands in for them, and the
//! policy is put beside it, in the place of what it was then. Where the policy was in force as DryRun, the record
//! itself says what it would have done, bodies included.

use std::{collections::BTreeSet, sync::Arc};

use rustc_hash::FxHashMap;
use serde::Serialize;

use super::{
    assume::{Answer, Because, Difference, RuleName, Side, TooManyConditions},
    recorded::{Known, Recorded, RecordedAgent, RecordedRule, concerning},
    replay::{ReplayChange, Tally},
};
use crate::{
    definition::{
        ApprovalDef, CredentialDef, CredentialSource, Effect, ImpersonateDef, LimitsDef, Mode, PolicyDef,
        RuleDef,
    },
    glob::MethodGlob,
};

/// What a policy would have changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Impact {
    /// `NAMESPACE/NAME` of the policy.
    pub policy: String,
    /// How many calls of its agents were looked at.
    pub calls: u64,
    /// How many of them the record itself tells about, because the policy was in force as DryRun.
    pub told_by_record: u64,
    /// How many calls are of agents that it does not select.
    pub of_others: u64,
    /// How many calls were refused for something else than rules, or are of nobody known.
    pub left_out: u64,
    /// Calls that would have been decided otherwise.
    pub changes: Vec<ReplayChange>,
    /// How many calls could not be decided, because too many conditions decide them together.
    pub undecided: u64,
    /// What was not looked at.
    pub notes: Vec<String>,
}

/// What a policy, enforced, would have changed.
pub fn impact(policy: &PolicyDef, calls: &[Recorded]) -> Impact {
    let enforced = PolicyDef {
        mode: Mode::Enforce,
        ..policy.clone()
    };
    let mut impact = Impact {
        policy: format!("{}/{}", policy.namespace, policy.name),
        notes: notes(policy),
        ..Impact::default()
    };
    let mut agents: FxHashMap<&RecordedAgent, (Vec<PolicyDef>, Known)> = FxHashMap::default();
    let mut before: FxHashMap<(&RecordedAgent, StandIn), Side> = FxHashMap::default();
    let mut after: FxHashMap<(&RecordedAgent, StandIn), Side> = FxHashMap::default();
    let mut tally = Tally::default();
    for recorded in calls {
        let (Some(agent), Some(decided)) = (&recorded.agent, recorded.decided()) else {
            impact.left_out += recorded.count();
            continue;
        };
        let (own, known) = agents.entry(agent).or_insert_with(|| {
            let own = concerning(std::iter::once(&enforced), agent);
            let known = Known::of(own.iter().flat_map(|p| &p.rules), agent);
            (own, known)
        });
        if own.is_empty() {
            impact.of_others += recorded.count();
            continue;
        }
        if let Some(to) = told(&enforced, &impact.policy, recorded, decided) {
            impact.calls += recorded.count();
            impact.told_by_record += recorded.count();
            if to.effect != decided {
                let from = was(recorded, decided, &to);
                let difference = Difference { from, to, when: None };
                tally.add(recorded, difference, &recorded.times);
            }
            continue;
        }
        let decision = StandIn {
            effect: Some(decided),
            perhaps: false,
            credential: credential(&enforced, recorded),
        };
        let others = decision.without(&impact.policy, recorded, decided);
        let after = after
            .entry((agent, others))
            .or_insert_with_key(|(agent, others)| {
                let policies = [&[others.policy(agent)], own.as_slice()].concat();
                Side::new(policies, |text| !known.has(text))
            });
        let before = before
            .entry((agent, decision))
            .or_insert_with_key(|(agent, decision)| Side::new(vec![decision.policy(agent)], |_| true));
        let alone = refused_without(&impact.policy, recorded);
        for times in recorded.moments(known.reads_now) {
            match recorded.compare(before, after, times) {
                Ok(found) => {
                    impact.calls += times.len() as u64;
                    for mut difference in found {
                        difference.to.rules.retain(|rule| rule.policy != STAND_IN);
                        if alone && difference.to.effect < decided && difference.to.rules.is_empty() {
                            // The others refused it by themselves, and no rule of the policy lets it pass.
                            continue;
                        }
                        difference.from = was(recorded, decided, &difference.to);
                        tally.add(recorded, difference, times);
                    }
                }
                Err(TooManyConditions(_)) => impact.undecided += times.len() as u64,
            }
        }
    }
    impact.changes = tally.changes();
    impact
}

/// Whether the other policies had no rule for some part of a call, and the policy itself no part in that.
fn refused_without(policy: &str, recorded: &Recorded) -> bool {
    let had_part = recorded.rules.iter().any(|r| r.enforced && r.policy == policy);
    recorded.reason == "NO_RULE_ALLOWS" && !had_part
}

/// What was decided, by whom.
fn was(recorded: &Recorded, decided: Effect, instead: &Answer) -> Answer {
    let deciding = recorded
        .rules
        .iter()
        .filter(|r| r.enforced && r.effect == decided);
    let same_effect = instead.effect == decided;
    Answer {
        effect: decided,
        rules: names(deciding),
        because: (recorded.reason == "CREDENTIAL_CONFLICT").then_some(Because::CredentialConflict),
        credential: recorded.credential.clone().filter(|_| same_effect),
    }
}

fn names<'r>(rules: impl Iterator<Item = &'r RecordedRule>) -> Vec<RuleName> {
    let names: BTreeSet<RuleName> = rules
        .map(|r| RuleName {
            policy: r.policy.clone(),
            rule: r.rule.clone(),
        })
        .collect();
    names.into_iter().collect()
}

/// What the record itself says the policy would have done: where rules of it matched in DryRun, those of no other
/// policy did, and it still has them.
fn told(policy: &PolicyDef, name: &str, recorded: &Recorded, decided: Effect) -> Option<Answer> {
    let dry_runs = || recorded.rules.iter().filter(|r| !r.enforced);
    let still_there = |r: &RecordedRule| {
        let same = |rule: &RuleDef| rule.name == r.rule && rule.effect == r.effect;
        r.policy == name && policy.rules.iter().any(same)
    };
    if dry_runs().next().is_none() || !dry_runs().all(still_there) {
        return None;
    }
    let effect = recorded.would.unwrap_or(decided);
    Some(Answer {
        effect,
        rules: names(dry_runs().filter(|r| r.effect == effect)),
        because: None,
        credential: None,
    })
}

/// The credential that the other policies name, as far as it matters beside that of the policy.
fn credential(policy: &PolicyDef, recorded: &Recorded) -> Option<Arc<CredentialDef>> {
    let own = policy.credential.as_ref()?;
    let used = recorded.credential.as_deref()?;
    let own_name = match (&own.impersonate, &own.source) {
        (Some(impersonate), _) => impersonate.service_account.as_str(),
        (None, CredentialSource::Ambient) => "ambient",
        (None, CredentialSource::Key { secret, .. }) => secret,
    };
    if used == own_name {
        return Some(own.clone());
    }
    // What is ambient may be named by nobody.
    (used != "ambient").then(|| {
        Arc::new(CredentialDef {
            impersonate: Some(ImpersonateDef {
                service_account: used.to_owned(),
                delegates: Vec::new(),
            }),
            ..CredentialDef::default()
        })
    })
}

/// What stands in for the decision of other policies.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct StandIn {
    /// What they do; `None` where they have no rule for the call.
    effect: Option<Effect>,
    /// Whether it is not known if that goes for all resources.
    perhaps: bool,
    /// The credential that they name.
    credential: Option<Arc<CredentialDef>>,
}

/// `NAMESPACE/NAME` of a policy that no file can hold.
const STAND_IN: &str = "/recorded";

impl StandIn {
    /// The same without what the policy itself did then.
    fn without(&self, policy: &str, recorded: &Recorded, decided: Effect) -> Self {
        let enforced = || recorded.rules.iter().filter(|r| r.enforced);
        let strictest = enforced().map(|r| r.effect).max();
        let nothing = recorded.reason == "NO_RULE_ALLOWS";
        if !nothing && strictest.is_none_or(|effect| effect < decided) {
            // More than rules decided: risk, or what was found in a body.
            return self.clone();
        }
        let had_part = enforced().any(|r| r.policy == policy);
        let effect = enforced().filter(|r| r.policy != policy).map(|r| r.effect).max();
        let parts: usize = recorded.calls.iter().map(|c| c.resources.len().max(1)).sum();
        let whole = parts == 1 || effect == Some(Effect::Deny) || !(had_part || nothing);
        Self {
            effect,
            perhaps: !whole,
            credential: self.credential.clone().filter(|_| !had_part),
        }
    }

    fn policy(&self, agent: &RecordedAgent) -> PolicyDef {
        let rule = |effect| RuleDef {
            name: "recorded".to_owned(),
            effect,
            methods: MethodGlob::parse("**").into_iter().collect(),
            resources: Vec::new(),
            when: self
                .perhaps
                .then(|| "the other policies have a rule for each of its resources".to_owned()),
            message: None,
            approval: ApprovalDef::default(),
        };
        PolicyDef {
            namespace: String::new(),
            name: "recorded".to_owned(),
            uid: String::new(),
            generation: 0,
            mode: Mode::Enforce,
            suspend: false,
            agents: vec![agent.selector()],
            credential: self.credential.clone(),
            rules: self.effect.into_iter().map(rule).collect(),
            risk: None,
            limits: LimitsDef::default(),
            outbound: None,
            masks: Vec::new(),
            record_bodies: None,
        }
    }
}

/// What of a policy cannot be tried on a trail.
fn notes(policy: &PolicyDef) -> Vec<String> {
    let mut notes = Vec::new();
    if policy.risk.is_some() {
        notes.push("spec.risk: scores depend on bodies and on what went before, which a trail does not keep");
    }
    if policy.outbound.is_some() {
        notes.push("spec.secrets.requests: a trail keeps no bodies to search");
    }
    if !policy.limits.is_none() {
        notes.push("spec.limits: calls were not counted against them");
    }
    notes.into_iter().map(str::to_owned).collect()
}
