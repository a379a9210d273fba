//! The crash-safe local spool: audit events wait here, on disk, until the
//! publisher has seen them acknowledged.
//!
//! # Invariants
//!
//! 1. **Durable before it returns.** [`Spool::append`] returns a [`Receipt`]
//!    only after the event was written and `fdatasync`ed. Nothing else makes a
//!    `Receipt`.
//! 2. **Order is kept.** Events get consecutive sequence numbers in the order
//!    they were appended, are written in that order and read in that order. A
//!    number is never used twice, over restarts too.
//! 3. **A durable event is never lost.** A segment file is deleted only when all
//!    of its events were acknowledged. Recovery drops no line that verifies.
//! 4. **At least once.** After a crash, events that were acknowledged since the
//!    cursor was last written (at most [`CURSOR_INTERVAL`] ago) are read again.
//!    Their ids are the same.
//! 5. **Bounded.** Unacknowledged events, and the room that accepted calls need
//!    for their outcomes, never take more than `max_bytes`; what does not fit is
//!    refused with [`SpoolError::Full`]. Segments that are acknowledged in part
//!    add at most one `segment_bytes` to that.
//! 6. **A call that was accepted can record its outcome.** Each `Receipt` holds
//!    [`OUTCOME_BYTES`] in reserve.
//! 7. **Refusals stop no call.** Anybody can be refused as often as he likes, so
//!    the records of refusals ([`Spool::append_refusal`]) are taken only while no
//!    more than three quarters of `max_bytes` are; the last quarter is for calls
//!    that policies let pass.
//! 8. **The first failure is final.** After a failed write or `fdatasync` nobody
//!    knows what is on the disk (a later `fdatasync` may succeed without the
//!    pages of the first), so every append fails from then on, and the proxy
//!    refuses calls until it is started again and has recovered.
//!
//! # Format
//!
//! `DIR/NNNNNNNNNNNNNNNN.jsonl`, named by the sequence number of the first event,
//! one event a line:
//!
//! ```json
//! {"crc":"451cafc9","seq":17,"event":{"a":1}}
//! ```
//!
//! `crc` is the CRC-32C, in hexadecimal, of everything from `"seq"` to the end
//! of the line without its newline. A line counts if it is complete and its
//! checksum holds. `DIR/cursor.json` keeps the last acknowledged number;
//! `DIR/lock` keeps a second process out.
//!
//! # How writes are grouped
//!
//! One thread owns the file. It takes all lines that are queued, writes them at
//! once and syncs once; lines that arrive meanwhile share the next turn. Lines
//! that nobody waits for ([`Spool::append_later`], [`Spool::append_outcome`])
//! wait up to [`LINGER`] for others to share a sync with.
//!
//! The spool neither parses events nor knows what they mean.

mod cursor;
mod error;
mod line;
mod metrics;
mod reader;
mod receipt;
mod segment;
mod storage;
#[cfg(test)]
mod tests;
mod writer;

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{oneshot, watch};

pub use error::SpoolError;
pub use metrics::SpoolMetrics;
pub use reader::{Batch, SpoolReader, SpooledEvent};
pub use receipt::{OutcomeRoom, Receipt};

use segment::Recovered;
use storage::{OsStorage, Storage};
use writer::{Progress, Queue, Shared};

/// Bytes held in reserve for the outcome of each accepted call. An outcome is 2
/// to 3 KiB; one that is larger takes what is left of the rest.
pub const OUTCOME_BYTES: u64 = 8 * 1024;

/// Longest event that is accepted.
pub const MAX_EVENT_BYTES: usize = 1024 * 1024;

/// How long a line that nobody waits for may stay in memory.
pub const LINGER: Duration = Duration::from_millis(5);

/// How long the cursor on disk may lag behind the acknowledgements.
pub const CURSOR_INTERVAL: Duration = Duration::from_secs(1);

/// Where the spool lives and how large it may grow.
#[derive(Debug, Clone)]
pub struct SpoolConfig {
    /// The spool's own directory; made if missing.
    pub dir: PathBuf,
    /// Limit of unacknowledged data, in bytes.
    pub max_bytes: u64,
    /// Size at which a new segment is begun, in bytes.
    pub segment_bytes: u64,
}

/// What `/readyz` and metrics tell about the spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolState {
    /// Unacknowledged bytes.
    pub bytes: u64,
    /// Bytes held in reserve for outcomes.
    pub reserved: u64,
    /// The limit.
    pub max_bytes: u64,
    /// Unacknowledged events.
    pub events_pending: u64,
    /// About when the oldest of them was appended (to a second).
    pub oldest: Option<Timestamp>,
    /// Why the spool has failed, if it has.
    pub failed: Option<Arc<str>>,
}

impl SpoolState {
    /// Whether the next call's intent would be refused.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.bytes + self.reserved + OUTCOME_BYTES >= self.max_bytes
    }
}

/// The spool. See the module's invariants.
///
/// Dropping it writes what is queued and waits for the writer thread.
#[derive(Debug)]
pub struct Spool {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
    /// Keeps the lock for as long as the spool lives.
    _lock: File,
}

impl Spool {
    /// Opens the spool, recovers what a crash left, and starts the writer.
    ///
    /// It reads every segment once, so do it off the data path.
    ///
    /// # Errors
    ///
    /// When the directory cannot be used, or another process uses it.
    pub fn open(config: SpoolConfig) -> Result<Arc<Self>, SpoolError> {
        Self::open_with(config, Box::new(OsStorage))
    }

    fn open_with(config: SpoolConfig, storage: Box<dyn Storage>) -> Result<Arc<Self>, SpoolError> {
        let dir = &config.dir;
        create_private_dir(dir).map_err(|error| SpoolError::open(dir, error))?;
        let lock = take_lock(dir)?;
        let recovered = segment::recover(dir)?;
        let metrics = SpoolMetrics::new().map_err(|error| SpoolError::Metrics(Arc::new(error)))?;
        report(&recovered, &metrics);

        let first = recovered.next_seq;
        let file = storage
            .create(&segment::path(dir, first))
            .and_then(|file| storage.sync_dir(dir).map(|()| file))
            .map_err(|error| SpoolError::open(&segment::path(dir, first), error))?;

        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue::new(&recovered)),
            wake: Condvar::new(),
            progress: watch::Sender::new(Progress {
                durable: first - 1,
                stopped: false,
            }),
            reader_taken: AtomicBool::new(false),
            config,
            metrics,
        });
        shared.show(&shared.lock());
        let writer = writer::spawn(Arc::clone(&shared), storage, file, first)
            .map_err(|error| SpoolError::open(&shared.config.dir, error))?;
        Ok(Arc::new(Self {
            shared,
            writer: Some(writer),
            _lock: lock,
        }))
    }

    /// Appends an event, one line of JSON without its newline, and returns when
    /// it is durable. Dropping the future does not take the event back.
    ///
    /// # Errors
    ///
    /// [`SpoolError::Full`], [`SpoolError::Failed`], [`SpoolError::Closed`] and
    /// [`SpoolError::Malformed`]: the call must be refused.
    pub async fn append(&self, event: Vec<u8>) -> Result<Receipt, SpoolError> {
        check(&event)?;
        let (seq, room, done) = {
            let mut queue = self.shared.lock();
            self.admit(&queue, line::framed_len(&event), OUTCOME_BYTES)?;
            queue.reserved += OUTCOME_BYTES;
            let room = OutcomeRoom {
                shared: Arc::clone(&self.shared),
            };
            let (done, wait) = oneshot::channel();
            let seq = queue.push(&event);
            queue.waiters.push(done);
            (seq, room, wait)
        };
        self.shared.wake.notify_one();
        match done.await {
            Ok(Ok(())) => Ok(Receipt { seq, room }),
            Ok(Err(error)) => Err(error),
            // The writer is gone without a word: it panicked.
            Err(_) => Err(self.shared.why_stopped()),
        }
    }

    /// Queues an event that no call waits for. It keeps its place in the order and
    /// is durable within [`LINGER`] and one sync.
    ///
    /// # Errors
    ///
    /// As [`Spool::append`].
    pub fn append_later(&self, event: &[u8]) -> Result<(), SpoolError> {
        check(event)?;
        let mut queue = self.shared.lock();
        self.admit(&queue, line::framed_len(event), 0)?;
        self.queue_later(&mut queue, event);
        Ok(())
    }

    /// Queues a refusal's event, as [`Spool::append_later`] does, while it fits
    /// into three quarters of the room.
    ///
    /// # Errors
    ///
    /// As [`Spool::append`]. The refusal stands all the same: nothing has left.
    pub fn append_refusal(&self, event: &[u8]) -> Result<(), SpoolError> {
        check(event)?;
        let mut queue = self.shared.lock();
        let last_quarter = self.shared.config.max_bytes / 4;
        self.admit(&queue, line::framed_len(event), last_quarter)?;
        self.queue_later(&mut queue, event);
        Ok(())
    }

    /// Queues the outcome of an accepted call, into the room its intent reserved.
    ///
    /// # Errors
    ///
    /// As [`Spool::append`], but [`SpoolError::Full`] only for an outcome longer
    /// than [`OUTCOME_BYTES`].
    pub fn append_outcome(&self, room: OutcomeRoom, event: &[u8]) -> Result<(), SpoolError> {
        check(event)?;
        let length = line::framed_len(event);
        let mut queue = self.shared.lock();
        self.admit(&queue, length.saturating_sub(OUTCOME_BYTES), 0)?;
        self.queue_later(&mut queue, event);
        drop(queue);
        drop(room);
        Ok(())
    }

    /// Waits until everything appended so far is durable.
    ///
    /// # Errors
    ///
    /// When the spool failed before that.
    pub async fn flush(&self) -> Result<(), SpoolError> {
        let last = {
            let mut queue = self.shared.lock();
            queue.urgent = true;
            queue.next_seq - 1
        };
        self.shared.wake.notify_one();
        let mut progress = self.shared.progress.subscribe();
        let reached = progress
            .wait_for(|progress| progress.durable >= last || progress.stopped)
            .await
            .is_ok_and(|progress| progress.durable >= last);
        if reached {
            Ok(())
        } else {
            Err(self.shared.why_stopped())
        }
    }

    /// The one reader, which begins after the last acknowledged event.
    ///
    /// # Errors
    ///
    /// [`SpoolError::ReaderTaken`] while another reader lives. A second reader
    /// in one opening of the spool continues where events are unacknowledged.
    pub fn reader(&self) -> Result<SpoolReader, SpoolError> {
        if self.shared.reader_taken.swap(true, Ordering::AcqRel) {
            return Err(SpoolError::ReaderTaken);
        }
        Ok(SpoolReader::new(Arc::clone(&self.shared)))
    }

    /// How full it is and whether it works.
    #[must_use]
    pub fn state(&self) -> SpoolState {
        let queue = self.shared.lock();
        SpoolState {
            bytes: queue.bytes,
            reserved: queue.reserved,
            max_bytes: self.shared.config.max_bytes,
            events_pending: queue.events,
            oldest: queue.oldest(),
            failed: queue.failed.clone(),
        }
    }

    /// The spool's metrics, to be registered.
    #[must_use]
    pub fn metrics(&self) -> &SpoolMetrics {
        &self.shared.metrics
    }

    fn queue_later(&self, queue: &mut Queue, event: &[u8]) {
        let wake = queue.is_idle();
        queue.push(event);
        // The writer sleeps only while nothing is queued; after that it looks
        // by itself when the linger ends.
        if wake {
            self.shared.wake.notify_one();
        }
    }

    fn admit(&self, queue: &Queue, length: u64, reserve: u64) -> Result<(), SpoolError> {
        if let Some(why) = &queue.failed {
            return Err(SpoolError::Failed(Arc::clone(why)));
        }
        if queue.closing {
            return Err(SpoolError::Closed);
        }
        let bytes = queue.bytes + queue.reserved;
        let max_bytes = self.shared.config.max_bytes;
        if bytes + length + reserve > max_bytes {
            self.shared.metrics.refused_full();
            return Err(SpoolError::Full { bytes, max_bytes });
        }
        Ok(())
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.wake.notify_one();
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the spool's writer panicked");
        }
    }
}

fn check(event: &[u8]) -> Result<(), SpoolError> {
    if event.is_empty() {
        Err(SpoolError::Malformed("it is empty"))
    } else if event.len() > MAX_EVENT_BYTES {
        Err(SpoolError::Malformed("it is longer than 1 MiB"))
    } else if memchr::memchr(b'\n', event).is_some() {
        Err(SpoolError::Malformed("it spans lines"))
    } else {
        Ok(())
    }
}

fn create_private_dir(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

fn take_lock(dir: &Path) -> Result<File, SpoolError> {
    let path = dir.join("lock");
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|error| SpoolError::open(&path, error))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(SpoolError::Locked(dir.to_owned())),
        Err(TryLockError::Error(error)) => Err(SpoolError::open(&path, error)),
    }
}

fn report(recovered: &Recovered, metrics: &SpoolMetrics) {
    metrics.damaged(recovered.damaged_lines);
    if recovered.torn_bytes > 0 {
        tracing::warn!(
            bytes = recovered.torn_bytes,
            "cut an unfinished write off the end of the spool"
        );
    }
    if recovered.damaged_lines > 0 {
        tracing::error!(
            lines = recovered.damaged_lines,
            "the spool has damaged lines; they are skipped"
        );
    }
    if recovered.events > 0 {
        tracing::info!(
            events = recovered.events,
            bytes = recovered.bytes,
            "recovered unpublished audit events"
        );
    }
}

/// A thread that panicked while it held the lock changed counters at most, so
/// what it left is still sound; the writer's own end is told by `failed`.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
