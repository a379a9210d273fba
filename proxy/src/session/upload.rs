//! Sessions of resumable uploads.
//!
//! The answer to the start of one names its URL, with an `upload_id` that is all the authority one needs. The agent
//! gets the URL with a token in its place, and the request for each part gets Google's URL back.

use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use turnpike_policy::{
    call::{Call, Resource, Scope},
    caller::Caller,
    canonical::Target,
};

use super::{Kind, Opening, Sealer, SessionError, agent};

/// The parameter that is the secret.
const UPLOAD_ID: &str = "upload_id";
/// Google keeps a session for a week.
const LIFETIME: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Headers of answers that hold the URL of a session.
const SESSION_URLS: [HeaderName; 2] = [
    HeaderName::from_static("x-goog-upload-url"),
    HeaderName::from_static("x-goog-upload-control-url"),
];
/// A header of all answers to uploads that is the id itself.
const BARE_ID: HeaderName = HeaderName::from_static("x-guploader-uploadid");

/// What a token of an upload holds.
#[derive(Debug, Serialize, Deserialize)]
struct Sealed {
    /// The agent.
    a: String,
    /// The method.
    m: String,
    /// Name and id of what is written, as far as it was named when the upload began.
    r: Option<(String, Option<String>)>,
    /// The host.
    h: String,
    /// Path and query of Google's URL.
    t: String,
    /// The end, in seconds since 1970.
    x: i64,
    /// What began it, where that could be made an upload in one request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    o: Option<Opening>,
}

/// A session, opened.
#[derive(Debug)]
pub struct OpenedSession {
    /// What goes upstream: Google's own URL.
    pub target: Target,
    /// The method that the upload began as.
    pub method: String,
    /// Name and id of what it writes.
    resource: Option<(String, Option<String>)>,
    /// What began it, where that could be made an upload in one request.
    pub opening: Option<Opening>,
}

impl OpenedSession {
    /// The name of what the upload writes, as it was known when it began.
    pub fn resource(&self) -> Option<&str> {
        self.resource.as_ref().map(|(name, _)| name.as_str())
    }

    /// Makes the calls that the URL of a part was classified as the calls that the upload began as: what only the
    /// metadata named, at the start, is named again.
    ///
    /// # Errors
    /// [`SessionError::AnotherTarget`] where the URL is a call of another method, or on something else.
    pub fn narrow(&self, calls: &mut [Call]) -> Result<(), SessionError> {
        let other = || SessionError::AnotherTarget(Kind::Upload);
        for call in calls {
            if call.method != self.method {
                return Err(other());
            }
            match (call.resources.first_mut(), &self.resource) {
                (None, None) => {}
                (Some(resource), Some((name, id))) => {
                    if !is_or_is_above(resource, name) {
                        return Err(other());
                    }
                    if resource.name != *name {
                        resource.name = name.clone();
                        resource.id = id.clone();
                        resource.scope = Scope::Exact;
                    }
                }
                _ => return Err(other()),
            }
        }
        Ok(())
    }
}

/// Whether what a URL names is this, or what it is created below.
fn is_or_is_above(resource: &Resource, name: &str) -> bool {
    match resource.scope {
        Scope::Exact => resource.name == name,
        Scope::Below => name
            .strip_prefix(&resource.name)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
    }
}

impl Sealer {
    /// Seals the URL of a session, as the `Location` header of an answer has it. The calls are those that were
    /// allowed at the start of the upload, with all that its metadata named; the opening is that start.
    ///
    /// # Errors
    /// [`SessionError::Unsealable`] where the URL is not one of the same method, on the same resource.
    pub fn seal_location(
        &self,
        caller: &Caller,
        calls: &[Call],
        opening: Option<&Opening>,
        location: &str,
        now: Timestamp,
    ) -> Result<HeaderValue, SessionError> {
        let unsealable = || SessionError::Unsealable(Kind::Upload);
        // Some stand-ins answer without TLS; the agent comes here in any case.
        let rest = location
            .strip_prefix("https://")
            .or_else(|| location.strip_prefix("http://"))
            .ok_or_else(unsealable)?;
        let target = Target::from_url("PUT", &format!("https://{rest}")).map_err(|_| unsealable())?;
        let found = self.catalog.classify(&target).map_err(|_| unsealable())?;
        let fits = |call: &&Call| {
            call.method == found.call.method
                && match (found.call.resources.first(), call.resources.first()) {
                    (None, None) => true,
                    (Some(url), Some(begun)) => is_or_is_above(url, &begun.name),
                    _ => false,
                }
        };
        let begun = calls.iter().find(fits).ok_or_else(unsealable)?;
        let sealed = Sealed {
            a: agent(caller),
            m: begun.method.to_owned(),
            r: begun.resources.first().map(|r| (r.name.clone(), r.id.clone())),
            h: target.host().to_owned(),
            t: target.path_and_query(),
            x: now.as_second().saturating_add(LIFETIME.as_secs()),
            o: opening.cloned(),
        };
        let token = self.keys.seal(Kind::Upload, &sealed)?;
        let query = with_token(&target, &token).ok_or_else(unsealable)?;
        let url = format!("https://{}{}?{query}", target.host(), target.path());
        Ok(HeaderValue::from_str(&url)?)
    }

    /// Seals every URL of a session in the headers of an answer, and removes the bare id. Says how many there were.
    ///
    /// # Errors
    /// [`SessionError`]; the answer must not be passed on then.
    pub fn seal_headers(
        &self,
        caller: &Caller,
        calls: &[Call],
        opening: Option<&Opening>,
        headers: &mut HeaderMap,
        now: Timestamp,
    ) -> Result<usize, SessionError> {
        headers.remove(BARE_ID);
        let mut count = 0;
        for name in std::iter::once(http::header::LOCATION).chain(SESSION_URLS) {
            let values: Vec<HeaderValue> = headers.get_all(&name).iter().cloned().collect();
            let mut changed = Vec::with_capacity(values.len());
            for value in values {
                let text = value.to_str();
                let text = text.map_err(|_| SessionError::Unsealable(Kind::Upload))?;
                if name == http::header::LOCATION && !holds_session(text) {
                    if holds_signature(text) {
                        return Err(SessionError::Unsealable(Kind::SignedUrl));
                    }
                    changed.push(value);
                    continue;
                }
                changed.push(self.seal_location(caller, calls, opening, text, now)?);
                count += 1;
            }
            headers.remove(&name);
            for value in changed {
                headers.append(name.clone(), value);
            }
        }
        Ok(count)
    }

    /// Opens the session that a request is for: `None` where it is for none.
    ///
    /// # Errors
    /// [`SessionError`] for a session of Google's own, of another agent, another URL, or one that has ended.
    pub fn open(
        &self,
        caller: &Caller,
        target: &Target,
        now: Timestamp,
    ) -> Result<Option<OpenedSession>, SessionError> {
        let mut ids = target
            .query_pairs()
            .filter(|(name, _)| name.eq_ignore_ascii_case(UPLOAD_ID));
        let (name, token) = match (ids.next(), ids.next()) {
            (None, _) => return Ok(None),
            (Some(_), Some(_)) => return Err(SessionError::NotOurs(Kind::Upload)),
            (Some(one), None) => one,
        };
        if name != UPLOAD_ID {
            return Err(SessionError::NotOurs(Kind::Upload));
        }
        let sealed: Sealed = self.keys.open(Kind::Upload, &token)?;
        if sealed.a != agent(caller) {
            return Err(SessionError::AnotherAgent(Kind::Upload));
        }
        if sealed.x <= now.as_second() {
            return Err(SessionError::Expired(Kind::Upload));
        }
        let other = || SessionError::AnotherTarget(Kind::Upload);
        let real = Target::new(target.verb(), &sealed.h, &sealed.t).map_err(|_| other())?;
        let same_place = real.host() == target.host() && real.path() == target.path();
        // What the agent adds to the URL, Google's does not have, and does not get.
        let same_query = target
            .query_pairs()
            .filter(|(name, _)| name != UPLOAD_ID)
            .all(|given| real.query_pairs().any(|had| had == given));
        if !same_place || !same_query {
            return Err(other());
        }
        Ok(Some(OpenedSession {
            target: real,
            method: sealed.m,
            resource: sealed.r,
            opening: sealed.o,
        }))
    }
}

/// The query with the token as its `upload_id`; `None` where it has none, or several.
fn with_token(target: &Target, token: &str) -> Option<String> {
    let mut count = 0;
    let pairs: Vec<_> = target
        .query()
        .split('&')
        .zip(target.query_pairs())
        .map(|(raw, (name, _))| match name == UPLOAD_ID {
            true => {
                count += 1;
                format!("{UPLOAD_ID}={token}")
            }
            false => raw.to_owned(),
        })
        .collect();
    (count == 1).then(|| pairs.join("&"))
}

/// Whether a URL names a session, however it is written.
fn holds_session(url: &str) -> bool {
    contains(url, &[UPLOAD_ID])
}

/// Whether a URL is signed.
fn holds_signature(url: &str) -> bool {
    contains(url, &["x-goog-signature=", "x-amz-signature=", "signature="])
}

fn contains(url: &str, words: &[&str]) -> bool {
    let decoded = percent_encoding::percent_decode_str(url).decode_utf8_lossy();
    let text = decoded.to_ascii_lowercase();
    words.iter().any(|word| text.contains(word))
}
