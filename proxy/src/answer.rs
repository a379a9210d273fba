//! The way back: Google's answer, masked where the plan says so, streamed where it does not.
//!
//! An answer with a mask plan is decoded, read whole up to a cap, masked and sent uncompressed. What cannot
//! be read (no JSON, over the cap, a broken coding) is refused, never passed.

use std::sync::Arc;

use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder};
use bytes::Bytes;
use futures::TryStreamExt;
use http::{HeaderMap, HeaderValue, Response, header, response::Parts};
use http_body_util::{BodyExt, BodyStream};
use hyper::body::Incoming;
use serde_json::Value;
use tokio::io::{AsyncBufRead, AsyncRead, AsyncReadExt};
use tokio_util::io::StreamReader;
use turnpike_policy::{PolicySet, call::Call, caller::Caller};

use crate::{
    body::AnswerBody, egress::UpstreamBody, journey::Limits, metrics::Metrics, outcome::Outcome, recording::Recordings,
    refusal::Refusal,
};

/// Headers that end here, besides those of the connection.
const DROPPED: &[&str] = &[
    "connection",
    "transfer-encoding",
    "upgrade",
    "te",
    "trailer",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "alt-svc",
    "set-cookie",
];

/// Headers about bytes that are no longer there after masking.
const ABOUT_BYTES: &[&str] = &[
    "content-length",
    "content-encoding",
    "etag",
    "accept-ranges",
    "content-md5",
    "digest",
    "repr-digest",
    "content-digest",
    "x-goog-hash",
    "x-goog-stored-content-length",
    "x-goog-stored-content-encoding",
];

/// Content codings that are asked for when an answer has to be masked.
pub const READABLE: HeaderValue = HeaderValue::from_static("gzip");
/// The same when it is copied as it passes.
pub const PLAIN: HeaderValue = HeaderValue::from_static("identity");

/// What an answer is read for.
#[derive(Debug, Clone)]
pub struct Reading {
    /// The policies that the plan comes from.
    pub set: Arc<PolicySet>,
    /// Whose call it was.
    pub caller: Arc<Caller>,
    /// Whether anything is to be masked. If not, the answer is only copied as it passes.
    pub masks: bool,
    /// Where bodies are kept, if a policy wants them.
    pub keep: Option<(Arc<Recordings>, std::time::Duration)>,
}

/// Turns Google's answer into the agent's.
pub async fn pass_on(
    answer: Response<UpstreamBody>,
    mut outcome: Outcome,
    reading: Option<Reading>,
    limits: &Limits,
    metrics: &Metrics,
) -> Response<AnswerBody> {
    let (mut parts, body) = answer.into_parts();
    strip(&mut parts.headers);
    outcome.status(parts.status.as_u16());
    let empty = parts.status == http::StatusCode::NO_CONTENT
        || parts.status == http::StatusCode::NOT_MODIFIED
        || outcome.record().verb == "HEAD"
        || body.size_hint_is_zero();
    if empty {
        outcome.completed();
        return Response::from_parts(parts, AnswerBody::Whole(None));
    }
    let Some(reading) = reading.as_ref().filter(|r| r.masks) else {
        let plain = is_json(&parts.headers) && !parts.headers.contains_key(header::CONTENT_ENCODING);
        let copy = reading
            .and_then(|r| r.keep)
            .filter(|_| plain)
            .map(|(recordings, keep)| {
                Box::new(recordings.copy(outcome.record().id, keep, limits.answer_bytes))
            });
        let outcome = Box::new(outcome);
        return Response::from_parts(
            parts,
            AnswerBody::Streaming {
                inner: body,
                outcome,
                copy,
            },
        );
    };
    match read_and_mask(&mut parts, body, &mut outcome, reading, limits, metrics).await {
        Ok(masked) => {
            outcome.passed(masked.len() as u64);
            outcome.completed();
            Response::from_parts(parts, AnswerBody::whole(masked))
        }
        Err(refusal) => {
            outcome.status(refusal.http.as_u16());
            outcome.broke_off(refusal.reason);
            refusal.into_response(outcome.record().id)
        }
    }
}

async fn read_and_mask(
    parts: &mut Parts,
    body: UpstreamBody,
    outcome: &mut Outcome,
    reading: &Reading,
    limits: &Limits,
    metrics: &Metrics,
) -> Result<Bytes, Refusal> {
    let calls: &[Call] = &outcome.record().calls;
    let plan = reading.set.mask_plan(&reading.caller, calls);
    let unreadable = |what: &str| {
        Refusal::denied(
            "ANSWER_UNREADABLE",
            format!("the answer may hold secrets and cannot be masked: {what}. It is not passed on."),
        )
    };
    if !is_json(&parts.headers) {
        return Err(unreadable("it is not JSON"));
    }
    let plain = decode(&parts.headers, body, limits.answer_bytes)
        .await
        .map_err(|e| unreadable(&e))?;
    for name in ABOUT_BYTES {
        parts.headers.remove(*name);
    }
    let mut masked = Vec::new();
    let bytes = if plain.iter().all(u8::is_ascii_whitespace) {
        Bytes::from(plain)
    } else {
        let mut value: Value =
            serde_json::from_slice(&plain).map_err(|_| unreadable("it is not valid JSON"))?;
        masked = plan.apply(&mut value);
        // Written again even where nothing was found: of a name that stands twice, only one value was looked
        // at, and a checksum that was dropped is not told.
        Bytes::from(serde_json::to_vec(&value).map_err(|_| unreadable("it cannot be written again"))?)
    };
    for hit in &masked {
        metrics.masked(&hit.kind, hit.count);
    }
    outcome.masked(masked);
    if let Some((recordings, keep)) = &reading.keep {
        recordings.keep(outcome.record().id, bytes.clone(), *keep).await;
    }
    Ok(bytes)
}

fn strip(headers: &mut HeaderMap) {
    for name in DROPPED {
        headers.remove(*name);
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()) else {
        return false;
    };
    let media = value
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    media == "application/json"
        || media == "text/json"
        || (media.starts_with("application/") && media.ends_with("+json"))
}

/// Reads a body whole and undoes its content codings, outermost first. The cap is on what comes out.
async fn decode(headers: &HeaderMap, body: UpstreamBody, cap: usize) -> Result<Vec<u8>, String> {
    let stream = BodyStream::new(body)
        .try_filter_map(|frame| std::future::ready(Ok(frame.into_data().ok())))
        .map_err(std::io::Error::other);
    let mut reader: Box<dyn AsyncBufRead + Send + Unpin> = Box::new(StreamReader::new(Box::pin(stream)));
    let mut codings = Vec::new();
    for value in headers.get_all(header::CONTENT_ENCODING) {
        let text = value
            .to_str()
            .map_err(|_| "its coding is not readable".to_owned())?;
        codings.extend(
            text.split(',')
                .map(|c| c.trim().to_ascii_lowercase())
                .filter(|c| !c.is_empty()),
        );
    }
    if codings.len() > 4 {
        return Err("it is coded too often".to_owned());
    }
    for coding in codings.iter().rev() {
        reader = match coding.as_str() {
            "identity" => reader,
            "gzip" | "x-gzip" => buffered(multiple(GzipDecoder::new(reader))),
            "deflate" => buffered(ZlibDecoder::new(reader)),
            "br" => buffered(BrotliDecoder::new(reader)),
            "zstd" => buffered(ZstdDecoder::new(reader)),
            other => return Err(format!("its coding {other:?} is unknown")),
        };
    }
    let mut plain = Vec::new();
    let limit = cap as u64 + 1;
    reader
        .take(limit)
        .read_to_end(&mut plain)
        .await
        .map_err(|e| format!("it cannot be decoded ({})", e.kind()))?;
    if plain.len() > cap {
        return Err(format!("it is larger than {cap} bytes"));
    }
    Ok(plain)
}

/// A gzip body may have several members; all of them count.
fn multiple<R: AsyncBufRead>(mut decoder: GzipDecoder<R>) -> GzipDecoder<R> {
    decoder.multiple_members(true);
    decoder
}

fn buffered<R: AsyncRead + Send + Unpin + 'static>(reader: R) -> Box<dyn AsyncBufRead + Send + Unpin> {
    Box::new(tokio::io::BufReader::new(reader))
}

trait KnownEmpty {
    fn size_hint_is_zero(&self) -> bool;
}

impl KnownEmpty for UpstreamBody {
    fn size_hint_is_zero(&self) -> bool {
        http_body::Body::size_hint(self).exact() == Some(0)
    }
}

/// Reads a request's body whole, up to a cap.
///
/// # Errors
/// `None` over the cap, or the reason why the body broke off.
pub async fn collect(mut body: Incoming, cap: usize) -> Result<Bytes, Option<String>> {
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| Some(e.to_string()))?;
        if let Some(data) = frame.data_ref() {
            if whole.len() + data.len() > cap {
                return Err(None);
            }
            whole.extend_from_slice(data);
        }
    }
    Ok(Bytes::from(whole))
}
