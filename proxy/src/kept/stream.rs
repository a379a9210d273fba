//! What is kept, on its way upstream.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use http_body::{Body, Frame, SizeHint};

use super::{Kept, content::At};
use crate::body::BoxError;

/// A kept body as one that streams. A file is read in pieces, on threads that may block.
pub struct Passing {
    kept: Kept,
    position: u64,
    /// A piece that is being read.
    reading: Option<BoxFuture<'static, io::Result<Bytes>>>,
    failed: bool,
}

impl fmt::Debug for Passing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passing")
            .field("kept", &self.kept)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

impl Passing {
    pub(super) fn new(kept: Kept) -> Self {
        Self {
            kept,
            position: 0,
            reading: None,
            failed: false,
        }
    }

    /// The body itself again, from its beginning, whatever has passed.
    pub fn into_kept(self) -> Kept {
        self.kept
    }

    fn left(&self) -> u64 {
        self.kept.len().saturating_sub(self.position)
    }
}

impl Body for Passing {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.is_end_stream() {
            return Poll::Ready(None);
        }
        let next = match self.reading.take() {
            Some(reading) => Err(reading),
            None => match self.kept.at(self.position) {
                At::Memory(bytes) => Ok(bytes),
                At::File { .. } => Err(self.kept.clone().piece(self.position).boxed()),
            },
        };
        let read = match next {
            Ok(bytes) => Ok(bytes),
            Err(mut reading) => {
                let Poll::Ready(read) = reading.as_mut().poll(cx) else {
                    self.reading = Some(reading);
                    return Poll::Pending;
                };
                read.map_err(BoxError::from)
            }
        };
        Poll::Ready(Some(match read {
            Ok(bytes) => {
                self.position += bytes.len() as u64;
                Ok(Frame::data(bytes))
            }
            Err(error) => {
                self.failed = true;
                Err(error)
            }
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.failed || self.left() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left())
    }
}
