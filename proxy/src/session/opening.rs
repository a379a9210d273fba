//! What began an upload: as much of it as it takes to make the upload in one request once its content is there.
//!
//! An approval covers the content, so an upload that needs one is not begun at Google's: nobody could say that what
//! a session holds in the end is what was approved. The agent gets a URL of ours instead, `?turnpike-upload=TOKEN`.
//! The token holds the opening, and a request with all of the content makes one upload of both. Nothing is kept, and
//! nothing has left, until then.
//!
//! The tokens of sessions that were begun at Google's hold the opening too, for content that needs an approval only
//! by what is in it.

#[cfg(test)]
mod tests;

use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use turnpike_policy::{caller::Caller, canonical::Target};

use super::{Kind, Sealer, SessionError, agent};

/// The parameter that holds the token of an upload that is not begun yet.
const PARAMETER: &str = "turnpike-upload";
/// How long one may wait for its content. As Google's own.
const LIFETIME: SignedDuration = SignedDuration::from_hours(7 * 24);
/// The longest opening that is sealed, in bytes: URLs are no place for more.
const LONGEST: usize = 4 * 1024;

/// Headers that speak of the opening's own body, or of the content that follows, and are said anew.
const ABOUT_CONTENT: [&str; 6] = [
    "content-type",
    "content-length",
    "content-encoding",
    "content-md5",
    "x-upload-content-type",
    "x-upload-content-length",
];
/// Headers of a protocol of sessions that is another one.
const OTHER_PROTOCOL: &str = "x-goog-upload-";

/// What began an upload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Opening {
    /// The verb.
    v: String,
    /// The host.
    h: String,
    /// Path and query.
    t: String,
    /// The metadata.
    m: Map<String, Value>,
    /// The type of the content.
    k: Option<String>,
    /// Further headers.
    s: Vec<(String, String)>,
}

/// An upload of metadata with content in one request, without its content.
#[derive(Debug, Clone)]
pub struct InOne {
    /// What goes upstream.
    pub target: Target,
    /// Its headers, but for those about the content.
    pub headers: HeaderMap,
    /// The metadata.
    pub metadata: Map<String, Value>,
    /// The type of the content, if it was said.
    pub media_type: Option<HeaderValue>,
}

impl Opening {
    /// What began an upload, with the headers that count (`noise` are those that don't); `None` where the upload could
    /// not be made in one request: in another protocol, or too long to be sealed.
    pub fn of(
        target: &Target,
        headers: &HeaderMap,
        noise: &[&str],
        metadata: Map<String, Value>,
    ) -> Option<Self> {
        let mut kinds = target.query_pairs().filter(|(name, _)| says_kind(name));
        let (one, value) = (kinds.next()?, kinds.next());
        if one.0 != "uploadType" || !one.1.eq_ignore_ascii_case("resumable") || value.is_some() {
            return None;
        }
        let mut kept = Vec::new();
        for (name, value) in headers {
            let name = name.as_str();
            if name.starts_with(OTHER_PROTOCOL) {
                return None;
            }
            if !noise.contains(&name) && !ABOUT_CONTENT.contains(&name) {
                kept.push((name.to_owned(), value.to_str().ok()?.to_owned()));
            }
        }
        let mut types = headers.get_all("x-upload-content-type").iter();
        let kind = match (types.next(), types.next()) {
            (None, _) => None,
            (Some(one), None) => Some(one.to_str().ok()?.to_owned()),
            (Some(_), Some(_)) => return None,
        };
        let opening = Self {
            v: target.verb().to_owned(),
            h: target.host().to_owned(),
            t: target.path_and_query(),
            m: metadata,
            k: kind,
            s: kept,
        };
        let length = serde_json::to_vec(&opening).ok()?.len();
        (length <= LONGEST).then_some(opening)
    }

    /// The metadata.
    pub fn metadata(&self) -> &Map<String, Value> {
        &self.m
    }

    /// The same upload in one request.
    ///
    /// # Errors
    /// [`SessionError::Tampered`] where what was sealed is no upload.
    pub fn in_one(self) -> Result<InOne, SessionError> {
        let other = || SessionError::Tampered(Kind::Promised);
        let (path, query) = self.t.split_once('?').ok_or_else(other)?;
        // As the discovery documents have it: one path for resumable uploads, and the same without for others.
        let path = match path.strip_prefix("/resumable/") {
            Some(rest) => format!("/{rest}"),
            None => path.to_owned(),
        };
        let kind = |pair: &&str| pair.split_once('=').is_some_and(|(name, _)| name == "uploadType");
        let mut pairs: Vec<&str> = query.split('&').filter(|pair| !kind(pair)).collect();
        pairs.insert(0, "uploadType=multipart");
        let target =
            Target::new(&self.v, &self.h, &format!("{path}?{}", pairs.join("&"))).map_err(|_| other())?;
        let mut headers = HeaderMap::new();
        for (name, value) in &self.s {
            let name = HeaderName::try_from(name.as_str()).map_err(|_| other())?;
            headers.append(name, HeaderValue::from_str(value)?);
        }
        Ok(InOne {
            target,
            headers,
            metadata: self.m,
            media_type: self.k.as_deref().map(HeaderValue::from_str).transpose()?,
        })
    }
}

/// What a token of an upload that is not begun holds.
#[derive(Debug, Serialize, Deserialize)]
struct Sealed {
    /// The agent.
    a: String,
    /// What would begin it.
    o: Opening,
    /// The end, in seconds since 1970.
    x: i64,
}

impl Sealer {
    /// The URL that an agent sends the content to, of an upload that is not begun before.
    ///
    /// # Errors
    /// [`SessionError::Cipher`], or [`SessionError::Header`].
    pub fn promise(
        &self,
        caller: &Caller,
        opening: &Opening,
        now: Timestamp,
    ) -> Result<HeaderValue, SessionError> {
        let sealed = Sealed {
            a: agent(caller),
            o: opening.clone(),
            x: now.as_second().saturating_add(LIFETIME.as_secs()),
        };
        let token = self.keys.seal(Kind::Promised, &sealed)?;
        let path = opening.t.split('?').next().unwrap_or_default();
        let url = format!("https://{}{path}?{PARAMETER}={token}", opening.h);
        Ok(HeaderValue::from_str(&url)?)
    }

    /// Opens the upload that a request brings content for: `None` where it is for none of ours.
    ///
    /// # Errors
    /// [`SessionError`] for one of another agent, another URL or verb, or one that has ended.
    pub fn open_promised(
        &self,
        caller: &Caller,
        target: &Target,
        now: Timestamp,
    ) -> Result<Option<Opening>, SessionError> {
        let mut tokens = target
            .query_pairs()
            .filter(|(name, _)| name.eq_ignore_ascii_case(PARAMETER));
        let Some((name, token)) = tokens.next() else {
            return Ok(None);
        };
        let other = || SessionError::AnotherTarget(Kind::Promised);
        // The parameter stands alone, as it was handed out.
        if name != PARAMETER || target.query_pairs().count() != 1 {
            return Err(other());
        }
        let sealed: Sealed = self.keys.open(Kind::Promised, &token)?;
        if sealed.a != agent(caller) {
            return Err(SessionError::AnotherAgent(Kind::Promised));
        }
        if sealed.x <= now.as_second() {
            return Err(SessionError::Expired(Kind::Promised));
        }
        let opening = sealed.o;
        let began = Target::new(&opening.v, &opening.h, &opening.t).map_err(|_| other())?;
        if target.verb() != "PUT" || began.host() != target.host() || began.path() != target.path() {
            return Err(other());
        }
        Ok(Some(opening))
    }
}

/// Whether a parameter says what kind of upload it is, by any of its names.
fn says_kind(name: &str) -> bool {
    let name = name.trim_start_matches('$').to_ascii_lowercase().replace('_', "");
    matches!(name.as_str(), "uploadtype" | "uploadprotocol")
}
