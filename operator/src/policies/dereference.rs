//! What the policies of a namespace refer to: the namespace's permissions, Secrets, the present bundle.
//!
//! Of a Secret only the metadata is read: the operator has no use for a key and never holds one. Whether
//! the Secret has the entry that a policy names is found out by the proxy that uses it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::{Api, ResourceExt as _, runtime::reflector::ObjectRef};
use turnpike_compiler::NamespaceLabels;
use turnpike_crds::{AgentPolicySpec, marks};

use super::{AnyPolicy, PolicyError, apply::bundle_name};
use crate::watch::Caches;

/// Everything that the plan for a namespace is made from.
#[derive(Debug)]
pub(super) struct Inputs {
    /// The namespace.
    pub(super) namespace: String,
    /// Its policies, sorted by name.
    pub(super) policies: Vec<AnyPolicy>,
    /// What its policies may use.
    pub(super) grants: Grants,
    /// The labels of all namespaces, which policies of Turnpike's own namespace may select by; of no other are
    /// they looked at.
    pub(super) namespaces: NamespaceLabels,
    /// The Secrets that its policies name and may use.
    pub(super) secrets: BTreeMap<String, Lookup>,
    /// The ConfigMap of its bundle.
    pub(super) current: Option<Arc<ConfigMap>>,
    /// Names of ConfigMaps that claim to hold its bundle and are not the one: a proxy might read them.
    pub(super) strays: Vec<String>,
}

/// What policies of a namespace may use, as a cluster administrator permits by annotations on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Grants {
    /// Policies of Turnpike's own namespace need no permission: its owners own the credentials too, and say
    /// which issuers are trusted.
    all: bool,
    service_accounts: BTreeSet<String>,
    secrets: BTreeSet<String>,
    issuers: BTreeSet<String>,
}

/// Whether a Secret is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lookup {
    Found,
    Missing,
    /// The operator may not read it, which says that the installation does not offer it to policies.
    Forbidden,
}

impl Grants {
    /// The permissions of a namespace; none for one that is not known (yet).
    pub(super) fn of(namespace: Option<&Namespace>, own: bool) -> Self {
        let list = |annotation: &str| {
            let text = namespace.and_then(|n| n.annotations().get(annotation));
            let entries = text.into_iter().flat_map(|t| t.split(','));
            entries
                .map(|e| e.trim().to_owned())
                .filter(|e| !e.is_empty())
                .collect()
        };
        Self {
            all: own,
            service_accounts: list(marks::ALLOWED_SERVICE_ACCOUNTS),
            secrets: list(marks::ALLOWED_KEY_SECRETS),
            issuers: list(marks::ALLOWED_OIDC_ISSUERS),
        }
    }

    /// Whether policies may impersonate this Google service account.
    pub(super) fn permit_service_account(&self, email: &str) -> bool {
        self.all || self.service_accounts.contains(email)
    }

    /// Whether policies may use the key in this Secret.
    pub(super) fn permit_secret(&self, name: &str) -> bool {
        self.all || self.secrets.contains(name)
    }

    /// Whether policies may select agents that this OIDC issuer vouches for.
    pub(super) fn permit_issuer(&self, issuer: &str) -> bool {
        self.all || self.issuers.contains(issuer)
    }
}

pub(super) async fn dereference(
    namespace: &str,
    own_namespace: &str,
    caches: &Caches,
    secrets: &Api<Secret>,
) -> Result<Inputs, PolicyError> {
    let mut policies = caches
        .policies
        .state_filter(|p| p.namespace().as_deref() == Some(namespace));
    policies.sort_by_key(|p| p.name_any());
    let object = caches.namespaces.get(&ObjectRef::new(namespace));
    let own = namespace == own_namespace;
    let grants = Grants::of(object.as_deref(), own);
    let namespaces = if own {
        caches.namespace_labels()
    } else {
        NamespaceLabels::new()
    };
    let named_after = |c: &ConfigMap| {
        c.labels()
            .get(marks::BUNDLE_NAMESPACE)
            .is_some_and(|n| n == namespace)
    };
    let (current, strays) = caches
        .bundles
        .state_filter(named_after)
        .into_iter()
        .partition::<Vec<_>, _>(|c| c.name_any() == bundle_name(namespace));

    let mut lookups = BTreeMap::new();
    let named = policies
        .iter()
        .filter_map(|p| p.0.as_ref().ok())
        .filter_map(|p| key_secret(&p.spec));
    for name in named {
        // A Secret that may not be used is not asked for: its existence is nobody's business.
        if grants.permit_secret(name) && !lookups.contains_key(name) {
            lookups.insert(name.to_owned(), look_up(secrets, name).await?);
        }
    }
    Ok(Inputs {
        namespace: namespace.to_owned(),
        policies,
        grants,
        namespaces,
        secrets: lookups,
        current: current.into_iter().next(),
        strays: strays.iter().map(|c| c.name_any()).collect(),
    })
}

async fn look_up(secrets: &Api<Secret>, name: &str) -> Result<Lookup, PolicyError> {
    match secrets.get_metadata_opt(name).await {
        Ok(Some(_)) => Ok(Lookup::Found),
        Ok(None) => Ok(Lookup::Missing),
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(Lookup::Forbidden),
        Err(source) => Err(PolicyError::Secret {
            name: name.to_owned(),
            source,
        }),
    }
}

/// The Secret that a policy's credential comes from.
pub(super) fn key_secret(spec: &AgentPolicySpec) -> Option<&str> {
    spec.credential
        .as_ref()?
        .service_account_key
        .as_ref()
        .map(|k| k.secret_ref.name.as_str())
}

/// The OIDC issuers of the agents that a policy selects.
pub(super) fn issuers(spec: &AgentPolicySpec) -> impl Iterator<Item = &str> {
    spec.agents
        .iter()
        .filter_map(|a| a.oidc.as_ref())
        .map(|o| o.issuer.as_str())
}

/// The Google service account that a policy impersonates.
pub(super) fn impersonates(spec: &AgentPolicySpec) -> Option<&str> {
    spec.credential
        .as_ref()?
        .impersonate
        .as_ref()
        .map(|i| i.service_account.as_str())
}
