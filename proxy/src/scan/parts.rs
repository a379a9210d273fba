//! Multipart bodies: the metadata and the media of an upload, and the calls of a batch.

use std::io::{self, BufReader, Read};

use bytes::{Buf, Bytes};

use super::{
    Subject,
    findings::Why,
    place::Place,
    walk::{Depth, Kind, Source, Walker},
};
use crate::multipart::{self, Boundary, Event, Limits, MultipartError, Splitter};

/// What is read at a time.
const CHUNK: usize = 64 * 1024;
/// Calls of a batch; the gate takes fewer.
const MOST_CALLS: usize = 1000;

/// Searches every part of a body.
pub(super) fn multipart(
    walker: &mut Walker<'_>,
    subject: &Subject,
    kind: Kind,
    source: Source<'_>,
) -> Result<(), Why> {
    let content_type = subject.content_type.as_deref().unwrap_or_default();
    let (form, limits) = match kind {
        Kind::Mixed => (multipart::Kind::Mixed, Limits::parts(MOST_CALLS)),
        _ => (multipart::Kind::Related, Limits::parts(2)),
    };
    let boundary = match Boundary::of(content_type, form) {
        Ok(boundary) => boundary,
        Err(_) => {
            walker.text(&Place::default(), &mut { source })?;
            return Err(BROKEN);
        }
    };
    let mut parts = Parts {
        splitter: Splitter::new(boundary, limits),
        source,
    };
    let mut number = 0;
    while parts.part()? {
        number += 1;
        let mut part = Part {
            parts: &mut parts,
            ready: Bytes::new(),
            ended: false,
        };
        let (place, searched) = match (kind, number) {
            (Kind::Mixed, number) => {
                let place = Place::of(Some(&format!("part {number}")));
                let searched = call(walker, &place, &mut part);
                (place, searched)
            }
            (_, 1) => (
                Place::default(),
                walker.message(&Place::default(), Box::new(&mut part)),
            ),
            _ => {
                let place = Place::of(subject.name.as_deref().or(Some("media")));
                let media = Box::new(BufReader::new(&mut part));
                let searched = walker.content(&place, Depth::default(), media);
                (place, searched)
            }
        };
        walker.note(&place, searched);
        io::copy(&mut part, &mut io::sink())?;
    }
    Ok(())
}

const BROKEN: Why = Why::Broken("multipart body");

/// Searches a call of a batch: the request line and the headers as text, then the body.
fn call(walker: &mut Walker<'_>, place: &Place, part: &mut Part<'_, '_>) -> Result<(), Why> {
    let whole = walker.read_whole(part)?;
    let end = [&b"\r\n\r\n"[..], b"\n\n"]
        .iter()
        .filter_map(|end| Some(memchr::memmem::find(&whole, end)? + end.len()))
        .min();
    let (head, body) = whole.split_at(end.unwrap_or(whole.len()));
    walker.text(place, &mut &head[..])?;
    walker.content(place, Depth::default(), Box::new(body))
}

/// A body that is taken apart as it is read.
struct Parts<'r> {
    splitter: Splitter,
    source: Source<'r>,
}

impl Parts<'_> {
    /// Goes on to the next part, from the end of the last; `false` behind the final delimiter.
    fn part(&mut self) -> Result<bool, Why> {
        match self.event()? {
            Some(Event::Part(_)) => Ok(true),
            Some(_) => Err(BROKEN),
            None => self.splitter.finish().map(|()| false).map_err(broken),
        }
    }

    fn event(&mut self) -> Result<Option<Event>, Why> {
        loop {
            if let Some(event) = self.splitter.next().map_err(broken)? {
                return Ok(Some(event));
            }
            let mut chunk = Vec::with_capacity(CHUNK);
            (&mut self.source).take(CHUNK as u64).read_to_end(&mut chunk)?;
            if chunk.is_empty() {
                return Ok(None);
            }
            self.splitter.push(chunk.into());
        }
    }
}

fn broken(_: MultipartError) -> Why {
    BROKEN
}

/// The content of a part.
struct Part<'p, 'r> {
    parts: &'p mut Parts<'r>,
    ready: Bytes,
    ended: bool,
}

impl Read for Part<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.ready.is_empty() && !self.ended {
            match self.parts.event()? {
                Some(Event::Data(data)) => self.ready = data,
                Some(Event::End) => self.ended = true,
                Some(Event::Part(_)) | None => return Err(BROKEN.into()),
            }
        }
        let read = buffer.len().min(self.ready.len());
        self.ready
            .copy_to_slice(buffer.get_mut(..read).unwrap_or_default());
        Ok(read)
    }
}
