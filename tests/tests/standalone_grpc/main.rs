//! Calls by gRPC through the real proxy: the same rules as over REST, every kind of stream, refusals as statuses.

mod upstream;

use std::{io, time::Duration};

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};
use bytes::Bytes;
use futures::channel::mpsc;
use futures::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Incoming;
use turnpike_tests::{
    process::eventually,
    turnpike::standalone::{
        GATEWAY_TOKEN, PATIENCE, Route, Standalone,
        client::{Body, Protocol, whole},
    },
};

use crate::upstream::{Upstream, field, framed};

const SECRETS: &str = "secretmanager.googleapis.com";
const ACCESS: &str = "/google.cloud.secretmanager.v1.SecretManagerService/AccessSecretVersion";
const POLICY: &str = r#"
apiVersion: turnpike.dev/v1alpha1
kind: AgentPolicy
metadata: {name: coder, namespace: agents}
spec:
  agents: [{serviceAccount: {name: coder}}]
  rules:
    - {name: read, effect: Allow, methods: ["secretmanager.**.access", "secretmanager.**.list"], resources: ["projects/acme/**"]}
    - {name: destroy, effect: Deny, methods: ["secretmanager.**.destroy"], message: Secrets are kept.}
    - name: add
      effect: RequireApproval
      methods: ["secretmanager.projects.secrets.addVersion"]
      approval: {holdFor: 20s, expiresAfter: 1h}
    - name: write
      effect: RequireApproval
      methods: ["storage.objects.insert"]
      resources: ["projects/_/buckets/acme-data/**"]
      approval: {holdFor: 20s, expiresAfter: 1h}
    - {name: topics, effect: Allow, methods: ["pubsub.**", "google.pubsub.**"], resources: ["projects/acme/subscriptions/a"]}
    - {name: objects, effect: Allow, methods: ["storage.objects.get"], resources: ["projects/_/buckets/acme-data/**"]}
"#;

async fn gate() -> Result<(Upstream, Standalone)> {
    let upstream = Upstream::start().await?;
    let gate = Standalone::start(Route::Plain(upstream.addr), POLICY).await?;
    Ok((upstream, gate))
}

/// An answer by gRPC, read whole.
#[derive(Debug)]
struct Answer {
    body: Bytes,
    /// Head and trailers together.
    fields: HeaderMap,
}

impl Answer {
    async fn read(response: Response<Incoming>) -> Result<Self> {
        ensure!(response.status() == 200, "HTTP status {}", response.status());
        let (head, body) = response.into_parts();
        let collected = body.collect().await?;
        let mut fields = head.headers;
        fields.extend(collected.trailers().cloned().unwrap_or_default());
        Ok(Self {
            body: collected.to_bytes(),
            fields,
        })
    }

    fn text(&self, name: &str) -> &str {
        self.fields.get(name).and_then(|v| v.to_str().ok()).unwrap_or("")
    }

    /// Status and reason.
    fn refusal(&self) -> Result<(String, String)> {
        let details = BASE64_STANDARD_NO_PAD.decode(self.text("grpc-status-details-bin"))?;
        let printable = String::from_utf8_lossy(&details).into_owned();
        let mut words =
            printable.split(|c: char| !(c.is_ascii_uppercase() || c == '_' || c.is_ascii_digit()));
        let reason = words.rfind(|w| w.len() > 6 && w.contains('_'));
        ensure!(printable.contains("turnpike.dev"), "not Turnpike's: {printable}");
        Ok((
            self.text("grpc-status").to_owned(),
            reason.unwrap_or("").to_owned(),
        ))
    }
}

/// One call with a body, on a connection of its own.
async fn call(
    gate: &Standalone,
    host: &str,
    path: &str,
    body: Body,
    headers: &[(&str, &str)],
) -> Result<Answer> {
    Answer::read(send(gate, host, path, body, headers).await?).await
}

async fn send(
    gate: &Standalone,
    host: &str,
    path: &str,
    body: Body,
    headers: &[(&str, &str)],
) -> Result<Response<Incoming>> {
    let agent = gate.agent("agents/coder")?;
    let mut connection = agent.open(host, Protocol::Http2).await?;
    let mut request = connection.request("POST", path, body)?;
    let all = [("content-type", "application/grpc"), ("te", "trailers")];
    for (name, value) in all.iter().chain(headers) {
        request
            .headers_mut()
            .insert(http::HeaderName::try_from(*name)?, value.parse()?);
    }
    connection.send(request).await
}

/// A request that names something in its first field.
fn named(name: &str) -> Vec<u8> {
    field(1, name)
}

#[tokio::test]
async fn one_rule_covers_grpc_too_and_the_answer_is_masked() -> Result<()> {
    let (upstream, gate) = gate().await?;
    let request = framed(&named("projects/acme/secrets/s/versions/1"));
    let answer = call(&gate, SECRETS, ACCESS, whole(request.clone()), &[]).await?;
    assert_eq!(
        (answer.text("grpc-status"), answer.text("x-from-upstream")),
        ("0", "yes")
    );
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    ensure!(
        text.contains("[MASKED:secret]") && !text.contains("stand-in secret"),
        "{text:?}"
    );

    let seen = upstream.seen();
    assert_eq!(seen.len(), 1);
    let header = |name: &str| {
        seen[0]
            .headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .unwrap_or("")
    };
    assert_eq!(
        (
            seen[0].path.as_str(),
            header("authorization"),
            header("te"),
            header("content-type")
        ),
        (
            ACCESS,
            format!("Bearer {GATEWAY_TOKEN}").as_str(),
            "trailers",
            "application/grpc"
        )
    );
    assert_eq!(seen[0].body, request);

    let trail = gate.trail("outcome").await?;
    let wanted = "secretmanager.projects.secrets.versions.access";
    ensure!(trail.iter().all(|line| line.contains(wanted)), "{trail:?}");
    Ok(())
}

#[tokio::test]
async fn refusals_are_statuses_with_reasons() -> Result<()> {
    let (upstream, gate) = gate().await?;
    let service = "/google.cloud.secretmanager.v1.SecretManagerService";
    let good = framed(&named("projects/acme/secrets/s/versions/1"));
    let other = framed(&named("projects/other/secrets/s/versions/1"));
    let twice = framed(
        &[
            named("projects/acme/secrets/s/versions/1"),
            named("projects/other/secrets/s/versions/1"),
        ]
        .concat(),
    );
    let pull = framed(&named("projects/acme/subscriptions/b"));
    let access = ACCESS.to_owned();
    let cases: [(&str, &str, String, Bytes, &str, &str); 11] = [
        (
            "a rule denies",
            SECRETS,
            format!("{service}/DestroySecretVersion"),
            good.clone(),
            "7",
            "RULE_DENIED",
        ),
        (
            "no rule allows the resource",
            SECRETS,
            access.clone(),
            other,
            "7",
            "NO_RULE_ALLOWS",
        ),
        (
            "no rule allows the method",
            SECRETS,
            format!("{service}/DeleteSecret"),
            framed(&named("projects/acme/secrets/s")),
            "7",
            "NO_RULE_ALLOWS",
        ),
        (
            "a name that is given twice",
            SECRETS,
            access.clone(),
            twice,
            "7",
            "",
        ),
        (
            "nothing listed",
            SECRETS,
            "/acme.Shop/Buy".to_owned(),
            good.clone(),
            "7",
            "",
        ),
        (
            "another API's host",
            "pubsub.googleapis.com",
            access.clone(),
            good.clone(),
            "7",
            "",
        ),
        (
            "no message",
            SECRETS,
            access.clone(),
            Bytes::new(),
            "3",
            "GRPC_NO_MESSAGE",
        ),
        (
            "two messages",
            SECRETS,
            access.clone(),
            [good.clone(), good.clone()].concat().into(),
            "3",
            "GRPC_TWO_MESSAGES",
        ),
        (
            "an upload session in the place of an object",
            "storage.googleapis.com",
            "/google.storage.v2.Storage/WriteObject".to_owned(),
            framed(&named("somebodys-session")),
            "7",
            "GRPC_UPLOAD_SESSION",
        ),
        (
            "the start of an upload session",
            "storage.googleapis.com",
            "/google.storage.v2.Storage/StartResumableWrite".to_owned(),
            framed(&[]),
            "7",
            "GRPC_UPLOAD_SESSION",
        ),
        (
            "another subscription",
            "pubsub.googleapis.com",
            "/google.pubsub.v1.Subscriber/StreamingPull".to_owned(),
            pull,
            "7",
            "NO_RULE_ALLOWS",
        ),
    ];
    for (name, host, path, body, status, reason) in cases {
        let answer = call(&gate, host, &path, whole(body), &[]).await?;
        let found = answer.refusal().with_context(|| format!("{name}: {answer:?}"))?;
        assert_eq!(found.0, status, "{name}: {found:?}");
        ensure!(reason.is_empty() || found.1 == reason, "{name}: {found:?}");
    }
    assert_eq!(upstream.seen().len(), 0);

    // REST clients that say gRPC, and gRPC that is not: JSON refusals, and nothing passes.
    let agent = gate.agent("agents/coder")?;
    for (kind, protocol) in [
        ("application/grpc", Protocol::Http1),
        ("application/grpc-web", Protocol::Http2),
        ("application/grpc-web-text", Protocol::Http1),
        ("application/grpc+json", Protocol::Http2),
    ] {
        let mut connection = agent.open(SECRETS, protocol).await?;
        let mut request = connection.request("POST", ACCESS, whole(good.clone()))?;
        request.headers_mut().insert("content-type", kind.parse()?);
        let answer = connection.exchange(request).await?;
        ensure!(matches!(answer.status, 400 | 403 | 415), "{kind}: {answer:?}");
    }
    assert_eq!(upstream.seen().len(), 0);
    Ok(())
}

#[tokio::test]
async fn a_held_call_goes_on_when_it_is_approved_and_tells_before_its_deadline() -> Result<()> {
    let (upstream, gate) = gate().await?;
    let path = "/google.cloud.secretmanager.v1.SecretManagerService/AddSecretVersion";
    let request = framed(&[named("projects/acme/secrets/s"), field(2, field(1, "new"))].concat());
    let short = call(
        &gate,
        SECRETS,
        path,
        whole(request.clone()),
        &[("grpc-timeout", "500m")],
    )
    .await?;
    assert_eq!(short.refusal()?, ("7".to_owned(), "APPROVAL_PENDING".to_owned()));
    ensure!(short.text("grpc-message").contains("approve"), "{short:?}");

    let held = call(
        &gate,
        SECRETS,
        path,
        whole(request.clone()),
        &[("grpc-timeout", "60S")],
    );
    let approve = async { gate.approval("Pending").await?.review("alice", "Approve", "fine") };
    let (answer, approved) = tokio::join!(held, approve);
    approved?;
    assert_eq!(answer?.text("grpc-status"), "0");
    let seen = upstream.seen();
    assert_eq!((seen.len(), seen[0].body.as_slice()), (1, &request[..]));
    Ok(())
}

#[tokio::test]
async fn a_stream_of_requests_is_held_whole() -> Result<()> {
    let (upstream, gate) = gate().await?;
    let path = "/google.storage.v2.Storage/WriteObject";
    let object = [field(1, "big.bin"), field(2, "projects/_/buckets/acme-data")].concat();
    let mut stream = vec![framed(&field(2, field(1, object)))];
    for number in 0..80_u8 {
        stream.push(framed(&field(4, field(1, vec![number; 60_000]))));
    }
    let sent = stream.concat();
    let pieces = stream
        .into_iter()
        .map(|message| Ok::<_, io::Error>(Frame::data(message)));
    let body = StreamBody::new(futures::stream::iter(pieces.collect::<Vec<_>>())).boxed_unsync();
    let held = call(&gate, "storage.googleapis.com", path, body, &[]);
    let approve = async {
        let request = gate.approval("Pending").await?;
        ensure!(upstream.seen().is_empty(), "some of it is at Google's");
        request.review("alice", "Approve", "fine")?;
        Ok(request)
    };
    let (answer, request) = tokio::join!(held, approve);
    let (answer, request) = (answer?, request?);
    assert_eq!(answer.text("grpc-status"), "0");
    assert_eq!(request.value["spec"]["call"]["bodyBytes"], sent.len());
    let seen = upstream.seen();
    ensure!(
        seen.len() == 1 && seen[0].body == sent,
        "other messages went upstream"
    );
    Ok(())
}

#[tokio::test]
async fn messages_go_both_ways_as_they_come_and_none_may_name_another_resource() -> Result<()> {
    let (upstream, gate) = gate().await?;
    let path = "/google.pubsub.v1.Subscriber/StreamingPull";
    let (mut messages, body) = mpsc::channel::<Result<Frame<Bytes>, io::Error>>(1);
    let first = framed(&named("projects/acme/subscriptions/a"));
    messages.send(Ok(Frame::data(first.clone()))).await?;
    let body = StreamBody::new(body).boxed_unsync();
    let response = send(&gate, "pubsub.googleapis.com", path, body, &[]).await?;
    let mut echoes = response.into_body().into_data_stream();
    let mut next = async || echoes.next().await.context("an echo")?.context("a message");
    assert_eq!(next().await?, first);
    // A later message of the stream names nothing; it comes back before the next one is sent.
    for ack in [b"1", b"2"] {
        let later = framed(&field(2, ack));
        messages.send(Ok(Frame::data(later.clone()))).await?;
        assert_eq!(next().await?, later);
    }
    let other = framed(&named("projects/acme/subscriptions/b"));
    messages.send(Ok(Frame::data(other))).await?;
    ensure!(next().await.is_err(), "the stream goes on");
    let seen = upstream.seen();
    let text = String::from_utf8_lossy(&seen[0].body).into_owned();
    ensure!(!text.contains("subscriptions/b"), "it reached Google: {text:?}");
    Ok(())
}

#[tokio::test]
async fn who_gives_up_or_runs_out_of_time_ends_the_call_upstream() -> Result<()> {
    let (upstream, gate) = gate().await?;
    let path = "/google.cloud.secretmanager.v1.SecretManagerService/ListSecrets";
    let request = || whole(framed(&named("projects/acme")));
    let late = call(&gate, SECRETS, path, request(), &[("grpc-timeout", "700m")]).await?;
    assert_eq!(late.text("grpc-status"), "4", "{late:?}");
    let timeout = upstream.seen()[0].headers["grpc-timeout"].to_str()?.to_owned();
    let micros: u64 = timeout.strip_suffix('u').context("in microseconds")?.parse()?;
    ensure!(micros > 0 && micros < 700_000, "{timeout}");

    let given_up = tokio::time::timeout(
        Duration::from_millis(300),
        call(&gate, SECRETS, path, request(), &[]),
    );
    ensure!(given_up.await.is_err(), "it never answers");
    eventually(PATIENCE, || async {
        ensure!(upstream.cancelled(), "upstream still works");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn packed_messages_are_understood_and_go_on_plain() -> Result<()> {
    use std::io::Write as _;
    let (upstream, gate) = gate().await?;
    let packed = |message: &[u8]| -> Result<Bytes> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(message)?;
        let packed = encoder.finish()?;
        let mut whole = vec![1];
        whole.extend((packed.len() as u32).to_be_bytes());
        whole.extend(packed);
        Ok(whole.into())
    };
    let gzip = [("grpc-encoding", "gzip")];
    let allowed = named("projects/acme/secrets/s/versions/1");
    let answer = call(&gate, SECRETS, ACCESS, whole(packed(&allowed)?), &gzip).await?;
    assert_eq!(answer.text("grpc-status"), "0");
    let seen = upstream.seen();
    assert_eq!(seen[0].body, framed(&allowed));
    ensure!(
        !seen[0].headers.contains_key("grpc-encoding"),
        "{:?}",
        seen[0].headers
    );

    let forbidden = packed(&named("projects/other/secrets/s/versions/1"))?;
    let answer = call(&gate, SECRETS, ACCESS, whole(forbidden), &gzip).await?;
    assert_eq!(answer.refusal()?.1, "NO_RULE_ALLOWS");
    let answer = call(&gate, SECRETS, ACCESS, whole(packed(&allowed)?), &[]).await?;
    assert_eq!(answer.refusal()?.1, "GRPC_MALFORMED");
    assert_eq!(upstream.seen().len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_stream_waits_for_its_reader_and_arrives_whole() -> Result<()> {
    let (upstream, gate) = gate().await?;
    let path = "/google.storage.v2.Storage/ReadObject";
    let request = framed(&[field(1, "projects/_/buckets/acme-data"), field(2, "o")].concat());
    let response = send(&gate, "storage.googleapis.com", path, whole(request), &[]).await?;
    // Nobody reads: the windows of both sides fill up, and that is all.
    let mut before = 0;
    eventually(PATIENCE, || {
        let (now, was) = (upstream.sent(), std::mem::replace(&mut before, upstream.sent()));
        async move {
            ensure!(now > 0 && now == was, "still sending: {was}, {now}");
            Ok(())
        }
    })
    .await?;
    ensure!(
        upstream.sent() < 16 << 20,
        "{} bytes were taken unread",
        upstream.sent()
    );
    let answer = Answer::read(response).await?;
    assert_eq!(answer.text("grpc-status"), "0");
    assert_eq!(
        answer.body.len(),
        1024 * framed(&field(1, vec![7; upstream::CHUNK])).len()
    );
    Ok(())
}

#[tokio::test]
async fn a_server_that_says_goodbye_is_followed_to_its_next_connection() -> Result<()> {
    let (upstream, gate) = gate().await?;
    let request = framed(&named("projects/acme/secrets/s/versions/1"));
    call(&gate, SECRETS, ACCESS, whole(request.clone()), &[]).await?;
    for connections in 2..=4 {
        upstream.restart();
        // A call that is on its way when the goodbye comes is answered on the old connection.
        eventually(PATIENCE, || async {
            let answer = call(&gate, SECRETS, ACCESS, whole(request.clone()), &[]).await?;
            assert_eq!(answer.text("grpc-status"), "0", "{answer:?}");
            ensure!(upstream.connections() >= connections, "still on the old one");
            Ok(())
        })
        .await?;
    }
    Ok(())
}
