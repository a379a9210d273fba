//! An agent as a person names it: `NAMESPACE/NAME` of a ServiceAccount, or the claims of an OIDC token.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, de};
use turnpike_policy::caller::{Caller, Identity};

/// Audience of tokens for Turnpike where nothing else is said.
const AUDIENCE: &str = "turnpike";
/// Who issues tokens of ServiceAccounts, as far as anybody asks.
const CLUSTER: &str = "https://kubernetes.default.svc.cluster.local";

/// An agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Agent {
    ServiceAccount { namespace: String, name: String },
    Token(Token),
}

/// The claims of an OIDC token.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Token {
    #[serde(rename = "iss")]
    issuer: String,
    #[serde(rename = "sub")]
    subject: String,
    #[serde(rename = "aud", default)]
    audience: Option<Audience>,
    #[serde(default)]
    session: Option<String>,
    /// Further claims.
    #[serde(default)]
    claims: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Agent {
    /// Reads `NAMESPACE/NAME`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let plain = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
        };
        match text.split_once('/') {
            Some((namespace, name)) if plain(namespace) && plain(name) => Ok(Self::ServiceAccount {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            }),
            _ => Err(format!(
                "{text:?} is no agent; write NAMESPACE/NAME of its ServiceAccount, such as agents/coder"
            )),
        }
    }

    /// As the gateway would have verified it.
    pub(crate) fn caller(&self) -> Caller {
        match self {
            Self::ServiceAccount { namespace, name } => Caller {
                session: format!("{namespace}/{name}"),
                identity: Identity::ServiceAccount {
                    namespace: namespace.clone(),
                    name: name.clone(),
                },
                issuer: CLUSTER.to_owned(),
                pod: None,
            },
            Self::Token(token) => Caller {
                session: token.session.clone().unwrap_or_else(|| token.subject.clone()),
                identity: Identity::Oidc {
                    issuer: token.issuer.clone(),
                    subject: token.subject.clone(),
                    audiences: match &token.audience {
                        None => vec![AUDIENCE.to_owned()],
                        Some(Audience::One(one)) => vec![one.clone()],
                        Some(Audience::Several(several)) => several.clone(),
                    },
                    claims: token.claims.clone(),
                },
                issuer: token.issuer.clone(),
                pod: None,
            },
        }
    }
}

impl<'de> Deserialize<'de> for Agent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> de::Visitor<'de> for Either {
            type Value = Agent;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(
                    "NAMESPACE/NAME of a ServiceAccount, or a mapping with iss and sub of an OIDC token",
                )
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Agent, E> {
                Agent::parse(text).map_err(E::custom)
            }
            fn visit_map<A: de::MapAccess<'de>>(self, fields: A) -> Result<Agent, A::Error> {
                Token::deserialize(de::value::MapAccessDeserializer::new(fields)).map(Agent::Token)
            }
        }
        deserializer.deserialize_any(Either)
    }
}
