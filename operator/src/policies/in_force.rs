//! Which policies are in force: those of the bundles that this process wrote last. Approval requests are held against
//! them, and not against the AgentPolicies, of which a broken one leaves its last good definition in force.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use turnpike_compiler::{PolicyDef, approval::Found};
use turnpike_crds::PolicyReference;

/// Policies in force, by namespace; of one that was not looked at yet nothing is known.
#[derive(Debug, Clone, Default)]
pub(crate) struct InForce(Arc<Mutex<HashMap<String, Versions>>>);

/// UID and generation by the policy's name.
type Versions = BTreeMap<String, (String, i64)>;

impl InForce {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Versions>> {
        // Entries are replaced whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These are a namespace's policies now. Tells whether they are others than before.
    pub(super) fn written(&self, namespace: &str, policies: &[PolicyDef]) -> bool {
        let version = |p: &PolicyDef| (p.name.clone(), (p.uid.clone(), p.generation));
        let now: Versions = policies.iter().map(version).collect();
        let mut all = self.lock();
        let changed = all.get(namespace) != Some(&now);
        all.insert(namespace.to_owned(), now);
        changed
    }

    /// What a policy that asked for an approval is now.
    pub(crate) fn find(&self, asked: &PolicyReference) -> Found {
        match self.lock().get(&asked.namespace) {
            None => Found::Unknown,
            Some(versions) => match versions.get(&asked.name) {
                None => Found::Gone,
                Some((uid, generation)) => Found::At {
                    uid: uid.clone(),
                    generation: *generation,
                },
            },
        }
    }
}
