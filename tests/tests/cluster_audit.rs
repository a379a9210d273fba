//! Records outlive crashes and a topic that is away; where they can't, calls don't pass.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use serde_json::json;
use tokio::sync::OnceCell;
use turnpike_tests::process::{eventually, free_port};
use turnpike_tests::pubsub::{Emulator, Message};
use turnpike_tests::standin::{Fault, Standin};
use turnpike_tests::turnpike::client::Agent;
use turnpike_tests::turnpike::cluster::{Cluster, SOON, policy};
use turnpike_tests::turnpike::events::session;
use turnpike_tests::turnpike::relay::Relay;
use turnpike_tests::turnpike::replica::{Proxy, ProxyOptions, lasting_standin};

const PROJECT: &str = "acme-audit";
const BUCKET: &str = "https://storage.googleapis.com/storage/v1/b/acme-dev-data";

struct Bench {
    cluster: Cluster,
    standin: Standin,
    emulator: &'static Emulator,
}

async fn bench() -> Result<&'static Bench> {
    static BENCH: OnceCell<Bench> = OnceCell::const_new();
    BENCH
        .get_or_try_init(|| async {
            let (cluster, emulator) = tokio::try_join!(Cluster::start(), Emulator::shared())?;
            let standin = lasting_standin().await?;
            Ok(Bench {
                cluster,
                standin,
                emulator,
            })
        })
        .await
}

impl Bench {
    /// Makes a topic and its subscription, of the same name. What is published between the two is lost, so
    /// no proxy may reach the topic yet.
    async fn topic(&self, name: &str) -> Result<String> {
        self.emulator.create_topic(PROJECT, name).await?;
        self.emulator.create_subscription(PROJECT, name, name).await
    }

    /// An agent who may read and deploy, behind a proxy of this name; and the name of its session. Other
    /// tests kill their proxies, so this one's answer counts, not Programmed.
    async fn agent(&self, proxy: &Proxy) -> Result<(Agent, String)> {
        let agents = self.cluster.agents().await?;
        let rules = json!([{"name": "all", "effect": "Allow", "methods": ["storage.**", "run.**"]}]);
        self.cluster.apply(&agents, &policy("coder", &rules)).await?;
        let agent = proxy.agent(&self.cluster.token(&agents, "coder").await?)?;
        let log = "https://storage.googleapis.com/storage/v1/b/acme-dev-data?fields=ready";
        eventually(SOON, || async {
            let answer = agent.get(log).await?;
            ensure!(answer.status == 200, "{}", answer.verdict());
            Ok(())
        })
        .await?;
        Ok((agent, format!("{agents}/coder")))
    }
}

/// Tells what the tests of this binary have seen so far.
fn tell(breakdown: &str, events: usize) {
    static BREAKDOWNS: AtomicUsize = AtomicUsize::new(0);
    static EVENTS: AtomicUsize = AtomicUsize::new(0);
    let breakdowns = BREAKDOWNS.fetch_add(1, Ordering::Relaxed) + 1;
    let arrived = EVENTS.fetch_add(events, Ordering::Relaxed) + events;
    println!("audit: {breakdowns} breakdowns (the last: {breakdown}), {arrived} events arrived, 0 lost");
}

fn topic(name: &str) -> String {
    format!("projects/{PROJECT}/topics/{name}")
}

/// Waits until the proxy says that it can't publish, and is ready all the same.
async fn wait_behind(proxy: &Proxy) -> Result<()> {
    eventually(SOON, || async {
        let (status, text) = proxy.admin("/readyz").await?;
        let behind = proxy.metric("turnpike_publish_behind").await?;
        if status != 200 || !text.contains("[!] publisher: behind since") || behind != 1.0 {
            bail!("{status}: {text}, turnpike_publish_behind {behind}");
        }
        Ok(())
    })
    .await
}

async fn wait_published(proxy: &Proxy) -> Result<()> {
    eventually(SOON, || async {
        let (_, text) = proxy.admin("/readyz").await?;
        let behind = proxy.metric("turnpike_publish_behind").await?;
        let waiting = proxy.metric("turnpike_spool_events").await?;
        if !text.contains("[+] publisher") || behind != 0.0 || waiting != 0.0 {
            bail!("{text}, turnpike_publish_behind {behind}, turnpike_spool_events {waiting}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_call_under_way_at_a_crash_is_on_record_and_is_not_made_again() -> Result<()> {
    let bench = bench().await?;
    // The topic is not there yet, so that nothing is published before the crash.
    let options = ProxyOptions::new(&bench.standin).publish(&topic("crash"), &bench.emulator.host());
    let mut proxy = bench.cluster.proxy("crash", &options).await?;
    let (agent, name) = bench.agent(&proxy).await?;
    wait_behind(&proxy).await?;

    let path = "/v2/projects/acme-dev/locations/us-central1/services?serviceId=crash";
    bench.standin.inject(Fault {
        path_prefix: Some(path.to_owned()),
        delay_ms: Some(600_000),
        ..Fault::default()
    });
    let arrived = || bench.standin.requests().iter().filter(|r| r.path == path).count();
    let call = tokio::spawn(async move {
        agent
            .post(&format!("https://run.googleapis.com{path}"), &json!({}))
            .await
    });
    eventually(SOON, || async {
        ensure!(arrived() == 1, "it has not arrived");
        Ok(())
    })
    .await?;
    proxy.process.kill()?;
    ensure!(call.await?.is_err(), "the agent has no answer");

    let subscription = bench.topic("crash").await?;
    proxy.restart().await?;
    let intent = "intent run.projects.locations.services.create";
    let complete = |messages: &[Message]| {
        session(messages, &name).is_ok_and(|events| events.iter().any(|e| e.line() == intent))
    };
    let messages = bench.emulator.pull_until(&subscription, SOON, complete).await?;
    wait_published(&proxy).await?;
    let lines: Vec<String> = session(&messages, &name)?.iter().map(|e| e.line()).collect();
    let wanted = [
        "intent storage.buckets.get",
        "outcome storage.buckets.get",
        intent,
    ];
    ensure!(lines.ends_with(&wanted.map(str::to_owned)), "{lines:?}");
    assert_eq!(arrived(), 1);
    tell("kill -9 after the intent", lines.len());
    Ok(())
}

#[tokio::test]
async fn calls_go_on_without_the_topic_and_their_events_arrive_later() -> Result<()> {
    let bench = bench().await?;
    let (port, subscription) = (free_port()?, bench.topic("away").await?);
    let options = ProxyOptions::new(&bench.standin).publish(&topic("away"), &format!("127.0.0.1:{port}"));
    let relay = Relay::start(port, bench.emulator.port()).await?;
    let proxy = bench.cluster.proxy("away", &options).await?;
    let (agent, name) = bench.agent(&proxy).await?;
    let some = |messages: &[Message]| session(messages, &name).is_ok_and(|events| events.len() >= 2);
    bench.emulator.pull_until(&subscription, SOON, some).await?;
    wait_published(&proxy).await?;

    drop(relay);
    let started = Instant::now();
    for _ in 0..10 {
        assert_eq!(agent.get(BUCKET).await?.verdict(), "200");
    }
    println!("10 calls without the topic took {:?}", started.elapsed());
    wait_behind(&proxy).await?;
    assert_eq!(proxy.metric("turnpike_spool_events").await?, 20.0);

    let _relay = Relay::start(port, bench.emulator.port()).await?;
    let all = |messages: &[Message]| session(messages, &name).is_ok_and(|events| events.len() >= 20);
    let messages = bench.emulator.pull_until(&subscription, SOON, all).await?;
    wait_published(&proxy).await?;
    let mut calls: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for event in session(&messages, &name)? {
        calls.entry(event.call).or_default().push(event.phase);
    }
    assert_eq!(
        calls.into_values().collect::<Vec<_>>(),
        vec![["intent", "outcome"]; 10]
    );
    tell("topic out of reach", 20);
    Ok(())
}

#[tokio::test]
async fn a_full_spool_refuses_calls_until_there_is_room() -> Result<()> {
    let bench = bench().await?;
    let (port, subscription) = (free_port()?, bench.topic("full").await?);
    let mut options = ProxyOptions::new(&bench.standin).publish(&topic("full"), &format!("127.0.0.1:{port}"));
    options.spool_mib = 1;
    let proxy = bench.cluster.proxy("full", &options).await?;
    let (agent, name) = bench.agent(&proxy).await?;
    let url = format!("{BUCKET}?fields=full");
    let mut passed = 0;
    let refused = loop {
        let answer = agent.get(&url).await?;
        match answer.status {
            200 => passed += 1,
            _ => break answer,
        }
        ensure!(passed < 2000, "the spool never fills");
    };
    assert_eq!(refused.verdict(), "503 AUDIT_UNAVAILABLE");
    println!("1 MiB holds {passed} calls");
    ensure!(passed > 20, "only {passed} calls fit");
    let arrived = bench
        .standin
        .requests()
        .iter()
        .filter(|r| r.path.ends_with("fields=full"))
        .count();
    assert_eq!(arrived, passed);
    let (status, text) = proxy.admin("/readyz").await?;
    ensure!(status == 503 && text.contains("[-] spool: "), "{status}: {text}");

    let _relay = Relay::start(port, bench.emulator.port()).await?;
    eventually(SOON, || async {
        let answer = agent.get(BUCKET).await?;
        ensure!(answer.status == 200, "{}", answer.verdict());
        Ok(())
    })
    .await?;
    wait_published(&proxy).await?;
    // Events may come twice, with the same id.
    let calls = |messages: &[Message]| -> Result<BTreeMap<String, BTreeSet<String>>> {
        let mut calls: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for event in session(messages, &name)? {
            if event.phase != "refused" {
                calls.entry(event.call).or_default().insert(event.phase);
            }
        }
        Ok(calls)
    };
    let whole = BTreeSet::from(["intent".to_owned(), "outcome".to_owned()]);
    // The first, those that filled the spool, and the last.
    let all = |messages: &[Message]| {
        calls(messages)
            .is_ok_and(|calls| calls.len() == passed + 2 && calls.values().all(|phases| *phases == whole))
    };
    bench.emulator.pull_until(&subscription, SOON, all).await?;
    tell("spool full", 2 * (passed + 2));
    Ok(())
}
