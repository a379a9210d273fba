//! The policies in force, swapped whole.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use turnpike_compiler::{Bundle, PolicyDef, approval::Found};
use turnpike_policy::PolicySet;

/// A set and what it was made of.
#[derive(Debug)]
pub struct InForce {
    /// The compiled set.
    pub set: Arc<PolicySet>,
    /// Digest over all bundles.
    pub digest: Arc<str>,
}

/// Bundles by namespace, and the set that they make together.
#[derive(Debug)]
pub struct Policies {
    now: ArcSwap<InForce>,
    bundles: Mutex<BTreeMap<String, Running>>,
    running: watch::Sender<BTreeMap<String, String>>,
    alarms: watch::Sender<()>,
}

#[derive(Debug, Clone)]
struct Running {
    digest: String,
    policies: Vec<PolicyDef>,
}

impl Default for Policies {
    fn default() -> Self {
        let nothing = InForce {
            set: Arc::new(PolicySet::deny_all()),
            digest: Arc::from("none"),
        };
        Self {
            now: ArcSwap::from_pointee(nothing),
            bundles: Mutex::default(),
            running: watch::Sender::new(BTreeMap::new()),
            alarms: watch::Sender::new(()),
        }
    }
}

impl Policies {
    /// What is in force now.
    pub fn load(&self) -> arc_swap::Guard<Arc<InForce>> {
        self.now.load()
    }

    /// Takes these bundles for the namespaces they are for, removes those of namespaces that are gone, and
    /// puts the whole into force at once. Tells how many policies there are then.
    pub fn update(&self, changed: Vec<Bundle>, gone: &[String]) -> usize {
        let mut bundles = self.bundles.lock().unwrap_or_else(PoisonError::into_inner);
        for bundle in changed {
            let digest = bundle.digest();
            bundles.insert(
                bundle.namespace,
                Running {
                    digest,
                    policies: bundle.policies,
                },
            );
        }
        for namespace in gone {
            bundles.remove(namespace);
        }
        let policies: Vec<PolicyDef> = bundles
            .values()
            .flat_map(|r| r.policies.iter().cloned())
            .collect();
        let count = policies.len();
        let mut hash = Sha256::new();
        for (namespace, running) in bundles.iter() {
            hash.update(format!("{namespace} {}\n", running.digest));
        }
        let digest: String = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
        let set = Arc::new(PolicySet::new(policies));
        let suspends = set.suspends();
        self.now.store(Arc::new(InForce {
            set,
            digest: Arc::from(format!("sha256:{digest}")),
        }));
        // Told only after the set is in force: who reads it may rely on it.
        if suspends {
            self.alarms.send_replace(());
        }
        self.running.send_replace(
            bundles
                .iter()
                .map(|(n, r)| (n.clone(), r.digest.clone()))
                .collect(),
        );
        count
    }

    /// What is in force of a policy.
    pub fn find(&self, namespace: &str, name: &str) -> Found {
        let now = self.now.load();
        let policies = now.set.policies();
        match policies
            .iter()
            .find(|p| p.namespace == namespace && p.name == name)
        {
            Some(policy) => Found::At {
                uid: policy.uid.clone(),
                generation: policy.generation,
            },
            None => Found::Gone,
        }
    }

    /// The namespaces that have a bundle, and the digest that is in force for each; changes as they do.
    pub fn running(&self) -> watch::Receiver<BTreeMap<String, String>> {
        self.running.subscribe()
    }
    /// Changes after each change of policies that leaves somebody suspended.
    pub fn alarms(&self) -> watch::Receiver<()> {
        self.alarms.subscribe()
    }
}
