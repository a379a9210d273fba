//! The one reader of a spool: durable events in order, and the
//! acknowledgements that let them go.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;

use super::segment::{self, Segment};
use super::writer::Shared;
use super::{CURSOR_INTERVAL, MAX_EVENT_BYTES, SpoolError, cursor, line};

/// Room for the longest line with its frame.
const MAX_LINE: u64 = MAX_EVENT_BYTES as u64 + 128;

/// Reads durable events in order.
///
/// Reading does not acknowledge: what was read and not acknowledged is read
/// again after a restart, and by the next reader.
#[derive(Debug)]
pub struct SpoolReader {
    shared: Arc<Shared>,
    position: Position,
    /// Number and size of events that were read and not acknowledged.
    unacked: VecDeque<(u64, u64)>,
    acked: u64,
    persisted: u64,
    persisted_at: Instant,
}

/// Durable events, oldest first.
#[derive(Debug, Default)]
pub struct Batch {
    /// The events.
    pub events: Vec<SpooledEvent>,
}

/// One durable event.
#[derive(Debug, Clone)]
pub struct SpooledEvent {
    /// Its sequence number.
    pub seq: u64,
    /// The bytes that were appended.
    pub event: Bytes,
}

impl Batch {
    /// Number of the last event, to be acknowledged when all are delivered.
    #[must_use]
    pub fn last_seq(&self) -> Option<u64> {
        self.events.last().map(|event| event.seq)
    }
}

/// Where to read on.
#[derive(Debug, Clone, Copy)]
struct Position {
    /// Next number to read.
    seq: u64,
    /// Segment and offset in it; segment 0 is before the first.
    segment: u64,
    offset: u64,
}

impl SpoolReader {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let acked = shared.lock().acked;
        Self {
            position: Position {
                seq: acked + 1,
                segment: 0,
                offset: 0,
            },
            unacked: VecDeque::new(),
            acked,
            persisted: acked,
            persisted_at: Instant::now(),
            shared,
        }
    }

    /// The next events, at most `max_events` and about `max_bytes` of them but
    /// at least one; waits while there are none. Dropping the future loses
    /// nothing.
    ///
    /// # Errors
    ///
    /// When a segment cannot be read, or with [`SpoolError::Closed`] or
    /// [`SpoolError::Failed`] when the writer has ended and all is read.
    pub async fn next_batch(&mut self, max_events: usize, max_bytes: u64) -> Result<Batch, SpoolError> {
        loop {
            let batch = self.try_batch(max_events, max_bytes).await?;
            if !batch.events.is_empty() {
                return Ok(batch);
            }
            self.wait().await?;
        }
    }

    /// The next events if there are any, as [`SpoolReader::next_batch`].
    ///
    /// # Errors
    ///
    /// When a segment cannot be read.
    pub async fn try_batch(&mut self, max_events: usize, max_bytes: u64) -> Result<Batch, SpoolError> {
        // Taken before the segments are looked at: they hold at least this much.
        let durable = self.shared.progress.borrow().durable;
        while let Some((segment, is_last)) = self.current() {
            let start = self.position_in(&segment);
            if start.offset >= segment.len {
                if is_last {
                    // Past damage at the end too, which would be waited for forever.
                    self.position.seq = self.position.seq.max(durable + 1);
                    break;
                }
                self.position = Position {
                    segment: segment.first + 1,
                    offset: 0,
                    ..start
                };
                continue;
            }
            let path = segment::path(&self.shared.config.dir, segment.first);
            let read =
                tokio::task::spawn_blocking(move || read(&path, start, segment.len, max_events, max_bytes))
                    .await
                    .map_err(|_| SpoolError::Closed)??;
            self.position = read.next;
            self.shared.metrics.damaged(read.damaged_lines);
            if !read.events.is_empty() {
                self.unacked
                    .extend(read.events.iter().map(|e| (e.seq, line::framed_len(&e.event))));
                return Ok(Batch { events: read.events });
            }
        }
        Ok(Batch::default())
    }

    /// Lets go of all events up to `upto`, which were read and delivered:
    /// deletes segments that are done with and, now and then, writes the cursor.
    ///
    /// Failing to do either is reported and costs no more than reading events
    /// twice after a restart, so it is no error.
    pub async fn ack(&mut self, upto: u64) {
        let (mut events, mut bytes) = (0, 0);
        while let Some(&(seq, size)) = self.unacked.front()
            && seq <= upto
        {
            self.unacked.pop_front();
            self.acked = seq;
            events += 1;
            bytes += size;
        }
        let done = {
            let mut queue = self.shared.lock();
            let done = queue.acknowledge(self.acked, events, bytes);
            self.shared.show(&queue);
            done
        };
        if !done.is_empty() || self.persisted_at.elapsed() >= CURSOR_INTERVAL {
            self.persist_and_delete(done).await;
        }
    }

    /// Writes the cursor if it lags; called before the end.
    pub async fn persist(&mut self) {
        if self.persisted < self.acked {
            self.persist_and_delete(Vec::new()).await;
        }
    }

    async fn persist_and_delete(&mut self, done: Vec<Segment>) {
        let dir = self.shared.config.dir.clone();
        let acked = self.acked;
        let stored = tokio::task::spawn_blocking(move || store_and_delete(&dir, acked, &done))
            .await
            .unwrap_or(false);
        if stored {
            self.persisted = acked;
        } else {
            self.shared.metrics.cursor_failed();
        }
        self.persisted_at = Instant::now();
    }

    /// Waits for an event that is not read yet; writes a lagging cursor first.
    async fn wait(&mut self) -> Result<(), SpoolError> {
        let next = self.position.seq;
        let mut progress = self.shared.progress.subscribe();
        let mut arrived = std::pin::pin!(progress.wait_for(|p| p.durable >= next || p.stopped));
        if self.persisted < self.acked {
            let due = CURSOR_INTERVAL.saturating_sub(self.persisted_at.elapsed());
            if let Ok(arrived) = tokio::time::timeout(due, &mut arrived).await {
                return self.arrival(arrived.ok().map(|progress| progress.durable));
            }
            self.persist().await;
        }
        let durable = arrived.await.ok().map(|progress| progress.durable);
        self.arrival(durable)
    }

    fn arrival(&self, durable: Option<u64>) -> Result<(), SpoolError> {
        match durable {
            Some(durable) if durable >= self.position.seq => Ok(()),
            _ => Err(self.shared.why_stopped()),
        }
    }

    /// The segment to read from, and whether it is the open one.
    fn current(&self) -> Option<(Segment, bool)> {
        let queue = self.shared.lock();
        let last = queue.segments.back()?.first;
        queue
            .segments
            .iter()
            .find(|segment| segment.first >= self.position.segment)
            .map(|segment| (segment.clone(), segment.first == last))
    }

    fn position_in(&self, segment: &Segment) -> Position {
        let offset = if self.position.segment == segment.first {
            self.position.offset
        } else {
            0
        };
        Position {
            segment: segment.first,
            offset,
            ..self.position
        }
    }
}

impl Drop for SpoolReader {
    fn drop(&mut self) {
        self.shared.reader_taken.store(false, Ordering::Release);
    }
}

struct Read {
    events: Vec<SpooledEvent>,
    damaged_lines: u64,
    next: Position,
}

fn read(
    path: &Path,
    start: Position,
    len: u64,
    max_events: usize,
    max_bytes: u64,
) -> Result<Read, SpoolError> {
    // The longest line always fits, so a chunk without a line end is damage.
    let wanted = (len - start.offset).min(max_bytes.max(MAX_LINE));
    let chunk = read_at(path, start.offset, wanted).map_err(|error| SpoolError::Read {
        path: path.to_owned(),
        source: Arc::new(error),
    })?;
    let mut read = Read {
        events: Vec::new(),
        damaged_lines: 0,
        next: start,
    };
    let (mut at, mut taken) = (0, 0);
    while read.events.len() < max_events && (taken < max_bytes || read.events.is_empty()) {
        let Some(end) = memchr::memchr(b'\n', &chunk[at..]).map(|end| at + end) else {
            let at_end = start.offset + chunk.len() as u64 == len;
            if at < chunk.len() && (at == 0 || at_end) {
                tracing::error!(path = %path.display(), offset = start.offset + at as u64, "damage in the spool is skipped");
                read.damaged_lines += 1;
                at = chunk.len();
            }
            break;
        };
        match line::verify(&chunk[at..end]) {
            Some(verified) if verified.seq >= start.seq => {
                let event = chunk.slice(at + verified.event.start..at + verified.event.end);
                taken += event.len() as u64;
                read.next.seq = verified.seq + 1;
                read.events.push(SpooledEvent {
                    seq: verified.seq,
                    event,
                });
            }
            // Acknowledged before the spool was opened.
            Some(_) => {}
            None => {
                tracing::error!(path = %path.display(), offset = start.offset + at as u64, "damage in the spool is skipped");
                read.damaged_lines += 1;
            }
        }
        at = end + 1;
    }
    read.next.offset = start.offset + at as u64;
    Ok(read)
}

fn read_at(path: &Path, offset: u64, length: u64) -> io::Result<Bytes> {
    let length = usize::try_from(length).map_err(io::Error::other)?;
    let mut chunk = vec![0; length];
    File::open(path)?.read_exact_at(&mut chunk, offset)?;
    Ok(Bytes::from(chunk))
}

/// Whether the cursor is on disk.
fn store_and_delete(dir: &Path, acked: u64, done: &[Segment]) -> bool {
    let stored = cursor::store(dir, acked);
    if let Err(error) = &stored {
        tracing::warn!(%error, "the spool's cursor cannot be written; events may be published again after a restart");
    }
    // Deleting goes on without a cursor: on a full disk it is what makes room.
    for segment in done {
        let path = segment::path(dir, segment.first);
        if let Err(error) = std::fs::remove_file(&path) {
            tracing::warn!(path = %path.display(), %error, "a published segment cannot be deleted");
        }
    }
    stored.is_ok()
}
