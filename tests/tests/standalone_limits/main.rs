//! How much an agent may do, and break-glass, through the real proxy: what counts, what is told, what is cut off.

// The upstream is that of the tests of gRPC, which ask more of it.
#[allow(dead_code)]
#[path = "../standalone_grpc/upstream.rs"]
mod grpc;
mod suspend;

use std::io;

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};
use bytes::Bytes;
use futures::{SinkExt as _, channel::mpsc};
use http::{Response, header};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use serde_json::{Value, json};
use turnpike_tests::{
    process::eventually,
    turnpike::standalone::{
        Folder, PATIENCE, Standalone,
        client::{Agent, Answer, Body, Protocol, whole},
        upstream::{Seen, Upstream},
    },
};

const STORAGE: &str = "storage.googleapis.com";
const BUCKET: &str = "storage.googleapis.com/storage/v1/b/acme-dev-data";
const OBJECT: &str = "storage.googleapis.com/storage/v1/b/acme-dev-data/o/a";
const SERVICES: &str = "run.googleapis.com/v2/projects/acme-dev/locations/us-central1/services?serviceId=";
const UPLOAD: &str = "/upload/storage/v1/b/acme-dev-data/o?uploadType=media&name=a.bin";

/// A policy that lets `coder` do with Cloud Storage what it likes, and deploy with an approval.
fn policy(more: &str) -> String {
    format!(
        r#"
apiVersion: turnpike.dev/v1alpha1
kind: AgentPolicy
metadata: {{name: coder, namespace: agents}}
spec:
  agents: [{{serviceAccount: {{name: coder}}}}]
  rules:
    - {{name: storage, effect: Allow, methods: ["storage.**"]}}
    - {{name: pubsub, effect: Allow, methods: ["pubsub.**", "google.pubsub.**", "secretmanager.**.list"]}}
    - name: deploy
      effect: RequireApproval
      methods: ["run.**.create"]
      approval: {{holdFor: 60s, expiresAfter: 1h}}
    - {{name: no-keys, effect: Deny, methods: ["iam.**"]}}
  {more}
"#
    )
}

/// An upstream that answers everything with an empty object.
async fn upstream() -> Result<Upstream> {
    Upstream::plain(|_: &Seen| {
        let mut answer = Response::new(whole("{}"));
        let json = header::HeaderValue::from_static("application/json");
        answer.headers_mut().insert(header::CONTENT_TYPE, json);
        answer
    })
    .await
}

/// Status, reason and the seconds after which to come again.
fn told(answer: &Answer) -> (u16, String, Option<u64>) {
    let (status, reason) = answer.refusal();
    let reason = if status == 200 { String::new() } else { reason };
    let after = answer.headers.get(header::RETRY_AFTER);
    (status, reason, after.and_then(|v| v.to_str().ok()?.parse().ok()))
}

fn ok() -> (u16, String, Option<u64>) {
    (200, String::new(), None)
}

/// A refusal for a limit, whose time is within the window.
fn is_limit(answer: &Answer, reason: &str, window: u64) -> Result<()> {
    let (status, found, after) = told(answer);
    ensure!((status, found.as_str()) == (429, reason), "{answer:?}");
    let after = after.with_context(|| format!("no Retry-After: {answer:?}"))?;
    ensure!((1..=window).contains(&after), "Retry-After: {after}");
    let error = &answer.json()["error"];
    assert_eq!(error["status"], "RESOURCE_EXHAUSTED");
    let retry =
        json!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": format!("{after}s")});
    assert_eq!(error["details"][1], retry);
    Ok(())
}

#[tokio::test]
async fn calls_a_minute_are_counted_for_each_agent_and_refused_ones_are_not() -> Result<()> {
    let upstream = upstream().await?;
    let both = policy("limits: {callsPerMinute: 3}").replace("{name: coder}}]", "{name: \"*\"}}]");
    let gate = Standalone::start(&upstream, &both).await?;
    let (coder, other) = (gate.agent("agents/coder")?, gate.agent("agents/other")?);
    for _ in 0..3 {
        assert_eq!(told(&coder.get(BUCKET).await?), ok());
        // Refused by a rule, by none, and for what it is: none of them counts.
        let denied = [
            "iam.googleapis.com/v1/projects/acme/serviceAccounts",
            "pubsub.googleapis.com/nothing",
        ];
        for url in denied {
            assert_eq!(coder.get(url).await?.status, 403, "{url}");
        }
    }
    for _ in 0..3 {
        is_limit(&coder.get(BUCKET).await?, "LIMIT_CALLS", 60)?;
    }
    let answer = coder.get(BUCKET).await?;
    let message = answer.message();
    let start = "Turnpike refuses the call for now: policy agents/coder allows agents/coder 3 calls in any 60 seconds, \
                 and there is no room for this one. Make it again in ";
    ensure!(message.starts_with(start), "{message}");
    let facts = &answer.json()["error"]["details"][0]["metadata"];
    let facts = ["policy", "limit", "allowed"].map(|fact| facts[fact].as_str().unwrap_or("").to_owned());
    assert_eq!(facts, ["agents/coder", "callsPerMinute", "3"]);
    // Whose limit is not reached.
    assert_eq!(told(&other.get(BUCKET).await?), ok());

    // A batch counts as its parts. This one alone is too much for anybody.
    let part =
        "--b\r\nContent-Type: application/http\r\n\r\nGET /storage/v1/b/acme-dev-data HTTP/1.1\r\n\r\n\r\n";
    let batch = |parts| part.repeat(parts) + "--b--";
    let mut connection = gate.agent("agents/third")?.open(STORAGE, Protocol::Http1).await?;
    let mut send = async |parts| {
        let mut request = connection.request("POST", "/batch/storage/v1", whole(batch(parts)))?;
        let kind = "multipart/mixed; boundary=b".parse()?;
        request.headers_mut().insert(header::CONTENT_TYPE, kind);
        connection.exchange(request).await
    };
    let answer = send(4).await?;
    is_limit(&answer, "LIMIT_CALLS", 60)?;
    ensure!(
        answer
            .message()
            .ends_with("and this one alone is more than that."),
        "{}",
        answer.message()
    );
    let before = upstream.seen().len();
    send(2).await?;
    assert_eq!(upstream.seen().len(), before + 1, "the batch of two went on");
    is_limit(&send(2).await?, "LIMIT_CALLS", 60)?;

    let trail = gate.trail("LIMIT_CALLS").await?;
    let refused = "refused deny LIMIT_CALLS storage.buckets.get".to_owned();
    ensure!(trail.contains(&refused), "{trail:#?}");
    Ok(())
}

#[tokio::test]
async fn changes_an_hour_leave_reading_alone() -> Result<()> {
    let upstream = upstream().await?;
    let gate = Standalone::start(&upstream, &policy("limits: {changesPerHour: 1}")).await?;
    let coder = gate.agent("agents/coder")?;
    for _ in 0..3 {
        assert_eq!(told(&coder.get(BUCKET).await?), ok());
    }
    assert_eq!(told(&coder.call("DELETE", OBJECT, "").await?), ok());
    for (verb, url, body) in [
        ("DELETE", OBJECT, ""),
        ("PATCH", BUCKET, "{}"),
        ("POST", SERVICES, "{}"),
    ] {
        is_limit(&coder.call(verb, url, body).await?, "LIMIT_CHANGES", 3600)?;
    }
    assert_eq!(gate.approvals()?.len(), 0, "nobody is asked in vain");
    assert_eq!(told(&coder.get(BUCKET).await?), ok());

    // A higher limit of one policy does not undo the lower of another; one in DryRun refuses nothing and tells.
    let more =
        policy("limits: {changesPerHour: 100}").replace("name: coder, namespace", "name: more, namespace");
    gate.write_policy("more", &more)?;
    gate.logged("\"policies\":2").await?;
    is_limit(&coder.call("DELETE", OBJECT, "").await?, "LIMIT_CHANGES", 3600)?;
    gate.write_policy("test", &policy("mode: DryRun\n  limits: {changesPerHour: 1}"))?;
    let wanted = async || -> Result<Answer> {
        let answer = coder.call("DELETE", OBJECT, "").await?;
        ensure!(answer.status == 200, "{answer:?}");
        Ok(answer)
    };
    eventually(PATIENCE, wanted).await?;
    coder.call("DELETE", OBJECT, "").await?;
    eventually(PATIENCE, || async {
        let would = |e: &turnpike_audit::StoredEvent| {
            let facts = &e.event.unmapped.turnpike;
            (facts.verdict.as_str(), facts.would.as_ref().map(|w| w.as_str())) == ("allow", Some("deny"))
        };
        ensure!(
            gate.events()?.iter().any(would),
            "no event tells what would have been refused"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn held_calls_are_limited_while_they_wait() -> Result<()> {
    let upstream = upstream().await?;
    let gate = Standalone::start(&upstream, &policy("limits: {heldCalls: 1, changesPerHour: 2}")).await?;
    let coder = gate.agent("agents/coder")?;
    let deploy = |name: &str| {
        let (coder, url) = (coder.clone(), format!("{SERVICES}{name}"));
        tokio::spawn(async move { coder.call("POST", &url, "{}").await })
    };
    let decide = async |decision: &str| gate.approval("Pending").await?.review("alice", decision, "so");

    let first = deploy("first");
    gate.approval("Pending").await?;
    let second = coder.call("POST", &format!("{SERVICES}second"), "{}").await?;
    is_limit(&second, "LIMIT_HELD", 60)?;
    decide("Deny").await?;
    assert_eq!(first.await??.refusal(), (403, "APPROVAL_DENIED".to_owned()));
    // There is room again, and what was denied has changed nothing.
    for name in ["second", "third"] {
        let held = deploy(name);
        decide("Approve").await?;
        assert_eq!(told(&held.await??), ok(), "{name}");
        eventually(PATIENCE, || async {
            let pending = gate.approvals()?.iter().any(|a| a.phase() == "Pending");
            ensure!(!pending, "still pending");
            Ok(())
        })
        .await?;
    }
    is_limit(&coder.call("DELETE", OBJECT, "").await?, "LIMIT_CHANGES", 3600)?;
    assert_eq!(gate.approvals()?.len(), 3);
    Ok(())
}

/// A body that the test feeds.
fn fed() -> (mpsc::Sender<Result<Frame<Bytes>, io::Error>>, Body) {
    let (feed, body) = mpsc::channel(1);
    (feed, StreamBody::new(body).boxed_unsync())
}

#[tokio::test]
async fn bytes_out_are_counted_as_they_pass() -> Result<()> {
    let upstream = upstream().await?;
    let gate = Standalone::start(&upstream, &policy("limits: {bytesOutPerHour: 100000}")).await?;
    let coder = gate.agent("agents/coder")?;
    let url = format!("{STORAGE}{UPLOAD}");
    let upload = async |bytes: usize| coder.call("POST", &url, &"x".repeat(bytes)).await;
    let uploads = || {
        upstream
            .seen()
            .iter()
            .filter(|r| r.line.starts_with("POST"))
            .count()
    };

    // Known beforehand: refused before a byte has left.
    let too_large = upload(100_001).await?;
    is_limit(&too_large, "LIMIT_BYTES", 3600)?;
    ensure!(
        too_large.message().ends_with("this one alone is more than that."),
        "{}",
        too_large.message()
    );
    assert_eq!(uploads(), 0);
    assert_eq!(told(&upload(60_000).await?), ok());
    is_limit(&upload(60_000).await?, "LIMIT_BYTES", 3600)?;
    assert_eq!(uploads(), 1);
    // Found out on the way: what has passed counts, and the call ends there.
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let mut connection = coder.open(STORAGE, protocol).await?;
        let (mut feed, body) = fed();
        let request = connection.request("POST", UPLOAD, body)?;
        let feeding = tokio::spawn(async move {
            let chunk = Bytes::from(vec![b'x'; 3_000]);
            // It ends when the proxy takes no more.
            while feed.send(Ok(Frame::data(chunk.clone()))).await.is_ok() {}
        });
        let answer = connection.exchange(request).await;
        feeding.abort();
        match (protocol, answer) {
            (_, Ok(answer)) => is_limit(&answer, "LIMIT_BYTES", 3600)?,
            // A client that still writes may find the connection closed before it reads.
            (Protocol::Http1, Err(_)) => {}
            (Protocol::Http2, Err(error)) => return Err(error),
        }
    }
    assert_eq!(
        told(&coder.get(BUCKET).await?),
        ok(),
        "a call without a body sends none"
    );
    // The first stream passed as much as there was room for, to a chunk; the second was refused at its start or soon.
    eventually(PATIENCE, || async {
        let cut: Vec<(u16, String)> = gate
            .events()?
            .iter()
            .filter_map(|e| e.event.api.response.as_ref())
            .filter_map(|r| Some((r.code, r.error.clone()?)))
            .collect();
        ensure!(cut.contains(&(429, "LIMIT_BYTES".to_owned())), "{cut:?}");
        Ok(())
    })
    .await?;
    let topic = std::fs::read_to_string(gate.path().join("audit/topic.jsonl"))?;
    let mut sent = 0;
    for line in topic.lines() {
        let event: Value = serde_json::from_str(line)?;
        if event
            .pointer("/data/unmapped/turnpike/phase")
            .and_then(Value::as_str)
            == Some("outcome")
        {
            let length = event.pointer("/data/http_request/length");
            sent += length.and_then(Value::as_u64).unwrap_or(0);
        }
    }
    ensure!((97_001..=100_000).contains(&sent), "{sent} bytes went upstream");
    Ok(())
}

#[tokio::test]
async fn a_limit_is_a_status_by_grpc() -> Result<()> {
    let upstream = grpc::Upstream::start().await?;
    let route = turnpike_tests::turnpike::standalone::Route::Plain(upstream.addr);
    let gate = Standalone::start(route, &policy("limits: {callsPerMinute: 0}")).await?;
    let mut connection = gate
        .agent("agents/coder")?
        .open("pubsub.googleapis.com", Protocol::Http2)
        .await?;
    let body = grpc::framed(&grpc::field(1, "projects/acme/topics/t"));
    let mut request = connection.request("POST", "/google.pubsub.v1.Publisher/GetTopic", whole(body))?;
    for (name, value) in [("content-type", "application/grpc"), ("te", "trailers")] {
        request
            .headers_mut()
            .insert(http::HeaderName::try_from(name)?, value.parse()?);
    }
    let answer = connection.exchange(request).await?;
    let field = |name: &str| {
        answer
            .headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .unwrap_or("")
    };
    assert_eq!(
        (answer.status, field("grpc-status"), field("retry-after")),
        (200, "8", "60")
    );
    let details = BASE64_STANDARD_NO_PAD.decode(field("grpc-status-details-bin"))?;
    let details = String::from_utf8_lossy(&details).into_owned();
    for part in ["LIMIT_CALLS", "google.rpc.ErrorInfo", "google.rpc.RetryInfo"] {
        ensure!(details.contains(part), "{details:?}");
    }
    assert_eq!(upstream.seen().len(), 0);
    Ok(())
}

#[tokio::test]
async fn guardrails_select_namespaces_by_their_labels_standalone_too() -> Result<()> {
    let upstream = upstream().await?;
    let folder = Folder::new(&upstream)?;
    folder.configure(&json!({"namespaces": {"agents": {"env": "prod"}, "lab": {"env": "dev"}}}))?;
    let everywhere =
        |namespace: &str| policy("").replace("namespace: agents", &format!("namespace: {namespace}"));
    folder.write_policy("agents", &everywhere("agents"))?;
    folder.write_policy("lab", &everywhere("lab"))?;
    let guardrail = json!({
        "apiVersion": "turnpike.dev/v1alpha1",
        "kind": "AgentPolicy",
        "metadata": {"name": "prod", "namespace": "turnpike-system"},
        "spec": {
            "agents": [{"serviceAccount": {"name": "*", "namespaceSelector": {"matchLabels": {"env": "prod"}}}}],
            "rules": [{"name": "no-deletes", "effect": "Deny", "methods": ["storage.**.delete"]}],
        },
    });
    folder.write_policy("prod", &guardrail.to_string())?;
    let gate = folder.start().await?;
    let delete = async |agent: &str| -> Result<(u16, String)> {
        Ok(gate.agent(agent)?.call("DELETE", OBJECT, "").await?.refusal())
    };
    assert_eq!(delete("agents/coder").await?, (403, "RULE_DENIED".to_owned()));
    assert_eq!(delete("lab/coder").await?.0, 200);
    Ok(())
}
