//! Ways round the gate that look like ordinary calls, standalone: proofs that have expired, headers and
//! parameters that nobody asked for, masks that another form of the call would miss, sessions that would take
//! content after the approval.

use anyhow::{Context as _, Result};
use http::Response;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use turnpike_tests::{
    process::eventually,
    turnpike::standalone::{
        Folder, PATIENCE, Standalone,
        client::{Body, Protocol, whole},
        upstream::{Seen, Upstream},
    },
};

const STORAGE: &str = "storage.googleapis.com";
const BUCKET: &str = "/storage/v1/b/acme-dev-data";
const SECRET: &str = "not-a-real-secret";

const POLICY: &str = r#"
apiVersion: turnpike.dev/v1alpha1
kind: AgentPolicy
metadata: {name: all, namespace: agents}
spec:
  agents: [{serviceAccount: {name: coder}}]
  rules:
    - {name: all, effect: Allow, methods: ["**"]}
    - {name: ask, effect: RequireApproval, methods: ["storage.objects.insert"], resources: ["projects/_/buckets/held/**"], approval: {holdFor: 1s}}
  secrets:
    fields: [{methods: ["storage.objects.*"], paths: ["**.metadata.*"]}]
"#;

/// An answer with a secret in every field that could hold one.
fn answer(_: &Seen) -> Response<Body> {
    let text = json!({"kind": "x", "metadata": {"token": SECRET}, "password": SECRET, "accessToken": SECRET, "nested": {"password": SECRET}});
    let mut answer = Response::new(whole(text.to_string()));
    let json = http::HeaderValue::from_static("application/json");
    answer.headers_mut().insert("content-type", json);
    answer
}

async fn gate() -> Result<(Upstream, Standalone)> {
    let upstream = Upstream::plain(answer).await?;
    let gate = Standalone::start(&upstream, POLICY).await?;
    Ok((upstream, gate))
}

/// A token that expires in so many seconds, signed with the folder's own key.
fn token(gate: &Standalone, seconds: i64) -> Result<String> {
    let pem = std::fs::read(gate.path().join("identity/signing-key.pem"))?;
    let now = jiff::Timestamp::now().as_second();
    let claims = json!({
        "iss": "https://standalone.turnpike.invalid",
        "sub": "system:serviceaccount:agents:coder",
        "aud": "turnpike",
        "exp": now + seconds,
    });
    let header = Header {
        kid: Some("standalone".to_owned()),
        ..Header::new(Algorithm::ES256)
    };
    Ok(jsonwebtoken::encode(
        &header,
        &claims,
        &EncodingKey::from_ec_pem(&pem)?,
    )?)
}

#[tokio::test]
async fn a_proof_given_with_connect_expires_in_an_open_connection_too() -> Result<()> {
    let (_upstream, gate) = gate().await?;
    let proof = format!("Bearer {}", token(&gate, 3)?);
    let stranger = gate.stranger()?;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let fresh = format!("Bearer {}", token(&gate, 600)?);
        let mut lasting = stranger
            .open_with(STORAGE, protocol, &[("proxy-authorization", &fresh)])
            .await?;
        assert_eq!(lasting.call("GET", BUCKET, "").await?.status, 200);
    }
    let connection = stranger
        .open_with(STORAGE, Protocol::Http1, &[("proxy-authorization", &proof)])
        .await?;
    let connection = tokio::sync::Mutex::new(connection);
    assert_eq!(connection.lock().await.call("GET", BUCKET, "").await?.status, 200);
    eventually(PATIENCE, || async {
        let answer = connection.lock().await.call("GET", BUCKET, "").await?;
        anyhow::ensure!(answer.status != 200, "it is still taken");
        assert_eq!(answer.refusal(), (401, "TOKEN_EXPIRED".to_owned()));
        Ok(())
    })
    .await
}

/// Connections that send nothing, half a head, or no further call are ended; held calls are not idle.
#[tokio::test]
async fn idle_and_slow_connections_are_ended() -> Result<()> {
    let upstream = Upstream::plain(answer).await?;
    let folder = Folder::new(&upstream)?;
    folder.write_policy("test", &POLICY.replace("holdFor: 1s", "holdFor: 5s"))?;
    folder.configure(&json!({"limits": {"idleSeconds": 1}}))?;
    let gate = folder.start().await?;
    let agent = gate.agent("agents/coder")?;
    let ended = async |stream: &mut (dyn AsyncRead + Unpin + Send)| {
        let mut rest = Vec::new();
        // A reset says the same as an end.
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest))
            .await
            .map(drop)
    };
    let mut silent = agent.tcp().await?;
    ended(&mut silent).await.context("a silent connection")?;
    let mut slow = agent.tcp().await?;
    slow.write_all(b"CONNECT storage.googleapis.com:443 HTTP/1.1\r\nHost:")
        .await?;
    ended(&mut slow).await.context("half a head")?;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let tunnel = agent.connect(&format!("{STORAGE}:443"), &[]).await?;
        let mut tls = agent.tls(tunnel, STORAGE, protocol).await?;
        ended(&mut tls)
            .await
            .with_context(|| format!("{protocol:?} without a call"))?;
        let mut held = agent.open(STORAGE, protocol).await?;
        let mut request = held.request(
            "POST",
            "/upload/storage/v1/b/held/o?uploadType=media&name=o",
            whole("x"),
        )?;
        request
            .headers_mut()
            .insert("content-type", "text/plain".parse()?);
        assert_eq!(
            held.exchange(request).await?.refusal(),
            (403, "APPROVAL_PENDING".to_owned())
        );
    }
    Ok(())
}

#[tokio::test]
async fn headers_pass_by_a_list_and_nobody_else_is_billed() -> Result<()> {
    let (upstream, gate) = gate().await?;
    let mut connection = gate.agent("agents/coder")?.open(STORAGE, Protocol::Http1).await?;
    let path = format!("{BUCKET}?userProject=victim&%24userProject=victim&projection=full");
    let mut request = connection.request("GET", &path, whole(""))?;
    let headers = [
        ("x-goog-user-project", "victim", false),
        ("x-nobody-knows", "a", false),
        ("x-forwarded-for", "10.0.0.1", false),
        ("x-goog-api-client", "gl-rust", true),
        ("x-goog-if-generation-match", "1", true),
        ("if-match", "e", true),
    ];
    for (name, value, _) in headers {
        request.headers_mut().insert(name, value.parse()?);
    }
    assert_eq!(connection.exchange(request).await?.status, 200);
    let seen = upstream.seen();
    let seen = seen.first().context("one call")?;
    assert_eq!(seen.line, format!("GET {STORAGE} {BUCKET}?projection=full"));
    for (name, _, passes) in headers {
        assert_eq!(seen.headers.contains_key(name), passes, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn every_header_that_google_acts_on_is_part_of_what_is_approved() -> Result<()> {
    let (upstream, gate) = gate().await?;
    let agent = gate.agent("agents/coder")?;
    let path = "/upload/storage/v1/b/held/o?uploadType=media&name=o";
    let cases = [
        ("user-agent", "again", true),
        ("x-goog-api-client", "again", true),
        ("x-goog-encryption-key", "a", false),
        ("x-upload-content-type", "text/html", false),
        ("content-type", "text/html", false),
    ];
    let ask = async |name: &str, value: &str| {
        let mut connection = agent.open(STORAGE, Protocol::Http1).await?;
        let mut request = connection.request("POST", path, whole("content"))?;
        request
            .headers_mut()
            .insert("content-type", "text/plain".parse()?);
        request
            .headers_mut()
            .insert(http::HeaderName::try_from(name)?, value.parse()?);
        let answer = connection.exchange(request).await?;
        assert_eq!(answer.refusal(), (403, "APPROVAL_PENDING".to_owned()));
        Ok::<_, anyhow::Error>(gate.approvals()?.len())
    };
    let mut requests = ask("user-agent", "first").await?;
    assert_eq!(requests, 1);
    for (name, value, same) in cases {
        let now = ask(name, value).await?;
        assert_eq!(now == requests, same, "{name}");
        requests = now;
    }
    assert_eq!(upstream.seen().len(), 0);
    Ok(())
}

#[tokio::test]
async fn an_approval_never_covers_content_that_comes_later() -> Result<()> {
    let (upstream, gate) = gate().await?;
    let agent = gate.agent("agents/coder")?;
    // Those that Turnpike could not make one upload of, once the content is there.
    let cases = [
        (
            "/upload/storage/v1/b/held/o?upload_protocol=resumable&name=o",
            None,
        ),
        (
            "/upload/storage/v1/b/held/o?name=o",
            Some(("x-goog-upload-protocol", "resumable")),
        ),
        ("/held/o", Some(("x-goog-resumable", "start"))),
    ];
    for (path, header) in cases {
        let mut connection = agent.open(STORAGE, Protocol::Http1).await?;
        let body = if path.starts_with("/upload") { "{}" } else { "" };
        let mut request = connection.request("POST", path, whole(body))?;
        if let Some((name, value)) = header {
            request.headers_mut().insert(name, value.parse()?);
        }
        let found = connection.exchange(request).await?.refusal();
        assert_eq!(found, (403, "UPLOAD_SESSION_NOT_HELD".to_owned()), "{path}");
    }
    assert_eq!(upstream.seen().len(), 0);
    Ok(())
}

#[tokio::test]
async fn masks_hold_whatever_form_the_call_takes() -> Result<()> {
    let (_upstream, gate) = gate().await?;
    let agent = gate.agent("agents/coder")?;
    let calls = [
        ("GET", format!("{STORAGE}{BUCKET}/o/a"), ""),
        ("GET", format!("{STORAGE}/download{BUCKET}/o/a?alt=json"), ""),
        ("GET", format!("{STORAGE}{BUCKET}/o/a?fields=metadata"), ""),
        ("GET", format!("{STORAGE}{BUCKET}/o?prettyPrint=false"), ""),
    ];
    for (verb, url, body) in calls {
        let answer = agent.call(verb, &url, body).await?;
        assert_eq!(
            (answer.status, &answer.json()["metadata"]["token"]),
            (200, &json!("[MASKED:policy]")),
            "{url}"
        );
    }
    // The content itself is no answer with fields.
    let content = agent.get(&format!("{STORAGE}{BUCKET}/o/a?alt=media")).await?;
    assert_eq!(content.json()["metadata"]["token"], json!(SECRET));
    Ok(())
}

#[tokio::test]
async fn every_method_that_returns_credentials_is_masked() -> Result<()> {
    let (_upstream, gate) = gate().await?;
    let agent = gate.agent("agents/coder")?;
    let urls = [
        (
            "GET",
            "vmwareengine.googleapis.com/v1/projects/acme-dev/locations/us-central1-a/privateClouds/c:showVcenterCredentials",
        ),
        (
            "POST",
            "workstations.googleapis.com/v1/projects/acme-dev/locations/us-central1/workstationClusters/c/workstationConfigs/g/workstations/w:generateAccessToken",
        ),
    ];
    for (verb, url) in urls {
        let answer = agent
            .call(verb, url, if verb == "POST" { "{}" } else { "" })
            .await?;
        let text = answer.json();
        let shown = [
            &text["password"],
            &text["accessToken"],
            &text["nested"]["password"],
        ];
        assert_eq!(answer.status, 200, "{url}: {}", answer.text());
        assert!(
            shown
                .iter()
                .all(|v| v.as_str().is_some_and(|s| s.starts_with("[MASKED:"))),
            "{url}: {text}"
        );
    }
    Ok(())
}
