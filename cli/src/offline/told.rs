//! A decision in words: what happens, by which rule, and for which reason.

use std::collections::BTreeMap;

use serde::Serialize;
use turnpike_policy::{
    PolicySet, Verdict, decide,
    decide::{Decision, Denial, Ground},
    definition::Effect,
    risk::{Inputs, Score, Share, score},
    set::{HitMode, PolicyId, RuleId},
};

use super::{Circumstances, Refused, Understood};

/// What was decided, and why.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Told {
    /// What happens.
    #[serde(rename = "decision")]
    pub(crate) effect: Effect,
    /// The code that the agent and the record get.
    pub(crate) reason: String,
    /// What decided: `NAMESPACE/POLICY/RULE`, or `spec.risk`, `spec.secrets` or `spec.suspend` in the rule's place.
    pub(crate) rules: Vec<String>,
    /// A sentence.
    pub(crate) because: String,
    /// What would happen were the DryRun policies enforced, where one matched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) would: Option<Effect>,
    /// The risk, where a policy asks for it or a person will.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) risk: Option<Risk>,
}

/// A score with its shares.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub(crate) struct Risk {
    pub(crate) score: u8,
    pub(crate) factors: Vec<Factor>,
}

/// A factor and what it adds.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub(crate) struct Factor {
    pub(crate) name: String,
    pub(crate) points: u8,
    pub(crate) words: String,
}

impl Risk {
    fn of(score: &Score) -> Self {
        let factor = |share: &Share| Factor {
            name: share.factor.to_string(),
            points: share.points,
            words: share.words.to_string(),
        };
        Self {
            score: score.total,
            factors: score.shares.iter().map(factor).collect(),
        }
    }
}

impl Told {
    /// Decides a request, and tells it.
    pub(crate) fn of(set: &PolicySet, understood: &Understood, circumstances: &Circumstances) -> Self {
        understood.with_facts(circumstances, |facts| {
            let decision = decide(set, facts);
            let mut told = Self::words(set, understood, &decision);
            told.would = decision.would;
            told.risk = decision.risk.as_ref().map(Risk::of);
            told
        })
    }

    /// Adds the risk by the usual weights, where no policy asks for it.
    pub(crate) fn with_risk(mut self, understood: &Understood, circumstances: &Circumstances) -> Self {
        if self.risk.is_none() {
            let score = understood.with_facts(circumstances, |facts| {
                let inputs = Inputs {
                    calls: facts.calls,
                    request: &facts.request,
                    pace: facts.pace,
                    now: facts.now,
                };
                // There are no factors of a policy that could hold.
                score(&BTreeMap::new(), &mut |_| true, &[], &inputs)
            });
            self.risk = Some(Risk::of(&score));
        }
        self
    }

    /// What the gateway refuses before it asks a policy.
    pub(crate) fn refused(refused: &Refused) -> Self {
        Self::new(Effect::Deny, &refused.reason, Vec::new(), refused.message.clone())
    }

    fn new(effect: Effect, reason: &str, rules: Vec<String>, because: String) -> Self {
        Self {
            effect,
            reason: reason.to_owned(),
            rules,
            because,
            would: None,
            risk: None,
        }
    }

    fn words(set: &PolicySet, understood: &Understood, decision: &Decision) -> Self {
        match &decision.verdict {
            Verdict::Allow(_) => {
                let mut rules: Vec<RuleId> = decision
                    .hits
                    .iter()
                    .filter(|hit| hit.mode == HitMode::Enforce && hit.effect == Effect::Allow)
                    .map(|hit| hit.rule)
                    .collect();
                rules.sort_unstable();
                rules.dedup();
                let rules: Vec<String> = rules.into_iter().map(|id| rule_name(set, id)).collect();
                let because = clause(&rules, "allows it", "allow it");
                Self::new(Effect::Allow, "RULE_ALLOWED", rules, because)
            }
            Verdict::Hold(hold) => {
                let rules: Vec<String> = hold.grounds.iter().map(|g| ground_name(set, *g)).collect();
                let because = clause(&rules, "wants an approval", "want an approval");
                Self::new(Effect::RequireApproval, "APPROVAL_REQUESTED", rules, because)
            }
            Verdict::Deny(denial) => Self::denied(set, understood, *denial),
        }
    }

    fn denied(set: &PolicySet, understood: &Understood, denial: Denial) -> Self {
        let deny = |reason, rules, because| Self::new(Effect::Deny, reason, rules, because);
        let of = |id: PolicyId, part: &str| format!("{}/{part}", policy_name(set, id));
        match denial {
            Denial::Rule(id) => {
                let name = rule_name(set, id);
                let words = set.rule(id).rule.message.as_ref();
                let words = words.map_or_else(String::new, |words| format!(": {words}"));
                deny(
                    "RULE_DENIED",
                    vec![name.clone()],
                    format!("{name} denies it{words}"),
                )
            }
            Denial::Suspended(id) => {
                let because = format!("policy {} suspends the agent", policy_name(set, id));
                deny("AGENT_SUSPENDED", vec![of(id, "spec.suspend")], because)
            }
            Denial::Risk { policy, score, most } => {
                let because = format!(
                    "its risk of {score} is above the {most} that policy {} lets pass",
                    policy_name(set, policy)
                );
                deny("RISK_DENIED", vec![of(policy, Ground::RISK)], because)
            }
            Denial::Secrets(id) => {
                let because = format!(
                    "its body holds secrets, and policy {} lets none out",
                    policy_name(set, id)
                );
                deny("SECRET_IN_REQUEST", vec![of(id, Ground::SECRETS)], because)
            }
            Denial::Unscannable(id) => {
                let because = format!(
                    "its body cannot be searched for secrets, and policy {} lets no such body pass",
                    policy_name(set, id)
                );
                deny("BODY_NOT_SCANNABLE", vec![of(id, Ground::SECRETS)], because)
            }
            Denial::NothingMatched { call, resource } => {
                let call = understood.calls.get(usize::from(call));
                let name = call.and_then(|call| call.resources.get(usize::from(resource)));
                let method = call.map_or("it", |call| call.method);
                let because = match name.map(|r| r.name.as_str()) {
                    None | Some("") => format!("no rule allows {method}"),
                    Some(name) => format!("no rule allows {method} on {name}"),
                };
                deny("NO_RULE_ALLOWS", Vec::new(), because)
            }
            Denial::CredentialConflict(a, b) => {
                let names = vec![rule_name(set, a), rule_name(set, b)];
                let because = format!(
                    "the policies of {} name different credentials",
                    names.join(" and ")
                );
                deny("CREDENTIAL_CONFLICT", names, because)
            }
        }
    }

    /// Whether a rule decided: its name, or `NAMESPACE/POLICY/RULE`.
    pub(crate) fn is_by(&self, rule: &str) -> bool {
        let own = |name: &str| name.splitn(3, '/').nth(2) == Some(rule);
        self.rules.iter().any(|name| name == rule || own(name))
    }
}

/// `Allow` and the like as what happens to a call.
pub(crate) fn happens(effect: Effect) -> &'static str {
    match effect {
        Effect::Allow => "allowed",
        Effect::RequireApproval => "held",
        Effect::Deny => "denied",
    }
}

fn clause(names: &[String], one: &str, several: &str) -> String {
    let verb = if names.len() == 1 { one } else { several };
    format!("{} {verb}", names.join(", "))
}

fn rule_name(set: &PolicySet, id: RuleId) -> String {
    let found = set.rule(id);
    format!(
        "{}/{}/{}",
        found.policy.namespace, found.policy.name, found.rule.name
    )
}

fn ground_name(set: &PolicySet, ground: Ground) -> String {
    format!("{}/{}", policy_name(set, ground.policy(set)), ground.name(set))
}

fn policy_name(set: &PolicySet, id: PolicyId) -> String {
    let policy = set.policy(id);
    format!("{}/{}", policy.namespace, policy.name)
}
