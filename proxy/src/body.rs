//! Bodies on their way through: streamed, never collected here.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::{egress::UpstreamBody, outcome::Outcome, recording::Copy};

/// The body of a request on its way upstream.
#[derive(Debug)]
pub enum RequestBody {
    /// Held in memory.
    Whole(Option<Bytes>),
    /// Passed on as it arrives; bytes are counted.
    Streaming {
        /// From the agent.
        inner: Incoming,
        /// How many have passed.
        passed: Arc<AtomicU64>,
    },
}

impl RequestBody {
    /// A body that is at hand.
    pub fn whole(bytes: Bytes) -> Self {
        Self::Whole(Some(bytes).filter(|b| !b.is_empty()))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Self::Streaming { inner, passed } => {
                let frame = ready!(Pin::new(inner).poll_frame(cx));
                match frame {
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) => {
                            passed.fetch_add(data.len() as u64, Ordering::Relaxed);
                            Poll::Ready(Some(Ok(Frame::data(data))))
                        }
                        // Trailers are the agent's to say and nobody's to trust; they are a body's last frame.
                        Err(_) => Poll::Ready(None),
                    },
                    other => Poll::Ready(other),
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Streaming { inner, .. } => inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Self::Streaming { inner, .. } => inner.size_hint(),
        }
    }
}

/// The body of an answer on its way to the agent.
#[derive(Debug)]
pub enum AnswerBody {
    /// Held in memory: a refusal, or a masked answer.
    Whole(Option<Bytes>),
    /// Passed on as it arrives. The outcome is recorded when it ends, however it ends.
    Streaming {
        /// From upstream.
        inner: UpstreamBody,
        /// Recorded at the end.
        outcome: Box<Outcome>,
        /// Keeps a copy, where a policy wants one.
        copy: Option<Box<Copy>>,
    },
}

impl AnswerBody {
    /// A body that is at hand.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::Whole(Some(bytes.into()).filter(|b| !b.is_empty()))
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Self::Streaming { inner, outcome, copy } => {
                let frame = ready!(Pin::new(&mut *inner).poll_frame(cx));
                // A body of known length is not polled again after its last byte.
                let mut ended = frame.is_none() || inner.is_end_stream();
                match &frame {
                    Some(Ok(frame)) => {
                        let data = frame.data_ref().map_or(&[][..], |d| d);
                        outcome.passed(data.len() as u64);
                        if let Some(copy) = copy {
                            copy.add(data);
                        }
                    }
                    Some(Err(_)) => {
                        outcome.broke_off("the answer broke off");
                        ended = false;
                    }
                    None => {}
                }
                if ended {
                    outcome.completed();
                    if let Some(copy) = copy.take() {
                        copy.keep();
                    }
                }
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Streaming { inner, .. } => inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Self::Streaming { inner, .. } => inner.size_hint(),
        }
    }
}
