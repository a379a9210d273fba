//! Contents that arrive in several requests: the parts of a resumable upload.
//!
//! Text is searched as it comes; between two parts a few KiB of it are kept, so that a secret on the border is found.
//! Whatever has to be read whole (archives, JSON, text in UTF-16) is kept in a file without a name until the last part,
//! and searched then: an object exists only once its last part has arrived.
//!
//! Google ignores bytes that it has already, so bytes that come again must be those that came before, or nobody knows
//! what the object will hold. Such a part is unscannable, and so is one that follows on nothing that is known here.

use std::{
    fmt,
    io::{BufReader, Cursor, Read, Seek, SeekFrom},
};

use sha2::{Digest, Sha256};

use super::{
    Scanning, Subject,
    findings::{Collector, Findings, Why},
    place::Place,
    sniff::{HEAD, Sniff},
    text::{Text, TextState},
};
use crate::kept::{Spill, SpillError, Spills};

/// Bytes that are looked at or written at a time.
const PIECE: usize = 64 * 1024;

/// Where a part stands in its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// The first byte's place.
    pub start: u64,
    /// Nothing follows.
    pub last: bool,
}

/// What is kept between two parts of an upload.
pub struct ScanCarry {
    /// Where the next part begins.
    next: u64,
    /// How the content is coded, by its first part.
    coding: Option<String>,
    state: State,
    unsent: Unsent,
}

pub(super) enum State {
    /// Text, and how it stood before the last part, which is sent again where it did not arrive.
    Text {
        now: Box<TextState>,
        before: Option<Before>,
    },
    /// All that came, in a file.
    Kept(Spill),
    /// Why it can't be searched any more.
    Gone(Why),
}

/// Text before its last part.
#[derive(Clone)]
pub(super) struct Before {
    start: u64,
    state: Box<TextState>,
    /// Of the last part.
    sha256: [u8; 32],
}

/// What there was before the last part, for the case that it is not sent.
enum Unsent {
    Nothing,
    Was(Box<ScanCarry>),
    /// The same file, and less of it.
    Shorter(u64),
}

impl fmt::Debug for ScanCarry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScanCarry")
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

impl ScanCarry {
    /// An upload that can't be searched any more.
    pub(crate) fn gone(next: u64, why: Why) -> Self {
        Self {
            next,
            coding: None,
            state: State::Gone(why),
            unsent: Unsent::Nothing,
        }
    }

    /// An upload of which so many bytes were sent.
    pub(super) fn at(next: u64, coding: Option<String>, state: State) -> Self {
        Self {
            next,
            coding,
            state,
            unsent: Unsent::Nothing,
        }
    }

    /// What a part goes on from that begins where the last one ended.
    pub(super) fn followed_by(self, start: u64, subject: &Subject) -> Result<State, Why> {
        if self.coding != subject.content_encoding {
            return Err(coded_otherwise());
        }
        match self.state {
            State::Gone(why) => Err(why),
            _ if start != self.next => Err(Why::Lost),
            State::Kept(mut spill) => {
                spill.cut(start)?;
                Ok(State::Kept(spill))
            }
            text @ State::Text { .. } => Ok(text),
        }
    }

    /// What is kept where the last part was not sent.
    pub fn unsent(mut self) -> Option<Self> {
        match std::mem::replace(&mut self.unsent, Unsent::Nothing) {
            Unsent::Nothing => None,
            Unsent::Was(before) => Some(*before),
            Unsent::Shorter(next) => Some(Self { next, ..self }),
        }
    }

    /// What is kept where it was: there is no way back any more.
    pub fn sent(self) -> Self {
        Self {
            unsent: Unsent::Nothing,
            ..self
        }
    }

    /// Where the next part begins.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Bytes that it takes of the disk.
    pub fn on_disk(&self) -> u64 {
        match &self.state {
            State::Kept(spill) => spill.length(),
            _ => 0,
        }
    }
}

impl Scanning {
    /// Searches a part of an upload. What is given back is kept for the next part: as it is where this one is
    /// [sent](ScanCarry::sent), or as it was [before](ScanCarry::unsent).
    pub fn chunk_now<R>(
        &self,
        subject: &Subject,
        content: &mut R,
        chunk: Chunk,
        mut carry: Option<ScanCarry>,
        spills: &Spills,
    ) -> (Findings, Option<ScanCarry>)
    where
        R: Read + Seek,
    {
        if chunk.start == 0 && chunk.last && carry.is_none() {
            return (self.scan_now(subject, content), None);
        }
        let part = Part {
            scanning: self,
            subject,
            chunk,
            spills,
        };
        let searched = part.search(content, &mut carry);
        let next = carry.as_ref().map_or(chunk.start, |before| before.next);
        let (findings, after) = searched.unwrap_or_else(|why| {
            let mut gone = ScanCarry::gone(next, why.clone());
            if let Some(before) = carry {
                gone.unsent = Unsent::Was(Box::new(before));
            }
            // Alone it is searched as text, so that what it holds is recorded.
            let mut findings = part.alone(content);
            findings.unscannable = Findings::only(why).unscannable;
            (findings, gone)
        });
        (findings, Some(after))
    }
}

/// A part that is searched.
struct Part<'p> {
    scanning: &'p Scanning,
    subject: &'p Subject,
    chunk: Chunk,
    spills: &'p Spills,
}

impl Part<'_> {
    /// Takes what was kept where it goes on from there; it is left where it is where this fails.
    fn search<R>(&self, content: &mut R, carry: &mut Option<ScanCarry>) -> Result<(Findings, ScanCarry), Why>
    where
        R: Read + Seek,
    {
        let length = content.seek(SeekFrom::End(0))?;
        let next = self.chunk.start.saturating_add(length);
        let Some(before) = carry else {
            return match (self.chunk.start, self.begins_text(content)?) {
                (0, true) => self.text(content, next, Box::default(), Unsent::Nothing),
                (0, false) => self.kept(content, length, carry),
                _ => Err(Why::Lost),
            };
        };
        if before.coding != self.subject.content_encoding {
            return Err(coded_otherwise());
        }
        match &before.state {
            State::Gone(why) => Err(why.clone()),
            State::Kept(_) => self.kept(content, length, carry),
            State::Text { now, .. } if self.chunk.start == before.next => {
                let now = now.clone();
                let was = before.copy_of_text();
                self.text(content, next, now, was)
            }
            State::Text {
                before: Some(last), ..
            } if self.chunk.start == last.start => {
                let came = before.next - last.start;
                content.seek(SeekFrom::Start(0))?;
                let again = digest(&mut content.take(came))?;
                // A shorter one has another digest.
                if again != last.sha256 {
                    return Err(sent_anew());
                }
                let state = last.state.clone();
                let was = before.copy_of_text();
                self.text(content, next, state, was)
            }
            State::Text { .. } => Err(Why::Lost),
        }
    }

    /// Whether a content that begins with this part is searched as text.
    fn begins_text<R: Read + Seek>(&self, content: &mut R) -> Result<bool, Why> {
        let mut head = Vec::new();
        content.seek(SeekFrom::Start(0))?;
        content.take(HEAD as u64).read_to_end(&mut head)?;
        Ok(is_text(&head, self.subject))
    }

    fn text<R>(
        &self,
        content: &mut R,
        next: u64,
        state: Box<TextState>,
        unsent: Unsent,
    ) -> Result<(Findings, ScanCarry), Why>
    where
        R: Read + Seek,
    {
        content.seek(SeekFrom::Start(0))?;
        let sha256 = digest(content)?;
        content.seek(SeekFrom::Start(0))?;
        let place = Place::of(self.subject.name.as_deref());
        let Scanning { detectors, key, .. } = self.scanning;
        let mut collector = Collector::new(detectors, key);
        let before = Before {
            start: self.chunk.start,
            state: state.clone(),
            sha256,
        };
        let mut text = Text::resume(detectors, *state);
        text.read(&mut BufReader::new(content), &mut collector, &place)?;
        let now = Box::new(text.suspend(&mut collector, &place));
        if self.chunk.last {
            end(self.scanning, &now, &mut collector, &place);
        }
        let carry = ScanCarry {
            next,
            coding: self.subject.content_encoding.clone(),
            state: State::Text {
                now,
                before: Some(before),
            },
            unsent,
        };
        Ok((collector.finish(), carry))
    }

    /// Writes what is new behind what came before, and searches it all where it is the end.
    fn kept<R>(
        &self,
        content: &mut R,
        length: u64,
        carry: &mut Option<ScanCarry>,
    ) -> Result<(Findings, ScanCarry), Why>
    where
        R: Read + Seek,
    {
        let next = self.chunk.start.saturating_add(length);
        let had = carry.as_ref().map_or(0, |before| before.next);
        if next > self.scanning.limits.expanded {
            return Err(Why::Expanded(self.scanning.limits.expanded));
        }
        if self.chunk.start > had || (next < had && self.chunk.last) {
            return Err(Why::Lost);
        }
        let mut fresh = None;
        let spill = match carry {
            Some(ScanCarry {
                state: State::Kept(spill),
                ..
            }) => spill,
            _ => fresh.insert(self.spills.open()?),
        };
        // More may have been written that was not sent.
        spill.cut(had)?;
        content.seek(SeekFrom::Start(0))?;
        spill.seek(SeekFrom::Start(self.chunk.start))?;
        let overlap = had.min(next) - self.chunk.start;
        if digest(&mut content.take(overlap))? != digest(&mut spill.take(overlap))? {
            return Err(sent_anew());
        }
        let mut piece = vec![0; PIECE];
        loop {
            let read = content.read(&mut piece)?;
            if read == 0 {
                break;
            }
            spill
                .append(piece.get(..read).unwrap_or_default())
                .map_err(no_room)?;
        }
        let findings = match self.chunk.last {
            true => self.scanning.scan_now(self.subject, spill),
            false => Findings::default(),
        };
        let unsent = match carry {
            Some(_) => Unsent::Shorter(had),
            None => Unsent::Nothing,
        };
        let state = match (carry.take().map(|before| before.state), fresh) {
            (Some(state), _) => state,
            (None, Some(spill)) => State::Kept(spill),
            (None, None) => return Err(Why::Failed),
        };
        let after = ScanCarry {
            next: next.max(had),
            coding: self.subject.content_encoding.clone(),
            state,
            unsent,
        };
        Ok((findings, after))
    }

    /// What a part holds by itself.
    fn alone<R: Read + Seek>(&self, content: &mut R) -> Findings {
        let place = Place::of(self.subject.name.as_deref());
        let mut collector = Collector::new(&self.scanning.detectors, &self.scanning.key);
        let mut text = Text::new(self.scanning.detectors.scanner());
        let read = content
            .seek(SeekFrom::Start(0))
            .map_err(Why::from)
            .and_then(|_| text.read(&mut BufReader::new(content), &mut collector, &place));
        for result in [read, text.finish(&mut collector, &place)] {
            if let Err(why) = result {
                collector.unscannable(why, &place.text());
            }
        }
        collector.finish()
    }
}

impl ScanCarry {
    /// What a content holds that ends after so many bytes, without another one. Nothing changes by that: it may have
    /// been a question only.
    pub(super) fn ends_now(&mut self, scanning: &Scanning, subject: &Subject, length: u64) -> Findings {
        if length > self.next {
            // Google has no more than what came here, and goes on waiting.
            return Findings::default();
        }
        let place = Place::of(subject.name.as_deref());
        let at = match &mut self.state {
            State::Gone(why) => return Findings::only(why.clone()),
            State::Kept(spill) => {
                return match spill.cut(self.next) {
                    Ok(()) if length == self.next => scanning.scan_now(subject, spill),
                    Ok(()) => match beginning(spill, length) {
                        Ok(mut beginning) => scanning.scan_now(subject, &mut beginning),
                        Err(why) => Findings::only(why),
                    },
                    Err(error) => Findings::only(error.into()),
                };
            }
            State::Text { now, .. } if length == self.next => now,
            State::Text {
                before: Some(before), ..
            } if length == before.start => &before.state,
            State::Text { .. } => return Findings::only(Why::Lost),
        };
        let mut collector = Collector::new(&scanning.detectors, &scanning.key);
        end(scanning, at, &mut collector, &place);
        collector.finish()
    }

    fn copy_of_text(&self) -> Unsent {
        match &self.state {
            State::Text { now, before } => Unsent::Was(Box::new(Self {
                next: self.next,
                coding: self.coding.clone(),
                state: State::Text {
                    now: now.clone(),
                    before: before.clone(),
                },
                unsent: Unsent::Nothing,
            })),
            State::Kept(_) | State::Gone(_) => Unsent::Nothing,
        }
    }
}

impl State {
    /// A text of which nothing has come.
    pub(super) fn text() -> Self {
        Self::Text {
            now: Box::default(),
            before: None,
        }
    }
}

/// Whether a content that begins so is searched as text, as it comes.
pub(super) fn is_text(head: &[u8], subject: &Subject) -> bool {
    head.len() == HEAD && Sniff::of(head) == Sniff::Other && subject.content_encoding.is_none()
}

/// Ends a copy of a text.
pub(super) fn end(scanning: &Scanning, state: &TextState, collector: &mut Collector<'_>, place: &Place) {
    let text = Text::resume(&scanning.detectors, state.clone());
    if let Err(why) = text.finish(collector, place) {
        collector.unscannable(why, &place.text());
    }
}

/// The beginning of what is in a file, in memory: such an end is rare, and a long one is not searched.
fn beginning(spill: &mut Spill, length: u64) -> Result<Cursor<Vec<u8>>, Why> {
    const MOST: u64 = 16 << 20;
    if length > MOST {
        return Err(Why::TooLarge(MOST));
    }
    let mut bytes = Vec::new();
    spill.seek(SeekFrom::Start(0))?;
    spill.take(length).read_to_end(&mut bytes)?;
    Ok(Cursor::new(bytes))
}

fn digest(content: &mut impl Read) -> Result<[u8; 32], Why> {
    let mut digest = Sha256::new();
    let mut piece = vec![0; PIECE];
    loop {
        match content.read(&mut piece)? {
            0 => return Ok(digest.finalize().into()),
            read => digest.update(piece.get(..read).unwrap_or_default()),
        }
    }
}

fn coded_otherwise() -> Why {
    Why::Ambiguous("upload, whose parts are coded in different ways")
}

fn sent_anew() -> Why {
    Why::Ambiguous("upload, of which some was sent twice and not the same")
}

pub(super) fn no_room(error: SpillError) -> Why {
    match error {
        SpillError::NoRoom => Why::NoRoom,
        SpillError::Io(error) => error.into(),
    }
}
