//! The parser of multipart bodies: a machine without I/O that is fed bytes and gives parts.
//!
//! It holds back no more than what could be the beginning of a delimiter, so a part of any size passes through
//! in constant memory.

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, header};
use memchr::memmem::{self, Finder};

use super::{
    Boundary, Limits, MultipartError,
    fields::{self, LineEnd},
};

/// White space that may stand behind the final delimiter.
const LONGEST_EPILOGUE: usize = 64;
/// The longest first line: dashes, a boundary and a line end.
const LONGEST_FIRST_LINE: usize = 80;

/// What a multipart body is made of, in the order in which it comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A part begins.
    Part(HeaderMap),
    /// Content of the part.
    Data(Bytes),
    /// The part has ended: its delimiter was seen.
    End,
}

/// Splits a body into its parts.
#[derive(Debug)]
pub struct Splitter {
    limits: Limits,
    state: State,
    /// Bytes that were pushed and not yet given out.
    pending: Bytes,
    parts: usize,
    /// The current part's declared and seen length.
    declared: Option<u64>,
    seen: u64,
}

#[derive(Debug)]
enum State {
    /// The first delimiter line is awaited.
    Start(Boundary),
    /// In the headers of a part, of which the first bytes were searched for their end already.
    Head { marks: Marks, searched: usize },
    /// In the content of a part.
    Content(Marks),
    /// Right behind a delimiter's boundary.
    Delimiter(Marks),
    /// Behind the final delimiter, with so many bytes seen.
    Epilogue(usize),
    /// An error was given; there is nothing more to say.
    Failed,
}

/// What the delimiters of a body look like.
#[derive(Debug)]
struct Marks {
    line_end: LineEnd,
    /// Two dashes and the boundary.
    boundary: Finder<'static>,
    /// The same in the reading that this body does not use.
    other: Option<Finder<'static>>,
    /// The boundary behind the line end that belongs to it.
    delimiter: Vec<u8>,
}

impl Splitter {
    /// A splitter for a body with this boundary.
    pub fn new(boundary: Boundary, limits: Limits) -> Self {
        Self {
            limits,
            state: State::Start(boundary),
            pending: Bytes::new(),
            parts: 0,
            declared: None,
            seen: 0,
        }
    }

    /// Takes the next bytes of the body.
    pub fn push(&mut self, data: Bytes) {
        if self.pending.is_empty() {
            self.pending = data;
        } else if !data.is_empty() {
            let mut joined = BytesMut::with_capacity(self.pending.len() + data.len());
            joined.extend_from_slice(&self.pending);
            joined.extend_from_slice(&data);
            self.pending = joined.freeze();
        }
    }

    /// What comes next; nothing where more bytes are needed first.
    ///
    /// # Errors
    /// [`MultipartError`]; the rest of the body has no meaning then.
    #[expect(
        clippy::should_implement_trait,
        reason = "more can come after it gave nothing"
    )]
    pub fn next(&mut self) -> Result<Option<Event>, MultipartError> {
        loop {
            let state = std::mem::replace(&mut self.state, State::Failed);
            let (state, step) = match state {
                State::Start(boundary) => self.start(boundary)?,
                State::Head { marks, searched } => self.head(marks, searched)?,
                State::Content(marks) => self.content(marks)?,
                State::Delimiter(marks) => self.delimiter(marks)?,
                State::Epilogue(seen) => self.epilogue(seen)?,
                State::Failed => return Err(MultipartError::Unfinished),
            };
            self.state = state;
            match step {
                Step::On => {}
                Step::Give(event) => return Ok(Some(event)),
                Step::Wait => return Ok(None),
            }
        }
    }

    /// The body has no more bytes.
    ///
    /// # Errors
    /// [`MultipartError::Unfinished`] where its final delimiter was not seen.
    pub fn finish(&self) -> Result<(), MultipartError> {
        match self.state {
            State::Epilogue(_) => Ok(()),
            _ => Err(MultipartError::Unfinished),
        }
    }

    fn start(&mut self, boundary: Boundary) -> Result<(State, Step), MultipartError> {
        let Some(at) = memchr::memchr(b'\n', &self.pending) else {
            return match self.pending.len() > LONGEST_FIRST_LINE {
                true => Err(MultipartError::Preamble),
                false => Ok((State::Start(boundary), Step::Wait)),
            };
        };
        let line = self.pending.get(..at).unwrap_or(&[]);
        let (line, line_end) = match line.strip_suffix(b"\r") {
            Some(line) => (line, LineEnd::CrLf),
            None => (line, LineEnd::Lf),
        };
        let marks = Marks::of(boundary, line, line_end)?;
        self.pending.advance(at + 1);
        Ok((self.begin_part(marks)?, Step::On))
    }

    fn begin_part(&mut self, marks: Marks) -> Result<State, MultipartError> {
        self.parts += 1;
        if self.parts > self.limits.parts {
            return Err(MultipartError::TooManyParts(self.limits.parts));
        }
        Ok(State::Head { marks, searched: 0 })
    }

    fn head(&mut self, marks: Marks, searched: usize) -> Result<(State, Step), MultipartError> {
        let line_end = marks.line_end;
        let cap = self.limits.head_bytes;
        let (length, after) = if self.pending.starts_with(line_end.bytes()) {
            (0, line_end.bytes().len())
        } else {
            // The end may have begun in bytes that were searched before.
            let from = searched.saturating_sub(line_end.twice().len() - 1);
            let rest = self.pending.get(from..).unwrap_or(&[]);
            match memmem::find(rest, line_end.twice()) {
                Some(at) if from + at <= cap => (from + at, from + at + line_end.twice().len()),
                Some(_) => return Err(MultipartError::HeadTooLarge(cap)),
                None if self.pending.len() > cap => return Err(MultipartError::HeadTooLarge(cap)),
                None => {
                    let searched = self.pending.len();
                    return Ok((State::Head { marks, searched }, Step::Wait));
                }
            }
        };
        let block = self.pending.get(..length).unwrap_or(&[]);
        if marks.occurs_in(block) {
            return Err(MultipartError::StrayDelimiter);
        }
        let headers = fields::parse(block, line_end)?;
        self.declared = part_length(&headers)?;
        self.seen = 0;
        self.pending.advance(after);
        Ok((State::Content(marks), Step::Give(Event::Part(headers))))
    }

    fn content(&mut self, marks: Marks) -> Result<(State, Step), MultipartError> {
        let found = marks.boundary.find(&self.pending);
        let before = self.pending.get(..found.unwrap_or(self.pending.len()));
        let before = before.unwrap_or(&[]);
        if marks.other.as_ref().is_some_and(|o| o.find(before).is_some()) {
            return Err(MultipartError::TwoBoundaries);
        }
        if found.is_none() {
            let free = self.pending.len() - marks.held_back(&self.pending);
            if free == 0 {
                return Ok((State::Content(marks), Step::Wait));
            }
            let data = self.pending.split_to(free);
            return Ok((State::Content(marks), self.give(data)));
        }
        let line_end = marks.line_end.bytes();
        let length = before
            .strip_suffix(line_end)
            .ok_or(MultipartError::StrayDelimiter)?
            .len();
        let data = self.pending.split_to(length);
        self.pending.advance(marks.delimiter.len());
        let step = match data.is_empty() {
            true => Step::On,
            false => self.give(data),
        };
        Ok((State::Delimiter(marks), step))
    }

    fn give(&mut self, data: Bytes) -> Step {
        self.seen += data.len() as u64;
        Step::Give(Event::Data(data))
    }

    fn delimiter(&mut self, marks: Marks) -> Result<(State, Step), MultipartError> {
        const FINAL: &[u8] = b"--";
        let line_end = marks.line_end.bytes();
        let state = if self.pending.starts_with(line_end) {
            self.pending.advance(line_end.len());
            self.begin_part(marks)?
        } else if self.pending.starts_with(FINAL) {
            self.pending.advance(FINAL.len());
            State::Epilogue(0)
        } else if line_end.starts_with(&self.pending) || FINAL.starts_with(&self.pending) {
            return Ok((State::Delimiter(marks), Step::Wait));
        } else {
            return Err(MultipartError::StrayDelimiter);
        };
        match self.declared {
            Some(declared) if declared != self.seen => Err(MultipartError::PartLength),
            _ => Ok((state, Step::Give(Event::End))),
        }
    }

    fn epilogue(&mut self, seen: usize) -> Result<(State, Step), MultipartError> {
        let seen = seen + self.pending.len();
        if seen > LONGEST_EPILOGUE || !self.pending.iter().all(u8::is_ascii_whitespace) {
            return Err(MultipartError::Epilogue);
        }
        self.pending = Bytes::new();
        Ok((State::Epilogue(seen), Step::Wait))
    }
}

/// What follows a step of the machine.
enum Step {
    /// The next step.
    On,
    /// Something to give out.
    Give(Event),
    /// More bytes are needed.
    Wait,
}

impl Marks {
    /// The first line tells which reading of the boundary the body uses, and how its lines end.
    fn of(boundary: Boundary, line: &[u8], line_end: LineEnd) -> Result<Self, MultipartError> {
        let named = line.strip_prefix(b"--").ok_or(MultipartError::Preamble)?;
        let Boundary { spelled, unquoted } = boundary;
        let (used, other) = match unquoted {
            Some(unquoted) if named == unquoted.as_bytes() => (unquoted, Some(spelled)),
            unquoted if named == spelled.as_bytes() => (spelled, unquoted),
            Some(unquoted) if named.strip_suffix(b"--") == Some(unquoted.as_bytes()) => {
                return Err(MultipartError::NoParts);
            }
            _ if named.strip_suffix(b"--") == Some(spelled.as_bytes()) => {
                return Err(MultipartError::NoParts);
            }
            _ => return Err(MultipartError::Preamble),
        };
        let mut delimiter = line_end.bytes().to_vec();
        delimiter.extend_from_slice(b"--");
        delimiter.extend_from_slice(used.as_bytes());
        let finder = |boundary: &str| Finder::new(&format!("--{boundary}")).into_owned();
        Ok(Self {
            line_end,
            boundary: finder(&used),
            other: other.as_deref().map(finder),
            delimiter,
        })
    }

    fn occurs_in(&self, block: &[u8]) -> bool {
        self.boundary.find(block).is_some() || self.other.as_ref().is_some_and(|o| o.find(block).is_some())
    }

    /// How many bytes at the end could be the beginning of a delimiter.
    fn held_back(&self, bytes: &[u8]) -> usize {
        let marks = [Some(self.delimiter.as_slice()), Some(self.boundary.needle())];
        let other = self.other.as_ref().map(Finder::needle);
        let beginnings = marks.into_iter().chain([other]).flatten();
        beginnings.map(|mark| overlap(bytes, mark)).max().unwrap_or(0)
    }
}

/// The longest end of `bytes` that is a beginning of `mark`, and not all of it.
fn overlap(bytes: &[u8], mark: &[u8]) -> usize {
    let most = bytes.len().min(mark.len().saturating_sub(1));
    (1..=most)
        .rev()
        .find(|&length| {
            let end = bytes.get(bytes.len() - length..);
            end.is_some() && end == mark.get(..length)
        })
        .unwrap_or(0)
}

/// What the headers of a part say about its length; refuses those that change what the part is.
fn part_length(headers: &HeaderMap) -> Result<Option<u64>, MultipartError> {
    const TRANSFER_ENCODING: HeaderName = HeaderName::from_static("content-transfer-encoding");
    let one = |name: HeaderName, label: &'static str| {
        let mut values = headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(MultipartError::RepeatedField(label)),
            (value, None) => Ok(value.map_or(&[][..], |v| v.as_bytes())),
        }
    };
    one(HeaderName::from_static("content-id"), "Content-ID")?;
    let media_type = one(header::CONTENT_TYPE, "Content-Type")?.to_ascii_lowercase();
    if media_type.starts_with(b"multipart/") {
        return Err(MultipartError::Nested);
    }
    let transfer = one(TRANSFER_ENCODING, "Content-Transfer-Encoding")?.to_ascii_lowercase();
    let plain = matches!(transfer.as_slice(), b"" | b"binary" | b"8bit" | b"7bit");
    let coded = [header::CONTENT_ENCODING, header::TRANSFER_ENCODING];
    if !plain || coded.iter().any(|name| headers.contains_key(name)) {
        return Err(MultipartError::Encoded);
    }
    let length = one(header::CONTENT_LENGTH, "Content-Length")?;
    if !headers.contains_key(header::CONTENT_LENGTH) {
        return Ok(None);
    }
    declared_length(length)
        .map(Some)
        .ok_or(MultipartError::PartLength)
}

/// A `Content-Length`: digits and nothing else.
pub(crate) fn declared_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 19 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}
