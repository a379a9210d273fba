//! The search for secrets in requests: with which detectors, and in what.
//!
//! What is found in a content is [`crate::scan`]'s part, and what is done about it the policies'. Bodies that policies only
//! record are searched while they go upstream ([`passing`]).

mod passing;

use std::{sync::Arc, time::Instant};

use http::{Response, header};
use http_body::Body as _;
use moka::sync::Cache;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use turnpike_policy::{PolicySet, call::Call, caller::Caller, definition::CustomDetector, detect::Detectors};

use self::passing::Desk;
pub(crate) use self::passing::Late;
pub use self::passing::Searched;
use crate::{
    body::RequestBody,
    egress::Canonical,
    kept::{self, IN_MEMORY, Kept, Spills},
    scan::{
        Findings, HashKey, Scanning, Subject, Unscannable, Why,
        carries::{Carries, InHand, Key},
        carry::{Chunk, ScanCarry},
        passing::Passing,
    },
    session::range::{Part, Range},
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
    /// Bodies that are searched while they pass.
    desk: Desk,
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
pub(crate) struct Found {
    pub(crate) findings: Findings,
    /// The upload that the body is a part of, which has to be told when the part goes upstream.
    pub(crate) upload: Option<InHand>,
}

impl From<Findings> for Found {
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
            desk: Desk::default(),
        }
    }

    /// Searches a whole body, for what the policies of a caller look for.
    pub(crate) async fn run(&self, set: &PolicySet, caller: &Caller, request: Request<'_>) -> Found {
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
                return Found {
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
        Found {
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

    /// Searches a body while it passes. What is found is told later.
    pub(crate) fn pass(
        &self,
        set: &PolicySet,
        caller: &Caller,
        (canonical, form, calls): (&Canonical, &Form, &[Call]),
        body: RequestBody,
        spills: Spills,
    ) -> (RequestBody, Late) {
        let Some(detectors) = self.detectors(set, caller) else {
            return (body, Late::known(unscannable(Why::Failed), &self.desk));
        };
        let scanning = Scanning::new(detectors, self.key.clone());
        let has_metadata = matches!(body, RequestBody::Upload(_));
        let subject = subject(canonical, form, calls, has_metadata);
        let (passing, upload) = match form {
            Form::Session(_) => {
                let (chunk, carry, upload) = self.part_of(caller, canonical, body.size_hint().exact());
                let passing = Passing::goes_on(scanning, subject, spills, chunk, carry);
                (passing, Some(upload))
            }
            _ => (Passing::new(scanning, subject, spills), None),
        };
        match body {
            RequestBody::Upload(rebuilt) => {
                // The media alone: it is read as it comes, where all of a multipart body would have to be kept.
                let metadata = rebuilt.metadata().to_string().into_bytes();
                let passing = passing.media_of(&metadata);
                let (tell, late) = Late::new(&self.desk);
                let rebuilt = rebuilt.map_media(|media| Searched::new(media, passing, tell, upload));
                (RequestBody::Upload(Box::new(rebuilt.boxed())), late)
            }
            body => {
                let (tell, late) = Late::new(&self.desk);
                let searched = Searched::new(body, passing, tell, upload);
                (RequestBody::Searched(Box::new(searched)), late)
            }
        }
    }

    /// Takes an upload in hand for a part that passes.
    fn part_of(
        &self,
        caller: &Caller,
        canonical: &Canonical,
        length: Option<u64>,
    ) -> (Chunk, Option<ScanCarry>, InHand) {
        let part = length.map(|length| Part::of(&canonical.method, &canonical.headers, length));
        let chunk = match part {
            Some(Part::Bytes { start, last }) => Some(Chunk { start, last }),
            // Without a length it is all of the content, or nobody knows.
            None if Range::of(&canonical.headers) == Range::Absent => Some(Chunk { start: 0, last: true }),
            _ => None,
        };
        let mut upload = self.uploads.take(key(caller, canonical), Instant::now());
        let known = upload.take();
        match chunk {
            Some(chunk) => (chunk, known, upload),
            None => {
                let unknown = Chunk {
                    start: 0,
                    last: false,
                };
                (unknown, Some(ScanCarry::gone(0, unclear())), upload)
            }
        }
    }

    /// Waits for what is still searched, once no more calls come.
    pub(crate) async fn finished(&self) {
        self.desk.finished().await;
    }

    /// Forgets what was kept of an upload where Google's answer says that it is complete. The other protocol of sessions
    /// answers so to every part, and has a header for that.
    pub(crate) fn answered<B>(&self, upload: &Key, answer: &Response<B>) {
        let says = answer.headers().get("x-goog-upload-status");
        if answer.status().is_success() && says.is_none_or(|status| status == "final") {
            self.uploads.forget(upload);
        }
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
