//! From the policies of one namespace to its bundle, and to what each policy's status says of it.
//!
//! Steps, each in its own file: *dereference* (what the policies refer to), *plan* (pure: compile, check
//! permissions, build the bundle), *apply* (write the bundle), *status* (pure: conditions and Events). A
//! status is made only from an applied bundle, so that `Programmed` cannot speak of one that is not there.
//!
//! What is strict here, and why:
//! - A policy that does not compile keeps its last good definition, so that a typo opens nothing and closes
//!   nothing.
//! - A policy whose credential its namespace may not use loses that credential at once, and with it every
//!   rule that would let a call through: Allow rules are left out, RequireApproval rules deny. They are not
//!   merely dropped, for that could let another policy's Allow win; and they do not fall back to the
//!   gateway's own credential, for that may be the mightier one.
//! - A policy does not select agents of an OIDC issuer that its namespace may not use; where no agent is left
//!   it is left out. Whoever writes policies of that namespace has no say over those agents, neither to
//!   allow nor to refuse, and a ServiceAccount of its own is the only agent that a namespace owns.
//! - A policy that refers to a missing Secret stays as it is: no call can be made with a key that is not
//!   there, and the agent is told so.

mod apply;
mod dereference;
mod guardrails;
mod in_force;
mod plan;
mod status;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{
    Api, Client, Resource as _, ResourceExt as _,
    api::{Patch, PatchParams},
    core::DeserializeGuard,
    runtime::reflector::ObjectRef,
};
use thiserror::Error;
use turnpike_compiler::PolicyDef;
use turnpike_crds::AgentPolicy;

use crate::{
    FIELD_MANAGER,
    events::Events,
    queue::WorkQueue,
    watch::{Caches, RequestKey},
    worker::{Failure, Next, Reconciler},
};

use guardrails::Guardrails;

pub use apply::bundle_name;
pub(crate) use in_force::InForce;
pub use plan::MAX_BUNDLE_BYTES;

/// A Secret that was missing is looked for again after this time; Secrets are not watched, so that the
/// operator needs no right to list them.
const MISSING_SECRET_CHECK: Duration = Duration::from_secs(30);
/// A Secret that was there is looked for again after this time.
const SECRET_CHECK: Duration = Duration::from_secs(300);

/// While the guardrails do not know a namespace, it is looked this often whether they do.
const GUARDRAILS_CHECK: Duration = Duration::from_millis(20);

/// Reconciles one namespace at a time.
pub(crate) struct PolicyReconciler {
    client: Client,
    /// Turnpike's own namespace.
    namespace: String,
    caches: Caches,
    events: Events,
    in_force: InForce,
    requests: Arc<WorkQueue<RequestKey>>,
    memory: Mutex<HashMap<String, Memory>>,
    guardrails: Guardrails,
}

/// What is remembered of a namespace while this process leads.
#[derive(Debug, Default)]
struct Memory {
    /// The definitions of the bundle that was written last, by the policy's UID.
    last_good: LastGood,
    /// The generations whose `Programmed` Event was published, by UID: a sibling's change makes a policy's
    /// condition flicker, which is no news.
    announced: HashMap<String, i64>,
}

/// Definitions that were in force before, by the policy's UID.
type LastGood = BTreeMap<String, PolicyDef>;

/// Why a namespace could not be brought in line.
#[derive(Debug, Error)]
pub(crate) enum PolicyError {
    /// A Secret could not be looked up.
    #[error("cannot look up Secret {name}")]
    Secret {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: kube::Error,
    },
    /// The bundle could not be written.
    #[error("cannot write ConfigMap {name}")]
    WriteBundle {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: kube::Error,
    },
    /// A ConfigMap could not be deleted.
    #[error("cannot delete ConfigMap {name}")]
    DeleteBundle {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: kube::Error,
    },
    /// The status of a policy could not be written.
    #[error("cannot write the status of AgentPolicy {name}")]
    WriteStatus {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: kube::Error,
    },
}

impl Failure for PolicyError {
    fn label(&self) -> &'static str {
        match self {
            Self::Secret { .. } => "secret",
            Self::WriteBundle { .. } => "write_bundle",
            Self::DeleteBundle { .. } => "delete_bundle",
            Self::WriteStatus { .. } => "write_status",
        }
    }

    fn is_conflict(&self) -> bool {
        matches!(self, Self::WriteStatus { source: kube::Error::Api(status), .. } if status.code == 409)
    }
}

impl PolicyReconciler {
    /// Policies that are written go into `in_force`, and the approval requests that they concern into `requests`.
    pub(crate) fn new(
        client: Client,
        namespace: &str,
        caches: Caches,
        events: Events,
        in_force: InForce,
        requests: Arc<WorkQueue<RequestKey>>,
    ) -> Self {
        Self {
            client,
            namespace: namespace.to_owned(),
            caches,
            events,
            in_force,
            requests,
            memory: Mutex::default(),
            guardrails: Guardrails::default(),
        }
    }

    /// Whether the namespace's bundle has to wait for that of the guardrails, which knows it not, or not as it is.
    fn waits_for_guardrails(&self, namespace: &str) -> bool {
        if namespace == self.namespace || !self.caches.select_namespaces(&self.namespace) {
            return false;
        }
        let object = self.caches.namespaces.get(&ObjectRef::new(namespace));
        object.is_some_and(|n| self.guardrails.are_behind(namespace, n.labels(), Instant::now()))
    }

    fn memory(&self) -> MutexGuard<'_, HashMap<String, Memory>> {
        // Entries are replaced whole.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The definitions in force before: remembered, or read from the bundle when this process has just
    /// become the leader.
    fn last_good(&self, inputs: &dereference::Inputs) -> LastGood {
        match self.memory().get(&inputs.namespace) {
            Some(memory) => memory.last_good.clone(),
            None => apply::read(inputs.current.as_deref(), &inputs.namespace),
        }
    }

    fn remember(&self, namespace: &str, plan: &plan::Plan) {
        let mut all = self.memory();
        if plan.verdicts.is_empty() && plan.bundle.policies.is_empty() {
            all.remove(namespace);
            return;
        }
        let memory = all.entry(namespace.to_owned()).or_default();
        memory.last_good = plan
            .bundle
            .policies
            .iter()
            .map(|p| (p.uid.clone(), p.clone()))
            .collect();
        let present = |uid: &str| {
            plan.verdicts
                .iter()
                .any(|v| v.policy.uid().as_deref() == Some(uid))
        };
        memory.announced.retain(|uid, _| present(uid));
    }

    /// Whether `Programmed` of this generation is news; from then on it is not.
    fn announce(&self, namespace: &str, uid: &str, generation: i64) -> bool {
        let mut all = self.memory();
        let announced = &mut all.entry(namespace.to_owned()).or_default().announced;
        announced.insert(uid.to_owned(), generation) != Some(generation)
    }

    async fn write_status(&self, namespace: &str, update: status::Update<'_>) -> Result<(), PolicyError> {
        let policies: Api<DeserializeGuard<AgentPolicy>> = Api::namespaced(self.client.clone(), namespace);
        let name = update.policy.name_any();
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        match policies
            .patch_status(&name, &params, &Patch::Merge(update.patch()))
            .await
        {
            Ok(_) => {}
            // Deleted meanwhile: nobody reads its status.
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
            Err(source) => return Err(PolicyError::WriteStatus { name, source }),
        }
        for news in update.news {
            let known = news.once_per_generation.then(|| update.policy.uid()).flatten();
            let generation = update.policy.meta().generation;
            if let (Some(uid), Some(generation)) = (known, generation)
                && !self.announce(namespace, &uid, generation)
            {
                continue;
            }
            self.events.publish(&**update.policy, news.event);
        }
        Ok(())
    }
}

impl Reconciler for PolicyReconciler {
    type Key = String;
    type Error = PolicyError;
    const KIND: &'static str = "policies";

    async fn reconcile(&self, namespace: &String) -> Result<Next, PolicyError> {
        if self.waits_for_guardrails(namespace) {
            return Ok(Next::After(GUARDRAILS_CHECK));
        }
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let bundles: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);

        let inputs = dereference::dereference(namespace, &self.namespace, &self.caches, &secrets).await?;
        let last_good = self.last_good(&inputs);
        let plan = plan::plan(&inputs, &last_good, &self.namespace);
        let applied = apply::apply(&bundles, &plan, &inputs).await?;
        self.remember(namespace, &plan);
        if self.in_force.written(namespace, &plan.bundle.policies) {
            // What their policies asked for may not be what they ask for now.
            let concerned = self.caches.requests_of(namespace);
            concerned.into_iter().for_each(|key| self.requests.add(key));
        }
        if *namespace == self.namespace {
            self.guardrails.written(inputs.namespaces.clone());
        }

        let replicas = self.caches.replicas.borrow().clone();
        let updates = status::updates(&plan, &applied, &replicas, Timestamp::now());
        // One policy whose status cannot be written does not keep the others from theirs.
        let mut first_error = None;
        for update in updates {
            if let Err(error) = self.write_status(namespace, update).await {
                first_error.get_or_insert(error);
            }
        }
        match first_error {
            Some(error) => Err(error),
            None => Ok(next_look(&inputs)),
        }
    }
}

fn next_look(inputs: &dereference::Inputs) -> Next {
    if inputs.secrets.is_empty() {
        Next::Change
    } else if inputs.secrets.values().all(|s| *s == dereference::Lookup::Found) {
        Next::After(SECRET_CHECK)
    } else {
        Next::After(MISSING_SECRET_CHECK)
    }
}

/// A policy as it came, whether it has the form of its type or not.
type AnyPolicy = Arc<DeserializeGuard<AgentPolicy>>;
