//! Content for uploads that were begun before, where it needs an approval.
//!
//! What is approved is all that is sent, and a session at Google's can hold anything by then. So an upload that has
//! to wait for a person never uses one: what began it and its content are made one upload, whose bytes are those that
//! the person approves. [`crate::session::Opening`] says how the beginning gets here.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use jiff::Timestamp;
use turnpike_policy::caller::Caller;

use super::{Form, Shaped, body_names, classify, unopened, upload::refused};
use crate::{
    body::{AnswerBody, BoxError, RequestBody},
    egress::Canonical,
    journey::{Gateway, Refused},
    multipart::Rebuilt,
    normalise::NOISE,
    refusal::Refusal,
    session::{InOne, Opening, range::Range},
};

/// What a request for a session brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Brings {
    /// All of the content, and its length where that is said.
    Everything(Option<u64>),
    /// Nothing: it asks how far the content has come.
    Nothing,
    /// A piece of the content, or something that only a session understands.
    Piece,
}

/// Makes an upload in one request of what began it and a request with its content.
///
/// # Errors
/// The refusal to answer with: the content is not whole.
pub(crate) fn in_one(
    gateway: &Gateway,
    mut canonical: Canonical,
    opening: Opening,
    body: RequestBody,
) -> Result<Shaped, Refused> {
    let brings = brings(&canonical, &body);
    let InOne {
        target,
        mut headers,
        metadata,
        media_type,
    } = opening.in_one().map_err(unopened)?;
    for (name, value) in &canonical.headers {
        if NOISE.contains(&name.as_str()) {
            headers.append(name, value.clone());
        }
    }
    canonical.method = Method::from_bytes(target.verb().as_bytes()).map_err(|_| not_in_one())?;
    canonical.retarget(target)?;
    canonical.headers = headers;
    let mut calls = classify(gateway, &canonical)?;
    body_names::add_grants(gateway.catalog, &mut calls, &canonical.target, None)?;
    body_names::place_metadata(gateway.catalog, &mut calls, &canonical.target, &metadata)?;
    let (form, body) = match brings {
        Brings::Piece => return Err(not_in_one()),
        Brings::Nothing => (Form::Asks(Box::new(metadata)), RequestBody::whole(Bytes::new())),
        Brings::Everything(length) => {
            let media = Measured {
                inner: body,
                expected: length,
                seen: 0,
                over: false,
            };
            let (content_type, upload) = Rebuilt::new(metadata, media_type, media).map_err(refused)?;
            canonical.headers.insert(header::CONTENT_TYPE, content_type);
            (Form::Plain, RequestBody::Upload(Box::new(upload.boxed())))
        }
    };
    Ok(Shaped {
        canonical,
        body,
        calls,
        form,
    })
}

/// The refusal of an upload that cannot be made one request.
pub(crate) fn not_in_one() -> Refused {
    Box::new(Refusal::denied(
        "UPLOAD_SESSION_NOT_HELD",
        "The call needs an approval, which covers all that is sent, and this upload sends its content in several \
         requests, or in a protocol that Turnpike does not hold. Send all of it in one request: gcloud does where the \
         properties storage/resumable_threshold (above the size of the file) and \
         storage/parallel_composite_upload_enabled (False) are set and --gzip-in-flight is not given; other clients by \
         uploadType=multipart, or by one PUT to the session with Content-Range: bytes 0-LAST/LENGTH or none.",
    ))
}

/// The answer to what begins an upload that has to wait for an approval: a session of ours, which nobody knows at
/// Google's.
///
/// # Errors
/// The refusal to answer with.
pub(crate) fn promised(
    gateway: &Gateway,
    caller: &Caller,
    opening: &Opening,
) -> Result<Response<AnswerBody>, Refused> {
    let location = gateway.sealer.promise(caller, opening, Timestamp::now());
    let mut answer = Response::new(AnswerBody::Whole(None));
    answer
        .headers_mut()
        .insert(header::LOCATION, location.map_err(unopened)?);
    Ok(answer)
}

/// The answer to the question how far such an upload has come: nothing of it is there.
pub(crate) fn nothing_yet() -> Response<AnswerBody> {
    let mut answer = Response::new(AnswerBody::Whole(None));
    // As Google has it: "Resume Incomplete", and without a Range where there is no byte.
    *answer.status_mut() = StatusCode::PERMANENT_REDIRECT;
    answer
}

fn brings(canonical: &Canonical, body: &RequestBody) -> Brings {
    let headers = &canonical.headers;
    if canonical.method != Method::PUT || headers.contains_key(header::CONTENT_ENCODING) {
        return Brings::Piece;
    }
    match (range(headers), body.is_end_stream()) {
        (Brings::Nothing, false) => Brings::Piece,
        (brings, _) => brings,
    }
}

/// What a request brings, by its `Content-Range`. Where that says that the content ends with the request, and not at
/// which byte, that is everything too.
fn range(headers: &HeaderMap) -> Brings {
    match Range::of(headers) {
        Range::Absent => Brings::Everything(None),
        // The end of an upload that has no content.
        Range::Nothing { total: Some(0) } => Brings::Everything(Some(0)),
        Range::Nothing { .. } => Brings::Nothing,
        Range::Bytes {
            first: 0,
            last: None,
            total,
        } => Brings::Everything(total),
        Range::Bytes {
            first: 0,
            last: Some(last),
            total: Some(total),
        } if last.checked_add(1) == Some(total) => Brings::Everything(Some(total)),
        Range::Bytes { .. } | Range::Unclear => Brings::Piece,
    }
}

/// Content that must have the length that was said.
#[derive(Debug)]
struct Measured {
    inner: RequestBody,
    expected: Option<u64>,
    seen: u64,
    over: bool,
}

impl Body for Measured {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.over {
            return Poll::Ready(None);
        }
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            self.seen += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        let (seen, ended) = (self.seen, frame.is_none());
        let wrong = self
            .expected
            .filter(|expected| seen > *expected || (ended && seen != *expected));
        self.over = ended || wrong.is_some() || matches!(frame, Some(Err(_)));
        Poll::Ready(match wrong {
            Some(expected) => Some(Err(format!(
                "Content-Range says that the content has {expected} bytes, and {seen} came"
            )
            .into())),
            None => frame,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.over
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_range_says_what_a_request_brings() {
        let everything = |length| Brings::Everything(Some(length));
        let cases: [(&[&'static str], Brings); 20] = [
            (&[], Brings::Everything(None)),
            (&["bytes 0-9/10"], everything(10)),
            (&["bytes 0-0/1"], everything(1)),
            (&["bytes 0-*/10"], everything(10)),
            (&["bytes 0-*/*"], Brings::Everything(None)),
            (&["bytes */0"], everything(0)),
            (&["bytes */*"], Brings::Nothing),
            (&["bytes */10"], Brings::Nothing),
            (&["bytes 0-8/10"], Brings::Piece),
            (&["bytes 0-10/10"], Brings::Piece),
            (&["bytes 0-9/*"], Brings::Piece),
            (&["bytes 1-9/10"], Brings::Piece),
            (&["bytes 00-9/10"], Brings::Piece),
            (&["bytes 0-+9/10"], Brings::Piece),
            (&["bytes 0-9/+10"], Brings::Piece),
            (
                &["bytes 0-18446744073709551615/18446744073709551615"],
                Brings::Piece,
            ),
            (&["bytes=0-9/10"], Brings::Piece),
            (&["0-9/10"], Brings::Piece),
            (&["bytes 0-9"], Brings::Piece),
            (&["bytes 0-9/10", "bytes 0-9/10"], Brings::Piece),
        ];
        for (values, brings) in cases {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONTENT_RANGE, HeaderValue::from_static(value));
            }
            assert_eq!(range(&headers), brings, "{values:?}");
        }
    }

    #[tokio::test]
    async fn content_has_the_length_that_was_said() {
        use http_body_util::BodyExt;
        let read = async |content: &'static [u8], expected| {
            let media = Measured {
                inner: RequestBody::whole(Bytes::from_static(content)),
                expected,
                seen: 0,
                over: false,
            };
            let read = media.collect().await;
            read.map(|r| r.to_bytes()).map_err(|e| e.to_string())
        };
        let wrong = |expected, seen| {
            Err(format!(
                "Content-Range says that the content has {expected} bytes, and {seen} came"
            ))
        };
        assert_eq!(
            read(b"ten bytes.", None).await,
            Ok(Bytes::from_static(b"ten bytes."))
        );
        assert_eq!(
            read(b"ten bytes.", Some(10)).await,
            Ok(Bytes::from_static(b"ten bytes."))
        );
        assert_eq!(read(b"", Some(0)).await, Ok(Bytes::new()));
        assert_eq!(read(b"ten bytes.", Some(9)).await, wrong(9, 10));
        assert_eq!(read(b"ten bytes.", Some(11)).await, wrong(11, 10));
        assert_eq!(read(b"", Some(1)).await, wrong(1, 0));
    }
}
