//! What policies say besides rules, as text by its field: what is compared field by field.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::{
    definition::{
        AgentMatch, ApprovalDef, CredentialDef, CredentialSource, DEFAULT_SCOPE, Effect, HoldEnd, Mode,
        PolicyDef, Quorum,
    },
    set::PolicySet,
};

/// A field that differs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Setting {
    /// `NAMESPACE/NAME` of the policy.
    pub policy: String,
    /// The field, such as `spec.risk.denyAbove`.
    pub field: String,
    /// What the old side says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What the new side says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// All fields that differ, sorted.
pub(super) fn differences(old: &PolicySet, new: &PolicySet) -> Vec<Setting> {
    let by_name = |set: &PolicySet| -> BTreeMap<String, BTreeMap<String, String>> {
        let policies = set.policies().iter();
        policies
            .map(|policy| (format!("{}/{}", policy.namespace, policy.name), fields(policy)))
            .collect()
    };
    let (old, new) = (by_name(old), by_name(new));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let nothing = BTreeMap::new();
    let mut found = Vec::new();
    for policy in names {
        let before = old.get(policy).unwrap_or(&nothing);
        let after = new.get(policy).unwrap_or(&nothing);
        let fields: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        for field in fields {
            let (from, to) = (before.get(field), after.get(field));
            if from != to {
                found.push(Setting {
                    policy: policy.clone(),
                    field: field.clone(),
                    from: from.cloned(),
                    to: to.cloned(),
                });
            }
        }
    }
    found
}

/// All that a policy says besides its rules' effects.
fn fields(policy: &PolicyDef) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    let mut say = |field: &str, text: Option<String>| {
        if let Some(text) = text {
            fields.insert(field.to_owned(), text);
        }
    };
    say("policy", Some("exists".to_owned()));
    let mode = match policy.mode {
        Mode::Enforce => "Enforce",
        Mode::DryRun => "DryRun: decides nothing",
    };
    say("spec.mode", Some(mode.to_owned()));
    let agents: BTreeSet<String> = policy.agents.iter().map(agent).collect();
    say("spec.agents", Some(joined(agents)));
    say(
        "spec.suspend",
        policy
            .suspend
            .then(|| "true: every call of its agents is refused".to_owned()),
    );
    let credential = policy.credential.as_deref().map(credential_words);
    say("spec.credential", credential);
    if let Some(risk) = &policy.risk {
        say(
            "spec.risk.approveAbove",
            risk.approve_above.map(|p| p.to_string()),
        );
        say("spec.risk.denyAbove", risk.deny_above.map(|p| p.to_string()));
        for (name, points) in &risk.weights {
            say(&format!("spec.risk.weights.{name}"), Some(points.to_string()));
        }
        for factor in &risk.factors {
            let text = format!("{} points when {}", factor.points, factor.when);
            say(&format!("spec.risk.factors[{}]", factor.name), Some(text));
        }
        say("spec.risk.approval", approval(&risk.approval));
    }
    let limits = policy.limits;
    say(
        "spec.limits.callsPerMinute",
        limits.calls_per_minute.map(|n| n.to_string()),
    );
    say(
        "spec.limits.changesPerHour",
        limits.changes_per_hour.map(|n| n.to_string()),
    );
    say("spec.limits.heldCalls", limits.held_calls.map(|n| n.to_string()));
    say(
        "spec.limits.bytesOutPerHour",
        limits.bytes_out_per_hour.map(|n| n.to_string()),
    );
    if let Some(outbound) = &policy.outbound {
        say(
            "spec.secrets.requests",
            Some(effect(outbound.requests).to_owned()),
        );
        say(
            "spec.secrets.unscannable",
            Some(effect(outbound.unscannable).to_owned()),
        );
        say("spec.secrets.approval", approval(&outbound.approval));
        for detector in &outbound.detectors {
            let mut text = format!("/{}/", detector.pattern);
            if !detector.keywords.is_empty() {
                text.push_str(&format!(" near {}", detector.keywords.join(", ")));
            }
            say(&format!("spec.secrets.detectors[{}]", detector.name), Some(text));
        }
    }
    let masks: BTreeSet<String> = policy
        .masks
        .iter()
        .map(|mask| {
            let methods: Vec<&str> = mask.methods.iter().map(|m| m.as_str()).collect();
            let paths: Vec<&str> = mask.paths.iter().map(|p| p.as_str()).collect();
            format!("{} of {} as {}", paths.join(" "), methods.join(" "), mask.kind)
        })
        .collect();
    say("spec.secrets.fields", (!masks.is_empty()).then(|| joined(masks)));
    let kept = policy
        .record_bodies
        .map(|r| format!("bodies are kept for {}", span(r.keep_ms)));
    say("spec.recording", kept);
    for rule in &policy.rules {
        if rule.effect == Effect::RequireApproval {
            say(
                &format!("spec.rules[{}].approval", rule.name),
                approval(&rule.approval),
            );
        }
        say(
            &format!("spec.rules[{}].message", rule.name),
            rule.message.clone(),
        );
    }
    fields
}

fn joined(texts: BTreeSet<String>) -> String {
    texts.into_iter().collect::<Vec<_>>().join("; ")
}

/// Agents, as people write them.
fn agent(agent: &AgentMatch) -> String {
    match agent {
        AgentMatch::ServiceAccount { namespace, name } => {
            let part = |part: &Option<String>| part.clone().unwrap_or_else(|| "*".to_owned());
            format!("{}/{}", part(namespace), part(name))
        }
        AgentMatch::Namespaces { namespaces, name } => {
            let listed: Vec<&str> = namespaces.iter().map(String::as_str).collect();
            let name = name.as_deref().unwrap_or("*");
            format!("{name} of the selected namespaces ({})", listed.join(", "))
        }
        AgentMatch::Oidc {
            issuer,
            audience,
            subject,
            claims,
        } => {
            let mut text = format!("tokens of {issuer} for {audience}");
            if let Some(subject) = subject {
                text.push_str(&format!(", subject {subject}"));
            }
            for (claim, value) in claims {
                text.push_str(&format!(", {claim}={value}"));
            }
            text
        }
    }
}

fn effect(effect: Effect) -> &'static str {
    match effect {
        Effect::Allow => "Allow",
        Effect::RequireApproval => "RequireApproval",
        Effect::Deny => "Deny",
    }
}

/// A credential in words, which are equal for equal ones; `None` for the gateway's own.
pub(super) fn credential_text(credential: &CredentialDef) -> Option<String> {
    (*credential != CredentialDef::default()).then(|| credential_words(credential))
}

fn credential_words(credential: &CredentialDef) -> String {
    let mut text = match &credential.source {
        CredentialSource::Ambient => "ambient".to_owned(),
        CredentialSource::Key { secret, key } => format!("key {secret}/{key}"),
    };
    if let Some(impersonate) = &credential.impersonate {
        text.push_str(&format!(" impersonating {}", impersonate.service_account));
        if !impersonate.delegates.is_empty() {
            text.push_str(&format!(" by way of {}", impersonate.delegates.join(", ")));
        }
    }
    if credential.scopes != [DEFAULT_SCOPE] {
        text.push_str(&format!(" with scopes {}", credential.scopes.join(" ")));
    }
    text
}

/// What an approval takes, where it is not the usual.
fn approval(asked: &ApprovalDef) -> Option<String> {
    if *asked == ApprovalDef::default() {
        return None;
    }
    let mut text = format!(
        "held for {}, expires after {}",
        span(asked.hold_for_ms),
        span(asked.expires_after_ms)
    );
    if asked.on_hold_end == HoldEnd::Retry {
        text.push_str(", then to be tried again");
    }
    let quorum = &asked.quorum;
    if *quorum != Quorum::default() {
        text.push_str(&format!(", {} approval(s)", quorum.approvals));
        let among: Vec<String> = quorum
            .users
            .iter()
            .cloned()
            .chain(quorum.groups.iter().map(|group| format!("group {group}")))
            .collect();
        if !among.is_empty() {
            text.push_str(&format!(" by {}", among.join(", ")));
        }
        if quorum.distinct_groups {
            text.push_str(", each of another group");
        }
    }
    Some(text)
}

/// Milliseconds in the largest unit that says them whole.
fn span(ms: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    UNITS
        .iter()
        .find(|(unit, _)| ms >= *unit && ms.is_multiple_of(*unit))
        .map_or_else(
            || format!("{ms}ms"),
            |(unit, name)| format!("{}{name}", ms / unit),
        )
}
