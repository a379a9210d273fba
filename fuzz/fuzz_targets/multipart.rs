//! Multipart bodies: one reading or refused, however the bytes arrive, and what is written anew reads the same.
//!
//! Input: the `Content-Type` up to a line feed, then the body.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use turnpike_proxy::multipart::{Boundary, Event, Kind, Limits, Part, Splitter, WholeRelated, parse};

const LIMITS: Limits = Limits::parts(8);

fuzz_target!(|data: &[u8]| {
    let Some(at) = data.iter().position(|b| *b == b'\n') else {
        return;
    };
    let Ok(content_type) = std::str::from_utf8(&data[..at]) else {
        return;
    };
    let body = Bytes::copy_from_slice(&data[at + 1..]);
    for kind in [Kind::Related, Kind::Mixed] {
        let whole = parse(content_type, kind, &body, LIMITS);
        for step in [1, 7] {
            assert_eq!(in_pieces(content_type, kind, &body, step), whole.clone().ok());
        }
    }
    if let Ok(upload) = WholeRelated::parse(content_type, &body) {
        let (content_type, rebuilt) = upload.rebuild().expect("what was read can be written");
        let content_type = content_type.to_str().expect("a content type is text");
        let again = WholeRelated::parse(content_type, &rebuilt).expect("what was written can be read");
        assert_eq!(again, upload);
        assert_eq!(again.rebuild().expect("again").1, rebuilt);
    }
});

/// The parts of a body that arrives in pieces of `step` bytes; `None` where it is refused.
fn in_pieces(content_type: &str, kind: Kind, body: &Bytes, step: usize) -> Option<Vec<Part>> {
    let mut splitter = Splitter::new(Boundary::of(content_type, kind).ok()?, LIMITS);
    let mut pieces = body.chunks(step);
    let mut parts: Vec<Part> = Vec::new();
    loop {
        match splitter.next().ok()? {
            Some(Event::Part(headers)) => parts.push(Part {
                headers,
                body: Bytes::new(),
            }),
            Some(Event::Data(data)) => {
                let part = parts.last_mut().expect("data belongs to a part");
                part.body = [part.body.as_ref(), data.as_ref()].concat().into();
            }
            Some(Event::End) => {}
            None => match pieces.next() {
                Some(piece) => splitter.push(Bytes::copy_from_slice(piece)),
                None => break,
            },
        }
    }
    splitter.finish().ok()?;
    Some(parts)
}
