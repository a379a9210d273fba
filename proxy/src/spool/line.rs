//! One line of a segment: how it is framed and how it is verified.

use std::io::Write as _;
use std::ops::Range;

const OPEN: &[u8] = b"{\"crc\":\"";
const CHECKSUM: Range<usize> = OPEN.len()..OPEN.len() + 8;
/// Where the checksummed part begins: after `{"crc":"xxxxxxxx",`.
const BODY: usize = CHECKSUM.end + 2;
const SEQ: &[u8] = b"\"seq\":";
const EVENT: &[u8] = b",\"event\":";

/// Upper bound of what framing adds: prefix, number, names, brace and newline.
const OVERHEAD: usize = BODY + SEQ.len() + 20 + EVENT.len() + 2;

/// Bytes a line of this event takes at most; what the spool's limit counts.
pub(super) const fn framed_len(event: &[u8]) -> u64 {
    (event.len() + OVERHEAD) as u64
}

/// Appends the line to `out`.
pub(super) fn frame(out: &mut Vec<u8>, seq: u64, event: &[u8]) {
    out.reserve(event.len() + OVERHEAD);
    let start = out.len();
    out.extend_from_slice(OPEN);
    out.extend_from_slice(b"00000000\",");
    out.extend_from_slice(SEQ);
    out.extend_from_slice(itoa(seq, &mut [0; 20]));
    out.extend_from_slice(EVENT);
    out.extend_from_slice(event);
    out.push(b'}');
    let checksum = hex(crc32c::crc32c(&out[start + BODY..]));
    out[start + CHECKSUM.start..start + CHECKSUM.end].copy_from_slice(&checksum);
    out.push(b'\n');
}

/// A line that verified.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verified {
    pub(super) seq: u64,
    /// The event's place in the bytes that were verified.
    pub(super) event: Range<usize>,
}

/// Verifies a line, given without its newline.
///
/// Where it begins with something else, what stands before the last line start
/// in it is skipped: a crash may have left a hole without a newline, with a good
/// line after it. The opening cannot occur inside a string of an event, since
/// JSON escapes its quotes.
pub(super) fn verify(line: &[u8]) -> Option<Verified> {
    let start = if line.starts_with(OPEN) {
        0
    } else {
        memchr::memmem::rfind(line, OPEN)?
    };
    let line = &line[start..];
    let body = line.get(BODY..)?;
    if line[CHECKSUM] != hex(crc32c::crc32c(body)) || &line[CHECKSUM.end..BODY] != b"\"," {
        return None;
    }
    let rest = body.strip_prefix(SEQ)?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let seq = std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
    let event = rest[digits..].strip_prefix(EVENT)?.strip_suffix(b"}")?;
    let end = start + line.len() - 1;
    Some(Verified {
        seq,
        event: end - event.len()..end,
    })
}

fn hex(checksum: u32) -> [u8; 8] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    std::array::from_fn(|i| DIGITS[(checksum >> (28 - 4 * i) & 0xf) as usize])
}

fn itoa(number: u64, buffer: &mut [u8; 20]) -> &[u8] {
    let mut rest = &mut buffer[..];
    // 20 digits hold every u64, so this cannot fail; a short write would fail
    // the line's own verification.
    if write!(rest, "{number}").is_err() {
        return b"";
    }
    let left = rest.len();
    &buffer[..20 - left]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(seq: u64, event: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        frame(&mut out, seq, event);
        assert!(out.len() as u64 <= framed_len(event));
        assert_eq!(out.pop(), Some(b'\n'));
        out
    }

    #[test]
    fn a_line_is_json_and_verifies() {
        let line = framed(17, br#"{"a":1}"#);
        let text = String::from_utf8(line.clone()).expect("UTF-8");
        assert_eq!(text, r#"{"crc":"451cafc9","seq":17,"event":{"a":1}}"#);
        let verified = verify(&line).expect("verifies");
        assert_eq!((verified.seq, &line[verified.event]), (17, &br#"{"a":1}"#[..]));
        assert!(verify(&framed(u64::MAX, b"{}")).is_some());
    }

    #[test]
    fn every_changed_byte_and_every_cut_shows() {
        let line = framed(4711, br#"{"who":"agents/coder"}"#);
        for at in 0..line.len() {
            assert_eq!(verify(&line[..at]), None, "cut at {at}");
            let mut changed = line.clone();
            changed[at] ^= 1;
            assert_eq!(verify(&changed), None, "changed at {at}");
        }
    }

    #[test]
    fn a_good_line_after_a_hole_is_found() {
        let mut holed = vec![0; 100];
        holed.extend(framed(3, br#"{"b":2}"#));
        let verified = verify(&holed).expect("verifies");
        assert_eq!(&holed[verified.event], br#"{"b":2}"#);
    }
}
