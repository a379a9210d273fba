//! Credentials for Google: minted for a permit, never before, and never shown.
//!
//! The source is the gateway's ambient credential, a token that somebody else keeps fresh in a file, or a
//! service account key; with a source, a service account can be impersonated. google-cloud-auth does the
//! sources and caches their tokens. The exchange for impersonation is made over this proxy's own egress,
//! because private endpoints and their roots are configured there.

use std::{
    fmt,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::future::BoxFuture;
use google_cloud_auth::credentials::{self, AccessTokenCredentials};
use http::{HeaderValue, Request, header};
use http_body_util::{BodyExt, Limited};
use moka::{Expiry, future::Cache};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use turnpike_policy::{
    Permit,
    definition::{CredentialDef, CredentialSource, ImpersonateDef},
};

use crate::{body::RequestBody, egress::Egress};

/// A minted access token.
pub struct Credential(SecretString);

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential([redacted])")
    }
}

impl Credential {
    /// The `Authorization` header, marked sensitive. Tokens of Google are visible ASCII; anything else can
    /// not be sent and gives an empty header, which Google refuses.
    pub(crate) fn into_header(self) -> HeaderValue {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", self.0.expose_secret()))
            .unwrap_or(HeaderValue::from_static(""));
        value.set_sensitive(true);
        value
    }
}

/// Why there is no credential. Texts never hold any of its material.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CredentialError {
    /// The source gives none.
    #[error("the gateway's {source_name} credential gives no token: {reason}")]
    Source {
        /// Which one.
        source_name: String,
        /// Why.
        reason: String,
    },
    /// The key of a policy cannot be read.
    #[error("the service account key {secret}/{key} cannot be used: {reason}")]
    Key {
        /// Name of the Secret.
        secret: String,
        /// Key within it.
        key: String,
        /// Why.
        reason: String,
    },
    /// Impersonation is refused or fails.
    #[error("cannot impersonate {service_account}: {reason}")]
    Impersonation {
        /// Whom.
        service_account: String,
        /// Why.
        reason: String,
    },
}

/// Where the ambient credential comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AmbientSource {
    /// Application default credentials: key file by environment, workload identity, metadata server.
    ApplicationDefault,
    /// A file with an access token, read again at most every few seconds.
    TokenFile(PathBuf),
}

/// Reads the service account keys that policies name.
pub trait KeyStore: Send + Sync + fmt::Debug {
    /// The JSON text of a key. Errors are sentences without any material.
    fn read<'a>(&'a self, secret: &'a str, key: &'a str) -> BoxFuture<'a, Result<SecretString, String>>;
}

/// Mints credentials.
pub struct Credentials {
    ambient: AmbientSource,
    keys: Arc<dyn KeyStore>,
    egress: Arc<Egress>,
    sources: Cache<SourceKey, Source>,
    impersonated: Cache<Arc<CredentialDef>, Token>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("ambient", &self.ambient)
            .finish_non_exhaustive()
    }
}

type SourceKey = (CredentialSource, Vec<String>);

#[derive(Clone)]
enum Source {
    Google(AccessTokenCredentials),
    Text(SecretString),
}

#[derive(Clone)]
struct Token {
    text: SecretString,
    good_for: Duration,
}

/// A key is read again after this long, so that a new one in its Secret takes over.
const SOURCE_FOR: Duration = Duration::from_secs(300);
const TOKEN_FILE_FOR: Duration = Duration::from_secs(5);
/// An impersonated token is renewed this long before it ends.
const RENEW_BEFORE: Duration = Duration::from_secs(300);
const IAM_CREDENTIALS: &str = "iamcredentials.googleapis.com";
const IMPERSONATE_WITHIN: Duration = Duration::from_secs(15);
const CLOUD_PLATFORM: &str = turnpike_policy::definition::DEFAULT_SCOPE;

struct Lives;

impl Expiry<SourceKey, Source> for Lives {
    fn expire_after_create(&self, _: &SourceKey, source: &Source, _: Instant) -> Option<Duration> {
        Some(match source {
            Source::Google(_) => SOURCE_FOR,
            Source::Text(_) => TOKEN_FILE_FOR,
        })
    }
}

impl Expiry<Arc<CredentialDef>, Token> for Lives {
    fn expire_after_create(&self, _: &Arc<CredentialDef>, token: &Token, _: Instant) -> Option<Duration> {
        Some(token.good_for)
    }
}

impl Credentials {
    /// Credentials from this ambient source and these keys.
    pub fn new(ambient: AmbientSource, keys: Arc<dyn KeyStore>, egress: Arc<Egress>) -> Self {
        Self {
            ambient,
            keys,
            egress,
            sources: Cache::builder().max_capacity(1_000).expire_after(Lives).build(),
            impersonated: Cache::builder().max_capacity(10_000).expire_after(Lives).build(),
        }
    }

    /// Mints the credential that a permit names.
    ///
    /// # Errors
    /// [`CredentialError`] says which credential and why.
    pub async fn mint(&self, permit: &Permit) -> Result<Credential, CredentialError> {
        let wanted = permit.credential();
        let token = match &wanted.impersonate {
            None => self.source_token(&wanted.source, &wanted.scopes).await?,
            Some(impersonate) => match self.impersonated.get(wanted).await {
                Some(token) => token.text,
                None => {
                    // In a box, because most calls find a token, and all would have room for this.
                    let minting = self
                        .impersonated
                        .try_get_with(wanted.clone(), self.impersonate(wanted, impersonate));
                    let minted = Box::pin(minting).await;
                    minted.map_err(|e| CredentialError::clone(&e))?.text
                }
            },
        };
        Ok(Credential(token))
    }

    async fn source_token(
        &self,
        source: &CredentialSource,
        scopes: &[String],
    ) -> Result<SecretString, CredentialError> {
        let key = (source.clone(), scopes.to_vec());
        let found = match self.sources.get(&key).await {
            Some(found) => found,
            None => Box::pin(self.sources.try_get_with(key, self.open(source, scopes)))
                .await
                .map_err(|e| CredentialError::clone(&e))?,
        };
        match found {
            Source::Text(token) => Ok(token),
            Source::Google(credentials) => match credentials.access_token().await {
                Ok(token) => Ok(SecretString::from(token.token)),
                Err(error) => Err(CredentialError::Source {
                    source_name: source_name(source),
                    reason: if error.is_transient() {
                        "it does not answer now (`credential` in turnpike.yaml says where it comes from)"
                    } else {
                        "it is refused (`credential` in turnpike.yaml says where it comes from)"
                    }
                    .to_owned(),
                }),
            },
        }
    }

    async fn open(&self, source: &CredentialSource, scopes: &[String]) -> Result<Source, CredentialError> {
        let wrong = |reason: String| CredentialError::Source {
            source_name: source_name(source),
            reason,
        };
        match (source, &self.ambient) {
            (CredentialSource::Ambient, AmbientSource::TokenFile(path)) => {
                let text = tokio::fs::read_to_string(path)
                    .await
                    .map_err(|e| wrong(format!("token file {}: {e}", path.display())))?;
                Ok(Source::Text(SecretString::from(text.trim().to_owned())))
            }
            (CredentialSource::Ambient, AmbientSource::ApplicationDefault) => credentials::Builder::default()
                .with_scopes(scopes)
                .build_access_token_credentials()
                .map(Source::Google)
                .map_err(|e| wrong(e.to_string())),
            (CredentialSource::Key { secret, key }, _) => {
                let wrong = |reason: String| CredentialError::Key {
                    secret: secret.clone(),
                    key: key.clone(),
                    reason,
                };
                let text = self.keys.read(secret, key).await.map_err(wrong)?;
                // The parser's error could quote the key, so it is not passed on.
                let json: serde_json::Value = serde_json::from_str(text.expose_secret())
                    .map_err(|_| wrong("it is not JSON".to_owned()))?;
                credentials::service_account::Builder::new(json)
                    .with_access_specifier(credentials::service_account::AccessSpecifier::from_scopes(scopes))
                    .build_access_token_credentials()
                    .map(Source::Google)
                    .map_err(|_| wrong("it is not a service account key".to_owned()))
            }
        }
    }

    async fn impersonate(
        &self,
        wanted: &CredentialDef,
        whom: &ImpersonateDef,
    ) -> Result<Token, CredentialError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Answer {
            access_token: String,
            expire_time: jiff::Timestamp,
        }
        let wrong = |reason: String| CredentialError::Impersonation {
            service_account: whom.service_account.clone(),
            reason,
        };
        let source = self
            .source_token(&wanted.source, &[CLOUD_PLATFORM.to_owned()])
            .await?;
        let delegates: Vec<String> = whom
            .delegates
            .iter()
            .map(|d| format!("projects/-/serviceAccounts/{d}"))
            .collect();
        let body = serde_json::json!({"scope": wanted.scopes, "delegates": delegates, "lifetime": "3600s"});
        let account =
            percent_encoding::utf8_percent_encode(&whom.service_account, percent_encoding::NON_ALPHANUMERIC);
        let request = Request::post(format!(
            "https://{IAM_CREDENTIALS}/v1/projects/-/serviceAccounts/{account}:generateAccessToken"
        ))
        .header(header::HOST, IAM_CREDENTIALS)
        .header(header::AUTHORIZATION, Credential(source).into_header())
        .header(header::CONTENT_TYPE, "application/json")
        .body(RequestBody::whole(Bytes::from(body.to_string())))
        .map_err(|e| wrong(e.to_string()))?;
        let exchange = async {
            let answer = self
                .egress
                .own_call(IAM_CREDENTIALS, request)
                .await
                .map_err(|e| wrong(e.to_string()))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), 64 * 1024)
                .collect()
                .await
                .map_err(|e| wrong(e.to_string()))?
                .to_bytes();
            if !status.is_success() {
                return Err(wrong(format!("the IAM Credentials API answers {status}")));
            }
            // Not the parser's words: they could quote the token.
            serde_json::from_slice::<Answer>(&body)
                .map_err(|_| wrong("the answer is not understood".to_owned()))
        };
        let answer = tokio::time::timeout(IMPERSONATE_WITHIN, exchange)
            .await
            .map_err(|_| wrong("the IAM Credentials API does not answer".to_owned()))??;
        let left = answer.expire_time.as_second() - jiff::Timestamp::now().as_second();
        let left = Duration::from_secs(u64::try_from(left).unwrap_or(0));
        Ok(Token {
            text: SecretString::from(answer.access_token),
            good_for: left.saturating_sub(RENEW_BEFORE),
        })
    }
}

fn source_name(source: &CredentialSource) -> String {
    match source {
        CredentialSource::Ambient => "ambient".to_owned(),
        CredentialSource::Key { secret, key } => format!("{secret}/{key}"),
    }
}
