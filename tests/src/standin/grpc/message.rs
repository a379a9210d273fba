//! Protocol Buffers, the wire format alone: fields by their numbers. What a number means is the caller's to know.

use bytes::Bytes;

use super::status::Status;

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value<'a> {
    /// A varint or a fixed number.
    Number(u64),
    /// Text, bytes, a message, or packed numbers.
    Bytes(&'a [u8]),
}

/// A message, taken apart.
#[derive(Debug)]
pub(super) struct Message<'a>(Vec<(u64, Value<'a>)>);

impl<'a> Message<'a> {
    /// Reads all fields. Groups, which Google's APIs do not use, are an error.
    pub(super) fn parse(mut bytes: &'a [u8]) -> Result<Self, Status> {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let key = varint(&mut bytes)?;
            let value = match key & 7 {
                0 => Value::Number(varint(&mut bytes)?),
                1 => Value::Number(fixed(take(&mut bytes, 8)?)),
                2 => {
                    let length = usize::try_from(varint(&mut bytes)?).map_err(|_| broken())?;
                    Value::Bytes(take(&mut bytes, length)?)
                }
                5 => Value::Number(fixed(take(&mut bytes, 4)?)),
                _ => return Err(broken()),
            };
            fields.push((key >> 3, value));
        }
        Ok(Self(fields))
    }

    /// All values of a field of text, bytes or messages.
    pub(super) fn all(&self, number: u64) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().filter_map(move |(known, value)| match value {
            Value::Bytes(bytes) if *known == number => Some(*bytes),
            _ => None,
        })
    }

    /// The last value of such a field; empty where there is none.
    pub(super) fn bytes(&self, number: u64) -> &'a [u8] {
        self.all(number).last().unwrap_or(&[])
    }

    /// The same as text.
    pub(super) fn text(&self, number: u64) -> Result<&'a str, Status> {
        std::str::from_utf8(self.bytes(number)).map_err(|_| broken())
    }

    /// The same as a message.
    pub(super) fn message(&self, number: u64) -> Result<Message<'a>, Status> {
        Message::parse(self.bytes(number))
    }

    /// The last value of a field of a number; 0 where there is none.
    pub(super) fn number(&self, number: u64) -> u64 {
        let found = self.0.iter().rev().find_map(|(known, value)| match value {
            Value::Number(value) if *known == number => Some(*value),
            _ => None,
        });
        found.unwrap_or(0)
    }
}

/// A message that is being put together.
#[derive(Debug, Default)]
pub(super) struct Builder(Vec<u8>);

impl Builder {
    pub(super) fn bytes(mut self, number: u64, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        push_varint(&mut self.0, number << 3 | 2);
        push_varint(&mut self.0, value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    pub(super) fn message(self, number: u64, value: Self) -> Self {
        self.bytes(number, value.0)
    }

    pub(super) fn number(mut self, number: u64, value: u64) -> Self {
        push_varint(&mut self.0, number << 3);
        push_varint(&mut self.0, value);
        self
    }

    pub(super) fn fixed32(mut self, number: u64, value: u32) -> Self {
        push_varint(&mut self.0, number << 3 | 5);
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub(super) fn finish(self) -> Bytes {
        Bytes::from(self.0)
    }
}

fn broken() -> Status {
    Status::invalid("the message cannot be read")
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], Status> {
    let (taken, rest) = bytes.split_at_checked(length).ok_or_else(broken)?;
    *bytes = rest;
    Ok(taken)
}

fn fixed(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |value, byte| value << 8 | u64::from(*byte))
}

fn varint(bytes: &mut &[u8]) -> Result<u64, Status> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = take(bytes, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(broken())
}

fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_built_is_read_back() {
        let inner = Builder::default().bytes(1, "text");
        let bytes = Builder::default()
            .number(1, 300)
            .message(2, inner)
            .fixed32(3, 0x0102_0304)
            .bytes(2, "")
            .finish();
        // 300 as protobuf's own documentation encodes it.
        assert_eq!(bytes[..3], [0x08, 0xac, 0x02]);
        let message = Message::parse(&bytes).expect("is a message");
        assert_eq!((message.number(1), message.number(3)), (300, 0x0102_0304));
        assert_eq!(
            message.all(2).collect::<Vec<_>>(),
            [b"\x0a\x04text".as_slice(), b""]
        );
        assert_eq!(message.bytes(4), [0_u8; 0]);
    }

    #[test]
    fn what_is_cut_off_is_refused() {
        for bytes in [&[0x08][..], &[0x0a, 2, 1], &[0x0b], &[0x0d, 1, 2], &[0x80; 11]] {
            assert!(Message::parse(bytes).is_err(), "{bytes:?}");
        }
    }
}
