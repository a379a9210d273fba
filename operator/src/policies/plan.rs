//! The bundle of a namespace and the verdict on each of its policies. Pure.

use turnpike_compiler::{Bundle, Context, PolicyDef, compile};
use turnpike_crds::AgentPolicySpec;
use turnpike_policy::definition::{AgentMatch, Effect, OutboundDef, RiskDef, RuleDef};

use kube::ResourceExt as _;

use super::{
    AnyPolicy, LastGood,
    dereference::{Grants, Inputs, Lookup, impersonates, issuers, key_secret},
};

/// A bundle's JSON may not be larger than this. A ConfigMap holds 1 MiB; the rest is room for its metadata.
pub const MAX_BUNDLE_BYTES: usize = 900 * 1024;

/// What is to be done for a namespace.
#[derive(Debug, PartialEq)]
pub(super) struct Plan {
    /// Its bundle; one without policies is not written.
    pub(super) bundle: Bundle,
    /// What becomes of each of its policies.
    pub(super) verdicts: Vec<Verdict>,
}

/// What becomes of a policy.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) policy: AnyPolicy,
    pub(super) accepted: Accepted,
    pub(super) refs: Refs,
    pub(super) runs: Runs,
    /// Entries of `spec.agents` whose selector of namespaces matches none.
    pub(super) idle_selectors: Vec<usize>,
}

/// Whether a policy was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Accepted {
    Yes,
    /// It does not compile; the message names fields.
    Invalid(String),
    /// The bundle with it would be this large.
    TooLarge(usize),
}

/// Whether what a policy refers to is there and may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refs {
    Resolved,
    IssuerNotPermitted(String),
    ServiceAccountNotPermitted(String),
    SecretNotPermitted(String),
    /// Permitted, and out of the operator's own reach.
    SecretNotOffered(String),
    SecretNotFound(String),
    /// The policy could not be read, so nobody knows.
    Unknown,
}

/// What proxies run of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Runs {
    /// It, as far as it is permitted.
    Current(Extent),
    /// The definition of an earlier generation, as far as it is permitted.
    LastGood(i64, Extent),
    Nothing,
}

/// How much of a definition its namespace is permitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// All its rules with its credential; otherwise only what it refuses.
    pub(super) whole: bool,
    /// All its agents; otherwise without those of some OIDC issuer.
    pub(super) all_agents: bool,
}

impl Extent {
    pub(super) const FULL: Self = Self {
        whole: true,
        all_agents: true,
    };
}

impl PartialEq for Verdict {
    fn eq(&self, other: &Self) -> bool {
        (
            self.policy.uid(),
            &self.accepted,
            &self.refs,
            self.runs,
            &self.idle_selectors,
        ) == (
            other.policy.uid(),
            &other.accepted,
            &other.refs,
            other.runs,
            &other.idle_selectors,
        )
    }
}

/// Compiles all policies and builds the bundle.
pub(super) fn plan(inputs: &Inputs, last_good: &LastGood, gateway_namespace: &str) -> Plan {
    let context = Context {
        gateway_namespace,
        namespaces: &inputs.namespaces,
    };
    let mut definitions = Vec::with_capacity(inputs.policies.len());
    let mut verdicts = Vec::with_capacity(inputs.policies.len());
    for policy in &inputs.policies {
        let compiled = match &policy.0 {
            Ok(typed) => compile(typed, &context).map_err(|e| e.to_string()),
            Err(invalid) => Err(invalid.error.clone()),
        };
        let refs = policy.0.as_ref().map_or(Refs::Unknown, |p| {
            refs(&p.spec, &inputs.grants, |s| inputs.secrets.get(s).copied())
        });
        let idle_selectors = compiled
            .as_ref()
            .map_or_else(|_| Vec::new(), |d| d.idle_selectors().collect());
        let (accepted, definition, runs) = match compiled {
            Ok(definition) => match permitted(definition, &inputs.grants) {
                Some((definition, extent)) => (Accepted::Yes, Some(definition), Runs::Current(extent)),
                None => (Accepted::Yes, None, Runs::Nothing),
            },
            Err(message) => {
                let (kept, runs) = keep(policy, last_good, &inputs.grants);
                (Accepted::Invalid(message), kept, runs)
            }
        };
        definitions.push(definition);
        verdicts.push(Verdict {
            policy: policy.clone(),
            accepted,
            refs,
            runs,
            idle_selectors,
        });
    }

    let bundle = Bundle::new(&inputs.namespace, definitions.iter().flatten().cloned().collect());
    let bytes = bundle.to_json().len();
    if bytes <= MAX_BUNDLE_BYTES {
        return Plan { bundle, verdicts };
    }
    // Too large: what changed is refused and what was in force stays. Deleted policies leave all the same,
    // and a credential or an agent that is no longer permitted is not kept.
    for (verdict, definition) in verdicts.iter_mut().zip(&mut definitions) {
        let unchanged = verdict.policy.uid().and_then(|uid| last_good.get(&uid)) == definition.as_ref();
        if definition.is_some() && !unchanged && verdict.accepted == Accepted::Yes {
            (*definition, verdict.runs) = keep(&verdict.policy, last_good, &inputs.grants);
            verdict.accepted = Accepted::TooLarge(bytes);
        }
    }
    Plan {
        bundle: Bundle::new(&inputs.namespace, definitions.into_iter().flatten().collect()),
        verdicts,
    }
}

/// The last good definition of a policy, as far as it is still permitted.
fn keep(policy: &AnyPolicy, last_good: &LastGood, grants: &Grants) -> (Option<PolicyDef>, Runs) {
    let Some(definition) = policy.uid().and_then(|uid| last_good.get(&uid)) else {
        return (None, Runs::Nothing);
    };
    let generation = definition.generation;
    match permitted(definition.clone(), grants) {
        Some((definition, extent)) => (Some(definition), Runs::LastGood(generation, extent)),
        None => (None, Runs::Nothing),
    }
}

/// What of a definition is permitted; nothing where none of its agents is.
fn permitted(mut definition: PolicyDef, grants: &Grants) -> Option<(PolicyDef, Extent)> {
    let before = definition.agents.len();
    definition.agents.retain(|agent| match agent {
        AgentMatch::Oidc { issuer, .. } => grants.permit_issuer(issuer),
        AgentMatch::ServiceAccount { .. } | AgentMatch::Namespaces { .. } => true,
    });
    if definition.agents.is_empty() {
        return None;
    }
    let all_agents = definition.agents.len() == before;
    let account = definition
        .impersonates()
        .is_none_or(|a| grants.permit_service_account(a));
    let secret = definition
        .key_secret()
        .is_none_or(|(s, _)| grants.permit_secret(s));
    let whole = account && secret;
    if !whole {
        definition = restricted(definition);
    }
    Some((definition, Extent { whole, all_agents }))
}

/// Only what a policy refuses: no credential, no Allow, and what would have been held is refused.
fn restricted(definition: PolicyDef) -> PolicyDef {
    let rules = definition.rules.into_iter().filter_map(|rule| match rule.effect {
        Effect::Allow => None,
        Effect::Deny => Some(rule),
        Effect::RequireApproval => Some(RuleDef {
            effect: Effect::Deny,
            message: Some(
                "This call needs an approval, and its policy's credential is not permitted in its namespace."
                    .to_owned(),
            ),
            ..rule
        }),
    });
    let deny = |effect| match effect {
        Effect::Allow => Effect::Allow,
        Effect::RequireApproval | Effect::Deny => Effect::Deny,
    };
    PolicyDef {
        credential: None,
        rules: rules.collect(),
        risk: definition.risk.map(|risk| RiskDef {
            approve_above: None,
            deny_above: risk.approve_above.or(risk.deny_above),
            ..risk
        }),
        outbound: definition.outbound.map(|outbound| OutboundDef {
            requests: deny(outbound.requests),
            unscannable: deny(outbound.unscannable),
            ..outbound
        }),
        ..definition
    }
}

fn refs(spec: &AgentPolicySpec, grants: &Grants, lookup: impl Fn(&str) -> Option<Lookup>) -> Refs {
    if let Some(issuer) = issuers(spec).find(|i| !grants.permit_issuer(i)) {
        return Refs::IssuerNotPermitted(issuer.to_owned());
    }
    if let Some(email) = impersonates(spec).filter(|e| !grants.permit_service_account(e)) {
        return Refs::ServiceAccountNotPermitted(email.to_owned());
    }
    let Some(secret) = key_secret(spec) else {
        return Refs::Resolved;
    };
    if !grants.permit_secret(secret) {
        return Refs::SecretNotPermitted(secret.to_owned());
    }
    match lookup(secret) {
        Some(Lookup::Found) => Refs::Resolved,
        Some(Lookup::Forbidden) => Refs::SecretNotOffered(secret.to_owned()),
        Some(Lookup::Missing) | None => Refs::SecretNotFound(secret.to_owned()),
    }
}
