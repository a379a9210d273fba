//! What may be unpacked of one content, and how much of that is used up.

use std::{
    cell::Cell,
    io::{self, Read},
    rc::Rc,
};

use super::findings::Why;

/// What may be unpacked of one content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Archives inside of each other, and codings, and base64.
    pub depth: u8,
    /// Members of all archives.
    pub members: u32,
    /// Bytes that come out of all archives and codings.
    pub expanded: u64,
    /// So many bytes that come out for each that goes in.
    pub ratio: u64,
    /// Up to so many bytes the ratio isn't looked at.
    pub free: u64,
    /// Bytes of JSON, XML, a form or a message, which are read whole; a longer JSON is searched as text.
    pub whole: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            depth: 3,
            members: 50_000,
            // What Cloud Run functions take of a source, unpacked, is 500 MB:
            // https://cloud.google.com/functions/quotas
            expanded: 1 << 30,
            ratio: 200,
            free: 4 << 20,
            whole: 16 << 20,
        }
    }
}

/// What was used of the limits; all that unpack the same content share it.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    limits: Limits,
    used: Rc<Used>,
}

#[derive(Debug, Default)]
struct Used {
    members: Cell<u32>,
    expanded: Cell<u64>,
}

impl Budget {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            used: Rc::default(),
        }
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Takes a member of an archive.
    pub(super) fn member(&self) -> Result<(), Why> {
        self.used.members.set(self.used.members.get().saturating_add(1));
        match self.used.members.get() > self.limits.members {
            true => Err(Why::Members(self.limits.members)),
            false => Ok(()),
        }
    }

    /// Whether nothing more can be unpacked.
    pub(super) fn is_spent(&self) -> bool {
        self.used.members.get() > self.limits.members || self.used.expanded.get() > self.limits.expanded
    }

    /// A reader of what a decoder gives out, which counts.
    pub(super) fn expanding<R>(&self, decoder: R, came: Count, what: &'static str) -> Expanding<R> {
        Expanding {
            decoder,
            came,
            gone: 0,
            budget: self.clone(),
            what,
        }
    }
}

/// Bytes that went into a decoder.
pub(super) type Count = Rc<Cell<u64>>;

/// A reader that counts what is read.
pub(super) struct Counted<R> {
    reader: R,
    count: Count,
}

impl<R> Counted<R> {
    pub(super) fn new(reader: R) -> (Self, Count) {
        let count = Count::default();
        let counted = Self {
            reader,
            count: count.clone(),
        };
        (counted, count)
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.count.set(self.count.get() + read as u64);
        Ok(read)
    }
}

/// What a decoder gives out, within the limits.
pub(super) struct Expanding<R> {
    decoder: R,
    came: Count,
    gone: u64,
    budget: Budget,
    what: &'static str,
}

impl<R: Read> Read for Expanding<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // An error of the decoder's own means that its input is not what it should be.
        let read = self
            .decoder
            .read(buffer)
            .map_err(|error| Why::of(error, Why::Broken(self.what)))?;
        self.gone += read as u64;
        let Budget { limits, used } = &self.budget;
        used.expanded.set(used.expanded.get().saturating_add(read as u64));
        if used.expanded.get() > limits.expanded {
            return Err(Why::Expanded(limits.expanded).into());
        }
        if self.gone > limits.free && self.gone > self.came.get().saturating_mul(limits.ratio) {
            return Err(Why::Ratio(limits.ratio).into());
        }
        Ok(read)
    }
}
