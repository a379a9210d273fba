//! The search for secrets in requests: with which detectors, and in what.
//!
//! What is found in a content is [`crate::scan`]'s part, and what is done about it the policies'.

use std::{sync::Arc, time::Instant};

use http::header;
use moka::sync::Cache;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use turnpike_policy::{PolicySet, call::Call, caller::Caller, definition::CustomDetector, detect::Detectors};

use crate::{
    egress::Canonical,
    kept::{self, IN_MEMORY, Kept, Spills},
    scan::{
        Findings, HashKey, Scanning, Subject, Unscannable, Why,
        carries::{Carries, InHand, Key},
        carry::{Chunk, ScanCarry},
    },
    session::range::Part,
    shape::{Form, upload},
};

/// Contents that are searched on threads at a time.
const AT_A_TIME: usize = 8;
/// Sets of detectors that are kept compiled: one for each combination of policies that add some.
const COMPILED: u64 = 1_000;

/// Searches the bodies of requests.
#[derive(Debug)]
pub struct Search {
    key: HashKey,
    with_custom: Cache<Vec<CustomDetector>, Option<Arc<Detectors>>>,
    /// What is kept of uploads in parts, on this replica.
    uploads: Arc<Carries>,
    /// Who may take a thread now: each has an allocator's memory of its own.
    turns: Arc<Semaphore>,
}

/// A body that is searched, and what it stands in.
#[derive(Debug)]
pub(crate) struct Request<'r> {
    pub(crate) canonical: &'r Canonical,
    pub(crate) form: &'r Form,
    pub(crate) calls: &'r [Call],
    pub(crate) body: &'r Kept,
    /// Where contents lie that come in parts.
    pub(crate) spills: Spills,
}

/// What came of a search.
#[derive(Debug)]
pub(crate) struct Searched {
    pub(crate) findings: Findings,
    /// The upload that the body is a part of, which has to be told when the part goes upstream.
    pub(crate) upload: Option<InHand>,
}

impl From<Findings> for Searched {
    fn from(findings: Findings) -> Self {
        Self {
            findings,
            upload: None,
        }
    }
}

impl Search {
    /// A search whose hashes are keyed by a secret that all replicas have in common.
    pub fn new(secret: &[u8]) -> Self {
        Self {
            key: HashKey::derive(secret),
            with_custom: Cache::new(COMPILED),
            uploads: Arc::default(),
            turns: Arc::new(Semaphore::new(AT_A_TIME)),
        }
    }

    /// Searches a whole body, for what the policies of a caller look for.
    pub(crate) async fn run(&self, set: &PolicySet, caller: &Caller, request: Request<'_>) -> Searched {
        let Some(detectors) = self.detectors(set, caller) else {
            return unscannable(Why::Failed).into();
        };
        let scanning = Scanning::new(detectors, self.key.clone());
        let Request {
            canonical,
            form,
            calls,
            body,
            ..
        } = request;
        let subject = subject(canonical, form, calls, body.upload().is_some());
        let reader = body.reader();
        let short = body.is_in_memory() && body.len() <= IN_MEMORY as u64;
        if !matches!(form, Form::Session(_)) {
            if short && !subject.expands() {
                return scanning.scan_now(&subject, &mut { reader }).into();
            }
            let searched = self.on_thread(move || scanning.scan_now(&subject, &mut { reader }));
            return searched.await.unwrap_or_else(|_| unscannable(Why::Failed)).into();
        }
        let key = key(caller, canonical);
        let (start, last) = match Part::of(&canonical.method, &canonical.headers, body.len()) {
            Part::Asks => return Findings::default().into(),
            Part::Ends(length) => {
                let uploads = self.uploads.clone();
                let searched = self.on_thread(move || uploads.ends_now(&key, &scanning, &subject, length));
                return searched.await.unwrap_or_else(|_| unscannable(Why::Failed)).into();
            }
            Part::Unclear => {
                let mut upload = self.uploads.take(key, Instant::now());
                let searched = self.on_thread(move || scanning.scan_now(&subject, &mut { reader }));
                let mut findings = searched.await.unwrap_or_else(|_| unscannable(Why::Failed));
                findings.unscannable = unscannable(unclear()).unscannable;
                // Where it goes upstream all the same, nobody knows what it made of the upload.
                drop(upload.take());
                upload.searched(Some(ScanCarry::gone(0, unclear())));
                return Searched {
                    findings,
                    upload: Some(upload),
                };
            }
            Part::Bytes { start, last } => (start, last),
        };
        let mut upload = self.uploads.take(key, Instant::now());
        let (carry, spills) = (upload.take(), request.spills);
        let searched = self.on_thread(move || {
            let chunk = Chunk { start, last };
            scanning.chunk_now(&subject, &mut { reader }, chunk, carry, &spills)
        });
        let (findings, carry) = searched.await.unwrap_or_else(|_| {
            let gone = ScanCarry::gone(start, Why::Failed);
            (unscannable(Why::Failed), Some(gone))
        });
        upload.searched(carry);
        Searched {
            findings,
            upload: Some(upload),
        }
    }

    /// Searches where that blocks nobody.
    async fn on_thread<T: Send + 'static>(
        &self,
        search: impl FnOnce() -> T + Send + 'static,
    ) -> std::io::Result<T> {
        kept::blocking(&self.turns, move || Ok(search())).await
    }

    /// Forgets what was kept of an upload that is complete.
    pub(crate) fn complete(&self, upload: &Key) {
        self.uploads.forget(upload);
    }

    /// The built-in detectors and those that the caller's policies add; `None` where these cannot be used together.
    fn detectors(&self, set: &PolicySet, caller: &Caller) -> Option<Arc<Detectors>> {
        let mut custom: Vec<CustomDetector> = Vec::new();
        set.for_outbound(caller, |_, policy| {
            for detector in policy.outbound.iter().flat_map(|o| &o.detectors) {
                if !custom.contains(detector) {
                    custom.push(detector.clone());
                }
            }
        });
        if custom.is_empty() {
            return Some(Detectors::builtin().clone());
        }
        self.with_custom
            .get_with(custom.clone(), || match Detectors::new(&custom) {
                Ok(detectors) => Some(Arc::new(detectors)),
                Err(error) => {
                    tracing::error!(%error, "the detectors of an agent's policies cannot be used together");
                    None
                }
            })
    }
}

/// What tells an upload from others: the agent, and Google's own URL, of which only the digest is kept.
fn key(caller: &Caller, canonical: &Canonical) -> Key {
    let target = &canonical.target;
    let mut digest = Sha256::new();
    digest.update(target.host());
    digest.update(target.path_and_query());
    let digits = digest.finalize().iter().map(|b| format!("{b:02x}")).collect();
    (caller.name(), digits)
}

fn unclear() -> Why {
    Why::Ambiguous("upload, whose headers do not say in the usual way which part of it this is")
}

fn unscannable(why: Why) -> Findings {
    Findings {
        unscannable: Some(Unscannable {
            why,
            place: String::new(),
        }),
        ..Findings::default()
    }
}

/// What is known of a body. Content that comes with metadata is found in it by its multipart type.
fn subject(canonical: &Canonical, form: &Form, calls: &[Call], has_metadata: bool) -> Subject {
    let text = |name| {
        let value = canonical.headers.get(name)?.to_str().ok()?;
        Some(value.to_owned())
    };
    let call = calls.first();
    let object = call.filter(|c| c.method.starts_with("storage.objects."));
    Subject {
        content_type: text(header::CONTENT_TYPE),
        content_encoding: text(header::CONTENT_ENCODING),
        method: call.map_or("", |c| c.method).to_owned(),
        name: object
            .and_then(|c| c.resources.first())
            .and_then(|r| r.id.clone()),
        media: match form {
            Form::Session(_) | Form::Signed | Form::Xml => true,
            Form::Plain => upload::is_upload(&canonical.target) && !has_metadata,
            Form::Opens(_) | Form::Asks(_) | Form::Grpc(_) | Form::Rpc(_) | Form::Batch(_) => false,
        },
    }
}
