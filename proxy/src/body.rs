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
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;

use crate::{
    egress::UpstreamBody, inflight::Upload, kept::Passing, multipart::Rebuilt, outcome::Outcome,
    recording::Copy, search::Searched,
};

/// An error of a body, whoever made it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a request on its way upstream.
#[derive(Debug)]
pub enum RequestBody {
    /// Held in memory.
    Whole(Option<Bytes>),
    /// Kept whole, in memory or on disk.
    Kept(Passing),
    /// Metadata with media, built again around media that arrives.
    Upload(Box<Rebuilt<UnsyncBoxBody<Bytes, BoxError>>>),
    /// Passed on as it arrives; bytes are counted.
    Streaming {
        /// From the agent.
        inner: Incoming,
        /// How many have passed.
        passed: Arc<AtomicU64>,
    },
    /// Taken apart and built again as it arrives: messages of gRPC. Bytes are counted.
    Rebuilt {
        /// What goes upstream.
        inner: UnsyncBoxBody<Bytes, BoxError>,
        /// How many have passed.
        passed: Arc<AtomicU64>,
    },
    /// One of the others, searched on its way.
    Searched(Box<Searched<Self>>),
    /// One of the others, which may be cut off on its way.
    Watched(Box<Upload>),
}

impl RequestBody {
    /// A body that is at hand.
    pub fn whole(bytes: Bytes) -> Self {
        Self::Whole(Some(bytes).filter(|b| !b.is_empty()))
    }

    /// A body that is to be passed on as it arrives.
    pub fn arriving(inner: Incoming, passed: &Arc<AtomicU64>) -> Self {
        match inner.is_end_stream() {
            true => Self::whole(Bytes::new()),
            false => Self::Streaming {
                inner,
                passed: passed.clone(),
            },
        }
    }

    /// The last so many bytes were not passed on after all.
    pub fn uncount(&self, bytes: u64) {
        match self {
            Self::Streaming { passed, .. } | Self::Rebuilt { passed, .. } => {
                passed.fetch_sub(bytes, Ordering::Relaxed);
            }
            Self::Searched(searched) => searched.inner().uncount(bytes),
            Self::Whole(_) | Self::Kept(_) | Self::Upload(_) | Self::Watched(_) => {}
        }
    }

    /// A body that is built again as it arrives.
    pub fn rebuilt<B>(inner: B, passed: &Arc<AtomicU64>) -> Self
    where
        B: Body<Data = Bytes, Error = BoxError> + Send + 'static,
    {
        Self::Rebuilt {
            inner: UnsyncBoxBody::new(inner),
            passed: passed.clone(),
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let (frame, passed) = match &mut *self {
            Self::Whole(bytes) => return Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Self::Kept(kept) => return Pin::new(kept).poll_frame(cx),
            Self::Upload(upload) => return Pin::new(upload).poll_frame(cx),
            Self::Streaming { inner, passed } => {
                let frame = ready!(Pin::new(inner).poll_frame(cx));
                (frame.map(|f| f.map_err(BoxError::from)), passed)
            }
            Self::Rebuilt { inner, passed } => (ready!(Pin::new(inner).poll_frame(cx)), passed),
            Self::Searched(searched) => return Pin::new(&mut **searched).poll_frame(cx),
            Self::Watched(upload) => return Pin::new(&mut **upload).poll_frame(cx),
        };
        Poll::Ready(match frame {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    passed.fetch_add(data.len() as u64, Ordering::Relaxed);
                    Some(Ok(Frame::data(data)))
                }
                // Trailers are the agent's to say and nobody's to trust; they are a body's last frame.
                Err(_) => None,
            },
            other => other,
        })
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Kept(kept) => kept.is_end_stream(),
            Self::Upload(upload) => upload.is_end_stream(),
            Self::Streaming { inner, .. } => inner.is_end_stream(),
            Self::Rebuilt { inner, .. } => inner.is_end_stream(),
            Self::Searched(searched) => searched.is_end_stream(),
            Self::Watched(upload) => upload.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Self::Kept(kept) => kept.size_hint(),
            Self::Upload(upload) => upload.size_hint(),
            Self::Streaming { inner, .. } => inner.size_hint(),
            Self::Rebuilt { inner, .. } => inner.size_hint(),
            Self::Searched(searched) => searched.size_hint(),
            Self::Watched(upload) => upload.size_hint(),
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
    /// Masked message by message. The outcome is part of what makes it.
    Rebuilt(UnsyncBoxBody<Bytes, BoxError>),
}

impl AnswerBody {
    /// A body that is at hand.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::Whole(Some(bytes.into()).filter(|b| !b.is_empty()))
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
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
                        // A stream of gRPC can still say why.
                        if let Some(trailers) = outcome.last_words() {
                            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                        }
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
            Self::Rebuilt(inner) => Pin::new(inner).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Streaming { inner, .. } => inner.is_end_stream(),
            Self::Rebuilt(inner) => inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Self::Streaming { inner, .. } => inner.size_hint(),
            Self::Rebuilt(inner) => inner.size_hint(),
        }
    }
}
