//! Ways round the gate by how a request is framed in HTTP/1: where it ends, and what its head is. Either the request
//! means one thing, or it is refused; what stands behind it is a request of its own, decided by itself.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use turnpike_tests::{
    abuse::frames::{END_HEADERS, END_STREAM, block, frame, kind},
    bypass::{Bench, How, Row, policy, row, shown},
    process::eventually,
    turnpike::standalone::{PATIENCE, Route, Standalone},
};

const PUBSUB: &str = "pubsub.googleapis.com";
const TOPIC: &str = "/v1/projects/acme-dev/topics/news";
const ALLOWED: &[&str] =
    &["{name: use, effect: Allow, methods: [pubsub.projects.topics.publish, pubsub.projects.topics.get]}"];
/// How a publish arrives, before its body.
const PUBLISH: &str = "POST pubsub.googleapis.com /v1/projects/acme-dev/topics/news:publish";
const GET: &str = "GET pubsub.googleapis.com /v1/projects/acme-dev/topics/news";
const DENIED: &str = "403 NO_RULE_ALLOWS";
const CLOSE: &str = "Connection: close\r\n";
const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

/// A publish with these headers and bytes behind its head.
fn publish(bench: &Bench, headers: &str, rest: &str) -> String {
    bench.request(&format!("POST {TOPIC}:publish"), PUBSUB, headers, rest)
}

/// The request that must not arrive.
fn delete(bench: &Bench) -> String {
    bench.request(&format!("DELETE {TOPIC}"), PUBSUB, CLOSE, "")
}

fn get(bench: &Bench, headers: &str) -> String {
    bench.request(&format!("GET {TOPIC}"), PUBSUB, headers, "")
}

#[tokio::test]
async fn length_against_coding() -> Result<()> {
    let bench = Bench::start(ALLOWED).await?;
    let inner = delete(&bench);
    let ended = format!("0\r\n\r\n{inner}");
    let chunk = format!("{:x}\r\n{inner}\r\n0\r\n\r\n", inner.len());
    let long = format!("Content-Length: {}\r\n", ended.len());
    let as_body = format!("{PUBLISH} {inner}");
    let twice = |coding: &str| publish(&bench, &format!("{coding}\r\n{long}"), &ended);
    bench
        .check(&[
            row(
                "CL.TE: the coding counts, and the connection ends behind it",
                PUBSUB,
                publish(&bench, &format!("{long}{CHUNKED}"), &ended),
                "200",
                &[PUBLISH],
            ),
            row(
                "TE.CL: the coding counts, and the body stays a body",
                PUBSUB,
                publish(&bench, &format!("{CLOSE}{CHUNKED}Content-Length: 4\r\n"), &chunk),
                "200",
                &[&as_body],
            ),
            row(
                "TE.TE: identity behind chunked",
                PUBSUB,
                twice("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
                "400",
                &[],
            ),
            row(
                "identity in one list",
                PUBSUB,
                twice("Transfer-Encoding: chunked, identity"),
                "400",
                &[],
            ),
            row(
                "an unknown coding",
                PUBSUB,
                twice("Transfer-Encoding: xchunked"),
                "400",
                &[],
            ),
            row(
                "a coding in quotes",
                PUBSUB,
                twice("Transfer-Encoding: \"chunked\""),
                "400",
                &[],
            ),
            row(
                "a coding with a parameter",
                PUBSUB,
                twice("Transfer-Encoding: chunked;q=1"),
                "400",
                &[],
            ),
            row(
                "a space before the colon",
                PUBSUB,
                twice("Transfer-Encoding : chunked"),
                "400",
                &[],
            ),
            row(
                "a vertical tab",
                PUBSUB,
                twice("Transfer-Encoding: \u{b}chunked"),
                "400",
                &[],
            ),
            row(
                "a folded coding",
                PUBSUB,
                twice("Transfer-Encoding:\r\n chunked"),
                "400",
                &[],
            ),
            row(
                "a coding with NUL",
                PUBSUB,
                twice("Transfer-Encoding: chunked\0"),
                "400",
                &[],
            ),
            row(
                "a coding behind a bare CR",
                PUBSUB,
                twice("X-A: b\rTransfer-Encoding: chunked"),
                "400",
                &[],
            ),
            row(
                "a coding in upper case is a coding",
                PUBSUB,
                twice("TRANSFER-ENCODING: CHUNKED"),
                "200",
                &[PUBLISH],
            ),
            row(
                "gzip before chunked is a body of bytes",
                PUBSUB,
                twice("Transfer-Encoding: gzip, chunked"),
                "200",
                &[PUBLISH],
            ),
        ])
        .await
}

#[tokio::test]
async fn lengths_that_are_no_length() -> Result<()> {
    let bench = Bench::start(ALLOWED).await?;
    let inner = delete(&bench);
    let with = |length: &str| publish(&bench, &format!("Content-Length:{length}\r\n"), &inner);
    let bad = [
        ("two lengths", format!(" 0\r\nContent-Length: {}", inner.len())),
        ("a list of two", format!(" 0, {}", inner.len())),
        ("a plus", " +0".to_owned()),
        ("a minus", " -1".to_owned()),
        ("hexadecimal", " 0x0".to_owned()),
        ("a space inside", " 0 0".to_owned()),
        ("a fraction", " 0.0".to_owned()),
        ("nothing", " ".to_owned()),
        ("more than can be counted", " 18446744073709551616".to_owned()),
    ];
    let rows = bad.map(|(name, length)| row(name, PUBSUB, with(&length), "400", &[]));
    bench.check(&rows).await?;
    bench
        .check(&[
            row(
                "the same length twice is one length",
                PUBSUB,
                publish(
                    &bench,
                    "Content-Length: 2\r\nContent-Length: 2\r\n",
                    &format!("{{}}{inner}"),
                ),
                &format!("200, {DENIED}"),
                &[&format!("{PUBLISH} {{}}")],
            ),
            row(
                "no length: what is behind is a request",
                PUBSUB,
                publish(&bench, "", &inner),
                &format!("200, {DENIED}"),
                &[PUBLISH],
            ),
            row(
                "a length named in Connection counts all the same",
                PUBSUB,
                publish(
                    &bench,
                    "Connection: close, content-length\r\nContent-Length: 2\r\n",
                    "{}",
                ),
                "200",
                &[&format!("{PUBLISH} {{}}")],
            ),
        ])
        .await
}

#[tokio::test]
async fn chunks_that_are_no_chunks() -> Result<()> {
    let bench = Bench::start(ALLOWED).await?;
    let inner = delete(&bench);
    let chunked = |body: &str| publish(&bench, &format!("{CHUNKED}{CLOSE}"), body);
    let extended = chunked("2;a=\"0\"\r\n{}\r\n0;b\r\n\r\n");
    let whole = format!("{PUBLISH} {{}}");
    let good = row("an extension is left out", PUBSUB, extended, "200", &[&whole]);
    bench.check(&[good]).await?;

    let cases = [
        ("LF in an extension", format!("2;a\n{{}}\r\n0\r\n\r\n{inner}")),
        ("LF behind the size", format!("0\n\n{inner}")),
        (
            "more than the size says",
            format!("1\r\n{{}}\r\n0\r\n\r\n{inner}"),
        ),
        ("a size with a sign", format!("+0\r\n\r\n{inner}")),
        ("a size with a prefix", format!("0x0\r\n\r\n{inner}")),
        ("a size that wraps", format!("10000000000000000\r\n{inner}")),
        ("no size", format!("\r\n{inner}")),
    ];
    let before = bench.upstream.seen().len();
    for (name, body) in cases {
        let bad = row(name, PUBSUB, chunked(&body), "", &[]);
        let told = bench.attempt(&bad.how).await?;
        assert_eq!(told, "400 BODY_BROKE_OFF", "{name}");
    }
    // The head of what is allowed may be there before its body breaks off, and nothing of the body.
    for seen in &bench.upstream.seen()[before..] {
        assert_eq!(shown(seen), PUBLISH);
    }
    Ok(())
}

#[tokio::test]
async fn heads_that_are_no_heads() -> Result<()> {
    let bench = Bench::start(ALLOWED).await?;
    let (inner, good) = (delete(&bench), get(&bench, CLOSE));
    let bad = [
        ("CR alone", good.replace("\r\n", "\r")),
        ("CR inside a value", good.replacen("close", "close\rX: y", 1)),
        ("NUL inside a value", good.replacen("close", "close\0", 1)),
        (
            "a folded header",
            good.replacen("Connection", "X-A: b\r\n c\r\nConnection", 1),
        ),
        ("a folded first header", good.replacen("Host", " Host", 1)),
        ("a header before the first line", format!("X-A: b\r\n{good}")),
        (
            "two targets",
            good.replacen(" HTTP/1.1", &format!(" DELETE {TOPIC} HTTP/1.1"), 1),
        ),
        ("a tab between", good.replacen(' ', "\t", 1)),
        ("HTTP/0.9", format!("GET {TOPIC}\r\n")),
        ("no version", good.replacen(" HTTP/1.1", "", 1)),
        ("HTTP/1.2", good.replacen("HTTP/1.1", "HTTP/1.2", 1)),
        ("HTTP/2.0 in text", good.replacen("HTTP/1.1", "HTTP/2.0", 1)),
        ("a lower-case version", good.replacen("HTTP/1.1", "http/1.1", 1)),
    ];
    let rows = bad.map(|(name, bytes)| row(name, PUBSUB, bytes, "400", &[]));
    bench.check(&rows).await?;
    bench
        .check(&[
            row(
                "LF alone ends lines",
                PUBSUB,
                good.replace("\r\n", "\n"),
                "200",
                &[GET],
            ),
            row(
                "empty lines before a request",
                PUBSUB,
                format!("\r\n\r\n{good}"),
                "200",
                &[GET],
            ),
            row(
                "HTTP/1.0 has one answer and no second request",
                PUBSUB,
                format!("{}{inner}", get(&bench, "").replacen("HTTP/1.1", "HTTP/1.0", 1)),
                "200",
                &[GET],
            ),
            row(
                "HTTP/1.0 with a coding",
                PUBSUB,
                publish(&bench, CHUNKED, &format!("0\r\n\r\n{inner}")).replacen("HTTP/1.1", "HTTP/1.0", 1),
                "400",
                &[],
            ),
            row(
                "a verb in lower case",
                PUBSUB,
                good.replacen("GET", "get", 1),
                "400 VERB_MALFORMED",
                &[],
            ),
            row(
                "TRACE",
                PUBSUB,
                good.replacen("GET", "TRACE", 1),
                "403 VERB_NOT_IN_CATALOG",
                &[],
            ),
            row(
                "an encoded line end in the target",
                PUBSUB,
                good.replacen(TOPIC, &format!("{TOPIC}%20HTTP/1.1%0d%0aX:%20y"), 1),
                "400 CONTROL_CHARACTER",
                &[],
            ),
        ])
        .await
}

#[tokio::test]
async fn the_second_of_two_requests_is_decided_by_itself() -> Result<()> {
    let bench = Bench::start(ALLOWED).await?;
    let good = get(&bench, "");
    let last = get(&bench, CLOSE);
    let refused = bench.request(&format!("DELETE {TOPIC}"), PUBSUB, "", "");
    let nobody = delete(&bench).replacen(bench.agent.token(), "nobody", 1);
    bench
        .check(&[
            row(
                "allowed, then denied",
                PUBSUB,
                format!("{good}{}", delete(&bench)),
                &format!("200, {DENIED}"),
                &[GET],
            ),
            row(
                "denied, then allowed",
                PUBSUB,
                format!("{refused}{last}"),
                &format!("{DENIED}, 200"),
                &[GET],
            ),
            row(
                "allowed, then without a proof",
                PUBSUB,
                format!("{good}{nobody}"),
                "200, 401 TOKEN_MALFORMED",
                &[GET],
            ),
            row(
                "allowed, then another host",
                PUBSUB,
                format!(
                    "{good}{}",
                    bench.request("GET /v1/x", "run.googleapis.com", CLOSE, "")
                ),
                "200, 421 AUTHORITY_MISMATCH",
                &[GET],
            ),
        ])
        .await
}

#[tokio::test]
async fn expect_and_bodies_that_never_come() -> Result<()> {
    let bench = Bench::start(ALLOWED).await?;
    let body = "Content-Length: 9\r\nConnection: close\r\n";
    let denied = bench.request(
        &format!("DELETE {TOPIC}"),
        PUBSUB,
        &format!("Expect: 100-continue\r\n{body}"),
        "",
    );
    bench
        .check(&[
            row(
                "Expect: 100-continue and no body, denied",
                PUBSUB,
                denied,
                DENIED,
                &[],
            ),
            row(
                "Expect: 100-continue with its body",
                PUBSUB,
                publish(
                    &bench,
                    &format!("Expect: 100-continue\r\n{CLOSE}Content-Length: 2\r\n"),
                    "{}",
                ),
                "100, 200",
                &[&format!("{PUBLISH} {{}}")],
            ),
            row(
                "another expectation goes nowhere",
                PUBSUB,
                publish(
                    &bench,
                    &format!("Expect: 200-ok\r\n{CLOSE}Content-Length: 2\r\n"),
                    "{}",
                ),
                "200",
                &[&format!("{PUBLISH} {{}}")],
            ),
            row(
                "a body that never comes, denied",
                PUBSUB,
                bench.request(&format!("DELETE {TOPIC}"), PUBSUB, body, "abc"),
                DENIED,
                &[],
            ),
        ])
        .await?;
    let seen = bench.upstream.seen();
    ensure!(seen.iter().all(|s| !s.headers.contains_key("expect")), "{seen:?}");
    Ok(())
}

#[tokio::test]
async fn no_other_protocol_is_begun() -> Result<()> {
    let bench = Bench::start(ALLOWED).await?;
    let fields = bench.fields("GET", TOPIC, PUBSUB);
    let fields = block(fields.iter().map(|(n, v)| (n.as_str(), v.as_str())));
    let mut prior = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    prior.extend(frame(kind::SETTINGS, 0, 0, &[]));
    prior.extend(frame(kind::HEADERS, END_HEADERS | END_STREAM, 1, &fields));
    let upgrade = |to: &str| {
        let lines = format!(
            "Connection: close, Upgrade, HTTP2-Settings\r\nUpgrade: {to}\r\nHTTP2-Settings: AAMAAABk\r\n"
        );
        get(&bench, &lines)
    };
    let plain = |name, bytes: Vec<u8>, told: &str| Row {
        name,
        how: How::Plain(bytes),
        told: told.to_owned(),
        arrived: Vec::new(),
    };
    bench
        .check(&[
            row("h2c by an upgrade", PUBSUB, upgrade("h2c"), "400 UPGRADE", &[]),
            row(
                "TLS by an upgrade",
                PUBSUB,
                upgrade("TLS/1.2"),
                "400 UPGRADE",
                &[],
            ),
            row(
                "CONNECT inside TLS",
                PUBSUB,
                bench.request("CONNECT pubsub.googleapis.com:443", PUBSUB, CLOSE, ""),
                "403 METHOD_NOT_IN_CATALOG",
                &[],
            ),
            row(
                "h2c by prior knowledge inside TLS for HTTP/1",
                PUBSUB,
                prior.clone(),
                "ended",
                &[],
            ),
            plain("h2c by prior knowledge on the port", prior, "ended"),
            plain("SOCKS 5", vec![5, 1, 0], "400"),
            plain(
                "the PROXY protocol",
                b"PROXY TCP4 10.0.0.1 10.0.0.2 1 443\r\n\r\n".to_vec(),
                "400",
            ),
        ])
        .await
}

/// What the agent says behind a body is not passed on: neither as trailers nor as headers.
#[tokio::test]
async fn trailers_end_at_the_gate() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let heard = Arc::new(Mutex::new(Vec::new()));
    let route = Route::Plain(listener.local_addr()?);
    let hears = heard.clone();
    let upstream = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = [0; 8192];
            while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                let whole = {
                    let mut heard = hears.lock().unwrap_or_else(PoisonError::into_inner);
                    heard.extend_from_slice(&buffer[..count]);
                    heard.ends_with(b"0\r\n\r\n") || heard.ends_with(b"x\r\n\r\n")
                };
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                if whole && stream.write_all(answer).await.is_err() {
                    break;
                }
            }
        }
    });
    let gate = Standalone::start(route, &policy(ALLOWED)).await?;
    let agent = gate.agent("agents/coder")?;
    let request = format!(
        "POST {TOPIC}:publish HTTP/1.1\r\nHost: {PUBSUB}\r\nAuthorization: Bearer {}\r\nTrailer: X-Goog-Api-Key\r\n{CHUNKED}\r\n\
         2\r\n{{}}\r\n0\r\nX-HTTP-Method-Override: DELETE\r\nX-Goog-Api-Key: own\r\nAuthorization: Bearer own\r\nX-Last: x\r\n\r\n",
        agent.token()
    );
    let answer = agent.raw(PUBSUB, request.as_bytes()).await?;
    assert_eq!(answer.status, 200);
    let text = eventually(PATIENCE, || async {
        let heard = heard.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let text = String::from_utf8(heard)?.to_ascii_lowercase();
        text.ends_with("0\r\n\r\n")
            .then_some(text)
            .context("no end of the body")
    })
    .await?;
    upstream.abort();
    for name in [
        "x-http-method-override",
        "x-goog-api-key",
        "bearer own",
        "x-last",
        "trailer:",
    ] {
        ensure!(!text.contains(name), "{name} arrived: {text}");
    }
    Ok(())
}
