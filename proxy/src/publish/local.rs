//! A topic that is a file: JSON lines in the shape of Pub/Sub messages, but
//! with `data` as JSON instead of base64, for people and for `jq`.
//!
//! It is what standalone mode has instead of Pub/Sub. The file only grows;
//! whoever rotates it does so by renaming, and the topic goes on in a new one.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use futures::future::BoxFuture;
use jiff::Timestamp;
use serde::Serialize;
use tokio::task::JoinHandle;

use super::message::Message;
use super::sink::{Sink, SinkError};

/// Publishes to a file.
#[derive(Debug)]
pub struct LocalTopic {
    path: PathBuf,
    /// Survives a dropped attempt, so that two never write at once.
    writing: Option<JoinHandle<io::Result<()>>>,
}

impl LocalTopic {
    /// A topic at this path; the file and its directory are made when the first
    /// event comes.
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self { path, writing: None }
    }

    async fn write(&mut self, messages: &[Message]) -> Result<(), SinkError> {
        if let Some(writing) = &mut self.writing {
            // Its events are handed in again, so its result does not matter.
            if let Err(error) = writing.await {
                tracing::error!(%error, "an earlier write of the local topic panicked");
            }
            self.writing = None;
        }
        let lines = lines(messages, Timestamp::now()).map_err(|error| SinkError::Io(error.to_string()))?;
        let path = self.path.clone();
        let writing = self
            .writing
            .insert(tokio::task::spawn_blocking(move || append(&path, &lines)));
        let written = writing.await;
        self.writing = None;
        match written {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(SinkError::Io(format!("{}: {error}", self.path.display()))),
            Err(error) => Err(SinkError::Io(error.to_string())),
        }
    }
}

impl Sink for LocalTopic {
    fn publish<'a>(&'a mut self, messages: &'a [Message]) -> BoxFuture<'a, Vec<Result<(), SinkError>>> {
        Box::pin(async move {
            let written = self.write(messages).await;
            vec![written; messages.len()]
        })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Head<'a> {
    message_id: &'a str,
    publish_time: Timestamp,
    #[serde(skip_serializing_if = "str::is_empty")]
    ordering_key: &'a str,
}

/// Attributes and payload are JSON already and go in as they are.
fn lines(messages: &[Message], now: Timestamp) -> serde_json::Result<Vec<u8>> {
    let size = messages
        .iter()
        .map(|message| message.raw_attributes().len() + message.data().len() + 256)
        .sum();
    let mut lines = Vec::with_capacity(size);
    for message in messages {
        let head = Head {
            message_id: message.id(),
            publish_time: now,
            ordering_key: message.key(),
        };
        serde_json::to_writer(&mut lines, &head)?;
        // The head's brace is opened again for what follows.
        lines.pop();
        lines.extend_from_slice(b",\"attributes\":");
        lines.extend_from_slice(message.raw_attributes());
        lines.extend_from_slice(b",\"data\":");
        if message.is_json() {
            lines.extend_from_slice(message.data());
        } else {
            // A record must not be lost for its form: it is kept as a string.
            serde_json::to_writer(&mut lines, &String::from_utf8_lossy(message.data()))?;
        }
        lines.extend_from_slice(b"}\n");
    }
    Ok(lines)
}

/// Appends durably. What an earlier crash or failure left unfinished at the end
/// is cut off first: its events were not acknowledged and come again.
fn append(path: &Path, lines: &[u8]) -> io::Result<()> {
    let (mut file, is_new) = open(path)?;
    let end = last_line_end(&mut file)?;
    if end < file.metadata()?.size() {
        file.set_len(end)?;
    }
    file.seek(SeekFrom::Start(end))?;
    file.write_all(lines)?;
    file.sync_data()?;
    if is_new && let Some(dir) = path.parent() {
        File::open(dir)?.sync_all()?;
    }
    Ok(())
}

fn open(path: &Path) -> io::Result<(File, bool)> {
    let mut options = File::options();
    options.read(true).write(true).mode(0o600);
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(dir) = path.parent() {
                fs::create_dir_all(dir)?;
            }
            Ok((options.create_new(true).open(path)?, true))
        }
        opened => Ok((opened?, false)),
    }
}

/// Where the last complete line ends.
fn last_line_end(file: &mut File) -> io::Result<u64> {
    let mut end = file.metadata()?.size();
    let mut chunk = [0; 4096];
    while end > 0 {
        let length = end.min(chunk.len() as u64);
        file.seek(SeekFrom::Start(end - length))?;
        let chunk = &mut chunk[..usize::try_from(length).map_err(io::Error::other)?];
        file.read_exact(chunk)?;
        if let Some(at) = memchr::memrchr(b'\n', chunk) {
            return Ok(end - length + at as u64 + 1);
        }
        end -= length;
    }
    Ok(0)
}
