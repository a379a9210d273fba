//! Header fields inside bodies: those of parts, and those of the calls and answers of a batch.
//!
//! One field a line, one kind of line end, names that are tokens, values of printable ASCII. A folded line is
//! refused but for `Content-ID`, which Python's mail library folds and which never goes upstream.

use http::{HeaderMap, HeaderName, HeaderValue};
use memchr::memmem;

/// Fields that a part or an inner message may have.
const MOST: usize = 64;
/// The one field that may be folded.
const FOLDABLE: HeaderName = HeaderName::from_static("content-id");

/// How lines end. A body uses one way throughout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineEnd {
    /// Carriage return and line feed.
    CrLf,
    /// A bare line feed.
    Lf,
}

impl LineEnd {
    pub(crate) const fn bytes(self) -> &'static [u8] {
        match self {
            Self::CrLf => b"\r\n",
            Self::Lf => b"\n",
        }
    }

    /// Two line ends: the last of a head and the empty line.
    pub(crate) const fn twice(self) -> &'static [u8] {
        match self {
            Self::CrLf => b"\r\n\r\n",
            Self::Lf => b"\n\n",
        }
    }
}

/// Why header fields are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// A line begins with white space.
    #[error("a header is folded")]
    Folded,
    /// A line has no name that is a token and is followed by a colon.
    #[error("a line is not a header")]
    Name,
    /// A value has control characters, bytes beyond ASCII, or another kind of line end.
    #[error("a header's value has characters that readers treat differently")]
    Value,
    /// Over the cap.
    #[error("there are too many headers")]
    TooMany,
}

/// Reads a block of header lines; the empty line after it is not part of the block.
pub(crate) fn parse(block: &[u8], line_end: LineEnd) -> Result<HeaderMap, FieldError> {
    let mut headers = HeaderMap::new();
    if block.is_empty() {
        return Ok(headers);
    }
    let mut last: Option<(HeaderName, Vec<u8>)> = None;
    for line in Lines::new(block, line_end) {
        if line.first().is_some_and(|b| matches!(b, b' ' | b'\t')) {
            match &mut last {
                Some((name, value)) if *name == FOLDABLE => {
                    value.push(b' ');
                    value.extend_from_slice(line.trim_ascii());
                }
                _ => return Err(FieldError::Folded),
            }
            continue;
        }
        keep(&mut headers, last.take())?;
        let colon = memchr::memchr(b':', line).ok_or(FieldError::Name)?;
        let (name, value) = line.split_at_checked(colon).ok_or(FieldError::Name)?;
        let name = HeaderName::from_bytes(name).map_err(|_| FieldError::Name)?;
        let value = value.strip_prefix(b":").ok_or(FieldError::Name)?;
        last = Some((name, value.to_vec()));
    }
    keep(&mut headers, last)?;
    Ok(headers)
}

fn keep(headers: &mut HeaderMap, field: Option<(HeaderName, Vec<u8>)>) -> Result<(), FieldError> {
    let Some((name, value)) = field else {
        return Ok(());
    };
    if headers.len() >= MOST {
        return Err(FieldError::TooMany);
    }
    if !value.iter().all(|b| matches!(b, b' ' | b'\t' | 0x21..=0x7e)) {
        return Err(FieldError::Value);
    }
    let value = HeaderValue::from_bytes(value.trim_ascii()).map_err(|_| FieldError::Value)?;
    headers.append(name, value);
    Ok(())
}

/// Lines between line ends of one kind.
struct Lines<'a> {
    rest: Option<&'a [u8]>,
    line_end: &'static [u8],
}

impl<'a> Lines<'a> {
    fn new(block: &'a [u8], line_end: LineEnd) -> Self {
        Self {
            rest: Some(block),
            line_end: line_end.bytes(),
        }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        let Some(at) = memmem::find(rest, self.line_end) else {
            self.rest = None;
            return Some(rest);
        };
        self.rest = rest.get(at + self.line_end.len()..);
        rest.get(..at)
    }
}
