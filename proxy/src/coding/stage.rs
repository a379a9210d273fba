//! One coding of a body, undone: the decoders behind one reader that keeps the caps.

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
use tokio::io::{AsyncBufRead, AsyncRead, ReadBuf};

use super::{Caps, Coding, CodingError};
use crate::body::BoxError;

/// The largest window of zstd, as a power of two: 8 MiB, which RFC 9659 has for HTTP. A frame may ask for 2 GiB.
pub(super) const ZSTD_WINDOW: u32 = 23;

/// What a coded body is read from.
pub(super) type Source = Box<dyn AsyncBufRead + Send + Unpin>;

/// An error from further in, on its way through the readers: no decoder's own.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Passed(pub(super) BoxError);

impl From<CodingError> for Passed {
    fn from(error: CodingError) -> Self {
        Self(error.into())
    }
}

/// One coding, undone.
pub(super) struct Stage {
    coding: Coding,
    decoder: Decoder,
    begun: bool,
    came: Arc<AtomicU64>,
    /// Bytes that came out here.
    gone: u64,
    caps: Caps,
}

impl Stage {
    /// Undoes a coding of what is read; the counter is of the body's bytes as it came, before any was undone.
    pub(super) fn new(coding: Coding, source: Source, came: Arc<AtomicU64>, caps: Caps) -> Self {
        Self {
            coding,
            decoder: Decoder::new(coding, source),
            begun: false,
            came,
            gone: 0,
            caps,
        }
    }

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
