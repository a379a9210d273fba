//! Text that is read in pieces, and the ways in which text is coded.

use std::{
    collections::VecDeque,
    io::{self, BufReader, Read},
};

use memchr::memmem;
use percent_encoding::percent_decode;
use turnpike_policy::detect::{Detectors, Match, Scanner, Suspended};

use super::{
    findings::{Collector, Why},
    place::Place,
    walk::Source,
    zip::{END, LONGEST_END, is_end},
};

/// What is read at a time.
const CHUNK: usize = 64 * 1024;

/// A text on its way to the detectors.
pub(super) struct Text<'d> {
    scanner: Scanner<'d>,
    seen: Seen,
}

/// What is kept of a text between two requests.
#[derive(Debug, Clone, Default)]
pub(super) struct TextState {
    scanner: Suspended,
    seen: Seen,
}

/// What is known of a text besides its secrets.
#[derive(Debug, Clone, Default)]
struct Seen {
    /// The first piece holds a byte that no text has; `None` before it.
    binary: Option<bool>,
    /// The last bytes, from where the end of a zip archive could begin.
    end: Vec<u8>,
    /// The last three bytes before that.
    before: Vec<u8>,
}

impl<'d> Text<'d> {
    pub(super) fn new(scanner: Scanner<'d>) -> Self {
        Self {
            scanner,
            seen: Seen::default(),
        }
    }

    pub(super) fn resume(detectors: &'d Detectors, state: TextState) -> Self {
        Self {
            scanner: detectors.resume(state.scanner),
            seen: state.seen,
        }
    }

    /// Searches all that can be read.
    pub(super) fn read(
        &mut self,
        source: &mut dyn Read,
        collector: &mut Collector<'_>,
        place: &Place,
    ) -> Result<(), Why> {
        let mut buffer = vec![0; CHUNK];
        loop {
            let read = match source.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            let piece = buffer.get(..read).unwrap_or_default();
            collector.scanned(read as u64);
            self.seen.push(piece);
            let binary = self.seen.is_binary();
            self.scanner
                .push(piece, &mut |hit| report(hit, binary, collector, place));
        }
    }

    /// Ends the text.
    pub(super) fn finish(self, collector: &mut Collector<'_>, place: &Place) -> Result<(), Why> {
        let binary = self.seen.is_binary();
        self.scanner
            .finish(&mut |hit| report(hit, binary, collector, place));
        match self.seen.hides_zip() {
            true => Err(Why::Ambiguous("zip archive behind other content")),
            false => Ok(()),
        }
    }

    /// Stops before the end of the text.
    pub(super) fn suspend(self, collector: &mut Collector<'_>, place: &Place) -> TextState {
        let binary = self.seen.is_binary();
        TextState {
            scanner: self
                .scanner
                .suspend(&mut |hit| report(hit, binary, collector, place)),
            seen: self.seen,
        }
    }
}

fn report(hit: Match<'_>, binary: bool, collector: &mut Collector<'_>, place: &Place) {
    let place = match binary {
        true => place.byte(hit.offset),
        false => place.line(hit.line),
    };
    collector.hit(hit.kind, hit.value, &place);
}

impl Seen {
    fn is_binary(&self) -> bool {
        self.binary == Some(true)
    }

    /// Looks for the end of a zip archive: its readers begin there, whatever stands at the beginning.
    fn push(&mut self, piece: &[u8]) {
        self.binary
            .get_or_insert_with(|| memchr::memchr(0, piece).is_some());
        if self.end.is_empty() {
            let start = piece.get(..piece.len().min(END.len() - 1)).unwrap_or_default();
            let border = [&self.before, start].concat();
            if let Some(at) = memmem::find(&border, END) {
                self.end
                    .extend_from_slice(border.get(at..self.before.len()).unwrap_or_default());
                self.end.extend_from_slice(piece);
            } else if let Some(at) = memmem::find(piece, END) {
                self.end.extend_from_slice(piece.get(at..).unwrap_or_default());
            }
        } else {
            self.end.extend_from_slice(piece);
        }
        while self.end.len() > LONGEST_END {
            let next = self.end.get(1..).and_then(|rest| memmem::find(rest, END));
            match next {
                Some(at) => drop(self.end.drain(..=at)),
                None => self.end.clear(),
            }
        }
        self.before
            .extend_from_slice(piece.get(piece.len().saturating_sub(3)..).unwrap_or_default());
        let gone = self.before.len().saturating_sub(END.len() - 1);
        self.before.drain(..gone);
    }

    fn hides_zip(&self) -> bool {
        memmem::find_iter(&self.end, END).any(|at| self.end.get(at..).is_some_and(is_end))
    }
}

/// Text in UTF-16 (RFC 2781), as UTF-8. What is no character comes out as the sign for that.
pub(super) fn utf16(source: Source<'_>, big: bool) -> impl Read {
    Utf16 {
        source: BufReader::new(source),
        big,
        ready: VecDeque::new(),
        high: None,
    }
}

struct Utf16<R> {
    source: R,
    big: bool,
    /// Bytes that are decoded and not yet read.
    ready: VecDeque<u8>,
    /// The first half of a character.
    high: Option<u16>,
}

impl<R: Read> Utf16<R> {
    fn fill(&mut self) -> io::Result<()> {
        let mut units = Vec::with_capacity(CHUNK / 2 + 1);
        units.extend(self.high.take());
        let mut bytes = Vec::with_capacity(CHUNK);
        (&mut self.source).take(CHUNK as u64).read_to_end(&mut bytes)?;
        let at_end = bytes.is_empty();
        units.extend(bytes.chunks(2).map(|pair| match (pair, self.big) {
            ([a, b], true) => u16::from_be_bytes([*a, *b]),
            ([a, b], false) => u16::from_le_bytes([*a, *b]),
            // Half a unit at the end.
            _ => 0xfffd,
        }));
        if !at_end && units.last().is_some_and(|unit| (0xd800..0xdc00).contains(unit)) {
            self.high = units.pop();
        }
        let mut buffer = [0; 4];
        for character in char::decode_utf16(units) {
            let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
            self.ready.extend(character.encode_utf8(&mut buffer).as_bytes());
        }
        Ok(())
    }
}

impl<R: Read> Read for Utf16<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.ready.is_empty() {
            self.fill()?;
        }
        self.ready.read(buffer)
    }
}

/// A name or value of a form, decoded.
pub(super) fn form_decoded(text: &[u8]) -> Vec<u8> {
    let spaced: Vec<u8> = text.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect();
    percent_decode(&spaced).collect()
}

/// XML with its character references replaced by what they stand for.
pub(super) fn without_references(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'&', rest) {
        let (before, behind) = rest.split_at(at);
        plain.extend_from_slice(before);
        let end = behind.iter().take(12).position(|b| *b == b';');
        let name = end.and_then(|end| str::from_utf8(behind.get(1..end)?).ok());
        match (end, name.and_then(reference)) {
            (Some(end), Some(character)) => {
                plain.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                rest = behind.get(end + 1..).unwrap_or_default();
            }
            _ => {
                plain.push(b'&');
                rest = behind.get(1..).unwrap_or_default();
            }
        }
    }
    plain.extend_from_slice(rest);
    plain
}

fn reference(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}
