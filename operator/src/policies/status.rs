//! What a policy's status says, and the Events that tell of it. Pure.
//!
//! A condition's time changes only with its status, and a status that says what it said before is not
//! written: the operator's own writes wake it, and must not make it write again.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{Resource as _, ResourceExt as _, runtime::events::EventType};
use serde_json::{Value, json};
use turnpike_crds::{AgentPolicyStatus, condition};

use super::{
    AnyPolicy,
    apply::Applied,
    plan::{Accepted, Extent, Plan, Refs, Runs, Verdict},
};
use crate::{
    events::News as Event,
    replicas::{Replicas, Tally},
};

/// Longest message of a condition, in bytes; the API server takes 32 KiB.
const MAX_MESSAGE: usize = 4096;

/// A status that has to be written.
#[derive(Debug)]
pub(super) struct Update<'a> {
    pub(super) policy: &'a AnyPolicy,
    status: AgentPolicyStatus,
    /// What it is news of.
    pub(super) news: Vec<News>,
}

/// An Event about a policy.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct News {
    pub(super) event: Event,
    /// Said once a generation, however often the condition flickers.
    pub(super) once_per_generation: bool,
}

impl Update<'_> {
    /// The merge patch that writes it, refused if the policy has changed since it was read.
    pub(super) fn patch(&self) -> Value {
        json!({
            "metadata": {"resourceVersion": self.policy.resource_version()},
            "status": {
                "conditions": self.status.conditions,
                "observedGeneration": self.status.observed_generation,
                // Null removes it; an absent field would leave it.
                "bundleDigest": self.status.bundle_digest,
            },
        })
    }
}

/// The statuses of a namespace's policies that differ from what is written.
pub(super) fn updates<'a>(
    plan: &'a Plan,
    applied: &Applied,
    replicas: &Replicas,
    now: Timestamp,
) -> Vec<Update<'a>> {
    let tally = applied
        .digest
        .as_ref()
        .map(|d| replicas.tally(&plan.bundle.namespace, d));
    plan.verdicts
        .iter()
        .filter_map(|verdict| update(verdict, applied, tally, now))
        .collect()
}

fn update<'a>(
    verdict: &'a Verdict,
    applied: &Applied,
    tally: Option<Tally>,
    now: Timestamp,
) -> Option<Update<'a>> {
    let meta = verdict.policy.meta();
    // Of a policy that cannot be read the old status cannot be read either. Written with a time that never
    // changes, the same status is the same bytes, which the API server does not store again.
    let (before, now, readable) = match &verdict.policy.0 {
        Ok(policy) => (policy.status.clone().unwrap_or_default(), now, true),
        Err(_) => {
            let created = meta
                .creation_timestamp
                .as_ref()
                .map_or(Timestamp::UNIX_EPOCH, |t| t.0);
            (AgentPolicyStatus::default(), created, false)
        }
    };
    let mut status = AgentPolicyStatus {
        conditions: before.conditions.clone(),
        observed_generation: meta.generation,
        bundle_digest: (verdict.runs != Runs::Nothing)
            .then(|| applied.digest.clone())
            .flatten(),
    };
    for claim in [accepted(verdict), resolved(verdict), programmed(verdict, tally)] {
        set(&mut status.conditions, claim, meta.generation, now);
    }
    if status == before {
        return None;
    }
    let news = if readable {
        news(&before.conditions, &status.conditions)
    } else {
        Vec::new()
    };
    Some(Update {
        policy: &verdict.policy,
        status,
        news,
    })
}

/// A condition without its times.
struct Claim {
    type_: &'static str,
    status: &'static str,
    reason: &'static str,
    message: String,
}

fn accepted(verdict: &Verdict) -> Claim {
    let (status, reason, message) = match &verdict.accepted {
        Accepted::Yes => ("True", "Accepted", compiles(&verdict.idle_selectors)),
        Accepted::Invalid(errors) => (
            "False",
            "Invalid",
            format!("{errors}; {}", in_force(verdict.runs)),
        ),
        Accepted::TooLarge(bytes) => (
            "False",
            "BundleTooLarge",
            format!(
                "with this policy the bundle of its namespace would be {bytes} bytes, and {} fit: split the \
                 agents over several namespaces, or use globs for what rules have in common; {}",
                super::MAX_BUNDLE_BYTES,
                in_force(verdict.runs)
            ),
        ),
    };
    Claim {
        type_: condition::ACCEPTED,
        status,
        reason,
        message,
    }
}

fn compiles(idle_selectors: &[usize]) -> String {
    let mut message = "the policy compiles".to_owned();
    for i in idle_selectors {
        message.push_str(&format!(
            "; spec.agents[{i}].serviceAccount.namespaceSelector matches no namespace now"
        ));
    }
    message
}

fn resolved(verdict: &Verdict) -> Claim {
    let annotate = |annotation: &str, what: &str, until_then: &str| {
        format!(
            "{what} may not be used by this namespace: a cluster administrator permits it by the annotation \
             {annotation} on the namespace; until then {until_then}"
        )
    };
    const REFUSALS: &str = "only what the policy refuses is in force";
    let (status, reason, message) = match &verdict.refs {
        Refs::Resolved => (
            "True",
            "ResolvedRefs",
            "everything it refers to is there and permitted".to_owned(),
        ),
        Refs::IssuerNotPermitted(issuer) => (
            "False",
            "IssuerNotPermitted",
            annotate(
                turnpike_crds::marks::ALLOWED_OIDC_ISSUERS,
                &format!("spec.agents: oidc.issuer {issuer}"),
                "the policy does not select its agents",
            ),
        ),
        Refs::ServiceAccountNotPermitted(email) => (
            "False",
            "ServiceAccountNotPermitted",
            annotate(
                turnpike_crds::marks::ALLOWED_SERVICE_ACCOUNTS,
                &format!("spec.credential.impersonate.serviceAccount: {email}"),
                REFUSALS,
            ),
        ),
        Refs::SecretNotPermitted(name) => (
            "False",
            "SecretNotPermitted",
            annotate(
                turnpike_crds::marks::ALLOWED_KEY_SECRETS,
                &format!("spec.credential.serviceAccountKey.secretRef: Secret {name}"),
                REFUSALS,
            ),
        ),
        Refs::SecretNotOffered(name) => (
            "False",
            "SecretNotPermitted",
            format!(
                "spec.credential.serviceAccountKey.secretRef: Turnpike may not read Secret {name}: add it to \
                 keySecrets in the chart's values"
            ),
        ),
        Refs::SecretNotFound(name) => (
            "False",
            "SecretNotFound",
            format!(
                "spec.credential.serviceAccountKey.secretRef: there is no Secret {name} in Turnpike's \
                 namespace; until there is, calls that this policy lets through fail for want of a credential"
            ),
        ),
        Refs::Unknown => ("Unknown", "Invalid", "the policy cannot be read".to_owned()),
    };
    Claim {
        type_: condition::RESOLVED_REFS,
        status,
        reason,
        message,
    }
}

fn programmed(verdict: &Verdict, tally: Option<Tally>) -> Claim {
    let no = |reason, message| ("False", reason, message);
    let (status, reason, message) = match (&verdict.accepted, verdict.runs, tally) {
        (Accepted::Invalid(_) | Accepted::TooLarge(_), runs, _) => no("NotAccepted", in_force(runs)),
        (Accepted::Yes, Runs::Current(Extent::FULL), Some(Tally { live: 0, .. })) => {
            no("NoReplicas", "no proxy replica is alive".to_owned())
        }
        (Accepted::Yes, Runs::Current(Extent::FULL), Some(Tally { running, live })) if running == live => (
            "True",
            "Programmed",
            "every live proxy replica runs it".to_owned(),
        ),
        (Accepted::Yes, Runs::Current(Extent::FULL), Some(Tally { running, live })) => no(
            "Pending",
            format!("{running} of {live} live proxy replicas run it"),
        ),
        (Accepted::Yes, runs, _) => no("RefsNotResolved", in_force(runs)),
    };
    Claim {
        type_: condition::PROGRAMMED,
        status,
        reason,
        message,
    }
}

fn in_force(runs: Runs) -> String {
    let (mut text, extent) = match runs {
        Runs::Current(extent) if extent.whole => ("it is in force as it stands".to_owned(), extent),
        Runs::Current(extent) => ("only what it refuses is in force".to_owned(), extent),
        Runs::LastGood(generation, extent) if extent.whole => {
            (format!("generation {generation} stays in force"), extent)
        }
        Runs::LastGood(generation, extent) => (
            format!(
                "of generation {generation} only what it refuses stays in force: its credential is not permitted"
            ),
            extent,
        ),
        Runs::Nothing => return "nothing of it is in force".to_owned(),
    };
    if !extent.all_agents {
        text.push_str(", without the agents whose issuer is not permitted");
    }
    text
}

fn set(conditions: &mut Vec<Condition>, claim: Claim, generation: Option<i64>, now: Timestamp) {
    let old = conditions.iter().position(|c| c.type_ == claim.type_);
    let since = old
        .and_then(|i| conditions.get(i))
        .filter(|c| c.status == claim.status);
    let condition = Condition {
        type_: claim.type_.to_owned(),
        status: claim.status.to_owned(),
        reason: claim.reason.to_owned(),
        message: shortened(claim.message),
        observed_generation: generation,
        last_transition_time: since
            .map_or_else(|| Time(whole_second(now)), |c| c.last_transition_time.clone()),
    };
    match old.and_then(|i| conditions.get_mut(i)) {
        Some(there) => *there = condition,
        None => conditions.push(condition),
    }
}

/// What is worth an Event: being taken, or refused in new words; a reference that cannot be used; running
/// everywhere.
fn news(before: &[Condition], after: &[Condition]) -> Vec<News> {
    let mut news = Vec::new();
    for condition in after {
        let old = before.iter().find(|c| c.type_ == condition.type_);
        let turned = old.is_none_or(|c| c.status != condition.status);
        let reworded = old.is_none_or(|c| c.message != condition.message || c.reason != condition.reason);
        let good = condition.status == "True";
        let (told, type_) = match condition.type_.as_str() {
            condition::ACCEPTED => (turned || (!good && reworded), !good),
            condition::RESOLVED_REFS => (condition.status == "False" && (turned || reworded), true),
            condition::PROGRAMMED => (good && turned, false),
            _ => (false, false),
        };
        if told {
            news.push(News {
                event: Event {
                    type_: if type_ {
                        EventType::Warning
                    } else {
                        EventType::Normal
                    },
                    reason: condition.reason.clone(),
                    action: if condition.type_ == condition::PROGRAMMED {
                        "Program"
                    } else {
                        "Compile"
                    },
                    note: condition.message.clone(),
                },
                once_per_generation: condition.type_ == condition::PROGRAMMED,
            });
        }
    }
    news
}

fn shortened(mut message: String) -> String {
    if message.len() > MAX_MESSAGE {
        let end = message.floor_char_boundary(MAX_MESSAGE - '…'.len_utf8());
        message.truncate(end);
        message.push('…');
    }
    message
}

/// Kubernetes writes times of conditions in seconds.
fn whole_second(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}
