//! The search for secrets in requests: with which detectors, and in what.
//!
//! What is found in a content is [`crate::scan`]'s part, and what is done about it the policies'.

use std::sync::Arc;

use http::header;
use moka::sync::Cache;
use turnpike_policy::{PolicySet, call::Call, caller::Caller, definition::CustomDetector, detect::Detectors};

use crate::{
    egress::Canonical,
    kept::Kept,
    scan::{Findings, HashKey, Scanning, Subject, Unscannable, Why},
    shape::{Form, upload},
};

/// Sets of detectors that are kept compiled: one for each combination of policies that add some.
const COMPILED: u64 = 1_000;

/// Searches the bodies of requests.
#[derive(Debug)]
pub struct Search {
    key: HashKey,
    with_custom: Cache<Vec<CustomDetector>, Option<Arc<Detectors>>>,
}

impl Search {
    /// A search whose hashes are keyed by a secret that all replicas have in common.
    pub fn new(secret: &[u8]) -> Self {
        Self {
            key: HashKey::derive(secret),
            with_custom: Cache::new(COMPILED),
        }
    }

    /// Searches a whole body, for what the policies of a caller look for.
    pub(crate) async fn run(
        &self,
        set: &PolicySet,
        caller: &Caller,
        request: (&Canonical, &Form, &[Call]),
        body: &Kept,
    ) -> Findings {
        let (canonical, form, calls) = request;
        let Some(detectors) = self.detectors(set, caller) else {
            return unscannable(Why::Failed);
        };
        if matches!(form, Form::Session(_)) && !is_whole(canonical, body.len()) {
            // A secret could stand on the border to a part that came in another request.
            return unscannable(Why::Lost);
        }
        let scanning = Scanning::new(detectors, self.key.clone());
        scanning
            .scan(subject(canonical, form, calls), body.reader())
            .await
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

/// Whether a request to the session of an upload has all of the content.
fn is_whole(canonical: &Canonical, length: u64) -> bool {
    let header = |name: &str| canonical.headers.get(name).map(|v| v.as_bytes());
    let range = match header("content-range") {
        None => true,
        Some(range) => {
            let last = length.saturating_sub(1);
            length > 0 && range == format!("bytes 0-{last}/{length}").as_bytes()
        }
    };
    let offset = header("x-goog-upload-offset").is_none_or(|offset| offset == b"0");
    let command = header("x-goog-upload-command").is_none_or(|c| c.ends_with(b"finalize"));
    range && offset && command
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

fn subject(canonical: &Canonical, form: &Form, calls: &[Call]) -> Subject {
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
            Form::Plain => upload::is_upload(&canonical.target),
            Form::Opens(_) | Form::Asks(_) | Form::Grpc(_) | Form::Rpc(_) | Form::Batch(_) => false,
        },
    }
}
