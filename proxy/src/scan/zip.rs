//! Zip archives, by their central directory and by the headers before each member, which have to agree.
//!
//! Most readers begin at the directory at the end; some go through the archive from its beginning and believe what
//! stands before each member. So the members of the directory have to fill the archive without a gap that could hold
//! another one, and each has to be described the same in both places.
//! Source: <https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT>.

mod directory;

use std::io::{self, BufReader, Read, SeekFrom};

use flate2::{Crc, bufread::DeflateDecoder};
use memchr::memmem;

use self::directory::{Directory, Entry};
use super::{
    archive,
    findings::Why,
    limits::Counted,
    place::Place,
    walk::{Depth, Seekable, Walker},
};

/// How the record at the end of an archive begins.
pub(super) const END: &[u8] = b"PK\x05\x06";
/// The longest record: 22 bytes and a comment.
pub(super) const LONGEST_END: usize = 22 + 0xffff;
/// How the header before a member begins.
const MEMBER: &[u8] = b"PK\x03\x04";

const BROKEN: Why = Why::Broken("zip archive");
const AMBIGUOUS: Why = Why::Ambiguous("zip archive");

/// Whether these bytes, up to the end of a content, are the record at the end of an archive.
pub(super) fn is_end(bytes: &[u8]) -> bool {
    bytes.starts_with(END)
        && u16_at(bytes, 20).is_some_and(|comment| 22 + usize::from(comment) == bytes.len())
}

/// Whether some reader would open a content as an archive: by its beginning, or by its end.
pub(super) fn is_zip(content: &mut dyn Seekable) -> Result<bool, Why> {
    content.seek(SeekFrom::Start(0))?;
    let mut head = Vec::new();
    content.take(4).read_to_end(&mut head)?;
    if head == MEMBER || head == END {
        return Ok(true);
    }
    let (_, tail) = tail(content)?;
    Ok(memmem::find_iter(&tail, END).any(|at| tail.get(at..).is_some_and(is_end)))
}

/// Searches all members, and what stands between and behind them.
pub(super) fn read(
    walker: &mut Walker<'_>,
    place: &Place,
    depth: Depth,
    file: &mut dyn Seekable,
) -> Result<(), Why> {
    let directory = match Directory::read(file, walker.limits().members) {
        Ok(directory) => directory,
        Err(why) => {
            // What isn't packed is found all the same.
            raw(walker, place, file, 0..u64::MAX)?;
            return Err(why);
        }
    };
    let checked = fills(walker, place, file, &directory);
    walker.note(place, checked);
    // Names, comments and other fields.
    raw(walker, place, file, directory.start..u64::MAX)?;
    for entry in &directory.entries {
        if walker.budget.is_spent() {
            return walker.budget.member();
        }
        walker.name(place, entry.name().as_bytes())?;
        let name = place.member(&entry.name());
        let searched = member(walker, &name, depth, file, entry);
        walker.note(&name, searched);
    }
    Ok(())
}

/// Checks that the members of the directory fill the archive, and searches what lies between them.
fn fills(
    walker: &mut Walker<'_>,
    place: &Place,
    file: &mut dyn Seekable,
    directory: &Directory,
) -> Result<(), Why> {
    let mut order: Vec<&Entry> = directory.entries.iter().collect();
    order.sort_by_key(|entry| entry.offset);
    let mut end = 0;
    for entry in order {
        if entry.offset < end {
            return Err(AMBIGUOUS);
        }
        gap(walker, place, file, end..entry.offset)?;
        end = entry.end(file)?;
    }
    if end > directory.start {
        return Err(AMBIGUOUS);
    }
    gap(walker, place, file, end..directory.start)
}

/// Searches bytes that belong to no member, and holds none either.
fn gap(
    walker: &mut Walker<'_>,
    place: &Place,
    file: &mut dyn Seekable,
    range: std::ops::Range<u64>,
) -> Result<(), Why> {
    if range.is_empty() {
        return Ok(());
    }
    file.seek(SeekFrom::Start(range.start))?;
    let mut source = file.take(range.end - range.start);
    let mut last = Vec::new();
    let mut piece = vec![0; 64 * 1024];
    loop {
        let read = source.read(&mut piece)?;
        if read == 0 {
            break;
        }
        last.extend_from_slice(piece.get(..read).unwrap_or_default());
        if memmem::find(&last, MEMBER).is_some() {
            return Err(AMBIGUOUS);
        }
        last.drain(..last.len().saturating_sub(3));
    }
    raw(walker, place, file, range)
}

/// Searches a piece of the archive as it is.
fn raw(
    walker: &mut Walker<'_>,
    place: &Place,
    file: &mut dyn Seekable,
    range: std::ops::Range<u64>,
) -> Result<(), Why> {
    file.seek(SeekFrom::Start(range.start))?;
    let mut text = super::text::Text::new(walker.detectors().scanner());
    let read = text.read(&mut file.take(range.end - range.start), walker.collector(), place);
    // That the end of an archive stands here is known.
    let ended = match text.finish(walker.collector(), place) {
        Err(Why::Ambiguous(_)) => Ok(()),
        other => other,
    };
    read.and(ended)
}

/// Searches a member.
fn member(
    walker: &mut Walker<'_>,
    place: &Place,
    depth: Depth,
    file: &mut dyn Seekable,
    entry: &Entry,
) -> Result<(), Why> {
    if entry.is_encrypted() {
        return Err(Why::Encrypted);
    }
    let start = entry.data_start(file)?;
    file.seek(SeekFrom::Start(start))?;
    let packed = file.take(entry.packed);
    match entry.method {
        0 => checked(walker, place, depth, packed, entry),
        8 => {
            let (counted, came) = Counted::new(packed);
            let mut decoder = DeflateDecoder::new(BufReader::new(counted));
            let budget = walker.budget.clone();
            let content = budget.expanding(&mut decoder, came, "zip archive");
            checked(walker, place, depth, content, entry)?;
            // More bytes than the decoder took could be something else to another reader.
            match decoder.total_in() == entry.packed || walker.budget.is_spent() {
                true => Ok(()),
                false => Err(AMBIGUOUS),
            }
        }
        _ => Err(Why::Feature("a zip compression other than deflate")),
    }
}

/// Searches the content of a member, which has to have the length and the checksum that the directory has.
fn checked<R: Read>(
    walker: &mut Walker<'_>,
    place: &Place,
    depth: Depth,
    content: R,
    entry: &Entry,
) -> Result<(), Why> {
    let mut content = Checked {
        content,
        crc: Crc::new(),
        length: 0,
    };
    archive::member(walker, place, depth, &mut content)?;
    let fits = content.length == entry.size && content.crc.sum() == entry.crc;
    match fits || walker.budget.is_spent() {
        true => Ok(()),
        false => Err(BROKEN),
    }
}

struct Checked<R> {
    content: R,
    crc: Crc,
    length: u64,
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.content.read(buffer)?;
        self.crc.update(buffer.get(..read).unwrap_or_default());
        self.length += read as u64;
        Ok(read)
    }
}

/// The last bytes of a content, and where they begin.
fn tail(content: &mut dyn Seekable) -> Result<(u64, Vec<u8>), Why> {
    let length = content.seek(SeekFrom::End(0))?;
    let start = length.saturating_sub(LONGEST_END as u64);
    content.seek(SeekFrom::Start(start))?;
    let mut tail = Vec::new();
    content.take(LONGEST_END as u64).read_to_end(&mut tail)?;
    Ok((start, tail))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().copied().map(u64::from_le_bytes)
}
