//! Which labels of namespaces the guardrails in force were made with.
//!
//! A policy of a namespace is not put into force before the guardrails that select by labels know the namespace
//! as it is: one that is applied together with its namespace would be ahead of them. Bundles arrive at the proxies
//! in the order in which they are written. The wait has an early end, because a bundle of guardrails that cannot be
//! written must not keep namespaces from tightening theirs: whoever suspends an agent counts on a second.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use turnpike_compiler::NamespaceLabels;

/// A namespace waits this long at most.
const AT_MOST: Duration = Duration::from_millis(500);

/// What the guardrails know.
#[derive(Debug, Default)]
pub(super) struct Guardrails(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The labels that the bundle of guardrails in force was made with.
    known: NamespaceLabels,
    /// Namespaces that wait, and since when.
    waiting: HashMap<String, Instant>,
}

impl Guardrails {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Entries are replaced whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bundle of guardrails was written with these labels.
    pub(super) fn written(&self, labels: NamespaceLabels) {
        self.lock().known = labels;
    }

    /// Whether a namespace with these labels has to wait for the guardrails.
    pub(super) fn are_behind(
        &self,
        namespace: &str,
        labels: &BTreeMap<String, String>,
        now: Instant,
    ) -> bool {
        let mut state = self.lock();
        if state.known.get(namespace) == Some(labels) {
            state.waiting.remove(namespace);
            return false;
        }
        let since = *state.waiting.entry(namespace.to_owned()).or_insert(now);
        now.saturating_duration_since(since) < AT_MOST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(env: &str) -> BTreeMap<String, String> {
        [("env".to_owned(), env.to_owned())].into()
    }

    #[test]
    fn a_namespace_waits_until_it_is_known_as_it_is_but_not_for_ever() {
        let (guardrails, start) = (Guardrails::default(), Instant::now());
        let behind = |env: &str, after: u64| {
            guardrails.are_behind("a", &labels(env), start + Duration::from_millis(after))
        };
        assert!(behind("dev", 0) && behind("dev", 499));
        guardrails.written([("a".to_owned(), labels("dev"))].into());
        assert!(!behind("dev", 499));
        // Another label is news again, and its wait begins anew.
        assert!(behind("prod", 1000) && behind("prod", 1499));
        assert!(!behind("prod", 1500) && !behind("prod", 9000));
        guardrails.written([("a".to_owned(), labels("prod"))].into());
        assert!(!behind("prod", 9001));
        guardrails.written(NamespaceLabels::new());
        assert!(behind("prod", 9002));
    }
}
