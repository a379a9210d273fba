//! Verification against the key sets of OIDC issuers (RFC 7517, RFC 7519).

use std::{
    collections::HashMap,
    path::PathBuf,
    str::FromStr,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, errors::ErrorKind, jwk::JwkSet};
use tokio::sync::Mutex;

use super::{
    IdentityError, Verified, quoted,
    token::{self, Claims, Peeked},
};

/// Where a key set comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A file, read again when a token names an unknown key, and every few minutes.
    File(PathBuf),
    /// A URL, fetched again when a token names an unknown key, and every few minutes.
    Url(String),
    /// Keys that somebody else keeps up to date, as JSON.
    Given(String),
}

/// A trusted issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// `iss`
    pub name: String,
    /// Audiences, one of which a token must name.
    pub audiences: Vec<String>,
    /// Its keys.
    pub keys: KeySource,
    /// Whether its subjects `system:serviceaccount:NAMESPACE:NAME` are Kubernetes ServiceAccounts.
    pub service_accounts: bool,
}

/// The trusted issuers with their keys.
#[derive(Debug)]
pub struct Issuers {
    by_name: HashMap<String, Known>,
    http: reqwest::Client,
}

#[derive(Debug)]
struct Known {
    issuer: Issuer,
    keys: ArcSwapOption<JwkSet>,
    fetched: Mutex<Option<Instant>>,
}

/// A key set is fetched again for an unknown key, but not more often than this.
const FETCH_AGAIN: Duration = Duration::from_secs(5);
const REFRESH: Duration = Duration::from_secs(300);
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// Clocks may differ by this many seconds.
const LEEWAY: u64 = 10;

impl Issuers {
    /// These issuers; keys are fetched when they are first needed.
    pub fn new(issuers: Vec<Issuer>) -> Self {
        let known = |issuer: Issuer| {
            (
                issuer.name.clone(),
                Known {
                    issuer,
                    keys: ArcSwapOption::empty(),
                    fetched: Mutex::new(None),
                },
            )
        };
        Self {
            by_name: issuers.into_iter().map(known).collect(),
            http: reqwest::Client::new(),
        }
    }

    /// Whether an issuer is trusted.
    pub fn knows(&self, issuer: &str) -> bool {
        self.by_name.contains_key(issuer)
    }

    /// Verifies a token of a trusted issuer.
    ///
    /// # Errors
    /// [`IdentityError`] says what does not fit.
    pub async fn verify(&self, token: &str, peeked: &Peeked) -> Result<Verified, IdentityError> {
        let algorithm = algorithm(&peeked.algorithm)?;
        let known = self
            .by_name
            .get(&peeked.issuer)
            .ok_or_else(|| IdentityError::UnknownIssuer(quoted(&peeked.issuer)))?;
        let key = self.key(known, peeked).await?;
        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        validation.set_issuer(&[&known.issuer.name]);
        validation.set_audience(&known.issuer.audiences);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        let claims = jsonwebtoken::decode::<Claims>(token, &key, &validation)
            .map_err(|e| self.explain(&e, known, token))?
            .claims;
        let caller = token::caller(&claims, known.issuer.service_accounts)?;
        Ok(Verified {
            caller: Arc::new(caller),
            expires_at: claims.exp,
        })
    }

    fn explain(&self, error: &jsonwebtoken::errors::Error, known: &Known, token: &str) -> IdentityError {
        match error.kind() {
            ErrorKind::ExpiredSignature => IdentityError::Expired,
            ErrorKind::ImmatureSignature => IdentityError::Immature,
            ErrorKind::InvalidAudience => {
                // The signature was good, so the claim may be shown.
                let found = jsonwebtoken::dangerous::insecure_decode::<Claims>(token)
                    .ok()
                    .and_then(|d| d.claims.aud)
                    .map(|a| quoted(&format!("{:?}", a.list())))
                    .unwrap_or_else(|| "none".to_owned());
                IdentityError::Audience {
                    found,
                    wanted: known.issuer.audiences.join(" or "),
                }
            }
            ErrorKind::MissingRequiredClaim(claim) => IdentityError::Claim(match claim.as_str() {
                "exp" => "exp",
                "aud" => "aud",
                "sub" => "sub",
                _ => "a required claim",
            }),
            // An algorithm that is not the key's: no key of the issuer can have made the signature.
            ErrorKind::InvalidSignature | ErrorKind::InvalidAlgorithm | ErrorKind::InvalidKeyFormat => {
                IdentityError::Signature
            }
            _ => IdentityError::NotAToken,
        }
    }

    async fn key(&self, known: &Known, peeked: &Peeked) -> Result<DecodingKey, IdentityError> {
        if let Some(key) = find(known.keys.load().as_deref(), peeked) {
            return key;
        }
        // One fetch at a time for an issuer; who waited looks again before fetching himself. This lock is
        // off the hot path: only an unknown key leads here.
        let mut fetched = known.fetched.lock().await;
        if let Some(key) = find(known.keys.load().as_deref(), peeked) {
            return key;
        }
        if fetched.is_some_and(|at| at.elapsed() < FETCH_AGAIN) && known.keys.load().is_some() {
            return Err(IdentityError::Signature);
        }
        let set = self.fetch(&known.issuer.keys).await?;
        *fetched = Some(Instant::now());
        known.keys.store(Some(Arc::new(set)));
        find(known.keys.load().as_deref(), peeked).unwrap_or(Err(IdentityError::Signature))
    }

    async fn fetch(&self, source: &KeySource) -> Result<JwkSet, IdentityError> {
        let text = match source {
            KeySource::Given(text) => text.clone(),
            KeySource::File(path) => tokio::fs::read_to_string(path)
                .await
                .map_err(|e| IdentityError::Unavailable(format!("key set {}: {e}", path.display())))?,
            KeySource::Url(url) => {
                let wrong = |e: reqwest::Error| {
                    IdentityError::Unavailable(format!("key set {url}: {}", e.without_url()))
                };
                let answer = self
                    .http
                    .get(url)
                    .timeout(FETCH_TIMEOUT)
                    .send()
                    .await
                    .map_err(wrong)?;
                answer
                    .error_for_status()
                    .map_err(wrong)?
                    .text()
                    .await
                    .map_err(wrong)?
            }
        };
        serde_json::from_str(&text)
            .map_err(|e| IdentityError::Unavailable(format!("the key set is not one: {e}")))
    }

    /// Reads the key sets anew, so that keys that were withdrawn stop working. Never returns.
    pub async fn keep_fresh(&self) {
        loop {
            tokio::time::sleep(REFRESH).await;
            for known in self.by_name.values() {
                match self.fetch(&known.issuer.keys).await {
                    Ok(set) => known.keys.store(Some(Arc::new(set))),
                    Err(error) => {
                        tracing::warn!(issuer = known.issuer.name, %error, "cannot refresh a key set")
                    }
                }
            }
        }
    }
}

/// The key that a token names. `None` where there is none (yet).
fn find(set: Option<&JwkSet>, peeked: &Peeked) -> Option<Result<DecodingKey, IdentityError>> {
    let set = set?;
    let jwk = match &peeked.key_id {
        Some(id) => set.find(id)?,
        None => match set.keys.as_slice() {
            [one] => one,
            _ => return Some(Err(IdentityError::Claim("kid, and its issuer has several keys"))),
        },
    };
    Some(DecodingKey::from_jwk(jwk).map_err(|_| IdentityError::Signature))
}

/// Public-key signatures only: `none` and shared secrets prove nothing about an issuer.
fn algorithm(name: &str) -> Result<Algorithm, IdentityError> {
    match Algorithm::from_str(name) {
        Ok(Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512) | Err(_) => {
            Err(IdentityError::Algorithm(quoted(name)))
        }
        Ok(algorithm) => Ok(algorithm),
    }
}
