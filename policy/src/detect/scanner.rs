//! Running detectors over a text that arrives in pieces.
//!
//! A place is looked at when [`super::AFTER`] bytes and one more are there behind it, or the text has ended; and with
//! [`super::BEFORE`] bytes before it. So what is found does not depend on how the text was cut.

use memchr::memchr_iter;

use super::{AFTER, BEFORE, Detectors, Match, custom::Progress, view::View};

/// What is gathered before it is looked at.
const BLOCK: usize = 64 * 1024;

/// Looks for secrets in a text that arrives in pieces. It keeps at most about 70 KiB of it.
#[derive(Debug)]
pub struct Scanner<'d> {
    detectors: &'d Detectors,
    state: Suspended,
}

/// Where a scanner stands in its text, and what it still needs of it: at most about 70 KiB, and 5 KiB where it is
/// [suspended](Scanner::suspend). It holds a part of the text, which may be secret.
#[derive(Debug, Clone, Default)]
pub struct Suspended {
    text: Vec<u8>,
    /// Up to here in the text, every place was looked at.
    done: usize,
    place: Place,
    progress: Progress,
}

/// What is before the text at hand.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    bytes: u64,
    lines: u64,
}

impl Suspended {
    /// The bytes that it holds.
    pub fn size(&self) -> usize {
        self.text.len()
    }
}

impl<'d> Scanner<'d> {
    pub(super) fn new(detectors: &'d Detectors) -> Self {
        Self::resume(detectors, Suspended::default())
    }

    pub(super) fn resume(detectors: &'d Detectors, state: Suspended) -> Self {
        Self { detectors, state }
    }

    /// Looks at more of the text. What stands close to its end is looked at later.
    pub fn push(&mut self, mut chunk: &[u8], found: &mut dyn FnMut(Match<'_>)) {
        while !chunk.is_empty() {
            let (now, later) = chunk.split_at(chunk.len().min(BLOCK));
            self.state.text.extend_from_slice(now);
            chunk = later;
            if self.state.text.len() - self.state.done >= BLOCK + AFTER {
                self.advance(found);
            }
        }
    }

    /// Looks at what is left, after the end of the text.
    pub fn finish(mut self, found: &mut dyn FnMut(Match<'_>)) {
        let end = self.state.text.len();
        self.sweep(end, found);
    }

    /// Stops before the end of the text, with as little of it in memory as can be; see [`Detectors::resume`].
    pub fn suspend(mut self, found: &mut dyn FnMut(Match<'_>)) -> Suspended {
        self.advance(found);
        self.state.text.shrink_to_fit();
        self.state
    }

    /// Looks at every place that has enough text behind it, and forgets what no other place needs.
    fn advance(&mut self, found: &mut dyn FnMut(Match<'_>)) {
        let end = self.state.text.len().saturating_sub(AFTER);
        if end <= self.state.done {
            return;
        }
        self.sweep(end, found);
        let state = &mut self.state;
        let gone = end.saturating_sub(BEFORE);
        state.place.bytes += gone as u64;
        state.place.lines += newlines(state.text.get(..gone).unwrap_or_default());
        state.text.drain(..gone);
        state.done = end - gone;
    }

    fn sweep(&mut self, end: usize, found: &mut dyn FnMut(Match<'_>)) {
        let Suspended {
            text,
            done,
            place,
            progress,
        } = &mut self.state;
        Sweep {
            detectors: self.detectors,
            text,
            start: *done,
            end,
            place: *place,
        }
        .run(progress, found);
        *done = end;
    }
}

/// Scans a whole text.
pub(super) fn whole(detectors: &Detectors, text: &[u8], found: &mut dyn FnMut(Match<'_>)) {
    Sweep {
        detectors,
        text,
        start: 0,
        end: text.len(),
        place: Place::default(),
    }
    .run(&mut Progress::default(), found);
}

/// Some places of a text, looked at in order.
struct Sweep<'a> {
    detectors: &'a Detectors,
    text: &'a [u8],
    start: usize,
    end: usize,
    place: Place,
}

impl Sweep<'_> {
    fn run(&self, progress: &mut Progress, found: &mut dyn FnMut(Match<'_>)) {
        let mut lines = Lines {
            text: self.text,
            at: 0,
            before: self.place.lines,
        };
        let literals = &self.detectors.literals;
        let stop = self.text.len().min(self.end + literals.longest - 1);
        let mut at = self.start;
        while at < self.end {
            let Some((place, check)) = literals.find(self.text, at..stop) else {
                break;
            };
            if place >= self.end {
                break;
            }
            at = place + 1;
            let first = place.saturating_sub(BEFORE);
            let last = self.text.len().min(place + AFTER);
            let view = View {
                text: self.text.get(first..last).unwrap_or_default(),
                at: place - first,
            };
            if let Some(hit) = check.and_then(|check| check.run(&view)) {
                let offset = first + hit.value.start;
                found(Match {
                    kind: hit.kind,
                    offset: self.place.bytes + offset as u64,
                    line: lines.of(offset),
                    value: view.slice(hit.value),
                });
            }
        }
        self.detectors.customs.run(
            self.text,
            self.start..self.end,
            self.place.bytes,
            progress,
            &mut |kind, range| {
                found(Match {
                    kind,
                    offset: self.place.bytes + range.start as u64,
                    line: lines.of(range.start),
                    value: self.text.get(range).unwrap_or_default(),
                });
            },
        );
    }
}

/// Counts lines up to places that come nearly in order.
struct Lines<'t> {
    text: &'t [u8],
    at: usize,
    before: u64,
}

impl Lines<'_> {
    /// The line of a place, from 1.
    fn of(&mut self, place: usize) -> u64 {
        if place >= self.at {
            self.before += newlines(self.text.get(self.at..place).unwrap_or_default());
        } else {
            self.before -= newlines(self.text.get(place..self.at).unwrap_or_default());
        }
        self.at = place;
        self.before + 1
    }
}

fn newlines(text: &[u8]) -> u64 {
    memchr_iter(b'\n', text).count() as u64
}
