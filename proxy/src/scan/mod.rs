//! Looking for secrets in what an agent sends.
//!
//! [`Scanning::scan`] takes the content of one request apart, as far as anybody who receives it could: JSON with the
//! base64 in its values, forms, XML, protocol buffers and the content that their streams carry, multipart uploads,
//! gzip, zstd, zip and tar with what is in them, and text in UTF-16. Everything else is read as bytes. The detectors are
//! those of [`turnpike_policy::detect`]; what is done about a finding is the policy's business.
//!
//! A content that could hold what isn't seen here is [unscannable](Unscannable): it is encrypted or broken, in a format
//! that isn't opened, over a [cap](Limits), or two programs could read different things in it. The rest of it is
//! searched all the same.
//!
//! Nothing here knows sockets, and all of it may block: who searches long contents does so on threads for that. No value leaves this module: a finding
//! names a kind, a place, and a keyed hash. See [`carry`] for contents that arrive in several requests, and [`passing`] for those that nobody waits for.

mod archive;
pub mod carries;
pub mod carry;
mod coded;
mod findings;
mod flat;
mod json;
mod limits;
mod parts;
pub mod passing;
mod place;
mod proto;
mod sniff;
mod tar;
#[cfg(test)]
mod tests;
mod text;
mod walk;
mod zip;

use std::{
    io::{Read, Seek},
    sync::Arc,
};

use turnpike_policy::detect::Detectors;

use self::{findings::Collector, walk::Walker};
pub use self::{
    findings::{Finding, Findings, HashKey, MAX_HITS, Unscannable, Why},
    limits::Limits,
};

/// What is known of a content before it is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subject {
    /// Its media type, with parameters.
    pub content_type: Option<String>,
    /// How it is coded: the `Content-Encoding` of the request, where the content still is so.
    pub content_encoding: Option<String>,
    /// The method's id.
    pub method: String,
    /// What it is called, such as the object that it becomes.
    pub name: Option<String>,
    /// It is somebody's data, such as an object's content: it need not be what its type says. Otherwise it is the message
    /// of a call, and one that can't be read is unscannable.
    pub media: bool,
}

impl Subject {
    /// Whether a short content can be a long one.
    pub fn expands(&self) -> bool {
        self.content_encoding.is_some() || self.media
    }
}

/// How contents are searched; cheap to clone.
#[derive(Debug, Clone)]
pub struct Scanning {
    /// What is looked for.
    pub detectors: Arc<Detectors>,
    /// The key of the hashes.
    pub key: HashKey,
    /// What may be unpacked.
    pub limits: Limits,
}

impl Scanning {
    /// Searches with these detectors, within the usual limits.
    pub fn new(detectors: Arc<Detectors>, key: HashKey) -> Self {
        Self {
            detectors,
            key,
            limits: Limits::default(),
        }
    }

    /// Searches a content here and now.
    pub fn scan_now<R>(&self, subject: &Subject, content: &mut R) -> Findings
    where
        R: Read + Seek,
    {
        let mut walker = Walker::new(self, Collector::new(&self.detectors, &self.key));
        walker.top(subject, content);
        walker.finish()
    }
}
