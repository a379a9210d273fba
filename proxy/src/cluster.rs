//! Cluster mode: bundles from ConfigMaps, approval requests and tokens by the API server, and a Lease that
//! says which bundles this replica runs.
//!
//! With the API server gone, the last good bundles keep working; watches are opened again and again.

mod replicas;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use futures::{StreamExt, future::BoxFuture};
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        coordination::v1::{Lease, LeaseSpec},
        core::v1::{ConfigMap, Secret},
    },
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, Patch, PatchParams},
    core::ResourceExt,
    runtime::{WatchStreamExt, watcher},
};
use prometheus::Registry;
use secrecy::SecretString;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use turnpike_compiler::Bundle;
use turnpike_crds::marks;

use crate::{
    config::Config,
    credential::KeyStore,
    gate::{
        cluster::{self, KubeStore},
        hub::Hub,
    },
    identity::TokenReviewer,
    journey::ApproveHint,
    limits::Ledger,
    metrics::Metrics,
    policies::Policies,
    server::{self, Parts},
    tls::Authority,
};

/// Key of a bundle in its ConfigMap.
const BUNDLE_KEY: &str = "bundle.json";
const LEASE_SECONDS: i32 = 15;
const RENEW: Duration = Duration::from_secs(5);
const FIELD_MANAGER: &str = "turnpike-proxy";
const LEARN_KEYS: Duration = Duration::from_secs(600);
const LEARN_KEYS_AGAIN: Duration = Duration::from_secs(5);

/// Runs in a cluster until it is told to stop.
///
/// # Errors
/// When the configuration is wrong, or a file, port or client is not to be had.
pub async fn run(
    path: &Path,
    namespace: String,
    replica: String,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let config = Config::read(path)?;
    anyhow::ensure!(
        config.namespaces.is_empty(),
        "{}: namespaces: is for standalone mode alone; in a cluster the labels of namespaces are the cluster's",
        path.display()
    );
    let authority = Authority::load_or_create(&config.ca_dir, &config.domains)?;
    let client = Client::try_default().await.context("the Kubernetes client")?;
    let registry = Registry::new();
    let metrics = Arc::new(Metrics::register(&registry)?);
    let policies = Arc::new(Policies::default());
    let (tell_ready, ready) = watch::channel(false);
    let hub = Arc::new(Hub::default());
    let reviewer = Arc::new(TokenReviewer::new(client.clone(), config.audience.clone()));

    let bundles = Bundles {
        policies: policies.clone(),
        metrics: metrics.clone(),
        ready: tell_ready,
    };
    tokio::spawn(bundles.watch(Api::namespaced(client.clone(), &namespace)));
    tokio::spawn(cluster::watch(client.clone(), hub.clone()));
    tokio::spawn(learn_keys(reviewer.clone()));
    let ledger = Arc::<Ledger>::default();
    tokio::spawn(replicas::follow(
        Api::namespaced(client.clone(), &namespace),
        lease_name(&replica),
        ledger.clone(),
        metrics.clone(),
    ));
    let lease = tokio::spawn(report(
        Api::namespaced(client.clone(), &namespace),
        replica.clone(),
        policies.running(),
        ready.clone(),
        stop.clone(),
    ));
    let parts = Parts {
        replica,
        authority,
        policies,
        ready,
        approvals: Arc::new(KubeStore::new(client.clone())),
        hub,
        reviewer: Some(reviewer),
        keys: Arc::new(KubeKeys {
            api: Api::namespaced(client, &namespace),
        }),
        approve_hint: ApproveHint::Cluster,
        ledger,
        metrics,
        registry,
    };
    let served = server::run(config, parts, stop.clone()).await;
    // Whatever ended the server ends the Lease too.
    stop.cancel();
    lease.await.context("the Lease")?;
    served
}

/// Keeps the cluster's own key set at hand for the time when the API server does not answer.
async fn learn_keys(reviewer: Arc<TokenReviewer>) {
    loop {
        let wait = match reviewer.learn_keys().await {
            Ok(()) => LEARN_KEYS,
            Err(error) => {
                tracing::warn!(%error, "cannot read the cluster's key set; without it tokens need the API server");
                LEARN_KEYS_AGAIN
            }
        };
        tokio::time::sleep(wait).await;
    }
}

/// Puts bundles into force as they change.
struct Bundles {
    policies: Arc<Policies>,
    metrics: Arc<Metrics>,
    ready: watch::Sender<bool>,
}

impl Bundles {
    async fn watch(self, api: Api<ConfigMap>) {
        let config = watcher::Config::default().labels(marks::BUNDLE_NAMESPACE);
        let mut events = std::pin::pin!(watcher(api, config).backoff(cluster::reopening()));
        let mut listed: Vec<ConfigMap> = Vec::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(watcher::Event::Init) => listed.clear(),
                Ok(watcher::Event::InitApply(map)) => listed.push(map),
                Ok(watcher::Event::InitDone) => {
                    self.replace(std::mem::take(&mut listed));
                    self.ready.send_replace(true);
                }
                Ok(watcher::Event::Apply(map)) => {
                    if let Some(bundle) = self.read(&map) {
                        self.take(vec![bundle], &[]);
                    }
                }
                Ok(watcher::Event::Delete(map)) => {
                    if let Some(namespace) = map.labels().get(marks::BUNDLE_NAMESPACE) {
                        self.take(Vec::new(), std::slice::from_ref(namespace));
                    }
                }
                Err(error) => tracing::warn!(%error, "the watch on bundles broke off; it is opened again"),
            }
        }
    }

    /// These are all bundles there are. A namespace whose bundle cannot be read keeps its last good one.
    fn replace(&self, maps: Vec<ConfigMap>) {
        let named: BTreeSet<String> = maps
            .iter()
            .filter_map(|m| m.labels().get(marks::BUNDLE_NAMESPACE).cloned())
            .collect();
        let bundles = maps.iter().filter_map(|m| self.read(m)).collect();
        let running = self.policies.running().borrow().clone();
        let gone: Vec<String> = running.into_keys().filter(|n| !named.contains(n)).collect();
        self.take(bundles, &gone);
    }

    fn take(&self, bundles: Vec<Bundle>, gone: &[String]) {
        let count = self.policies.update(bundles, gone);
        self.metrics.policies_taken(count);
        tracing::info!(policies = count, "policies are in force");
    }

    fn read(&self, map: &ConfigMap) -> Option<Bundle> {
        let read = || {
            let namespace = map
                .labels()
                .get(marks::BUNDLE_NAMESPACE)
                .ok_or("its label is gone")?;
            let text = map
                .data
                .as_ref()
                .and_then(|d| d.get(BUNDLE_KEY))
                .ok_or("it holds no bundle.json")?;
            let bundle = Bundle::from_json(text).map_err(|e| e.to_string())?;
            if bundle.namespace != *namespace {
                return Err(format!(
                    "its label says {namespace} and its bundle {}",
                    bundle.namespace
                ));
            }
            Ok(bundle)
        };
        match read() {
            Ok(bundle) => Some(bundle),
            Err(error) => {
                self.metrics.policies_refused();
                tracing::error!(
                    config_map = map.name_any(),
                    error,
                    "a bundle cannot be used; the last good one stays"
                );
                None
            }
        }
    }
}

/// Renews this replica's Lease with the digests that are in force: when they change, and often enough that
/// it does not lapse. At the end it is let lapse at once.
async fn report(
    api: Api<Lease>,
    replica: String,
    mut running: watch::Receiver<BTreeMap<String, String>>,
    mut ready: watch::Receiver<bool>,
    stop: CancellationToken,
) {
    // A replica without policies is none yet.
    tokio::select! {
        () = stop.cancelled() => return,
        seen = ready.wait_for(|r| *r) => if seen.is_err() { return },
    }
    let mut ended = false;
    loop {
        let digests = running.borrow_and_update().clone();
        let seconds = if ended { 1 } else { LEASE_SECONDS };
        match tokio::time::timeout(RENEW, renew(&api, &replica, &digests, seconds)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "cannot renew the Lease of this replica"),
            Err(_) => {
                tracing::warn!("the API server does not answer; the Lease of this replica is not renewed")
            }
        }
        if ended {
            return;
        }
        tokio::select! {
            () = stop.cancelled() => ended = true,
            changed = running.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(RENEW) => {}
        }
    }
}

/// Name of a replica's own Lease.
fn lease_name(replica: &str) -> String {
    format!("turnpike-proxy-{replica}")
}

async fn renew(
    api: &Api<Lease>,
    replica: &str,
    digests: &BTreeMap<String, String>,
    seconds: i32,
) -> Result<(), kube::Error> {
    let digests = serde_json::to_string(digests).map_err(kube::Error::SerdeError)?;
    let name = lease_name(replica);
    let lease = Lease {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            labels: Some([(marks::PROXY_REPLICA.to_owned(), replica.to_owned())].into()),
            annotations: Some([(marks::RUNNING_DIGESTS.to_owned(), digests)].into()),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(replica.to_owned()),
            lease_duration_seconds: Some(seconds),
            renew_time: Some(MicroTime(Timestamp::now())),
            ..LeaseSpec::default()
        }),
    };
    let params = PatchParams::apply(FIELD_MANAGER).force();
    api.patch(&name, &params, &Patch::Apply(&lease)).await.map(drop)
}

/// Keys in Secrets of Turnpike's own namespace.
struct KubeKeys {
    api: Api<Secret>,
}

impl std::fmt::Debug for KubeKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KubeKeys")
    }
}

impl KeyStore for KubeKeys {
    fn read<'a>(&'a self, secret: &'a str, key: &'a str) -> BoxFuture<'a, Result<SecretString, String>> {
        Box::pin(async move {
            let found = self.api.get(secret).await.map_err(|e| match e {
                kube::Error::Api(status) => status.message,
                other => other.to_string(),
            })?;
            let bytes = found
                .data
                .and_then(|mut d| d.remove(key))
                .ok_or("the Secret has no such key")?;
            String::from_utf8(bytes.0)
                .map(SecretString::from)
                .map_err(|_| "it is not text".to_owned())
        })
    }
}
