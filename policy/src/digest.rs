//! The digest of a held call: what a person approves, and what the same call made again is found by.
//!
//! It covers the agent, the methods and resources, the canonical target, the headers that change what
//! Google does, and the whole body. Every part is preceded by its length, so no two calls share an input.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{call::Call, caller::Caller};

/// SHA-256 over a call; written `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CallDigest([u8; 32]);

impl CallDigest {
    /// Compares in constant time.
    pub fn same_as(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Display for CallDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for CallDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<CallDigest> for String {
    fn from(digest: CallDigest) -> String {
        digest.to_string()
    }
}

/// A text that is not a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a digest is sha256: and 64 hexadecimal digits")]
pub struct NotADigest;

impl FromStr for CallDigest {
    type Err = NotADigest;
    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let hex = text
            .strip_prefix("sha256:")
            .filter(|h| h.len() == 64 && h.is_ascii())
            .ok_or(NotADigest)?;
        let mut bytes = [0; 32];
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).map_err(|_| NotADigest)?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for CallDigest {
    type Error = NotADigest;
    fn try_from(text: String) -> Result<Self, NotADigest> {
        text.parse()
    }
}

/// Builds a [`CallDigest`] while a body arrives.
#[derive(Debug, Clone)]
pub struct CallDigester {
    hasher: Sha256,
    body_bytes: u64,
}

impl CallDigester {
    /// Begins with everything but the body. `target` is the canonical verb, host, path and query; `headers`
    /// are those that matter, in canonical order.
    pub fn new(caller: &Caller, calls: &[Call], target: &[&str], headers: &[(&str, &[u8])]) -> Self {
        let mut digester = Self {
            hasher: Sha256::new(),
            body_bytes: 0,
        };
        digester.part(b"turnpike call 1");
        digester.part(caller.issuer.as_bytes());
        digester.part(caller.name().as_bytes());
        digester.count(calls.len());
        for call in calls {
            digester.part(call.method.as_bytes());
            digester.part(call.version.as_bytes());
            digester.count(call.resources.len());
            for resource in &call.resources {
                digester.part(resource.name.as_bytes());
            }
        }
        digester.count(target.len());
        for part in target {
            digester.part(part.as_bytes());
        }
        digester.count(headers.len());
        for (name, value) in headers {
            digester.part(name.as_bytes());
            digester.part(value);
        }
        digester
    }

    /// Adds bytes of the body.
    pub fn body(&mut self, bytes: &[u8]) {
        self.body_bytes += bytes.len() as u64;
        self.hasher.update(bytes);
    }

    /// Ends the body.
    pub fn finish(mut self) -> CallDigest {
        let length = self.body_bytes;
        self.hasher.update(length.to_be_bytes());
        CallDigest(self.hasher.finalize().into())
    }

    fn part(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.hasher.update(bytes);
    }

    fn count(&mut self, n: usize) {
        self.hasher.update((n as u64).to_be_bytes());
    }
}
