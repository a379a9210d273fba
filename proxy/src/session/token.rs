//! Sealed tokens: AES-256-GCM under keys derived by HKDF, one for each kind of token, with random nonces.
//!
//! ```text
//! tp1-BASE64URL( nonce (12 bytes), ciphertext, tag (16 bytes) )
//! ```
//!
//! The content is JSON. Base64 is taken in its one canonical spelling only, so a token has one form.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey},
    hkdf,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

use super::{Kind, SessionError};

/// What a token begins with. Google's own ids do not.
const PREFIX: &str = "tp1-";
/// Bytes of a nonce.
const NONCE: usize = 12;

/// A key for each kind of token.
pub(super) struct Keys {
    upload: RandomizedNonceKey,
    signed: RandomizedNonceKey,
    promised: RandomizedNonceKey,
}

impl Keys {
    pub(super) fn derive(material: &[u8]) -> Result<Self, SessionError> {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"turnpike sealed urls 1");
        let source = salt.extract(material);
        let key = |kind: Kind| {
            let mut key = Zeroizing::new([0u8; 32]);
            let info = [info(kind)];
            let expanded = source.expand(&info, hkdf::HKDF_SHA256);
            expanded
                .and_then(|okm| okm.fill(key.as_mut_slice()))
                .and_then(|()| RandomizedNonceKey::new(&AES_256_GCM, key.as_slice()))
                .map_err(|_| SessionError::Cipher)
        };
        Ok(Self {
            upload: key(Kind::Upload)?,
            signed: key(Kind::SignedUrl)?,
            promised: key(Kind::Promised)?,
        })
    }

    fn of(&self, kind: Kind) -> &RandomizedNonceKey {
        match kind {
            Kind::Upload => &self.upload,
            Kind::SignedUrl => &self.signed,
            Kind::Promised => &self.promised,
        }
    }

    /// Seals a value.
    pub(super) fn seal(&self, kind: Kind, content: &impl Serialize) -> Result<String, SessionError> {
        let mut bytes = serde_json::to_vec(content).map_err(|_| SessionError::Cipher)?;
        let nonce = self
            .of(kind)
            .seal_in_place_append_tag(Aad::from(info(kind)), &mut bytes)
            .map_err(|_| SessionError::Cipher)?;
        let mut token = Vec::with_capacity(NONCE + bytes.len());
        token.extend_from_slice(nonce.as_ref());
        token.extend_from_slice(&bytes);
        Ok(format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(token)))
    }

    /// Opens a token of this kind.
    pub(super) fn open<T: DeserializeOwned>(&self, kind: Kind, token: &str) -> Result<T, SessionError> {
        let text = token.strip_prefix(PREFIX).ok_or(SessionError::NotOurs(kind))?;
        let tampered = || SessionError::Tampered(kind);
        let mut bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| tampered())?;
        let (nonce, sealed) = bytes.split_at_mut_checked(NONCE).ok_or_else(tampered)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| tampered())?;
        let content = self
            .of(kind)
            .open_in_place(nonce, Aad::from(info(kind)), sealed)
            .map_err(|_| tampered())?;
        serde_json::from_slice(content).map_err(|_| tampered())
    }
}

/// Keeps the kinds apart, in keys and in what is authenticated.
fn info(kind: Kind) -> &'static [u8] {
    match kind {
        Kind::Upload => b"upload session",
        Kind::SignedUrl => b"signed url",
        Kind::Promised => b"promised upload",
    }
}
