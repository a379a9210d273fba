//! Content codings (RFC 9110, section 8.4), undone as a body passes.
//!
//! What comes out is capped, in bytes and against what came in, after every coding: a body that expands
//! without bounds is given up in the middle. What stands behind the end of a coded body, and codings whose
//! bytes two readers could take for different things, are errors. Nothing is coded here.

mod stage;

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use http::{HeaderMap, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyStream;
use tokio::io::BufReader;
use tokio_util::io::{StreamReader, poll_read_buf};

use self::stage::{Passed, Source, Stage};
use crate::body::BoxError;

/// How often a body may be coded.
const MOST: usize = 4;
/// What is decoded at a time.
const CHUNK: usize = 16 * 1024;

/// What may come out of a coded body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// Bytes.
    pub bytes: u64,
    /// So many bytes for each that came in.
    pub ratio: u64,
    /// Up to so many bytes the ratio is not looked at.
    pub free: u64,
}

impl Caps {
    /// At most so many bytes, and the usual ratio: 200 for one, after the first MiB.
    pub const fn bytes(bytes: u64) -> Self {
        Self {
            bytes,
            ratio: 200,
            free: 1024 * 1024,
        }
    }
}

/// Why a coded body is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodingError {
    /// Not readable as text.
    #[error("the Content-Encoding is not readable")]
    Unreadable,
    /// None of those that are undone here.
    #[error("the content coding {0:?} is unknown; gzip, deflate, br and zstd are taken")]
    Unknown(String),
    /// Over the cap.
    #[error("the body is coded more than {MOST} times")]
    TooOften,
    /// Over the cap.
    #[error("the body expands to more than {0} bytes")]
    TooLarge(u64),
    /// Over the cap.
    #[error("the body expands to more than {0} times its size")]
    Expands(u64),
    /// The bytes are not what the coding says, or break off.
    #[error("the body is not {0}, or is damaged")]
    Broken(&'static str),
    /// Bytes stand behind the end.
    #[error("more bytes follow the end of the {0} body")]
    Trailing(&'static str),
}

impl CodingError {
    /// The reason code for answers, records and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unreadable => "CODING_UNREADABLE",
            Self::Unknown(_) => "CODING_UNKNOWN",
            Self::TooOften => "CODING_TOO_OFTEN",
            Self::TooLarge(_) => "CODING_TOO_LARGE",
            Self::Expands(_) => "CODING_EXPANDS",
            Self::Broken(_) => "CODING_BROKEN",
            Self::Trailing(_) => "CODING_TRAILING_BYTES",
        }
    }
}

/// A coding that is undone here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// RFC 1952. A body may have several members; all of them count.
    Gzip,
    /// `deflate`: RFC 1950 around RFC 1951. Without the former, some servers take it and some don't: refused.
    Zlib,
    /// RFC 7932.
    Brotli,
    /// RFC 8878. A body may have several frames; all of them count.
    Zstd,
}

impl Coding {
    const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zlib => "deflate (zlib)",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }
}

/// The codings of a message, in the order in which they were applied; `identity` is left out.
///
/// # Errors
/// [`CodingError`] where one is unknown, or there are too many.
pub fn codings(headers: &HeaderMap) -> Result<Vec<Coding>, CodingError> {
    let mut codings = Vec::new();
    let mut named = 0;
    for value in headers.get_all(header::CONTENT_ENCODING) {
        let text = value.to_str().map_err(|_| CodingError::Unreadable)?;
        for name in text.split(',').map(|n| n.trim_matches([' ', '\t'])) {
            if name.is_empty() {
                continue;
            }
            named += 1;
            if named > MOST {
                return Err(CodingError::TooOften);
            }
            match name.to_ascii_lowercase().as_str() {
                "identity" => {}
                "gzip" | "x-gzip" => codings.push(Coding::Gzip),
                "deflate" => codings.push(Coding::Zlib),
                "br" => codings.push(Coding::Brotli),
                "zstd" => codings.push(Coding::Zstd),
                other => return Err(CodingError::Unknown(other.chars().take(32).collect())),
            }
        }
    }
    Ok(codings)
}

/// Undoes the codings of a body as it passes. One that is not coded passes as it is, without caps. The
/// headers still name the codings then: see [`strip`]. Errors of the body are those of the body that came,
/// and [`CodingError`].
///
/// # Errors
/// [`CodingError`] where the codings cannot be undone.
pub fn decoded<B>(headers: &HeaderMap, body: B, caps: Caps) -> Result<Decoded<B>, CodingError>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let codings = codings(headers)?;
    if codings.is_empty() {
        return Ok(Decoded::Plain(body));
    }
    let came = Arc::new(AtomicU64::new(0));
    let counted = came.clone();
    let stream = BodyStream::new(body)
        .map_err(|error| io::Error::other(Passed(error.into())))
        // Trailers are nobody's to trust.
        .try_filter_map(|frame| std::future::ready(Ok(frame.into_data().ok())))
        .inspect_ok(move |data| {
            counted.fetch_add(data.len() as u64, Ordering::Relaxed);
        });
    let mut source: Source = Box::new(StreamReader::new(Box::pin(stream)));
    for coding in codings.into_iter().rev() {
        let stage = Stage::new(coding, source, came.clone(), caps);
        source = Box::new(BufReader::new(stage));
    }
    Ok(Decoded::Coded(Coded {
        source: Some(source),
        buffer: BytesMut::new(),
    }))
}

/// Removes what headers say about the coded bytes.
pub fn strip(headers: &mut HeaderMap) {
    headers.remove(header::CONTENT_ENCODING);
    headers.remove(header::CONTENT_LENGTH);
}

/// A body whose codings are undone.
#[derive(Debug)]
pub enum Decoded<B> {
    /// It had none.
    Plain(B),
    /// It had some.
    Coded(Coded),
}

impl<B> Body for Decoded<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut *self {
            Self::Plain(body) => {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                Poll::Ready(frame.map(|f| f.map_err(Into::into)))
            }
            Self::Coded(coded) => coded.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Plain(body) => body.is_end_stream(),
            Self::Coded(coded) => coded.source.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Plain(body) => body.size_hint(),
            Self::Coded(_) => SizeHint::default(),
        }
    }
}

/// A body behind its decoders.
pub struct Coded {
    /// Gone when all was read, or something failed.
    source: Option<Source>,
    buffer: BytesMut,
}

impl Coded {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(source) = &mut self.source else {
            return Poll::Ready(None);
        };
        self.buffer.reserve(CHUNK);
        match ready!(poll_read_buf(Pin::new(source), cx, &mut self.buffer)) {
            Ok(0) => {
                self.source = None;
                Poll::Ready(None)
            }
            Ok(_) => Poll::Ready(Some(Ok(Frame::data(self.buffer.split().freeze())))),
            Err(error) => {
                self.source = None;
                let error = match error.downcast::<Passed>() {
                    Ok(Passed(error)) => error,
                    Err(error) => error.into(),
                };
                Poll::Ready(Some(Err(error)))
            }
        }
    }
}

impl std::fmt::Debug for Coded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Coded").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
