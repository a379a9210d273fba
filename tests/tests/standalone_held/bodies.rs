//! Bodies of held calls: what arrives is what was sent, and what they take of memory and disk has an end.

use std::io;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::Response;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use serde_json::json;
use turnpike_tests::{
    process::eventually,
    turnpike::standalone::{
        Folder, PATIENCE, Standalone,
        client::{Answer, Body, Protocol, whole},
        upstream::{Seen, Upstream},
    },
};

use crate::{CODER, Disk, POLICY, STORAGE, approve, call, content, held_are, held_for};

const MIB: usize = 1 << 20;
const BYTES: (&str, &str) = ("content-type", "application/octet-stream");

fn answer(_: &Seen) -> Response<Body> {
    let mut answer = Response::new(whole(r#"{"kind":"storage#object"}"#));
    let json = http::HeaderValue::from_static("application/json");
    answer.headers_mut().insert("content-type", json);
    answer
}

async fn gate(policy: &str, limits: serde_json::Value) -> Result<(Upstream, Standalone)> {
    let upstream = Upstream::plain(answer).await?;
    let folder = Folder::new(&upstream)?;
    folder.write_policy("test", policy)?;
    folder.configure(&json!({"limits": limits}))?;
    // As the chart has it. Huge pages count whole, however little of them is used.
    let environment = [("MIMALLOC_ALLOW_THP", "0")];
    Ok((upstream, folder.start_with(&environment).await?))
}

/// Writes an object into the bucket whose objects are held.
async fn write(gate: &Standalone, agent: &str, protocol: Protocol, name: &str, body: Body) -> Result<Answer> {
    let path = format!("/upload/storage/v1/b/held/o?uploadType=media&name={name}");
    call(gate, agent, protocol, ("POST", STORAGE, &path), &[BYTES], body).await
}

/// A body whose length nobody says.
fn in_pieces(bytes: &Bytes, size: usize) -> Body {
    let pieces: Vec<_> = bytes
        .chunks(size)
        .map(|piece| Ok::<_, io::Error>(Frame::data(bytes.slice_ref(piece))))
        .collect();
    StreamBody::new(stream::iter(pieces)).boxed_unsync()
}

#[tokio::test]
async fn a_held_body_arrives_as_it_was_sent_and_on_disk_it_has_no_name() -> Result<()> {
    const BOUND: usize = 64 * 1024;
    let (upstream, mut gate) = gate(POLICY, json!({})).await?;
    let disk = Disk::of(&mut gate)?;
    let mut number = 0;
    for length in [0, 1, BOUND - 1, BOUND, BOUND + 1, 20 * MIB] {
        let sent = content(length);
        for (protocol, body) in [
            (Protocol::Http1, whole(sent.clone())),
            (Protocol::Http1, in_pieces(&sent, 10_000)),
            (Protocol::Http2, whole(sent.clone())),
        ] {
            number += 1;
            let name = format!("o{number}");
            let look = async {
                let request = gate.approval("Pending").await?;
                let found = (disk.bodies()?, disk.names()?);
                request.review("alice", "Approve", "fine")?;
                Ok::<_, anyhow::Error>((request, found))
            };
            let (answer, look) = tokio::join!(write(&gate, CODER, protocol, &name, body), look);
            let (answer, (request, found)) = (answer?, look?);
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_eq!(found, (usize::from(length > BOUND), 0), "{length}");
            assert_eq!(request.value["spec"]["call"]["bodyBytes"], json!(length));
            let seen = upstream.seen().pop().context("it arrived")?;
            ensure!(seen.line.ends_with(&name), "{}", seen.line);
            assert_eq!(seen.headers["content-length"], length.to_string());
            ensure!(seen.body == sent, "{length} bytes by {protocol:?} are others");
        }
    }
    disk.holds(0).await
}

#[tokio::test]
async fn two_hundred_held_calls_take_disk_and_little_memory() -> Result<()> {
    const CALLS: usize = 200;
    let limits = json!({"openRequestsPerAgent": 2 * CALLS});
    let (upstream, mut gate) = gate(POLICY, limits).await?;
    let disk = Disk::of(&mut gate)?;
    let sent = content(MIB);
    // What a proxy takes once, for its first calls.
    let (first, _) = tokio::join!(
        write(&gate, CODER, Protocol::Http1, "first", whole(sent.clone())),
        approve(&gate)
    );
    assert_eq!(first?.status, 200);
    disk.holds(0).await?;
    let before = gate.process().resident_memory()?;
    let agent = gate.agent(CODER)?;
    let mut calls = Vec::new();
    for number in 0..CALLS {
        let path = format!("/upload/storage/v1/b/held/o?uploadType=media&name=o{number}");
        let mut connection = agent.open(STORAGE, Protocol::Http1).await?;
        let mut request = connection.request("POST", &path, whole(sent.clone()))?;
        request.headers_mut().insert(BYTES.0, BYTES.1.parse()?);
        calls.push(tokio::spawn(async move { connection.exchange(request).await }));
    }
    held_are(&gate, CALLS as u64).await?;
    let grown = gate.process().resident_memory()?.saturating_sub(before);
    println!(
        "{CALLS} held calls of 1 MiB: {} KiB more are resident",
        grown / 1024
    );
    // Most of it is what all of them needed while they arrived together.
    ensure!(grown < (CALLS << 20) as u64 / 2, "{grown} bytes of memory");
    disk.holds(CALLS).await?;
    assert_eq!((disk.names()?, upstream.seen().len()), (0, 1));
    // Agents that go away take their bodies along.
    for call in calls {
        call.abort();
    }
    disk.holds(0).await
}

#[tokio::test]
async fn without_room_a_call_is_refused_and_there_is_room_again() -> Result<()> {
    let limits = json!({"heldBodyMib": 4, "heldTotalMib": 4});
    let (upstream, mut gate) = gate(POLICY, limits).await?;
    let disk = Disk::of(&mut gate)?;
    let agent = |name: &'static str| {
        let gate = &gate;
        move |object: &'static str| write(gate, name, Protocol::Http1, object, whole(content(3 * MIB)))
    };
    let (coder, other) = (agent(CODER), agent("agents/other"));
    let full = async {
        held_are(&gate, 1).await?;
        let refused = (coder("second").await?, other("third").await?);
        approve(&gate).await?;
        Ok::<_, anyhow::Error>(refused)
    };
    let (first, full) = tokio::join!(coder("first"), full);
    for refused in <[Answer; 2]>::from(full?) {
        assert_eq!(refused.refusal(), (429, "HELD_BODIES_EXHAUSTED".to_owned()));
        ensure!(refused.headers.contains_key("retry-after"), "{refused:?}");
    }
    assert_eq!(first?.status, 200);
    disk.holds(0).await?;
    let (again, approved) = tokio::join!(coder("second"), approve(&gate));
    approved?;
    assert_eq!(again?.status, 200);
    let over = write(&gate, CODER, Protocol::Http1, "over", whole(content(4 * MIB + 1))).await?;
    assert_eq!(over.refusal(), (403, "BODY_TOO_LARGE_TO_HOLD".to_owned()));
    assert_eq!(upstream.seen().len(), 2);
    Ok(())
}

#[tokio::test]
async fn a_client_that_goes_away_while_it_sends_frees_the_room() -> Result<()> {
    let limits = json!({"heldBodyMib": 4, "heldTotalMib": 4});
    let (_upstream, mut gate) = gate(POLICY, limits).await?;
    let disk = Disk::of(&mut gate)?;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let piece = Ok::<_, io::Error>(Frame::data(content(3 * MIB)));
        let begun = stream::iter([piece]).chain(stream::pending());
        let body = StreamBody::new(Box::pin(begun)).boxed_unsync();
        let sending = write(&gate, CODER, protocol, "gone", body);
        tokio::select! {
            answer = sending => anyhow::bail!("an answer to half a request: {answer:?}"),
            there = disk.holds(1) => there?,
        }
        disk.holds(0).await?;
    }
    let path = "/upload/storage/v1/b/held/o?uploadType=media&name=whole";
    let body = whole(content(4 * MIB));
    let whole = call(
        &gate,
        CODER,
        Protocol::Http1,
        ("POST", STORAGE, path),
        &[BYTES],
        body,
    );
    let (whole, approved) = tokio::join!(whole, approve(&gate));
    let whole = whole?;
    assert_eq!(whole.status, 200, "{}", whole.text());
    approved?;
    Ok(())
}

#[tokio::test]
async fn a_proxy_that_is_killed_leaves_no_body() -> Result<()> {
    let (upstream, mut gate) = gate(POLICY, json!({})).await?;
    let disk = Disk::of(&mut gate)?;
    let agent = gate.agent(CODER)?;
    let path = "/upload/storage/v1/b/held/o?uploadType=media&name=lost";
    let mut connection = agent.open(STORAGE, Protocol::Http1).await?;
    let mut request = connection.request("POST", path, whole(content(MIB)))?;
    request.headers_mut().insert(BYTES.0, BYTES.1.parse()?);
    let lost = tokio::spawn(async move { connection.exchange(request).await });
    held_are(&gate, 1).await?;
    disk.holds(1).await?;
    gate.process().kill()?;
    ensure!(lost.await?.is_err(), "an answer of a proxy that is gone");
    assert_eq!((disk.names()?, upstream.seen().len()), (0, 0));
    Ok(())
}

#[tokio::test]
async fn a_long_body_of_json_is_shown_as_far_as_it_is_read() -> Result<()> {
    let (_upstream, gate) = gate(&held_for("1s"), json!({})).await?;
    let path = "/upload/storage/v1/b/held/o?uploadType=media&name=o";
    let json_type = ("content-type", "application/json");
    for (length, shown) in [(100, true), (200 * 1024, true), (300 * 1024, false)] {
        let body = json!({"first": "seen", "rest": "x".repeat(length)}).to_string();
        let answer = call(
            &gate,
            CODER,
            Protocol::Http1,
            ("POST", STORAGE, path),
            &[json_type],
            whole(body),
        )
        .await?;
        assert_eq!(answer.refusal(), (403, "APPROVAL_PENDING".to_owned()));
        let request = gate.approval("Pending").await?;
        let text = request.value["spec"]["call"]["body"].as_str();
        assert_eq!(
            text.is_some_and(|t| t.contains("\"first\": \"seen\"")),
            shown,
            "{length}"
        );
        request.review("alice", "Deny", "no")?;
        eventually(PATIENCE, || async {
            ensure!(
                gate.approvals()?.iter().all(|a| a.phase() != "Pending"),
                "it waits still"
            );
            Ok(())
        })
        .await?;
    }
    Ok(())
}
