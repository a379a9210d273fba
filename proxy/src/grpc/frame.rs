//! Messages of a gRPC body: five bytes of head, then the message, perhaps compressed.
//!
//! Messages leave here plain: what goes on is framed anew, so both sides mean the same bytes.

use std::{io::Read, pin::Pin, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue};
use http_body::Body;
use http_body_util::BodyExt;

use crate::budget::{Account, Taken};

/// Messages up to this size take no memory that counts.
const SMALL: usize = 16 * 1024;
/// How long a message waits for memory.
const ROOM_WITHIN: Duration = Duration::from_secs(5);
/// Bytes before a message: whether it is compressed, and its length.
const HEAD: usize = 5;

/// Why a body holds no messages that could be passed on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A message over the cap, before or after it was unpacked.
    #[error("a message has more than {0} bytes")]
    TooLarge(usize),
    /// It ends within a message.
    #[error("the body ends within a message")]
    Truncated,
    /// The first byte of a message is neither 0 nor 1.
    #[error("a message begins with {0:#04x}, and only 0 and 1 are known")]
    Flag(u8),
    /// It is compressed, and nothing says how.
    #[error("a message is compressed, and grpc-encoding does not say how")]
    Unannounced,
    /// Compressed in a way that is not known here.
    #[error("messages are compressed with {0:?}; use gzip, deflate or none")]
    Coding(String),
    /// It cannot be unpacked.
    #[error("a message cannot be unpacked")]
    Packed,
    /// The body broke off.
    #[error("the body broke off: {0}")]
    BrokeOff(String),
    /// All memory for messages is taken.
    #[error("there is no memory for a message of {0} bytes now; make the call again")]
    NoRoom(usize),
}

/// How messages of one direction are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// Not at all.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 1950.
    Deflate,
}

impl Coding {
    /// What `grpc-encoding` says.
    ///
    /// # Errors
    /// [`FrameError::Coding`] for another one, and where it is said twice.
    pub fn of(headers: &HeaderMap) -> Result<Self, FrameError> {
        let mut values = headers.get_all("grpc-encoding").iter();
        let unknown =
            |value: &HeaderValue| FrameError::Coding(String::from_utf8_lossy(value.as_bytes()).into());
        match (values.next(), values.next()) {
            (None, _) => Ok(Self::Identity),
            (Some(one), None) => match one.as_bytes() {
                b"identity" => Ok(Self::Identity),
                b"gzip" => Ok(Self::Gzip),
                b"deflate" => Ok(Self::Deflate),
                _ => Err(unknown(one)),
            },
            (Some(_), Some(second)) => Err(unknown(second)),
        }
    }

    fn unpack(self, packed: &[u8], cap: usize) -> Result<Bytes, FrameError> {
        let read = |reader: &mut dyn Read| {
            let mut plain = Vec::new();
            // One more than there is room for shows that there is more.
            let most = u64::try_from(cap).unwrap_or(u64::MAX).saturating_add(1);
            reader
                .take(most)
                .read_to_end(&mut plain)
                .map_err(|_| FrameError::Packed)?;
            match plain.len() > cap {
                true => Err(FrameError::TooLarge(cap)),
                false => Ok(Bytes::from(plain)),
            }
        };
        match self {
            Self::Identity => Err(FrameError::Unannounced),
            Self::Gzip => read(&mut flate2::read::MultiGzDecoder::new(packed)),
            Self::Deflate => read(&mut flate2::read::ZlibDecoder::new(packed)),
        }
    }
}

/// Reads messages off a body.
pub struct Messages<B> {
    body: Pin<Box<B>>,
    coding: Coding,
    cap: usize,
    buffer: BytesMut,
    /// What messages take their memory from.
    account: Account,
    /// What the message at hand took.
    taken: Option<(usize, Taken)>,
    /// The trailers, once they came.
    trailers: Option<HeaderMap>,
    ended: bool,
}

impl<B> std::fmt::Debug for Messages<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Messages")
            .field("coding", &self.coding)
            .field("buffered", &self.buffer.len())
            .finish_non_exhaustive()
    }
}

impl<B> Messages<B>
where
    B: Body<Data = Bytes>,
    B::Error: std::fmt::Display,
{
    /// Reads messages of at most `cap` bytes.
    pub fn new(body: B, coding: Coding, cap: usize, account: Account) -> Self {
        Self {
            body: Box::pin(body),
            coding,
            cap,
            buffer: BytesMut::new(),
            account,
            taken: None,
            trailers: None,
            ended: false,
        }
    }

    /// The next message, unpacked; `None` at the end.
    ///
    /// # Errors
    /// [`FrameError`]; nothing more can be read then.
    pub async fn next(&mut self) -> Result<Option<Bytes>, FrameError> {
        // Whoever asks for the next one is done with the one before.
        self.taken = None;
        loop {
            if let Some(message) = self.take()? {
                // Unpacked, it may be larger than what came.
                if message.len() > SMALL {
                    self.make_room(message.len()).await?;
                }
                return Ok(Some(message));
            }
            if let Some(length) = self.length()?.filter(|l| *l > SMALL) {
                self.make_room(length).await?;
            }
            if self.ended {
                return match self.buffer.is_empty() {
                    true => Ok(None),
                    false => Err(FrameError::Truncated),
                };
            }
            match self.body.frame().await {
                None => self.ended = true,
                Some(Err(error)) => return Err(FrameError::BrokeOff(error.to_string())),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.buffer.extend_from_slice(&data),
                    Err(frame) => {
                        self.trailers = frame.into_trailers().ok();
                        self.ended = true;
                    }
                },
            }
        }
    }

    /// The trailers that ended the body.
    pub fn trailers(&mut self) -> Option<HeaderMap> {
        self.trailers.take()
    }

    /// The length that the next message says it has.
    fn length(&self) -> Result<Option<usize>, FrameError> {
        let Some(&[flag, a, b, c, d]) = self.buffer.first_chunk::<HEAD>() else {
            return Ok(None);
        };
        if flag > 1 {
            return Err(FrameError::Flag(flag));
        }
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        match length > self.cap {
            true => Err(FrameError::TooLarge(self.cap)),
            false => Ok(Some(length)),
        }
    }

    async fn make_room(&mut self, length: usize) -> Result<(), FrameError> {
        if self.taken.as_ref().is_some_and(|(taken, _)| *taken >= length) {
            return Ok(());
        }
        let taken = self.account.take(length, ROOM_WITHIN).await;
        self.taken = Some((length, taken.ok_or(FrameError::NoRoom(length))?));
        Ok(())
    }

    fn take(&mut self) -> Result<Option<Bytes>, FrameError> {
        let (Some(length), Some(&flag)) = (self.length()?, self.buffer.first()) else {
            return Ok(None);
        };
        if self.buffer.len() < HEAD + length {
            return Ok(None);
        }
        let mut message = self.buffer.split_to(HEAD + length).freeze();
        let message = message.split_off(HEAD);
        match flag {
            0 => Ok(Some(message)),
            _ => self.coding.unpack(&message, self.cap).map(Some),
        }
    }
}

/// A message with its head, uncompressed.
pub fn framed(message: &[u8]) -> Bytes {
    let mut whole = BytesMut::with_capacity(HEAD + message.len());
    whole.put_u8(0);
    // Messages are capped far below 4 GiB.
    whole.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    whole.put_slice(message);
    whole.freeze()
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, io::Write};

    use futures::stream;
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;

    use crate::budget::Budget;

    const CAP: usize = 1000;

    /// All messages of a body that arrives in chunks of this size.
    async fn read(bytes: &[u8], chunk: usize, coding: Coding) -> Result<Vec<Vec<u8>>, FrameError> {
        let chunks: Vec<_> = bytes
            .chunks(chunk)
            .map(|c| Ok::<_, Infallible>(Frame::data(Bytes::copy_from_slice(c))))
            .collect();
        let account = Budget::new(1 << 20, CAP).account("agents/coder");
        let mut messages = Messages::new(StreamBody::new(stream::iter(chunks)), coding, CAP, account);
        let mut all = Vec::new();
        while let Some(message) = messages.next().await? {
            all.push(message.to_vec());
        }
        Ok(all)
    }

    fn packed(plain: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(plain).expect("memory");
        let packed = encoder.finish().expect("memory");
        let mut whole = vec![1];
        whole.extend((packed.len() as u32).to_be_bytes());
        whole.extend(packed);
        whole
    }

    #[tokio::test]
    async fn messages_come_whole_however_they_are_cut() {
        let mut body = framed(b"one").to_vec();
        body.extend(framed(b""));
        body.extend(packed(b"three"));
        let wanted = vec![b"one".to_vec(), Vec::new(), b"three".to_vec()];
        for chunk in [1, 2, 4, 5, 6, 7, 1000] {
            assert_eq!(
                read(&body, chunk, Coding::Gzip).await,
                Ok(wanted.clone()),
                "{chunk}"
            );
        }
    }

    #[tokio::test]
    async fn what_is_no_message_is_named() {
        let bomb = packed(&vec![0; CAP + 1]);
        assert!(bomb.len() < 100);
        let cases: [(&str, Vec<u8>, Coding, FrameError); 8] = [
            (
                "a flag nobody knows",
                vec![2, 0, 0, 0, 0],
                Coding::Gzip,
                FrameError::Flag(2),
            ),
            (
                "gRPC-Web's trailers",
                vec![0x80, 0, 0, 0, 0],
                Coding::Gzip,
                FrameError::Flag(0x80),
            ),
            ("half a head", vec![0, 0, 0], Coding::Gzip, FrameError::Truncated),
            (
                "half a message",
                vec![0, 0, 0, 0, 2, 1],
                Coding::Gzip,
                FrameError::Truncated,
            ),
            (
                "too long",
                vec![0, 0, 0, 4, 0],
                Coding::Gzip,
                FrameError::TooLarge(CAP),
            ),
            ("a bomb", bomb, Coding::Gzip, FrameError::TooLarge(CAP)),
            (
                "unannounced",
                packed(b"x"),
                Coding::Identity,
                FrameError::Unannounced,
            ),
            (
                "not packed at all",
                vec![1, 0, 0, 0, 1, 7],
                Coding::Gzip,
                FrameError::Packed,
            ),
        ];
        for (name, body, coding, error) in cases {
            assert_eq!(read(&body, 3, coding).await, Err(error), "{name}");
        }
    }

    #[test]
    fn codings_are_read_from_one_header() {
        let of = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("grpc-encoding", HeaderValue::from_static(value));
            }
            Coding::of(&headers)
        };
        assert_eq!(of(&[]), Ok(Coding::Identity));
        assert_eq!(of(&["gzip"]), Ok(Coding::Gzip));
        assert_eq!(of(&["deflate"]), Ok(Coding::Deflate));
        assert_eq!(of(&["snappy"]), Err(FrameError::Coding("snappy".to_owned())));
        assert_eq!(
            of(&["gzip", "identity"]),
            Err(FrameError::Coding("identity".to_owned()))
        );
    }
}
