//! Documents of names and values, as one text of lines for the detectors, with the way back to the path of each.

use std::collections::VecDeque;

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use turnpike_policy::detect::{Detectors, Match, Scanner};

use super::{
    findings::{Collector, Why},
    place::Place,
};

/// A scanner holds back less than this.
const HELD_BACK: u64 = 160 * 1024;
/// Shorter base64 holds nothing that could be told from chance.
const SHORTEST_BASE64: usize = 16;

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// Bytes that stood in a value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Inner {
    /// The path of the value.
    pub(super) path: String,
    pub(super) bytes: Vec<u8>,
}

/// A document on its way to the detectors.
pub(super) struct Flat<'f, 'a> {
    collector: &'f mut Collector<'a>,
    place: &'f Place,
    scanner: Scanner<'f>,
    offset: u64,
    /// Where in the text the lines of values begin that the scanner may still find something in, and their paths.
    lines: VecDeque<(u64, String)>,
    inner: Vec<Inner>,
    /// Bytes that more inner contents may have.
    room: u64,
}

impl<'f, 'a> Flat<'f, 'a> {
    pub(super) fn new(
        collector: &'f mut Collector<'a>,
        detectors: &'f Detectors,
        place: &'f Place,
        room: u64,
    ) -> Self {
        Self {
            collector,
            place,
            scanner: detectors.scanner(),
            offset: 0,
            lines: VecDeque::new(),
            inner: Vec::new(),
            room,
        }
    }

    /// Takes a value: its path, its name, and itself. What it holds in base64 is kept for later.
    pub(super) fn value(&mut self, path: &str, name: &str, value: &[u8]) {
        self.line(path, name, value);
        if let Some(bytes) = base64(value) {
            self.keep(path, bytes);
        }
    }

    /// Takes bytes that are a content of their own.
    pub(super) fn keep(&mut self, path: &str, bytes: Vec<u8>) {
        let length = bytes.len() as u64;
        if length > self.room {
            let path = self.place.path(path).text();
            self.collector.unscannable(Why::TooLarge(self.room), &path);
            return;
        }
        self.room -= length;
        self.inner.push(Inner {
            path: path.to_owned(),
            bytes,
        });
    }

    fn line(&mut self, path: &str, name: &str, value: &[u8]) {
        while self
            .lines
            .get(1)
            .is_some_and(|(start, _)| start + HELD_BACK < self.offset)
        {
            self.lines.pop_front();
        }
        self.lines.push_back((self.offset, path.to_owned()));
        let in_quotes = !name.is_empty() && !value.iter().any(|b| matches!(b, b'"' | b'\\' | b'\n'));
        self.push(name.as_bytes());
        match (name, in_quotes) {
            ("", _) => {}
            (_, true) => self.push(b": \""),
            (_, false) => self.push(b": "),
        }
        self.push(value);
        self.push(if in_quotes { b"\"\n" } else { b"\n" });
    }

    fn push(&mut self, bytes: &[u8]) {
        self.offset += bytes.len() as u64;
        let (lines, place, collector) = (&self.lines, self.place, &mut *self.collector);
        self.scanner
            .push(bytes, &mut |hit| report(hit, lines, place, collector));
    }

    /// Ends the document; what stood in values has still to be searched.
    pub(super) fn finish(self) -> Vec<Inner> {
        let (lines, place, collector) = (&self.lines, self.place, self.collector);
        collector.scanned(self.offset);
        self.scanner
            .finish(&mut |hit| report(hit, lines, place, collector));
        self.inner
    }
}

fn report(hit: Match<'_>, lines: &VecDeque<(u64, String)>, place: &Place, collector: &mut Collector<'_>) {
    let behind = lines.partition_point(|(start, _)| *start <= hit.offset);
    let path = behind.checked_sub(1).and_then(|at| lines.get(at));
    let path = path.map(|(_, path)| path.as_str()).unwrap_or_default();
    collector.hit(hit.kind, hit.value, &place.path(path).text());
}

/// What a value is in base64, of the standard or of URLs, with padding or without, in lines or not.
pub(super) fn base64(value: &[u8]) -> Option<Vec<u8>> {
    let is_letter =
        |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'-' | b'_' | b'=' | b'\n' | b'\r');
    let value = value.trim_ascii();
    if value.len() < SHORTEST_BASE64 || !value.iter().all(is_letter) {
        return None;
    }
    let letters: Vec<u8>;
    let value = match value.contains(&b'\n') {
        true => {
            letters = value
                .iter()
                .copied()
                .filter(|b| !b.is_ascii_whitespace())
                .collect();
            &letters[..]
        }
        false => value,
    };
    STANDARD.decode(value).or_else(|_| URL_SAFE.decode(value)).ok()
}
