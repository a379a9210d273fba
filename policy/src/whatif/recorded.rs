//! Calls as a trail has them, and the policies that concern whoever made them.
//!
//! A trail keeps no bodies, headers, queries and claims: conditions that read them are unknown when such a call is
//! decided again.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rustc_hash::FxHashSet;

use crate::{
    call::Call,
    caller::{Caller, Identity},
    condition::Condition,
    definition::{AgentMatch, Effect, Mode, PolicyDef, RuleDef},
    set::selects,
};

/// Who made a call.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RecordedAgent {
    /// A Kubernetes ServiceAccount.
    ServiceAccount {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// The holder of an OIDC token.
    Oidc {
        /// `iss`
        issuer: String,
        /// `sub`
        subject: String,
    },
}

impl RecordedAgent {
    /// `NAMESPACE/NAME`, or the subject.
    pub fn name(&self) -> String {
        match self {
            Self::ServiceAccount { namespace, name } => format!("{namespace}/{name}"),
            Self::Oidc { subject, .. } => subject.clone(),
        }
    }

    /// What selects the agent, and others too.
    pub(super) fn selector(&self) -> AgentMatch {
        match self {
            Self::ServiceAccount { .. } => AgentMatch::ServiceAccount {
                namespace: None,
                name: None,
            },
            Self::Oidc { issuer, .. } => AgentMatch::Oidc {
                issuer: issuer.clone(),
                audience: AUDIENCE.to_owned(),
                subject: None,
                claims: BTreeMap::new(),
            },
        }
    }

    fn caller(&self, session: &str) -> Caller {
        let (identity, issuer) = match self {
            Self::ServiceAccount { namespace, name } => (
                Identity::ServiceAccount {
                    namespace: namespace.clone(),
                    name: name.clone(),
                },
                String::new(),
            ),
            Self::Oidc { issuer, subject } => (
                Identity::Oidc {
                    issuer: issuer.clone(),
                    subject: subject.clone(),
                    audiences: vec![AUDIENCE.to_owned()],
                    claims: BTreeMap::new(),
                },
                issuer.clone(),
            ),
        };
        Caller {
            identity,
            issuer,
            session: session.to_owned(),
            pod: None,
        }
    }
}

/// The audience that callers have here; which one a token had is not on record.
const AUDIENCE: &str = "turnpike";

/// A rule that matched.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordedRule {
    /// `NAMESPACE/NAME` of its policy.
    pub policy: String,
    /// Its name.
    pub rule: String,
    /// Its effect.
    pub effect: Effect,
    /// Whether its policy decided.
    pub enforced: bool,
}

/// What became of a call.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RecordedAnswer {
    /// It went upstream by the rules.
    Allowed,
    /// It waited for a person.
    Held,
    /// It was refused.
    Refused,
}

/// Calls that are alike in all that a trail keeps but their times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Who made them; `None` for a caller that proved nothing.
    pub agent: Option<RecordedAgent>,
    /// The run of the agent.
    pub session: String,
    /// HTTP verb.
    pub verb: String,
    /// Host.
    pub host: String,
    /// What they are called in the trail: the method's id, or what stands for it.
    pub operation: String,
    /// What they were taken for; empty where that is not known.
    pub calls: Vec<Call>,
    /// What became of them.
    pub answer: RecordedAnswer,
    /// Reason code of that.
    pub reason: String,
    /// The rules that matched.
    pub rules: Vec<RecordedRule>,
    /// What DryRun policies would have decided, where that differs.
    pub would: Option<Effect>,
    /// The credential that was used: `ambient`, an e-mail address, or the name of a Secret.
    pub credential: Option<String>,
    /// When each of them was decided, ascending; never empty.
    pub times: Vec<Timestamp>,
}

impl Recorded {
    /// What policies decided; `None` where the call was refused before they were asked, or for more than its rules.
    pub fn decided(&self) -> Option<Effect> {
        if self.agent.is_none() || self.calls.is_empty() {
            return None;
        }
        match (&self.answer, self.reason.as_str()) {
            (RecordedAnswer::Allowed, _) => Some(Effect::Allow),
            (RecordedAnswer::Held, _) => Some(Effect::RequireApproval),
            (RecordedAnswer::Refused, "RULE_DENIED" | "NO_RULE_ALLOWS" | "CREDENTIAL_CONFLICT") => {
                Some(Effect::Deny)
            }
            // What cannot be held is refused in its place.
            (RecordedAnswer::Refused, "STREAM_NOT_HELD" | "UPLOAD_SESSION_NOT_HELD") => {
                Some(Effect::RequireApproval)
            }
            (RecordedAnswer::Refused, _) => None,
        }
    }

    /// How many calls these are.
    pub fn count(&self) -> u64 {
        self.times.len() as u64
    }

    pub(super) fn caller(&self) -> Option<Caller> {
        Some(self.agent.as_ref()?.caller(&self.session))
    }

    /// Names of the resources.
    pub(super) fn resources(&self) -> impl Iterator<Item = &str> {
        self.calls
            .iter()
            .flat_map(|call| &call.resources)
            .map(|resource| resource.name.as_str())
    }
}

/// The policies that decide about an agent, as they concern it. Where claims of its token tell whether a policy
/// selects it, that is a condition of every rule.
pub(super) fn concerning<'a>(
    policies: impl Iterator<Item = &'a PolicyDef>,
    agent: &RecordedAgent,
) -> Vec<PolicyDef> {
    policies
        .filter(|policy| policy.mode == Mode::Enforce || policy.suspend)
        .filter_map(|policy| match agent {
            RecordedAgent::ServiceAccount { .. } => {
                selects(policy, &agent.caller("")).then(|| policy.clone())
            }
            RecordedAgent::Oidc { issuer, subject } => of_token(policy, agent, issuer, subject),
        })
        .collect()
}

fn of_token(policy: &PolicyDef, who: &RecordedAgent, of: &str, sub: &str) -> Option<PolicyDef> {
    let mut in_question: Vec<String> = Vec::new();
    let mut surely = false;
    for agent in &policy.agents {
        let AgentMatch::Oidc {
            issuer,
            subject,
            claims,
            ..
        } = agent
        else {
            continue;
        };
        if issuer != of || subject.as_ref().is_some_and(|s| s != sub) {
            continue;
        }
        surely |= claims.is_empty();
        let claims: Vec<String> = claims
            .iter()
            .map(|(claim, value)| format!("{claim}={value}"))
            .collect();
        in_question.push(format!("the token says {}", claims.join(", ")));
    }
    if in_question.is_empty() {
        return None;
    }
    let claims = (!surely).then(|| in_question.join(" or "));
    let rule = |rule: &RuleDef| RuleDef {
        when: match (&claims, &rule.when) {
            (Some(claims), Some(when)) => Some(format!("{claims} and ({when})")),
            (claims, when) => claims.clone().or_else(|| when.clone()),
        },
        ..rule.clone()
    };
    Some(PolicyDef {
        agents: vec![who.selector()],
        suspend: policy.suspend && surely,
        rules: policy.rules.iter().map(rule).collect(),
        ..policy.clone()
    })
}

/// The conditions of some rules that a trail tells enough for, and whether one of them looks at the time.
#[derive(Debug, Default)]
pub(super) struct Known {
    texts: FxHashSet<String>,
    pub(super) reads_now: bool,
}

impl Known {
    pub(super) fn of<'a>(rules: impl Iterator<Item = &'a RuleDef>, agent: &RecordedAgent) -> Self {
        let mut known = Self::default();
        for text in rules.filter_map(|rule| rule.when.as_deref()) {
            let Ok(condition) = Condition::compile(text) else {
                continue;
            };
            let reads = condition.reads();
            let claims = matches!(agent, RecordedAgent::Oidc { .. }) && text.contains("claims");
            let unknown = reads.body || reads.headers || reads.query || reads.size || reads.risk || claims;
            if !unknown {
                known.reads_now |= reads.now;
                known.texts.insert(text.to_owned());
            }
        }
        known
    }

    pub(super) fn has(&self, text: &str) -> bool {
        self.texts.contains(text)
    }
}
