//! A content that is searched while it passes, where nobody waits for what is found.
//!
//! Text is searched as it comes. What has to be read whole (archives, JSON, messages) is written to a file without a
//! name, and searched at its end; where there is no room for it, it is searched as text, and said to be unscannable.
//! The parts of an upload follow on each other as in [`super::carry`].

use std::{fmt, io::Cursor};

use super::{
    Findings, Scanning, Subject, Why,
    carry::{Chunk, ScanCarry, State, end, is_text, no_room},
    findings::Collector,
    place::Place,
    sniff::HEAD,
    text::{Text, TextState},
    walk::is_data,
};
use crate::kept::Spills;

/// A content on its way.
pub struct Passing {
    scanning: Scanning,
    subject: Subject,
    spills: Spills,
    /// Where it stands in an upload; all of it, where it is none.
    chunk: Chunk,
    length: u64,
    stage: Stage,
    findings: Findings,
}

enum Stage {
    /// Too few bytes to know what it is.
    Head(Vec<u8>),
    Known(State),
    /// Why it can't be searched as what it is; it is searched as text.
    Gone(Why, Box<TextState>),
}

impl fmt::Debug for Passing {
    /// Without what it holds of the content, which may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passing")
            .field("chunk", &self.chunk)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

impl Passing {
    /// A content of which nothing has come.
    pub fn new(scanning: Scanning, subject: Subject, spills: Spills) -> Self {
        let all = Chunk { start: 0, last: true };
        Self::goes_on(scanning, subject, spills, all, None)
    }

    /// A part of an upload, with what is kept of the parts before it.
    pub fn goes_on(
        scanning: Scanning,
        subject: Subject,
        spills: Spills,
        chunk: Chunk,
        carry: Option<ScanCarry>,
    ) -> Self {
        let gone = |why| Stage::Gone(why, Box::default());
        let stage = match carry {
            None if chunk.start == 0 => Stage::Head(Vec::new()),
            None => gone(Why::Lost),
            Some(carry) => match carry.followed_by(chunk.start, &subject) {
                Ok(state) => Stage::Known(state),
                Err(why) => gone(why),
            },
        };
        Self {
            scanning,
            subject,
            spills,
            chunk,
            length: 0,
            stage,
            findings: Findings::default(),
        }
    }

    /// The same for the media of an upload whose metadata comes with it, and is searched here.
    pub fn media_of(mut self, metadata: &[u8]) -> Self {
        let message = Subject {
            content_type: Some("application/json".to_owned()),
            media: false,
            ..self.subject.clone()
        };
        self.findings
            .merge(self.scanning.scan_now(&message, &mut Cursor::new(metadata)));
        self.subject.media = true;
        self
    }

    /// Takes the next bytes. It may write to the disk.
    pub fn push(&mut self, bytes: &[u8]) {
        self.length = self.length.saturating_add(bytes.len() as u64);
        let Stage::Head(head) = &mut self.stage else {
            return self.take(bytes);
        };
        head.extend_from_slice(bytes);
        if head.len() < HEAD {
            return;
        }
        let head = std::mem::take(head);
        let first = head.get(..HEAD).unwrap_or_default();
        self.stage = match is_data(&self.subject) && is_text(first, &self.subject) {
            true => Stage::Known(State::text()),
            false => match self.spills.open() {
                Ok(spill) => Stage::Known(State::Kept(spill)),
                Err(error) => Stage::Gone(error.into(), Box::default()),
            },
        };
        self.take(&head);
    }

    fn take(&mut self, bytes: &[u8]) {
        let text = match &mut self.stage {
            Stage::Known(State::Kept(spill)) => match spill.append(bytes).map_err(no_room) {
                Ok(()) => return,
                Err(why) => {
                    self.stage = Stage::Gone(why, Box::default());
                    return self.take(bytes);
                }
            },
            Stage::Known(State::Gone(why)) => {
                self.stage = Stage::Gone(why.clone(), Box::default());
                return self.take(bytes);
            }
            Stage::Known(State::Text { now, .. }) | Stage::Gone(_, now) => now,
            Stage::Head(_) => return,
        };
        let place = Place::of(self.subject.name.as_deref());
        let mut collector = Collector::new(&self.scanning.detectors, &self.scanning.key);
        let state = std::mem::take(&mut **text);
        let mut resumed = Text::resume(&self.scanning.detectors, state);
        let read = resumed.read(&mut &*bytes, &mut collector, &place);
        **text = resumed.suspend(&mut collector, &place);
        if let Err(why) = read {
            collector.unscannable(why, &place.text());
        }
        self.findings.merge(collector.finish());
    }

    /// Ends the content, and gives what was found, and what is kept for the next part of an upload. It may read a file.
    pub fn finish(self) -> (Findings, Option<ScanCarry>) {
        let Self {
            scanning,
            subject,
            chunk,
            length,
            stage,
            mut findings,
            ..
        } = self;
        let next = chunk.start.saturating_add(length);
        let coding = subject.content_encoding.clone();
        let carry = |state| Some(ScanCarry::at(next, coding.clone(), state));
        let (found, kept) = match (stage, chunk.last) {
            (Stage::Head(head), true) => (scanning.scan_now(&subject, &mut Cursor::new(head)), None),
            // Parts have more bytes than that.
            (Stage::Head(_), false) => (Findings::only(Why::Lost), carry(State::Gone(Why::Lost))),
            (Stage::Known(State::Kept(mut spill)), true) => (scanning.scan_now(&subject, &mut spill), None),
            (Stage::Known(State::Text { now, .. }), true) => {
                (text_end(&scanning, &subject, &now, None), None)
            }
            (Stage::Known(state), false) => (Findings::default(), carry(state)),
            (Stage::Known(State::Gone(why)), true) => (Findings::only(why), None),
            (Stage::Gone(why, now), last) => {
                let found = text_end(&scanning, &subject, &now, Some(why.clone()));
                (found, if last { None } else { carry(State::Gone(why)) })
            }
        };
        findings.merge(found);
        (findings, kept)
    }
}

/// Ends a text, and searches its name as well.
fn text_end(scanning: &Scanning, subject: &Subject, state: &TextState, why: Option<Why>) -> Findings {
    let place = Place::of(subject.name.as_deref());
    let mut collector = Collector::new(&scanning.detectors, &scanning.key);
    if let Some(why) = why {
        collector.unscannable(why, "");
    }
    end(scanning, state, &mut collector, &place);
    let mut name = Text::new(scanning.detectors.scanner());
    let place = Place::of(Some("name"));
    let text = subject.name.as_deref().unwrap_or_default();
    let read = name.read(&mut text.as_bytes(), &mut collector, &place);
    for result in [read, name.finish(&mut collector, &place)] {
        if let Err(why) = result {
            collector.unscannable(why, &place.text());
        }
    }
    collector.finish()
}
