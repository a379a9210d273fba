//! Who an agent is and what it calls with, standalone: proofs of identity on the agent's side, credentials on
//! Google's, and nothing of the one on the other.

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, Response};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use turnpike_tests::{
    process::eventually,
    standin::{Fault, Options, Standin},
    turnpike::standalone::{
        Folder, GATEWAY_TOKEN, PATIENCE, Standalone,
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
    type Case<'a> = (Option<String>, Option<&'a str>, (u16, &'a str));
    let cases: Vec<Case<'_>> = vec![
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
    let headers = [("Proxy-Authorization", forged.as_str())];
    match agent.connect(&format!("{STORAGE}:443"), &headers).await {
        Err(Failed::Answer(answer)) => {
            assert_eq!(answer.refusal(), (407, "TOKEN_SIGNATURE".to_owned()));
        }
        other => panic!("{other:?}"),
    }
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
    standin.inject(Fault {
        host: Some("iamcredentials.googleapis.com".to_owned()),
        status: Some(403),
        ..Fault::default()
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
    eventually(PATIENCE, || async {
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

    let key = service_account_key(&standin).await?;
    let secret = gate.path().join("secrets/deployer");
    std::fs::create_dir_all(&secret)?;
    std::fs::write(secret.join("key.json"), key.to_string())?;
    let answer = agent.get(&format!("{STORAGE}{BUCKET}")).await?;
    assert_eq!(answer.status, 200, "{}", answer.text());

    // google-cloud-auth signs its own access token (RFC 7523 without the exchange), for these scopes.
    let requests = standin.requests();
    let sent: Vec<_> = requests.iter().map(|r| r.line()).collect();
    assert_eq!(sent, [format!("GET {STORAGE}{BUCKET}")]);
    signed_by(&key, requests[0].header("authorization")).await
}

#[tokio::test]
async fn the_gateway_s_own_credential_is_found_where_every_google_library_looks() -> Result<()> {
    let standin = Standin::start(Options::default()).await?;
    let folder = Folder::new(&standin)?;
    folder.write_policy("test", POLICY)?;
    folder.configure(&json!({"credential": {"source": "ApplicationDefault", "accessTokenFile": null}}))?;
    let key = service_account_key(&standin).await?;
    let file = folder.path().join("adc.json");
    std::fs::write(&file, key.to_string())?;
    let file = file.to_str().context("UTF-8")?.to_owned();
    let gate = folder
        .start_with(&[("GOOGLE_APPLICATION_CREDENTIALS", &file)])
        .await?;
    let answer = gate
        .agent("agents/coder")?
        .get(&format!("{STORAGE}{BUCKET}"))
        .await?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    signed_by(&key, standin.requests()[0].header("authorization")).await
}

const OIDC: &str = r#"
apiVersion: turnpike.dev/v1alpha1
kind: AgentPolicy
metadata: {name: pipelines, namespace: agents}
spec:
  agents:
    - oidc: {issuer: "https://ci.example", subject: "repo:acme/app", claims: {environment: dev}}
  rules:
    - {name: all, effect: Allow, methods: ["**"]}
"#;

/// An issuer's keys come by URL; its agents are selected by subject and claims.
#[tokio::test]
async fn agents_of_an_oidc_issuer_are_known_by_the_keys_that_it_publishes() -> Result<()> {
    let pem = rsa_key().await?;
    let key = jsonwebtoken::EncodingKey::from_rsa_pem(pem.as_bytes())?;
    let mut jwk = jsonwebtoken::jwk::Jwk::from_encoding_key(&key, jsonwebtoken::Algorithm::RS256)?;
    jwk.common.key_id = Some("ci-1".to_owned());
    let keys = json!({"keys": [jwk]}).to_string();
    let issuer = Upstream::plain(move |_| Response::new(whole(keys.clone()))).await?;
    let upstream = Upstream::plain(echo).await?;
    let folder = Folder::new(&upstream)?;
    folder.write_policy("pipelines", OIDC)?;
    folder.configure(&json!({"identity": {"issuers": [
        {"issuer": "https://ci.example", "jwksUrl": format!("http://{}/keys", issuer.addr())},
    ]}}))?;
    let gate = folder.start().await?;
    let token = |subject: &str, environment: &str, kid: &str| {
        let claims = json!({
            "iss": "https://ci.example",
            "sub": subject,
            "aud": "turnpike",
            "exp": jiff::Timestamp::now().as_second() + 600,
            "environment": environment,
        });
        let header = jsonwebtoken::Header {
            kid: Some(kid.to_owned()),
            ..jsonwebtoken::Header::new(jsonwebtoken::Algorithm::RS256)
        };
        jsonwebtoken::encode(&header, &claims, &key)
    };
    let cases = [
        (token("repo:acme/app", "dev", "ci-1")?, None),
        (
            token("repo:acme/app", "prod", "ci-1")?,
            Some((403, "NO_RULE_ALLOWS")),
        ),
        (
            token("repo:acme/other", "dev", "ci-1")?,
            Some((403, "NO_RULE_ALLOWS")),
        ),
        // A ServiceAccount's name means nothing from an issuer that is no cluster.
        (
            token("system:serviceaccount:agents:coder", "dev", "ci-1")?,
            Some((403, "NO_RULE_ALLOWS")),
        ),
        (
            token("repo:acme/app", "dev", "ci-2")?,
            Some((401, "TOKEN_SIGNATURE")),
        ),
    ];
    for (token, refused) in cases {
        let agent = gate.stranger()?.with_token(Some(&token));
        let answer = agent.get(&format!("{STORAGE}{BUCKET}")).await?;
        match refused {
            None => assert_eq!(answer.status, 200, "{}", answer.text()),
            Some((status, reason)) => assert_eq!(answer.refusal(), (status, reason.to_owned())),
        }
    }
    assert_eq!(upstream.seen().len(), 1);
    // An unknown key is asked for once in a while, not with every token.
    assert_eq!(issuer.seen().len(), 1);
    Ok(())
}

const EMAIL: &str = "deployer@acme-dev.iam.gserviceaccount.com";

/// A key of its own, made now.
async fn rsa_key() -> Result<String> {
    let pem = tokio::process::Command::new("openssl")
        .args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"])
        .output()
        .await
        .context("run openssl")?;
    Ok(String::from_utf8(pem.stdout)?)
}

async fn service_account_key(standin: &Standin) -> Result<serde_json::Value> {
    Ok(json!({
        "type": "service_account",
        "project_id": "acme-dev",
        "private_key_id": "1",
        "private_key": rsa_key().await?,
        "client_email": EMAIL,
        "client_id": "1",
        "token_uri": format!("http://{}/token", standin.addr()),
        "universe_domain": "googleapis.com",
    }))
}

/// Checks that a bearer token was signed with this key, for the scope of all of Google Cloud.
async fn signed_by(key: &serde_json::Value, bearer: Option<&str>) -> Result<()> {
    let token = bearer
        .and_then(|b| b.strip_prefix("Bearer "))
        .context("a bearer token")?;
    let public = tokio::process::Command::new("openssl")
        .args(["pkey", "-pubout"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    let public = output(public, key["private_key"].as_str().unwrap_or("")).await?;
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::RS256);
    validation.validate_aud = false;
    validation.set_issuer(&[EMAIL]);
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
