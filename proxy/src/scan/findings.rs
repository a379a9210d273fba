//! What is found: kinds, places and keyed hashes, never a value.

use std::{collections::HashSet, fmt, io, sync::Arc};

use aws_lc_rs::hmac;
use serde::Serialize;
use turnpike_policy::detect::Detectors;

use super::place;

/// Findings that are told one by one.
pub const MAX_HITS: usize = 50;
/// Bytes of a hash: enough that no two secrets have the same, and too few to be the whole of anything.
const HASH_BYTES: usize = 16;

/// What was found in a content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// Secrets, each kind, hash and place once, in the order in which they were found.
    pub hits: Vec<Finding>,
    /// Further secrets, which are not told one by one.
    pub more: u64,
    /// Why some of the content was not searched, and where: the first such place.
    pub unscannable: Option<Unscannable>,
    /// Bytes that were looked at, unpacked.
    pub scanned_bytes: u64,
}

impl Findings {
    /// Whether the content was searched whole, and nothing was found.
    pub fn is_clean(&self) -> bool {
        self.hits.is_empty() && self.more == 0 && self.unscannable.is_none()
    }

    /// What stands for a search that did not end.
    pub(crate) fn failed() -> Self {
        Self::only(Why::Failed)
    }

    /// Adds what was found in more of the same content.
    pub fn merge(&mut self, more: Self) {
        self.more += more.more;
        for hit in more.hits {
            if self.hits.contains(&hit) {
                continue;
            }
            match self.hits.len() < MAX_HITS {
                true => self.hits.push(hit),
                false => self.more += 1,
            }
        }
        if self.unscannable.is_none() {
            self.unscannable = more.unscannable;
        }
        self.scanned_bytes += more.scanned_bytes;
    }

    /// Nothing but a reason.
    pub(super) fn only(why: Why) -> Self {
        Self {
            unscannable: Some(Unscannable {
                why,
                place: String::new(),
            }),
            ..Self::default()
        }
    }
}

/// A secret that was found.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Finding {
    /// What it is: one of [`Detectors::kinds`].
    pub kind: String,
    /// Where it stands, for people: `payload.data`, `line 12`, `source.zip!src/config.py line 3`.
    pub place: String,
    /// `hmac:` and 32 hex digits, the same for the same secret wherever it is found.
    pub hash: String,
}

/// Some of a content was not searched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unscannable {
    /// Why.
    pub why: Why,
    /// Where; empty for the whole content.
    pub place: String,
}

impl fmt::Display for Unscannable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place.as_str() {
            "" => write!(f, "{}", self.why),
            place => write!(f, "{place}: {}", self.why),
        }
    }
}

/// Why something can't be searched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Why {
    /// With a key that isn't known here.
    #[error("it is encrypted")]
    Encrypted,
    /// A `Content-Encoding`, or that of a message.
    #[error("its coding {0:?} is unknown; gzip, deflate, br and zstd are read")]
    Coding(String),
    /// A format that holds other contents.
    #[error("{0} is not opened; send the content as it is, or as zip or tar.gz")]
    Format(&'static str),
    /// A feature of a format.
    #[error("{0} is not read")]
    Feature(&'static str),
    /// It is not what it says, or breaks off.
    #[error("it is no {0}, or is damaged")]
    Broken(&'static str),
    /// Readers of the format could see different things.
    #[error("programs could read different things in this {0}")]
    Ambiguous(&'static str),
    /// Over a limit.
    #[error("more than {0} archives, codings or base64 stand inside of each other")]
    Depth(u8),
    /// Over a limit.
    #[error("it has more than {0} members")]
    Members(u32),
    /// Over a limit.
    #[error("it unpacks to more than {0} bytes")]
    Expanded(u64),
    /// Over a limit.
    #[error("it unpacks to more than {0} times its size")]
    Ratio(u64),
    /// Over a limit.
    #[error("it has more than {0} bytes, and has to be read whole")]
    TooLarge(u64),
    /// A part of an upload whose earlier parts are not known here, or that follows on none of them.
    #[error(
        "what was sent before in this upload is not known any more; begin the upload again, or send it in one request"
    )]
    Lost,
    /// No room to keep parts of an upload until it is complete.
    #[error("there is no room to keep this upload until it is complete; send it in one request")]
    NoRoom,
    /// The content can't be read, or kept.
    #[error("it cannot be read: {0}")]
    Unread(String),
    /// The search ended early, which is a defect.
    #[error("the search for secrets failed")]
    Failed,
}

impl Why {
    /// The reason code for answers, records and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Encrypted => "CONTENT_ENCRYPTED",
            Self::Coding(_) => "CONTENT_CODING_UNKNOWN",
            Self::Format(_) => "CONTENT_FORMAT_UNKNOWN",
            Self::Feature(_) => "CONTENT_FEATURE_UNKNOWN",
            Self::Broken(_) => "CONTENT_BROKEN",
            Self::Ambiguous(_) => "CONTENT_AMBIGUOUS",
            Self::Depth(_) => "CONTENT_NESTED",
            Self::Members(_) => "CONTENT_MEMBERS",
            Self::Expanded(_) | Self::Ratio(_) => "CONTENT_EXPANDS",
            Self::TooLarge(_) => "CONTENT_TOO_LARGE",
            Self::Lost => "CONTENT_PARTS_LOST",
            Self::NoRoom => "CONTENT_PARTS_NO_ROOM",
            Self::Unread(_) => "CONTENT_UNREADABLE",
            Self::Failed => "CONTENT_SCAN_FAILED",
        }
    }

    /// The reason behind an error of a reader: its own, or this one. Errors of the system stay what they are.
    pub(super) fn of(error: io::Error, otherwise: Self) -> Self {
        if error.raw_os_error().is_some() {
            return Self::Unread(error.to_string());
        }
        match error.downcast::<Self>() {
            Ok(why) => why,
            Err(_) => otherwise,
        }
    }
}

impl From<io::Error> for Why {
    fn from(error: io::Error) -> Self {
        let text = error.to_string();
        Self::of(error, Self::Unread(text))
    }
}

impl From<Why> for io::Error {
    fn from(why: Why) -> Self {
        Self::other(why)
    }
}

/// The key of the hashes. It says nothing about what it was made of.
#[derive(Clone)]
pub struct HashKey(Arc<hmac::Key>);

impl HashKey {
    /// A key for hashes alone, made of a secret that all replicas have in common.
    pub fn derive(secret: &[u8]) -> Self {
        let key = hmac::sign(
            &hmac::Key::new(hmac::HMAC_SHA256, secret),
            b"turnpike secret hashes 1",
        );
        Self(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, key.as_ref())))
    }

    /// The hash of a value.
    pub fn hash(&self, value: &[u8]) -> String {
        let tag = hmac::sign(&self.0, value);
        let digits = tag.as_ref().iter().take(HASH_BYTES).map(|b| format!("{b:02x}"));
        std::iter::once("hmac:".to_owned()).chain(digits).collect()
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey")
    }
}

/// Gathers what is found.
pub(super) struct Collector<'a> {
    detectors: &'a Detectors,
    key: &'a HashKey,
    seen: HashSet<Finding>,
    findings: Findings,
}

impl<'a> Collector<'a> {
    pub(super) fn new(detectors: &'a Detectors, key: &'a HashKey) -> Self {
        Self {
            detectors,
            key,
            seen: HashSet::new(),
            findings: Findings::default(),
        }
    }

    /// Takes a secret. The place may hold it as well, and is shown without it.
    pub(super) fn hit(&mut self, kind: &str, value: &[u8], place: &str) {
        // Past the cap they are only counted: a content of nothing but secrets must not cost a hash for each.
        if self.findings.hits.len() >= MAX_HITS {
            self.findings.more += 1;
            return;
        }
        let finding = Finding {
            kind: kind.to_owned(),
            place: place::shown(self.detectors, place, value),
            hash: self.key.hash(value),
        };
        if self.seen.insert(finding.clone()) {
            self.findings.hits.push(finding);
        }
    }

    pub(super) fn unscannable(&mut self, why: Why, place: &str) {
        if self.findings.unscannable.is_none() {
            self.findings.unscannable = Some(Unscannable {
                why,
                place: place::shown(self.detectors, place, b""),
            });
        }
    }

    pub(super) fn scanned(&mut self, bytes: u64) {
        self.findings.scanned_bytes += bytes;
    }

    pub(super) fn finish(self) -> Findings {
        self.findings
    }
}
