//! Answers in Google's shapes.

use std::io::{self, Write as _};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, VARY};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

/// The body of every answer.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// An answer of a service.
pub(super) type Answer = Response<Body>;

/// 200 with JSON.
pub(super) fn ok(value: &Value) -> Answer {
    json_bytes(StatusCode::OK, Bytes::from(value.to_string()))
}

/// JSON that is serialised already.
pub(super) fn json_bytes(status: StatusCode, bytes: Bytes) -> Answer {
    let mut answer = bytes_answer(status, bytes);
    let json = HeaderValue::from_static("application/json; charset=UTF-8");
    answer.headers_mut().insert(CONTENT_TYPE, json);
    answer
}

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Answer {
    bytes_answer(status, Bytes::new())
}

/// Bytes without a content type.
pub(super) fn bytes_answer(status: StatusCode, bytes: Bytes) -> Answer {
    let mut answer = Response::new(full(bytes));
    *answer.status_mut() = status;
    answer
}

/// An error in the shape of `google.rpc.Status`, as Google's JSON APIs send it.
pub(super) fn error(status: StatusCode, message: &str) -> Answer {
    let name = match status {
        StatusCode::BAD_REQUEST => "INVALID_ARGUMENT",
        StatusCode::UNAUTHORIZED => "UNAUTHENTICATED",
        StatusCode::FORBIDDEN => "PERMISSION_DENIED",
        StatusCode::NOT_FOUND => "NOT_FOUND",
        StatusCode::CONFLICT => "ALREADY_EXISTS",
        StatusCode::NOT_IMPLEMENTED => "UNIMPLEMENTED",
        StatusCode::SERVICE_UNAVAILABLE => "UNAVAILABLE",
        _ => "INTERNAL",
    };
    let body = json!({"error": {"code": status.as_u16(), "message": message, "status": name}});
    json_bytes(status, Bytes::from(body.to_string()))
}

/// 404 for a resource by its name.
pub(super) fn not_found(what: &str) -> Answer {
    error(StatusCode::NOT_FOUND, &format!("{what} not found."))
}

/// A whole body.
pub(super) fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// Compresses a JSON answer. Google does so for clients that accept gzip *and* say `gzip` in
/// their user agent.
pub(super) async fn gzip(answer: Answer) -> io::Result<Answer> {
    let is_json = answer
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    if !is_json {
        return Ok(answer);
    }
    let (mut head, body) = answer.into_parts();
    let plain = body.collect().await?.to_bytes();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&plain)?;
    let packed = encoder.finish()?;
    head.headers
        .insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    head.headers
        .insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    Ok(Response::from_parts(head, full(Bytes::from(packed))))
}
