//! Batches as they come from agents, and as they go upstream.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header, request::Parts};
use turnpike_policy::canonical::{Alt, Target};

use super::{BatchError, Caps, Malady, api, id_upstream, is_batch, message::Message};
use crate::{
    egress::Canonical,
    multipart::{self, Kind, Limits, MultipartError, Part, boundary},
    normalise::media_type,
};

const CONTENT_ID: HeaderName = HeaderName::from_static("content-id");
/// What ends at the gate even before the request is normalised: an inner credential would count for more than
/// the outer one.
const CREDENTIALS: [HeaderName; 3] = [header::AUTHORIZATION, header::PROXY_AUTHORIZATION, header::COOKIE];
/// Headers that are not written into a part: answers must be readable, and the others are written anew.
const UNWRITTEN: [HeaderName; 5] = [
    header::ACCEPT_ENCODING,
    header::AUTHORIZATION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::HOST,
];
/// Parameters of an upload. They stand in calls to other paths than those of uploads, too.
const UPLOAD_PARAMETERS: [&str; 3] = ["uploadType", "upload_id", "upload_protocol"];

/// One call of a batch, as a request of its own.
#[derive(Debug)]
pub struct InnerRequest {
    /// What the agent calls it.
    pub content_id: Option<HeaderValue>,
    /// Its head. `Host` is always there.
    pub parts: Parts,
    /// Its body.
    pub body: Bytes,
}

/// Takes a batch apart. The body's own content codings must have been undone.
///
/// # Errors
/// [`BatchError`].
pub fn parse(
    target: &Target,
    headers: &HeaderMap,
    body: &Bytes,
    caps: Caps,
) -> Result<Vec<InnerRequest>, BatchError> {
    api(target)?;
    if target.verb() != Method::POST.as_str() {
        return Err(BatchError::Verb);
    }
    if !target.query().is_empty() {
        return Err(BatchError::Query);
    }
    if body.len() > caps.bytes {
        return Err(BatchError::TooLarge(caps.bytes));
    }
    let content_type = multipart::content_type(headers)?;
    let limits = Limits::parts(caps.parts);
    let parts = multipart::parse(content_type, Kind::Mixed, body, limits).map_err(|error| match error {
        MultipartError::TooManyParts(most) => BatchError::TooManyCalls(most),
        other => BatchError::Multipart(other),
    })?;
    let mut requests: Vec<InnerRequest> = Vec::with_capacity(parts.len());
    for (index, part) in parts.into_iter().enumerate() {
        let request = one(target.host(), &part).map_err(|malady| malady.of(index))?;
        let id = request.content_id.as_ref();
        if id.is_some() && requests.iter().any(|r| r.content_id.as_ref() == id) {
            return Err(Malady::RepeatedId.of(index));
        }
        requests.push(request);
    }
    Ok(requests)
}

fn one(host: &str, part: &Part) -> Result<InnerRequest, Malady> {
    http_type(&part.headers)?;
    let message = Message::read(&part.body)?;
    let (method, uri) = request_line(&message.first_line)?;
    if method == Method::GET && !message.body.is_empty() {
        return Err(Malady::UnexpectedBody);
    }
    check_target(&method, &uri, host)?;
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    let (mut parts, ()) = request.into_parts();
    parts.headers = message.headers;
    for name in CREDENTIALS {
        parts.headers.remove(name);
    }
    match parts.headers.get(header::HOST) {
        Some(named) => {
            // `normalise` compares hosts for all requests; a batch says which of its calls it was.
            let named = named.to_str().map_err(|_| Malady::AnotherHost)?;
            let bare = named.strip_suffix(":443").unwrap_or(named);
            if !bare.eq_ignore_ascii_case(host) {
                return Err(Malady::AnotherHost);
            }
        }
        None => {
            let host = HeaderValue::from_str(host).map_err(|_| Malady::AnotherHost)?;
            parts.headers.insert(header::HOST, host);
        }
    }
    Ok(InnerRequest {
        content_id: part.headers.get(CONTENT_ID).cloned(),
        parts,
        body: message.body,
    })
}

/// `application/http`, whatever its parameters: the part itself tells a request from an answer.
pub(super) fn http_type(headers: &HeaderMap) -> Result<(), Malady> {
    let value = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    match value.map(media_type).as_deref() {
        Some("application/http") => Ok(()),
        _ => Err(Malady::NotHttp),
    }
}

/// `VERB target HTTP/1.1`; Google's documentation leaves the version out.
fn request_line(line: &str) -> Result<(Method, Uri), Malady> {
    let mut words = line.split(' ');
    let (Some(verb), Some(target), version, None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Malady::FirstLine);
    };
    if version.is_some_and(|v| v != "HTTP/1.1") {
        return Err(Malady::FirstLine);
    }
    let method = match verb {
        "GET" => Method::GET,
        "POST" => Method::POST,
        "PUT" => Method::PUT,
        "PATCH" => Method::PATCH,
        "DELETE" => Method::DELETE,
        _ => return Err(Malady::Verb),
    };
    let absolute = target
        .get(..8)
        .is_some_and(|s| s.eq_ignore_ascii_case("https://"));
    // `Uri` drops a fragment and says nothing.
    if !(absolute || target.starts_with('/')) || target.contains('#') {
        return Err(Malady::TargetForm);
    }
    let uri = target.parse().map_err(|_| Malady::TargetForm)?;
    Ok((method, uri))
}

/// What no call of a batch may be, judged by the canonical target.
fn check_target(method: &Method, uri: &Uri, host: &str) -> Result<(), Malady> {
    let authority = uri.authority().map_or(host, |a| a.as_str());
    let path = uri.path_and_query().map_or("/", |p| p.as_str());
    let target = Target::new(method.as_str(), authority, path).map_err(Malady::Target)?;
    if target.host() != host {
        return Err(Malady::AnotherHost);
    }
    if is_batch(&target) {
        return Err(Malady::Batch);
    }
    let media = matches!(
        (target.segment(0), target.segment(1)),
        ("upload" | "download", _) | ("resumable", "upload" | "download")
    );
    let uploads = target
        .query_pairs()
        .any(|(name, _)| UPLOAD_PARAMETERS.contains(&name.trim_start_matches('$')));
    match media || uploads || target.alt() == Alt::Media {
        true => Err(Malady::Media),
        false => Ok(()),
    }
}

/// Writes a batch of canonical requests, and gives its `Content-Type`. The same requests make the same bytes.
///
/// # Errors
/// [`BatchError::Unwritable`] where a header cannot stand in a body.
pub fn rebuild(requests: &[(&Canonical, &Bytes)]) -> Result<(HeaderValue, Bytes), BatchError> {
    let heads: Vec<Vec<u8>> = requests
        .iter()
        .map(|(canonical, body)| head(canonical, body))
        .collect();
    let pieces = heads.iter().zip(requests);
    let boundary = boundary::of_content(
        pieces
            .clone()
            .flat_map(|(head, (_, body))| [head.as_slice(), body.as_ref()]),
    );
    let parts = pieces
        .enumerate()
        .map(|(index, (head, (_, body)))| (Some(id_upstream(index)), head.as_slice(), body.as_ref()));
    let whole = write(&boundary, parts);
    let content_type = Kind::Mixed
        .content_type(&boundary)
        .map_err(|_| BatchError::Unwritable)?;
    Ok((content_type, whole))
}

fn head(canonical: &Canonical, body: &Bytes) -> Vec<u8> {
    let method = canonical.method.as_str();
    let line = format!("{method} {} HTTP/1.1\r\n", canonical.target.path_and_query());
    let mut head = line.into_bytes();
    write_headers(&mut head, &canonical.headers, |name| !UNWRITTEN.contains(name));
    let with_body = [Method::POST, Method::PUT, Method::PATCH].contains(&canonical.method);
    if with_body || !body.is_empty() {
        head.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// Writes headers in the order of their names.
pub(super) fn write_headers(head: &mut Vec<u8>, headers: &HeaderMap, passes: impl Fn(&HeaderName) -> bool) {
    let mut names: Vec<&HeaderName> = headers.keys().filter(|name| passes(name)).collect();
    names.sort_unstable_by_key(|name| name.as_str());
    for name in names {
        for value in headers.get_all(name) {
            head.extend_from_slice(name.as_str().as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
    }
}

/// Writes parts: an id, a head and a body each.
pub(super) fn write<'a>(
    boundary: &str,
    parts: impl IntoIterator<Item = (Option<String>, &'a [u8], &'a [u8])>,
) -> Bytes {
    let (delimiter, end) = boundary::delimiters(boundary);
    let mut whole = BytesMut::new();
    for (index, (id, head, body)) in parts.into_iter().enumerate() {
        if index > 0 {
            whole.extend_from_slice(b"\r\n");
        }
        whole.extend_from_slice(&delimiter);
        whole.extend_from_slice(b"Content-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n");
        if let Some(id) = id {
            whole.extend_from_slice(b"Content-ID: ");
            whole.extend_from_slice(id.as_bytes());
            whole.extend_from_slice(b"\r\n");
        }
        for piece in [b"\r\n", head, body] {
            whole.extend_from_slice(piece);
        }
    }
    whole.extend_from_slice(&end);
    whole.freeze()
}
