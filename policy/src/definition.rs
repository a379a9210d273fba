//! Compiled policies as data: what a bundle holds and a policy set is built from.
//!
//! The compiler makes these from `AgentPolicy` resources; globs are parsed, durations are milliseconds and
//! defaults are filled in, so nothing can be wrong with them later on. They are serialised into bundles.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::{
    glob::{MethodGlob, ResourceGlob},
    mask::FieldPath,
};

pub use crate::terms::ApprovalDef as ApprovalTimes;
pub use crate::terms::{ApprovalDef, HoldEnd, Quorum};

/// One compiled policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyDef {
    /// Namespace of the AgentPolicy.
    pub namespace: String,
    /// Name of the AgentPolicy.
    pub name: String,
    /// UID of the AgentPolicy; empty in standalone mode.
    pub uid: String,
    /// Generation of the AgentPolicy; in standalone mode a number made of the spec's digest.
    pub generation: i64,
    /// Whether the policy decides.
    pub mode: Mode,
    /// Whether all calls of its agents are refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// The agents it selects: any of these.
    pub agents: Vec<AgentMatch>,
    /// The credential for Google; `None` where the policy does not say.
    #[serde(default, with = "shared", skip_serializing_if = "Option::is_none")]
    pub credential: Option<Arc<CredentialDef>>,
    /// Its rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleDef>,
    /// What happens to risky calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk: Option<RiskDef>,
    /// How much its agents may do.
    #[serde(default, skip_serializing_if = "LimitsDef::is_none")]
    pub limits: LimitsDef,
    /// What happens to secrets in requests; `None` where the policy does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outbound: Option<OutboundDef>,
    /// Response fields to mask.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub masks: Vec<MaskDef>,
    /// Whether masked bodies are kept, and for how long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record_bodies: Option<BodyRetention>,
}

impl PolicyDef {
    /// The entries of `agents` that are lists of namespaces without any: their selectors match none now.
    pub fn idle_selectors(&self) -> impl Iterator<Item = usize> {
        let lists = self.agents.iter().enumerate();
        lists.filter_map(|(i, agent)| match agent {
            AgentMatch::Namespaces { namespaces, .. } if namespaces.is_empty() => Some(i),
            _ => None,
        })
    }

    /// The Google service account that the policy impersonates.
    pub fn impersonates(&self) -> Option<&str> {
        self.credential
            .as_ref()?
            .impersonate
            .as_ref()
            .map(|i| i.service_account.as_str())
    }

    /// The Secret and its key that hold the policy's service account key.
    pub fn key_secret(&self) -> Option<(&str, &str)> {
        match &self.credential.as_ref()?.source {
            CredentialSource::Ambient => None,
            CredentialSource::Key { secret, key } => Some((secret, key)),
        }
    }
}

/// Whether a policy decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// It does.
    Enforce,
    /// It is evaluated and recorded only.
    DryRun,
}

/// One way to select agents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum AgentMatch {
    /// By ServiceAccount.
    ServiceAccount {
        /// Its namespace; `None` for all.
        namespace: Option<String>,
        /// Its name; `None` for all.
        name: Option<String>,
    },
    /// By ServiceAccount of any of these namespaces: those that a selector of namespaces matches. They are a list,
    /// and not an entry each, because a selector can match a thousand.
    Namespaces {
        /// The namespaces; none where the selector matches none now.
        #[serde(with = "arc")]
        namespaces: Arc<BTreeSet<String>>,
        /// Name of the ServiceAccount; `None` for all.
        name: Option<String>,
    },
    /// By claims of an OIDC token, all of which must match.
    Oidc {
        /// `iss`
        issuer: String,
        /// One of `aud`.
        audience: String,
        /// `sub`
        subject: Option<String>,
        /// Further claims and their values.
        claims: BTreeMap<String, String>,
    },
}

/// A compiled rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleDef {
    /// Name, unique in the policy.
    pub name: String,
    /// What happens.
    pub effect: Effect,
    /// Methods, any of which must match.
    pub methods: Vec<MethodGlob>,
    /// Resources, any of which must match; none means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<ResourceGlob>,
    /// A condition that must hold too, in CEL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// Words for the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What an approval takes; meaningful for RequireApproval alone.
    #[serde(default)]
    pub approval: ApprovalDef,
}

/// Effect of a rule, in order of strictness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Effect {
    /// May pass.
    Allow,
    /// Is held for a person.
    RequireApproval,
    /// Is refused.
    Deny,
}

/// What happens to risky calls that rules allow. Scores go from 0 to 100.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RiskDef {
    /// Calls with a higher score are held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approve_above: Option<u8>,
    /// Calls with a higher score are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deny_above: Option<u8>,
    /// Points of built-in factors in the place of their usual ones.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub weights: BTreeMap<String, u8>,
    /// Factors of the policy's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub factors: Vec<CustomFactor>,
    /// What an approval takes.
    #[serde(default)]
    pub approval: ApprovalDef,
}

/// A factor of risk that a policy adds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CustomFactor {
    /// Its name.
    pub name: String,
    /// When it counts, in CEL.
    pub when: String,
    /// Points that it adds.
    pub points: u8,
}

/// How much one agent may do; `None` sets no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LimitsDef {
    /// Calls in any 60 seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls_per_minute: Option<u32>,
    /// Calls that change something, in any 60 minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes_per_hour: Option<u32>,
    /// Calls that wait for an approval at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_calls: Option<u32>,
    /// Bytes of requests in any 60 minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_out_per_hour: Option<u64>,
}

impl LimitsDef {
    /// Whether nothing is limited.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// The lower of each limit.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        fn lower<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
            match (a, b) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            }
        }
        Self {
            calls_per_minute: lower(self.calls_per_minute, other.calls_per_minute),
            changes_per_hour: lower(self.changes_per_hour, other.changes_per_hour),
            held_calls: lower(self.held_calls, other.held_calls),
            bytes_out_per_hour: lower(self.bytes_out_per_hour, other.bytes_out_per_hour),
        }
    }
}

/// What happens to requests whose bodies hold secrets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutboundDef {
    /// With a secret in the body. Allow means that it is recorded.
    pub requests: Effect,
    /// With a body that cannot be searched.
    pub unscannable: Effect,
    /// What an approval takes.
    #[serde(default)]
    pub approval: ApprovalDef,
    /// Kinds of secrets besides the built-in ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub detectors: Vec<CustomDetector>,
}

/// A kind of secret that a policy adds.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CustomDetector {
    /// What it is called.
    pub name: String,
    /// A regular expression that runs in linear time.
    pub pattern: String,
    /// Words of which one must stand near a match; none means that the pattern is enough.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keywords: Vec<String>,
}

/// Where the credential for Google comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialDef {
    /// What signs for it.
    pub source: CredentialSource,
    /// Whom to impersonate with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub impersonate: Option<ImpersonateDef>,
    /// OAuth scopes.
    pub scopes: Vec<String>,
}

/// Scope of access tokens where a policy names none.
pub const DEFAULT_SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

impl Default for CredentialDef {
    fn default() -> Self {
        Self {
            source: CredentialSource::Ambient,
            impersonate: None,
            scopes: vec![DEFAULT_SCOPE.to_owned()],
        }
    }
}

/// The source credential.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum CredentialSource {
    /// The gateway's own.
    Ambient,
    /// A service account key in a Secret of Turnpike's own namespace.
    Key {
        /// Name of the Secret.
        secret: String,
        /// Key within it.
        key: String,
    },
}

/// Impersonation of a Google service account.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImpersonateDef {
    /// Its email.
    pub service_account: String,
    /// Delegation chain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub delegates: Vec<String>,
}

/// Fields to mask in the answers of some methods.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MaskDef {
    /// The methods.
    pub methods: Vec<MethodGlob>,
    /// The fields.
    pub paths: Vec<FieldPath>,
    /// What `[MASKED:<kind>]` says.
    pub kind: String,
}

/// How long bodies are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BodyRetention {
    /// In milliseconds.
    pub keep_ms: u64,
}

/// Serde for a shared value, as for the value itself.
mod shared {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<T: Serialize, S: Serializer>(
        value: &Option<Arc<T>>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        value.as_deref().serialize(to)
    }

    pub(super) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Arc<T>>, D::Error> {
        Ok(Option::<T>::deserialize(from)?.map(Arc::new))
    }
}

/// Serde for what is shared and always there.
mod arc {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<T: Serialize, S: Serializer>(value: &Arc<T>, to: S) -> Result<S::Ok, S::Error> {
        value.as_ref().serialize(to)
    }

    pub(super) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Arc<T>, D::Error> {
        T::deserialize(from).map(Arc::new)
    }
}
