//! The thread that owns the open segment, and the queue it takes from.
//!
//! Appenders frame their lines straight into the queue's buffer; the thread
//! swaps that buffer for an empty one, so a group costs one write, one sync and
//! no copy. The lock is held for a swap or one line's copy, never over I/O.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::mem;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{oneshot, watch};

use super::segment::{self, Recovered, Segment};
use super::storage::{SegmentFile, Storage};
use super::{LINGER, SpoolConfig, SpoolError, SpoolMetrics, line, locked};

/// A buffer that a burst blew up beyond this is not kept.
const KEEP_BUFFER: usize = 4 * 1024 * 1024;

/// Events younger than this share one mark of age.
const MARK: SignedDuration = SignedDuration::from_secs(1);

/// What appenders, writer and reader share.
pub(super) struct Shared {
    pub(super) config: SpoolConfig,
    pub(super) queue: Mutex<Queue>,
    pub(super) wake: Condvar,
    pub(super) progress: watch::Sender<Progress>,
    pub(super) reader_taken: AtomicBool,
    pub(super) metrics: SpoolMetrics,
}

/// How far the writer has come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress {
    /// Number of the last durable event.
    pub(super) durable: u64,
    /// The writer has ended, for good or ill.
    pub(super) stopped: bool,
}

/// What is queued, and the books.
#[derive(Debug)]
pub(super) struct Queue {
    buffer: Vec<u8>,
    /// Appenders that wait for the lines in the buffer.
    pub(super) waiters: Vec<oneshot::Sender<Result<(), SpoolError>>>,
    /// Somebody waits for durability without a line of his own.
    pub(super) urgent: bool,
    queued_since: Option<Instant>,
    queued: u64,
    pub(super) next_seq: u64,
    /// Last acknowledged number.
    pub(super) acked: u64,
    /// Unacknowledged, queued ones included.
    pub(super) bytes: u64,
    pub(super) events: u64,
    /// Held for outcomes.
    pub(super) reserved: u64,
    /// Durable segments, oldest first; the last is the open one.
    pub(super) segments: VecDeque<Segment>,
    /// Up to which number events are at most how old.
    marks: VecDeque<(u64, Timestamp)>,
    pub(super) failed: Option<Arc<str>>,
    pub(super) closing: bool,
}

impl Queue {
    pub(super) fn new(recovered: &Recovered) -> Self {
        let mut segments = recovered.segments.clone();
        segments.push_back(Segment {
            first: recovered.next_seq,
            len: 0,
        });
        Self {
            buffer: Vec::new(),
            waiters: Vec::new(),
            urgent: false,
            queued_since: None,
            queued: 0,
            next_seq: recovered.next_seq,
            acked: recovered.acked,
            bytes: recovered.bytes,
            events: recovered.events,
            reserved: 0,
            segments,
            marks: recovered
                .oldest
                .map(|oldest| (recovered.next_seq - 1, oldest))
                .into_iter()
                .collect(),
            failed: None,
            closing: false,
        }
    }

    /// Queues a line and returns its number.
    pub(super) fn push(&mut self, event: &[u8]) -> u64 {
        let seq = self.next_seq;
        self.next_seq += 1;
        self.queued += 1;
        self.queued_since.get_or_insert_with(Instant::now);
        self.bytes += line::framed_len(event);
        self.events += 1;
        line::frame(&mut self.buffer, seq, event);
        seq
    }

    /// Whether the writer sleeps without a time to wake.
    pub(super) fn is_idle(&self) -> bool {
        self.buffer.is_empty()
    }

    /// When the oldest unacknowledged event was appended.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.marks.front().map(|&(_, at)| at)
    }

    /// Takes acknowledged events off the books; returns the segments that are
    /// done with. The open segment stays, since its name keeps the numbering.
    pub(super) fn acknowledge(&mut self, upto: u64, events: u64, bytes: u64) -> Vec<Segment> {
        self.acked = upto;
        self.events = self.events.saturating_sub(events);
        self.bytes = self.bytes.saturating_sub(bytes);
        while self.marks.front().is_some_and(|&(last, _)| last <= upto) {
            self.marks.pop_front();
        }
        let mut done = Vec::new();
        while self.segments.get(1).is_some_and(|next| next.first <= upto + 1) {
            done.extend(self.segments.pop_front());
        }
        done
    }

    fn mark(&mut self, last: u64, now: Timestamp) {
        match self.marks.back_mut() {
            Some((mark, since)) if now.duration_since(*since) < MARK => *mark = last,
            _ => self.marks.push_back((last, now)),
        }
    }
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Queue> {
        locked(&self.queue)
    }

    pub(super) fn why_stopped(&self) -> SpoolError {
        match &self.lock().failed {
            Some(why) => SpoolError::Failed(Arc::clone(why)),
            None => SpoolError::Closed,
        }
    }

    /// Brings the gauges up to date.
    pub(super) fn show(&self, queue: &Queue) {
        self.metrics.pending(queue.events, queue.bytes);
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

pub(super) fn spawn(
    shared: Arc<Shared>,
    storage: Box<dyn Storage>,
    file: Box<dyn SegmentFile>,
    first: u64,
) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name("spool".to_owned()).spawn(move || {
        Writer {
            shared,
            storage,
            file,
            open: Segment { first, len: 0 },
            spare: Vec::new(),
        }
        .run();
    })
}

struct Writer {
    shared: Arc<Shared>,
    storage: Box<dyn Storage>,
    file: Box<dyn SegmentFile>,
    open: Segment,
    /// The buffer of the last group, emptied.
    spare: Vec<u8>,
}

/// What was queued when the writer looked.
struct Group {
    lines: Vec<u8>,
    waiters: Vec<oneshot::Sender<Result<(), SpoolError>>>,
    events: u64,
    last: u64,
}

impl Writer {
    fn run(mut self) {
        while let Some(group) = self.next_group() {
            let started = Instant::now();
            match self.write(&group) {
                Ok(()) => self.complete(group, started.elapsed()),
                Err(error) => {
                    tracing::error!(%error, "the spool has failed; calls are refused until a restart");
                    self.fail(&format!("a write failed: {error}"), group.waiters);
                    return;
                }
            }
        }
    }

    /// Waits for lines; `None` when the spool closes and nothing is left.
    fn next_group(&mut self) -> Option<Group> {
        let mut queue = self.shared.lock();
        loop {
            if queue.is_idle() {
                queue.urgent = false;
                if queue.closing {
                    return None;
                }
                queue = self
                    .shared
                    .wake
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let waited = queue.queued_since.map_or(LINGER, |since| since.elapsed());
            if !queue.waiters.is_empty() || queue.urgent || queue.closing || waited >= LINGER {
                break;
            }
            queue = self
                .shared
                .wake
                .wait_timeout(queue, LINGER - waited)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        queue.urgent = false;
        queue.queued_since = None;
        Some(Group {
            lines: mem::replace(&mut queue.buffer, mem::take(&mut self.spare)),
            waiters: mem::take(&mut queue.waiters),
            events: mem::take(&mut queue.queued),
            last: queue.next_seq - 1,
        })
    }

    fn write(&mut self, group: &Group) -> io::Result<()> {
        let config = &self.shared.config;
        let length = group.lines.len() as u64;
        if self.open.len > 0 && self.open.len + length > config.segment_bytes {
            let first = group.last + 1 - group.events;
            self.file = self.storage.create(&segment::path(&config.dir, first))?;
            self.storage.sync_dir(&config.dir)?;
            self.open = Segment { first, len: 0 };
        }
        self.file.write_all(&group.lines)?;
        self.file.sync_data()?;
        self.open.len += length;
        Ok(())
    }

    fn complete(&mut self, group: Group, took: Duration) {
        {
            let mut queue = self.shared.lock();
            match queue.segments.back_mut() {
                Some(open) if open.first == self.open.first => open.len = self.open.len,
                _ => queue.segments.push_back(self.open.clone()),
            }
            queue.mark(group.last, Timestamp::now());
            self.shared.show(&queue);
        }
        for waiter in group.waiters {
            // An appender that has gone away needs no answer.
            drop(waiter.send(Ok(())));
        }
        self.shared
            .progress
            .send_modify(|progress| progress.durable = group.last);
        self.shared
            .metrics
            .committed(group.events, group.lines.len(), took);
        if group.lines.capacity() <= KEEP_BUFFER {
            self.spare = group.lines;
            self.spare.clear();
        }
    }

    fn fail(&self, why: &str, waiters: Vec<oneshot::Sender<Result<(), SpoolError>>>) {
        let why: Arc<str> = Arc::from(why);
        let late = {
            let mut queue = self.shared.lock();
            queue.failed = Some(Arc::clone(&why));
            mem::take(&mut queue.waiters)
        };
        self.shared.metrics.failed();
        for waiter in waiters.into_iter().chain(late) {
            drop(waiter.send(Err(SpoolError::Failed(Arc::clone(&why)))));
        }
    }
}

impl Drop for Writer {
    /// However the thread ends, nobody is left waiting and nothing is accepted.
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        if queue.failed.is_none() && !(queue.closing && queue.is_idle()) {
            queue.failed = Some(Arc::from("its writer panicked"));
        }
        queue.waiters.clear();
        drop(queue);
        self.shared
            .progress
            .send_modify(|progress| progress.stopped = true);
    }
}
