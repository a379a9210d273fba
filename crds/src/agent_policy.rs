//! `AgentPolicy`: what the agents of a namespace may do, with which credential, and what they may see.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::present;

/// What a set of agents may call, with which credential, and what is masked and recorded.
///
/// All policies that select a caller are combined, in no order: Deny beats RequireApproval beats Allow,
/// and what no rule matches is denied.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "turnpike.dev",
    version = "v1alpha1",
    kind = "AgentPolicy",
    plural = "agentpolicies",
    namespaced,
    status = "AgentPolicyStatus",
    derive = "PartialEq",
    shortname = "agp",
    category = "turnpike",
    doc = "AgentPolicy says which Google API calls the agents it selects may make: allowed, denied, or held until a person approves. All policies that select an agent are combined: Deny beats RequireApproval beats Allow, and what no rule matches is denied.",
    printcolumn(
        name = "Mode",
        type_ = "string",
        json_path = ".spec.mode",
        description = "Enforce or DryRun"
    ),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Accepted\")].status",
        description = "True when the policy compiles"
    ),
    printcolumn(
        name = "Programmed",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Programmed\")].status",
        description = "True when every ready proxy replica runs the policy"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        priority = 1,
        json_path = ".status.conditions[?(@.type==\"Accepted\")].message",
        description = "What is wrong, when it is not accepted"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct AgentPolicySpec {
    /// Enforce (the default) decides calls. DryRun decides nothing and blocks nothing: what its rules would
    /// have done is written to the audit log.
    #[serde(default)]
    pub mode: Mode,

    /// Break-glass: while true, every call of the agents that this policy selects is refused, open streams and
    /// held calls included, whatever other policies say. It works in DryRun too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,

    /// The agents that this policy selects. An agent is selected when any entry matches it.
    #[schemars(length(min = 1, max = 64))]
    pub agents: Vec<AgentSelector>,

    /// The Google credential that allowed calls are made with. The agent never sees it. Default: the
    /// gateway's own (ambient) credential.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub credential: Option<CredentialSpec>,

    /// What is allowed, denied or held. Order has no meaning.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub rules: Vec<PolicyRule>,

    /// What is held or refused for its risk, whatever rules allow it.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub risk: Option<Risk>,

    /// How much each agent may do in a time.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub limits: Option<Limits>,

    /// What agents may not see in answers, and may not send in requests.
    #[serde(default, skip_serializing_if = "Secrets::is_empty")]
    pub secrets: Secrets,

    /// What is kept of the bodies of calls.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub recording: Option<Recording>,
}

/// Whether a policy decides calls or only tells what it would have decided.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The rules decide.
    #[default]
    Enforce,
    /// The rules are evaluated and recorded, and decide nothing.
    DryRun,
}

/// One way to select agents: by Kubernetes ServiceAccount or by the claims of an OIDC token.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.serviceAccount) != has(self.oidc)").message("set exactly one of serviceAccount and oidc"))]
pub struct AgentSelector {
    /// Agents that present a projected token of this ServiceAccount (audience `turnpike`).
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub service_account: Option<ServiceAccountSelector>,
    /// Agents that present an ID token of an OIDC issuer which the gateway trusts.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub oidc: Option<OidcSelector>,
}

/// A Kubernetes ServiceAccount.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.__namespace__) && has(self.namespaceSelector))").message("set at most one of namespace and namespaceSelector"))]
pub struct ServiceAccountSelector {
    /// Name of the ServiceAccount; `*` selects all of the namespace.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^(\*|[a-z0-9]([-a-z0-9.]*[a-z0-9])?)$")
    )]
    pub name: String,
    /// Namespace of the ServiceAccount. Only policies in Turnpike's own namespace may name another
    /// namespace than their own, or `*` for all. Default: the policy's namespace.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^(\*|[a-z0-9]([-a-z0-9]*[a-z0-9])?)$")
    )]
    pub namespace: Option<String>,
    /// Namespaces of the ServiceAccount, by their labels. Only policies in Turnpike's own namespace may select
    /// namespaces.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub namespace_selector: Option<NamespaceSelector>,
}

/// Namespaces by their labels: all that is named must hold. An empty selector selects every namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceSelector {
    /// Labels and the value that each must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32, "additionalProperties" = {"type": "string", "maxLength": 63}))]
    pub match_labels: BTreeMap<String, String>,
    /// What must hold of further labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub match_expressions: Vec<LabelRequirement>,
}

/// What must hold of one label.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)").message("In and NotIn need values; Exists and DoesNotExist take none"))]
pub struct LabelRequirement {
    /// The label.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// In, NotIn, Exists or DoesNotExist.
    pub operator: LabelOperator,
    /// The values that In and NotIn speak of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 63)))]
    pub values: Vec<String>,
}

/// How a label is compared.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelOperator {
    /// The label has one of the values.
    In,
    /// The label has none of the values, or is not there.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is not there.
    DoesNotExist,
}

/// Claims of an OIDC token, all of which must match.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.subject) || (has(self.claims) && size(self.claims) > 0)").message("set subject or claims: an issuer alone would select everybody it knows"))]
pub struct OidcSelector {
    /// The issuer, exactly as in the token's `iss`. The gateway must be configured to trust it, and a cluster
    /// administrator must permit it by the annotation `turnpike.dev/allowed-oidc-issuers` on the policy's
    /// namespace; policies in Turnpike's own namespace need no permission.
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^https?://[^\s]+$"))]
    pub issuer: String,
    /// The audience that the token must name. Default: `turnpike`.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(min = 1, max = 512))]
    pub audience: Option<String>,
    /// The subject, exactly as in the token's `sub`.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(min = 1, max = 512))]
    pub subject: Option<String>,
    /// Further claims and the string value that each must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32, "additionalProperties" = {"type": "string", "maxLength": 512}))]
    pub claims: BTreeMap<String, String>,
}

/// Where the credential for Google comes from.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.ambient) && has(self.serviceAccountKey))").message("set at most one of ambient and serviceAccountKey"))]
pub struct CredentialSpec {
    /// The gateway's own credential: attached service account, workload identity or application default
    /// credentials. This is the default.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub ambient: Option<Ambient>,
    /// A service account key.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub service_account_key: Option<ServiceAccountKey>,
    /// Impersonate a Google service account, with the ambient credential or the key as the source.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub impersonate: Option<Impersonate>,
    /// OAuth scopes of the access token. Default: `https://www.googleapis.com/auth/cloud-platform`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        inner(length(min = 1, max = 256), regex(pattern = r"^https://[^\s]+$"))
    )]
    pub scopes: Vec<String>,
}

/// The gateway's own credential; it has no settings.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct Ambient {}

/// A service account key in JSON form.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccountKey {
    /// The Secret, in Turnpike's own namespace, that holds the key. A cluster administrator must permit
    /// its use by the annotation `turnpike.dev/allowed-key-secrets` on the policy's namespace. Standalone:
    /// the file `secrets/NAME/KEY` of the configuration directory.
    pub secret_ref: SecretKeyRef,
}

/// One key of a Secret.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// Name of the Secret.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
    )]
    pub name: String,
    /// Key within the Secret. Default: `key.json`.
    #[serde(default = "default_secret_key")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

fn default_secret_key() -> String {
    "key.json".to_owned()
}

/// Impersonation of a Google service account.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Impersonate {
    /// Email of the service account. A cluster administrator must permit it by the annotation
    /// `turnpike.dev/allowed-google-service-accounts` on the policy's namespace.
    #[schemars(length(min = 3, max = 320), regex(pattern = r"^[^@\s/]+@[^@\s/]+$"))]
    pub service_account: String,
    /// Delegation chain, as in the IAM Credentials API.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 3, max = 320)))]
    pub delegates: Vec<String>,
}

/// What happens to the calls that match.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.approval) || self.effect == 'RequireApproval'").message("approval settings need effect RequireApproval"))]
pub struct PolicyRule {
    /// Name of the rule, unique in the policy. It is shown to agents and approvers, and in the audit log.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,
    /// Allow, Deny or RequireApproval.
    pub effect: Effect,
    /// Methods by their ids in Google's discovery documents, such as `storage.objects.get`. `*` stands for
    /// any part of one segment, `**` for any number of segments; `group:NAME` stands for the methods of a group,
    /// such as `group:storage.read`.
    #[schemars(
        length(min = 1, max = 64),
        inner(
            length(min = 1, max = 256),
            regex(pattern = r"^(group:[a-z0-9]+([.-][a-z0-9]+)*|[A-Za-z0-9_*.-]+)$")
        )
    )]
    pub methods: Vec<String>,
    /// Resources by their names, such as `projects/acme/locations/us-central1/functions/f` or
    /// `projects/_/buckets/b/objects/o`. `*` stands for any part of one segment, `**` for any number of
    /// segments (also none). Default, where the field is left out: every resource.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 1024)))]
    pub resources: Vec<String>,
    /// A condition in CEL that must hold too, such as `request.body.ingress == "INGRESS_TRAFFIC_ALL"`. It may
    /// name method, api, resource, request, agent, now and risk. Where it cannot be evaluated, a rule that denies
    /// or wants an approval matches, and one that allows does not.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(min = 1, max = 1024))]
    pub when: Option<String>,
    /// A sentence for the agent and its owner: why, and what to do instead.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(min = 1, max = 1024))]
    pub message: Option<String>,
    /// How approval is asked for. Only with effect RequireApproval.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub approval: Option<ApprovalSettings>,
}

/// Effect of a rule.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The call may be made, unless another rule denies it or wants an approval.
    Allow,
    /// The call is refused, whatever other rules say.
    Deny,
    /// The call is held until a person approves, unless another rule denies it.
    RequireApproval,
}

/// How approval is asked for.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalSettings {
    /// How long the agent's connection is held open before the call is answered with APPROVAL_PENDING, for
    /// example `4m`. gcloud gives up waiting after 300 s. Default: `4m`, at most `1h`.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]+(ms|s|m|h|d))+$"))]
    pub hold_for: Option<String>,
    /// How long the request may be decided and the approval be used, counted from its creation, for
    /// example `24h`. Default: `24h`, at most `30d`.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]+(ms|s|m|h|d))+$"))]
    pub expires_after: Option<String>,
    /// How many people have to approve. Default: 1, at most 10.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(range(min = 1, max = 10))]
    pub approvals: Option<i32>,
    /// Whose approvals count. Default: those of everybody who may approve for the policy at all.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub approvers: Option<Approvers>,
    /// Whether each approval has to come from another one of `approvers.groups`. Nobody counts for two groups.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub require_distinct_groups: bool,
    /// What the agent is told when `holdFor` is over and nobody has decided. Fail (the default) answers 403
    /// APPROVAL_PENDING; Retry answers 503 with Retry-After, which client libraries try again by themselves.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub on_hold_end: Option<OnHoldEnd>,
}

/// People whose approvals count: those who are named, and members of the groups.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.users) || has(self.groups)").message("name users or groups: an empty list would let nobody approve"))]
pub struct Approvers {
    /// User names, as the API server knows them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 256)))]
    pub users: Vec<String>,
    /// Groups, as the API server knows them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 32), inner(length(min = 1, max = 256)))]
    pub groups: Vec<String>,
}

/// What an agent is told when its call was held long enough.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnHoldEnd {
    /// 403 with the reason APPROVAL_PENDING: most clients give up and say so.
    #[default]
    Fail,
    /// 503 with Retry-After: clients that retry make the call again, which waits on the same request.
    Retry,
}

/// What happens to risky calls that rules allow. Every call has a score from 0 to 100, the sum of its factors'
/// points.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.approveAbove) || has(self.denyAbove)").message("set approveAbove or denyAbove: a score alone does nothing"))]
#[x_kube(validation = Rule::new("!(has(self.approveAbove) && has(self.denyAbove)) || self.approveAbove <= self.denyAbove").message("approveAbove must not be above denyAbove: nothing would be left to approve"))]
pub struct Risk {
    /// Calls with a higher score are held until a person approves.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(range(min = 0, max = 100))]
    pub approve_above: Option<i32>,
    /// Calls with a higher score are refused.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(range(min = 0, max = 100))]
    pub deny_above: Option<i32>,
    /// Points of built-in factors, in the place of their usual ones, such as `destructive: 50`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64, "additionalProperties" = {"type": "integer", "format": "int32", "minimum": 0, "maximum": 100}))]
    pub weights: BTreeMap<String, i32>,
    /// Factors of this policy's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub factors: Vec<RiskFactor>,
    /// How approval is asked for.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub approval: Option<ApprovalSettings>,
}

/// A factor that a policy adds.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RiskFactor {
    /// Its name, for approvers and the audit log.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,
    /// A condition in CEL, such as `resource.project.endsWith("-prod")`. Where it cannot be evaluated, the factor
    /// counts.
    #[schemars(length(min = 1, max = 1024))]
    pub when: String,
    /// Points that it adds.
    #[schemars(range(min = 0, max = 100))]
    pub points: i32,
}

/// How much each agent that the policy selects may do. Past a limit, calls are answered with 429 and
/// `Retry-After`. Where several policies set a limit, the lowest counts.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Calls in any 60 seconds.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub calls_per_minute: Option<i32>,
    /// Calls that change something, in any 60 minutes.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub changes_per_hour: Option<i32>,
    /// Calls that wait for an approval at a time.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub held_calls: Option<i32>,
    /// Bytes that the agent's requests send to Google, in any 60 minutes.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(range(min = 0, max = 1_000_000_000_000_000_i64))]
    pub bytes_out_per_hour: Option<i64>,
}

/// What an agent may not see in answers, and may not send in requests.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Secrets {
    /// What happens to a request whose body holds a secret: Allow (it is recorded), RequireApproval or Deny. Where no
    /// policy that selects the agent sets it, bodies are searched only when they are held.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub requests: Option<Effect>,
    /// What happens to a request whose body cannot be searched for secrets: an encrypted archive, one that expands
    /// beyond the limits, an unknown coding. Default: as `requests` says.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub unscannable: Option<Effect>,
    /// How approval is asked for.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub approval: Option<ApprovalSettings>,
    /// Kinds of secrets to search for, besides the built-in ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub detectors: Vec<SecretDetector>,
    /// Response fields to mask, besides the built-in table.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub fields: Vec<MaskedField>,
}

impl Secrets {
    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A kind of secret that a policy adds.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SecretDetector {
    /// What it is called in the audit log.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,
    /// A regular expression in the syntax of Rust's crate regex, which has no look-around and runs in linear time.
    #[schemars(length(min = 1, max = 512))]
    pub pattern: String,
    /// Words of which one must stand near a match.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 64)))]
    pub keywords: Vec<String>,
}

/// Fields of the JSON answers of some methods.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct MaskedField {
    /// Methods whose answers are masked; globs as in rules.
    #[schemars(
        length(min = 1, max = 64),
        inner(length(min = 1, max = 256), regex(pattern = r"^[A-Za-z0-9_*.-]+$"))
    )]
    pub methods: Vec<String>,
    /// Paths of fields, such as `**.env[*].value`: names joined by dots, `*` for any name, `**` for any
    /// number of levels, `[*]` for the elements of a list.
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 256)))]
    pub paths: Vec<String>,
    /// What the field is called in `[MASKED:<kind>]` and in the audit log. Default: `policy`.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub kind: Option<String>,
}

/// What is kept of the bodies of calls.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Recording {
    /// None (the default) keeps no bodies. Masked keeps JSON answers as the agent saw them, after masking.
    #[serde(default)]
    pub bodies: BodyRecording,
    /// How long recorded bodies are kept, for example `400d`. Default: `90d`.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]+(ms|s|m|h|d))+$"))]
    pub retention: Option<String>,
}

/// Which bodies are kept.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyRecording {
    /// No bodies.
    #[default]
    None,
    /// JSON answers, masked.
    Masked,
}

/// What the operator last saw of a policy.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AgentPolicyStatus {
    /// Accepted, ResolvedRefs and Programmed, each with a reason and the generation it speaks of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The generation that the conditions speak of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Digest of the namespace's bundle that this policy is part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub bundle_digest: Option<String>,
}
