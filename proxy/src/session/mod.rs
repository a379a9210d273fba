//! Credentials that Google hands out in its answers as URLs: sessions of resumable uploads, and signed URLs.
//!
//! Whoever has such a URL needs no token, so an agent never gets one. What it gets is a URL of the same shape that
//! only it can use, and only here: the secret part is sealed ([`token`]) together with the agent, the method, what
//! it acts on and an end. Nothing is kept: every replica with the same key material opens what another one sealed.
//!
//! What is opened is not allowed by that. The request is classified and decided as every other one, so a policy that
//! changed since an upload began refuses its next part.
//!
//! This module does no I/O and takes the time as an argument. It does not mask answers: [`signed`] says what to put
//! where a masker has been.

mod opening;
pub(crate) mod range;
mod signed;
#[cfg(test)]
mod tests;
mod token;
mod upload;

use http::header::InvalidHeaderValue;
use turnpike_policy::{
    caller::{Caller, Identity},
    catalog::Catalog,
};

pub use opening::{InOne, Opening};
pub use signed::{OpenedSigned, Reissued};
pub use upload::OpenedSession;

/// What is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The session of a resumable upload.
    Upload,
    /// A signed URL.
    SignedUrl,
    /// An upload that is begun only when its content is there.
    Promised,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Upload | Self::Promised => "upload session",
            Self::SignedUrl => "signed URL",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a URL is neither handed out nor taken. None of the texts repeats any of it.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// It is Google's own, or somebody's invention.
    #[error(
        "this {0} was not handed out by Turnpike; begin through Turnpike, and use the URL exactly as its answer had it"
    )]
    NotOurs(Kind),
    /// It says that it is ours and cannot be opened.
    #[error("this {0} was altered, or comes from a gateway with another key; begin anew")]
    Tampered(Kind),
    /// It was handed out to another agent.
    #[error("this {0} was handed out to another agent; begin one of your own")]
    AnotherAgent(Kind),
    /// It was handed out for something else than it is used for.
    #[error("this {0} was handed out for another URL, verb or method; use it exactly as the answer had it")]
    AnotherTarget(Kind),
    /// It has come to its end.
    #[error("this {0} has expired; begin anew")]
    Expired(Kind),
    /// Google's answer holds one that this gateway does not understand.
    #[error("the answer holds a {0} that cannot be bound to this agent, and is not passed on")]
    Unsealable(Kind),
    /// What was made is no header value.
    #[error("the sealed URL is no header value: {0}")]
    Header(#[from] InvalidHeaderValue),
    /// The cipher, or the source of random numbers, failed.
    #[error("the cipher failed")]
    Cipher,
}

impl SessionError {
    /// The reason as a stable code.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotOurs(Kind::Upload | Kind::Promised) => "UPLOAD_SESSION_NOT_OURS",
            Self::NotOurs(Kind::SignedUrl) => "SIGNED_URL_NOT_OURS",
            Self::Tampered(Kind::Upload | Kind::Promised) => "UPLOAD_SESSION_TAMPERED",
            Self::Tampered(Kind::SignedUrl) => "SIGNED_URL_TAMPERED",
            Self::AnotherAgent(Kind::Upload | Kind::Promised) => "UPLOAD_SESSION_OF_ANOTHER_AGENT",
            Self::AnotherAgent(Kind::SignedUrl) => "SIGNED_URL_OF_ANOTHER_AGENT",
            Self::AnotherTarget(Kind::Upload | Kind::Promised) => "UPLOAD_SESSION_OF_ANOTHER_TARGET",
            Self::AnotherTarget(Kind::SignedUrl) => "SIGNED_URL_OF_ANOTHER_TARGET",
            Self::Expired(Kind::Upload | Kind::Promised) => "UPLOAD_SESSION_EXPIRED",
            Self::Expired(Kind::SignedUrl) => "SIGNED_URL_EXPIRED",
            Self::Unsealable(Kind::Upload | Kind::Promised) => "UPLOAD_SESSION_UNSEALABLE",
            Self::Unsealable(Kind::SignedUrl) => "SIGNED_URL_UNSEALABLE",
            Self::Header(_) | Self::Cipher => "SEALING_FAILED",
        }
    }
}

/// Seals and opens.
pub struct Sealer {
    keys: token::Keys,
    catalog: &'static Catalog,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer").finish_non_exhaustive()
    }
}

impl Sealer {
    /// A sealer; the key material is what all replicas share and nobody else has, 32 bytes or more of it.
    ///
    /// # Errors
    /// [`SessionError::Cipher`] where no keys could be derived.
    pub fn new(key_material: &[u8], catalog: &'static Catalog) -> Result<Self, SessionError> {
        Ok(Self {
            keys: token::Keys::derive(key_material)?,
            catalog,
        })
    }
}

/// Who an agent is, as what is sealed says it. Claims and audiences of a token change from one to the next; issuer
/// and subject do not.
fn agent(caller: &Caller) -> String {
    let parts = match &caller.identity {
        Identity::ServiceAccount { namespace, name } => ["serviceAccount", namespace, name],
        Identity::Oidc { issuer, subject, .. } => ["oidc", issuer, subject],
    };
    // Each with its length, so that no two agents are written alike.
    parts.map(|part| format!("{}:{part}", part.len())).join(",")
}
