//! A message of HTTP/1.1 in a part: its first line, its headers, its body.
//!
//! It ends where its part ends. Google's documentation shows calls without an empty line behind their headers,
//! and clients write one more line end than the length says; both are taken, because nothing else could be meant
//! and neither goes further.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, header};
use memchr::memmem;

use super::Malady;
use crate::multipart::{
    declared_length,
    fields::{self, LineEnd},
};

/// Headers that change what a message is, or where it ends; each may stand once.
const SINGLE: [(HeaderName, &str); 3] = [
    (header::CONTENT_LENGTH, "Content-Length"),
    (header::CONTENT_TYPE, "Content-Type"),
    (header::HOST, "Host"),
];

/// A message, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// Printable ASCII, without its line end.
    pub(super) first_line: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Message {
    pub(super) fn read(part: &Bytes) -> Result<Self, Malady> {
        let (line, rest, line_end) = match memchr::memchr(b'\n', part) {
            None => (part.clone(), Bytes::new(), LineEnd::CrLf),
            Some(at) => {
                let rest = part.slice(at + 1..);
                match part.slice(..at).strip_suffix(b"\r") {
                    Some(line) => (part.slice_ref(line), rest, LineEnd::CrLf),
                    None => (part.slice(..at), rest, LineEnd::Lf),
                }
            }
        };
        let first_line = printable(&line).ok_or(Malady::FirstLine)?;
        let (block, body) = head_and_body(&rest, line_end);
        let headers = fields::parse(&block, line_end)?;
        for (name, label) in SINGLE {
            if headers.get_all(name).iter().count() > 1 {
                return Err(Malady::RepeatedField(label));
            }
        }
        let codings = [header::TRANSFER_ENCODING, header::CONTENT_ENCODING];
        if codings.iter().any(|name| headers.contains_key(name)) {
            return Err(Malady::Coded);
        }
        Ok(Self {
            first_line,
            body: measured(&headers, body)?,
            headers,
        })
    }
}

fn printable(line: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(line).ok()?;
    let plain = text.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
    (plain && !text.is_empty()).then(|| text.to_owned())
}

/// Cuts at the empty line; where there is none, all are headers.
fn head_and_body(rest: &Bytes, line_end: LineEnd) -> (Bytes, Bytes) {
    if rest.starts_with(line_end.bytes()) {
        return (Bytes::new(), rest.slice(line_end.bytes().len()..));
    }
    match memmem::find(rest, line_end.twice()) {
        Some(at) => (rest.slice(..at), rest.slice(at + line_end.twice().len()..)),
        None => {
            let block = rest.strip_suffix(line_end.bytes()).unwrap_or(rest);
            (rest.slice_ref(block), Bytes::new())
        }
    }
}

/// The body by its declared length; without one, all there is. Line ends alone are no body.
fn measured(headers: &HeaderMap, body: Bytes) -> Result<Bytes, Malady> {
    let blank = |bytes: &[u8]| bytes.iter().all(|b| matches!(b, b'\r' | b'\n'));
    let Some(value) = headers.get(header::CONTENT_LENGTH) else {
        return Ok(match blank(&body) {
            true => Bytes::new(),
            false => body,
        });
    };
    let length = declared_length(value.as_bytes())
        .and_then(|l| usize::try_from(l).ok())
        .ok_or(Malady::Length)?;
    match body.split_at_checked(length) {
        Some((_, rest)) if blank(rest) => Ok(body.slice(..length)),
        _ => Err(Malady::Length),
    }
}
