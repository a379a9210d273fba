//! Who makes a call, as a verified token proved it.

use std::collections::BTreeMap;

use serde::Serialize;

/// A verified agent. Made by the identity step of the proxy, after the token's signature, issuer, audience
/// and times were checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Caller {
    /// Who it is.
    pub identity: Identity,
    /// Issuer of the token.
    pub issuer: String,
    /// One run of one agent: the pod's UID, or the session that the token names, or the identity's name.
    pub session: String,
    /// Name of the pod, where the token tells.
    pub pod: Option<String>,
}

/// The identity that policies select by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Identity {
    /// A Kubernetes ServiceAccount.
    ServiceAccount {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// The holder of an OIDC token.
    Oidc {
        /// `iss`
        issuer: String,
        /// `sub`
        subject: String,
        /// `aud`
        audiences: Vec<String>,
        /// Claims whose values are strings.
        claims: BTreeMap<String, String>,
    },
}

impl Caller {
    /// `NAMESPACE/NAME` of a ServiceAccount, or the subject of an OIDC token: the name that people see.
    pub fn name(&self) -> String {
        match &self.identity {
            Identity::ServiceAccount { namespace, name } => format!("{namespace}/{name}"),
            Identity::Oidc { subject, .. } => subject.clone(),
        }
    }

    /// Namespace of a ServiceAccount.
    pub fn namespace(&self) -> Option<&str> {
        match &self.identity {
            Identity::ServiceAccount { namespace, .. } => Some(namespace),
            Identity::Oidc { .. } => None,
        }
    }
}
