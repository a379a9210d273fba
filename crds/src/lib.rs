//! Kubernetes API types of Turnpike, group `turnpike.dev`, version `v1alpha1`.
//!
//! Only types, their schema and their documentation live here: no client, no I/O and no meaning.
//! What a policy *means* is decided by the compiler crate. The manifests in `crds/yaml` are generated
//! from these types (`cargo xtask codegen`), and standalone mode validates its files against the very
//! same schema, so that a bound written here holds in both worlds.

// Each print column is an attribute of its own kind; clippy takes them for repetitions.
#![allow(clippy::duplicated_attributes)]

pub mod agent_policy;
pub mod approval_request;

pub use agent_policy::{
    AgentPolicy, AgentPolicySpec, AgentPolicyStatus, AgentSelector, Ambient, ApprovalSettings, Approvers,
    BodyRecording, CredentialSpec, Effect, Impersonate, LabelOperator, LabelRequirement, Limits, MaskedField,
    Mode, NamespaceSelector, OidcSelector, OnHoldEnd, PolicyRule, Recording, Risk, RiskFactor,
    SecretDetector, SecretKeyRef, Secrets, ServiceAccountKey, ServiceAccountSelector,
};
pub use approval_request::{
    AgentIdentity, ApprovalRequest, ApprovalRequestSpec, ApprovalRequestStatus, ApprovalRequirement,
    CallSummary, Consumption, Phase, PolicyReference, Review, ReviewDecision, RiskShare, RiskSummary,
    SecretFinding,
};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde::{Deserialize, Deserializer};

/// API group of all resources.
pub const GROUP: &str = "turnpike.dev";
/// Served and stored version.
pub const VERSION: &str = "v1alpha1";

/// Condition types and reasons, spelled once.
pub mod condition {
    /// The policy was compiled.
    pub const ACCEPTED: &str = "Accepted";
    /// Everything that the policy refers to exists and may be used by it.
    pub const RESOLVED_REFS: &str = "ResolvedRefs";
    /// Every ready proxy replica runs the policy.
    pub const PROGRAMMED: &str = "Programmed";
    /// The approval request waits for a decision.
    pub const PENDING: &str = "Pending";
    /// The approval request was approved.
    pub const APPROVED: &str = "Approved";
    /// The approval request was denied.
    pub const DENIED: &str = "Denied";
    /// Nobody decided in time.
    pub const EXPIRED: &str = "Expired";
    /// The approval was spent on a call.
    pub const CONSUMED: &str = "Consumed";
}

/// Labels and annotations that Turnpike reads or writes.
pub mod marks {
    /// Label on a ConfigMap that holds a bundle; its value is the namespace the bundle is for.
    pub const BUNDLE_NAMESPACE: &str = "turnpike.dev/bundle-namespace";
    /// Annotation with the digest of the bundle that a ConfigMap holds.
    pub const BUNDLE_DIGEST: &str = "turnpike.dev/bundle-digest";
    /// Label on the Lease that each proxy replica renews.
    pub const PROXY_REPLICA: &str = "turnpike.dev/proxy-replica";
    /// Annotation on a replica's Lease: the digests it runs, as a JSON object from namespace to digest.
    pub const RUNNING_DIGESTS: &str = "turnpike.dev/running-digests";
    /// Annotation on a Namespace, set by cluster administrators: the Google service accounts that its
    /// policies may impersonate, separated by commas.
    pub const ALLOWED_SERVICE_ACCOUNTS: &str = "turnpike.dev/allowed-google-service-accounts";
    /// Annotation on a Namespace, set by cluster administrators: the Secrets of Turnpike's own namespace
    /// whose keys its policies may use, separated by commas.
    pub const ALLOWED_KEY_SECRETS: &str = "turnpike.dev/allowed-key-secrets";
    /// Annotation on a Namespace, set by cluster administrators: the OIDC issuers whose agents its policies
    /// may select, separated by commas.
    pub const ALLOWED_OIDC_ISSUERS: &str = "turnpike.dev/allowed-oidc-issuers";
}

/// All custom resource definitions, in the order in which they are applied.
pub fn definitions() -> [CustomResourceDefinition; 2] {
    [AgentPolicy::crd(), ApprovalRequest::crd()]
}

/// Reads a field that is there. Null is no value: to take it for a field that was left out would drop what somebody
/// meant to ask for, and `when: !x`, without quotes, is a null to YAML. An API server keeps nulls where the schema says
/// `nullable`, and drops them unseen where it does not; so it says so, and readers refuse them.
fn present<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}
