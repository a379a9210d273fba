//! What agents can say on the wire, standalone: which connections are taken apart, which requests mean one
//! thing only, who a caller is, and what of it all goes upstream.

use anyhow::{Context as _, Result};
use http::{Response, Version};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use turnpike_tests::turnpike::standalone::{
    Folder, Standalone,
    client::{Body, Failed, Protocol, whole},
    upstream::{Seen, Upstream},
};

const STORAGE: &str = "storage.googleapis.com";
const BUCKET: &str = "/storage/v1/b/acme-dev-data";

const POLICY: &str = r#"
apiVersion: turnpike.dev/v1alpha1
kind: AgentPolicy
metadata: {name: all, namespace: agents}
spec:
  agents: [{serviceAccount: {name: coder}}]
  rules:
    - {name: all, effect: Allow, methods: ["**"]}
"#;

fn echo(_: &Seen) -> Response<Body> {
    let mut answer = Response::new(whole("{\"kind\": \"storage#bucket\"}"));
    let json = http::HeaderValue::from_static("application/json");
    answer.headers_mut().insert("content-type", json);
    answer
}

/// A proxy in front of an upstream that takes everything.
async fn gate() -> Result<(Upstream, Standalone)> {
    let upstream = Upstream::plain(echo).await?;
    let gate = Standalone::start(&upstream, POLICY).await?;
    Ok((upstream, gate))
}

fn refused(result: Result<tokio::net::TcpStream, Failed>) -> Result<(u16, String)> {
    match result {
        Err(Failed::Answer(answer)) => Ok(answer.refusal()),
        Err(Failed::Other(error)) => Err(error),
        Ok(_) => Ok((200, String::new())),
    }
}

#[tokio::test]
async fn both_protocols_pass_on_both_sides_with_tls() -> Result<()> {
    for upstream_speaks in [Protocol::Http1, Protocol::Http2] {
        let upstream = Upstream::tls(&[STORAGE], upstream_speaks, echo).await?;
        let gate = Standalone::start(&upstream, POLICY).await?;
        let agent = gate.agent("agents/coder")?;
        for agent_speaks in [Protocol::Http1, Protocol::Http2] {
            let mut connection = agent.open(STORAGE, agent_speaks).await?;
            for body in ["", "{\"a\": 1}"] {
                let verb = if body.is_empty() { "GET" } else { "PATCH" };
                let answer = connection.call(verb, BUCKET, body).await?;
                let what = format!("{agent_speaks:?} to {upstream_speaks:?}: {answer:?}");
                assert_eq!(answer.status, 200, "{what}");
                assert_eq!(answer.text(), "{\"kind\": \"storage#bucket\"}", "{what}");
            }
        }
        let version = match upstream_speaks {
            Protocol::Http1 => Version::HTTP_11,
            Protocol::Http2 => Version::HTTP_2,
        };
        let seen: Vec<_> = upstream
            .seen()
            .iter()
            .map(|s| (s.line.clone(), s.body.clone(), s.version))
            .collect();
        let get = (format!("GET {STORAGE} {BUCKET}"), "".into(), version);
        let patch = (format!("PATCH {STORAGE} {BUCKET}"), "{\"a\": 1}".into(), version);
        assert_eq!(seen, [get.clone(), patch.clone(), get, patch]);
    }
    Ok(())
}

#[tokio::test]
async fn an_upstream_that_is_not_the_host_gets_nothing() -> Result<()> {
    // Its certificate is for another host of Google's.
    let upstream = Upstream::tls(&["run.googleapis.com"], Protocol::Http2, echo).await?;
    let gate = Standalone::start(&upstream, POLICY).await?;
    let answer = gate
        .agent("agents/coder")?
        .get(&format!("{STORAGE}{BUCKET}"))
        .await?;
    assert_eq!(answer.refusal(), (502, "UPSTREAM_UNREACHABLE".to_owned()));
    assert_eq!(upstream.seen().len(), 0);
    let trail = gate.trail("outcome").await?;
    assert_eq!(
        trail,
        [
            "intent allow RULE_ALLOWED storage.buckets.get",
            "outcome allow RULE_ALLOWED storage.buckets.get 502"
        ]
    );
    Ok(())
}

#[tokio::test]
async fn the_chain_is_a_leaf_and_a_constrained_intermediate_that_others_accept() -> Result<()> {
    let (_upstream, gate) = gate().await?;
    let agent = gate.agent("agents/coder")?;
    let connection = agent.open(STORAGE, Protocol::Http1).await?;
    // The client checked the chain against the root alone; the root itself is not sent.
    assert_eq!(connection.chain.len(), 2);

    // curl, with OpenSSL's own reading of name constraints.
    let ca = gate.path().join("ca/ca.pem");
    let output = tokio::process::Command::new("curl")
        .args(["--silent", "--show-error", "--noproxy", "", "--proxy"])
        .arg(format!("http://{}", gate.listen()))
        .arg("--cacert")
        .arg(&ca)
        .args(["--header", &format!("Authorization: Bearer {}", agent.token())])
        .arg(format!("https://{STORAGE}{BUCKET}"))
        .output()
        .await
        .context("run curl")?;
    assert_eq!(
        (
            String::from_utf8_lossy(&output.stdout).as_ref(),
            String::from_utf8_lossy(&output.stderr).as_ref()
        ),
        ("{\"kind\": \"storage#bucket\"}", "")
    );
    let text = tokio::process::Command::new("openssl")
        .args(["x509", "-noout", "-text", "-in"])
        .arg(gate.path().join("ca/issuing.pem"))
        .output()
        .await
        .context("run openssl")?;
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    let constraint = "X509v3 Name Constraints: critical";
    assert!(
        text.contains(constraint) && text.contains("DNS:googleapis.com"),
        "{text}"
    );
    Ok(())
}

#[tokio::test]
async fn connect_is_for_hosts_of_google_over_tls_alone() -> Result<()> {
    let (upstream, gate) = gate().await?;
    let agent = gate.stranger()?;
    let cases = [
        ("storage.googleapis.com:443", (200, "")),
        ("STORAGE.googleapis.com:443", (200, "")),
        ("storage.googleapis.com:80", (400, "PORT_NOT_443")),
        ("storage.googleapis.com.:443", (400, "HOST_TRAILING_DOT")),
        ("evil.com:443", (403, "HOST_UNKNOWN")),
        ("storage.googleapis.com.evil.com:443", (403, "HOST_UNKNOWN")),
        ("evilgoogleapis.com:443", (403, "HOST_UNKNOWN")),
        ("unheardof.googleapis.com:443", (403, "HOST_UNKNOWN")),
        ("127.0.0.1:443", (403, "HOST_UNKNOWN")),
        ("169.254.169.254:443", (403, "HOST_UNKNOWN")),
        ("[::1]:443", (403, "HOST_UNKNOWN")),
        ("metadata.google.internal:443", (403, "HOST_UNKNOWN")),
    ];
    for (authority, (status, reason)) in cases {
        let found = refused(agent.connect(authority, &[]).await)?;
        assert_eq!(found, (status, reason.to_owned()), "{authority}");
    }
    assert_eq!(upstream.seen().len(), 0);
    Ok(())
}

#[tokio::test]
async fn a_host_outside_the_constraints_is_refused_before_a_certificate_is_made() -> Result<()> {
    let upstream = Upstream::plain(echo).await?;
    let folder = Folder::new(&upstream)?;
    folder.write_policy("test", POLICY)?;
    folder.configure(&serde_json::json!({"tls": {"domains": [STORAGE]}}))?;
    let gate = folder.start().await?;
    let agent = gate.agent("agents/coder")?;
    assert_eq!(agent.get(&format!("{STORAGE}{BUCKET}")).await?.status, 200);
    let found = refused(agent.connect("run.googleapis.com:443", &[]).await)?;
    assert_eq!(found, (403, "HOST_NOT_SERVED".to_owned()));
    let failed = agent
        .tls(agent.tcp().await?, "run.googleapis.com", Protocol::Http1)
        .await;
    assert!(failed.is_err());
    Ok(())
}

#[tokio::test]
async fn sni_decides_where_there_is_no_connect_and_must_agree_where_there_is_one() -> Result<()> {
    let (upstream, gate) = gate().await?;
    let agent = gate.agent("agents/coder")?;

    // TLS straight to the port, as behind a redirect of the network.
    let tls = agent.tls(agent.tcp().await?, STORAGE, Protocol::Http2).await?;
    let mut connection = agent.speak(tls, STORAGE, Protocol::Http2).await?;
    assert_eq!(connection.call("GET", BUCKET, "").await?.status, 200);

    for host in ["evil.com", "unheardof.googleapis.com"] {
        let failed = agent.tls(agent.tcp().await?, host, Protocol::Http1).await;
        assert!(failed.is_err(), "{host}");
    }
    let tunnel = agent.connect(&format!("{STORAGE}:443"), &[]).await?;
    let failed = agent.tls(tunnel, "run.googleapis.com", Protocol::Http1).await;
    assert!(failed.is_err());
    // No TLS at all inside the tunnel: closed without an answer, and nothing is sent on.
    let mut tunnel = agent.connect(&format!("{STORAGE}:443"), &[]).await?;
    tunnel
        .write_all(format!("GET {BUCKET} HTTP/1.1\r\nHost: {STORAGE}\r\n\r\n").as_bytes())
        .await?;
    let mut said = Vec::new();
    // A reset is as good as an end.
    tunnel.read_to_end(&mut said).await.ok();
    assert!(!said.starts_with(b"HTTP"), "{said:?}");
    assert_eq!(upstream.seen().len(), 1);
    Ok(())
}

#[tokio::test]
async fn requests_that_could_mean_two_things_are_refused() -> Result<()> {
    let (upstream, gate) = gate().await?;
    let agent = gate.agent("agents/coder")?;
    let head = |line: &str, headers: &str| {
        let token = agent.token();
        format!("{line} HTTP/1.1\r\nAuthorization: Bearer {token}\r\n{headers}\r\n\r\n")
    };
    let own = format!("Host: {STORAGE}");
    let get = format!("GET {BUCKET}");
    let cases = [
        (
            head(&get, "Host: run.googleapis.com"),
            (421, "AUTHORITY_MISMATCH"),
        ),
        (head(&get, &format!("{own}\r\n{own}")), (400, "HOST_REPEATED")),
        (head(&get, "Accept: */*"), (400, "HOST_MISSING")),
        (
            head(&get, "Host: user@storage.googleapis.com"),
            (400, "HOST_USERINFO"),
        ),
        (head(&get, &format!("{own}:8080")), (400, "PORT_NOT_443")),
        (
            head(&format!("GET https://run.googleapis.com{BUCKET}"), &own),
            (421, "AUTHORITY_MISMATCH"),
        ),
        (
            head("GET https://run.googleapis.com/v2/x", "Host: run.googleapis.com"),
            (421, "AUTHORITY_MISMATCH"),
        ),
        (
            head(&get, &format!("{own}\r\nX-HTTP-Method-Override: DELETE")),
            (400, "METHOD_OVERRIDE"),
        ),
        (
            head(&format!("{get}?$httpMethod=DELETE"), &own),
            (400, "QUERY_METHOD_OVERRIDE"),
        ),
        (
            head(
                &get,
                &format!("{own}\r\nConnection: upgrade\r\nUpgrade: websocket"),
            ),
            (400, "UPGRADE"),
        ),
        (
            head("GET /storage/v1/b/../b/acme-dev-data", &own),
            (400, "PATH_DOT_SEGMENT"),
        ),
        (
            head("GET /storage/v1//b/acme-dev-data", &own),
            (400, "PATH_EMPTY_SEGMENT"),
        ),
        (
            head("GET /storage/v1/b/%2e%2e/b/x", &own),
            (400, "PATH_DOT_SEGMENT"),
        ),
    ];
    for (bytes, (status, reason)) in cases {
        let answer = agent.raw(STORAGE, bytes.as_bytes()).await?;
        assert_eq!(answer.refusal(), (status, reason.to_owned()), "{bytes}");
    }

    // What hyper itself does not take: 400 or the end of the connection, and never a call.
    let token = agent.token();
    let smuggled = [
        format!(
            "POST {BUCKET} HTTP/1.1\r\n{own}\r\nAuthorization: Bearer {token}\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde"
        ),
        format!("GET {BUCKET} HTTP/1.1\r\n{own}\r\nAuthorization : Bearer {token}\r\n\r\n"),
        format!("GET {BUCKET} HTTP/1.1\r\n{own}\r\nX: a\r\n b: c\r\nAuthorization: Bearer {token}\r\n\r\n"),
        format!(
            "GET {BUCKET} HTTP/1.1\r\n{own}\r\nX: {}\r\n\r\n",
            "x".repeat(256 * 1024)
        ),
    ];
    for bytes in smuggled {
        if let Ok(answer) = agent.raw(STORAGE, bytes.as_bytes()).await {
            let shown: String = bytes.chars().take(300).collect();
            assert!(matches!(answer.status, 400 | 431), "{}: {shown}", answer.status);
        }
    }
    assert_eq!(upstream.seen().len(), 0);

    // HTTP/2: another :authority than SNI.
    let mut connection = agent.open(STORAGE, Protocol::Http2).await?;
    let mut request = connection.request("GET", BUCKET, whole(""))?;
    *request.uri_mut() = format!("https://run.googleapis.com{BUCKET}").parse()?;
    let answer = connection.exchange(request).await?;
    assert_eq!(answer.refusal(), (421, "AUTHORITY_MISMATCH".to_owned()));
    let mut request = connection.request("GET", BUCKET, whole(""))?;
    request
        .headers_mut()
        .insert("host", "run.googleapis.com".parse()?);
    let answer = connection.exchange(request).await?;
    assert_eq!(answer.refusal(), (421, "AUTHORITY_MISMATCH".to_owned()));
    // The connection itself is as good as before.
    assert_eq!(connection.call("GET", BUCKET, "").await?.status, 200);
    assert_eq!(upstream.seen().len(), 1);
    Ok(())
}

#[tokio::test]
async fn plain_http_is_refused() -> Result<()> {
    let (upstream, gate) = gate().await?;
    let token = gate.token("agents/coder")?;
    let http = reqwest::Client::builder()
        .proxy(reqwest::Proxy::http(format!("http://{}", gate.listen()))?)
        .build()?;
    let answer = http
        .get(format!("http://{STORAGE}{BUCKET}"))
        .bearer_auth(&token)
        .send()
        .await?;
    assert_eq!(answer.status(), 400);
    let body: serde_json::Value = answer.json().await?;
    assert_eq!(body["error"]["details"][0]["reason"], "PLAINTEXT");
    assert_eq!(upstream.seen().len(), 0);
    Ok(())
}
