//! What a detector sees: the bytes around a literal, and the classes of characters that secrets are made of.

use std::ops::Range;

/// The text around a literal.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'t> {
    /// At most [`super::BEFORE`] bytes before the literal, and [`super::AFTER`] from its beginning.
    pub(super) text: &'t [u8],
    /// Where the literal begins.
    pub(super) at: usize,
}

/// What a detector found: the kind, and where the value stands in the view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) kind: &'static str,
    pub(super) value: Range<usize>,
}

impl<'t> View<'t> {
    /// The bytes of a range that may reach beyond the view.
    pub(super) fn slice(&self, range: Range<usize>) -> &'t [u8] {
        let end = range.end.min(self.text.len());
        self.text.get(range.start.min(end)..end).unwrap_or_default()
    }

    /// The bytes from here on.
    pub(super) fn from(&self, start: usize) -> &'t [u8] {
        self.text.get(start..).unwrap_or_default()
    }

    /// The bytes up to here.
    pub(super) fn upto(&self, end: usize) -> &'t [u8] {
        self.text.get(..end).unwrap_or_default()
    }

    pub(super) fn byte(&self, at: usize) -> Option<u8> {
        self.text.get(at).copied()
    }

    /// The byte before a place; `None` at the beginning.
    pub(super) fn before(&self, at: usize) -> Option<u8> {
        self.byte(at.checked_sub(1)?)
    }

    /// Whether a value that is made of such characters can begin here: nothing of the same kind stands before it. The
    /// end of an escape (`\n`, `\u003d`, `%3D`) is not taken for a part of the value.
    pub(super) fn begins(&self, at: usize, class: Class) -> bool {
        match self.before(at) {
            None => true,
            Some(byte) if class.has(byte) || Class::WORD.has(byte) => ends_in_escape(self.upto(at)),
            Some(_) => true,
        }
    }

    /// How many bytes from here on are of a class, as far as is looked.
    pub(super) fn run(&self, at: usize, class: Class, most: usize) -> usize {
        let text = self.slice(at..at.saturating_add(most));
        text.iter().take_while(|b| class.has(**b)).count()
    }

    /// How many bytes right before here are of a class, as far as is looked.
    pub(super) fn run_before(&self, at: usize, class: Class, most: usize) -> usize {
        let text = self.slice(at.saturating_sub(most)..at);
        text.iter().rev().take_while(|b| class.has(**b)).count()
    }
}

/// Whether a text ends in an escape of JSON, a source language, or a URL.
fn ends_in_escape(text: &[u8]) -> bool {
    let hex = |digits: &[u8]| digits.iter().all(u8::is_ascii_hexdigit);
    match text {
        [.., b'\\', b'n' | b'r' | b't' | b'f' | b'b' | b'v' | b'0'] => true,
        [.., b'%', a, b] if hex(&[*a, *b]) => true,
        [.., b'\\', b'x', a, b] if hex(&[*a, *b]) => true,
        [.., b'\\', b'u', a, b, c, d] if hex(&[*a, *b, *c, *d]) => true,
        _ => false,
    }
}

/// A set of ASCII characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Class(u128);

impl Class {
    pub(super) const DIGIT: Self = Self::NONE.range(b'0', b'9');
    pub(super) const UPPER: Self = Self::NONE.range(b'A', b'Z');
    pub(super) const LOWER: Self = Self::NONE.range(b'a', b'z');
    pub(super) const ALNUM: Self = Self::DIGIT.or(Self::UPPER).or(Self::LOWER);
    pub(super) const UPPER_DIGIT: Self = Self::DIGIT.or(Self::UPPER);
    /// What identifiers are made of.
    pub(super) const WORD: Self = Self::ALNUM.with(b'_');
    /// Base64 of URLs, without padding.
    pub(super) const URL_SAFE: Self = Self::WORD.with(b'-');
    pub(super) const URL_SAFE_DOT: Self = Self::URL_SAFE.with(b'.');
    pub(super) const ALNUM_DASH: Self = Self::ALNUM.with(b'-');
    /// Base64, without padding.
    pub(super) const BASE64: Self = Self::ALNUM.with(b'+').with(b'/');

    const NONE: Self = Self(0);

    pub(super) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn with(self, byte: u8) -> Self {
        Self(self.0 | 1 << (byte & 0x7f))
    }

    const fn range(self, first: u8, last: u8) -> Self {
        let mut class = self;
        let mut byte = first;
        while byte <= last {
            class = class.with(byte);
            byte += 1;
        }
        class
    }

    pub(super) const fn has(self, byte: u8) -> bool {
        byte < 0x80 && self.0 >> byte & 1 == 1
    }
}

/// Whether a text holds another, whatever the case of its letters. The other is in lower case.
pub(super) fn holds(text: &[u8], lower: &str) -> bool {
    text.windows(lower.len())
        .any(|w| w.eq_ignore_ascii_case(lower.as_bytes()))
}
