//! A trail, counted by agent, method and resource.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::{
    call::{Call, Scope, Traits},
    definition::Effect,
    whatif::recorded::{Recorded, RecordedAgent, RecordedAnswer},
};

/// What one agent did.
#[derive(Debug)]
pub(super) struct Usage {
    /// The agent.
    pub(super) agent: RecordedAgent,
    /// By method.
    pub(super) methods: BTreeMap<&'static str, OfMethod>,
    /// What was refused: by operation, resource and reason.
    pub(super) refused: BTreeMap<(String, String, String), Seen>,
    /// The credentials that calls were made with.
    pub(super) credentials: BTreeSet<String>,
    /// Namespaces of the policies that decided.
    pub(super) namespaces: BTreeSet<String>,
    /// All calls.
    pub(super) all: Seen,
}

/// How one method was used.
#[derive(Debug)]
pub(super) struct OfMethod {
    /// The API's name.
    pub(super) api: &'static str,
    /// What is known of it.
    pub(super) traits: Traits,
    /// What was let pass or held.
    pub(super) used: BTreeMap<Named, Used>,
    /// What was refused.
    pub(super) refused: BTreeSet<Named>,
    /// What of that policies refused for what they say: a rule, the risk, a secret.
    pub(super) restricted: BTreeSet<Named>,
}

/// Reasons of refusals that stand for a restriction which a policy of rules without conditions would lose.
const RESTRICTIONS: &[&str] = &[
    "BODY_NOT_SCANNABLE",
    "NO_RULE_ALLOWS",
    "RISK_DENIED",
    "RULE_DENIED",
    "SECRET_IN_REQUEST",
];

/// What a call acts on: one resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Named {
    /// Its name; empty where the method names none.
    pub(super) name: String,
    /// Whether the call is about something below it.
    pub(super) below: bool,
}

/// How one resource was used.
#[derive(Debug, Clone)]
pub(super) struct Used {
    /// The calls.
    pub(super) seen: Seen,
    /// Whether one of them was held.
    pub(super) held: bool,
}

/// Some calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    /// How many.
    pub(super) calls: u64,
    /// When the first one was.
    pub(super) first: Timestamp,
    /// When the last one was.
    pub(super) last: Timestamp,
}

impl Seen {
    fn of(recorded: &Recorded) -> Option<Self> {
        Some(Self {
            calls: recorded.count(),
            first: *recorded.times.first()?,
            last: *recorded.times.last()?,
        })
    }

    /// Both.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            calls: self.calls + other.calls,
            first: self.first.min(other.first),
            last: self.last.max(other.last),
        }
    }
}

/// Adds calls to those of a key.
fn add<K: Ord>(to: &mut BTreeMap<K, Seen>, key: K, seen: Seen) {
    to.entry(key)
        .and_modify(|before| *before = before.and(seen))
        .or_insert(seen);
}

/// Counts calls, by agent.
pub(super) fn by_agent(calls: &[Recorded]) -> Vec<Usage> {
    let mut agents: BTreeMap<&RecordedAgent, Usage> = BTreeMap::new();
    for recorded in calls {
        let (Some(agent), Some(seen)) = (&recorded.agent, Seen::of(recorded)) else {
            continue;
        };
        let usage = agents.entry(agent).or_insert_with(|| Usage {
            agent: agent.clone(),
            methods: BTreeMap::new(),
            refused: BTreeMap::new(),
            credentials: BTreeSet::new(),
            namespaces: BTreeSet::new(),
            all: Seen { calls: 0, ..seen },
        });
        usage.all = usage.all.and(seen);
        let policies = recorded.rules.iter().filter_map(|r| r.policy.split_once('/'));
        let namespaces = policies.map(|(namespace, _)| namespace.to_owned());
        usage.namespaces.extend(namespaces);
        usage.credentials.extend(recorded.credential.clone());
        let decided = recorded.decided();
        if recorded.answer == RecordedAnswer::Refused && decided != Some(Effect::RequireApproval) {
            let names: Vec<&str> = recorded.resources().collect();
            let key = (
                recorded.operation.clone(),
                names.join(" and "),
                recorded.reason.clone(),
            );
            add(&mut usage.refused, key, seen);
        }
        for call in &recorded.calls {
            usage.method(
                call,
                decided,
                RESTRICTIONS.contains(&recorded.reason.as_str()),
                seen,
            );
        }
    }
    agents.into_values().collect()
}

impl Usage {
    fn method(&mut self, call: &Call, decided: Option<Effect>, restricted: bool, seen: Seen) {
        let method = self.methods.entry(call.method).or_insert_with(|| OfMethod {
            api: call.api,
            traits: call.traits,
            used: BTreeMap::new(),
            refused: BTreeSet::new(),
            restricted: BTreeSet::new(),
        });
        method.traits |= call.traits;
        let mut named: Vec<Named> = call
            .resources
            .iter()
            .map(|resource| Named {
                name: resource.name.clone(),
                below: resource.scope == Scope::Below,
            })
            .collect();
        if named.is_empty() {
            named.push(Named {
                name: String::new(),
                below: false,
            });
        }
        named.sort();
        named.dedup();
        for named in named {
            let held = match decided {
                Some(Effect::Allow) => false,
                Some(Effect::RequireApproval) => true,
                Some(Effect::Deny) | None => {
                    if restricted {
                        method.restricted.insert(named.clone());
                    }
                    method.refused.insert(named);
                    continue;
                }
            };
            let used = method.used.entry(named).or_insert(Used {
                seen: Seen { calls: 0, ..seen },
                held: false,
            });
            used.seen = used.seen.and(seen);
            used.held |= held;
        }
    }
}
