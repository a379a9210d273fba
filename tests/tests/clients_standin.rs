//! The stand-in by gRPC, spoken to directly: every kind of stream, how calls end, and what is on record.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use futures::{SinkExt as _, channel::mpsc};
use http::{HeaderMap, HeaderName, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Incoming;
use std::io::{self, Write as _};
use tempfile::TempDir;
use turnpike_tests::{
    process::{eventually, temp_dir},
    standin::{Fault, Options, RecordedRpc, Standin},
    turnpike::standalone::{
        PATIENCE,
        client::{Agent, Body, Connection, Protocol, whole},
    },
};

const SECRETS: &str = "secretmanager.googleapis.com";
const STORAGE: &str = "storage.googleapis.com";
const PUBSUB: &str = "pubsub.googleapis.com";
const SERVICE: &str = "/google.cloud.secretmanager.v1.SecretManagerService";
const SECRET: &str = "projects/acme-dev/secrets/db-password";
const VALUE: &str = "not-a-real-secret: database password";

/// A stand-in and somebody who knows its token.
struct Bench {
    standin: Standin,
    agent: Agent,
    _tls: TempDir,
}

impl Bench {
    async fn start() -> Result<Self> {
        let tls = temp_dir("standin")?;
        let standin = Standin::start(Options {
            tls_dir: Some(tls.path().to_owned()),
            require_token: Some("good".to_owned()),
            ..Options::default()
        })
        .await?;
        let ca = standin.ca_pem().context("it serves TLS")?;
        let agent = Agent::new(standin.addr(), ca, Some("good".to_owned()))?;
        Ok(Self {
            standin,
            agent,
            _tls: tls,
        })
    }

    /// A call on a connection of its own, which is given back so that it stays open.
    async fn send(
        &self,
        host: &str,
        path: &str,
        body: Body,
        headers: &[(&str, &str)],
    ) -> Result<(Connection, Response<Incoming>)> {
        let mut connection = self.agent.open(host, Protocol::Http2).await?;
        let mut request = connection.request("POST", path, body)?;
        let all = [("content-type", "application/grpc"), ("te", "trailers")];
        for (name, value) in all.iter().chain(headers) {
            let name = HeaderName::try_from(*name)?;
            request.headers_mut().insert(name, value.parse()?);
        }
        let response = connection.send(request).await?;
        Ok((connection, response))
    }

    /// A call with one request, read to its end.
    async fn call(&self, host: &str, path: &str, body: Bytes, headers: &[(&str, &str)]) -> Result<Ended> {
        let (_open, response) = self.send(host, path, whole(body), headers).await?;
        Ended::read(response).await
    }

    /// What is on record of the only call so far.
    fn recorded(&self) -> Result<RecordedRpc> {
        let requests = self.standin.requests();
        ensure!(requests.len() == 1, "{requests:?}");
        requests[0].rpc.clone().context("it came by gRPC")
    }
}

/// How a call ended.
struct Ended {
    /// `grpc-status` and `grpc-message`, and whether they came in the head.
    status: (String, String, bool),
    messages: Vec<Bytes>,
}

impl Ended {
    async fn read(response: Response<Incoming>) -> Result<Self> {
        let (head, body) = response.into_parts();
        let kind = head.headers.get("content-type").map(|kind| kind.as_bytes());
        ensure!(
            head.status == 200 && kind == Some(b"application/grpc"),
            "{head:?}"
        );
        let collected = body.collect().await?;
        let early = head.headers.contains_key("grpc-status");
        let trailers = match collected.trailers() {
            Some(trailers) => trailers.clone(),
            None => head.headers,
        };
        let text = |headers: &HeaderMap, name| -> Result<String> {
            Ok(headers
                .get(name)
                .map_or("", |v| v.to_str().unwrap_or("?"))
                .to_owned())
        };
        Ok(Self {
            status: (
                text(&trailers, "grpc-status")?,
                text(&trailers, "grpc-message")?,
                early,
            ),
            messages: unframed(collected.to_bytes())?,
        })
    }
}

fn unframed(mut bytes: Bytes) -> Result<Vec<Bytes>> {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        let head = bytes.split_to(5.min(bytes.len()));
        let head: [u8; 5] = head.as_ref().try_into().context("a frame's head")?;
        ensure!(head[0] == 0, "compressed");
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        ensure!(length <= bytes.len(), "a frame is cut off");
        messages.push(bytes.split_to(length));
    }
    Ok(messages)
}

/// A field of text, bytes or a message.
fn field(number: u8, value: impl AsRef<[u8]>) -> Vec<u8> {
    let value = value.as_ref();
    let mut out = vec![number << 3 | 2];
    let mut length = value.len();
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(value);
    out
}

/// The last field of a number that holds bytes, whatever numbers come before it.
fn bytes_of(mut message: &[u8], wanted: u64) -> Result<&[u8]> {
    let mut found = None;
    while !message.is_empty() {
        let key = varint(&mut message)?;
        let length = match key & 7 {
            2 => usize::try_from(varint(&mut message)?)?,
            5 => 4,
            _ => {
                varint(&mut message)?;
                0
            }
        };
        let (value, rest) = message.split_at_checked(length).context("cut off")?;
        if key >> 3 == wanted {
            found = Some(value);
        }
        message = rest;
    }
    found.context("no such field")
}

fn varint(bytes: &mut &[u8]) -> Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().context("cut off")?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    anyhow::bail!("too long")
}

fn framed(message: impl AsRef<[u8]>) -> Bytes {
    let message = message.as_ref();
    let mut out = vec![0];
    out.extend_from_slice(&(message.len() as u32).to_be_bytes());
    out.extend_from_slice(message);
    out.into()
}

fn holds(message: &[u8], text: &str) -> bool {
    text.is_empty() || message.windows(text.len()).any(|part| part == text.as_bytes())
}

#[tokio::test]
async fn a_unary_call_is_answered_and_recorded_packed_or_not() -> Result<()> {
    let request = field(1, format!("{SECRET}/versions/latest"));
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(&request)?;
    let packed = packed.finish()?;
    let mut frame = vec![1];
    frame.extend_from_slice(&(packed.len() as u32).to_be_bytes());
    frame.extend_from_slice(&packed);
    for (body, compressed) in [(framed(&request), 0), (frame.into(), 1)] {
        let bench = Bench::start().await?;
        let path = format!("{SERVICE}/AccessSecretVersion");
        let headers = [("grpc-encoding", "gzip"), ("grpc-timeout", "60S")];
        let ended = bench.call(SECRETS, &path, body, &headers).await?;
        assert_eq!(ended.status, ("0".to_owned(), String::new(), false));
        ensure!(
            ended.messages.len() == 1 && holds(&ended.messages[0], VALUE),
            "{:?}",
            ended.messages
        );
        let expected = RecordedRpc {
            messages: vec![request.clone()],
            compressed,
            code: Some(0),
            cancelled: false,
        };
        assert_eq!(bench.recorded()?, expected);
        let seen = &bench.standin.requests()[0];
        assert_eq!(seen.line(), format!("POST {SECRETS}{path}"));
        assert_eq!(
            (seen.version.as_str(), seen.header("grpc-timeout")),
            ("HTTP/2.0", Some("60S"))
        );
    }
    Ok(())
}

#[tokio::test]
async fn what_is_wrong_is_said_in_the_head() -> Result<()> {
    let access = format!("{SERVICE}/AccessSecretVersion");
    let good = framed(field(1, format!("{SECRET}/versions/1")));
    let cases = [
        (
            "no such secret",
            access.clone(),
            framed(field(1, "projects/acme-dev/secrets/none/versions/1")),
            "good",
            (
                "5",
                "Secret [projects/100000000001/secrets/none/versions/1] not found.",
            ),
        ),
        (
            "no such method",
            format!("{SERVICE}/Steal"),
            good.clone(),
            "good",
            (
                "12",
                "the stand-in does not know /google.cloud.secretmanager.v1.SecretManagerService/Steal",
            ),
        ),
        (
            "not a message",
            access.clone(),
            framed([0x0a, 9]),
            "good",
            ("3", "the message cannot be read"),
        ),
        (
            "cut off",
            access.clone(),
            good.slice(..7),
            "good",
            ("13", "a message is cut off"),
        ),
        (
            "another token",
            access,
            good,
            "bad",
            (
                "16",
                "Request had invalid authentication credentials. The stand-in expects a token that it issued.",
            ),
        ),
    ];
    for (what, path, body, token, (code, message)) in cases {
        let mut bench = Bench::start().await?;
        bench.agent = bench.agent.with_token(Some(token));
        let ended = bench.call(SECRETS, &path, body, &[]).await?;
        let expected = (code.to_owned(), message.to_owned(), true);
        assert_eq!((ended.status, ended.messages), (expected, vec![]), "{what}");
        assert_eq!(bench.recorded()?.code, Some(code.parse()?), "{what}");
    }
    Ok(())
}

#[tokio::test]
async fn a_secret_lives_and_dies_by_grpc() -> Result<()> {
    let bench = Bench::start().await?;
    let secret = "projects/acme-dev/secrets/made";
    let version = field(1, format!("{secret}/versions/latest"));
    let add = [field(1, secret), field(2, field(1, "a payload"))].concat();
    let create = [field(1, "projects/acme-dev"), field(2, "made")].concat();
    let steps: [(&str, Vec<u8>, &str, &str); 7] = [
        ("CreateSecret", create.clone(), "0", "secrets/made"),
        ("CreateSecret", create, "6", ""),
        ("AddSecretVersion", add, "0", "secrets/made/versions/1"),
        ("AccessSecretVersion", version.clone(), "0", "a payload"),
        ("ListSecrets", field(1, "projects/acme-dev"), "0", "secrets/made"),
        ("DeleteSecret", field(1, secret), "0", ""),
        ("AccessSecretVersion", version, "5", ""),
    ];
    for (method, request, code, text) in steps {
        let path = format!("{SERVICE}/{method}");
        let ended = bench.call(SECRETS, &path, framed(&request), &[]).await?;
        ensure!(ended.status.0 == code, "{method}: {:?}", ended.status);
        let told = ended.messages.first().is_some_and(|message| holds(message, text));
        ensure!(told == (code == "0"), "{method}: {:?}", ended.messages);
    }
    Ok(())
}

#[tokio::test]
async fn objects_come_and_go_as_streams() -> Result<()> {
    let bench = Bench::start().await?;
    let bucket = "projects/_/buckets/acme-dev-data";
    let resource = field(1, [field(1, "by-grpc.bin"), field(2, bucket)].concat());
    let content: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    let (first, last) = content.split_at(120_000);
    // The first names the object, the last finishes it.
    let first = [field(2, resource), field(4, field(1, first))].concat();
    let last = [field(4, field(1, last)), vec![7 << 3, 1]].concat();
    let body = [framed(first), framed(last)].concat();
    let write = "/google.storage.v2.Storage/WriteObject";
    let ended = bench.call(STORAGE, write, body.into(), &[]).await?;
    assert_eq!(ended.status, ("0".to_owned(), String::new(), false));
    ensure!(holds(&ended.messages[0], "by-grpc.bin"), "{:?}", ended.messages);

    let read = "/google.storage.v2.Storage/ReadObject";
    let request = framed([field(1, bucket), field(2, "by-grpc.bin")].concat());
    let ended = bench.call(STORAGE, read, request, &[]).await?;
    // 64 KiB each; the first tells of the object, too.
    assert_eq!(ended.messages.len(), 4);
    let mut back = Vec::new();
    for message in &ended.messages {
        back.extend_from_slice(bytes_of(bytes_of(message, 1)?, 1)?);
    }
    assert!(back == content, "the content came back changed");
    Ok(())
}

#[tokio::test]
async fn a_stream_both_ways_answers_as_it_goes() -> Result<()> {
    let bench = Bench::start().await?;
    let (mut requests, body) = mpsc::channel::<Result<Frame<Bytes>, io::Error>>(1);
    let body: Body = StreamBody::new(body).boxed_unsync();
    let subscription = "projects/acme-dev/subscriptions/clients";
    requests
        .send(Ok(Frame::data(framed(field(1, subscription)))))
        .await?;
    let path = "/google.pubsub.v1.Subscriber/StreamingPull";
    let (_open, response) = bench.send(PUBSUB, path, body, &[]).await?;
    let mut answers = response.into_body();
    for (request, expected) in [
        (None, subscription),
        (Some("ack-1"), "ack-1"),
        (Some("ack-2"), "ack-2"),
    ] {
        // The answer to the last request comes before the next one is sent.
        if let Some(id) = request {
            requests.send(Ok(Frame::data(framed(field(2, id))))).await?;
        }
        let frame = answers.frame().await.context("no answer")??;
        let data = frame.into_data().map_err(|_| anyhow::anyhow!("the end"))?;
        ensure!(holds(&data, expected), "{data:?}");
    }
    drop(requests);
    let end = answers.frame().await.context("no trailers")??;
    let trailers = end.into_trailers().map_err(|_| anyhow::anyhow!("no trailers"))?;
    assert_eq!(trailers.get("grpc-status").map(|v| v.as_bytes()), Some(&b"0"[..]));
    assert_eq!(bench.recorded()?.messages.len(), 3);
    Ok(())
}

#[tokio::test]
async fn deadlines_cancellations_and_faults_end_a_call() -> Result<()> {
    // A stream that its client leaves open, and one that it leaves.
    let open = || -> (mpsc::Sender<Result<Frame<Bytes>, io::Error>>, Body) {
        let (mut sender, body) = mpsc::channel(1);
        let first = framed(field(1, "projects/acme-dev/subscriptions/clients"));
        sender.try_send(Ok(Frame::data(first))).expect("there is room");
        (sender, StreamBody::new(body).boxed_unsync())
    };
    let path = "/google.pubsub.v1.Subscriber/StreamingPull";

    let bench = Bench::start().await?;
    let (_requests, body) = open();
    let (_open, response) = bench
        .send(PUBSUB, path, body, &[("grpc-timeout", "200m")])
        .await?;
    let ended = Ended::read(response).await?;
    assert_eq!(
        ended.status,
        ("4".to_owned(), "the deadline has passed".to_owned(), false)
    );

    let bench = Bench::start().await?;
    let (requests, body) = open();
    let (connection, response) = bench.send(PUBSUB, path, body, &[]).await?;
    drop((response, requests, connection));
    let cancelled = eventually(PATIENCE, || async {
        let rpc = bench.recorded()?;
        ensure!(rpc.cancelled, "{rpc:?}");
        Ok(rpc)
    });
    assert_eq!(cancelled.await?.code, None);

    let bench = Bench::start().await?;
    bench.standin.inject(Fault {
        host: Some(SECRETS.to_owned()),
        status: Some(503),
        ..Fault::default()
    });
    let request = framed(field(1, format!("{SECRET}/versions/1")));
    let path = format!("{SERVICE}/AccessSecretVersion");
    let ended = bench.call(SECRETS, &path, request, &[]).await?;
    assert_eq!(ended.status, ("14".to_owned(), "injected fault".to_owned(), true));
    Ok(())
}
