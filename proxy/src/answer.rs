//! The way back: Google's answer, masked where the plan says so, streamed where it does not.
//!
//! An answer with a mask plan is decoded, read whole up to a cap, masked and sent uncompressed. What cannot
//! be read (no JSON, over the cap, a broken coding) is refused, never passed.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use http::{HeaderMap, HeaderValue, Response, header, response::Parts};
use http_body_util::BodyStream;
use jiff::Timestamp;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::io::StreamReader;
use turnpike_policy::{
    PolicySet,
    call::Call,
    caller::Caller,
    canonical::Target,
    mask::{MaskPlan, Masked},
};

use crate::{
    batch::{BatchError, parse_answer, rebuild_answer},
    body::AnswerBody,
    budget::{Account, Taken},
    coding::{self, Caps},
    egress::UpstreamBody,
    grpc,
    journey::Gateway,
    normalise::media_type,
    outcome::Outcome,
    recording::Recordings,
    refusal::Refusal,
    session::{Reissued, SessionError},
    shape::{Form, batch::Batch},
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

/// What gzip can pack at most: Google's answers are trusted with memory only up to the cap.
const ANSWER: Caps = Caps {
    bytes: 0,
    ratio: 1100,
    free: 1 << 20,
};

/// What reading an answer takes at least.
const LEAST: usize = 64 * 1024;
/// How long an answer waits for memory to be read into, each time that it needs more.
const ROOM_WITHIN: std::time::Duration = std::time::Duration::from_secs(5);

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

/// What an answer's way back needs to know of the call.
pub(crate) struct Way<'a> {
    pub(crate) gateway: &'a Gateway,
    pub(crate) caller: &'a Caller,
    pub(crate) form: Form,
    /// The call's own target, where the answer is read.
    pub(crate) asked: Option<Target>,
}

/// Turns Google's answer into the agent's.
pub(crate) async fn pass_on(
    answer: Response<UpstreamBody>,
    mut outcome: Outcome,
    reading: Option<Reading>,
    way: Way<'_>,
) -> Response<AnswerBody> {
    let (mut parts, body) = answer.into_parts();
    let (form, limits) = (&way.form, &way.gateway.limits);
    strip(&mut parts.headers);
    outcome.status(parts.status.as_u16());
    outcome.ends_with_trailers(grpc::is_grpc(&parts.headers));
    let calls = &outcome.record().calls;
    let sealed = way.gateway.sealer.seal_headers(
        way.caller,
        calls,
        form.opening(),
        &mut parts.headers,
        Timestamp::now(),
    );
    if let Err(error) = sealed {
        let refusal = Refusal::denied(error.reason(), error.to_string());
        return broken_off(outcome, refusal);
    }
    let empty = parts.status == http::StatusCode::NO_CONTENT
        || parts.status == http::StatusCode::NOT_MODIFIED
        || outcome.record().verb == "HEAD"
        || body.size_hint_is_zero();
    if empty {
        outcome.completed();
        return Response::from_parts(parts, AnswerBody::Whole(None));
    }
    if let (Form::Grpc(call), Some(reading)) = (form, reading.as_ref().filter(|r| r.masks)) {
        let answer = Response::from_parts(parts, body);
        return grpc::mask(
            answer,
            outcome,
            reading.clone(),
            call.output.clone(),
            limits,
            &way.gateway.metrics,
        );
    }
    let batch = matches!(form, Form::Batch(_));
    let Some(reading) = reading.as_ref().filter(|r| r.masks || batch) else {
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
    match read_and_mask(&mut parts, body, &mut outcome, reading, &way).await {
        Ok(masked) => {
            outcome.passed(masked.len() as u64);
            outcome.completed();
            Response::from_parts(parts, AnswerBody::whole(masked))
        }
        Err(refusal) => broken_off(outcome, refusal),
    }
}

fn broken_off(mut outcome: Outcome, refusal: Refusal) -> Response<AnswerBody> {
    // What was cut off while it was read has not become unreadable.
    let refusal = outcome.cut().cloned().unwrap_or(refusal);
    outcome.status(refusal.http.as_u16());
    outcome.broke_off(refusal.reason);
    refusal.into_response(outcome.record().id)
}

async fn read_and_mask(
    parts: &mut Parts,
    body: UpstreamBody,
    outcome: &mut Outcome,
    reading: &Reading,
    way: &Way<'_>,
) -> Result<Bytes, Refusal> {
    let (form, limits) = (&way.form, &way.gateway.limits);
    // Whatever the form, an error about all of it may come as JSON.
    let json = is_json(&parts.headers);
    match form {
        Form::Plain
        | Form::Xml
        | Form::Opens(_)
        | Form::Session(_)
        | Form::Asks(_)
        | Form::Signed
        | Form::Grpc(_)
            if !json =>
        {
            return Err(unreadable("it is not JSON"));
        }
        Form::Rpc(_) if !json && !is_protobuf(&parts.headers) => {
            return Err(unreadable("it is neither JSON nor a message"));
        }
        _ => {}
    }
    let account = limits.masked.account(&reading.caller.name());
    let (plain, taken) = match decode(&parts.headers, body, limits.answer_bytes, &account).await {
        Ok(decoded) => decoded,
        Err(Unread::Unreadable(what)) => return Err(unreadable(&what)),
        Err(Unread::NoRoom) => {
            return Err(Refusal::unavailable(
                "MASKING_EXHAUSTED",
                "The call was made, and its answer has to be masked, for which there is no memory now: too many \
                 answers are masked, or not read by the agent, at this time.",
            ));
        }
    };
    for name in ABOUT_BYTES {
        parts.headers.remove(*name);
    }
    let calls: &[Call] = &outcome.record().calls;
    let plan = reading.set.mask_plan(&reading.caller, calls);
    let (written, masked) = match form {
        Form::Batch(batch) if !json => {
            let (content_type, written, masked) = mask_each(&parts.headers, plain, batch, calls, reading)?;
            parts.headers.insert(header::CONTENT_TYPE, content_type);
            (written, masked)
        }
        Form::Rpc(Some(output)) if !json => {
            let (written, _, masked) =
                grpc::mask_message(output, &plain, &plan).map_err(|why| unreadable(&why))?;
            (written, masked)
        }
        Form::Rpc(None) if !json => return Err(unreadable("there is no descriptor of it")),
        _ => {
            let reissue = |value: &Value| match &way.asked {
                Some(asked) => {
                    way.gateway
                        .sealer
                        .seal_signed_urls(way.caller, asked, calls, value, Timestamp::now())
                }
                None => Ok(Reissued::default()),
            };
            mask(plain, &plan, reissue)?
        }
    };
    let bytes = taken.keep_with(written);
    for hit in &masked {
        way.gateway.metrics.masked(&hit.kind, hit.count);
    }
    outcome.masked(masked);
    if let Some((recordings, keep)) = &reading.keep {
        recordings.keep(outcome.record().id, bytes.clone(), *keep).await;
    }
    Ok(bytes)
}

fn unreadable(what: &str) -> Refusal {
    Refusal::denied(
        "ANSWER_UNREADABLE",
        format!("the answer may hold secrets and cannot be masked: {what}. It is not passed on."),
    )
}

/// Masks a whole answer. Signed URLs are masked too, and given back as the agent may have them.
fn mask(
    plain: Vec<u8>,
    plan: &MaskPlan<'_>,
    reissue: impl Fn(&Value) -> Result<Reissued, SessionError>,
) -> Result<(Vec<u8>, Vec<Masked>), Refusal> {
    if plain.iter().all(u8::is_ascii_whitespace) {
        return Ok((plain, Vec::new()));
    }
    let mut value: Value = serde_json::from_slice(&plain).map_err(|_| unreadable("it is not valid JSON"))?;
    let reissued = reissue(&value).map_err(|e| Refusal::denied(e.reason(), e.to_string()))?;
    let masked = plan.apply(&mut value);
    reissued.put(&mut value);
    // Written again even where nothing was found: of a name that stands twice, only one value was looked
    // at, and a checksum that was dropped is not told.
    let written = serde_json::to_vec(&value).map_err(|_| unreadable("it cannot be written again"))?;
    Ok((written, masked))
}

/// Masks each answer of a batch by the plan of its own calls.
fn mask_each(
    headers: &HeaderMap,
    plain: Vec<u8>,
    batch: &Batch,
    calls: &[Call],
    reading: &Reading,
) -> Result<(HeaderValue, Vec<u8>, Vec<Masked>), Refusal> {
    let broken = |e: BatchError| unreadable(&e.to_string());
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let content_type = content_type.ok_or_else(|| unreadable("it has no type"))?;
    let plain = Bytes::from(plain);
    let mut answers = parse_answer(content_type, &plain, batch.ids.len()).map_err(broken)?;
    let mut all = Vec::new();
    for answer in &mut answers {
        let its = batch
            .calls
            .get(answer.index)
            .and_then(|range| calls.get(range.clone()));
        let its = its.ok_or_else(|| unreadable("it answers what was not asked"))?;
        let plan = reading.set.mask_plan(&reading.caller, its);
        if plan.is_empty() || answer.body.is_empty() {
            continue;
        }
        if !is_json(&answer.headers) || answer.headers.contains_key(header::CONTENT_ENCODING) {
            return Err(unreadable("a part of it is not JSON"));
        }
        let (written, masked) = mask(answer.body.to_vec(), &plan, |_| Ok(Reissued::default()))?;
        answer.body = Bytes::from(written);
        for name in ABOUT_BYTES {
            answer.headers.remove(*name);
        }
        all.extend(masked);
    }
    let (content_type, written) = rebuild_answer(&answers, &batch.ids).map_err(broken)?;
    Ok((content_type, written.into(), all))
}

/// Takes away what ends here.
pub(crate) fn strip(headers: &mut HeaderMap) {
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

fn is_protobuf(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    value.is_some_and(|v| media_type(v) == "application/x-protobuf")
}

/// Why an answer was not read.
#[derive(Debug, PartialEq, Eq)]
enum Unread {
    /// It cannot be.
    Unreadable(String),
    /// There was no memory for it in time.
    NoRoom,
}

impl From<String> for Unread {
    fn from(what: String) -> Self {
        Self::Unreadable(what)
    }
}

/// Reads a body whole and undoes its content codings. The cap is on what comes out.
async fn decode(
    headers: &HeaderMap,
    body: UpstreamBody,
    cap: usize,
    account: &Account,
) -> Result<(Vec<u8>, Taken), Unread> {
    let caps = Caps {
        // One byte more shows that there is more, and is told by the reader.
        bytes: cap as u64 + 1,
        ..ANSWER
    };
    let plain = coding::decoded(headers, body, caps).map_err(|e| e.to_string())?;
    let stream = BodyStream::new(Box::pin(plain))
        .try_filter_map(|frame| std::future::ready(Ok(frame.into_data().ok())))
        .map_err(std::io::Error::other);
    read(StreamReader::new(Box::pin(stream)), cap, account).await
}

/// Reads to the end, and takes memory as it goes.
async fn read<R>(mut reader: R, cap: usize, account: &Account) -> Result<(Vec<u8>, Taken), Unread>
where
    R: AsyncRead + Unpin,
{
    let mut room = LEAST.min(cap);
    let mut taken = account.take(room, ROOM_WITHIN).await.ok_or(Unread::NoRoom)?;
    let mut plain = Vec::new();
    loop {
        // One more than there is room for shows that there is more.
        let next = (room + 1 - plain.len()) as u64;
        (&mut reader)
            .take(next)
            .read_to_end(&mut plain)
            .await
            .map_err(|e| format!("it cannot be decoded ({})", e.kind()))?;
        if plain.len() <= room {
            return Ok((plain, taken));
        }
        if room >= cap {
            return Err(format!("it is larger than {cap} bytes").into());
        }
        let grown = (2 * room).min(cap);
        let more = account.take(grown - room, ROOM_WITHIN).await;
        taken.join(more.ok_or(Unread::NoRoom)?);
        room = grown;
    }
}

trait KnownEmpty {
    fn size_hint_is_zero(&self) -> bool;
}

impl KnownEmpty for UpstreamBody {
    fn size_hint_is_zero(&self) -> bool {
        http_body::Body::size_hint(self).exact() == Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;

    #[tokio::test]
    async fn an_answer_is_read_up_to_the_cap_and_the_room_there_is() {
        const CAP: usize = 300 * 1024;
        let budget = Budget::new(2 * CAP, CAP);
        let account = budget.account("a");
        for length in [0, 1, LEAST, LEAST + 1, 2 * LEAST, CAP] {
            let answer = vec![b'x'; length];
            let (plain, taken) = read(answer.as_slice(), CAP, &account).await.expect("it fits");
            assert_eq!(plain, answer);
            drop(taken);
        }
        let over = read(vec![b'x'; CAP + 1].as_slice(), CAP, &account).await;
        let expected = Unread::Unreadable(format!("it is larger than {CAP} bytes"));
        assert_eq!(over.map(|_| ()), Err(expected));
        // What the agent has not taken yet counts, and its going makes room.
        let (plain, taken) = read(vec![b'x'; CAP].as_slice(), CAP, &account)
            .await
            .expect("all is free");
        let unread = taken.keep_with(plain);
        assert!(account.try_take(1).is_none());
        let (next, ()) = tokio::join!(read(b"{}".as_slice(), CAP, &account), async { drop(unread) });
        assert!(next.is_ok());
    }
}
