//! Tar archives (POSIX.1-2017 pax, ustar, GNU and the format of Unix V7), read as they come.
//!
//! What readers of tar differ about (a header behind the end, links and directories with content) is ambiguous.
//! Source: <https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html>.

use std::io::{self, Read};

use super::{
    archive,
    findings::Why,
    place::Place,
    walk::{Depth, Walker},
};

const BLOCK: usize = 512;
/// The longest name, and the longest pax header.
const LONGEST: u64 = 1 << 20;
const BROKEN: Why = Why::Broken("tar archive");
const AMBIGUOUS: Why = Why::Ambiguous("tar archive");

/// A header's block.
type Block = [u8; BLOCK];

/// What headers before a member say of it.
#[derive(Debug, Default)]
struct Ahead {
    name: Option<String>,
    size: Option<u64>,
}

/// Searches all members.
pub(super) fn read(
    walker: &mut Walker<'_>,
    place: &Place,
    depth: Depth,
    source: &mut dyn Read,
) -> Result<(), Why> {
    let mut ahead = Ahead::default();
    while let Some(block) = next(source)? {
        if block.iter().all(|b| *b == 0) {
            return behind_end(walker, place, source);
        }
        if !is_header(&block) {
            return Err(BROKEN);
        }
        if walker.budget.is_spent() {
            return walker.budget.member();
        }
        let size = ahead.size.take().map_or_else(|| number(&block[124..136]), Ok)?;
        let mut content = source.take(size);
        match block[156] {
            b'L' => ahead.name = Some(text(&read_most(&mut content)?)),
            b'K' => {
                let link = read_most(&mut content)?;
                walker.text(place, &mut &link[..])?;
            }
            b'x' => {
                let records = read_most(&mut content)?;
                walker.text(place, &mut &records[..])?;
                pax(&records, &mut ahead)?;
            }
            b'g' => {
                let records = read_most(&mut content)?;
                walker.text(place, &mut &records[..])?;
                let mut all = Ahead::default();
                pax(&records, &mut all)?;
                if all.size.is_some() || all.name.is_some() {
                    return Err(AMBIGUOUS);
                }
            }
            kind => {
                let name = ahead.name.take().unwrap_or_else(|| name(&block));
                walker.name(place, name.as_bytes())?;
                let member = place.member(&name);
                match kind {
                    // Links, devices, directories and pipes have no content.
                    b'1'..=b'6' if size > 0 => return Err(AMBIGUOUS),
                    b'1'..=b'6' => walker.budget.member()?,
                    b'S' | b'M' => {
                        walker.note(
                            &member,
                            Err(Why::Feature("a sparse or split member of a tar archive")),
                        );
                        walker.text(&member, &mut content)?;
                        return Err(Why::Feature("a sparse or split member of a tar archive"));
                    }
                    _ => archive::member(walker, &member, depth, &mut content)?,
                }
            }
        }
        if content.limit() > 0 {
            return if walker.budget.is_spent() {
                Ok(())
            } else {
                Err(BROKEN)
            };
        }
        let padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
        if io::copy(&mut source.take(padding), &mut io::sink())? < padding {
            return Err(BROKEN);
        }
    }
    Ok(())
}

/// The next block; `None` at the end.
fn next(source: &mut dyn Read) -> Result<Option<Block>, Why> {
    let mut bytes = Vec::with_capacity(BLOCK);
    source.take(BLOCK as u64).read_to_end(&mut bytes)?;
    match bytes.is_empty() {
        true => Ok(None),
        false => Block::try_from(bytes).map(Some).map_err(|_| BROKEN),
    }
}

/// What stands behind the block of zeros that ends an archive: more zeros. Some readers can be told to go on.
fn behind_end(walker: &mut Walker<'_>, place: &Place, source: &mut dyn Read) -> Result<(), Why> {
    loop {
        let mut block = Vec::with_capacity(BLOCK);
        source.take(BLOCK as u64).read_to_end(&mut block)?;
        if block.is_empty() {
            return Ok(());
        }
        if block.iter().any(|b| *b != 0) {
            walker.text(place, &mut block.chain(source))?;
            return Err(AMBIGUOUS);
        }
    }
}

/// Whether a block is a header: its checksum fits.
pub(super) fn is_header(block: &[u8]) -> bool {
    let Some(block) = block.get(..BLOCK) else {
        return false;
    };
    let Ok(expected) = number(&block[148..156]) else {
        return false;
    };
    // The checksum itself counts as spaces.
    let sum = |at: usize, b: u8| {
        if (148..156).contains(&at) {
            u64::from(b' ')
        } else {
            u64::from(b)
        }
    };
    let found: u64 = block.iter().enumerate().map(|(at, b)| sum(at, *b)).sum();
    // A block of zeros has none.
    found == expected
}

/// A number of a header: octal digits, or GNU's form for large ones.
fn number(field: &[u8]) -> Result<u64, Why> {
    if let [first, rest @ ..] = field
        && first & 0x80 != 0
    {
        let digits = std::iter::once(first & 0x7f).chain(rest.iter().copied());
        return digits.into_iter().try_fold(0_u64, |number, digit| {
            let number = number.checked_mul(256).ok_or(BROKEN)?;
            Ok(number | u64::from(digit))
        });
    }
    let digits = field.split(|b| *b == 0).next().unwrap_or_default().trim_ascii();
    if digits.is_empty() {
        return Ok(0);
    }
    let digits = str::from_utf8(digits).map_err(|_| BROKEN)?;
    match digits.bytes().all(|b| matches!(b, b'0'..=b'7')) {
        true => u64::from_str_radix(digits, 8).map_err(|_| BROKEN),
        false => Err(BROKEN),
    }
}

/// The name in a header; that of ustar has a first part of its own.
fn name(block: &Block) -> String {
    let name = text(&block[..100]);
    let first = text(&block[345..500]);
    match &block[257..263] == b"ustar\0" && !first.is_empty() {
        true => format!("{first}/{name}"),
        false => name,
    }
}

fn text(field: &[u8]) -> String {
    let text = field.split(|b| *b == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

fn read_most(content: &mut dyn Read) -> Result<Vec<u8>, Why> {
    let mut bytes = Vec::new();
    content.take(LONGEST + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > LONGEST {
        true => Err(Why::TooLarge(LONGEST)),
        false => Ok(bytes),
    }
}

/// Reads `LENGTH KEY=VALUE\n` records.
fn pax(records: &[u8], ahead: &mut Ahead) -> Result<(), Why> {
    let mut rest = records;
    while rest.first().is_some_and(|b| *b != 0) {
        let space = rest.iter().position(|b| *b == b' ').ok_or(BROKEN)?;
        let (digits, _) = rest.split_at_checked(space).ok_or(BROKEN)?;
        let length = str::from_utf8(digits)
            .ok()
            .and_then(|l| l.parse().ok())
            .ok_or(BROKEN)?;
        let (record, behind) = rest.split_at_checked(length).ok_or(BROKEN)?;
        let record = record
            .get(space + 1..)
            .and_then(|r| r.strip_suffix(b"\n"))
            .ok_or(BROKEN)?;
        let equals = record.iter().position(|b| *b == b'=').ok_or(BROKEN)?;
        let (key, value) = record.split_at_checked(equals).ok_or(BROKEN)?;
        let value = value.get(1..).unwrap_or_default();
        match key {
            b"path" => ahead.name = Some(String::from_utf8_lossy(value).into_owned()),
            b"size" => {
                let size = str::from_utf8(value).ok().and_then(|v| v.parse().ok());
                ahead.size = Some(size.ok_or(BROKEN)?);
            }
            _ => {}
        }
        rest = behind;
    }
    Ok(())
}
