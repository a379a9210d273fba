//! `ApprovalRequest`: one held call that waits for a person.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{agent_policy::Approvers, condition};

/// A call that is held until a person approves or denies it.
///
/// The proxy alone creates it, and its spec never changes. Approvers write `status.reviews`; the operator
/// alone settles them into `status.phase`; the proxy spends an approval once, before the call is made.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "turnpike.dev",
    version = "v1alpha1",
    kind = "ApprovalRequest",
    plural = "approvalrequests",
    namespaced,
    status = "ApprovalRequestStatus",
    derive = "PartialEq",
    shortname = "apr",
    category = "turnpike",
    doc = "ApprovalRequest is one call of an agent that is held until a person approves or denies it. To decide, add an entry under status.reviews with your own user name as the key: kubectl turnpike approve NAME, or kubectl patch apr NAME --subresource=status --type=merge.",
    printcolumn(name = "Agent", type_ = "string", json_path = ".spec.agent.name"),
    printcolumn(name = "Method", type_ = "string", json_path = ".spec.call.method"),
    printcolumn(name = "Resource", type_ = "string", json_path = ".spec.call.resources[0]"),
    printcolumn(name = "Risk", type_ = "integer", json_path = ".spec.risk.score"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.phase"),
    printcolumn(
        name = "Approvals",
        type_ = "string",
        json_path = ".status.approvals",
        description = "Approvals that count, of those that it takes"
    ),
    printcolumn(name = "Expires", type_ = "string", json_path = ".spec.expiresAt"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Rule",
        type_ = "string",
        priority = 1,
        json_path = ".spec.policies[0].rule"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("the spec of an approval request is immutable: it says which call was asked for"))]
pub struct ApprovalRequestSpec {
    /// Who asks.
    pub agent: AgentIdentity,
    /// What is asked for.
    pub call: CallSummary,
    /// The rules that want an approval, with the generation of the policy that was asked under.
    #[schemars(length(min = 1, max = 256))]
    pub policies: Vec<PolicyReference>,
    /// What an approval takes: all of these have to be met. One person's approval can count for several. None
    /// means that one approval is enough.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub requires: Vec<ApprovalRequirement>,
    /// How risky the call is, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk: Option<RiskSummary>,
    /// Secrets that were found in the request's body.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub findings: Vec<SecretFinding>,
    /// Digest over agent, method, resources, target and the whole body: `sha256:` and 64 hexadecimal digits.
    /// The same call made again has the same digest and so finds this request.
    #[schemars(regex(pattern = r"^sha256:[0-9a-f]{64}$"))]
    pub digest: String,
    /// When the request can no longer be decided, and its approval no longer be used.
    pub expires_at: Time,
}

/// An agent, as its token proved it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AgentIdentity {
    /// `NAMESPACE/NAME` of a ServiceAccount, or the subject of an OIDC token.
    #[schemars(length(min = 1, max = 1024))]
    pub name: String,
    /// Issuer of the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub issuer: Option<String>,
    /// One run of one agent: the pod, or the session that the token names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub session: Option<String>,
}

/// A call, as Google would execute it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CallSummary {
    /// Method id of Google's discovery documents.
    #[schemars(length(min = 1, max = 256))]
    pub method: String,
    /// Names of the resources that the call acts on.
    #[schemars(length(max = 16), inner(length(max = 2048)))]
    pub resources: Vec<String>,
    /// HTTP verb.
    #[schemars(length(min = 1, max = 16))]
    pub verb: String,
    /// Host and path; credentials in the query are not shown.
    #[schemars(length(min = 1, max = 8192))]
    pub url: String,
    /// What the method does: read, change, destructive, iam, returns-credentials.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 64)))]
    pub traits: Vec<String>,
    /// The request's body, where it is JSON: fields that carry secrets are masked, long values shortened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16384))]
    pub body: Option<String>,
    /// Size of the request's body in bytes.
    #[schemars(range(min = 0))]
    pub body_bytes: i64,
}

/// How risky a call is.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RiskSummary {
    /// From 0 to 100.
    #[schemars(range(min = 0, max = 100))]
    pub score: i32,
    /// What it is made of, the largest share first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub factors: Vec<RiskShare>,
}

/// One factor's share of a risk.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RiskShare {
    /// Name of the factor.
    #[schemars(length(max = 63))]
    pub name: String,
    /// Points that it adds.
    #[schemars(range(min = 0, max = 100))]
    pub points: i32,
    /// What it means here.
    #[schemars(length(max = 512))]
    pub reason: String,
}

/// A secret that was found in a request's body; never its value.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SecretFinding {
    /// Its kind, such as `private-key`.
    #[schemars(length(max = 63))]
    pub kind: String,
    /// Where, such as `source.zip!config.py line 3`.
    #[schemars(length(max = 1024))]
    pub place: String,
}

/// A rule of a policy at one generation.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PolicyReference {
    /// Namespace of the AgentPolicy.
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// Name of the AgentPolicy.
    #[schemars(length(max = 253))]
    pub name: String,
    /// UID of the AgentPolicy.
    #[schemars(length(max = 128))]
    pub uid: String,
    /// Generation of the AgentPolicy.
    pub generation: i64,
    /// Name of the rule; `spec.risk` or `spec.secrets` where that part of the policy asks.
    #[schemars(length(max = 63))]
    pub rule: String,
}

/// How many people have to approve, and who counts.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalRequirement {
    /// How many people have to approve.
    #[schemars(range(min = 1, max = 10))]
    pub approvals: i32,
    /// Whose approvals count. Not set: everybody's who may review the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approvers: Option<Approvers>,
    /// Whether each approval has to come from another one of the groups.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub distinct_groups: bool,
}

/// Reviews and what came of them.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalRequestStatus {
    /// The state: Pending, then one of Approved, Denied, Expired and Superseded; Consumed once an approval is spent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// Decisions by approvers; the key is the approver's own user name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub reviews: BTreeMap<String, Review>,
    /// Approvals that count, of those that it takes, such as `1/2`. Written by the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub approvals: Option<String>,
    /// How to approve with plain kubectl, while the request is pending: a line to paste. Written by the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65536))]
    pub instructions: Option<String>,
    /// Who decided, when it is settled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 1024)))]
    pub decided_by: Vec<String>,
    /// The deciding approver's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub reason: Option<String>,
    /// The spending of an approval. Written by the proxy, before the call is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumption: Option<Consumption>,
    /// The states that the request has been in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// Pending, then one of Approved, Denied, Expired and Superseded; Consumed once an approval is spent. Written by
/// the operator.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Nobody has decided.
    #[default]
    Pending,
    /// An approver let the call through; it was not made yet.
    Approved,
    /// An approver refused the call.
    Denied,
    /// Nobody decided in time, or the approval was not used in time.
    Expired,
    /// The approval was spent on a call.
    Consumed,
    /// A policy that asked changed, or is gone: nobody can say whether it would ask for the same now.
    Superseded,
}

impl Phase {
    /// The type of the condition that is True in this phase.
    pub fn condition(self) -> &'static str {
        match self {
            Self::Pending => condition::PENDING,
            Self::Approved => condition::APPROVED,
            Self::Denied => condition::DENIED,
            Self::Expired => condition::EXPIRED,
            Self::Consumed => condition::CONSUMED,
            Self::Superseded => "Superseded",
        }
    }
}

/// One approver's decision.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Review {
    /// Approve or Deny.
    pub decision: ReviewDecision,
    /// Digest of the call that was reviewed. A review that names another digest than the request's counts
    /// for nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^sha256:[0-9a-f]{64}$"))]
    pub digest: Option<String>,
    /// Words for the agent and the audit log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub reason: Option<String>,
    /// Groups that the approver is a member of and wants to count for. The admission policy lets nobody name a
    /// group that the API server does not know him in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 256)))]
    pub groups: Vec<String>,
}

/// Decision of a review.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReviewDecision {
    /// Let the call through once.
    Approve,
    /// Refuse the call.
    Deny,
}

/// The spending of an approval.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Consumption {
    /// The proxy replica that spent it.
    #[schemars(length(min = 1, max = 253))]
    pub by: String,
    /// Id of the call in the audit log.
    #[schemars(length(min = 1, max = 64))]
    pub call: String,
    /// When it was spent.
    pub at: Time,
}
