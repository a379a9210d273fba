//! One canonical request, or a named refusal. What goes upstream is built from what this returns, never
//! from the agent's bytes.

use http::{HeaderMap, HeaderValue, Method, Request, Uri, header, request::Parts};
use turnpike_policy::canonical::{Malformed, Target};

use crate::{egress::Canonical, refusal::Refusal};

/// Headers that may pass, besides those that begin with [`GOOGLE`]. All others end here: those of one hop
/// (RFC 9110, section 7.6.1), credentials, claims about where the client comes from, and what nobody knows.
const PASSING: &[&str] = &[
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-md5",
    "content-range",
    "content-type",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "prefer",
    "range",
    "slug",
    "traceparent",
    "tracestate",
    "user-agent",
    "x-cloud-trace-context",
    "x-request-id",
    "x-server-timeout",
    "x-upload-content-length",
    "x-upload-content-type",
];

/// Google's own headers pass, but for these: credentials, and whom a call is billed to.
const GOOGLE: &str = "x-goog-";
const GOOGLE_DROPPED: &[&str] = &[
    "x-goog-api-key",
    "x-goog-authenticated-user-email",
    "x-goog-authenticated-user-id",
    "x-goog-iam-authorization-token",
    "x-goog-iam-authority-selector",
    "x-goog-user-project",
];

/// Headers that change nothing of what Google does, and that clients send anew with every try. Every other
/// header that passes is part of what an approver approves.
pub(crate) const NOISE: &[&str] = &[
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "traceparent",
    "tracestate",
    "user-agent",
    "x-cloud-trace-context",
    "x-goog-api-client",
    "x-goog-gcs-idempotency-token",
    "x-goog-request-params",
    "x-request-id",
    "x-server-timeout",
];

/// Headers that would make Google execute another method than the request line says.
const OVERRIDES: &[&str] = &["x-http-method-override", "x-http-method", "x-method-override"];

/// Makes the canonical form of a request that arrived on a connection for `authority`.
///
/// # Errors
/// The refusal to answer with.
pub fn normalise(parts: &Parts, authority: &str) -> Result<Canonical, Refusal> {
    let named = authority_of(parts)?;
    let path_and_query = parts.uri.path_and_query().map_or("/", |p| p.as_str());
    let target = Target::new(parts.method.as_str(), named, path_and_query).map_err(malformed)?;
    if target.host() != authority {
        return Err(Refusal::new(
            http::StatusCode::MISDIRECTED_REQUEST,
            "INVALID_ARGUMENT",
            "AUTHORITY_MISMATCH",
            format!(
                "the connection is for {authority} and the request for {}: SNI, CONNECT and Host must name the \
                 same host",
                target.host()
            ),
        ));
    }
    if let Some(name) = OVERRIDES.iter().find(|n| parts.headers.contains_key(**n)) {
        return Err(Refusal::invalid(
            "METHOD_OVERRIDE",
            format!(
                "the header {name} would turn this into another call: make that call itself. Only a GET that is too \
                 long for a URL may be sent as a POST of a form"
            ),
        ));
    }
    if parts.headers.contains_key(header::UPGRADE) {
        return Err(Refusal::invalid(
            "UPGRADE",
            "upgrades to other protocols are not passed on",
        ));
    }
    let (uri, host) = addressed(&target)?;
    let headers = kept(&parts.headers);
    Ok(Canonical {
        target,
        uri,
        host,
        method: parts.method.clone(),
        headers,
        http2: false,
        anonymous: false,
    })
}

/// The URI and the `Host` header of a target.
fn addressed(target: &Target) -> Result<(Uri, HeaderValue), Refusal> {
    let unsendable = |e: &dyn std::fmt::Display| {
        Refusal::invalid("TARGET_MALFORMED", format!("the target cannot be sent on: {e}"))
    };
    let uri = Uri::builder()
        .scheme("https")
        .authority(target.host())
        .path_and_query(target.path_and_query())
        .build()
        .map_err(|e| unsendable(&e))?;
    let host = HeaderValue::from_str(target.host()).map_err(|e| unsendable(&e))?;
    Ok((uri, host))
}

impl Canonical {
    /// Sends the request to another target: Google's own form of what the agent knows in ours.
    ///
    /// # Errors
    /// The refusal to answer with.
    pub(crate) fn retarget(&mut self, target: Target) -> Result<(), Refusal> {
        (self.uri, self.host) = addressed(&target)?;
        self.target = target;
        Ok(())
    }
}

/// Whether a request is a GET whose query is too long for a URL, and stands in the body as a form: what Google's
/// clients make of one. [`long_get`] makes the GET of it.
pub(crate) fn is_long_get(parts: &Parts) -> bool {
    let one = |name: &str| {
        let mut values = parts.headers.get_all(name).iter();
        values
            .next()
            .filter(|_| values.next().is_none())
            .and_then(|v| v.to_str().ok())
    };
    parts.method == Method::POST
        && one("x-http-method-override").is_some_and(|verb| verb.eq_ignore_ascii_case("GET"))
        && one("content-type").is_some_and(|media| media_type(media) == "application/x-www-form-urlencoded")
        && !parts.headers.contains_key(header::CONTENT_ENCODING)
}

/// The GET that a form stands for: what is in the body belongs to the query.
///
/// # Errors
/// The body is no query.
pub(crate) fn long_get(parts: &mut Parts, form: &[u8]) -> Result<(), Refusal> {
    let malformed = || Refusal::invalid("FORM_MALFORMED", "the form in the body is not the query of a URL");
    let form = std::str::from_utf8(form).map_err(|_| malformed())?;
    if form.contains(['?', '#', ' ', '\r', '\n']) {
        return Err(malformed());
    }
    let uri = std::mem::take(&mut parts.uri).into_parts();
    let target = uri.path_and_query.as_ref().map_or("/", |p| p.as_str());
    let joint = if target.contains('?') { '&' } else { '?' };
    let mut whole = Uri::builder();
    if let Some(scheme) = uri.scheme {
        whole = whole.scheme(scheme);
    }
    if let Some(authority) = uri.authority {
        whole = whole.authority(authority);
    }
    let whole = match form.is_empty() {
        true => whole.path_and_query(target),
        false => whole.path_and_query(format!("{target}{joint}{form}")),
    };
    parts.uri = whole.build().map_err(|_| malformed())?;
    parts.method = Method::GET;
    for name in ["x-http-method-override", "content-type", "content-length"] {
        parts.headers.remove(name);
    }
    Ok(())
}

/// The type of a `Content-Type`, without parameters, in lower case.
pub(crate) fn media_type(value: &str) -> String {
    let media = value.split(';').next().unwrap_or(value);
    media.trim().to_ascii_lowercase()
}

/// The one authority that a request names.
fn authority_of(parts: &Parts) -> Result<&str, Refusal> {
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(_), Some(_)) => return Err(Refusal::invalid("HOST_REPEATED", "the request names two hosts")),
        (Some(value), None) => Some(
            value
                .to_str()
                .map_err(|_| Refusal::invalid("HOST_MALFORMED", "the Host header is not a host name"))?,
        ),
        (None, _) => None,
    };
    let uri = parts.uri.authority().map(http::uri::Authority::as_str);
    match (uri, host) {
        (Some(uri), Some(host)) if !same_authority(uri, host) => Err(Refusal::new(
            http::StatusCode::MISDIRECTED_REQUEST,
            "INVALID_ARGUMENT",
            "AUTHORITY_MISMATCH",
            "the request's target and its Host header name different hosts",
        )),
        (Some(name), _) | (None, Some(name)) => Ok(name),
        (None, None) => Err(Refusal::invalid("HOST_MISSING", "the request names no host")),
    }
}

fn same_authority(a: &str, b: &str) -> bool {
    let bare = |s: &str| s.strip_suffix(":443").unwrap_or(s).to_ascii_lowercase();
    bare(a) == bare(b)
}

fn kept(headers: &HeaderMap) -> HeaderMap {
    // Connection can name further headers of this hop.
    let mut named: Vec<String> = Vec::new();
    for value in headers.get_all(header::CONNECTION) {
        if let Ok(text) = value.to_str() {
            named.extend(text.split(',').map(|n| n.trim().to_ascii_lowercase()));
        }
    }
    let mut kept = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        if passes(name.as_str()) && !named.iter().any(|n| n == name.as_str()) {
            kept.append(name.clone(), value.clone());
        }
    }
    kept
}

fn passes(name: &str) -> bool {
    PASSING.contains(&name) || (name.starts_with(GOOGLE) && !GOOGLE_DROPPED.contains(&name))
}

/// The refusal for a target that cannot be understood in one way only.
pub fn malformed(error: Malformed) -> Refusal {
    Refusal::invalid(error.reason(), error.to_string())
}

/// The client's name for itself.
pub fn user_agent<B>(request: &Request<B>) -> Option<String> {
    let value = request.headers().get(header::USER_AGENT)?.to_str().ok()?;
    Some(value.chars().take(512).collect())
}

#[cfg(test)]
mod tests;
