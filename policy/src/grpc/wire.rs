//! Reading single fields out of a message, straight from the wire format of protocol buffers.
//!
//! Only the fields that name something are looked at; the rest is skipped by its length. Decoders differ about
//! what is malformed (overlong numbers, groups, a field with another wire type) and about a field that is
//! given twice, so each of those is refused. Nothing here knows messages or methods.
//! Source: <https://protobuf.dev/programming-guides/encoding/>.

use smallvec::SmallVec;

/// Fields that one scan can look for.
pub(super) const MOST_FIELDS: usize = 64;
/// The largest field number that the format has.
const LARGEST_NUMBER: u64 = (1 << 29) - 1;

/// Where a field stands: field numbers from the outermost message inwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) path: SmallVec<[u32; 4]>,
    /// A whole number that is not a string: `int64 project_number`.
    pub(super) number: bool,
}

impl Field {
    /// Reads `2.1`, or `2.1#` for a number.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (path, number) = match text.strip_suffix('#') {
            Some(path) => (path, true),
            None => (text, false),
        };
        let path = path.split('.').map(|n| n.parse().ok()).collect::<Option<_>>()?;
        Some(Self { path, number })
    }
}

impl std::fmt::Display for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, number) in self.path.iter().enumerate() {
            let dot = if at == 0 { "" } else { "." };
            write!(f, "{dot}{number}")?;
        }
        Ok(())
    }
}

/// In which way a message is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Malformed {
    /// The bytes end inside a field.
    #[error("the message ends inside a field")]
    Truncated,
    /// A number of more than 64 bits, or with more bytes than it needs.
    #[error("a tag, length or number of the message is longer than it may be")]
    Varint,
    /// Field number 0, or one above 2^29 - 1.
    #[error("the message has a field whose number is none")]
    FieldNumber,
    /// Groups, or a wire type that does not exist.
    #[error("the message has a group or an unknown wire type")]
    WireType,
    /// A field that names something, with the wire type of another type.
    #[error("a field that names a resource has the wire type of another type")]
    OtherType,
    /// A name that is no text.
    #[error("a name in the message is not UTF-8")]
    NotUtf8,
    /// The same field twice, with different values.
    #[error("a field that names a resource is given twice with different values")]
    Repeated,
}

/// Values in the order of the fields that were asked for. What is empty was not given, as in proto3.
pub(super) type Values<'m> = SmallVec<[Option<Value<'m>>; 4]>;

/// A field's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'m> {
    Text(&'m str),
    Number(u64),
}

impl Value<'_> {
    fn is_default(&self) -> bool {
        matches!(self, Self::Text("") | Self::Number(0))
    }
}

/// Reads the fields from a message.
pub(super) fn scan<'m>(message: &'m [u8], fields: &[Field]) -> Result<Values<'m>, Malformed> {
    let mut scan = Scan {
        fields,
        values: SmallVec::from_elem(None, fields.len()),
    };
    let all = fields
        .iter()
        .take(MOST_FIELDS)
        .enumerate()
        .fold(0, |set, (at, _)| set | 1 << at);
    scan.message(message, 0, all)?;
    let given = |value: Option<Value<'m>>| value.filter(|v| !v.is_default());
    Ok(scan.values.into_iter().map(given).collect())
}

struct Scan<'f, 'm> {
    fields: &'f [Field],
    values: Values<'m>,
}

impl<'m> Scan<'_, 'm> {
    /// Reads one message at a depth; `active` are the fields that lead here, as bits.
    fn message(&mut self, bytes: &'m [u8], depth: usize, active: u64) -> Result<(), Malformed> {
        let mut reader = Reader { left: bytes };
        while !reader.left.is_empty() {
            let (number, wire) = reader.tag()?;
            let payload = reader.payload(wire)?;
            let mut inner = 0;
            for (at, field) in self.fields.iter().enumerate().take(MOST_FIELDS) {
                if active >> at & 1 == 0 || field.path.get(depth) != Some(&number) {
                    continue;
                }
                if depth + 1 == field.path.len() {
                    self.leaf(at, field.number, payload)?;
                } else {
                    inner |= 1 << at;
                }
            }
            if inner != 0 {
                let Payload::Bytes(bytes) = payload else {
                    return Err(Malformed::OtherType);
                };
                self.message(bytes, depth + 1, inner)?;
            }
        }
        Ok(())
    }

    fn leaf(&mut self, at: usize, number: bool, payload: Payload<'m>) -> Result<(), Malformed> {
        let value = match payload {
            Payload::Bytes(bytes) if !number => {
                Value::Text(std::str::from_utf8(bytes).map_err(|_| Malformed::NotUtf8)?)
            }
            Payload::Varint(value) if number => Value::Number(value),
            _ => return Err(Malformed::OtherType),
        };
        let Some(slot) = self.values.get_mut(at) else {
            return Ok(());
        };
        if slot.is_some_and(|other| other != value) {
            return Err(Malformed::Repeated);
        }
        *slot = Some(value);
        Ok(())
    }
}

/// What a field holds, by its wire type.
#[derive(Debug, Clone, Copy)]
enum Payload<'m> {
    Varint(u64),
    Bytes(&'m [u8]),
    Fixed,
}

struct Reader<'m> {
    left: &'m [u8],
}

impl<'m> Reader<'m> {
    fn tag(&mut self) -> Result<(u32, u8), Malformed> {
        let tag = self.minimal()?;
        let number = tag >> 3;
        if number == 0 || number > LARGEST_NUMBER {
            return Err(Malformed::FieldNumber);
        }
        let number = u32::try_from(number).map_err(|_| Malformed::FieldNumber)?;
        Ok((number, (tag & 7) as u8))
    }

    fn payload(&mut self, wire: u8) -> Result<Payload<'m>, Malformed> {
        Ok(match wire {
            0 => Payload::Varint(self.varint()?.0),
            1 => {
                self.take(8)?;
                Payload::Fixed
            }
            2 => {
                let length = usize::try_from(self.minimal()?).map_err(|_| Malformed::Truncated)?;
                Payload::Bytes(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                Payload::Fixed
            }
            _ => return Err(Malformed::WireType),
        })
    }

    fn take(&mut self, length: usize) -> Result<&'m [u8], Malformed> {
        let (taken, left) = self.left.split_at_checked(length).ok_or(Malformed::Truncated)?;
        self.left = left;
        Ok(taken)
    }

    /// A number in as few bytes as it needs: how long a tag may be, decoders differ about.
    fn minimal(&mut self) -> Result<u64, Malformed> {
        match self.varint()? {
            (value, true) => Ok(value),
            (_, false) => Err(Malformed::Varint),
        }
    }

    /// A number, and whether it has no byte too many.
    fn varint(&mut self) -> Result<(u64, bool), Malformed> {
        let mut value = 0u64;
        for at in 0..10u32 {
            let (byte, left) = self.left.split_first().ok_or(Malformed::Truncated)?;
            self.left = left;
            let bits = u64::from(byte & 0x7f);
            if at == 9 && *byte > 1 {
                return Err(Malformed::Varint);
            }
            value |= bits << (7 * at);
            if byte & 0x80 == 0 {
                return Ok((value, at == 0 || bits != 0));
            }
        }
        Err(Malformed::Varint)
    }
}
