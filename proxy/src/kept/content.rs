//! What is kept, and ways to read it.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::FileExt,
    sync::Arc,
};

use bytes::Bytes;
use http::HeaderValue;
use serde_json::{Map, Value};

use super::{IN_MEMORY, Passing, Threads, blocking};
use crate::{
    body::RequestBody,
    budget::{Account, Taken},
    held_body::NotCollected,
};

/// A body that was kept. Copies share what is kept; its room is free again when the last one is gone, readers and
/// bodies made of it included.
#[derive(Debug, Clone)]
pub struct Kept {
    /// What stands before the content.
    head: Bytes,
    content: Arc<Content>,
    /// What stands behind it.
    tail: Bytes,
    upload: Option<Arc<Upload>>,
    memory: Account,
    threads: Threads,
}

/// An upload of metadata with media that was kept: its parts.
#[derive(Debug)]
pub struct Upload {
    /// The metadata, which names what is written.
    pub metadata: Map<String, Value>,
    /// The media's type, if it has one.
    pub media_type: Option<HeaderValue>,
    /// The media alone.
    pub media: Kept,
    /// SHA-256 of the media.
    pub sha256: [u8; 32],
}

/// Where it lies.
#[derive(Debug)]
pub(super) enum Content {
    Memory(Bytes),
    File(OnDisk),
}

/// A file without a name, and the room that it takes.
#[derive(Debug)]
pub(super) struct OnDisk {
    // Before the room, so that it is closed when the room is given back.
    file: File,
    length: u64,
    room: Taken,
}

impl OnDisk {
    pub(super) fn new(file: File, room: Taken) -> Self {
        Self {
            file,
            length: 0,
            room,
        }
    }

    pub(super) fn join(&mut self, room: Taken) {
        self.room.join(room);
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.length)?;
        self.length += bytes.len() as u64;
        Ok(())
    }
}

impl Content {
    fn len(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File(file) => file.length,
        }
    }
}

impl Kept {
    pub(super) fn new(content: Content, memory: Account, threads: Threads) -> Self {
        Self {
            head: Bytes::new(),
            content: Arc::new(content),
            tail: Bytes::new(),
            upload: None,
            memory,
            threads,
        }
    }

    /// Bytes of the body.
    pub fn len(&self) -> u64 {
        self.head.len() as u64 + self.content.len() + self.tail.len() as u64
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether reading it takes no I/O.
    pub fn is_in_memory(&self) -> bool {
        matches!(*self.content, Content::Memory(_))
    }

    /// The bytes, where they are in memory and no more than `most`. A longer one, or one that is on disk, is read by
    /// [`Kept::bytes`] or through [`Kept::reader`].
    pub fn bytes_if_small(&self, most: usize) -> Option<Bytes> {
        if self.len() > most as u64 {
            return None;
        }
        match &*self.content {
            Content::Memory(bytes) => Some(match self.head.is_empty() && self.tail.is_empty() {
                true => bytes.clone(),
                false => [&self.head, bytes, &self.tail].map(|b| &b[..]).concat().into(),
            }),
            Content::File(_) => None,
        }
    }

    /// The bytes, where they are no more than `most`; one that is on disk is read, into memory that counts.
    ///
    /// # Errors
    /// [`NotCollected::TooLarge`], [`NotCollected::NoRoom`], or [`NotCollected::Disk`].
    pub async fn bytes(&self, most: usize) -> Result<Bytes, NotCollected> {
        let length = usize::try_from(self.len()).unwrap_or(usize::MAX);
        if length > most {
            return Err(NotCollected::TooLarge(most));
        }
        if let Some(bytes) = self.bytes_if_small(most) {
            return Ok(bytes);
        }
        let room = self.memory.try_take(length).ok_or(NotCollected::NoRoom)?;
        let read = self
            .run(move |mut reader| {
                let mut bytes = Vec::with_capacity(length);
                reader.read_to_end(&mut bytes)?;
                Ok(bytes)
            })
            .await?;
        Ok(room.keep_with(read))
    }

    /// Reads from the beginning, at a position of its own. Where the body is on disk, a read blocks: not for a worker
    /// of the runtime.
    pub fn reader(&self) -> Reader {
        Reader {
            kept: self.clone(),
            position: 0,
        }
    }

    /// Runs over the content where that blocks nobody: here, or on a thread for it.
    ///
    /// # Errors
    /// What the work fails with, as [`NotCollected::Disk`].
    pub async fn run<T, F>(&self, work: F) -> Result<T, NotCollected>
    where
        F: FnOnce(Reader) -> io::Result<T> + Send + 'static,
        T: Send + 'static,
    {
        let reader = self.reader();
        let small = self.is_in_memory() && self.len() <= IN_MEMORY as u64;
        let done = match small {
            true => work(reader),
            false => blocking(&self.threads.runs, move || work(reader)).await,
        };
        done.map_err(|e| NotCollected::Disk(e.to_string()))
    }

    /// An upload around its media.
    pub(crate) fn around(upload: Upload, head: Bytes, tail: Bytes) -> Self {
        let media = upload.media.clone();
        Self {
            head: [head, media.head].concat().into(),
            tail: [media.tail, tail].concat().into(),
            content: media.content,
            memory: media.memory,
            threads: media.threads,
            upload: Some(Arc::new(upload)),
        }
    }

    /// The parts, where it is an upload of metadata with media.
    pub fn upload(&self) -> Option<&Upload> {
        self.upload.as_deref()
    }

    /// The body as it goes upstream.
    pub fn into_body(self) -> RequestBody {
        match self.is_empty() {
            true => RequestBody::whole(Bytes::new()),
            false => RequestBody::Kept(Passing::new(self)),
        }
    }

    /// A piece of what is on disk at a position.
    pub(super) async fn piece(self, position: u64) -> io::Result<Bytes> {
        let turns = self.threads.pieces.clone();
        let reading = blocking(&turns, move || match self.at(position) {
            At::Memory(bytes) => Ok(bytes),
            At::File { file, offset, left } => {
                let most = usize::try_from(left).unwrap_or(usize::MAX).min(IN_MEMORY);
                let mut bytes = vec![0; most];
                let read = file.read_at(&mut bytes, offset)?;
                if read == 0 {
                    return Err(cut_off());
                }
                bytes.truncate(read);
                Ok(Bytes::from(bytes))
            }
        });
        reading.await
    }

    /// Bytes at a position: what is in memory there, as it is, or up to `most` of the file.
    pub(super) fn at(&self, position: u64) -> At<'_> {
        let head = self.head.len() as u64;
        let behind = head + self.content.len();
        if position < head {
            return At::Memory(part(&self.head, position, head));
        }
        if position >= behind {
            return At::Memory(part(&self.tail, position - behind, self.tail.len() as u64));
        }
        let offset = position - head;
        match &*self.content {
            Content::Memory(bytes) => At::Memory(part(bytes, offset, bytes.len() as u64)),
            Content::File(disk) => At::File {
                file: &disk.file,
                offset,
                left: disk.length - offset,
            },
        }
    }
}

/// Bytes from one position to another; none behind the end.
fn part(bytes: &Bytes, from: u64, to: u64) -> Bytes {
    let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
    match bytes.get(place(from)..place(to)) {
        Some(part) => bytes.slice_ref(part),
        None => Bytes::new(),
    }
}

/// What is at a position.
pub(super) enum At<'a> {
    /// These bytes; none at the end.
    Memory(Bytes),
    /// So many bytes of a file.
    File { file: &'a File, offset: u64, left: u64 },
}

/// Reads what is kept.
#[derive(Debug, Clone)]
pub struct Reader {
    kept: Kept,
    position: u64,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match self.kept.at(self.position) {
            At::Memory(bytes) => (&bytes[..]).read(buffer)?,
            At::File { file, offset, left } => {
                let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                let read = file.read_at(buffer.get_mut(..most).unwrap_or_default(), offset)?;
                if read == 0 && most > 0 {
                    return Err(cut_off());
                }
                read
            }
        };
        self.position += read as u64;
        Ok(read)
    }
}

impl Seek for Reader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.kept.len().checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        let before = || io::Error::new(io::ErrorKind::InvalidInput, "a position before the beginning");
        self.position = position.ok_or_else(before)?;
        Ok(self.position)
    }
}

/// A file that is shorter than what was written to it.
fn cut_off() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the kept body is cut off")
}
