//! What is kept, on its way upstream.

use std::{
    os::unix::fs::FileExt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::task::JoinHandle;

use super::{
    IN_MEMORY, Kept,
    content::{At, cut_off},
};
use crate::body::BoxError;

/// A kept body as one that streams. A file is read in pieces, on threads that may block.
#[derive(Debug)]
pub struct Passing {
    kept: Kept,
    position: u64,
    /// A piece that is being read.
    reading: Option<JoinHandle<std::io::Result<Bytes>>>,
    failed: bool,
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

    fn read(&self) -> JoinHandle<std::io::Result<Bytes>> {
        let (kept, position) = (self.kept.clone(), self.position);
        tokio::task::spawn_blocking(move || match kept.at(position) {
            At::Memory(bytes) => Ok(bytes),
            At::File { file, offset, left } => {
                let most = usize::try_from(left).unwrap_or(usize::MAX).min(IN_MEMORY);
                let mut bytes = vec![0; most];
                let read = file.read_at(&mut bytes, offset)?;
                if read == 0 {
                    return Err(cut_off());
                }
                bytes.truncate(read);
                Ok(Bytes::from(bytes))
            }
        })
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
                At::File { .. } => Err(self.read()),
            },
        };
        let read = match next {
            Ok(bytes) => Ok(bytes),
            Err(mut reading) => {
                let Poll::Ready(read) = Pin::new(&mut reading).poll(cx) else {
                    self.reading = Some(reading);
                    return Poll::Pending;
                };
                read.map_err(BoxError::from)
                    .and_then(|read| read.map_err(BoxError::from))
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
