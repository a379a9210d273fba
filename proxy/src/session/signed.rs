//! Signed URLs.
//!
//! Some methods answer with a URL of Cloud Storage that is signed: where to put a function's source, where to get a
//! state file from. The agent gets `https://HOST/PATH?turnpike-signed=TOKEN` in its place. A request to that goes
//! upstream as the real URL and **without a credential of its own**, because the signature is one.
//!
//! The bucket behind it is often one of Google's own, which no policy names, so such a request is decided as the
//! call that handed the URL out: for as long as an agent may make that one it may use what it got by it.

use http::Method;
use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use smallvec::SmallVec;
use turnpike_policy::{
    call::Call,
    caller::Caller,
    canonical::Target,
    catalog::{Unlisted, XmlRefusal},
};

use super::{Kind, Sealer, SessionError, agent};

/// The parameter that holds the token.
const PARAMETER: &str = "turnpike-signed";
/// What the masker leaves of a signed URL.
const MASKED: &str = "[MASKED:signed-url]";
/// How long a URL may be used that does not say it itself.
const UNSAID: SignedDuration = SignedDuration::from_hours(1);
/// The longest that Google signs for.
const LONGEST: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Methods that hand out signed URLs, the field, and what the URL is for. A URL in any other field belongs to
/// somebody else, and stays masked.
const HANDED_OUT: &[(&str, &str, &str)] = &[
    (
        "apigee.organizations.environments.archiveDeployments.generateDownloadUrl",
        "downloadUri",
        "GET",
    ),
    (
        "apigee.organizations.environments.archiveDeployments.generateUploadUrl",
        "uploadUri",
        "PUT",
    ),
    (
        "cloudfunctions.projects.locations.functions.generateDownloadUrl",
        "downloadUrl",
        "GET",
    ),
    (
        "cloudfunctions.projects.locations.functions.generateUploadUrl",
        "uploadUrl",
        "PUT",
    ),
    (
        "config.projects.locations.deployments.exportState",
        "signedUri",
        "GET",
    ),
    (
        "config.projects.locations.deployments.importState",
        "signedUri",
        "PUT",
    ),
    (
        "config.projects.locations.deployments.revisions.exportState",
        "signedUri",
        "GET",
    ),
    (
        "gkebackup.projects.locations.backupPlans.backups.getBackupIndexDownloadUrl",
        "signedUrl",
        "GET",
    ),
];

/// Methods whose requests name a signed URL that was handed out, and the field.
const GIVEN_BACK: &[(&str, &str)] = &[
    (
        "cloudfunctions.projects.locations.functions.create",
        "sourceUploadUrl",
    ),
    (
        "cloudfunctions.projects.locations.functions.patch",
        "sourceUploadUrl",
    ),
];

/// What a token of a signed URL holds.
#[derive(Debug, Serialize, Deserialize)]
struct Sealed {
    /// The agent.
    a: String,
    /// The verb that the URL is for.
    v: String,
    /// The host.
    h: String,
    /// Path and query of the real URL.
    t: String,
    /// Verb, host, path and query of the call that handed it out.
    by: (String, String, String),
    /// The end, in seconds since 1970.
    x: i64,
}

/// A signed URL, opened.
#[derive(Debug)]
pub struct OpenedSigned {
    /// What goes upstream, without a credential.
    pub target: Target,
    /// The calls to decide: those that handed the URL out.
    pub calls: SmallVec<[Call; 1]>,
}

/// Signed URLs in an answer, sealed, and where they stand.
#[derive(Debug, Default)]
pub struct Reissued {
    places: Vec<Place>,
}

#[derive(Debug)]
struct Place {
    pointer: String,
    original: String,
    sealed: String,
}

impl Reissued {
    /// Puts the sealed URLs where the real ones were, after the answer was masked, and says how many. What a policy
    /// masks for a reason of its own stays masked.
    pub fn put(&self, answer: &mut Value) -> usize {
        let mut count = 0;
        for place in &self.places {
            if let Some(value) = answer.pointer_mut(&place.pointer)
                && value
                    .as_str()
                    .is_some_and(|text| text == MASKED || text == place.original)
            {
                *value = Value::String(place.sealed.clone());
                count += 1;
            }
        }
        count
    }
}

impl Sealer {
    /// Seals the signed URLs that an answer hands out; `request` is the call's own target, `calls` what it was
    /// decided as. To be called before masking, and put into the answer after.
    ///
    /// A URL on a host that is not Cloud Storage's is left to the masker.
    ///
    /// # Errors
    /// [`SessionError::Cipher`].
    pub fn seal_signed_urls(
        &self,
        caller: &Caller,
        request: &Target,
        calls: &[Call],
        answer: &Value,
        now: Timestamp,
    ) -> Result<Reissued, SessionError> {
        let mut reissued = Reissued::default();
        for (method, field, verb) in HANDED_OUT {
            if !calls.iter().any(|call| call.method == *method) {
                continue;
            }
            let mut found = Vec::new();
            find(answer, field, &mut String::new(), &mut found);
            for (pointer, url) in found {
                let Some(target) = self.storage_url(verb, &url) else {
                    continue;
                };
                let sealed = Sealed {
                    a: agent(caller),
                    v: (*verb).to_owned(),
                    h: target.host().to_owned(),
                    t: target.path_and_query(),
                    by: (
                        request.verb().to_owned(),
                        request.host().to_owned(),
                        request.path_and_query(),
                    ),
                    x: end_of(&target, now).as_second(),
                };
                let token = self.keys.seal(Kind::SignedUrl, &sealed)?;
                reissued.places.push(Place {
                    pointer,
                    original: url,
                    sealed: format!("https://{}{}?{PARAMETER}={token}", target.host(), target.path()),
                });
            }
        }
        Ok(reissued)
    }

    /// Opens the signed URL that a request is made to: `None` where it is made to none of ours.
    ///
    /// # Errors
    /// [`SessionError`] for one of another agent, another URL or verb, or one that has ended.
    pub fn open_signed(
        &self,
        caller: &Caller,
        target: &Target,
        now: Timestamp,
    ) -> Result<Option<OpenedSigned>, SessionError> {
        let other = || SessionError::AnotherTarget(Kind::SignedUrl);
        let mut tokens = target
            .query_pairs()
            .filter(|(name, _)| name.eq_ignore_ascii_case(PARAMETER));
        let Some((_, token)) = tokens.next() else {
            return Ok(None);
        };
        // The parameter stands alone: one more could be anything to a server that reads it.
        if target.query_pairs().count() != 1 {
            return Err(other());
        }
        let sealed = self.opened(caller, &token, now)?;
        let verb = target.verb() == sealed.v || (sealed.v == "GET" && target.verb() == "HEAD");
        let real = Target::new(target.verb(), &sealed.h, &sealed.t).map_err(|_| other())?;
        if !verb || real.host() != target.host() || real.path() != target.path() {
            return Err(other());
        }
        let (verb, host, path) = &sealed.by;
        let by = Target::new(verb, host, path).map_err(|_| other())?;
        let found = self.catalog.classify(&by).map_err(|_| other())?;
        let mut calls = SmallVec::new();
        calls.push(found.call);
        calls.extend(found.also);
        Ok(Some(OpenedSigned { target: real, calls }))
    }

    /// Whether requests of these calls may name signed URLs: their bodies have to be read.
    pub fn is_given_back(&self, calls: &[Call]) -> bool {
        GIVEN_BACK
            .iter()
            .any(|(method, _)| calls.iter().any(|call| call.method == *method))
    }

    /// Puts the real URLs back into a request that names signed URLs, which Google knows by their own form only. Says
    /// how many.
    ///
    /// # Errors
    /// [`SessionError`] for one of another agent, or one that has ended.
    pub fn restore_signed_urls(
        &self,
        caller: &Caller,
        calls: &[Call],
        body: &mut Value,
        now: Timestamp,
    ) -> Result<usize, SessionError> {
        let mut count = 0;
        for (method, field) in GIVEN_BACK {
            if !calls.iter().any(|call| call.method == *method) {
                continue;
            }
            let mut found = Vec::new();
            find(body, field, &mut String::new(), &mut found);
            for (pointer, url) in found {
                let Ok(target) = Target::from_url(Method::PUT.as_str(), &url) else {
                    continue;
                };
                let token = target.query_pairs().find(|(name, _)| name == PARAMETER);
                let Some((_, token)) = token else { continue };
                let sealed = self.opened(caller, &token, now)?;
                if let Some(value) = body.pointer_mut(&pointer) {
                    *value = Value::String(format!("https://{}{}", sealed.h, sealed.t));
                    count += 1;
                }
            }
        }
        Ok(count)
    }

    fn opened(&self, caller: &Caller, token: &str, now: Timestamp) -> Result<Sealed, SessionError> {
        let sealed: Sealed = self.keys.open(Kind::SignedUrl, token)?;
        if sealed.a != agent(caller) {
            return Err(SessionError::AnotherAgent(Kind::SignedUrl));
        }
        if sealed.x <= now.as_second() {
            return Err(SessionError::Expired(Kind::SignedUrl));
        }
        Ok(sealed)
    }

    /// A signed URL of an object, by what the catalogue says of it.
    fn storage_url(&self, verb: &str, url: &str) -> Option<Target> {
        let target = Target::from_url(verb, url).ok()?;
        let signed = matches!(
            self.catalog.classify(&target),
            Err(Unlisted::StorageXml(XmlRefusal::SignedUrl { .. }))
        );
        (signed && self.catalog.is_storage_xml(&target)).then_some(target)
    }
}

/// When a signed URL comes to its end: V4 says when it was made and for how long, V2 says when it ends.
fn end_of(target: &Target, now: Timestamp) -> Timestamp {
    let value = |name: &str| {
        target
            .query_pairs()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.into_owned())
    };
    let after = |from: Timestamp, by: SignedDuration| from.checked_add(by).unwrap_or(Timestamp::MAX);
    let v4 = || {
        let date = value("x-goog-date").or_else(|| value("x-amz-date"))?;
        let made = DateTime::strptime("%Y%m%dT%H%M%SZ", &date).ok()?;
        let made = made.to_zoned(TimeZone::UTC).ok()?.timestamp();
        let seconds = value("x-goog-expires").or_else(|| value("x-amz-expires"))?;
        Some(after(made, SignedDuration::from_secs(seconds.parse().ok()?)))
    };
    let v2 = || Timestamp::from_second(value("expires")?.parse().ok()?).ok();
    let said = v4().or_else(v2).unwrap_or_else(|| after(now, UNSAID));
    said.min(after(now, LONGEST))
}

/// Collects the strings of a field at any depth, with the pointers to them (RFC 6901).
fn find(value: &Value, field: &str, at: &mut String, found: &mut Vec<(String, String)>) {
    let length = at.len();
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                at.push_str(&format!("/{index}"));
                find(item, field, at, found);
                at.truncate(length);
            }
        }
        Value::Object(fields) => {
            for (name, item) in fields {
                at.push('/');
                at.push_str(&name.replace('~', "~0").replace('/', "~1"));
                match item {
                    Value::String(text) if same_name(name, field) => found.push((at.clone(), text.clone())),
                    _ => find(item, field, at, found),
                }
                at.truncate(length);
            }
        }
        _ => {}
    }
}

/// Compares as the masker does: without regard to case and underscores.
fn same_name(a: &str, b: &str) -> bool {
    let plain = |text: &str| text.replace('_', "").to_ascii_lowercase();
    plain(a) == plain(b)
}
