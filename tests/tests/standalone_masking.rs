//! Masking, standalone: whatever form an upstream gives an answer, the agent sees no secret of it; what cannot
//! be read is refused, and nothing of it passes.

use std::{convert::Infallible, sync::Arc, sync::Mutex};

use anyhow::{Context as _, Result};
use async_compression::tokio::write::{BrotliEncoder, DeflateEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;
use turnpike_tests::process::eventually;
use turnpike_tests::turnpike::standalone::{
    Folder, PATIENCE, Standalone,
    client::{Agent, Answer, Body, Protocol, whole},
    files_with,
    upstream::{Seen, Upstream},
};

const HOST: &str = "secretmanager.googleapis.com";
const ACCESS: &str = "/v1/projects/acme-dev/secrets/db-password/versions/1:access";
const SECRET: &str = "not-a-real-secret: database password";
/// The secret in every form in which it could pass: as it is, in base64, its checksum.
const FORMS: &[&str] = &[
    "not-a-real-secret",
    "bm90LWEtcmVhbC1zZWNyZXQ6IGRhdGFiYXNlIHBhc3N3b3Jk",
    "3735928559",
];

const POLICY: &str = r#"
apiVersion: turnpike.dev/v1alpha1
kind: AgentPolicy
metadata: {name: all, namespace: agents}
spec:
  agents: [{serviceAccount: {name: coder}}]
  rules:
    - {name: all, effect: Allow, methods: ["**"]}
  secrets:
    fields:
      - {methods: ["pubsub.**"], paths: ["**.env[*].value", "labels.owner"], kind: custom}
"#;

/// An answer that the test puts in place, and that every request gets.
#[derive(Clone, Default)]
struct Scripted(Arc<Mutex<Script>>);

#[derive(Clone, Default)]
struct Script {
    status: u16,
    headers: Vec<(&'static str, String)>,
    /// Sent as frames of their own where there are several, without a length.
    chunks: Vec<Bytes>,
}

impl Scripted {
    fn set(&self, status: u16, headers: &[(&'static str, &str)], chunks: Vec<Bytes>) {
        let headers = headers.iter().map(|(n, v)| (*n, (*v).to_owned())).collect();
        *self.0.lock().unwrap() = Script {
            status,
            headers,
            chunks,
        };
    }

    fn json(&self, body: &str) {
        self.set(
            200,
            &[("content-type", "application/json")],
            vec![body.to_owned().into()],
        );
    }

    fn answer(&self, _: &Seen) -> Response<Body> {
        let script = self.0.lock().unwrap().clone();
        let body = match <[Bytes; 1]>::try_from(script.chunks) {
            Ok([one]) => whole(one),
            Err(chunks) => {
                let frames = chunks.into_iter().map(|c| Ok::<_, Infallible>(Frame::data(c)));
                StreamBody::new(stream::iter(frames))
                    .map_err(|never| match never {})
                    .boxed_unsync()
            }
        };
        let mut answer = Response::new(body);
        *answer.status_mut() = script.status.try_into().unwrap();
        for (name, value) in script.headers {
            let name = HeaderName::from_static(name);
            answer
                .headers_mut()
                .append(name, HeaderValue::from_str(&value).unwrap());
        }
        answer
    }
}

struct Bench {
    script: Scripted,
    gate: Standalone,
    agent: Agent,
    upstream: Upstream,
}

impl Bench {
    async fn start() -> Result<Self> {
        Self::with(None, &json!({})).await
    }

    async fn with(tls: Option<Protocol>, config: &Value) -> Result<Self> {
        let script = Scripted::default();
        let answer = {
            let script = script.clone();
            move |seen: &Seen| script.answer(seen)
        };
        let upstream = match tls {
            None => Upstream::plain(answer).await?,
            Some(protocol) => Upstream::tls(&[HOST], protocol, answer).await?,
        };
        let folder = Folder::new(&upstream)?;
        folder.write_policy("test", POLICY)?;
        folder.configure(config)?;
        let gate = folder.start().await?;
        Ok(Self {
            script,
            agent: gate.agent("agents/coder")?,
            gate,
            upstream,
        })
    }

    async fn access(&self) -> Result<Answer> {
        let answer = self.agent.get(&format!("{HOST}{ACCESS}")).await?;
        let text = format!("{:?} {}", answer.headers, answer.text());
        for form in FORMS {
            assert!(!text.contains(form), "{form} passes: {text}");
        }
        Ok(answer)
    }
}

fn answer() -> Value {
    json!({
        "name": "projects/1/secrets/db-password/versions/1",
        "payload": {"data": STANDARD.encode(SECRET), "dataCrc32c": "3735928559"},
    })
}

fn masked() -> Value {
    json!({
        "name": "projects/1/secrets/db-password/versions/1",
        "payload": {"data": STANDARD.encode("[MASKED:secret]")},
    })
}

async fn encode(coding: &str, plain: &[u8]) -> Result<Vec<u8>> {
    macro_rules! through {
        ($encoder:ident) => {{
            let mut encoder = $encoder::new(Vec::new());
            encoder.write_all(plain).await?;
            encoder.shutdown().await?;
            encoder.into_inner()
        }};
    }
    Ok(match coding {
        "gzip" | "x-gzip" => through!(GzipEncoder),
        "deflate" => through!(ZlibEncoder),
        "br" => through!(BrotliEncoder),
        "zstd" => through!(ZstdEncoder),
        "identity" => plain.to_vec(),
        other => anyhow::bail!("no coding {other}"),
    })
}

#[tokio::test]
async fn every_coding_over_every_protocol_is_read() -> Result<()> {
    for upstream in [None, Some(Protocol::Http1), Some(Protocol::Http2)] {
        let bench = Bench::with(upstream, &json!({})).await?;
        let codings = [
            vec![],
            vec!["identity"],
            vec!["gzip"],
            vec!["x-gzip"],
            vec!["deflate"],
            vec!["br"],
            vec!["zstd"],
            vec!["gzip", "br"],
            vec!["zstd", "identity", "gzip"],
        ];
        for codings in codings {
            let mut body = answer().to_string().into_bytes();
            for coding in &codings {
                body = encode(coding, &body).await?;
            }
            let joined = codings.join(", ");
            let mut headers = vec![("content-type", "application/json; charset=UTF-8")];
            if !codings.is_empty() {
                headers.push(("content-encoding", joined.as_str()));
            }
            // Whole, and in chunks that split everything.
            for chunks in [
                vec![Bytes::from(body.clone())],
                body.chunks(7).map(Bytes::copy_from_slice).collect(),
            ] {
                bench.script.set(200, &headers, chunks);
                let answer = bench.access().await?;
                assert_eq!(
                    (answer.status, answer.json()),
                    (200, masked()),
                    "{upstream:?} {joined}"
                );
                assert_eq!(answer.headers.get("content-encoding"), None);
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn codings_as_several_headers_and_several_gzip_members_are_read() -> Result<()> {
    let bench = Bench::start().await?;
    let json = ("content-type", "application/json");
    let body = encode("br", &encode("gzip", answer().to_string().as_bytes()).await?).await?;
    let headers = [json, ("content-encoding", "gzip"), ("content-encoding", "br")];
    bench.script.set(200, &headers, vec![body.into()]);
    assert_eq!(bench.access().await?.json(), masked());

    let text = answer().to_string();
    let (one, other) = text.split_at(text.len() / 2);
    let mut body = encode("gzip", one.as_bytes()).await?;
    body.extend(encode("gzip", other.as_bytes()).await?);
    bench
        .script
        .set(200, &[json, ("content-encoding", "gzip")], vec![body.into()]);
    assert_eq!(bench.access().await?.json(), masked());
    Ok(())
}

#[tokio::test]
async fn headers_that_tell_of_the_old_bytes_are_dropped() -> Result<()> {
    let bench = Bench::start().await?;
    let told = [
        ("content-type", "application/json"),
        ("etag", "\"3735928559\""),
        ("x-goog-hash", "crc32c=3735928559"),
        ("x-goog-hash", "md5=3735928559"),
        ("content-md5", "3735928559"),
        ("digest", "sha-256=3735928559"),
        ("x-goog-stored-content-length", "3735928559"),
        ("accept-ranges", "bytes"),
        ("x-goog-generation", "1"),
    ];
    bench.script.set(200, &told, vec![answer().to_string().into()]);
    let answer = bench.access().await?;
    let mut names: Vec<&str> = answer.headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["content-length", "content-type", "date", "x-goog-generation"]
    );
    assert_eq!(
        answer.headers["content-length"].to_str()?,
        answer.body.len().to_string()
    );
    Ok(())
}

#[tokio::test]
async fn json_that_readers_understand_differently_leaks_nothing() -> Result<()> {
    let bench = Bench::start().await?;
    let data = STANDARD.encode(SECRET);
    let m = STANDARD.encode("[MASKED:secret]");
    let cases = [
        // A partial answer (?fields=payload), and one with nothing but the checksum.
        (
            format!(r#"{{"payload": {{"data": "{data}"}}}}"#),
            json!({"payload": {"data": m}}),
        ),
        (
            r#"{"payload": {"dataCrc32c": "3735928559"}}"#.to_owned(),
            json!({"payload": {}}),
        ),
        // Names twice: whichever a client takes, it is not the secret.
        (
            format!(r#"{{"payload": {{"data": "{data}"}}, "payload": {{"data": "eA=="}}}}"#),
            json!({"payload": {"data": m}}),
        ),
        (
            format!(r#"{{"payload": {{"data": "{data}"}}, "payload": {{}}}}"#),
            json!({"payload": {}}),
        ),
        (
            format!(r#"{{"payload": {{"data": "{data}", "data": null}}}}"#),
            json!({"payload": {"data": null}}),
        ),
        (
            format!(r#"{{"payload": {{"data": "{data}", "data": ""}}}}"#),
            json!({"payload": {"data": ""}}),
        ),
        // Names written otherwise.
        (
            format!(r#"{{"payload": {{"\u0064ata": "{data}"}}}}"#),
            json!({"payload": {"data": m}}),
        ),
        (
            format!(r#"{{"Payload": {{"DATA": "{data}", "data_crc32c": "3735928559"}}}}"#),
            json!({"Payload": {"DATA": m}}),
        ),
        // Deeper: an operation's Any, a list, a list in the place of the value.
        (
            format!(
                r#"{{"done": true, "response": {{"@type": "type.googleapis.com/x", "payload": {{"data": "{data}"}}}}}}"#
            ),
            json!({"done": true, "response": {"@type": "type.googleapis.com/x", "payload": {"data": m}}}),
        ),
        (
            format!(r#"[[{{"payload": [{{"data": ["{data}", {{"x": "{data}"}}]}}]}}]]"#),
            json!([[{"payload": [{"data": [m, {"x": m}]}]}]]),
        ),
        // White space and numbers stay what they mean.
        (
            format!(
                "\r\n\t {{\"n\": 1.5e3, \"big\": 18446744073709551615, \"payload\": {{\"data\": \"{data}\"}}}}\n"
            ),
            json!({"n": 1500.0, "big": 18_446_744_073_709_551_615_u64, "payload": {"data": m}}),
        ),
        ("{}".to_owned(), json!({})),
        ("\"text\"".to_owned(), json!("text")),
    ];
    for (body, expected) in cases {
        bench.script.json(&body);
        let answer = bench.access().await?;
        assert_eq!((answer.status, answer.json()), (200, expected), "{body}");
    }
    // An empty answer is none.
    bench.script.json("");
    assert_eq!(bench.access().await?.text(), "");
    Ok(())
}

#[tokio::test]
async fn errors_are_masked_too() -> Result<()> {
    let bench = Bench::start().await?;
    let body = json!({"error": {"code": 500, "details": [answer()]}}).to_string();
    let json = [("content-type", "application/json")];
    bench.script.set(500, &json, vec![body.into()]);
    let answer = bench.access().await?;
    let expected = json!({"error": {"code": 500, "details": [masked()]}});
    assert_eq!((answer.status, answer.json()), (500, expected));
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_and_nothing_of_it_passes() -> Result<()> {
    let limits = json!({"limits": {"maskedAnswerMib": 1}});
    let bench = Bench::with(None, &limits).await?;
    let json = ("content-type", "application/json");
    let plain = answer().to_string();
    let gzip = encode("gzip", plain.as_bytes()).await?;
    let mut flipped = gzip.clone();
    if let Some(byte) = flipped.iter_mut().rev().nth(5) {
        *byte ^= 0xff;
    }
    let mut raw = DeflateEncoder::new(Vec::new());
    raw.write_all(plain.as_bytes()).await?;
    raw.shutdown().await?;
    let large = json!({"payload": {"data": STANDARD.encode(SECRET)}, "x": "x".repeat(1 << 20)}).to_string();
    let bomb = encode("gzip", &vec![b' '; 64 << 20]).await?;
    let utf16: Vec<u8> = plain.encode_utf16().flat_map(u16::to_le_bytes).collect();
    type Headers<'a> = Vec<(&'static str, &'a str)>;
    let cases: Vec<(&str, Headers<'_>, Vec<u8>)> = vec![
        ("no content type", vec![], plain.clone().into()),
        ("text", vec![("content-type", "text/plain")], plain.clone().into()),
        (
            "protobuf",
            vec![("content-type", "application/x-protobuf")],
            plain.clone().into(),
        ),
        ("not JSON", vec![json], format!(")]}}'\n{plain}").into()),
        ("JSONP", vec![json], format!("callback({plain})").into()),
        ("JSON and more", vec![json], format!("{plain}{plain}").into()),
        ("cut JSON", vec![json], plain.as_bytes()[..plain.len() - 1].into()),
        ("UTF-16", vec![json], utf16),
        ("over the cap", vec![json], large.clone().into()),
        (
            "over the cap once read",
            vec![json, ("content-encoding", "gzip")],
            encode("gzip", large.as_bytes()).await?,
        ),
        ("a bomb", vec![json, ("content-encoding", "gzip")], bomb),
        (
            "cut gzip",
            vec![json, ("content-encoding", "gzip")],
            gzip[..gzip.len() - 9].into(),
        ),
        ("broken gzip", vec![json, ("content-encoding", "gzip")], flipped),
        (
            "plain that says gzip",
            vec![json, ("content-encoding", "gzip")],
            plain.clone().into(),
        ),
        (
            "raw deflate",
            vec![json, ("content-encoding", "deflate")],
            raw.into_inner(),
        ),
        (
            "gzip that says br",
            vec![json, ("content-encoding", "br")],
            gzip.clone(),
        ),
        (
            "an unknown coding",
            vec![json, ("content-encoding", "aes128gcm")],
            plain.clone().into(),
        ),
        (
            "coded too often",
            vec![json, ("content-encoding", "gzip, gzip, gzip, gzip, gzip")],
            plain.clone().into(),
        ),
    ];
    for (what, headers, body) in cases {
        for chunks in [
            vec![Bytes::from(body.clone())],
            body.chunks(64 * 1024)
                .map(Bytes::copy_from_slice)
                .collect::<Vec<_>>(),
        ] {
            bench.script.set(200, &headers, chunks);
            let answer = bench.access().await?;
            assert_eq!(answer.refusal(), (403, "ANSWER_UNREADABLE".to_owned()), "{what}");
            assert!(!answer.headers.contains_key("content-encoding"), "{what}");
        }
    }
    // Told as what it is: the call was made, its answer did not pass.
    let trail = bench.gate.trail("outcome").await?;
    assert_eq!(
        trail.get(..2).context("two events")?,
        [
            "intent allow RULE_ALLOWED secretmanager.projects.secrets.versions.access",
            "outcome allow RULE_ALLOWED secretmanager.projects.secrets.versions.access 403",
        ]
    );
    assert_eq!(
        files_with(&bench.gate.path(), FORMS)?,
        [] as [std::path::PathBuf; 0]
    );
    Ok(())
}

#[tokio::test]
async fn fields_that_a_policy_names_are_masked_and_told() -> Result<()> {
    let bench = Bench::start().await?;
    let body = json!({
        "labels": {"owner": "not-a-real-secret: x", "team": "a"},
        "a": {"env": [{"name": "A", "value": "not-a-real-secret: y"}, {"name": "B", "value": 7}]},
        "owner": "stays",
    });
    bench.script.json(&body.to_string());
    let url = "pubsub.googleapis.com/v1/projects/acme-dev/topics/t";
    let answer = bench.agent.get(url).await?;
    let m = "[MASKED:custom]";
    let expected = json!({
        "labels": {"owner": m, "team": "a"},
        "a": {"env": [{"name": "A", "value": m}, {"name": "B", "value": m}]},
        "owner": "stays",
    });
    assert_eq!((answer.status, answer.json()), (200, expected));
    bench.gate.trail("outcome").await?;
    let events = bench.gate.events()?;
    let told: Vec<_> = events
        .iter()
        .flat_map(|e| &e.event.unmapped.turnpike.masked)
        .map(|m| (m.kind.as_str(), m.path.as_str(), m.count))
        .collect();
    assert_eq!(
        told,
        [("custom", "**.env[*].value", 2), ("custom", "labels.owner", 1)]
    );
    // The same method without the policy's fields is not touched, nor is another agent's.
    bench.script.json(&body.to_string());
    let other = "run.googleapis.com/v2/projects/acme-dev/locations/us-central1/services/s";
    let other = bench.agent.get(other).await?;
    assert_eq!(other.json()["labels"]["owner"], "not-a-real-secret: x");
    Ok(())
}

#[tokio::test]
async fn recorded_bodies_are_the_masked_ones_by_digest() -> Result<()> {
    let bench = Bench::start().await?;
    let policy = POLICY.replace(
        "  rules:",
        "  recording: {bodies: Masked, retention: 1d}\n  rules:",
    );
    bench.gate.write_policy("test", &policy)?;
    bench.script.json(&answer().to_string());
    let recordings = bench.gate.path().join("audit/recordings");
    let answer = eventually(PATIENCE, || async {
        let answer = bench.access().await?;
        anyhow::ensure!(recordings.exists(), "nothing is recorded");
        Ok(answer)
    })
    .await?;
    let digest: String = Sha256::digest(&answer.body)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    let path = recordings.join(format!("sha256/{}/{digest}.json", &digest[..2]));
    assert_eq!(std::fs::read(path)?, answer.body);
    let calls: Vec<String> = std::fs::read_dir(recordings.join("calls"))?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    for call in &calls {
        eventually(PATIENCE, || async {
            let events = bench.gate.events()?;
            let known = events.iter().any(|e| e.event.metadata.correlation_uid == *call);
            anyhow::ensure!(known, "no event of {call}");
            Ok(())
        })
        .await?;
        let text = std::fs::read_to_string(recordings.join("calls").join(call))?;
        assert!(text.starts_with(&digest), "{text}");
    }
    assert_eq!(calls.len(), 1);
    assert_eq!(
        files_with(&bench.gate.path(), FORMS)?,
        [] as [std::path::PathBuf; 0]
    );
    Ok(())
}

/// What is asked of an upstream whose answer has to be read.
#[tokio::test]
async fn answers_that_must_be_read_are_asked_for_whole_and_in_a_readable_coding() -> Result<()> {
    let bench = Bench::start().await?;
    bench.script.json(&answer().to_string());
    let mut connection = bench.agent.open(HOST, Protocol::Http1).await?;
    let mut request = connection.request("GET", ACCESS, whole(""))?;
    let headers = request.headers_mut();
    headers.insert("accept-encoding", "aes128gcm, br;q=1".parse()?);
    headers.insert("range", "bytes=0-9".parse()?);
    assert_eq!(connection.exchange(request).await?.json(), masked());
    let seen = bench.upstream.seen();
    let seen: &HeaderMap = &seen.last().context("a request")?.headers;
    assert_eq!(
        seen.get("accept-encoding"),
        Some(&HeaderValue::from_static("gzip"))
    );
    assert_eq!(seen.get("range"), None);
    Ok(())
}
