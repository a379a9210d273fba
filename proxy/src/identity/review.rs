//! Verification by the API server's TokenReview, with the cluster's own key set as the way out while the
//! API server does not answer.
//!
//! TokenReview also knows whether the pod and the ServiceAccount still exist; the key set does not. So the
//! key set counts only while the API server is out of reach, and what it proves still expires with the
//! token.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::{Api, Client, api::PostParams};
use turnpike_policy::caller::{Caller, Identity};

use super::{
    IdentityError, Verified,
    jwks::{Issuer, Issuers, KeySource},
    quoted,
    token::{Audience, Claims, Peeked},
};

/// Asks the API server.
pub struct TokenReviewer {
    client: Client,
    audience: String,
    fallback: ArcSwapOption<Issuers>,
}

impl std::fmt::Debug for TokenReviewer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenReviewer")
            .field("audience", &self.audience)
            .finish_non_exhaustive()
    }
}

const TIMEOUT: Duration = Duration::from_secs(3);

impl TokenReviewer {
    /// A reviewer for tokens of this audience.
    pub fn new(client: Client, audience: String) -> Self {
        Self {
            client,
            audience,
            fallback: ArcSwapOption::empty(),
        }
    }

    /// Fetches the cluster's issuer and keys, for the time when the API server does not answer.
    ///
    /// # Errors
    /// When the API server does not tell them.
    pub async fn learn_keys(&self) -> Result<(), kube::Error> {
        #[derive(serde::Deserialize)]
        struct Discovery {
            issuer: String,
        }
        let get = |path: &str| {
            http::Request::get(path)
                .body(Vec::new())
                .map_err(kube::Error::HttpError)
        };
        let discovery: Discovery = self
            .client
            .request(get("/.well-known/openid-configuration")?)
            .await?;
        let keys: serde_json::Value = self.client.request(get("/openid/v1/jwks")?).await?;
        let issuer = Issuer {
            name: discovery.issuer,
            audiences: vec![self.audience.clone()],
            keys: KeySource::Given(keys.to_string()),
            service_accounts: true,
        };
        self.fallback.store(Some(Arc::new(Issuers::new(vec![issuer]))));
        Ok(())
    }

    /// Verifies a token.
    ///
    /// # Errors
    /// [`IdentityError`] says why not.
    pub async fn verify(&self, token: &str, peeked: &Peeked) -> Result<Verified, IdentityError> {
        let review = TokenReview {
            spec: TokenReviewSpec {
                audiences: Some(vec![self.audience.clone()]),
                token: Some(token.to_owned()),
            },
            ..TokenReview::default()
        };
        let api: Api<TokenReview> = Api::all(self.client.clone());
        let answer = tokio::time::timeout(TIMEOUT, api.create(&PostParams::default(), &review)).await;
        let unavailable = match answer {
            Ok(Ok(review)) => return self.reviewed(token, peeked, review),
            // The API server has spoken: no other verdict may replace its own.
            Ok(Err(kube::Error::Api(status))) if status.code < 500 && status.code != 429 => {
                return Err(IdentityError::Unavailable(format!(
                    "TokenReview is refused: {}",
                    quoted(&status.message)
                )));
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the API server does not answer".to_owned(),
        };
        match self.fallback.load().as_deref() {
            Some(issuers) if issuers.knows(&peeked.issuer) => issuers.verify(token, peeked).await,
            _ => Err(IdentityError::Unavailable(unavailable)),
        }
    }

    fn reviewed(&self, token: &str, peeked: &Peeked, review: TokenReview) -> Result<Verified, IdentityError> {
        let status = review.status.unwrap_or_default();
        if status.authenticated != Some(true) {
            return Err(self.why_not(token, peeked, status.error.unwrap_or_default()));
        }
        let audiences = status.audiences.unwrap_or_default();
        if !audiences.contains(&self.audience) {
            return Err(IdentityError::Audience {
                found: quoted(&format!("{audiences:?}")),
                wanted: self.audience.clone(),
            });
        }
        let user = status.user.unwrap_or_default();
        let username = user.username.unwrap_or_default();
        let extra = |key: &str| {
            user.extra
                .as_ref()
                .and_then(|e| e.get(key))
                .and_then(|v| v.first())
                .cloned()
        };
        let account = username
            .strip_prefix("system:serviceaccount:")
            .and_then(|s| s.split_once(':'));
        let Some((namespace, name)) = account else {
            return Err(IdentityError::Rejected(format!(
                "{username:?} is not a ServiceAccount"
            )));
        };
        let claims = unverified(token)?;
        let mut caller = Caller {
            identity: Identity::ServiceAccount {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            },
            issuer: claims.iss,
            session: String::new(),
            pod: extra("authentication.kubernetes.io/pod-name"),
        };
        caller.session = extra("authentication.kubernetes.io/pod-uid").unwrap_or_else(|| caller.name());
        Ok(Verified {
            caller: Arc::new(caller),
            expires_at: claims.exp,
        })
    }

    /// The API server tells little of why it refuses, so what the token says of itself is held against the
    /// clock and the audience. It changes the words of the refusal, never the refusal.
    fn why_not(&self, token: &str, peeked: &Peeked, error: String) -> IdentityError {
        // First, because the claims of an algorithm that is not known cannot be read.
        if peeked.algorithm == "none" || peeked.algorithm.starts_with("HS") {
            return IdentityError::Algorithm(quoted(&peeked.algorithm));
        }
        let Ok(claims) = unverified(token) else {
            return IdentityError::NotAToken;
        };
        if claims.exp <= jiff::Timestamp::now().as_second() {
            return IdentityError::Expired;
        }
        let audiences = claims.aud.as_ref().map(Audience::list).unwrap_or_default();
        if !audiences.contains(&self.audience) {
            return IdentityError::Audience {
                found: quoted(&format!("{audiences:?}")),
                wanted: self.audience.clone(),
            };
        }
        if self
            .fallback
            .load()
            .as_deref()
            .is_some_and(|i| !i.knows(&peeked.issuer))
        {
            return IdentityError::UnknownIssuer(quoted(&peeked.issuer));
        }
        // Its words can quote the token's claims, and never the token itself.
        IdentityError::Rejected(if error.is_empty() {
            "not authenticated".to_owned()
        } else {
            quoted(&error)
        })
    }
}

fn unverified(token: &str) -> Result<Claims, IdentityError> {
    jsonwebtoken::dangerous::insecure_decode::<Claims>(token)
        .map(|d| d.claims)
        .map_err(|_| IdentityError::NotAToken)
}
