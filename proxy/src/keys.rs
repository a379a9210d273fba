//! Standalone mode's own identity issuer, for trying things out: a key made in the configuration folder,
//! its key set, and short-lived agent tokens signed with it.
//!
//! Whoever can read the folder can be any agent. That is why it exists in standalone mode alone, and why a
//! configuration can leave the issuer out.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use serde_json::json;

use crate::files;

/// Its `iss`.
pub const ISSUER: &str = "https://standalone.turnpike.invalid";
const KEY_ID: &str = "standalone";
const PRIVATE: &str = "signing-key.pem";
const PUBLIC: &str = "jwks.json";

/// Why there is no key or token.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A file can't be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The key can't be made or used.
    #[error("{path}: {message}")]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        message: String,
    },
}

/// Makes the key and its key set in `DIR/identity` where they are missing.
///
/// # Errors
/// [`KeyError`] names the file.
pub fn ensure(dir: &Path) -> Result<(), KeyError> {
    let folder = dir.join("identity");
    let (private, public) = (folder.join(PRIVATE), folder.join(PUBLIC));
    if private.exists() && public.exists() {
        return Ok(());
    }
    let wrong = |message: String| KeyError::Key {
        path: private.clone(),
        message,
    };
    let pair = rcgen::KeyPair::generate().map_err(|e| wrong(e.to_string()))?;
    let pem = pair.serialize_pem();
    let key = EncodingKey::from_ec_pem(pem.as_bytes()).map_err(|e| wrong(e.to_string()))?;
    let mut jwk = Jwk::from_encoding_key(&key, Algorithm::ES256).map_err(|e| wrong(e.to_string()))?;
    jwk.common.key_id = Some(KEY_ID.to_owned());
    let set = json!({"keys": [jwk]});
    fs::create_dir_all(&folder).map_err(|source| KeyError::File {
        path: folder.clone(),
        source,
    })?;
    write(&private, pem.as_bytes(), 0o600)?;
    write(&public, format!("{set:#}\n").as_bytes(), 0o644)
}

/// Signs a token for the agent `NAMESPACE/NAME`.
///
/// # Errors
/// [`KeyError`] when the key cannot be made, read or used.
pub fn mint(
    dir: &Path,
    namespace: &str,
    name: &str,
    audience: &str,
    ttl: Duration,
) -> Result<String, KeyError> {
    ensure(dir)?;
    let path = dir.join("identity").join(PRIVATE);
    let pem = fs::read(&path).map_err(|source| KeyError::File {
        path: path.clone(),
        source,
    })?;
    let wrong = |e: jsonwebtoken::errors::Error| KeyError::Key {
        path: path.clone(),
        message: e.to_string(),
    };
    let key = EncodingKey::from_ec_pem(&pem).map_err(wrong)?;
    let now = jiff::Timestamp::now().as_second();
    let ttl = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
    let claims = json!({
        "iss": ISSUER,
        "sub": format!("system:serviceaccount:{namespace}:{name}"),
        "aud": audience,
        "iat": now,
        "nbf": now,
        "exp": now.saturating_add(ttl),
        "session": uuid::Uuid::now_v7().to_string(),
    });
    let header = Header {
        kid: Some(KEY_ID.to_owned()),
        ..Header::new(Algorithm::ES256)
    };
    jsonwebtoken::encode(&header, &claims, &key).map_err(wrong)
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), KeyError> {
    files::write(path, bytes, mode).map_err(|source| KeyError::File {
        path: path.to_owned(),
        source,
    })
}
