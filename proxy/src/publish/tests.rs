//! The publisher against sinks that fail, and the local topic.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use turnpike_audit::Phase;

use super::{LocalTopic, Message, PublishState, Publisher, PublisherConfig, Sink, SinkError};
use crate::spool::{Spool, SpoolConfig, SpoolError};

/// What a sink does with a message, by a script that runs out and then succeeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Takes the first `n` messages of the attempt and fails the next; its key
    /// is paused.
    TakeThenFail(usize),
    /// Takes nothing and never answers.
    Hang,
    /// Takes all and answers for one less.
    ForgetLast,
}

/// A sink that follows a script; what it took can be looked at.
#[derive(Debug, Clone, Default)]
struct Scripted(Arc<Mutex<Script>>);

#[derive(Debug, Default)]
struct Script {
    steps: Vec<Step>,
    /// Stays down while this is set.
    down: bool,
    taken: Vec<(String, String)>,
    attempts: usize,
}

impl Scripted {
    fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        let sink = Self::default();
        sink.with(|script| script.steps = steps.into_iter().collect());
        sink
    }

    fn with<T>(&self, f: impl FnOnce(&mut Script) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Sink for Scripted {
    fn publish<'a>(&'a mut self, messages: &'a [Message]) -> BoxFuture<'a, Vec<Result<(), SinkError>>> {
        Box::pin(async move {
            let step = self.with(|script| {
                script.attempts += 1;
                (!script.steps.is_empty()).then(|| script.steps.remove(0))
            });
            if step == Some(Step::Hang) {
                std::future::pending::<()>().await;
            }
            self.with(|script| {
                let mut paused = HashSet::new();
                let mut results = Vec::new();
                for (index, message) in messages.iter().enumerate() {
                    if script.down || step == Some(Step::TakeThenFail(index)) {
                        paused.insert(message.key());
                        results.push(Err(SinkError::Rpc("unavailable".to_owned())));
                    } else if paused.contains(message.key()) {
                        results.push(Err(SinkError::Paused));
                    } else {
                        script
                            .taken
                            .push((message.key().to_owned(), message.id().to_owned()));
                        results.push(Ok(()));
                    }
                }
                if step == Some(Step::ForgetLast) {
                    results.pop();
                }
                results
            })
        })
    }
}

struct Running {
    dir: TempDir,
    spool: Arc<Spool>,
    publisher: Arc<Publisher>,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), SpoolError>>,
}

impl Running {
    fn start(dir: TempDir, mut sink: impl Sink + 'static) -> Self {
        let spool = Spool::open(SpoolConfig {
            dir: dir.path().join("spool"),
            max_bytes: 1 << 20,
            segment_bytes: 4096,
        })
        .expect("opens");
        let publisher = Arc::new(
            Publisher::new(PublisherConfig {
                max_events: 8,
                interval: Duration::from_millis(2),
                attempt_timeout: Duration::from_millis(200),
                min_backoff: Duration::from_millis(1),
                max_backoff: Duration::from_millis(10),
                drain: Duration::from_millis(300),
                ..PublisherConfig::default()
            })
            .expect("a publisher"),
        );
        let shutdown = CancellationToken::new();
        let task = tokio::spawn({
            let (spool, publisher, shutdown) = (spool.clone(), publisher.clone(), shutdown.clone());
            async move { publisher.run(&spool, &mut sink, shutdown).await }
        });
        Self {
            dir,
            spool,
            publisher,
            shutdown,
            task,
        }
    }

    /// Appends `count` events of each of three sessions in turn.
    async fn append(&self, from: usize, count: usize) {
        for n in from..from + count {
            for key in ["a", "b", "c"] {
                drop(self.spool.append(event(key, n)).await.expect("durable"));
            }
        }
    }

    async fn until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        for _ in 0..1000 {
            if holds(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!(
            "not within 10 s: {what}; {:?} {:?}",
            self.publisher.state(),
            self.spool.state()
        );
    }

    async fn published(&self) {
        self.until("all is published", |running| {
            running.spool.state().events_pending == 0
        })
        .await;
    }

    /// Stops and gives back the directory for another start.
    async fn stop(self) -> TempDir {
        self.shutdown.cancel();
        self.task.await.expect("no panic").expect("a reader");
        self.dir
    }
}

fn event(key: &str, n: usize) -> Vec<u8> {
    format!(r#"{{"id":"{key}{n}","key":"{key}","attributes":{{"phase":"intent"}},"data":{{"n":{n}}}}}"#)
        .into_bytes()
}

/// The first sight of each event, by session, in the order they came.
fn first_sights(taken: &[(String, String)], key: &str) -> Vec<String> {
    let mut seen = HashSet::new();
    taken
        .iter()
        .filter(|(of, id)| of == key && seen.insert(id.clone()))
        .map(|(_, id)| id.clone())
        .collect()
}

fn check_complete(sink: &Scripted, count: usize) {
    let taken = sink.with(|script| script.taken.clone());
    for key in ["a", "b", "c"] {
        let expected: Vec<_> = (0..count).map(|n| format!("{key}{n}")).collect();
        assert_eq!(first_sights(&taken, key), expected);
    }
}

#[tokio::test]
async fn failures_lose_nothing_and_keep_order() {
    let sink = Scripted::new([
        Step::TakeThenFail(0),
        Step::TakeThenFail(3),
        Step::Hang,
        Step::TakeThenFail(1),
        Step::ForgetLast,
        Step::TakeThenFail(7),
    ]);
    let running = Running::start(tempfile::tempdir().expect("a directory"), sink.clone());
    running.append(0, 20).await;
    running.published().await;
    running
        .until("the state recovers", |r| {
            r.publisher.state() == PublishState::Publishing
        })
        .await;
    check_complete(&sink, 20);
    assert_eq!(
        sink.with(|script| script.steps.len()),
        0,
        "the whole script was played"
    );
    running.stop().await;
}

#[tokio::test]
async fn a_batch_that_is_delivered_in_parts_is_acknowledged_whole() {
    let dir = tempfile::tempdir().expect("a directory");
    let filled = Running::start(dir, {
        let sink = Scripted::default();
        sink.with(|script| script.down = true);
        sink
    });
    filled.append(0, 2).await;
    let dir = filled.stop().await;

    let sink = Scripted::new([Step::TakeThenFail(0), Step::TakeThenFail(1)]);
    let running = Running::start(dir, sink.clone());
    running.published().await;
    check_complete(&sink, 2);
    assert_eq!(sink.with(|script| script.attempts), 3);
    running.stop().await;
}

#[tokio::test]
async fn being_behind_shows_and_ends() {
    let sink = Scripted::default();
    sink.with(|script| script.down = true);
    let running = Running::start(tempfile::tempdir().expect("a directory"), sink.clone());
    running.append(0, 2).await;
    running
        .until("it is behind", |running| {
            matches!(running.publisher.state(), PublishState::Behind { error, .. } if error == "publishing failed: unavailable")
        })
        .await;
    assert_eq!(running.spool.state().events_pending, 6);
    sink.with(|script| script.down = false);
    running.published().await;
    running
        .until("the state recovers", |r| {
            r.publisher.state() == PublishState::Publishing
        })
        .await;
    check_complete(&sink, 2);
    running.stop().await;
}

#[tokio::test]
async fn shutdown_publishes_what_is_queued() {
    let sink = Scripted::default();
    let running = Running::start(tempfile::tempdir().expect("a directory"), sink.clone());
    running.append(0, 1).await;
    for key in ["a", "b", "c"] {
        running.spool.append_later(&event(key, 1)).expect("room");
    }
    let spool = running.spool.clone();
    running.stop().await;
    check_complete(&sink, 2);
    assert_eq!(spool.state().events_pending, 0);
}

#[tokio::test]
async fn a_sink_that_stays_down_does_not_hold_up_the_end() {
    let sink = Scripted::default();
    sink.with(|script| script.down = true);
    let running = Running::start(tempfile::tempdir().expect("a directory"), sink.clone());
    running.append(0, 3).await;
    let dir = running.stop().await;

    sink.with(|script| script.down = false);
    let again = Running::start(dir, sink.clone());
    again.published().await;
    check_complete(&sink, 3);
    again.stop().await;
}

#[tokio::test]
async fn one_publisher_a_spool() {
    let running = Running::start(tempfile::tempdir().expect("a directory"), Scripted::default());
    running.append(0, 1).await;
    running.published().await;
    let second = running
        .publisher
        .run(&running.spool, &mut Scripted::default(), CancellationToken::new())
        .await;
    assert!(matches!(second, Err(SpoolError::ReaderTaken)), "{second:?}");
    running.stop().await;
}

#[tokio::test]
async fn metrics_tell() {
    let sink = Scripted::new([Step::TakeThenFail(0)]);
    let running = Running::start(tempfile::tempdir().expect("a directory"), sink);
    let registry = prometheus::Registry::new();
    running
        .publisher
        .metrics()
        .register(&registry)
        .expect("registers");
    running.spool.metrics().register(&registry).expect("registers");
    running.append(0, 1).await;
    running.published().await;
    let text = prometheus::TextEncoder::new()
        .encode_to_string(&registry.gather())
        .expect("encodes");
    for line in [
        "turnpike_published_total 3",
        "turnpike_publish_failures_total{reason=\"rpc\"} 1",
        "turnpike_spool_events 0",
        "turnpike_spool_bytes 0",
        "turnpike_spool_appended_total 3",
    ] {
        assert!(text.lines().any(|is| is == line), "{line} in:\n{text}");
    }
    running.stop().await;
}

fn read_topic(path: &Path) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(path).expect("the topic");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a line is JSON"))
        .collect()
}

#[tokio::test]
async fn the_local_topic_is_lines_of_messages() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("audit/topic.jsonl");
    let running = Running::start(dir, LocalTopic::new(path.clone()));
    running.append(0, 1).await;
    drop(
        running
            .spool
            .append(b"no envelope".to_vec())
            .await
            .expect("durable"),
    );
    drop(
        running
            .spool
            .append(b"[\"nor this\"]".to_vec())
            .await
            .expect("durable"),
    );
    running.published().await;
    let mut lines = read_topic(&path);
    lines.iter_mut().for_each(|line| drop(line["publishTime"].take()));
    let unreadable = |seq: u64, data| {
        serde_json::json!({
            "messageId": format!("spool-{seq}"), "publishTime": null,
            "attributes": {"turnpike-unreadable": "true"}, "data": data,
        })
    };
    assert_eq!(
        lines[0],
        serde_json::json!({
            "messageId": "a0", "publishTime": null, "orderingKey": "a",
            "attributes": {"phase": "intent"}, "data": {"n": 0},
        })
    );
    assert_eq!(
        lines[3..],
        [
            unreadable(4, serde_json::json!("no envelope")),
            unreadable(5, serde_json::json!("[\"nor this\"]")),
        ]
    );
    running.stop().await;
}

#[tokio::test]
async fn a_torn_topic_is_mended_and_reads_as_a_trail() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("topic.jsonl");
    fs::write(&path, "{\"messageId\":\"before\"}\n{\"messageId\":\"to").expect("written");
    let running = Running::start(dir, LocalTopic::new(path.clone()));
    drop(running.spool.append(audit_event()).await.expect("durable"));
    running.published().await;
    let dir = running.stop().await;
    let text = fs::read(&path).expect("the topic");
    let lines: Vec<_> = text.split(|byte| *byte == b'\n').collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0], b"{\"messageId\":\"before\"}");
    let stored = turnpike_audit::parse_line(lines[1]).expect("a stored event");
    assert_eq!(
        (stored.key.as_str(), stored.event.unmapped.turnpike.phase),
        ("s1", Phase::Intent)
    );
    assert!(lines[2].is_empty());
    drop(dir);
}

fn audit_event() -> Vec<u8> {
    use turnpike_audit::{Actor, ApiCall, DecisionRecord, Event, Stage, Verdict};
    let now = jiff::Timestamp::now();
    Event {
        id: uuid::Uuid::now_v7(),
        call_id: uuid::Uuid::now_v7(),
        at: now,
        started: now,
        source: "//turnpike.dev/proxies/test",
        product_version: "0.1.0",
        actor: Actor {
            session: "s1",
            ..Actor::default()
        },
        call: ApiCall {
            verb: "GET",
            host: "storage.googleapis.com",
            path: "/",
            ..ApiCall::default()
        },
        decision: DecisionRecord::new(Verdict::Allow, "RULE_ALLOWED"),
        stage: Stage::Intent,
    }
    .to_line()
    .expect("encodes")
}
