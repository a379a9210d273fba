//! What an object holds: bytes, a repeating pattern of any length, or only the digests of
//! an upload that was too long to keep.

use std::io;

use anyhow::Result;
use bytes::{Bytes, BytesMut};
use futures::stream;
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE};
use http::{HeaderValue, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use md5::{Digest as _, Md5};

use crate::standin::answer::{self, Answer};
use crate::standin::call::Payload;

/// Uploads up to this size are kept whole.
const KEEP: usize = 16 * 1024 * 1024;
/// The period of generated content, and the size of the chunks it is sent in.
const PERIOD: usize = 64 * 1024;

/// The content of an object.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// Kept as it came.
    Inline(Bytes),
    /// One block repeated up to a length.
    Pattern { block: Bytes, length: u64, crc32c: u32 },
    /// Received and hashed, not kept.
    Digest { length: u64, crc32c: u32, md5: Md5Sum },
}

/// An MD5 digest, which clients compare after an upload.
pub(super) type Md5Sum = [u8; 16];

impl Content {
    pub(super) fn inline(bytes: impl Into<Bytes>) -> Self {
        Self::Inline(bytes.into())
    }

    /// Pseudo-random bytes, the same at every start, that repeat every 64 KiB.
    pub(super) fn pattern(length: u64) -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut block = Vec::with_capacity(PERIOD);
        while block.len() < PERIOD {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            block.extend_from_slice(&state.to_le_bytes());
        }
        let block = Bytes::from(block);
        let mut crc = 0;
        let mut left = length;
        let one = crc32c::crc32c(&block);
        while left >= PERIOD as u64 {
            crc = crc32c::crc32c_combine(crc, one, PERIOD);
            left -= PERIOD as u64;
        }
        let tail = usize::try_from(left).unwrap_or(0);
        let crc32c = crc32c::crc32c_append(crc, &block[..tail]);
        Self::Pattern {
            block,
            length,
            crc32c,
        }
    }

    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Pattern { length, .. } | Self::Digest { length, .. } => *length,
        }
    }

    pub(super) fn crc32c(&self) -> u32 {
        match self {
            Self::Inline(bytes) => crc32c::crc32c(bytes),
            Self::Pattern { crc32c, .. } | Self::Digest { crc32c, .. } => *crc32c,
        }
    }

    /// Absent for generated content, as Google has none for composed objects.
    pub(super) fn md5(&self) -> Option<Md5Sum> {
        match self {
            Self::Inline(bytes) => Some(Md5::digest(bytes).into()),
            Self::Digest { md5, .. } => Some(*md5),
            Self::Pattern { .. } => None,
        }
    }

    /// Bytes from an offset on, at most so many, or fewer; none at the end. `None` where they are not kept.
    pub(super) fn chunk(&self, at: u64, most: usize) -> Option<Bytes> {
        let left = usize::try_from(self.len().saturating_sub(at))
            .unwrap_or(usize::MAX)
            .min(most);
        match self {
            Self::Inline(bytes) => {
                let start = usize::try_from(at).ok()?.min(bytes.len());
                Some(bytes.slice(start..start + left))
            }
            Self::Pattern { block, .. } => {
                let start = usize::try_from(at % PERIOD as u64).ok()?;
                Some(block.slice(start..(start + left).min(PERIOD)))
            }
            Self::Digest { .. } => None,
        }
    }

    /// All of it, or the range asked for, as a stream.
    pub(super) fn send(&self, range: Option<&str>) -> Answer {
        let total = self.len();
        let (start, end) = match range.map(|range| parse_range(range, total)) {
            None => (0, total),
            Some(Some(range)) => range,
            Some(None) => {
                return answer::error(
                    StatusCode::RANGE_NOT_SATISFIABLE,
                    "The requested range cannot be satisfied.",
                );
            }
        };
        let body = match self {
            Self::Inline(bytes) => {
                let slice = |at: u64| usize::try_from(at).unwrap_or(bytes.len());
                answer::full(bytes.slice(slice(start)..slice(end)))
            }
            Self::Pattern { block, .. } => pattern_body(block.clone(), start, end),
            Self::Digest { .. } => {
                let message = "The stand-in keeps no content of an upload of this size.";
                return answer::error(StatusCode::NOT_IMPLEMENTED, message);
            }
        };
        let mut answer = Response::new(body);
        answer
            .headers_mut()
            .insert(CONTENT_LENGTH, HeaderValue::from(end - start));
        answer
            .headers_mut()
            .insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        if range.is_some() {
            *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
            let text = format!("bytes {start}-{}/{total}", end.saturating_sub(1));
            if let Ok(value) = HeaderValue::from_str(&text) {
                answer.headers_mut().insert(CONTENT_RANGE, value);
            }
        }
        answer
    }
}

/// Takes bytes in as they come; keeps them while they are few.
#[derive(Debug)]
pub(super) struct Receiver {
    kept: Option<BytesMut>,
    length: u64,
    crc32c: u32,
    md5: Md5,
}

impl Receiver {
    pub(super) fn new() -> Self {
        Self {
            kept: Some(BytesMut::new()),
            length: 0,
            crc32c: 0,
            md5: Md5::new(),
        }
    }

    pub(super) fn push(&mut self, chunk: &[u8]) {
        self.length += chunk.len() as u64;
        self.crc32c = crc32c::crc32c_append(self.crc32c, chunk);
        self.md5.update(chunk);
        match &mut self.kept {
            Some(kept) if kept.len() + chunk.len() <= KEEP => kept.extend_from_slice(chunk),
            _ => self.kept = None,
        }
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn finish(self) -> Content {
        match self.kept {
            Some(kept) => Content::Inline(kept.freeze()),
            None => Content::Digest {
                length: self.length,
                crc32c: self.crc32c,
                md5: self.md5.finalize().into(),
            },
        }
    }
}

/// The rest of a request's body as content.
pub(super) async fn receive(payload: &mut Payload) -> Result<Content> {
    let mut receiver = Receiver::new();
    while let Some(chunk) = payload.next().await? {
        receiver.push(&chunk);
    }
    Ok(receiver.finish())
}

fn pattern_body(block: Bytes, start: u64, end: u64) -> answer::Body {
    let chunks = stream::unfold(start, move |at| {
        let block = block.clone();
        async move {
            if at >= end {
                return None;
            }
            let offset = usize::try_from(at % PERIOD as u64).unwrap_or(0);
            let left = usize::try_from(end - at).unwrap_or(usize::MAX);
            let stop = PERIOD.min(offset.saturating_add(left));
            let chunk = block.slice(offset..stop);
            let next = at + chunk.len() as u64;
            Some((Ok::<_, io::Error>(Frame::data(chunk)), next))
        }
    });
    StreamBody::new(chunks).boxed_unsync()
}

/// `bytes=a-b`, `bytes=a-` or `bytes=-n`, as a half-open range; `None` where it does not fit.
fn parse_range(range: &str, total: u64) -> Option<(u64, u64)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    if first.is_empty() {
        let suffix: u64 = last.parse().ok()?;
        return Some((total.saturating_sub(suffix), total));
    }
    let start: u64 = first.parse().ok()?;
    let end = if last.is_empty() {
        total
    } else {
        last.parse::<u64>().ok()?.saturating_add(1).min(total)
    };
    (start < end || (start == 0 && total == 0)).then_some((start, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_rfc_9110_says() {
        let cases = [
            ("bytes=0-9", Some((0, 10))),
            ("bytes=90-", Some((90, 100))),
            ("bytes=-5", Some((95, 100))),
            ("bytes=50-500", Some((50, 100))),
            ("bytes=100-", None),
            ("bytes=9-5", None),
            ("items=0-9", None),
        ];
        for (range, expected) in cases {
            assert_eq!(parse_range(range, 100), expected, "{range}");
        }
    }

    #[tokio::test]
    async fn a_pattern_is_one_content_however_it_is_cut() {
        let content = Content::pattern(200_000);
        let whole = content
            .send(None)
            .into_body()
            .collect()
            .await
            .expect("streams")
            .to_bytes();
        assert_eq!((whole.len(), crc32c::crc32c(&whole)), (200_000, content.crc32c()));
        let part = content
            .send(Some("bytes=65530-131080"))
            .into_body()
            .collect()
            .await
            .expect("streams")
            .to_bytes();
        assert_eq!(part, whole.slice(65530..131_081));
    }

    #[test]
    fn long_uploads_leave_only_their_digest() {
        let mut receiver = Receiver::new();
        let chunk = vec![7_u8; KEEP / 2 + 1];
        receiver.push(&chunk);
        receiver.push(&chunk);
        let content = receiver.finish();
        assert!(matches!(content, Content::Digest { length, .. } if length == 2 * chunk.len() as u64));
    }
}
