//! What a content is, by its first bytes.

/// Bytes that are looked at: the header of a tar archive.
pub(super) const HEAD: usize = 512;

/// What the first bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sniff {
    Gzip,
    Zstd,
    Zip,
    Tar,
    /// Text in UTF-16: big-endian, or little-endian.
    Utf16 {
        big: bool,
    },
    /// A format that holds other contents and isn't opened.
    Closed(&'static str),
    /// Perhaps JSON.
    Braces,
    Other,
}

/// Formats that aren't opened: what they begin with.
const CLOSED: [(&[u8], &str); 9] = [
    (b"\xfd7zXZ\0", "xz"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"Rar!\x1a\x07", "rar"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"LZIP", "lzip"),
    (b"MSCF\0\0\0\0", "cab"),
    (b"xar!\0\x1c", "xar"),
    (b"hsqs", "squashfs"),
    (b"070701", "cpio"),
];

impl Sniff {
    /// Looks at the first [`HEAD`] bytes, or fewer where there are no more.
    pub(super) fn of(head: &[u8]) -> Self {
        match head {
            // Deflate is the only method that there is; the upper flags must be none (RFC 1952, section 2.3.1).
            [0x1f, 0x8b, 8, flags, ..] if flags & 0xe0 == 0 => return Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => return Self::Zstd,
            // A frame that a decoder skips (RFC 8878, section 3.1.2).
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => return Self::Zstd,
            [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => return Self::Zip,
            [0xfe, 0xff, ..] => return Self::Utf16 { big: true },
            [0xff, 0xfe, ..] => return Self::Utf16 { big: false },
            // The size of blocks, then the magic number of a block or of the end.
            [b'B', b'Z', b'h', b'1'..=b'9', rest @ ..]
                if rest.starts_with(b"1AY&SY") || rest.starts_with(b"\x17\x72\x45\x38\x50\x90") =>
            {
                return Self::Closed("bzip2");
            }
            _ => {}
        }
        if let Some((_, name)) = CLOSED.iter().find(|(magic, _)| head.starts_with(magic)) {
            return Self::Closed(name);
        }
        if super::tar::is_header(head) {
            return Self::Tar;
        }
        match head.trim_ascii_start().first() {
            Some(b'{' | b'[') => Self::Braces,
            _ => Self::Other,
        }
    }
}
