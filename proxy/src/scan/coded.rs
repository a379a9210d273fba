//! Codings that are undone while something is read.

use std::{
    io::{self, BufRead, BufReader, Read},
    pin::Pin,
    task::{Context, Poll, Waker},
};

use async_compression::{
    tokio::bufread::{BrotliDecoder, ZstdDecoder},
    zstd::DParameter,
};
use flate2::bufread::{MultiGzDecoder, ZlibDecoder};
use tokio::io::{AsyncBufRead, AsyncRead, ReadBuf};

use super::{
    findings::Why,
    limits::{Budget, Counted},
};

/// The largest window of zstd, as a power of two: that of archives of the command-line tool at `--ultra`.
const ZSTD_WINDOW: u32 = 27;

/// A coding by its name in `Content-Encoding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Gzip,
    Zlib,
    Brotli,
    Zstd,
}

impl Coding {
    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zlib => "deflate (zlib)",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    /// The codings that a header names, in the order in which they are undone.
    ///
    /// # Errors
    /// [`Why::Coding`] for an unknown one.
    pub(super) fn of(header: &str) -> Result<Vec<Self>, Why> {
        let mut codings = Vec::new();
        for name in header.split(',').rev().map(|n| n.trim().to_ascii_lowercase()) {
            match name.as_str() {
                "" | "identity" => {}
                "gzip" | "x-gzip" => codings.push(Self::Gzip),
                "deflate" => codings.push(Self::Zlib),
                "br" => codings.push(Self::Brotli),
                "zstd" => codings.push(Self::Zstd),
                other => return Err(Why::Coding(other.chars().take(32).collect())),
            }
        }
        Ok(codings)
    }

    /// Undoes the coding of what is read, within the budget.
    pub(super) fn undone<'r>(self, reader: Box<dyn Read + 'r>, budget: &Budget) -> Box<dyn Read + 'r> {
        let (counted, came) = Counted::new(reader);
        let decoder: Box<dyn Read + 'r> = match self {
            Self::Gzip => Box::new(MultiGzDecoder::new(BufReader::new(counted))),
            Self::Zlib => Box::new(Whole(ZlibDecoder::new(BufReader::new(counted)))),
            Self::Brotli => {
                let source = tokio::io::BufReader::new(Ready(counted));
                Box::new(Whole(Now(BrotliDecoder::new(source))))
            }
            Self::Zstd => {
                let window = DParameter::window_log_max(ZSTD_WINDOW);
                let source = tokio::io::BufReader::new(Ready(counted));
                let mut decoder = ZstdDecoder::with_params(source, &[window]);
                decoder.multiple_members(true);
                Box::new(Now(decoder))
            }
        };
        Box::new(budget.expanding(decoder, came, self.name()))
    }
}

/// A decoder behind whose end nothing may stand: other readers could see it. Those of gzip and zstd read on themselves.
struct Whole<D>(D);

/// Whether a decoder has read all that there is.
trait Rest {
    fn is_at_end(&mut self) -> io::Result<bool>;
}

impl<D: Read + Rest> Read for Whole<D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(buffer)?;
        match read > 0 || buffer.is_empty() || self.0.is_at_end()? {
            true => Ok(read),
            false => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

impl<R: BufRead> Rest for ZlibDecoder<R> {
    fn is_at_end(&mut self) -> io::Result<bool> {
        Ok(self.get_mut().fill_buf()?.is_empty())
    }
}

impl<R: AsyncBufRead + Unpin> Rest for Now<BrotliDecoder<R>> {
    fn is_at_end(&mut self) -> io::Result<bool> {
        let source = Pin::new(self.0.get_mut());
        match source.poll_fill_buf(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(rest) => Ok(rest?.is_empty()),
            Poll::Pending => Err(Why::Failed.into()),
        }
    }
}

/// A reader that never waits, for a decoder that could.
struct Ready<R>(R);

impl<R: Read + Unpin> AsyncRead for Ready<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = self.0.read(buffer.initialize_unfilled());
        Poll::Ready(read.map(|read| buffer.advance(read)))
    }
}

/// A decoder over such a reader, which never waits either.
struct Now<D>(D);

impl<D: AsyncRead + Unpin> Read for Now<D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(buffer);
        let polled = Pin::new(&mut self.0).poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer);
        match polled {
            Poll::Ready(read) => read.map(|()| buffer.filled().len()),
            Poll::Pending => Err(Why::Failed.into()),
        }
    }
}
