//! Whose fault it is when the body of a request does not reach its end: the agent's, who broke it off or sent what
//! cannot be read, and what it is told then. What upstream does to a call is not decided here.

use std::{
    error::Error,
    io,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::{
    body::{BoxError, RequestBody},
    coding::CodingError,
    grpc::StreamError,
    inflight::CutOff,
    multipart::MultipartError,
    refusal::Refusal,
};

/// What a request's body failed with, known from its first error on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fault(Arc<OnceLock<Refusal>>);

impl Fault {
    /// What to tell the agent; `None` where its body is not to blame.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        self.0.get().cloned()
    }
}

/// A request's body on its way upstream, which leaves word of what it fails with. Libraries do not: to them, a body
/// that fails is a connection that breaks.
#[derive(Debug)]
pub struct Told {
    inner: RequestBody,
    fault: Option<Fault>,
}

impl Told {
    /// The body, and where its fault will stand; what is at hand has none.
    pub(crate) fn new(inner: RequestBody) -> (Self, Option<Fault>) {
        let fault = match inner {
            RequestBody::Whole(_) => None,
            _ => Some(Fault::default()),
        };
        let told = Self {
            inner,
            fault: fault.clone(),
        };
        (told, fault)
    }
}

impl Body for Told {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let (Some(Err(error)), Some(fault)) = (&frame, &self.fault)
            && let Some(refusal) = refusal(error.as_ref())
        {
            // The first one is the cause of all others.
            fault.0.get_or_init(|| refusal);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// What an agent is told of an error of its body; `None` for what is not of its making.
fn refusal(error: &(dyn Error + 'static)) -> Option<Refusal> {
    if find::<CutOff>(error).is_some() {
        return None;
    }
    let stopped = |reason, why: &dyn std::fmt::Display| {
        Some(Refusal::invalid(
            reason,
            format!("the request's body was not passed on to its end: {why}"),
        ))
    };
    if let Some(coding) = find::<CodingError>(error) {
        return stopped(coding.reason(), coding);
    }
    if let Some(multipart) = find::<MultipartError>(error) {
        return stopped(multipart.reason(), multipart);
    }
    if let Some(stream) = find::<StreamError>(error) {
        return stopped(stream.reason(), stream);
    }
    // What is kept on disk is the gateway's.
    if find::<io::Error>(error).is_some() && find::<hyper::Error>(error).is_none() {
        return None;
    }
    stopped("BODY_BROKE_OFF", &error)
}

/// An error of a kind among an error and its causes.
pub(crate) fn find<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // An error of I/O hides what it was made of from its causes.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_found_however_they_are_wrapped() {
        let coding = || CodingError::Expands(200);
        let reason = |error: BoxError| refusal(error.as_ref()).map(|refusal| refusal.reason);
        let cases: [(BoxError, Option<&str>); 7] = [
            (Box::new(coding()), Some("CODING_EXPANDS")),
            (Box::new(io::Error::other(coding())), Some("CODING_EXPANDS")),
            (
                Box::new(io::Error::other(io::Error::other(coding()))),
                Some("CODING_EXPANDS"),
            ),
            (Box::new(MultipartError::Epilogue), Some("MULTIPART_EPILOGUE")),
            (Box::new(CutOff), None),
            (Box::new(io::Error::other("the disk is gone")), None),
            ("anything".into(), Some("BODY_BROKE_OFF")),
        ];
        for (error, expected) in cases {
            let shown = error.to_string();
            assert_eq!(reason(error), expected, "{shown}");
        }
    }
}
