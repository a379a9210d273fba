//! The spool against a model of it, over crashes; and its limits one by one.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::future::join_all;
use proptest::prelude::*;
use tempfile::TempDir;

use super::storage::{OsStorage, SegmentFile, Storage};
use super::{LINGER, OUTCOME_BYTES, Receipt, Spool, SpoolConfig, SpoolError, SpoolReader, SpoolState};

/// A disk that can be made to stop in the middle of a write and that forgets,
/// at a crash, some of what was not synced.
#[derive(Debug, Clone, Default)]
struct Disk(Arc<Mutex<DiskState>>);

#[derive(Debug, Default)]
struct DiskState {
    /// Bytes that can still be written; `None` is no limit.
    budget: Option<usize>,
    files: HashMap<PathBuf, Extent>,
}

#[derive(Debug, Default)]
struct Extent {
    synced: u64,
    written: u64,
}

impl Disk {
    fn stop_after(&self, bytes: usize) {
        super::locked(&self.0).budget = Some(bytes);
    }

    /// Cuts each file somewhere in what was not synced, and flips a bit of what
    /// is left of that; then works again.
    fn crash(&self, keep: f64, garble: bool) {
        let mut state = super::locked(&self.0);
        state.budget = None;
        for (path, extent) in std::mem::take(&mut state.files) {
            let unsynced = extent.written - extent.synced;
            if unsynced == 0 || !path.exists() {
                continue;
            }
            let kept = (unsynced as f64 * keep) as usize;
            let mut bytes = fs::read(&path).expect("a segment is readable");
            bytes.truncate(extent.synced as usize + kept);
            if garble && kept > 0 {
                bytes[extent.synced as usize + kept / 2] ^= 0x20;
            }
            fs::write(&path, bytes).expect("a segment is writable");
        }
    }
}

impl Storage for Disk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        let file = OsStorage.create(path)?;
        super::locked(&self.0)
            .files
            .insert(path.to_owned(), Extent::default());
        Ok(Box::new(TornFile {
            disk: self.clone(),
            path: path.to_owned(),
            file,
        }))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        OsStorage.sync_dir(dir)
    }
}

#[derive(Debug)]
struct TornFile {
    disk: Disk,
    path: PathBuf,
    file: Box<dyn SegmentFile>,
}

impl SegmentFile for TornFile {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = super::locked(&self.disk.0);
        let fits = state.budget.map_or(bytes.len(), |left| left.min(bytes.len()));
        state.budget = state.budget.map(|left| left - fits);
        self.file.write_all(&bytes[..fits])?;
        state.files.entry(self.path.clone()).or_default().written += fits as u64;
        if fits < bytes.len() {
            return Err(io::Error::other("the disk stopped"));
        }
        Ok(())
    }

    fn sync_data(&mut self) -> io::Result<()> {
        let mut state = super::locked(&self.disk.0);
        if state.budget == Some(0) {
            return Err(io::Error::other("the disk stopped"));
        }
        self.file.sync_data()?;
        let extent = state.files.entry(self.path.clone()).or_default();
        extent.synced = extent.written;
        Ok(())
    }
}

#[derive(Debug, Clone)]
enum Op {
    Append { together: usize, pad: usize },
    Later { pad: usize },
    Flush,
    Read { max: usize },
    Ack { part: f64 },
    Close,
    Crash { bytes: usize, keep: f64, garble: bool },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (1..6_usize, 0..400_usize).prop_map(|(together, pad)| Op::Append { together, pad }),
        3 => (0..400_usize).prop_map(|pad| Op::Later { pad }),
        1 => Just(Op::Flush),
        3 => (1..8_usize).prop_map(|max| Op::Read { max }),
        3 => (0.0..1.0_f64).prop_map(|part| Op::Ack { part }),
        1 => Just(Op::Close),
        2 => (0..2000_usize, 0.0..1.0_f64, any::<bool>())
            .prop_map(|(bytes, keep, garble)| Op::Crash { bytes, keep, garble }),
    ]
}

/// What the model knows of an event.
#[derive(Debug)]
struct Known {
    id: u64,
    durable: bool,
    acked: bool,
}

struct World {
    dir: TempDir,
    disk: Disk,
    spool: Option<Arc<Spool>>,
    reader: Option<SpoolReader>,
    log: Vec<Known>,
    next_id: u64,
    seqs: HashMap<u64, u64>,
    /// Read and not acknowledged by the current reader: number and id.
    read: Vec<(u64, u64)>,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            dir: tempfile::tempdir().expect("a temporary directory"),
            disk: Disk::default(),
            spool: None,
            reader: None,
            log: Vec::new(),
            next_id: 0,
            seqs: HashMap::new(),
            read: Vec::new(),
        };
        world.open();
        world
    }

    fn open(&mut self) {
        let config = config(self.dir.path(), 10_000_000);
        let spool = Spool::open_with(config, Box::new(self.disk.clone())).expect("opens");
        self.reader = Some(spool.reader().expect("one reader"));
        self.spool = Some(spool);
        self.read.clear();
    }

    fn spool(&self) -> &Arc<Spool> {
        self.spool.as_ref().expect("open")
    }

    fn event(&mut self, pad: usize) -> Vec<u8> {
        let id = self.next_id;
        self.next_id += 1;
        self.log.push(Known {
            id,
            durable: false,
            acked: false,
        });
        format!("{{\"id\":{id},\"pad\":\"{}\"}}", "x".repeat(pad)).into_bytes()
    }

    async fn append(&mut self, together: usize, pad: usize) {
        let first = self.log.len();
        let events: Vec<_> = (0..together).map(|_| self.event(pad)).collect();
        let appends = events.into_iter().map(|event| self.spool().append(event));
        let results = join_all(appends).await;
        for (known, result) in self.log[first..].iter_mut().zip(results) {
            if let Ok(receipt) = result {
                known.durable = true;
                self.seqs.insert(known.id, receipt.seq());
            }
        }
        // What was queued before a durable event is durable too.
        let last = self.log.iter().rposition(|known| known.durable);
        self.log[..last.map_or(0, |last| last + 1)]
            .iter_mut()
            .for_each(|known| known.durable = true);
    }

    async fn flush(&mut self) {
        if self.spool().flush().await.is_ok() {
            self.log.iter_mut().for_each(|known| known.durable = true);
        }
    }

    async fn read(&mut self, max: usize) {
        let batch = self
            .reader
            .as_mut()
            .expect("open")
            .try_batch(max, 1000)
            .await
            .expect("readable");
        assert!(batch.events.len() <= max);
        for event in batch.events {
            let json: serde_json::Value = serde_json::from_slice(&event.event).expect("JSON");
            let id = json["id"].as_u64().expect("an id");
            let seq = *self.seqs.entry(id).or_insert(event.seq);
            assert_eq!(seq, event.seq, "an event keeps its number");
            assert!(
                self.read
                    .last()
                    .is_none_or(|&(last, before)| last < seq && before < id)
            );
            self.read.push((seq, id));
        }
    }

    async fn ack(&mut self, part: f64) {
        let count = (self.read.len() as f64 * part).ceil() as usize;
        let Some(&(upto, _)) = self.read[..count].last() else {
            return;
        };
        self.reader.as_mut().expect("open").ack(upto).await;
        for (_, id) in &self.read[..count] {
            let known = self.log.iter_mut().find(|known| known.id == *id);
            known.expect("an event of ours").acked = true;
        }
    }

    async fn close(&mut self) {
        self.reader.as_mut().expect("open").persist().await;
        self.reader = None;
        self.spool = None;
        self.log.iter_mut().for_each(|known| known.durable = true);
        self.open();
        self.settle(false).await;
    }

    async fn crash(&mut self, bytes: usize, keep: f64, garble: bool) {
        self.disk.stop_after(bytes);
        for _ in 0..3 {
            self.append(2, 200).await;
        }
        self.reader = None;
        self.spool = None;
        self.disk.crash(keep, garble);
        self.open();
        self.settle(true).await;
    }

    /// Reads all there is and holds it against the model.
    async fn settle(&mut self, crashed: bool) {
        loop {
            let before = self.read.len();
            self.read(1000).await;
            if self.read.len() == before {
                break;
            }
        }
        let got: Vec<u64> = self.read.iter().map(|&(_, id)| id).collect();
        for known in &self.log {
            let there = got.contains(&known.id);
            assert!(
                there || known.acked || !known.durable,
                "lost a durable event: {known:?}"
            );
            assert!(
                crashed || !(there && known.acked),
                "a clean close forgets no ack: {known:?}"
            );
        }
        // What did not survive was never durable, or is done with. What did has
        // to be acknowledged again, where the cursor lagged.
        self.log.retain(|known| got.contains(&known.id));
        for known in &mut self.log {
            (known.durable, known.acked) = (true, false);
        }
        let mut seqs: Vec<_> = self.seqs.values().collect();
        seqs.sort_unstable();
        seqs.dedup();
        assert_eq!(seqs.len(), self.seqs.len(), "a number is never used twice");

        let state = self.spool().state();
        assert_eq!(state.events_pending, got.len() as u64);
        self.reader = None;
        self.reader = Some(self.spool().reader().expect("one reader"));
        self.read.clear();
    }

    async fn run(mut self, ops: Vec<Op>) {
        for op in ops {
            match op {
                Op::Append { together, pad } => self.append(together, pad).await,
                Op::Later { pad } => {
                    let event = self.event(pad);
                    self.spool().append_later(&event).expect("there is room");
                }
                Op::Flush => self.flush().await,
                Op::Read { max } => self.read(max).await,
                Op::Ack { part } => {
                    self.ack(part).await;
                    self.read
                        .retain(|(_, id)| self.log.iter().any(|known| known.id == *id && !known.acked));
                }
                Op::Close => self.close().await,
                Op::Crash { bytes, keep, garble } => self.crash(bytes, keep, garble).await,
            }
        }
        self.flush().await;
        self.settle(true).await;
        self.read(usize::MAX).await;
        while !self.read.is_empty() {
            self.ack(1.0).await;
            self.read.clear();
            self.read(usize::MAX).await;
        }
        assert_eq!(self.spool().state(), empty(10_000_000));
        assert_eq!(segments(self.dir.path()).len(), 1, "published segments are gone");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn crashes_lose_nothing_durable(ops in prop::collection::vec(op(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(World::new().run(ops));
    }
}

fn config(dir: &Path, max_bytes: u64) -> SpoolConfig {
    SpoolConfig {
        dir: dir.join("spool"),
        max_bytes,
        segment_bytes: 2000,
    }
}

fn empty(max_bytes: u64) -> SpoolState {
    SpoolState {
        bytes: 0,
        reserved: 0,
        max_bytes,
        events_pending: 0,
        oldest: None,
        failed: None,
    }
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.join("spool")).expect("the spool's directory");
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
        .collect();
    paths.sort();
    paths
}

fn open(dir: &TempDir, max_bytes: u64) -> Arc<Spool> {
    Spool::open(config(dir.path(), max_bytes)).expect("opens")
}

async fn read_all(spool: &Spool) -> Vec<String> {
    let mut reader = spool.reader().expect("one reader");
    let mut all = Vec::new();
    loop {
        let batch = reader.try_batch(100, 1 << 20).await.expect("readable");
        if batch.events.is_empty() {
            return all;
        }
        all.extend(
            batch
                .events
                .iter()
                .map(|event| String::from_utf8_lossy(&event.event).into_owned()),
        );
    }
}

#[tokio::test]
async fn full_refuses_calls_and_keeps_room_for_outcomes() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let spool = open(&dir, 3 * OUTCOME_BYTES);
    let event = vec![b'1'; 1000];
    let mut receipts: Vec<Receipt> = Vec::new();
    let full = loop {
        match spool.append(event.clone()).await {
            Ok(receipt) => receipts.push(receipt),
            Err(error) => break error,
        }
    };
    assert!(matches!(full, SpoolError::Full { .. }), "{full}");
    assert_eq!(receipts.len(), 2);
    assert!(spool.state().is_full());

    // Refusals are recorded while there is room, but never in that of outcomes.
    while spool.append_later(&event).is_ok() {}
    let outcome = vec![b'2'; OUTCOME_BYTES as usize - 100];
    for receipt in receipts {
        spool
            .append_outcome(receipt.into_room(), &outcome)
            .expect("an outcome has its room");
    }
    spool.flush().await.expect("durable");
    assert_eq!(spool.state().reserved, 0);

    let mut reader = spool.reader().expect("one reader");
    while let Ok(batch) = reader.try_batch(100, 1 << 20).await
        && let Some(last) = batch.last_seq()
    {
        reader.ack(last).await;
    }
    assert_eq!(spool.state(), empty(3 * OUTCOME_BYTES));
    let receipt = spool.append(event).await.expect("room again");
    drop(receipt);
    assert_eq!(spool.state().reserved, 0, "a receipt gives its room back");
}

#[tokio::test]
async fn refusals_leave_the_last_quarter_to_calls() {
    const MOST: u64 = 16 * OUTCOME_BYTES;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let spool = open(&dir, MOST);
    let event = vec![b'1'; 1000];
    let full = loop {
        if let Err(error) = spool.append_refusal(&event) {
            break error;
        }
    };
    assert!(matches!(full, SpoolError::Full { .. }), "{full}");
    let taken = spool.state().bytes;
    assert!((MOST * 3 / 4 - 1100..=MOST * 3 / 4).contains(&taken), "{taken}");
    // A call that is let pass still has its intent, its hold and its outcome recorded.
    let receipt = spool.append(event.clone()).await.expect("room for a call");
    spool.append_later(&event).expect("room for a hold");
    spool
        .append_outcome(receipt.into_room(), &event)
        .expect("room for an outcome");
    assert!(matches!(
        spool.append_refusal(&event),
        Err(SpoolError::Full { .. })
    ));
}

#[tokio::test]
async fn the_first_failure_is_final() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let disk = Disk::default();
    let spool = Spool::open_with(config(dir.path(), 1 << 20), Box::new(disk.clone())).expect("opens");
    drop(spool.append(b"1".to_vec()).await.expect("durable"));
    disk.stop_after(10);
    let error = spool.append(b"2".to_vec()).await.expect_err("the disk stopped");
    assert!(matches!(error, SpoolError::Failed(_)), "{error}");
    disk.crash(1.0, false);
    for _ in 0..2 {
        let error = spool.append(b"3".to_vec()).await.expect_err("failed for good");
        assert!(matches!(error, SpoolError::Failed(_)), "{error}");
    }
    assert!(matches!(spool.append_later(b"4"), Err(SpoolError::Failed(_))));
    assert!(matches!(spool.flush().await, Err(SpoolError::Failed(_))));
    assert_eq!(
        spool.state().failed.as_deref(),
        Some("a write failed: the disk stopped")
    );
    assert_eq!(
        read_all(&spool).await,
        ["1"],
        "what is durable is still published"
    );
}

#[tokio::test]
async fn damage_is_skipped_and_counted() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let spool = open(&dir, 1 << 20);
    for n in 0..4 {
        drop(
            spool
                .append(format!("{{\"n\":{n}}}").into_bytes())
                .await
                .expect("durable"),
        );
    }
    let path = segments(dir.path()).remove(0);
    let mut bytes = fs::read(&path).expect("a segment");
    let at = memchr::memmem::find(&bytes, b"\"n\":1").expect("the second event");
    bytes[at + 4] = b'7';
    fs::write(&path, &bytes).expect("written");
    let left = ["{\"n\":0}", "{\"n\":2}", "{\"n\":3}"];
    assert_eq!(read_all(&spool).await, left);
    drop(spool);

    let spool = open(&dir, 1 << 20);
    assert_eq!(spool.state().events_pending, 3);
    assert_eq!(read_all(&spool).await, left);
    let registry = prometheus::Registry::new();
    spool.metrics().register(&registry).expect("registers");
    let damaged = registry
        .gather()
        .into_iter()
        .find(|family| family.name() == "turnpike_spool_damaged_lines_total")
        .expect("the counter");
    assert_eq!(
        damaged.get_metric()[0].get_counter().get_value(),
        2.0,
        "at opening, at reading"
    );
    let receipt = spool.append(b"5".to_vec()).await.expect("durable");
    assert_eq!(receipt.seq(), 5, "numbers go on");
}

#[tokio::test]
async fn numbers_go_on_without_a_cursor() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let cursor = dir.path().join("spool/cursor.json");
    let spool = open(&dir, 1 << 20);
    drop(spool.append(b"1".to_vec()).await.expect("durable"));
    drop(spool);

    // An unreadable cursor counts as none: what is there is read again.
    fs::write(&cursor, "{\"acked\":").expect("written");
    let spool = open(&dir, 1 << 20);
    assert_eq!(read_all(&spool).await, ["1"]);
    let mut reader = spool.reader().expect("one reader");
    reader.try_batch(1, 1).await.expect("readable");
    reader.ack(1).await;
    reader.persist().await;
    drop((reader, spool));

    drop(open(&dir, 1 << 20));
    fs::remove_file(&cursor).expect("the cursor");
    let spool = open(&dir, 1 << 20);
    assert_eq!(read_all(&spool).await, [""; 0], "the published segment is gone");
    assert_eq!(spool.append(b"2".to_vec()).await.expect("durable").seq(), 2);
}

#[tokio::test]
async fn lines_nobody_waits_for_become_durable() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let spool = open(&dir, 1 << 20);
    let mut reader = spool.reader().expect("one reader");
    assert!(matches!(spool.reader(), Err(SpoolError::ReaderTaken)));
    let started = Instant::now();
    spool.append_later(b"1").expect("room");
    let batch = tokio::time::timeout(Duration::from_secs(10), reader.next_batch(10, 1000))
        .await
        .expect("within the bound")
        .expect("readable");
    assert_eq!(batch.events[0].event, "1");
    assert!(started.elapsed() >= LINGER, "it waits for others");
}

#[tokio::test]
async fn what_is_no_line_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let spool = open(&dir, 1 << 30);
    for event in [
        Vec::new(),
        b"1\n2".to_vec(),
        vec![b'1'; super::MAX_EVENT_BYTES + 1],
    ] {
        let error = spool.append(event).await.expect_err("refused");
        assert!(matches!(error, SpoolError::Malformed(_)), "{error}");
    }
    drop(
        spool
            .append(vec![b'1'; super::MAX_EVENT_BYTES])
            .await
            .expect("the longest"),
    );
    assert_eq!(read_all(&spool).await[0].len(), super::MAX_EVENT_BYTES);
}

#[tokio::test]
async fn two_processes_cannot_share_it() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let spool = open(&dir, 1 << 20);
    let second = Spool::open(config(dir.path(), 1 << 20)).expect_err("locked");
    assert!(matches!(second, SpoolError::Locked(_)), "{second}");
    drop(spool);
    drop(open(&dir, 1 << 20));
}

/// Not a claim, a figure: printed with `--nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn throughput() {
    const TASKS: usize = 32;
    const EACH: usize = 200;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut config = config(dir.path(), 1 << 30);
    config.segment_bytes = 64 << 20;
    let spool = Spool::open(config).expect("opens");
    let event = vec![b'1'; 2048];
    let started = Instant::now();
    let tasks = (0..TASKS).map(|_| {
        let (spool, event) = (Arc::clone(&spool), event.clone());
        tokio::spawn(async move {
            for _ in 0..EACH {
                let receipt = spool.append(event.clone()).await.expect("durable");
                spool.append_outcome(receipt.into_room(), &event).expect("room");
            }
        })
    });
    for task in join_all(tasks).await {
        task.expect("no panic");
    }
    spool.flush().await.expect("durable");
    let calls = TASKS * EACH;
    println!(
        "{calls} calls (an intent waited for and an outcome, 2 KiB each), {TASKS} at a time: {:.0} calls/s",
        calls as f64 / started.elapsed().as_secs_f64()
    );
    assert_eq!(spool.state().events_pending, 2 * calls as u64);
}
