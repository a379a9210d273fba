//! Large bodies, standalone: 100 MiB pass both ways as they come, and the proxy does not grow by them.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use futures::stream;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use sha2::{Digest as _, Sha256};
use turnpike_tests::{
    gcloud::{Gcloud, Settings},
    process::temp_dir,
    standin::{Options, RecordedRequest, Standin},
    turnpike::standalone::{
        Standalone,
        client::{Agent, Body, Connection, Protocol},
    },
};

const STORAGE: &str = "storage.googleapis.com";
const SIZE: u64 = 100 * 1024 * 1024;
/// What the proxy may grow by, however large the body.
const GROWTH: u64 = 64 * 1024 * 1024;

const POLICY: &str = r#"
apiVersion: turnpike.dev/v1alpha1
kind: AgentPolicy
metadata: {name: all, namespace: agents}
spec:
  agents: [{serviceAccount: {name: coder}}]
  rules:
    - {name: all, effect: Allow, methods: ["storage.**"]}
"#;

/// What all tests of this binary have seen so far.
static TRANSFERS: AtomicU64 = AtomicU64::new(0);
static WORST: AtomicU64 = AtomicU64::new(0);

/// The most memory that a process has while this lives, beyond what it had at first.
struct Growth {
    before: u64,
    peak: Arc<AtomicU64>,
    sampler: tokio::task::JoinHandle<()>,
}

impl Growth {
    fn of(gate: &mut Standalone) -> Result<Self> {
        let id = gate.process().id();
        let before = gate.process().resident_memory()?;
        let peak = Arc::new(AtomicU64::new(before));
        let seen = peak.clone();
        let sampler = tokio::spawn(async move {
            while let Some(now) = resident(id) {
                seen.fetch_max(now, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        Ok(Self {
            before,
            peak,
            sampler,
        })
    }

    fn end(self, what: &str) -> Result<()> {
        self.sampler.abort();
        let grown = self.peak.load(Ordering::Relaxed) - self.before;
        let transfers = TRANSFERS.fetch_add(1, Ordering::Relaxed) + 1;
        let worst = WORST.fetch_max(grown, Ordering::Relaxed).max(grown);
        println!(
            "{what}: {} MiB before, {} MiB more at most\nstreaming: {transfers} transfers of 100 MiB, the proxy grew by \
             {} MiB at most",
            self.before >> 20,
            grown >> 20,
            worst >> 20
        );
        ensure!(grown < GROWTH, "{what}: the proxy grew by {} MiB", grown >> 20);
        Ok(())
    }
}

/// Resident memory in bytes (proc(5), statm).
fn resident(id: u32) -> Option<u64> {
    let text = std::fs::read_to_string(Path::new("/proc").join(id.to_string()).join("statm")).ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    Some(pages * 4096)
}

/// 100 MiB that no part of it repeats, in chunks, what stands behind them, and the SHA-256 of all.
fn content(end: &'static str) -> (Body, String) {
    let chunk = |n: u64| -> Bytes {
        let words = (0..8 * 1024_u64).flat_map(move |i| (n << 32 | i).to_le_bytes());
        words.collect::<Vec<u8>>().into()
    };
    let chunks = SIZE / (64 * 1024);
    let mut hash = Sha256::new();
    (0..chunks).for_each(|n| hash.update(chunk(n)));
    hash.update(end);
    let last = (!end.is_empty()).then(|| Bytes::from_static(end.as_bytes()));
    let frames = (0..chunks).map(chunk).chain(last);
    let frames = stream::iter(frames.map(|chunk| Ok::<_, std::io::Error>(Frame::data(chunk))));
    (StreamBody::new(frames).boxed_unsync(), hex(&hash.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Reads an object, and gives its length and SHA-256.
async fn download(connection: &mut Connection, path: &str) -> Result<(u64, String)> {
    let request = connection.request(
        "GET",
        path,
        turnpike_tests::turnpike::standalone::client::whole(""),
    )?;
    let mut answer = connection.send(request).await?;
    ensure!(answer.status() == 200, "{answer:?}");
    let (mut length, mut hash) = (0, Sha256::new());
    while let Some(frame) = answer.frame().await {
        if let Ok(data) = frame?.into_data() {
            length += data.len() as u64;
            hash.update(&data);
        }
    }
    Ok((length, hex(&hash.finalize())))
}

fn uploads(standin: &Standin) -> Vec<(u64, Option<String>)> {
    let mut found: Vec<RecordedRequest> = standin.requests();
    found.retain(|r| r.method == "POST" && r.path.starts_with("/upload/"));
    found
        .into_iter()
        .map(|r| (r.body_length, r.body_sha256))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_hundred_mebibytes_stream_both_ways_by_both_protocols() -> Result<()> {
    let dir = temp_dir("standin")?;
    let secure = || Options {
        tls_dir: Some(dir.path().to_owned()),
        ..Options::default()
    };
    // HTTP/1.1 and HTTP/2 upstream.
    for (upstream, options) in [("http/1.1", Options::default()), ("h2", secure())] {
        let standin = Standin::start(options).await?;
        let mut gate = Standalone::start(&standin, POLICY).await?;
        let agent: Agent = gate.agent("agents/coder")?;
        let path = "/download/storage/v1/b/acme-dev-data/o/big.bin?alt=media";
        let mut original = None;
        for protocol in [Protocol::Http1, Protocol::Http2] {
            let mut connection = agent.open(STORAGE, protocol).await?;
            // The first call opens what stays open.
            let small = connection.call("GET", "/storage/v1/b/acme-dev-data", "").await?;
            assert_eq!(small.status, 200);

            let growth = Growth::of(&mut gate)?;
            let (length, digest) = download(&mut connection, path).await?;
            growth.end(&format!("download by {protocol:?} from {upstream}"))?;
            assert_eq!(length, SIZE);
            assert_eq!(*original.get_or_insert(digest.clone()), digest);

            standin.clear_requests();
            let (body, digest) = content("");
            let to = "/upload/storage/v1/b/acme-dev-data/o?uploadType=media&name=copy.bin";
            let request = connection.request("POST", to, body)?;
            let growth = Growth::of(&mut gate)?;
            let answer = connection.exchange(request).await?;
            growth.end(&format!("upload by {protocol:?} to {upstream}"))?;
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_eq!(uploads(&standin), [(SIZE, Some(digest))]);
        }
        let direct = direct_digest(&standin).await?;
        assert_eq!(original, Some(direct));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_hundred_mebibytes_are_searched_while_they_stream() -> Result<()> {
    let standin = Standin::start(Options::default()).await?;
    let policy = POLICY.replace("  rules:", "  secrets: {requests: Allow}\n  rules:");
    let mut gate = Standalone::start(&standin, &policy).await?;
    let agent: Agent = gate.agent("agents/coder")?;
    // No token, and found by its name.
    let value = ["k3Qz81LmVb0T", "wYx7Ndf5Hj2s"].concat();
    let end: &'static str = format!("\npassword = \"{value}\"\n").leak();
    for (number, protocol) in (1..).zip([Protocol::Http1, Protocol::Http2]) {
        let mut connection = agent.open(STORAGE, protocol).await?;
        let small = connection.call("GET", "/storage/v1/b/acme-dev-data", "").await?;
        assert_eq!(small.status, 200);
        standin.clear_requests();
        let (body, digest) = content(end);
        let to = "/upload/storage/v1/b/acme-dev-data/o?uploadType=media&name=copy.bin";
        let request = connection.request("POST", to, body)?;
        let growth = Growth::of(&mut gate)?;
        let answer = connection.exchange(request).await?;
        growth.end(&format!("upload by {protocol:?} that is searched"))?;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(uploads(&standin), [(SIZE + end.len() as u64, Some(digest))]);
        let log = gate.path().join("audit/topic.jsonl");
        turnpike_tests::process::eventually(turnpike_tests::turnpike::standalone::PATIENCE, || async {
            let text = std::fs::read_to_string(&log)?;
            let told = text
                .lines()
                .filter(|line| line.contains(r#""kind":"password""#))
                .count();
            ensure!(told == number, "{told} records tell what was found");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// The SHA-256 of the large object without a proxy in between.
async fn direct_digest(standin: &Standin) -> Result<String> {
    let scheme = if standin.ca_pem().is_some() {
        "https"
    } else {
        "http"
    };
    let mut http = reqwest::Client::builder()
        .no_proxy()
        .resolve(STORAGE, standin.addr());
    if let Some(pem) = standin.ca_pem() {
        http = http.tls_certs_only([reqwest::Certificate::from_pem(pem.as_bytes())?]);
    }
    let url = format!(
        "{scheme}://{STORAGE}:{}/download/storage/v1/b/acme-dev-data/o/big.bin?alt=media",
        standin.addr().port()
    );
    let mut answer = http.build()?.get(url).send().await?.error_for_status()?;
    let mut hash = Sha256::new();
    while let Some(chunk) = answer.chunk().await? {
        hash.update(&chunk);
    }
    Ok(hex(&hash.finalize()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gcloud_copies_100_mib_both_ways() -> Result<()> {
    let standin = Standin::start(Options::default()).await?;
    let mut gate = Standalone::start(&standin, POLICY).await?;
    let gcloud = Gcloud::new(&Settings {
        proxy: &format!("http://{}", gate.listen()),
        ca_pem: &gate.ca_pem()?,
        token: &gate.token("agents/coder")?,
        project: "acme-dev",
    })?;
    let file = gcloud.dir().join("big.bin");
    let file = file.to_str().context("UTF-8")?;

    let growth = Growth::of(&mut gate)?;
    let down = ["storage", "cp", "gs://acme-dev-data/big.bin", file];
    let down = gcloud.run(&down).await?;
    println!("gcloud took {:?} down", down.took);
    down.success()?;
    let up = ["storage", "cp", file, "gs://acme-dev-data/copy.bin"];
    let up = gcloud.run(&up).await?;
    println!("gcloud took {:?} up", up.took);
    up.success()?;
    growth.end("gcloud storage cp both ways")?;

    // Bytes as they are: what came down is the object, what went up is the file.
    let digest = hex(&Sha256::digest(std::fs::read(file)?));
    assert_eq!(direct_digest(&standin).await?, digest);
    let requests = standin.requests();
    let largest = requests
        .iter()
        .max_by_key(|r| r.body_length)
        .context("a request")?;
    assert_eq!(
        (largest.body_length, largest.body_sha256.clone()),
        (SIZE, Some(digest))
    );
    Ok(())
}
