//! Standalone mode: the same proxy with a folder in the place of a cluster.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use futures::future::BoxFuture;
use notify::{RecursiveMode, Watcher};
use prometheus::Registry;
use secrecy::SecretString;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use turnpike_compiler::{Bundle, Context as CompileContext, NamespaceLabels, PolicyDef, load};
use turnpike_crds::PolicyReference;

use crate::{
    config::Config,
    credential::KeyStore,
    gate::{file::FileStore, hub::Hub},
    journey::ApproveHint,
    keys,
    metrics::Metrics,
    policies::Policies,
    server::{self, Layout, Parts, SETTLE},
    tls::Authority,
};

/// The namespace whose policies are guardrails for all others.
pub const GATEWAY_NAMESPACE: &str = "turnpike-system";
const LOOK_FOR_EXPIRY: Duration = Duration::from_secs(1);

/// Runs standalone until it is told to stop.
///
/// # Errors
/// When the configuration or a policy is wrong at the start, or a file or port is not to be had.
pub async fn run(dir: &Path, stop: CancellationToken) -> anyhow::Result<()> {
    // Events of changed files name absolute paths.
    let dir = &std::path::absolute(dir).with_context(|| dir.display().to_string())?;
    let layout = Layout { dir: dir.clone() };
    let config = Config::read(&layout.config()).with_context(|| {
        format!(
            "no usable configuration; `turnpike-proxy standalone --init {}` writes an example",
            dir.display()
        )
    })?;
    if config.issuers.iter().any(|i| i.name == keys::ISSUER) {
        keys::ensure(dir)?;
    }
    let authority = Authority::load_or_create(&config.ca_dir, &config.domains)?;
    let registry = Registry::new();
    let metrics = Arc::new(Metrics::register(&registry)?);
    let policies = Arc::new(Policies::default());
    let loader = Loader {
        dir: layout.policies(),
        namespaces: config.namespaces.clone(),
        policies: policies.clone(),
        metrics: metrics.clone(),
    };
    // With nothing good to fall back on, a broken policy ends the start: leaving it out could loosen.
    loader
        .load()
        .map_err(|problems| anyhow::anyhow!("policies cannot be used:\n{}", problems.join("\n")))?;
    let hub = Arc::new(Hub::default());
    let in_force = policies.clone();
    let find = move |asked: &PolicyReference| in_force.find(&asked.namespace, &asked.name);
    let approvals = FileStore::open(layout.approvals(), hub.clone(), find).context("the approvals folder")?;
    let watching = watch_folder(&layout, loader, approvals.clone(), stop.clone())?;
    let (_ready, ready) = watch::channel(true);
    let parts = Parts {
        replica: "standalone".to_owned(),
        authority,
        policies,
        ready,
        approvals,
        hub,
        reviewer: None,
        keys: Arc::new(SecretFiles {
            dir: layout.secrets(),
        }),
        approve_hint: ApproveHint::Standalone(dir.clone()),
        ledger: Arc::default(),
        metrics,
        registry,
    };
    server::run(config, parts, stop).await?;
    drop(watching);
    Ok(())
}

/// Loads the policies of a folder.
struct Loader {
    dir: PathBuf,
    namespaces: NamespaceLabels,
    policies: Arc<Policies>,
    metrics: Arc<Metrics>,
}

impl Loader {
    /// Takes all policies, or none: with a problem in any file the last good set stays.
    fn load(&self) -> Result<(), Vec<String>> {
        let read = self.read();
        match read {
            Ok(policies) => {
                let mut bundles: std::collections::BTreeMap<String, Vec<PolicyDef>> =
                    std::collections::BTreeMap::new();
                for policy in policies {
                    bundles.entry(policy.namespace.clone()).or_default().push(policy);
                }
                let running = self.policies.running().borrow().clone();
                let gone: Vec<String> = running.into_keys().filter(|n| !bundles.contains_key(n)).collect();
                let bundles = bundles.into_iter().map(|(n, p)| Bundle::new(n, p)).collect();
                let count = self.policies.update(bundles, &gone);
                self.metrics.policies_taken(count);
                tracing::info!(policies = count, "policies are in force");
                Ok(())
            }
            Err(problems) => {
                self.metrics.policies_refused();
                Err(problems)
            }
        }
    }

    fn read(&self) -> Result<Vec<PolicyDef>, Vec<String>> {
        let context = CompileContext {
            gateway_namespace: GATEWAY_NAMESPACE,
            namespaces: &self.namespaces,
        };
        let entries = fs::read_dir(&self.dir).map_err(|e| vec![format!("{}: {e}", self.dir.display())])?;
        let mut paths = Vec::new();
        for entry in entries {
            let path = entry
                .map_err(|e| vec![format!("{}: {e}", self.dir.display())])?
                .path();
            if path.extension().is_some_and(|e| e == "yaml" || e == "yml") {
                paths.push(path);
            }
        }
        paths.sort();
        let mut policies: Vec<(PolicyDef, PathBuf)> = Vec::new();
        let mut problems = Vec::new();
        for path in paths {
            let text = match fs::read_to_string(&path) {
                Ok(text) => text,
                Err(error) => {
                    problems.push(format!("{}: {error}", path.display()));
                    continue;
                }
            };
            match load::policies(&text, &context) {
                Ok(found) => policies.extend(found.into_iter().map(|p| (p, path.clone()))),
                Err(found) => problems.extend(found.into_iter().map(|p| format!("{}: {p}", path.display()))),
            }
        }
        for (i, (policy, path)) in policies.iter().enumerate() {
            let before = policies[..i]
                .iter()
                .find(|(p, _)| p.namespace == policy.namespace && p.name == policy.name);
            if let Some((_, first)) = before {
                problems.push(format!(
                    "{}: policy {}/{} stands in {} too",
                    path.display(),
                    policy.namespace,
                    policy.name,
                    first.display()
                ));
            }
        }
        if problems.is_empty() {
            Ok(policies.into_iter().map(|(p, _)| p).collect())
        } else {
            Err(problems)
        }
    }
}

/// Watches policies and approvals. The watcher lives as long as what is returned.
fn watch_folder(
    layout: &Layout,
    loader: Loader,
    approvals: Arc<FileStore>,
    stop: CancellationToken,
) -> anyhow::Result<notify::RecommendedWatcher> {
    let (tell, mut told) = mpsc::unbounded_channel();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Reading a file is an event too, and leads to nothing.
        if event.as_ref().is_ok_and(|e| e.kind.is_access()) {
            return;
        }
        // The receiver is gone only when the proxy stops.
        tell.send(event).ok();
    })
    .context("watching files")?;
    for folder in [layout.policies(), layout.approvals()] {
        watcher
            .watch(&folder, RecursiveMode::NonRecursive)
            .with_context(|| format!("watching {}", folder.display()))?;
    }
    let policies = loader.dir.clone();
    tokio::spawn(async move {
        loop {
            let first = tokio::select! {
                () = stop.cancelled() => return,
                // Expiry changes a request without anybody touching its file.
                () = tokio::time::sleep(LOOK_FOR_EXPIRY) => None,
                event = told.recv() => match event {
                    Some(event) => Some(event),
                    None => return,
                },
            };
            let mut events = Vec::from_iter(first);
            if !events.is_empty() {
                // An editor writes a file in several steps.
                tokio::time::sleep(SETTLE).await;
                while let Ok(event) = told.try_recv() {
                    events.push(event);
                }
            }
            let touches = |folder: &Path| {
                events.iter().any(|event| match event {
                    Ok(event) => event.need_rescan() || event.paths.iter().any(|p| p.starts_with(folder)),
                    Err(_) => true,
                })
            };
            if touches(&policies)
                && let Err(problems) = loader.load()
            {
                for problem in problems {
                    tracing::error!(problem, "a policy cannot be used; the last good set stays");
                }
            }
            approvals.refresh().await;
        }
    });
    Ok(watcher)
}

/// Keys in `secrets/NAME/KEY`.
#[derive(Debug)]
struct SecretFiles {
    dir: PathBuf,
}

impl KeyStore for SecretFiles {
    fn read<'a>(&'a self, secret: &'a str, key: &'a str) -> BoxFuture<'a, Result<SecretString, String>> {
        Box::pin(async move {
            // Names have no slashes by the policy's schema; a leading dot is all that could lead out.
            if secret.starts_with('.') || key.starts_with('.') || secret.contains('/') || key.contains('/') {
                return Err("its name leads out of the folder".to_owned());
            }
            let path = self.dir.join(secret).join(key);
            let text = tokio::fs::read_to_string(&path)
                .await
                .map_err(|e| format!("{}: {e}", path.display()))?;
            Ok(SecretString::from(text))
        })
    }
}
