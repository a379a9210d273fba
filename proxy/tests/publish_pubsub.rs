//! Publishing to the real Pub/Sub emulator, while it is away, without the
//! topic, there, and away again.

use std::collections::{BTreeMap, HashSet};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use turnpike_audit::{
    Actor, ApiCall, DecisionRecord, Event, OutcomeRecord, Phase, ResourceRef, Stage, StoredEvent, Verdict,
};
use turnpike_proxy::publish::{PubSub, PubSubConfig, PublishState, Publisher, PublisherConfig};
use turnpike_proxy::spool::{Spool, SpoolConfig};
use turnpike_tests::process::free_port;
use turnpike_tests::turnpike::relay::Relay;
use uuid::Uuid;

const TOPIC: &str = "projects/acme-audit/topics/turnpike";
const SUBSCRIPTION: &str = "projects/acme-audit/subscriptions/siem";

/// The emulator; it ends with this value.
struct Emulator {
    process: Child,
    address: String,
}

impl Emulator {
    /// Starts it and waits until it answers.
    async fn start(port: u16, data: &Path) -> Self {
        let script = emulator();
        let process = Command::new(&script)
            .args(["--host=127.0.0.1", &format!("--port={port}")])
            .arg(format!("--data-dir={}", data.display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", script.display()));
        let emulator = Self {
            process,
            address: format!("127.0.0.1:{port}"),
        };
        let url = format!("http://{}/", emulator.address);
        until("the emulator answers", async || reqwest::get(&url).await.is_ok()).await;
        emulator
    }

    async fn call(&self, verb: reqwest::Method, path: &str, body: Value) -> Value {
        let response = reqwest::Client::new()
            .request(verb, format!("http://{}/v1/{path}", self.address))
            .header("content-type", "application/json")
            .body(body.to_string())
            .send()
            .await
            .expect("the emulator answers");
        assert!(response.status().is_success(), "{path}: {}", response.status());
        let body = response.bytes().await.expect("a body");
        serde_json::from_slice(&body).expect("JSON")
    }

    async fn create_topic(&self) {
        self.call(reqwest::Method::PUT, TOPIC, json!({})).await;
        self.call(
            reqwest::Method::PUT,
            SUBSCRIPTION,
            json!({"topic": TOPIC, "enableMessageOrdering": true}),
        )
        .await;
    }

    /// Pulls and acknowledges until `count` different events are there.
    async fn pull(&self, count: usize) -> Vec<StoredEvent> {
        let mut events = Vec::new();
        let mut seen = HashSet::new();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        while seen.len() < count {
            assert!(
                tokio::time::Instant::now() < deadline,
                "{} of {count} events",
                seen.len()
            );
            let path = format!("{SUBSCRIPTION}:pull");
            let pulled = self
                .call(reqwest::Method::POST, &path, json!({"maxMessages": 200}))
                .await;
            let Some(received) = pulled["receivedMessages"].as_array() else {
                continue;
            };
            let acks: Vec<_> = received.iter().map(|message| message["ackId"].clone()).collect();
            for message in received {
                let event = stored(&message["message"]);
                if seen.insert(event.id.clone()) {
                    events.push(event);
                }
            }
            let path = format!("{SUBSCRIPTION}:acknowledge");
            self.call(reqwest::Method::POST, &path, json!({"ackIds": acks}))
                .await;
        }
        events
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.process.kill().expect("the emulator is ours to end");
        self.process.wait().expect("the emulator ends");
    }
}

fn stored(message: &Value) -> StoredEvent {
    let data = message["data"].as_str().expect("data");
    let data = BASE64_STANDARD.decode(data).expect("base64");
    let attributes: BTreeMap<String, String> =
        serde_json::from_value(message["attributes"].clone()).expect("attributes");
    StoredEvent::from_message(message["orderingKey"].as_str().unwrap_or(""), attributes, &data)
        .expect("an audit event")
}

/// The emulator's start script: of the SDK that `CLOUDSDK_ROOT_DIR` names, or
/// of the one that `gcloud` belongs to.
fn emulator() -> PathBuf {
    const SCRIPT: &str = "platform/pubsub-emulator/bin/cloud-pubsub-emulator";
    let named = std::env::var_os("CLOUDSDK_ROOT_DIR").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let of_gcloud = std::env::split_paths(&path)
        .filter_map(|dir| dir.join("gcloud").canonicalize().ok())
        .filter_map(|gcloud| Some(gcloud.parent()?.parent()?.to_owned()));
    let usual = [PathBuf::from("/usr/lib/google-cloud-sdk")];
    named
        .into_iter()
        .chain(of_gcloud)
        .chain(usual)
        .map(|root| root.join(SCRIPT))
        .find(|script| script.exists())
        .expect("the Pub/Sub emulator: gcloud components install pubsub-emulator")
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..600 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("not within a minute: {what}");
}

/// Appends calls, an intent and an outcome each, of three sessions in turn.
async fn call(spool: &Spool, calls: std::ops::Range<u64>) {
    for n in calls {
        for session in ["s1", "s2", "s3"] {
            let id = Uuid::now_v7();
            let receipt = spool
                .append(event(session, n, id, Stage::Intent))
                .await
                .expect("durable");
            let outcome = OutcomeRecord {
                status: 200,
                latency_us: n,
                ..OutcomeRecord::default()
            };
            spool
                .append_outcome(
                    receipt.into_room(),
                    &event(session, n, id, Stage::Outcome(&outcome)),
                )
                .expect("room");
        }
    }
}

fn event(session: &str, n: u64, call_id: Uuid, stage: Stage<'_>) -> Vec<u8> {
    let name = format!("projects/_/buckets/b/objects/{n}");
    let now = Timestamp::now();
    Event {
        id: Uuid::now_v7(),
        call_id,
        at: now,
        started: now,
        source: "//turnpike.dev/proxies/test",
        product_version: "0.1.0",
        actor: Actor {
            namespace: "agents",
            service_account: "coder",
            session,
            ..Actor::default()
        },
        call: ApiCall {
            transport: "rest",
            verb: "GET",
            host: "storage.googleapis.com",
            path: "/storage/v1/b/b/o/o",
            method: Some("storage.objects.get"),
            api: Some("storage"),
            version: Some("v1"),
            resources: &[ResourceRef {
                name: &name,
                kind: "objects",
                ..ResourceRef::default()
            }],
            traits: &["read"],
            ..ApiCall::default()
        },
        decision: DecisionRecord::new(Verdict::Allow, "RULE_ALLOWED"),
        stage,
    }
    .to_line()
    .expect("encodes")
}

/// Each session's events are those of `calls`, in order.
fn check(events: &[StoredEvent], calls: std::ops::Range<u64>) {
    for session in ["s1", "s2", "s3"] {
        let got: Vec<_> = events
            .iter()
            .filter(|event| event.key == session)
            .map(|event| (event.resource(), event.event.unmapped.turnpike.phase))
            .collect();
        let expected: Vec<_> = calls
            .clone()
            .flat_map(|n| {
                let name = format!("projects/_/buckets/b/objects/{n}");
                [(name.clone(), Phase::Intent), (name, Phase::Outcome)]
            })
            .collect();
        assert_eq!(got, expected, "session {session}");
    }
}

/// The way from the publisher's port to the emulator's. The port of one that was just cut may be taken for a
/// moment.
async fn relay_to(port: u16, emulator: u16) -> Relay {
    let mut relay = None;
    until("the port is free", async || {
        relay = Relay::start(port, emulator).await.ok();
        relay.is_some()
    })
    .await;
    relay.expect("waited for")
}

async fn behind(publisher: &Publisher, why: &str) {
    until(
        why,
        async || matches!(publisher.state(), PublishState::Behind { error, .. } if error.contains(why)),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_while_the_topic_is_away() {
    let dir = tempfile::tempdir().expect("a directory");
    let port = free_port().expect("a free port");
    let spool = Spool::open(SpoolConfig {
        dir: dir.path().join("spool"),
        max_bytes: 64 << 20,
        segment_bytes: 64 << 10,
    })
    .expect("opens");
    let config = PublisherConfig {
        max_backoff: Duration::from_secs(1),
        ..PublisherConfig::default()
    };
    let publisher = Arc::new(Publisher::new(config).expect("a publisher"));
    let shutdown = CancellationToken::new();
    let task = tokio::spawn({
        let (spool, publisher, shutdown) = (spool.clone(), publisher.clone(), shutdown.clone());
        async move {
            let mut sink = PubSub::new(PubSubConfig {
                topic: TOPIC.to_owned(),
                endpoint: None,
                emulator: Some(format!("127.0.0.1:{port}")),
            });
            publisher.run(&spool, &mut sink, shutdown).await
        }
    });

    // Nobody listens there.
    call(&spool, 0..20).await;
    behind(&publisher, "publishing failed").await;

    // The emulator is up and knows no such topic.
    let own = free_port().expect("a free port");
    let emulator = Emulator::start(own, dir.path()).await;
    let relay = relay_to(port, own).await;
    behind(&publisher, "Topic not found").await;
    call(&spool, 20..40).await;
    spool.flush().await.expect("durable");
    assert_eq!(spool.state().events_pending, 240);

    // A topic without a subscription keeps nothing, so the publisher must not meet one.
    drop(relay);
    emulator.create_topic().await;
    let relay = relay_to(port, own).await;
    check(&emulator.pull(240).await, 0..40);
    until("it has caught up", async || {
        publisher.state() == PublishState::Publishing
    })
    .await;

    // At full speed.
    let started = std::time::Instant::now();
    call(&spool, 40..440).await;
    check(&emulator.pull(2400).await, 40..440);
    println!(
        "2,400 events of 3 sessions, appended, published and pulled in {:?}",
        started.elapsed()
    );

    // What is not acknowledged would come again, which is another test's matter.
    until("all is acknowledged", async || spool.state().events_pending == 0).await;

    // It goes away under load, forgets its topic and comes back.
    drop(emulator);
    call(&spool, 440..460).await;
    behind(&publisher, "publishing failed").await;
    drop(relay);
    let emulator = Emulator::start(own, dir.path()).await;
    emulator.create_topic().await;
    let _relay = relay_to(port, own).await;
    let events = emulator.pull(120).await;
    check(&events, 440..460);
    let attributes = &events[0].attributes;
    for (name, value) in [
        ("ce-type", "dev.turnpike.call.intent"),
        ("ce-specversion", "1.0"),
        ("ce-id", &events[0].id),
        ("content-type", "application/json"),
        ("agent", "agents/coder"),
        ("method", "storage.objects.get"),
        ("decision", "allow"),
        ("phase", "intent"),
    ] {
        assert_eq!(attributes.get(name).map(String::as_str), Some(value), "{name}");
    }

    shutdown.cancel();
    task.await.expect("no panic").expect("a reader");
    assert_eq!(spool.state().events_pending, 0);
}
