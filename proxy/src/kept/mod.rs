//! Bodies of requests that are kept whole: because an approval covers them, or because something has to be read
//! in them before anybody may let them pass.
//!
//! A body takes memory up to [`IN_MEMORY`] bytes. What is longer is written to a file without a name in a folder of
//! the gateway's: it is gone with the last hold on it, and with the process, however that ends. Memory and disk have
//! budgets for all agents, of which each has a share, and every body has a cap and a pace that it must keep.
//!
//! What is in a body is not looked at here. Whoever wants to know runs over [`Kept::reader`].

mod content;
mod spill;
mod stream;
#[cfg(test)]
mod tests;

use std::{
    fs::DirBuilder,
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::{Buf, Bytes};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tokio::{sync::Semaphore, time::Instant};

use self::content::{Content, OnDisk};
pub use self::{
    content::{Kept, Reader, Upload},
    spill::{Spill, SpillError, Spills},
    stream::Passing,
};
use crate::{
    body::BoxError,
    budget::{Account, Budget, Taken},
    held_body::NotCollected,
};

/// The longest body that is kept in memory, and what is written or read at a time of a longer one, in bytes.
pub const IN_MEMORY: usize = 64 * 1024;
/// What a body takes of the memory at first: its connection has buffers too.
const LEAST: usize = 16 * 1024;
/// For each such piece a body has as long as it has for its first byte.
const PACE: u64 = 16 << 20;
/// Pieces that are written or read at a time, and bodies that are run over. Each takes a thread, with an allocator's
/// memory of its own.
const AT_A_TIME: usize = 4;

/// What may be kept, and where.
#[derive(Debug, Clone)]
pub struct KeeperConfig {
    /// The folder; nobody else's.
    pub dir: PathBuf,
    /// The longest body, in bytes.
    pub largest: usize,
    /// What all bodies together may take of the disk, in bytes.
    pub total: usize,
    /// How long a body, and every 16 MiB of a longer one, may take to arrive.
    pub within: Duration,
}

/// Keeps bodies.
#[derive(Debug)]
pub struct Keeper {
    config: KeeperConfig,
    memory: Arc<Budget>,
    disk: Arc<Budget>,
    threads: Threads,
}

/// Who may block a thread now.
#[derive(Debug, Clone)]
struct Threads {
    pieces: Arc<Semaphore>,
    runs: Arc<Semaphore>,
}

impl Threads {
    fn new() -> Self {
        let [pieces, runs] = [(); 2].map(|()| Arc::new(Semaphore::new(AT_A_TIME)));
        Self { pieces, runs }
    }
}

/// Does what blocks, on a thread for that, once it is its turn.
pub(crate) async fn blocking<T, F>(turns: &Arc<Semaphore>, work: F) -> io::Result<T>
where
    F: FnOnce() -> io::Result<T> + Send + 'static,
    T: Send + 'static,
{
    // The turn goes along: the work goes on where nobody waits for it any more.
    let turn = turns.clone().acquire_owned().await.map_err(io::Error::other)?;
    let working = tokio::task::spawn_blocking(move || {
        let done = work();
        drop(turn);
        done
    });
    working.await.map_err(io::Error::other)?
}

impl Keeper {
    /// Makes the folder where it is missing, for this user alone. What is kept in memory is taken from `memory`.
    ///
    /// # Errors
    /// The folder cannot be made, or no file can be made in it.
    pub fn open(config: KeeperConfig, memory: Arc<Budget>) -> io::Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&config.dir)?;
        // A folder that cannot be written is found now, not with the first call that is held.
        tempfile::tempfile_in(&config.dir)?;
        Ok(Self {
            disk: Budget::new(config.total, config.largest),
            config,
            memory,
            threads: Threads::new(),
        })
    }

    /// Reads an agent's body whole.
    ///
    /// # Errors
    /// [`NotCollected`]; what had been read is given up then, and takes no room.
    pub async fn keep<B>(&self, body: B, agent: &str) -> Result<Kept, NotCollected>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<BoxError>,
    {
        let account = self.memory.account(agent);
        let mut keeping = Keeping {
            dir: &self.config.dir,
            disk: self.disk.account(agent),
            buffer: Vec::new(),
            room: account.try_take(LEAST).ok_or(NotCollected::NoRoom),
            grown: None,
            file: None,
            written: 0,
            memory: account,
            threads: self.threads.clone(),
            within: self.config.within,
        };
        let length = keeping.read(body, self.config.largest).await?;
        keeping.finish(length).await
    }

    /// Where contents of an agent may lie that are written while they arrive.
    pub fn spills(&self, agent: &str) -> Spills {
        Spills::new(self.config.dir.as_path().into(), self.disk.account(agent))
    }

    /// Keeps a body that was read already. A long one leaves the memory.
    ///
    /// # Errors
    /// As for [`Keeper::keep`].
    pub async fn keep_whole(&self, bytes: Bytes, agent: &str) -> Result<Kept, NotCollected> {
        if bytes.len() > self.config.largest {
            return Err(NotCollected::TooLarge(self.config.largest));
        }
        match bytes.len() <= IN_MEMORY {
            true => {
                let account = self.memory.account(agent);
                Ok(Kept::new(Content::Memory(bytes), account, self.threads.clone()))
            }
            false => self.keep(Full::new(bytes), agent).await,
        }
    }
}

/// A body that arrives.
struct Keeping<'a> {
    dir: &'a Path,
    memory: Account,
    disk: Account,
    within: Duration,
    /// What arrived and is in no file yet.
    buffer: Vec<u8>,
    /// The memory that the buffer has at least, or why nothing more is kept.
    room: Result<Taken, NotCollected>,
    /// What it has more, while it is all there is of a longer body.
    grown: Option<Taken>,
    file: Option<OnDisk>,
    /// Bytes of it.
    written: usize,
    threads: Threads,
}

impl Keeping<'_> {
    /// Reads to the end. Once there is a reason not to keep the body, the rest is read and thrown away while its time
    /// lasts: a client of HTTP/1.1 that is still sending would see a broken connection in the place of the refusal.
    async fn read<B>(&mut self, mut body: B, largest: usize) -> Result<u64, NotCollected>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<BoxError>,
    {
        let begun = Instant::now();
        let mut allowed = self.within;
        let mut length: u64 = 0;
        loop {
            let frame = match tokio::time::timeout_at(begun + allowed, body.frame()).await {
                Ok(Some(frame)) => frame.map_err(|e| NotCollected::failed(e.into()))?,
                Ok(None) => return Ok(length),
                Err(_) => {
                    self.refused()?;
                    return Err(NotCollected::TooSlow(allowed));
                }
            };
            let Ok(data) = frame.into_data() else { continue };
            length = length.saturating_add(data.len() as u64);
            if self.room.is_ok() {
                let pieces = u32::try_from(length / PACE).unwrap_or(u32::MAX);
                allowed = self.within.saturating_mul(pieces.saturating_add(1));
            }
            if length > largest as u64 {
                self.give_up(NotCollected::TooLarge(largest));
            } else if self.room.is_ok()
                && let Err(why) = self.take(data).await
            {
                self.give_up(why);
            }
        }
    }

    /// The reason why nothing is kept, if there is one.
    fn refused(&self) -> Result<(), NotCollected> {
        self.room.as_ref().map(|_| ()).map_err(Clone::clone)
    }

    /// Frees all that is taken. That a body is too large is the better reason than that there is no room now.
    fn give_up(&mut self, why: NotCollected) {
        self.room = Err(why);
        self.grown = None;
        self.file = None;
        self.buffer = Vec::new();
    }

    async fn take(&mut self, mut data: Bytes) -> Result<(), NotCollected> {
        while data.has_remaining() {
            if self.file.is_none() && self.buffer.len() == IN_MEMORY {
                self.flush().await?;
                self.grown = None;
            }
            // Once there is a file, only what comes in crumbs is collected first.
            let most = match &self.file {
                None => IN_MEMORY,
                Some(_) if self.buffer.is_empty() && data.len() >= LEAST => {
                    let piece = data.split_to(data.len().min(IN_MEMORY));
                    self.write(piece).await?;
                    continue;
                }
                Some(_) => LEAST,
            };
            let piece = data.split_to(data.len().min(most.saturating_sub(self.buffer.len())));
            if self.buffer.len() + piece.len() > LEAST && self.grown.is_none() {
                self.grow()?;
            }
            self.buffer.extend_from_slice(&piece);
            if self.file.is_some() && self.buffer.len() >= LEAST {
                self.flush().await?;
            }
        }
        Ok(())
    }

    /// Takes all the memory that a body may have.
    fn grow(&mut self) -> Result<(), NotCollected> {
        let more = self.memory.try_take(IN_MEMORY - LEAST);
        self.grown = Some(more.ok_or(NotCollected::NoRoom)?);
        self.buffer.reserve_exact(IN_MEMORY - self.buffer.len());
        Ok(())
    }

    /// Moves the buffer to the file.
    async fn flush(&mut self) -> Result<(), NotCollected> {
        let buffer = std::mem::take(&mut self.buffer);
        self.write(Bytes::from(buffer)).await
    }

    async fn write(&mut self, piece: Bytes) -> Result<(), NotCollected> {
        let before = self.written;
        self.written = before.saturating_add(piece.len());
        let room = self.disk.try_grow(before, self.written);
        let room = room.ok_or(NotCollected::NoRoom)?;
        let (file, dir) = (self.file.take(), self.dir.to_owned());
        // The file goes along, so that its room is free only once it is gone, whoever still waits.
        let written = blocking(&self.threads.pieces, move || {
            let mut file = match file {
                Some(mut file) => {
                    file.join(room);
                    file
                }
                None => OnDisk::new(tempfile::tempfile_in(dir)?, room),
            };
            file.append(&piece)?;
            Ok((file, piece))
        });
        // The piece comes back, because an allocator has most use of what is given up by the thread that took it.
        let (file, _piece) = written.await.map_err(|e| NotCollected::Disk(e.to_string()))?;
        self.file = Some(file);
        Ok(())
    }

    async fn finish(mut self, length: u64) -> Result<Kept, NotCollected> {
        self.refused()?;
        if self.file.is_some() && !self.buffer.is_empty() {
            self.flush().await?;
        }
        let content = match (self.file, self.room) {
            (_, Err(why)) => return Err(why),
            (Some(file), Ok(_)) => Content::File(file),
            (None, Ok(mut room)) => {
                if let Some(grown) = self.grown {
                    room.join(grown);
                }
                Content::Memory(room.keep_with(self.buffer))
            }
        };
        let kept = Kept::new(content, self.memory, self.threads);
        match kept.len() == length {
            true => Ok(kept),
            false => Err(NotCollected::Disk(format!(
                "{} of {length} bytes are there",
                kept.len()
            ))),
        }
    }
}
