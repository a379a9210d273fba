//! The central directory of a zip archive, and the header before each member.

use std::io::{BufReader, Read, SeekFrom};

use memchr::memmem;

use super::{AMBIGUOUS, BROKEN, END, MEMBER, is_end, tail, u16_at, u32_at, u64_at};
use crate::scan::{findings::Why, walk::Seekable};

/// Bytes that the directory may have at most: names and other fields of many members.
const LONGEST: u64 = 64 << 20;
/// The field that has numbers of 64 bits.
const ZIP64: u16 = 1;
/// Flags: encrypted, in three ways, and a record behind the data.
const ENCRYPTED: u16 = 1 | 1 << 6 | 1 << 13;
const DESCRIPTOR: u16 = 1 << 3;

/// The members of an archive.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) entries: Vec<Entry>,
    /// Where the directory begins.
    pub(super) start: u64,
}

/// A member.
#[derive(Debug)]
pub(super) struct Entry {
    name: Vec<u8>,
    flags: u16,
    pub(super) method: u16,
    pub(super) crc: u32,
    pub(super) packed: u64,
    pub(super) size: u64,
    /// Where the header before it begins.
    pub(super) offset: u64,
}

/// What the record at the end says.
#[derive(Debug, PartialEq, Eq)]
struct End {
    entries: u64,
    size: u64,
    start: u64,
}

impl Directory {
    /// Reads the directory, with at most so many members.
    pub(super) fn read(file: &mut dyn Seekable, most: u32) -> Result<Self, Why> {
        let end = End::read(file)?;
        if end.entries > u64::from(most) {
            return Err(Why::Members(most));
        }
        if end.size > LONGEST {
            return Err(Why::TooLarge(LONGEST));
        }
        file.seek(SeekFrom::Start(end.start))?;
        let mut directory = BufReader::new(file.take(end.size));
        let mut entries = Vec::new();
        for _ in 0..end.entries {
            entries.push(Entry::read(&mut directory)?);
        }
        let mut rest = [0];
        match directory.read(&mut rest)? {
            0 => Ok(Self {
                entries,
                start: end.start,
            }),
            _ => Err(AMBIGUOUS),
        }
    }
}

impl End {
    fn read(file: &mut dyn Seekable) -> Result<Self, Why> {
        let (start, tail) = tail(file)?;
        // Readers take the last record, or the last that ends with the content: those have to be the same, and the only
        // one that does.
        let last = memmem::rfind(&tail, END).ok_or(BROKEN)?;
        let complete = memmem::find_iter(&tail, END).filter(|at| tail.get(*at..).is_some_and(is_end));
        if complete.collect::<Vec<_>>() != [last] {
            return Err(AMBIGUOUS);
        }
        let record = tail.get(last..).ok_or(BROKEN)?;
        let short = |at| u16_at(record, at).map(u64::from).ok_or(BROKEN);
        let long = |at| u32_at(record, at).map(u64::from).ok_or(BROKEN);
        let mut end = Self {
            entries: short(10)?,
            size: long(12)?,
            start: long(16)?,
        };
        let mut position = start + last as u64;
        if let Some((large, at)) = Self::read_large(file, position)? {
            let same = |small: u64, mask: u64, large: u64| small == mask || small == large;
            if !same(end.entries, 0xffff, large.entries)
                || !same(end.size, 0xffff_ffff, large.size)
                || !same(end.start, 0xffff_ffff, large.start)
            {
                return Err(AMBIGUOUS);
            }
            end = large;
            position = at;
        } else if short(4)? != 0 || short(6)? != 0 || short(8)? != end.entries {
            return Err(Why::Feature("a zip archive in several files"));
        }
        match end.start.checked_add(end.size) == Some(position) {
            true => Ok(end),
            // Readers differ about what the offsets count from then.
            false => Err(AMBIGUOUS),
        }
    }

    /// The record of 64 bits, and where it begins, if a locator for one stands before the end record.
    fn read_large(file: &mut dyn Seekable, end: u64) -> Result<Option<(Self, u64)>, Why> {
        let Some(locator) = end.checked_sub(20) else {
            return Ok(None);
        };
        let locator = bytes_at(file, locator, 20)?;
        if !locator.starts_with(b"PK\x06\x07") {
            return Ok(None);
        }
        let at = u64_at(&locator, 8).ok_or(BROKEN)?;
        let record = bytes_at(file, at, 56)?;
        let number = |at| u64_at(&record, at).ok_or(BROKEN);
        // It has to end where the locator begins.
        let ends = number(4)?
            .checked_add(12)
            .and_then(|length| length.checked_add(at));
        if !record.starts_with(b"PK\x06\x06") || ends != Some(end - 20) || number(24)? != number(32)? {
            return Err(AMBIGUOUS);
        }
        let large = Self {
            entries: number(32)?,
            size: number(40)?,
            start: number(48)?,
        };
        Ok(Some((large, at)))
    }
}

impl Entry {
    /// Reads the next entry of the directory.
    fn read(directory: &mut impl Read) -> Result<Self, Why> {
        let fixed = bytes(directory, 46)?;
        if !fixed.starts_with(b"PK\x01\x02") {
            return Err(BROKEN);
        }
        let short = |at| u16_at(&fixed, at).ok_or(BROKEN);
        let long = |at| u32_at(&fixed, at).ok_or(BROKEN);
        let name = bytes(directory, short(28)?.into())?;
        let extra = bytes(directory, short(30)?.into())?;
        bytes(directory, short(32)?.into())?;
        let mut large = Large::of(&extra)?;
        let size = large.or(long(24)?)?;
        let packed = large.or(long(20)?)?;
        let offset = large.or(long(42)?)?;
        Ok(Self {
            name,
            flags: short(8)?,
            method: short(10)?,
            crc: long(16)?,
            packed,
            size,
            offset,
        })
    }

    pub(super) fn name(&self) -> String {
        String::from_utf8_lossy(&self.name).into_owned()
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.flags & ENCRYPTED != 0
    }

    /// Where its data begins.
    pub(super) fn data_start(&self, file: &mut dyn Seekable) -> Result<u64, Why> {
        let header = bytes_at(file, self.offset, 30)?;
        let short = |at| u16_at(&header, at).map(u64::from).ok_or(BROKEN);
        Ok(self.offset + 30 + short(26)? + short(28)?)
    }

    /// Where it ends, with the record behind its data. Its header has to say what the directory says.
    pub(super) fn end(&self, file: &mut dyn Seekable) -> Result<u64, Why> {
        let header = bytes_at(file, self.offset, 30)?;
        let short = |at| u16_at(&header, at).ok_or(BROKEN);
        let long = |at| u32_at(&header, at).ok_or(BROKEN);
        let name_length = short(26)?;
        let rest = bytes(file, u64::from(name_length) + u64::from(short(28)?))?;
        let (name, extra) = rest.split_at_checked(name_length.into()).ok_or(BROKEN)?;
        let flags = short(6)?;
        let same = header.starts_with(MEMBER)
            && name == self.name
            && short(8)? == self.method
            && (flags ^ self.flags) & (ENCRYPTED | DESCRIPTOR) == 0;
        if !same {
            return Err(AMBIGUOUS);
        }
        let mut large = Large::of(extra)?;
        let (size, packed) = (large.or(long(22)?)?, large.or(long(18)?)?);
        let described = (long(14)?, packed, size) == (self.crc, self.packed, self.size);
        let later = flags & DESCRIPTOR != 0;
        let silent = later && (long(14)?, packed, size) == (0, 0, 0);
        if !described && !silent {
            return Err(AMBIGUOUS);
        }
        let data = self.data_start(file)?;
        let end = data.checked_add(self.packed).ok_or(BROKEN)?;
        match later {
            true => Ok(end + self.descriptor(file, end)?),
            false => Ok(end),
        }
    }

    /// The length of the record behind the data, which exists in four forms.
    fn descriptor(&self, file: &mut dyn Seekable, at: u64) -> Result<u64, Why> {
        file.seek(SeekFrom::Start(at))?;
        let mut bytes = Vec::new();
        file.take(24).read_to_end(&mut bytes)?;
        for signature in [4, 0] {
            if signature > 0 && !bytes.starts_with(b"PK\x07\x08") {
                continue;
            }
            if u32_at(&bytes, signature) != Some(self.crc) {
                continue;
            }
            let sizes = bytes.get(signature + 4..).unwrap_or_default();
            let short = (u32_at(sizes, 0).map(u64::from), u32_at(sizes, 4).map(u64::from));
            if short == (Some(self.packed), Some(self.size)) {
                return Ok(signature as u64 + 12);
            }
            if (u64_at(sizes, 0), u64_at(sizes, 8)) == (Some(self.packed), Some(self.size)) {
                return Ok(signature as u64 + 20);
            }
        }
        Err(AMBIGUOUS)
    }
}

/// The numbers of 64 bits of an entry, which stand in the place of those that are all ones, in their order.
struct Large<'e>(&'e [u8]);

impl<'e> Large<'e> {
    fn of(extra: &'e [u8]) -> Result<Self, Why> {
        let mut rest = extra;
        let mut found = None;
        while let (Some(id), Some(length)) = (u16_at(rest, 0), u16_at(rest, 2)) {
            let end = 4 + usize::from(length);
            let field = rest.get(4..end).ok_or(AMBIGUOUS)?;
            if id == ZIP64 && found.replace(field).is_some() {
                return Err(AMBIGUOUS);
            }
            rest = rest.get(end..).unwrap_or_default();
        }
        Ok(Self(found.unwrap_or_default()))
    }

    fn or(&mut self, short: u32) -> Result<u64, Why> {
        if short != u32::MAX {
            return Ok(short.into());
        }
        let number = u64_at(self.0, 0).ok_or(AMBIGUOUS)?;
        self.0 = self.0.get(8..).unwrap_or_default();
        Ok(number)
    }
}

fn bytes_at(file: &mut dyn Seekable, at: u64, length: u64) -> Result<Vec<u8>, Why> {
    file.seek(SeekFrom::Start(at))?;
    bytes(file, length)
}

fn bytes(source: &mut (impl Read + ?Sized), length: u64) -> Result<Vec<u8>, Why> {
    let mut bytes = Vec::new();
    source.take(length).read_to_end(&mut bytes)?;
    match bytes.len() as u64 == length {
        true => Ok(bytes),
        false => Err(BROKEN),
    }
}
