//! Segment files: their names, and what is found of them when the spool is
//! opened.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::{SpoolError, cursor, line};

/// A segment, as far as it is durable.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    /// Sequence number its name tells: no event in it has a lower one.
    pub(super) first: u64,
    /// Durable bytes.
    pub(super) len: u64,
}

/// `DIR/0000000000000001.jsonl`.
pub(super) fn path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:016}.jsonl"))
}

fn first_of(path: &Path) -> Option<u64> {
    if path.extension()? != "jsonl" {
        return None;
    }
    path.file_stem()?.to_str()?.parse().ok()
}

/// What a spool directory holds.
#[derive(Debug, Default)]
pub(super) struct Recovered {
    /// Segments with events, oldest first.
    pub(super) segments: VecDeque<Segment>,
    /// Last acknowledged number.
    pub(super) acked: u64,
    /// The number the next event gets.
    pub(super) next_seq: u64,
    /// Unacknowledged events and their bytes.
    pub(super) events: u64,
    pub(super) bytes: u64,
    /// When the oldest segment with such events was last written.
    pub(super) oldest: Option<Timestamp>,
    /// Bytes cut off the end.
    pub(super) torn_bytes: u64,
    /// Lines that do not verify, with good lines after them.
    pub(super) damaged_lines: u64,
}

/// Reads a spool directory: deletes what is acknowledged, cuts off what a crash
/// left unfinished at the end, counts the rest.
///
/// Only the end can be unfinished, since a segment is synced before the next is
/// begun. A line elsewhere that does not verify is damage: it stays, is counted
/// and is skipped, and no good line is lost with it.
pub(super) fn recover(dir: &Path) -> Result<Recovered, SpoolError> {
    let acked = cursor::load(dir).map_err(|error| SpoolError::open(dir, error))?;
    let firsts = list(dir).map_err(|error| SpoolError::open(dir, error))?;
    let mut recovered = Recovered {
        acked,
        next_seq: acked + 1,
        ..Recovered::default()
    };
    for (index, &first) in firsts.iter().enumerate() {
        let path = path(dir, first);
        let next = firsts.get(index + 1).copied();
        recovered.next_seq = recovered.next_seq.max(first);
        let all_acked = next.is_some_and(|next| next <= acked + 1);
        let scanned = if all_acked {
            fs::remove_file(&path).map(|()| None)
        } else {
            scan(&path, acked, next.is_none()).map(Some)
        };
        match scanned.map_err(|error| SpoolError::open(&path, error))? {
            Some(scan) if scan.good_lines > 0 => recovered.add(first, &scan),
            // An empty segment is the one that was open when nothing came.
            Some(scan) if scan.len == 0 => {
                recovered.torn_bytes += scan.torn_bytes;
                fs::remove_file(&path).map_err(|error| SpoolError::open(&path, error))?;
            }
            Some(scan) => {
                // Nothing in it verifies, yet it was synced: keep it for a
                // person to look at, out of the reader's way.
                recovered.damaged_lines += scan.damaged_lines;
                fs::rename(&path, path.with_extension("damaged"))
                    .map_err(|error| SpoolError::open(&path, error))?;
            }
            None => {}
        }
    }
    sync_dir(dir).map_err(|error| SpoolError::open(dir, error))?;
    Ok(recovered)
}

impl Recovered {
    fn add(&mut self, first: u64, scan: &Scan) {
        self.next_seq = self.next_seq.max(scan.last_seq + 1);
        self.events += scan.pending_events;
        self.bytes += scan.pending_bytes;
        self.torn_bytes += scan.torn_bytes;
        self.damaged_lines += scan.damaged_lines;
        if scan.pending_events > 0 && self.oldest.is_none() {
            self.oldest = Some(scan.modified);
        }
        self.segments.push_back(Segment { first, len: scan.len });
    }
}

fn list(dir: &Path) -> io::Result<Vec<u64>> {
    let mut firsts = Vec::new();
    for entry in fs::read_dir(dir)? {
        firsts.extend(first_of(&entry?.path()));
    }
    firsts.sort_unstable();
    Ok(firsts)
}

struct Scan {
    len: u64,
    good_lines: u64,
    last_seq: u64,
    pending_events: u64,
    pending_bytes: u64,
    torn_bytes: u64,
    damaged_lines: u64,
    modified: Timestamp,
}

fn scan(path: &Path, acked: u64, last: bool) -> io::Result<Scan> {
    let bytes = fs::read(path)?;
    let modified = Timestamp::try_from(fs::metadata(path)?.modified()?)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let mut scan = Scan {
        len: bytes.len() as u64,
        good_lines: 0,
        last_seq: 0,
        pending_events: 0,
        pending_bytes: 0,
        torn_bytes: 0,
        damaged_lines: 0,
        modified,
    };
    let mut good_end = 0;
    let mut bad_since_good = 0;
    let mut start = 0;
    while start < bytes.len() {
        let newline = memchr::memchr(b'\n', &bytes[start..]).map(|at| start + at);
        let end = newline.unwrap_or(bytes.len());
        match line::verify(&bytes[start..end]).filter(|_| newline.is_some()) {
            Some(verified) => {
                scan.damaged_lines += std::mem::take(&mut bad_since_good);
                scan.good_lines += 1;
                scan.last_seq = scan.last_seq.max(verified.seq);
                if verified.seq > acked {
                    scan.pending_events += 1;
                    scan.pending_bytes += line::framed_len(&bytes[verified.event]);
                }
                good_end = end + 1;
            }
            None => bad_since_good += 1,
        }
        start = end + 1;
    }
    if last && good_end < bytes.len() {
        scan.torn_bytes = (bytes.len() - good_end) as u64;
        scan.len = good_end as u64;
        let file = File::options().write(true).open(path)?;
        file.set_len(scan.len)?;
        file.sync_all()?;
    } else {
        scan.damaged_lines += bad_since_good;
    }
    Ok(scan)
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
