//! Classes of agents: two agents are in one class if the same policies select them.
//!
//! ServiceAccounts are told apart by the namespaces and names that policies speak of. Of OIDC tokens, those are
//! looked at that fit one selector, and those that fit two; tokens that fit three at once, and no two policies of
//! these alone, are not.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;

use crate::{
    caller::{Caller, Identity},
    definition::AgentMatch,
    set::{PolicySet, selects},
};

/// Agents that the same policies select.
#[derive(Debug, Clone)]
pub struct AgentClass {
    /// Who they are, for people: `agents/coder`, `agents/*` for all others of a namespace.
    pub names: Vec<String>,
    /// One of them.
    pub caller: Caller,
    /// The policies that select them, of the old side: indices in it.
    pub(super) old: Vec<usize>,
    /// The same of the new side.
    pub(super) new: Vec<usize>,
}

/// The policies of each side that select a caller.
pub(super) fn selecting(old: &PolicySet, new: &PolicySet, caller: &Caller) -> (Vec<usize>, Vec<usize>) {
    let of = |set: &PolicySet| {
        let policies = set.policies().iter().enumerate();
        let selected = policies.filter(|(_, policy)| selects(policy, caller));
        selected.map(|(at, _)| at).collect()
    };
    (of(old), of(new))
}

/// All classes that some policy selects.
pub(super) fn classes(old: &PolicySet, new: &PolicySet) -> Vec<AgentClass> {
    let mut classes: Vec<AgentClass> = Vec::new();
    let mut known: FxHashMap<(Vec<usize>, Vec<usize>), usize> = FxHashMap::default();
    for (name, caller, general) in candidates(old, new) {
        let selected = selecting(old, new, &caller);
        if selected.0.is_empty() && selected.1.is_empty() {
            continue;
        }
        match known.get(&selected).and_then(|at| classes.get_mut(*at)) {
            None => {
                known.insert(selected.clone(), classes.len());
                classes.push(AgentClass {
                    names: vec![name],
                    caller,
                    old: selected.0,
                    new: selected.1,
                });
            }
            // A name that stands for this one says it already.
            Some(class) if general.iter().any(|g| class.names.contains(g)) => {}
            Some(class) => class.names.push(name),
        }
    }
    classes
}

/// Agents to look at, the most general first: a name, one of them, and the names that would stand for it too.
fn candidates(old: &PolicySet, new: &PolicySet) -> Vec<(String, Caller, Vec<String>)> {
    let agents = || {
        let policies = old.policies().iter().chain(new.policies());
        policies.flat_map(|policy| &policy.agents)
    };
    let mut exact: BTreeSet<(&str, &str)> = BTreeSet::new();
    let mut namespaces: BTreeSet<&str> = BTreeSet::new();
    let mut names: BTreeSet<&str> = BTreeSet::new();
    let mut issuers: BTreeMap<&str, Vec<&AgentMatch>> = BTreeMap::new();
    for agent in agents() {
        match agent {
            AgentMatch::ServiceAccount { namespace, name } => match (namespace, name) {
                (Some(namespace), Some(name)) => {
                    exact.insert((namespace, name));
                }
                (Some(namespace), None) => {
                    namespaces.insert(namespace);
                }
                (None, Some(name)) => {
                    names.insert(name);
                }
                (None, None) => {}
            },
            AgentMatch::Namespaces {
                namespaces: some,
                name: Some(name),
            } => exact.extend(some.iter().map(|namespace| (namespace.as_str(), name.as_str()))),
            AgentMatch::Namespaces {
                namespaces: some,
                name: None,
            } => namespaces.extend(some.iter().map(String::as_str)),
            AgentMatch::Oidc { issuer, .. } => {
                let selectors = issuers.entry(issuer).or_default();
                if !selectors.contains(&agent) {
                    selectors.push(agent);
                }
            }
        }
    }
    let other_namespace = unused(
        "other-namespace",
        namespaces.iter().copied().chain(exact.iter().map(|(ns, _)| *ns)),
    );
    let other_name = unused(
        "other-agent",
        names.iter().copied().chain(exact.iter().map(|(_, name)| *name)),
    );

    let everybody = "*/*".to_owned();
    let mut found = vec![(
        everybody.clone(),
        account(&other_namespace, &other_name),
        Vec::new(),
    )];
    for namespace in &namespaces {
        found.push((
            format!("{namespace}/*"),
            account(namespace, &other_name),
            vec![everybody.clone()],
        ));
    }
    for name in &names {
        found.push((
            format!("*/{name}"),
            account(&other_namespace, name),
            vec![everybody.clone()],
        ));
    }
    let crossed = namespaces
        .iter()
        .flat_map(|namespace| names.iter().map(|name| (*namespace, *name)));
    let all: BTreeSet<(&str, &str)> = exact.iter().copied().chain(crossed).collect();
    for (namespace, name) in all {
        let general = vec![everybody.clone(), format!("{namespace}/*"), format!("*/{name}")];
        found.push((format!("{namespace}/{name}"), account(namespace, name), general));
    }
    for selectors in issuers.values() {
        found.extend(selectors.iter().filter_map(|s| token(&[s])));
        for (at, first) in selectors.iter().enumerate() {
            let later = selectors.iter().skip(at + 1);
            found.extend(later.filter_map(|second| token(&[first, second])));
        }
    }
    found
}

/// A name that nothing in use has.
fn unused<'a>(wanted: &str, used: impl Iterator<Item = &'a str> + Clone) -> String {
    let mut name = wanted.to_owned();
    while used.clone().any(|u| u == name) {
        name.push_str("-x");
    }
    name
}

fn account(namespace: &str, name: &str) -> Caller {
    Caller {
        identity: Identity::ServiceAccount {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        },
        issuer: String::new(),
        session: format!("{namespace}/{name}"),
        pod: None,
    }
}

/// A token that fits all selectors, which are of one issuer; `None` where none can.
fn token(selectors: &[&AgentMatch]) -> Option<(String, Caller, Vec<String>)> {
    let mut of: Option<&str> = None;
    let mut wanted: Option<&str> = None;
    let mut audiences: BTreeSet<&str> = BTreeSet::new();
    let mut all: BTreeMap<&str, &str> = BTreeMap::new();
    for selector in selectors {
        let AgentMatch::Oidc {
            issuer,
            audience,
            subject,
            claims,
        } = selector
        else {
            return None;
        };
        of = Some(issuer);
        audiences.insert(audience);
        if let Some(subject) = subject
            && wanted.replace(subject).is_some_and(|other| other != subject)
        {
            return None;
        }
        for (claim, value) in claims {
            if all.insert(claim, value).is_some_and(|other| other != value) {
                return None;
            }
        }
    }
    let issuer = of?;
    let mut name = match wanted {
        Some(subject) => format!("{subject} of {issuer}"),
        None => format!("a holder of a token of {issuer}"),
    };
    for (claim, value) in &all {
        name.push_str(&format!(", {claim}={value}"));
    }
    if audiences.iter().any(|audience| *audience != "turnpike") {
        let listed: Vec<&str> = audiences.iter().copied().collect();
        name.push_str(&format!(", for {}", listed.join(" and ")));
    }
    let subject = wanted.unwrap_or("somebody").to_owned();
    let caller = Caller {
        issuer: issuer.to_owned(),
        session: subject.clone(),
        pod: None,
        identity: Identity::Oidc {
            issuer: issuer.to_owned(),
            subject,
            audiences: audiences.into_iter().map(str::to_owned).collect(),
            claims: all
                .into_iter()
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .collect(),
        },
    };
    Some((name, caller, Vec::new()))
}
