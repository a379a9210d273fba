//! Bundles: all compiled policies of one namespace, as the operator hands them to the proxies.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use turnpike_policy::definition::PolicyDef;

/// The format that this build writes and reads.
const FORMAT: u32 = 2;

/// All compiled policies of one namespace.
#[derive(Debug, Clone, PartialEq)]
pub struct Bundle {
    /// The namespace.
    pub namespace: String,
    /// Its policies, sorted by name.
    pub policies: Vec<PolicyDef>,
}

/// Why a bundle cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Not a bundle at all.
    #[error("not a bundle: {0}")]
    Json(#[from] serde_json::Error),
    /// Written by another version.
    #[error("bundle format {found} is not format {FORMAT}: operator and proxy are of different versions")]
    Format {
        /// What the bundle says.
        found: u32,
    },
    /// A policy of another namespace.
    #[error("the bundle of namespace {bundle} holds policy {policy} of namespace {namespace}")]
    ForeignPolicy {
        /// Namespace of the bundle.
        bundle: String,
        /// Name of the policy.
        policy: String,
        /// Namespace of the policy.
        namespace: String,
    },
}

#[derive(Serialize)]
struct Written<'a> {
    format: u32,
    namespace: &'a str,
    policies: &'a [PolicyDef],
}

#[derive(Deserialize)]
struct Header {
    format: u32,
}

#[derive(Deserialize)]
struct Read {
    namespace: String,
    policies: Vec<PolicyDef>,
}

impl Bundle {
    /// A bundle of these policies, sorted by name.
    pub fn new(namespace: impl Into<String>, mut policies: Vec<PolicyDef>) -> Self {
        policies.sort_by(|a, b| a.name.cmp(&b.name));
        Self {
            namespace: namespace.into(),
            policies,
        }
    }

    /// The bundle as JSON, the same text for the same policies.
    pub fn to_json(&self) -> String {
        let written = Written {
            format: FORMAT,
            namespace: &self.namespace,
            policies: &self.policies,
        };
        // Strings, numbers, lists and maps with string keys: nothing that JSON could not hold.
        serde_json::to_string(&written).unwrap_or_default()
    }

    /// Reads a bundle.
    ///
    /// # Errors
    /// [`BundleError`]; a bundle is taken whole or not at all.
    pub fn from_json(text: &str) -> Result<Self, BundleError> {
        let Header { format } = serde_json::from_str(text)?;
        if format != FORMAT {
            return Err(BundleError::Format { found: format });
        }
        let Read { namespace, policies } = serde_json::from_str(text)?;
        if let Some(foreign) = policies.iter().find(|p| p.namespace != namespace) {
            return Err(BundleError::ForeignPolicy {
                bundle: namespace,
                policy: foreign.name.clone(),
                namespace: foreign.namespace.clone(),
            });
        }
        Ok(Self { namespace, policies })
    }

    /// `sha256:` and the digest of [`Self::to_json`].
    pub fn digest(&self) -> String {
        digest_of(self.to_json().as_bytes())
    }
}

/// `sha256:` and 64 hexadecimal digits.
pub(crate) fn digest_of(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::from("sha256:");
    for byte in Sha256::digest(bytes) {
        // Writing to a String cannot fail.
        write!(text, "{byte:02x}").ok();
    }
    text
}
