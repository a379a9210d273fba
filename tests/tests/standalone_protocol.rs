//! What agents can say on the wire, standalone: which connections are taken apart, which requests mean one
//! thing only, who a caller is, and what of it all goes upstream.

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, Response, Version};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use turnpike_tests::{
    standin::{Options, Standin},
    turnpike::standalone::{
        Folder, GATEWAY_TOKEN, Standalone,
        client::{Agent, Answer, Body, Failed, Protocol, whole},
        upstream::{Seen, Upstream},
    },
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

fn basic(user: &str, password: &str) -> String {
    STANDARD.encode(format!("{user}:{password}"))
}

#[tokio::test]
async fn the_proxy_password_proves_an_agent_as_well() -> Result<()> {
    let (_upstream, gate) = gate().await?;
    let (coder, tester) = (gate.token("agents/coder")?, gate.token("agents/tester")?);
    let agent = gate.stranger()?;
    let allowed = (200, "not Turnpike's");
    let conflict = (401, "TOKEN_CONFLICT");
    let other_format = "ya29.of-some-client";
    // Proxy-Authorization, Authorization, and what comes of them.
    let cases: Vec<(Option<String>, Option<&str>, (u16, &str))> = vec![
        (None, None, (401, "TOKEN_MISSING")),
        (None, Some(&coder), allowed),
        (None, Some(other_format), (401, "TOKEN_MALFORMED")),
        (Some(format!("Bearer {coder}")), None, allowed),
        (Some(format!("Basic {}", basic("agent", &coder))), None, allowed),
        (Some(format!("basic {}", basic("", &coder))), None, allowed),
        // A placeholder is no proof, and no harm.
        (
            Some(format!("Basic {}", basic("user", "placeholder"))),
            Some(&coder),
            allowed,
        ),
        (
            Some(format!("Basic {}", basic("user", "placeholder"))),
            None,
            (401, "TOKEN_MISSING"),
        ),
        // The client's own token for something else is dropped.
        (Some(format!("Bearer {coder}")), Some(other_format), allowed),
        (Some(format!("Bearer {coder}")), Some(&coder), allowed),
        (Some(format!("Bearer {tester}")), Some(&coder), conflict),
        (Some(format!("Bearer {coder}")), Some(&tester), conflict),
    ];
    for (proxy, own, (status, reason)) in cases {
        let headers: Vec<(&str, &str)> = proxy
            .iter()
            .map(|value| ("Proxy-Authorization", value.as_str()))
            .collect();
        let mut connection = agent
            .with_token(own)
            .open_with(STORAGE, Protocol::Http1, &headers)
            .await?;
        let answer = connection.call("GET", BUCKET, "").await?;
        assert_eq!(
            answer.refusal(),
            (status, reason.to_owned()),
            "Proxy-Authorization {proxy:?}, Authorization {own:?}"
        );
    }
    // A proof that does not hold is refused with CONNECT already, with the status that clients know.
    let forged = format!("Bearer {}", forge(&coder)?);
    let found = refused(
        agent
            .connect(&format!("{STORAGE}:443"), &[("Proxy-Authorization", &forged)])
            .await,
    )?;
    assert_eq!(found, (407, "TOKEN_SIGNATURE".to_owned()));
    Ok(())
}

/// The token with another subject and the old signature.
fn forge(token: &str) -> Result<String> {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    let mut claims: serde_json::Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(&parts[1])?)?;
    claims["sub"] = json!("system:serviceaccount:agents:admin");
    parts[1] = URL_SAFE_NO_PAD.encode(claims.to_string());
    Ok(parts.join("."))
}

#[tokio::test]
async fn no_credential_of_the_client_goes_upstream() -> Result<()> {
    let (upstream, gate) = gate().await?;
    let agent = gate.agent("agents/coder")?;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let mut connection = agent
            .open_with(
                STORAGE,
                protocol,
                &[("Proxy-Authorization", &format!("Bearer {}", agent.token()))],
            )
            .await?;
        let query =
            "access_token=ya29.x&key=AIza.x&alt=json&oauth_token=y&%61ccess_token=z&$key=k&fields=name";
        let mut request = connection.request("GET", &format!("{BUCKET}?{query}"), whole(""))?;
        let smuggled = [
            ("x-goog-api-key", "AIza.x"),
            ("cookie", "SID=x"),
            ("x-goog-iam-authorization-token", "x"),
            ("x-goog-user-project", "other"),
            ("x-forwarded-for", "10.0.0.1"),
            ("via", "1.1 x"),
        ];
        for (name, value) in smuggled {
            request.headers_mut().insert(name, value.parse()?);
        }
        if protocol == Protocol::Http1 {
            let hop = "keep-alive, x-hop".parse()?;
            request.headers_mut().insert("connection", hop);
            request.headers_mut().insert("x-hop", "x".parse()?);
        }
        request
            .headers_mut()
            .insert("x-goog-request-reason", "kept".parse()?);
        assert_eq!(connection.exchange(request).await?.status, 200);

        let seen = upstream.seen();
        let seen = seen.last().context("a request")?;
        assert_eq!(seen.line, format!("GET {STORAGE} {BUCKET}?alt=json&fields=name"));
        let expected = json!({
            "authorization": format!("Bearer {GATEWAY_TOKEN}"),
            "host": STORAGE,
            "x-goog-request-reason": "kept",
        });
        assert_eq!(headers(&seen.headers), expected);
    }
    Ok(())
}

fn headers(headers: &HeaderMap) -> serde_json::Value {
    headers
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

#[tokio::test]
async fn the_gateway_token_is_read_anew_and_its_absence_is_told() -> Result<()> {
    let (upstream, gate) = gate().await?;
    let agent = gate.agent("agents/coder")?;
    std::fs::remove_file(gate.path().join("token"))?;
    let answer = agent.get(&format!("{STORAGE}{BUCKET}")).await?;
    assert_eq!(answer.refusal(), (503, "CREDENTIAL_UNAVAILABLE".to_owned()));
    std::fs::write(gate.path().join("token"), "standin-another-token\n")?;
    let answer = agent.get(&format!("{STORAGE}{BUCKET}")).await?;
    assert_eq!(answer.status, 200);
    let sent: Vec<_> = upstream
        .seen()
        .iter()
        .map(|s| s.headers["authorization"].clone())
        .collect();
    assert_eq!(sent, ["Bearer standin-another-token"]);
    let trail = gate.trail("200").await?;
    assert_eq!(
        trail,
        [
            "intent allow RULE_ALLOWED storage.buckets.get",
            "outcome allow RULE_ALLOWED storage.buckets.get 503",
            "intent allow RULE_ALLOWED storage.buckets.get",
            "outcome allow RULE_ALLOWED storage.buckets.get 200",
        ]
    );
    Ok(())
}

const IMPERSONATE: &str = r#"
apiVersion: turnpike.dev/v1alpha1
kind: AgentPolicy
metadata: {name: all, namespace: agents}
spec:
  agents: [{serviceAccount: {name: coder}}]
  credential:
    impersonate: {serviceAccount: coder@acme-dev.iam.gserviceaccount.com}
  rules:
    - {name: all, effect: Allow, methods: ["**"]}
"#;

#[tokio::test]
async fn an_impersonated_account_is_asked_for_once_with_the_token_of_the_gateway() -> Result<()> {
    let standin = Standin::start(Options::default()).await?;
    let gate = Standalone::start(&standin, IMPERSONATE).await?;
    let agent = gate.agent("agents/coder")?;
    for _ in 0..2 {
        let answer = agent.get(&format!("{STORAGE}{BUCKET}")).await?;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let requests = standin.requests();
    let sent: Vec<_> = requests
        .iter()
        .map(|r| (r.line(), r.header("authorization").unwrap_or("").to_owned()))
        .collect();
    let account = "coder%40acme%2Ddev%2Eiam%2Egserviceaccount%2Ecom";
    let exchange = (
        format!(
            "POST iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{account}:generateAccessToken"
        ),
        format!("Bearer {GATEWAY_TOKEN}"),
    );
    let call = (
        format!("GET {STORAGE}{BUCKET}"),
        "Bearer standin-impersonated-token-1".to_owned(),
    );
    assert_eq!(sent, [exchange, call.clone(), call]);

    // No impersonation, no call.
    standin.inject(turnpike_tests::standin::Fault {
        host: Some("iamcredentials.googleapis.com".to_owned()),
        status: Some(403),
        ..Default::default()
    });
    standin.clear_requests();
    gate.write_policy("test", &IMPERSONATE.replace("coder@", "other@"))?;
    let answer = eventually_refused(&agent).await?;
    assert_eq!(answer.refusal(), (503, "CREDENTIAL_UNAVAILABLE".to_owned()));
    assert!(
        answer.message().contains("cannot impersonate other@"),
        "{}",
        answer.message()
    );
    Ok(())
}

/// The first answer that is none of Google's; the policy in force may still be the old one for a moment.
async fn eventually_refused(agent: &Agent) -> Result<Answer> {
    turnpike_tests::process::eventually(turnpike_tests::turnpike::standalone::PATIENCE, || async {
        let answer = agent.get(&format!("{STORAGE}{BUCKET}")).await?;
        anyhow::ensure!(answer.status != 200, "still allowed");
        Ok(answer)
    })
    .await
}

const KEY: &str = r#"
apiVersion: turnpike.dev/v1alpha1
kind: AgentPolicy
metadata: {name: all, namespace: agents}
spec:
  agents: [{serviceAccount: {name: coder}}]
  credential:
    serviceAccountKey: {secretRef: {name: deployer}}
  rules:
    - {name: all, effect: Allow, methods: ["**"]}
"#;

#[tokio::test]
async fn a_service_account_key_signs_and_a_missing_one_is_told() -> Result<()> {
    let standin = Standin::start(Options::default()).await?;
    let folder = Folder::new(&standin)?;
    folder.write_policy("test", KEY)?;
    let gate = folder.start().await?;
    let agent = gate.agent("agents/coder")?;

    let answer = agent.get(&format!("{STORAGE}{BUCKET}")).await?;
    assert_eq!(answer.refusal(), (503, "CREDENTIAL_UNAVAILABLE".to_owned()));
    assert!(
        answer.message().contains("deployer/key.json"),
        "{}",
        answer.message()
    );
    let trail = gate.trail("outcome").await?;
    assert_eq!(
        trail.last().map(String::as_str),
        Some("outcome allow RULE_ALLOWED storage.buckets.get 503")
    );
    assert_eq!(standin.requests(), []);

    // A key of its own, made now.
    let pem = tokio::process::Command::new("openssl")
        .args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"])
        .output()
        .await
        .context("run openssl")?;
    let email = "deployer@acme-dev.iam.gserviceaccount.com";
    let key = json!({
        "type": "service_account",
        "project_id": "acme-dev",
        "private_key_id": "1",
        "private_key": String::from_utf8(pem.stdout)?,
        "client_email": email,
        "client_id": "1",
        "token_uri": format!("http://{}/token", standin.addr()),
        "universe_domain": "googleapis.com",
    });
    let secret = gate.path().join("secrets/deployer");
    std::fs::create_dir_all(&secret)?;
    std::fs::write(secret.join("key.json"), key.to_string())?;
    let answer = agent.get(&format!("{STORAGE}{BUCKET}")).await?;
    assert_eq!(answer.status, 200, "{}", answer.text());

    // google-cloud-auth signs its own access token (RFC 7523 without the exchange), for these scopes.
    let requests = standin.requests();
    let sent: Vec<_> = requests.iter().map(|r| r.line()).collect();
    assert_eq!(sent, [format!("GET {STORAGE}{BUCKET}")]);
    let bearer = requests[0].header("authorization").context("a token")?;
    let token = bearer.strip_prefix("Bearer ").context("a bearer")?;
    let public = tokio::process::Command::new("openssl")
        .args(["pkey", "-pubout"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    let public = output(public, key["private_key"].as_str().unwrap_or("")).await?;
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::RS256);
    validation.validate_aud = false;
    validation.set_issuer(&[email]);
    let claims = jsonwebtoken::decode::<serde_json::Value>(
        token,
        &jsonwebtoken::DecodingKey::from_rsa_pem(&public)?,
        &validation,
    )?
    .claims;
    assert_eq!(claims["scope"], "https://www.googleapis.com/auth/cloud-platform");
    Ok(())
}

async fn output(mut child: tokio::process::Child, input: &str) -> Result<Vec<u8>> {
    let mut stdin = child.stdin.take().context("stdin")?;
    stdin.write_all(input.as_bytes()).await?;
    drop(stdin);
    Ok(child.wait_with_output().await?.stdout)
}
