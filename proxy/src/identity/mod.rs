//! Who calls: from a token to a verified [`Caller`].
//!
//! Tokens are verified against the key sets of configured OIDC issuers, or by the API server's TokenReview.
//! What was verified is remembered by the token's SHA-256 for at most ten seconds, so that a token that is
//! revoked stops working soon and one that is used a lot costs one hash a call. Nothing here reads a
//! header: [`bearer`] does, and the journey decides which of two proofs counts.
//!
//! Anybody can send a token that says anything, and what is said of it goes into answers and records. So a
//! token is short ([`MAX_TOKEN_BYTES`]), and no error quotes more than [`MAX_QUOTED`] characters of it.

pub mod bearer;
pub mod jwks;
pub mod review;
#[cfg(test)]
mod tests;
pub mod token;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use moka::{Expiry, future::Cache};
use sha2::{Digest, Sha256};
use turnpike_policy::caller::Caller;

pub use jwks::{Issuer, Issuers};
pub use review::TokenReviewer;

/// Longest token that is looked at. Real ones have 1 to 4 KiB.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// Longest text of an unverified token in an error, in characters.
pub const MAX_QUOTED: usize = 200;

/// As much of a text that nobody has verified as an error may hold.
fn quoted(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTED) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// Why a token proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// None was sent.
    #[error(
        "no agent token: send a token for audience \"turnpike\" as the client's access token (Authorization: Bearer) \
         or as the proxy's password (Proxy-Authorization)"
    )]
    Missing,
    /// Not a JWT.
    #[error("the token is not a JSON Web Token; a Google access token or API key means nothing here")]
    NotAToken,
    /// An algorithm that is no public-key signature.
    #[error("the token's algorithm {0:?} is not accepted: it must be a public-key signature")]
    Algorithm(String),
    /// Nobody configured this issuer.
    #[error("the token's issuer {0:?} is not one that this gateway trusts")]
    UnknownIssuer(String),
    /// No key of the issuer fits.
    #[error("the token's signature does not verify with the keys of its issuer")]
    Signature,
    /// Over.
    #[error("the token has expired; agents get a new one from their token file or issuer")]
    Expired,
    /// Not yet valid.
    #[error("the token is not valid yet; check the clocks")]
    Immature,
    /// Meant for somebody else.
    #[error("the token is for audience {found}, and this gateway is {wanted:?}")]
    Audience {
        /// What the token says.
        found: String,
        /// What it should say.
        wanted: String,
    },
    /// Something that must be there is not.
    #[error("the token lacks {0}")]
    Claim(&'static str),
    /// The API server says no.
    #[error("the API server does not accept the token: {0}")]
    Rejected(String),
    /// The API server or the key set can't be asked.
    #[error("the token can't be verified now: {0}")]
    Unavailable(String),
    /// Connection and request prove different agents.
    #[error("the connection's token is for {connection} and the request's for {request}: send one of them")]
    Conflict {
        /// From `Proxy-Authorization`.
        connection: String,
        /// From `Authorization`.
        request: String,
    },
}

impl IdentityError {
    /// The reason code for answers and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Missing => "TOKEN_MISSING",
            Self::NotAToken => "TOKEN_MALFORMED",
            Self::Algorithm(_) => "TOKEN_ALGORITHM",
            Self::UnknownIssuer(_) => "TOKEN_ISSUER",
            Self::Signature => "TOKEN_SIGNATURE",
            Self::Expired => "TOKEN_EXPIRED",
            Self::Immature => "TOKEN_IMMATURE",
            Self::Audience { .. } => "TOKEN_AUDIENCE",
            Self::Claim(_) => "TOKEN_CLAIM",
            Self::Rejected(_) => "TOKEN_REJECTED",
            Self::Unavailable(_) => "TOKEN_UNVERIFIABLE",
            Self::Conflict { .. } => "TOKEN_CONFLICT",
        }
    }
}

/// A caller and how long the proof may be relied on.
#[derive(Debug, Clone)]
pub struct Verified {
    /// Who it is.
    pub caller: Arc<Caller>,
    /// When the token expires, in seconds of the Unix epoch.
    pub expires_at: i64,
}

/// How long a verified token is remembered at most. Bounds how long a revoked one keeps working.
const REMEMBER: Duration = Duration::from_secs(10);
/// How long a refused token is remembered, so that a broken agent does not flood the API server.
const REMEMBER_REFUSED: Duration = Duration::from_secs(1);

type Remembered = Result<Verified, IdentityError>;

/// Verifies tokens.
#[derive(Debug)]
pub struct Identifier {
    issuers: Issuers,
    reviewer: Option<Arc<TokenReviewer>>,
    seen: Cache<[u8; 32], Remembered>,
}

struct Forget;

impl Expiry<[u8; 32], Remembered> for Forget {
    fn expire_after_create(&self, _: &[u8; 32], value: &Remembered, _: Instant) -> Option<Duration> {
        Some(match value {
            Ok(verified) => {
                let left = verified.expires_at - jiff::Timestamp::now().as_second();
                REMEMBER.min(Duration::from_secs(left.max(0) as u64))
            }
            Err(_) => REMEMBER_REFUSED,
        })
    }
}

impl Identifier {
    /// An identifier for these issuers and, in a cluster, the API server.
    pub fn new(issuers: Issuers, reviewer: Option<Arc<TokenReviewer>>) -> Self {
        Self {
            issuers,
            reviewer,
            seen: Cache::builder()
                .max_capacity(100_000)
                .expire_after(Forget)
                .build(),
        }
    }

    /// Verifies a token. Concurrent calls with one token verify it once.
    ///
    /// # Errors
    /// [`IdentityError`] says why the token proves nothing.
    pub async fn verify(&self, token: &str) -> Result<Arc<Caller>, IdentityError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(IdentityError::NotAToken);
        }
        let key: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let remembered = match self.seen.get(&key).await {
            Some(found) => found,
            None => self.seen.get_with(key, self.ask(token)).await,
        };
        let verified = remembered?;
        // The cache forgets in time, but may do so a moment late.
        if verified.expires_at <= jiff::Timestamp::now().as_second() {
            return Err(IdentityError::Expired);
        }
        Ok(verified.caller)
    }

    /// Keeps key sets fresh. Never returns.
    pub async fn keep_fresh(&self) {
        self.issuers.keep_fresh().await;
    }

    async fn ask(&self, token: &str) -> Remembered {
        let peeked = token::peek(token)?;
        if self.issuers.knows(&peeked.issuer) {
            return self.issuers.verify(token, &peeked).await;
        }
        match &self.reviewer {
            Some(reviewer) => reviewer.verify(token, &peeked).await,
            None => Err(IdentityError::UnknownIssuer(quoted(&peeked.issuer))),
        }
    }
}
