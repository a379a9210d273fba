//! Files without names for contents that are written while they arrive, such as the parts of an upload that are searched
//! together. They take room of the same disk budget as bodies that are kept.
//!
//! Everything here blocks: not for a worker of the runtime, but for the threads that search.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::FileExt,
    path::Path,
    sync::Arc,
};

use crate::budget::{Account, Taken};

/// Where one agent's contents may lie.
#[derive(Debug, Clone)]
pub struct Spills {
    dir: Arc<Path>,
    disk: Account,
}

impl Spills {
    /// In this folder, and of this account.
    pub fn new(dir: Arc<Path>, disk: Account) -> Self {
        Self { dir, disk }
    }

    /// A file with nothing in it.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(&self) -> io::Result<Spill> {
        Ok(Spill {
            file: tempfile::tempfile_in(&self.dir)?,
            room: None,
            taken: 0,
            length: 0,
            position: 0,
            disk: self.disk.clone(),
        })
    }
}

/// A file without a name, and the room that it takes.
#[derive(Debug)]
pub struct Spill {
    // Before the room, so that it is closed when the room is given back.
    file: File,
    room: Option<Taken>,
    /// Bytes that there is room for.
    taken: u64,
    length: u64,
    position: u64,
    disk: Account,
}

/// Why nothing more is written.
#[derive(Debug, thiserror::Error)]
pub enum SpillError {
    /// The disk's budget, or the agent's share of it, is used up.
    #[error("there is no room on disk")]
    NoRoom,
    /// The file cannot be written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Spill {
    /// Bytes in it.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Writes behind what is there.
    ///
    /// # Errors
    /// [`SpillError`]; what is there stays as it was.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), SpillError> {
        let end = self.length.saturating_add(bytes.len() as u64);
        // What was taken for bytes that were cut off again is used first.
        if end > self.taken {
            let size = |bytes| usize::try_from(bytes).unwrap_or(usize::MAX);
            let room = self.disk.try_grow(size(self.taken), size(end));
            let room = room.ok_or(SpillError::NoRoom)?;
            match &mut self.room {
                Some(taken) => taken.join(room),
                None => self.room = Some(room),
            }
            self.taken = end;
        }
        self.file.write_all_at(bytes, self.length)?;
        self.length = end;
        Ok(())
    }

    /// Forgets what is behind so many bytes.
    ///
    /// # Errors
    /// The file cannot be cut.
    pub fn cut(&mut self, length: u64) -> io::Result<()> {
        if length < self.length {
            self.file.set_len(length)?;
            self.length = length;
        }
        Ok(())
    }
}

impl Read for Spill {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.length.saturating_sub(self.position)).unwrap_or(usize::MAX);
        let most = buffer.len().min(left);
        let read = self
            .file
            .read_at(buffer.get_mut(..most).unwrap_or_default(), self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}

impl Seek for Spill {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.length.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        let before = || io::Error::new(io::ErrorKind::InvalidInput, "a position before the beginning");
        self.position = position.ok_or_else(before)?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;

    #[test]
    fn what_is_spilled_is_read_again_and_takes_room_once() {
        let dir = tempfile::tempdir().expect("is made");
        let budget = Budget::new(8 << 10, 4 << 10);
        let spills = Spills::new(dir.path().into(), budget.account("a"));
        let mut spill = spills.open().expect("is made");
        spill.append(&[b'a'; 3 << 10]).expect("there is room");
        spill.cut(1 << 10).expect("is cut");
        spill.append(&[b'b'; 3 << 10]).expect("there is room");
        let full = spill.append(b"c");
        assert!(matches!(full, Err(SpillError::NoRoom)), "{full:?}");
        assert!(budget.account("a").try_take(1).is_none(), "it takes all there is");
        let mut read = Vec::new();
        spill.seek(SeekFrom::Start(1)).expect("is there");
        spill.read_to_end(&mut read).expect("is read");
        assert_eq!(read, [vec![b'a'; 1023], vec![b'b'; 3 << 10]].concat());
        assert_eq!(spill.length(), 4 << 10);
        drop(spill);
        assert!(budget.account("a").try_take(4 << 10).is_some());
    }
}
