//! Content codings (RFC 9110, section 8.4), undone as a body passes.
//!
//! What comes out is capped, in bytes and against what came in, after every coding: a body that expands
//! without bounds is given up in the middle. What stands behind the end of a coded body, and codings whose
//! bytes two readers could take for different things, are errors. Nothing is coded here.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use async_compression::{
    tokio::bufread::{BrotliDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder},
    zstd::DParameter,
};
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use http::{HeaderMap, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyStream;
use tokio::io::{AsyncBufRead, AsyncRead, BufReader, ReadBuf};
use tokio_util::io::{StreamReader, poll_read_buf};

use crate::body::BoxError;

/// How often a body may be coded.
const MOST: usize = 4;
/// What is decoded at a time.
const CHUNK: usize = 16 * 1024;
/// The largest window of zstd, as a power of two: 8 MiB, which RFC 9659 has for HTTP. A frame may ask for 2 GiB.
const ZSTD_WINDOW: u32 = 23;

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
        let stage = Stage {
            coding,
            decoder: Decoder::new(coding, source),
            begun: false,
            came: came.clone(),
            gone: 0,
            caps,
        };
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

type Source = Box<dyn AsyncBufRead + Send + Unpin>;

/// An error from further in, on its way through the readers: no decoder's own.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Passed(BoxError);

impl From<CodingError> for Passed {
    fn from(error: CodingError) -> Self {
        Self(error.into())
    }
}

/// One coding, undone.
struct Stage {
    coding: Coding,
    decoder: Decoder,
    begun: bool,
    /// Bytes of the body as it came, before any coding was undone.
    came: Arc<AtomicU64>,
    /// Bytes that came out here.
    gone: u64,
    caps: Caps,
}

impl Stage {
    /// Looks at the first byte. Nothing at all is the coding of nothing: clients name a coding and send none.
    fn begin(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let coding = self.coding;
        let first = ready!(self.decoder.source().poll_fill_buf(cx))?.first().copied();
        // A window beyond RFC 7932, of up to 1 GiB, which the decoder would take.
        let large_window = coding == Coding::Brotli && first.is_some_and(|b| b & 0x7f == 0x11);
        Poll::Ready(match large_window {
            true => Err(io::Error::other(Passed::from(CodingError::Broken(coding.name())))),
            false => Ok(first.is_some()),
        })
    }

    fn check(&self) -> Result<(), CodingError> {
        let Caps { bytes, ratio, free } = self.caps;
        if self.gone > bytes {
            return Err(CodingError::TooLarge(bytes));
        }
        let came = self.came.load(Ordering::Relaxed);
        match self.gone > free && self.gone > came.saturating_mul(ratio) {
            true => Err(CodingError::Expands(ratio)),
            false => Ok(()),
        }
    }
}

impl AsyncRead for Stage {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if !this.begun {
            if !ready!(this.begin(cx))? {
                return Poll::Ready(Ok(()));
            }
            this.begun = true;
        }
        let name = this.coding.name();
        let before = buf.filled().len();
        ready!(this.decoder.poll_read(cx, buf)).map_err(|error| {
            match error.get_ref().is_some_and(|e| e.is::<Passed>()) {
                true => error,
                false => io::Error::other(Passed::from(CodingError::Broken(name))),
            }
        })?;
        let read = buf.filled().len() - before;
        let checked = if read == 0 {
            let rest = ready!(this.decoder.source().poll_fill_buf(cx))?;
            match rest.is_empty() {
                true => Ok(()),
                false => Err(CodingError::Trailing(name)),
            }
        } else {
            this.gone += read as u64;
            this.check()
        };
        Poll::Ready(checked.map_err(|error| io::Error::other(Passed::from(error))))
    }
}

/// The decoders by coding.
enum Decoder {
    Gzip(GzipDecoder<Source>),
    Zlib(ZlibDecoder<Source>),
    Brotli(BrotliDecoder<Source>),
    Zstd(ZstdDecoder<Source>),
}

impl Decoder {
    fn new(coding: Coding, source: Source) -> Self {
        match coding {
            Coding::Gzip => {
                let mut decoder = GzipDecoder::new(source);
                decoder.multiple_members(true);
                Self::Gzip(decoder)
            }
            Coding::Zlib => Self::Zlib(ZlibDecoder::new(source)),
            Coding::Brotli => Self::Brotli(BrotliDecoder::new(source)),
            Coding::Zstd => {
                let window = DParameter::window_log_max(ZSTD_WINDOW);
                let mut decoder = ZstdDecoder::with_params(source, &[window]);
                decoder.multiple_members(true);
                Self::Zstd(decoder)
            }
        }
    }

    fn source(&mut self) -> Pin<&mut Source> {
        Pin::new(match self {
            Self::Gzip(decoder) => decoder.get_mut(),
            Self::Zlib(decoder) => decoder.get_mut(),
            Self::Brotli(decoder) => decoder.get_mut(),
            Self::Zstd(decoder) => decoder.get_mut(),
        })
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Gzip(decoder) => Pin::new(decoder).poll_read(cx, buf),
            Self::Zlib(decoder) => Pin::new(decoder).poll_read(cx, buf),
            Self::Brotli(decoder) => Pin::new(decoder).poll_read(cx, buf),
            Self::Zstd(decoder) => Pin::new(decoder).poll_read(cx, buf),
        }
    }
}

#[cfg(test)]
mod tests;
