//! Agents that abuse their connection, standalone: floods of HTTP/2 frames, windows that never open, heads and bodies
//! that never end, answers that nobody reads. The proxy ends each, pays little for it, and answers others meanwhile.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use http::{HeaderValue, Response};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use turnpike_tests::{
    abuse::{
        Cost, Watch,
        frames::{self, END_HEADERS, END_STREAM, Raw, block, frame, kept, kind, setting},
        trickle,
    },
    process::eventually,
    turnpike::standalone::{
        Folder, PATIENCE, Standalone,
        client::{Agent, Body, Protocol, whole},
        upstream::{Seen, Upstream},
    },
};

const STORAGE: &str = "storage.googleapis.com";
const BUCKET: &str = "/storage/v1/b/acme-dev-data";
const OBJECT: &str = "/download/storage/v1/b/acme-dev-data/o/large?alt=media";
const LARGE: usize = 32 * 1024 * 1024;
const MIB: u64 = 1024 * 1024;

const POLICY: &str = r#"
apiVersion: turnpike.dev/v1alpha1
kind: AgentPolicy
metadata: {name: all, namespace: agents}
spec:
  agents: [{serviceAccount: {name: coder}}, {serviceAccount: {name: other}}]
  rules:
    - {name: all, effect: Allow, methods: ["**"]}
"#;

fn answer(seen: &Seen) -> Response<Body> {
    let (body, kind) = match seen.line.contains("/large") {
        true => (whole(vec![b'x'; LARGE]), "application/octet-stream"),
        false => (whole("{\"kind\": \"storage#bucket\"}"), "application/json"),
    };
    let mut answer = Response::new(body);
    let kind = HeaderValue::from_static(kind);
    answer.headers_mut().insert("content-type", kind);
    answer
}

/// A proxy with short limits, in front of an upstream that answers all.
async fn gate() -> Result<(Upstream, Standalone)> {
    let upstream = Upstream::plain(answer).await?;
    let folder = Folder::new(&upstream)?;
    folder.write_policy("test", POLICY)?;
    folder.configure(&json!({"limits": {"idleSeconds": 1, "answerWithinSeconds": 2}}))?;
    Ok((upstream, folder.start().await?))
}

/// Checks what an abuse came to.
fn bounded(what: &str, cost: Cost, memory: u64) -> Result<()> {
    println!(
        "{what}: {} KiB more at most, {:.2} s of the processor, {} calls of another agent",
        cost.grown / 1024,
        cost.seconds,
        cost.answered
    );
    ensure!(
        cost.grown < memory,
        "{what}: the proxy grew by {} KiB",
        cost.grown / 1024
    );
    ensure!(
        cost.answered > 0,
        "{what}: no call of the other agent was answered"
    );
    Ok(())
}

/// The fields of a call.
fn call<'a>(verb: &'a str, path: &'a str, bearer: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        (":method", verb),
        (":scheme", "https"),
        (":authority", STORAGE),
        (":path", path),
        ("authorization", bearer),
    ]
}

/// How a flood ends.
#[derive(Debug, PartialEq)]
enum End {
    /// By a GOAWAY with this code.
    Told(u32),
    /// As an idle connection would: it cost nothing that lasts.
    Idle,
}

const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const ENHANCE_YOUR_CALM: u32 = 11;

/// Sends a flood on a connection of its own, sees it end, and gives what ended it.
async fn flood(
    agent: &Agent,
    settings: &[u8],
    bytes: impl IntoIterator<Item = Vec<u8>>,
) -> Result<Option<u32>> {
    let mut raw = Raw::open(agent, STORAGE, settings).await?;
    for piece in bytes {
        if !raw.send(&piece).await {
            break;
        }
    }
    Ok(raw.until(PATIENCE, |said| said.ended).await?.goaway)
}

/// `count` pieces, many in each write.
fn times(count: u32, piece: impl Fn(u32) -> Vec<u8> + 'static) -> Vec<Vec<u8>> {
    let numbers: Vec<u32> = (0..count).collect();
    let chunks = numbers.chunks(200);
    chunks
        .map(|chunk| chunk.iter().flat_map(|n| piece(*n)).collect())
        .collect()
}

/// The stream of the nth call.
fn stream(n: u32) -> u32 {
    2 * n + 1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_calls_are_ended() -> Result<()> {
    let (_upstream, mut gate) = gate().await?;
    let agent = gate.agent("agents/coder")?;
    let other = gate.agent("agents/other")?;
    let bearer = format!("Bearer {}", agent.token());
    let get = block(call("GET", BUCKET, &bearer));
    let post = block(call("POST", "/storage/v1/b", &bearer));
    let large = block(call("POST", "/storage/v1/b", &"x".repeat(60 * 1024)));
    // One field of four kilobytes, and fifteen thousand references to it.
    let mut bomb = kept("x-bomb", &"x".repeat(4000));
    bomb.extend(vec![0xbe; 15_000 - bomb.len()]);
    let begin = |n: u32, flags: u8, block: &[u8]| {
        let mut bytes = Vec::new();
        let mut kind = kind::HEADERS;
        let mut pieces = block.chunks(16_000).peekable();
        while let Some(piece) = pieces.next() {
            let last = if pieces.peek().is_none() { END_HEADERS } else { 0 };
            let flags = if kind == kind::HEADERS { flags | last } else { last };
            bytes.extend(frame(kind, flags, stream(n), piece));
            kind = kind::CONTINUATION;
        }
        bytes
    };
    let cancel = |n: u32| frame(kind::RESET, 0, stream(n), &8_u32.to_be_bytes());
    let cases: Vec<(&str, Vec<Vec<u8>>, End)> = vec![
        (
            "10,000 calls, each reset at once",
            times(10_000, {
                let get = get.clone();
                move |n| [begin(n, END_STREAM, &get), cancel(n)].concat()
            }),
            End::Told(ENHANCE_YOUR_CALM),
        ),
        (
            "10,000 calls at once, none of them finished",
            times(10_000, {
                let post = post.clone();
                move |n| begin(n, 0, &post)
            }),
            End::Told(ENHANCE_YOUR_CALM),
        ),
        (
            "2,000 calls that are malformed",
            times(2_000, {
                let twice = block([(":method", "GET"), (":method", "GET")]);
                move |n| begin(n, END_STREAM, &twice)
            }),
            End::Told(ENHANCE_YOUR_CALM),
        ),
        (
            "100 calls with heads of 60 KiB that are never finished",
            times(100, {
                let large = large.clone();
                move |n| begin(n, 0, &large)
            }),
            End::Idle,
        ),
        (
            "100 heads that unfold to 60 MB each",
            times(100, move |n| begin(n, END_STREAM, &bomb)),
            End::Told(ENHANCE_YOUR_CALM),
        ),
    ];
    for (what, bytes, end) in cases {
        let watch = Watch::begin(&mut gate, &other, STORAGE, BUCKET).await?;
        let told = flood(&agent, &[], bytes).await.context(what)?;
        bounded(what, watch.end().await?, 48 * MIB)?;
        let found = told.filter(|code| *code != 0).map_or(End::Idle, End::Told);
        assert_eq!(found, end, "{what}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_frames_are_ended() -> Result<()> {
    let (_upstream, mut gate) = gate().await?;
    let agent = gate.agent("agents/coder")?;
    let other = gate.agent("agents/other")?;
    let bearer = format!("Bearer {}", agent.token());
    let get = block(call("GET", BUCKET, &bearer));
    let post = block(call("POST", "/storage/v1/b", &bearer));
    let first = |kind: u8, flags: u8, block: &[u8], then: Vec<Vec<u8>>| {
        [vec![frame(kind, flags, 1, block)], then].concat()
    };
    let cases: Vec<(&str, Vec<Vec<u8>>, End)> = vec![
        (
            "10,000 CONTINUATIONs of a kilobyte",
            first(
                kind::HEADERS,
                0,
                &get,
                times(10_000, |_| {
                    frame(
                        kind::CONTINUATION,
                        0,
                        1,
                        &block([("x", "x".repeat(1000).as_str())]),
                    )
                }),
            ),
            End::Told(ENHANCE_YOUR_CALM),
        ),
        (
            "100,000 empty CONTINUATIONs",
            first(
                kind::HEADERS,
                0,
                &get,
                times(100_000, |_| frame(kind::CONTINUATION, 0, 1, &[])),
            ),
            End::Told(ENHANCE_YOUR_CALM),
        ),
        (
            "100,000 empty DATA frames",
            first(
                kind::HEADERS,
                END_HEADERS,
                &post,
                times(100_000, |_| frame(kind::DATA, 0, 1, &[])),
            ),
            End::Told(ENHANCE_YOUR_CALM),
        ),
        (
            "100,000 PINGs",
            times(100_000, |_| frame(kind::PING, 0, 0, &[0; 8])),
            End::Idle,
        ),
        (
            "20,000 SETTINGS",
            times(20_000, |n| {
                frame(kind::SETTINGS, 0, 0, &setting(4, 65_535 + n % 2))
            }),
            End::Idle,
        ),
        (
            "100,000 WINDOW_UPDATEs",
            times(100_000, |_| {
                frame(kind::WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes())
            }),
            End::Idle,
        ),
        (
            "a window beyond its bound",
            times(2, |_| {
                frame(kind::WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes())
            }),
            End::Told(FLOW_CONTROL_ERROR),
        ),
        (
            "100,000 PRIORITYs of streams that are not there",
            times(100_000, |n| frame(kind::PRIORITY, 0, stream(n), &[0, 0, 0, 0, 1])),
            End::Idle,
        ),
        (
            "100,000 frames of an unknown type",
            times(100_000, |_| frame(0xfa, 0, 0, &[0; 16])),
            End::Idle,
        ),
        (
            "a reference to a field that is nowhere",
            vec![frame(kind::HEADERS, END_HEADERS | END_STREAM, 1, &[0xff, 0x7f])],
            End::Told(PROTOCOL_ERROR),
        ),
        (
            "DATA on a stream that nobody opened",
            vec![frame(kind::DATA, 0, 7, b"x")],
            End::Told(PROTOCOL_ERROR),
        ),
    ];
    for (what, bytes, end) in cases {
        let watch = Watch::begin(&mut gate, &other, STORAGE, BUCKET).await?;
        let told = flood(&agent, &[], bytes).await.context(what)?;
        bounded(what, watch.end().await?, 32 * MIB)?;
        let found = told.filter(|code| *code != 0).map_or(End::Idle, End::Told);
        assert_eq!(found, end, "{what}");
    }
    Ok(())
}

/// Answers that an agent asks for and never lets come: its window stays shut, or opens by one byte.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_that_stay_shut_end_the_connection() -> Result<()> {
    const INITIAL_WINDOW_SIZE: u16 = 4;
    let (_upstream, mut gate) = gate().await?;
    let agent = gate.agent("agents/coder")?;
    let other = gate.agent("agents/other")?;
    let bearer = format!("Bearer {}", agent.token());
    let watch = Watch::begin(&mut gate, &other, STORAGE, BUCKET).await?;
    let shut = async |what: &str, window: u32, path: &str, calls: u32| -> Result<()> {
        let get = block(call("GET", path, &bearer));
        let mut raw = Raw::open(&agent, STORAGE, &setting(INITIAL_WINDOW_SIZE, window)).await?;
        for n in 0..calls {
            let head = frame(kind::HEADERS, END_HEADERS | END_STREAM, stream(n), &get);
            ensure!(raw.send(&head).await, "{what}: closed too early");
        }
        let calls = usize::try_from(calls)?;
        raw.until(PATIENCE, |said| said.heads == calls)
            .await
            .context(what.to_owned())?;
        let ended = trickle(&mut raw, Duration::from_millis(100), PATIENCE, || {
            frame(kind::PING, 0, 0, &[0; 8])
        });
        ended.await.context(what.to_owned())?;
        assert_eq!(raw.said().data, usize::try_from(window)? * calls, "{what}");
        Ok(())
    };
    let (a, b, c, d) = tokio::join!(
        shut("large answers and no window", 0, OBJECT, 8),
        shut("small answers and no window", 0, BUCKET, 100),
        shut("large answers and a window of a byte", 1, OBJECT, 8),
        shut("small answers and a window of a byte", 1, BUCKET, 100),
    );
    for result in [a, b, c, d] {
        result?;
    }
    // Of 512 MiB that were asked for, what stands in the buffers of 216 calls: the rest is not read from upstream.
    bounded("windows that stay shut", watch.end().await?, 96 * MIB)
}

/// Requests of HTTP/1 that never come to their end, or come byte by byte.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_and_endless_requests_of_http1_are_ended() -> Result<()> {
    let (upstream, mut gate) = gate().await?;
    let agent = gate.agent("agents/coder")?;
    let other = gate.agent("agents/other")?;
    let head = |line: &str, headers: &str| {
        let token = agent.token();
        format!("{line} HTTP/1.1\r\nHost: {STORAGE}\r\nAuthorization: Bearer {token}\r\n{headers}")
    };
    let upload = "POST /upload/storage/v1/b/acme-dev-data/o?uploadType=media&name=o";
    let insert = "POST /storage/v1/b";
    let chunked = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    let length = "Content-Type: text/plain\r\nContent-Length: 1000000\r\n\r\n";
    let begun = upstream.seen().len();
    let endless: [(&str, String, &[u8], usize); 8] = [
        ("a head, byte by byte", head("GET /x", "X: "), b"x", 1),
        ("an upload, byte by byte", head(upload, length), b"x", 1),
        ("metadata, byte by byte", head(insert, length), b"x", 1),
        ("a head without end", head("GET /x", "X: "), b"x", 64 * 1024),
        ("headers without end", head("GET /x", ""), b"a: b\r\n", 6 * 10_000),
        (
            "a chunk's size without end",
            head(insert, chunked),
            b"0",
            64 * 1024,
        ),
        (
            "a chunk's extension without end",
            format!("{}1;", head(insert, chunked)),
            b"x",
            64 * 1024,
        ),
        (
            "trailers without end",
            format!("{}0\r\n", head(insert, chunked)),
            b"a: b\r\n",
            6 * 10_000,
        ),
    ];
    let watch = Watch::begin(&mut gate, &other, STORAGE, BUCKET).await?;
    for (what, begin, more, size) in endless {
        let tunnel = agent.connect(&format!("{STORAGE}:443"), &[]).await?;
        let mut stream = agent.tls(tunnel, STORAGE, Protocol::Http1).await?;
        stream.write_all(begin.as_bytes()).await?;
        let more: Vec<u8> = more.iter().copied().cycle().take(size).collect();
        let ended = trickle(&mut stream, Duration::from_millis(50), PATIENCE, || more.clone());
        ended.await.context(what)?;
    }
    bounded("endless requests", watch.end().await?, 32 * MIB)?;
    // None of them went upstream as a whole.
    let seen = upstream.seen();
    let wrong: Vec<&Seen> = seen
        .iter()
        .skip(begun)
        .filter(|s| !s.line.starts_with("GET "))
        .collect();
    assert_eq!(
        wrong.iter().filter(|s| !s.body.is_empty()).count(),
        0,
        "{wrong:?}"
    );

    // One byte at a time, but in time.
    let tunnel = agent.connect(&format!("{STORAGE}:443"), &[]).await?;
    let mut stream = agent.tls(tunnel, STORAGE, Protocol::Http1).await?;
    for byte in head(&format!("GET {BUCKET}"), "Connection: close\r\n\r\n").bytes() {
        stream.write_all(&[byte]).await?;
        stream.flush().await?;
    }
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    assert!(
        answer.starts_with(b"HTTP/1.1 200"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    Ok(())
}

/// Agents that ask and do not read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_nobody_reads_end_the_connection() -> Result<()> {
    let (_upstream, mut gate) = gate().await?;
    let agent = gate.agent("agents/coder")?;
    let other = gate.agent("agents/other")?;
    let watch = Watch::begin(&mut gate, &other, STORAGE, BUCKET).await?;
    let request = format!(
        "GET {OBJECT} HTTP/1.1\r\nHost: {STORAGE}\r\nAuthorization: Bearer {}\r\n\r\n",
        agent.token()
    );
    let mut unread = Vec::new();
    for _ in 0..8 {
        let tunnel = agent.connect(&format!("{STORAGE}:443"), &[]).await?;
        let mut stream = agent.tls(tunnel, STORAGE, Protocol::Http1).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut first = [0; 12];
        stream.read_exact(&mut first).await?;
        assert_eq!(&first, b"HTTP/1.1 200");
        unread.push(stream);
    }
    // The other agent's own connection stays.
    eventually(PATIENCE, || async {
        let metrics = gate.metrics().await?;
        let open = metrics
            .lines()
            .find_map(|line| line.strip_prefix("turnpike_agent_connections "));
        ensure!(open == Some("1"), "{open:?} connections are open");
        Ok(())
    })
    .await?;
    bounded("answers that nobody reads", watch.end().await?, 64 * MIB)?;
    for mut stream in unread {
        let mut rest = Vec::new();
        // Broken off, not ended: the length was told.
        stream.read_to_end(&mut rest).await.ok();
        assert!(rest.len() < LARGE, "{} bytes came", rest.len());
    }
    Ok(())
}

/// The codes that frames have are those of the standard.
#[test]
fn frames_are_written_as_the_standard_has_them() {
    assert_eq!(
        frame(kind::PING, frames::END_STREAM, 0, &[1; 8]),
        [0, 0, 8, 6, 1, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1]
    );
    let long = "x".repeat(300);
    let block = block([("a", long.as_str())]);
    assert_eq!(block[..6], [0, 1, b'a', 127, 0xad, 1]);
    assert_eq!(block.len(), 6 + 300);
}
