//! The claims of a token, and what a caller is made of.

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::Value;
use turnpike_policy::caller::{Caller, Identity};

use super::{IdentityError, MAX_TOKEN_BYTES};

/// What an unverified token says of itself: enough to find who can verify it.
#[derive(Debug, Clone)]
pub struct Peeked {
    /// `iss`
    pub issuer: String,
    /// `kid`
    pub key_id: Option<String>,
    /// `alg`
    pub algorithm: String,
}

/// One audience or several (RFC 7519, section 4.1.3).
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl Audience {
    /// As a list.
    pub fn list(&self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one.clone()],
            Self::Many(many) => many.clone(),
        }
    }
}

/// Claims of a verified token.
#[derive(Debug, Clone, Deserialize)]
pub struct Claims {
    /// Issuer.
    pub iss: String,
    /// Subject.
    pub sub: Option<String>,
    /// Audience.
    pub aud: Option<Audience>,
    /// Expiry, in seconds of the Unix epoch; long past where the token names none.
    #[serde(default)]
    pub exp: i64,
    /// All others.
    #[serde(flatten)]
    pub others: BTreeMap<String, Value>,
}

/// Reads a token's header and issuer without believing them.
///
/// # Errors
/// When it is not a JWT.
pub fn peek(token: &str) -> Result<Peeked, IdentityError> {
    #[derive(Deserialize)]
    struct Header {
        alg: String,
        kid: Option<String>,
    }
    #[derive(Deserialize)]
    struct Body {
        iss: Option<String>,
    }
    if token.len() > MAX_TOKEN_BYTES {
        return Err(IdentityError::NotAToken);
    }
    let part = |text: &str| {
        BASE64_URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|_| IdentityError::NotAToken)
    };
    let mut parts = token.split('.');
    let (Some(header), Some(body), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(IdentityError::NotAToken);
    };
    let header: Header = serde_json::from_slice(&part(header)?).map_err(|_| IdentityError::NotAToken)?;
    let body: Body = serde_json::from_slice(&part(body)?).map_err(|_| IdentityError::NotAToken)?;
    let issuer = body.iss.ok_or(IdentityError::Claim("iss"))?;
    Ok(Peeked {
        issuer,
        key_id: header.kid,
        algorithm: header.alg,
    })
}

/// Whether a text looks like a JWT at all: three parts of base64url. The dummy passwords that people put
/// into proxy URLs do not.
pub fn looks_like_one(text: &str) -> bool {
    peek(text).is_ok()
}

/// The caller that verified claims speak of. `service_accounts` tells whether the issuer's subjects of the
/// form `system:serviceaccount:NAMESPACE:NAME` are ServiceAccounts; from any other issuer they are just
/// subjects.
///
/// # Errors
/// When the subject is missing.
pub fn caller(claims: &Claims, service_accounts: bool) -> Result<Caller, IdentityError> {
    let subject = claims
        .sub
        .clone()
        .filter(|s| !s.is_empty())
        .ok_or(IdentityError::Claim("sub"))?;
    let text = |v: Option<&Value>| v.and_then(Value::as_str).map(str::to_owned);
    let kubernetes = claims.others.get("kubernetes.io");
    let pod = kubernetes.and_then(|k| k.get("pod"));
    let account = service_accounts
        .then(|| {
            subject
                .strip_prefix("system:serviceaccount:")
                .and_then(|s| s.split_once(':'))
        })
        .flatten();
    let identity = match account {
        Some((namespace, name)) => Identity::ServiceAccount {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        },
        None => Identity::Oidc {
            issuer: claims.iss.clone(),
            subject: subject.clone(),
            audiences: claims.aud.as_ref().map(Audience::list).unwrap_or_default(),
            claims: claims
                .others
                .iter()
                .filter_map(|(k, v)| v.as_str().map(|v| (k.clone(), v.to_owned())))
                .collect(),
        },
    };
    let mut caller = Caller {
        identity,
        issuer: claims.iss.clone(),
        session: String::new(),
        pod: text(pod.and_then(|p| p.get("name"))),
    };
    caller.session = text(pod.and_then(|p| p.get("uid")))
        .or_else(|| text(claims.others.get("session")))
        .unwrap_or_else(|| caller.name());
    Ok(caller)
}
