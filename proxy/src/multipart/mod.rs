//! Multipart bodies (RFC 2046): uploads of metadata with media (`multipart/related`) and batches of calls
//! (`multipart/mixed`).
//!
//! Parsers of multipart bodies differ about preambles, padding, line ends, folded headers and quotes, and each
//! difference is a way to show the gate another call than Google executes. So a body has exactly one reading
//! here or is refused by name, and what goes upstream is written anew in one plain form. Two leniencies serve
//! real clients, and both end here: bare line feeds as line ends, and a boundary in single quotes that are not
//! part of the delimiter (gcloud), where the first delimiter line tells.
//!
//! [`Splitter`] is the one parser; [`parse`] runs it over a body in memory, [`Related`] over one that arrives.
//! What the parts mean is not known here.

pub(crate) mod boundary;
mod error;
pub(crate) mod fields;
mod related;
mod splitter;
#[cfg(test)]
mod tests;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use serde_json::{Map, Value};
use turnpike_policy::json::{self, NotOneObject};

pub use boundary::{Boundary, Kind};
pub use error::MultipartError;
pub use fields::FieldError;
pub use related::{MAX_METADATA, Media, Rebuilt, Related, WholeRelated, settled};
pub(crate) use splitter::declared_length;
pub use splitter::{Event, Splitter};

/// Reads a JSON object in which every name stands once.
///
/// # Errors
/// [`MultipartError::MetadataNotJson`] and [`MultipartError::MetadataRepeats`].
pub(crate) fn object(bytes: &[u8]) -> Result<Map<String, Value>, MultipartError> {
    json::object(bytes).map_err(|error| match error {
        NotOneObject::NotAnObject => MultipartError::MetadataNotJson,
        NotOneObject::Repeats(name) => MultipartError::MetadataRepeats(name),
    })
}

/// What a multipart body may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Parts.
    pub parts: usize,
    /// Bytes that the headers of one part may take.
    pub head_bytes: usize,
}

impl Limits {
    /// The headers of a part: a type, a transfer encoding and an id.
    pub const HEAD_BYTES: usize = 8 * 1024;

    /// At most so many parts.
    pub const fn parts(parts: usize) -> Self {
        Self {
            parts,
            head_bytes: Self::HEAD_BYTES,
        }
    }
}

/// One part of a multipart body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its headers; `Content-Type` stands at most once.
    pub headers: HeaderMap,
    /// Its content, as it came.
    pub body: Bytes,
}

/// The one `Content-Type` of a message.
///
/// # Errors
/// [`MultipartError::ContentType`] where there is none, more than one, or one that is no text.
pub fn content_type(headers: &HeaderMap) -> Result<&str, MultipartError> {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().map_err(|_| MultipartError::ContentType),
        _ => Err(MultipartError::ContentType),
    }
}

/// Takes a whole body apart. Parts are slices of it, not copies.
///
/// # Errors
/// [`MultipartError`] names the way in which two readers could differ about the body.
pub fn parse(
    content_type: &str,
    kind: Kind,
    body: &Bytes,
    limits: Limits,
) -> Result<Vec<Part>, MultipartError> {
    let mut splitter = Splitter::new(Boundary::of(content_type, kind)?, limits);
    splitter.push(body.clone());
    let mut parts = Vec::new();
    let mut open: Option<Part> = None;
    while let Some(event) = splitter.next()? {
        match event {
            Event::Part(headers) => {
                open = Some(Part {
                    headers,
                    body: Bytes::new(),
                });
            }
            Event::Data(data) => {
                if let Some(part) = &mut open {
                    part.body = joined(std::mem::take(&mut part.body), data);
                }
            }
            Event::End => parts.extend(open.take()),
        }
    }
    splitter.finish()?;
    Ok(parts)
}

fn joined(first: Bytes, second: Bytes) -> Bytes {
    if first.is_empty() {
        return second;
    }
    let mut both = BytesMut::with_capacity(first.len() + second.len());
    both.extend_from_slice(&first);
    both.extend_from_slice(&second);
    both.freeze()
}
