//! Writing a namespace's bundle into its ConfigMap, and reading it back.
//!
//! The ConfigMap belongs to the operator: whatever somebody else changes on it is put back, and what else
//! claims to be a bundle of the namespace is removed.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::json;
use turnpike_compiler::Bundle;
use turnpike_crds::marks;

use super::{LastGood, PolicyError, dereference::Inputs, plan::Plan};
use crate::FIELD_MANAGER;

/// Key of the bundle's JSON within the ConfigMap.
const DATA_KEY: &str = "bundle.json";

/// A plan that was carried out.
#[derive(Debug)]
pub(super) struct Applied {
    /// Digest of the bundle that stands in the cluster; `None` where there is none.
    pub(super) digest: Option<String>,
}

/// Name of the ConfigMap that holds a namespace's bundle. A namespace's name has at most 63 characters and
/// a ConfigMap's 253, so it always fits.
pub fn bundle_name(namespace: &str) -> String {
    format!("turnpike-bundle-{namespace}")
}

/// Makes the cluster hold what the plan says.
pub(super) async fn apply(
    bundles: &Api<ConfigMap>,
    plan: &Plan,
    inputs: &Inputs,
) -> Result<Applied, PolicyError> {
    for stray in &inputs.strays {
        tracing::warn!(
            configmap = stray,
            namespace = inputs.namespace,
            "removing a bundle that is not ours"
        );
        delete(bundles, stray).await?;
    }
    let name = bundle_name(&inputs.namespace);
    if plan.bundle.policies.is_empty() {
        if inputs.current.is_some() {
            delete(bundles, &name).await?;
            tracing::info!(
                configmap = name,
                namespace = inputs.namespace,
                "bundle deleted: no policies"
            );
        }
        return Ok(Applied { digest: None });
    }
    let (json, digest) = (plan.bundle.to_json(), plan.bundle.digest());
    if !inputs
        .current
        .as_deref()
        .is_some_and(|c| holds(c, &inputs.namespace, &json, &digest))
    {
        let object = object(&name, &inputs.namespace, &json, &digest);
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let patch = Patch::Apply(&object);
        let written = match bundles.patch(&name, &params, &patch).await {
            // Somebody made it immutable: only a new one helps. Refused for any other reason, the old one is
            // better than none.
            Err(kube::Error::Api(status))
                if status.code == 422
                    && inputs.current.as_ref().is_some_and(|c| c.immutable == Some(true)) =>
            {
                tracing::warn!(
                    configmap = name,
                    message = status.message,
                    "bundle is immutable; making it anew"
                );
                delete(bundles, &name).await?;
                bundles.patch(&name, &params, &patch).await
            }
            other => other,
        };
        written.map_err(|source| PolicyError::WriteBundle {
            name: name.clone(),
            source,
        })?;
        tracing::info!(
            configmap = name,
            namespace = inputs.namespace,
            digest,
            bytes = json.len(),
            policies = plan.bundle.policies.len(),
            "bundle written"
        );
    }
    Ok(Applied { digest: Some(digest) })
}

/// The definitions that a ConfigMap holds; none if it does not hold what its digest says.
pub(super) fn read(current: Option<&ConfigMap>, namespace: &str) -> LastGood {
    let Some(current) = current else {
        return LastGood::new();
    };
    let Some(text) = current.data.as_ref().and_then(|d| d.get(DATA_KEY)) else {
        return LastGood::new();
    };
    let refuse = |why: &str| {
        tracing::warn!(
            namespace,
            why,
            "the present bundle cannot be read; nothing of it can be kept"
        );
        LastGood::new()
    };
    match Bundle::from_json(text) {
        Ok(bundle) if bundle.namespace != namespace => refuse("it is of another namespace"),
        Ok(bundle) if current.annotations().get(marks::BUNDLE_DIGEST) != Some(&bundle.digest()) => {
            refuse("its digest does not fit")
        }
        Ok(bundle) => bundle.policies.into_iter().map(|p| (p.uid.clone(), p)).collect(),
        Err(error) => refuse(&error.to_string()),
    }
}

async fn delete(bundles: &Api<ConfigMap>, name: &str) -> Result<(), PolicyError> {
    match bundles.delete(name, &DeleteParams::default()).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(source) => Err(PolicyError::DeleteBundle {
            name: name.to_owned(),
            source,
        }),
    }
}

fn labels(namespace: &str) -> BTreeMap<String, String> {
    [
        ("app.kubernetes.io/managed-by", FIELD_MANAGER),
        ("app.kubernetes.io/part-of", "turnpike"),
        (marks::BUNDLE_NAMESPACE, namespace),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

fn object(name: &str, namespace: &str, json: &str, digest: &str) -> serde_json::Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "labels": labels(namespace),
            "annotations": {marks::BUNDLE_DIGEST: digest},
        },
        "data": {DATA_KEY: json},
    })
}

/// Whether a ConfigMap holds this bundle already.
fn holds(current: &ConfigMap, namespace: &str, json: &str, digest: &str) -> bool {
    let text = current.data.as_ref().and_then(|d| d.get(DATA_KEY));
    text.is_some_and(|t| t == json)
        && current
            .annotations()
            .get(marks::BUNDLE_DIGEST)
            .is_some_and(|d| d == digest)
        && labels(namespace)
            .iter()
            .all(|(key, value)| current.labels().get(key) == Some(value))
}
