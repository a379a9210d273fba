//! Caches of what the operator looks at, kept by watches, and the keys that each change puts into the queues.
//!
//! An object that does not have the form of its type (written under another version of the definition) is
//! kept as such and reported; it never stops a watch. Keys are added only after the cache has the change.

use std::{collections::BTreeSet, fmt::Debug, hash::Hash, pin::pin, sync::Arc, time::Duration};

use futures::{StreamExt as _, future::join_all};
use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{ConfigMap, Namespace},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    core::DeserializeGuard,
    runtime::{
        WatchStreamExt as _,
        reflector::{self, Store, store::Writer},
        watcher::{self, ExponentialBackoff, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
};
use turnpike_compiler::NamespaceLabels;
use turnpike_crds::{AgentPolicy, ApprovalRequest, marks};

use crate::{
    metrics::Metrics,
    queue::WorkQueue,
    replicas::{self, Affected, Replicas},
    worker::chain,
};

/// Namespace and name of an approval request.
pub(crate) type RequestKey = (String, String);

/// Everything that the operator knows of the cluster.
#[derive(Clone)]
pub(crate) struct Caches {
    pub(crate) policies: Store<DeserializeGuard<AgentPolicy>>,
    pub(crate) namespaces: Store<Namespace>,
    pub(crate) bundles: Store<ConfigMap>,
    pub(crate) leases: Store<Lease>,
    pub(crate) requests: Store<DeserializeGuard<ApprovalRequest>>,
    pub(crate) replicas: watch::Receiver<Replicas>,
}

/// Where changes go.
#[derive(Debug, Clone)]
pub(crate) struct Queues {
    /// Namespaces whose policies, bundle or permissions changed.
    pub(crate) namespaces: Arc<WorkQueue<String>>,
    /// Approval requests that changed.
    pub(crate) requests: Arc<WorkQueue<RequestKey>>,
}

impl Caches {
    /// Starts all watches as tasks of `tasks`; none of them ends.
    pub(crate) fn start(
        client: &Client,
        own_namespace: &str,
        queues: &Queues,
        metrics: &Arc<Metrics>,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let (policies, policies_writer) = reflector::store();
        let (namespaces, namespaces_writer) = reflector::store();
        let (bundles, bundles_writer) = reflector::store();
        let (leases, leases_writer) = reflector::store();
        let (requests, requests_writer) = reflector::store();
        let (replicas_sender, replicas) = watch::channel(Replicas::default());
        let caches = Self {
            policies,
            namespaces,
            bundles,
            leases,
            requests,
            replicas,
        };
        let lease_touched = Arc::new(Notify::new());

        let everything = {
            let (caches, queue) = (caches.clone(), queues.namespaces.clone());
            move || caches.namespaces_in_use().into_iter().for_each(|n| queue.add(n))
        };
        let enqueue = |queue: &Arc<WorkQueue<String>>| {
            let queue = queue.clone();
            move |namespace: Option<String>| namespace.into_iter().for_each(|n| queue.add(n))
        };

        let counting = metrics.clone();
        let namespace_changed = enqueue(&queues.namespaces);
        tasks.spawn(follow(
            "AgentPolicy",
            Api::all(client.clone()),
            None,
            policies_writer,
            metrics.clone(),
            move |policy: &DeserializeGuard<AgentPolicy>| {
                report_unreadable("AgentPolicy", policy, &counting);
                namespace_changed(policy.namespace());
            },
            everything.clone(),
        ));
        let namespace_changed = enqueue(&queues.namespaces);
        let own = own_namespace.to_owned();
        tasks.spawn(follow(
            "Namespace",
            Api::all(client.clone()),
            None,
            namespaces_writer,
            metrics.clone(),
            // Policies of Turnpike's own namespace select namespaces by their labels.
            move |namespace: &Namespace| {
                namespace_changed(Some(own.clone()));
                namespace_changed(Some(namespace.name_any()));
            },
            everything.clone(),
        ));
        let namespace_changed = enqueue(&queues.namespaces);
        tasks.spawn(follow(
            "ConfigMap",
            Api::namespaced(client.clone(), own_namespace),
            Some(marks::BUNDLE_NAMESPACE),
            bundles_writer,
            metrics.clone(),
            move |bundle: &ConfigMap| {
                namespace_changed(bundle.labels().get(marks::BUNDLE_NAMESPACE).cloned())
            },
            everything.clone(),
        ));
        let (touched, relisted) = (lease_touched.clone(), lease_touched.clone());
        tasks.spawn(follow(
            "Lease",
            Api::namespaced(client.clone(), own_namespace),
            Some(marks::PROXY_REPLICA),
            leases_writer,
            metrics.clone(),
            move |_: &Lease| touched.notify_one(),
            move || relisted.notify_one(),
        ));
        let (counting, queue) = (metrics.clone(), queues.requests.clone());
        let (all, all_queue) = (caches.clone(), queues.requests.clone());
        tasks.spawn(follow(
            "ApprovalRequest",
            Api::all(client.clone()),
            None,
            requests_writer,
            metrics.clone(),
            move |request: &DeserializeGuard<ApprovalRequest>| {
                report_unreadable("ApprovalRequest", request, &counting);
                key_of(request).into_iter().for_each(|key| queue.add(key));
            },
            move || all.request_keys().into_iter().for_each(|key| all_queue.add(key)),
        ));
        let (queue, store) = (queues.namespaces.clone(), caches.leases.clone());
        tasks.spawn(replicas::follow(
            move || store.state(),
            lease_touched,
            replicas_sender,
            move |affected| match affected {
                Affected::All => everything(),
                Affected::These(namespaces) => namespaces.into_iter().for_each(|n| queue.add(n)),
            },
        ));
        caches
    }

    /// Waits until every cache was filled once. Never, if a watch cannot start.
    pub(crate) async fn synced(&self) {
        let ready = [
            Box::pin(filled(&self.policies)) as std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
            Box::pin(filled(&self.namespaces)),
            Box::pin(filled(&self.bundles)),
            Box::pin(filled(&self.leases)),
            Box::pin(filled(&self.requests)),
        ];
        join_all(ready).await;
    }

    /// All approval requests.
    pub(crate) fn request_keys(&self) -> Vec<RequestKey> {
        self.requests
            .state()
            .iter()
            .filter_map(|r| key_of(&**r))
            .collect()
    }

    /// The labels of all namespaces.
    pub(crate) fn namespace_labels(&self) -> NamespaceLabels {
        let namespaces = self.namespaces.state();
        namespaces
            .iter()
            .map(|n| (n.name_any(), n.labels().clone()))
            .collect()
    }

    /// Whether policies of Turnpike's own namespace select namespaces by their labels.
    pub(crate) fn select_namespaces(&self, own_namespace: &str) -> bool {
        let by_labels = |p: &AgentPolicy| {
            let mut accounts = p.spec.agents.iter().filter_map(|a| a.service_account.as_ref());
            accounts.any(|a| a.namespace_selector.is_some())
        };
        let policies = self
            .policies
            .state_filter(|p| p.namespace().as_deref() == Some(own_namespace));
        policies.iter().filter_map(|p| p.0.as_ref().ok()).any(by_labels)
    }

    /// The approval requests that policies of a namespace ask for.
    pub(crate) fn requests_of(&self, namespace: &str) -> Vec<RequestKey> {
        let asked = |r: &ApprovalRequest| r.spec.policies.iter().any(|p| p.namespace == namespace);
        let requests = self.requests.state_filter(|r| r.0.as_ref().is_ok_and(asked));
        requests.iter().filter_map(|r| key_of(&**r)).collect()
    }

    /// Namespaces that have policies or a bundle.
    fn namespaces_in_use(&self) -> BTreeSet<String> {
        let with_policies = self
            .policies
            .state()
            .into_iter()
            .filter_map(|p| p.namespace())
            .collect::<Vec<_>>();
        let with_bundle = self
            .bundles
            .state()
            .into_iter()
            .filter_map(|b| b.labels().get(marks::BUNDLE_NAMESPACE).cloned());
        with_policies.into_iter().chain(with_bundle).collect()
    }
}

async fn filled<K>(store: &Store<K>)
where
    K: Resource + Clone + Send + Sync + 'static,
    K::DynamicType: Clone + Eq + Hash + Send + Sync,
{
    if store.wait_until_ready().await.is_err() {
        // The watch is gone, which the process does not survive; it certainly never gets ready.
        std::future::pending::<()>().await;
    }
}

/// Runs one watch for ever. `touched` hears of each changed object, `relisted` of every complete new list.
async fn follow<K>(
    kind: &'static str,
    api: Api<K>,
    label: Option<&str>,
    mut cache: Writer<K>,
    metrics: Arc<Metrics>,
    touched: impl Fn(&K) + Send,
    relisted: impl Fn() + Send,
) where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let mut config = watcher::Config::default();
    if let Some(label) = label {
        config = config.labels(label);
    }
    let backoff = backon::ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(200))
        .with_max_delay(Duration::from_secs(10))
        .with_jitter()
        .without_max_times();
    let mut events = pin!(
        watcher(api, config)
            .modify(|object| object.meta_mut().managed_fields = None)
            .backoff(ExponentialBackoff::from(backoff))
    );
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                cache.apply_watcher_event(&event);
                match &event {
                    watcher::Event::Apply(object) | watcher::Event::Delete(object) => touched(object),
                    watcher::Event::InitDone => relisted(),
                    watcher::Event::Init | watcher::Event::InitApply(_) => {}
                }
            }
            Err(error) => {
                metrics.watch_errors.with_label_values(&[kind]).inc();
                tracing::warn!(kind, error = chain(&error), "watch interrupted; trying again");
            }
        }
    }
}

/// A namespaced object that comes from the API server has both.
fn key_of(request: &impl ResourceExt) -> Option<RequestKey> {
    Some((request.namespace()?, request.meta().name.clone()?))
}

fn report_unreadable<K: Resource<DynamicType = ()>>(
    kind: &'static str,
    object: &DeserializeGuard<K>,
    metrics: &Metrics,
) {
    if let Err(invalid) = &object.0 {
        metrics.unreadable_objects.with_label_values(&[kind]).inc();
        tracing::warn!(
            kind,
            namespace = invalid.metadata.namespace,
            name = invalid.metadata.name,
            error = invalid.error,
            "object does not have the form of its type"
        );
    }
}
