//! Messages of protocol buffers, read without their types, and streams of them in gRPC.
//!
//! A field of bytes can be text, bytes or another message, and the wire doesn't say which: what reads as a message is
//! taken apart, and what reads as text is taken as text too. Places are field numbers.
//! Source: <https://protobuf.dev/programming-guides/encoding/>.

use std::{
    fmt::Write as _,
    io::{self, Cursor, Read},
};

use super::{
    Subject,
    findings::Why,
    flat::Flat,
    place::Place,
    sniff::Sniff,
    walk::{Depth, Source, Walker},
};

/// How deep messages are taken apart.
const DEEPEST: usize = 64;
/// The longest message of a stream: gRPC servers of Google take 4 MiB unless they say otherwise.
const LONGEST: usize = 64 << 20;
/// What is kept of the messages of an upload besides its content.
const MOST_OTHERS: usize = 4 << 20;
/// The method of the streams that carry an object's content.
const INSERT: &str = "storage.objects.insert";
/// `WriteObjectRequest` and `BidiWriteObjectRequest`: `write_offset`, `checksummed_data`, and in the latter `content`.
/// Source: <https://cloud.google.com/storage/docs/reference/rpc/google.storage.v2>.
const WRITE_OFFSET: u32 = 3;
const DATA: u32 = 4;
const CONTENT: u32 = 1;

/// A field, as far as it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field<'m> {
    Number(u32, u64),
    Bytes(u32, &'m [u8]),
    /// Of fixed length, or the bounds of a group.
    Other,
}

/// Searches one message.
pub(super) fn single(walker: &mut Walker<'_>, place: &Place, mut source: Source<'_>) -> Result<(), Why> {
    let message = walker.read_whole(&mut source)?;
    messages(walker, place, &[message])
}

/// Searches the messages of a call's stream.
pub(super) fn stream(
    walker: &mut Walker<'_>,
    subject: &Subject,
    place: &Place,
    source: Source<'_>,
) -> Result<(), Why> {
    let mut frames = Frames(source);
    if subject.method == INSERT {
        let mut object = Object {
            frames,
            content: Cursor::default(),
            others: Vec::new(),
            length: 0,
            begun: false,
        };
        let name = Place::of(subject.name.as_deref());
        let searched = walker.content(&name, Depth::default(), Box::new(&mut object));
        // Whatever was wrong with the content, the other fields are searched.
        let others = std::mem::take(&mut object.others);
        return searched.and(messages(walker, place, &others));
    }
    while let Some(message) = frames.next()? {
        messages(walker, place, &[message])?;
    }
    Ok(())
}

fn messages(walker: &mut Walker<'_>, place: &Place, messages: &[Vec<u8>]) -> Result<(), Why> {
    let detectors = walker.detectors();
    let most = walker.limits().whole;
    let mut flat = Flat::new(walker.collector(), detectors, place, most);
    let mut wrong = Ok(());
    for message in messages {
        let mut walk = Walk {
            flat: &mut flat,
            path: String::new(),
            room: message.len().saturating_mul(4),
        };
        if fields(message).is_none() {
            walk.leaf("", message);
            wrong = Err(Why::Broken("message of protocol buffers"));
        } else {
            walk.message(message, 0);
        }
    }
    let inner = flat.finish();
    walker.inner(place, Depth::default(), inner);
    wrong
}

struct Walk<'w, 'f, 'a> {
    flat: &'w mut Flat<'f, 'a>,
    path: String,
    /// Bytes that may still be taken as text besides being taken apart.
    room: usize,
}

impl Walk<'_, '_, '_> {
    fn message(&mut self, message: &[u8], depth: usize) {
        let length = self.path.len();
        for field in fields(message).unwrap_or_default() {
            let Field::Bytes(number, bytes) = field else {
                continue;
            };
            let dot = if length == 0 { "" } else { "." };
            let _infallible = write!(self.path, "{dot}{number}");
            let is_message = depth < DEEPEST && !bytes.is_empty() && fields(bytes).is_some();
            if is_message {
                self.message(bytes, depth + 1);
            }
            if !is_message || bytes.len() <= self.room && is_text(bytes) {
                self.room = self.room.saturating_sub(bytes.len());
                let path = self.path.clone();
                self.leaf(&path, bytes);
            }
            self.path.truncate(length);
        }
    }

    fn leaf(&mut self, path: &str, bytes: &[u8]) {
        let path = match path {
            "" => String::new(),
            path => format!("field {path}"),
        };
        match Sniff::of(bytes) {
            Sniff::Other => self.flat.value(&path, "", bytes),
            _ => self.flat.keep(&path, bytes.to_vec()),
        }
    }
}

fn is_text(bytes: &[u8]) -> bool {
    str::from_utf8(bytes).is_ok_and(|text| text.chars().all(|c| !c.is_control() || c.is_whitespace()))
}

/// The fields of a message; `None` where it is none.
fn fields(message: &[u8]) -> Option<Vec<Field<'_>>> {
    let mut fields = Vec::new();
    let mut rest = message;
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        let number = u32::try_from(tag >> 3)
            .ok()
            .filter(|n| (1..1 << 29).contains(n))?;
        fields.push(match tag & 7 {
            0 => Field::Number(number, varint(&mut rest)?),
            1 => skip(&mut rest, 8)?,
            2 => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                let (bytes, behind) = rest.split_at_checked(length)?;
                rest = behind;
                Field::Bytes(number, bytes)
            }
            3 | 4 => Field::Other,
            5 => skip(&mut rest, 4)?,
            _ => return None,
        });
    }
    Some(fields)
}

fn skip<'m>(rest: &mut &'m [u8], length: usize) -> Option<Field<'m>> {
    *rest = rest.get(length..)?;
    Some(Field::Other)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for at in 0..10 {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        value |= u64::from(byte & 0x7f).checked_shl(7 * at).unwrap_or(0);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// The messages of a body: five bytes of head, then each.
struct Frames<'r>(Source<'r>);

impl Frames<'_> {
    fn next(&mut self) -> Result<Option<Vec<u8>>, Why> {
        let broken = Why::Broken("gRPC stream");
        let mut head = Vec::with_capacity(5);
        (&mut self.0).take(5).read_to_end(&mut head)?;
        let (flag, length) = match head.as_slice() {
            [] => return Ok(None),
            [flag, a, b, c, d] => (*flag, u32::from_be_bytes([*a, *b, *c, *d])),
            _ => return Err(broken),
        };
        if flag != 0 {
            return Err(Why::Coding("of a gRPC message".to_owned()));
        }
        if length as usize > LONGEST {
            return Err(Why::TooLarge(LONGEST as u64));
        }
        let mut message = Vec::new();
        (&mut self.0).take(length.into()).read_to_end(&mut message)?;
        match message.len() == length as usize {
            true => Ok(Some(message)),
            false => Err(broken),
        }
    }
}

/// The content of an object out of the messages that write it.
struct Object<'r> {
    frames: Frames<'r>,
    content: Cursor<Vec<u8>>,
    /// What the messages hold besides.
    others: Vec<Vec<u8>>,
    length: usize,
    begun: bool,
}

impl Object<'_> {
    /// Goes on to the next message; `false` behind the last.
    fn advance(&mut self) -> Result<bool, Why> {
        let Some(message) = self.frames.next()? else {
            return Ok(false);
        };
        let Some(fields) = fields(&message) else {
            self.others.push(message);
            return Ok(true);
        };
        let begins = fields
            .iter()
            .all(|f| !matches!(f, Field::Number(WRITE_OFFSET, 1..)));
        if !self.begun && !begins {
            // It goes on with what another stream began.
            return Err(Why::Lost);
        }
        self.begun = true;
        let mut content = Vec::new();
        for field in &fields {
            match field {
                Field::Bytes(DATA, data) => {
                    for inner in self::fields(data).ok_or(Why::Broken("message of protocol buffers"))? {
                        match inner {
                            Field::Bytes(CONTENT, bytes) => content.extend_from_slice(bytes),
                            Field::Bytes(_, other) => self.keep(other)?,
                            _ => {}
                        }
                    }
                }
                Field::Bytes(_, other) => self.keep(other)?,
                _ => {}
            }
        }
        self.content = Cursor::new(content);
        Ok(true)
    }

    fn keep(&mut self, other: &[u8]) -> Result<(), Why> {
        self.length += other.len();
        if self.length > MOST_OTHERS {
            return Err(Why::TooLarge(MOST_OTHERS as u64));
        }
        // As a message of one field, so that text is read as text.
        let mut message = vec![0x0a];
        let mut length = other.len();
        while length >= 0x80 {
            message.push(length as u8 | 0x80);
            length >>= 7;
        }
        message.push(length as u8);
        message.extend_from_slice(other);
        self.others.push(message);
        Ok(())
    }
}

impl Read for Object<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.content.read(buffer)?;
            if read > 0 || buffer.is_empty() || !self.advance()? {
                return Ok(read);
            }
        }
    }
}
