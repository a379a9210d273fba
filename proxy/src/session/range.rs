//! What a request for the session of an upload says it brings, by its headers: `Content-Range`, and the commands of the
//! other protocol of sessions (`X-Goog-Upload-Command`, `X-Goog-Upload-Offset`).
//!
//! Only one way of writing each is read. Whatever else there is, Google may take it for something, so it is unclear here.

use http::{HeaderMap, HeaderName, Method, header};

const COMMAND: HeaderName = HeaderName::from_static("x-goog-upload-command");
const OFFSET: HeaderName = HeaderName::from_static("x-goog-upload-offset");

/// What `Content-Range` says of an upload's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Range {
    /// There is none.
    Absent,
    /// `bytes FIRST-LAST/TOTAL`; either of the last two may be `*`.
    Bytes {
        /// The first byte's place.
        first: u64,
        /// The last byte's. Where it isn't told, the content ends with the request, as one of Google's own clients has
        /// it.
        last: Option<u64>,
        /// The length of the content.
        total: Option<u64>,
    },
    /// `bytes */TOTAL`: no byte.
    Nothing {
        /// The length of the content.
        total: Option<u64>,
    },
    /// Anything else.
    Unclear,
}

impl Range {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let value = match one(headers, &header::CONTENT_RANGE) {
            Ok(None) => return Self::Absent,
            Ok(Some(value)) => value,
            Err(Unclear) => return Self::Unclear,
        };
        Self::parse(value).unwrap_or(Self::Unclear)
    }

    fn parse(value: &str) -> Option<Self> {
        let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
        let total = number_or_star(total)?;
        if range == "*" {
            return Some(Self::Nothing { total });
        }
        let (first, last) = range.split_once('-')?;
        let (first, last) = (number(first)?, number_or_star(last)?);
        Some(Self::Bytes { first, last, total })
    }
}

/// What a request to a session brings of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Bytes of it.
    Bytes {
        /// The first byte's place.
        start: u64,
        /// Nothing follows.
        last: bool,
    },
    /// No byte; it may be the end, after so many bytes.
    Ends(u64),
    /// No byte, and nothing ends: it asks, or calls off.
    Asks,
    /// Nobody knows.
    Unclear,
}

impl Part {
    /// What a request with a body of this length brings.
    pub(crate) fn of(method: &Method, headers: &HeaderMap, length: u64) -> Self {
        if !matches!(*method, Method::PUT | Method::POST) {
            return if length == 0 { Self::Asks } else { Self::Unclear };
        }
        match (one(headers, &COMMAND), Range::of(headers)) {
            (Ok(None), range) if !headers.contains_key(OFFSET) => Self::ranged(range, length),
            (Ok(Some(commands)), Range::Absent) => Self::commanded(commands, headers, length),
            _ => Self::Unclear,
        }
    }

    fn ranged(range: Range, length: u64) -> Self {
        match range {
            Range::Absent => Self::Bytes { start: 0, last: true },
            Range::Nothing { total: None } if length == 0 => Self::Asks,
            // Where all of it has come, this is how a client says that it was all.
            Range::Nothing { total: Some(total) } if length == 0 => Self::Ends(total),
            Range::Bytes { first, last, total } => {
                let end = first.checked_add(length);
                let said = last.map_or(end, |last| last.checked_add(1));
                match (end, said, total) {
                    (Some(end), Some(said), None) if end == said && length > 0 => Self::Bytes {
                        start: first,
                        last: last.is_none(),
                    },
                    (Some(end), Some(said), Some(total)) if end == said && end <= total && length > 0 => {
                        Self::Bytes {
                            start: first,
                            last: last.is_none() || end == total,
                        }
                    }
                    _ => Self::Unclear,
                }
            }
            Range::Nothing { .. } | Range::Unclear => Self::Unclear,
        }
    }

    fn commanded(commands: &str, headers: &HeaderMap, length: u64) -> Self {
        let offset = match one(headers, &OFFSET) {
            Ok(offset) => offset.map(number),
            Err(Unclear) => return Self::Unclear,
        };
        let commands: Vec<&str> = commands.split(',').map(str::trim).collect();
        match (&commands[..], offset, length) {
            (["query" | "cancel"], _, 0) => Self::Asks,
            (["upload"], Some(Some(start)), _) => Self::Bytes { start, last: false },
            (["upload", "finalize"] | ["finalize"], Some(Some(end)), 0) => Self::Ends(end),
            (["upload", "finalize"], Some(Some(start)), _) => Self::Bytes { start, last: true },
            _ => Self::Unclear,
        }
    }
}

/// A header that stands more than once, or is no text.
struct Unclear;

fn one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Unclear> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| Unclear),
        (Some(_), Some(_)) => Err(Unclear),
    }
}

fn number_or_star(text: &str) -> Option<Option<u64>> {
    match text {
        "*" => Some(None),
        digits => number(digits).map(Some),
    }
}

/// Digits in their one spelling, and nothing that only a parser takes for a number.
fn number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let spelled = digits && !text.is_empty() && (text == "0" || !text.starts_with('0'));
    spelled.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn part(given: &[(&str, &str)], length: u64) -> Part {
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            let name = HeaderName::try_from(*name).expect("a name");
            headers.append(name, HeaderValue::try_from(*value).expect("a value"));
        }
        Part::of(&Method::PUT, &headers, length)
    }

    #[test]
    fn content_range_says_what_a_part_is() {
        let bytes = |start, last| Part::Bytes { start, last };
        let cases = [
            ("bytes 0-9/10", 10, bytes(0, true)),
            ("bytes 0-9/20", 10, bytes(0, false)),
            ("bytes 0-9/*", 10, bytes(0, false)),
            ("bytes 10-19/20", 10, bytes(10, true)),
            ("bytes 10-*/*", 10, bytes(10, true)),
            ("bytes 10-*/20", 10, bytes(10, true)),
            ("bytes */20", 0, Part::Ends(20)),
            ("bytes */*", 0, Part::Asks),
            ("bytes */20", 1, Part::Unclear),
            ("bytes 0-9/10", 11, Part::Unclear),
            ("bytes 0-9/9", 10, Part::Unclear),
            ("bytes 10-*/15", 10, Part::Unclear),
            ("bytes 0-0/1", 0, Part::Unclear),
            ("bytes 5-4/10", 0, Part::Unclear),
            ("bytes 010-19/20", 10, Part::Unclear),
            ("bytes=0-9/10", 10, Part::Unclear),
            (
                "bytes 18446744073709551615-18446744073709551615/*",
                1,
                Part::Unclear,
            ),
        ];
        for (range, length, expected) in cases {
            assert_eq!(part(&[("content-range", range)], length), expected, "{range}");
        }
        assert_eq!(part(&[], 10), bytes(0, true));
        let twice = [
            ("content-range", "bytes 0-9/10"),
            ("content-range", "bytes 0-9/*"),
        ];
        assert_eq!(part(&twice, 10), Part::Unclear);
    }

    /// Headers, the length of the body, and what that is.
    type Case<'c> = (&'c [(&'c str, &'c str)], u64, Part);

    #[test]
    fn commands_say_what_a_part_is() {
        let bytes = |start, last| Part::Bytes { start, last };
        let cases: [Case<'_>; 9] = [
            (
                &[("x-goog-upload-command", "upload"), ("x-goog-upload-offset", "5")],
                9,
                bytes(5, false),
            ),
            (
                &[
                    ("x-goog-upload-command", "upload, finalize"),
                    ("x-goog-upload-offset", "5"),
                ],
                9,
                bytes(5, true),
            ),
            (
                &[
                    ("x-goog-upload-command", "upload, finalize"),
                    ("x-goog-upload-offset", "5"),
                ],
                0,
                Part::Ends(5),
            ),
            (
                &[
                    ("x-goog-upload-command", "finalize"),
                    ("x-goog-upload-offset", "5"),
                ],
                0,
                Part::Ends(5),
            ),
            (&[("x-goog-upload-command", "query")], 0, Part::Asks),
            (&[("x-goog-upload-command", "upload")], 9, Part::Unclear),
            (&[("x-goog-upload-offset", "5")], 9, Part::Unclear),
            (&[("x-goog-upload-command", "finalize")], 9, Part::Unclear),
            (
                &[
                    ("x-goog-upload-command", "upload"),
                    ("x-goog-upload-offset", "5"),
                    ("content-range", "bytes 5-13/*"),
                ],
                9,
                Part::Unclear,
            ),
        ];
        for (headers, length, expected) in cases {
            assert_eq!(part(headers, length), expected, "{headers:?}");
        }
        assert_eq!(Part::of(&Method::DELETE, &HeaderMap::new(), 0), Part::Asks);
    }
}
