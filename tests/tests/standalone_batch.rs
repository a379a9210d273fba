//! Batches through the real proxy: decided part by part, rebuilt on the way, answered part by part.

use anyhow::{Result, ensure};
use http::Response;
use serde_json::json;
use turnpike_tests::turnpike::standalone::{
    GATEWAY_TOKEN, Standalone,
    client::{Answer, Body, Protocol, whole},
    upstream::{Seen, Upstream},
};

const SECRETS: &str = "secretmanager.googleapis.com";
const POLICY: &str = r#"
apiVersion: turnpike.dev/v1alpha1
kind: AgentPolicy
metadata: {name: coder, namespace: agents}
spec:
  agents: [{serviceAccount: {name: coder}}]
  rules:
    - {name: read, effect: Allow, methods: ["secretmanager.**.access", "secretmanager.**.get"], resources: ["projects/acme/**"]}
    - {name: no-delete, effect: Deny, methods: ["secretmanager.**.delete"]}
    - {name: label, effect: Allow, methods: ["secretmanager.projects.secrets.patch"]}
    - name: no-prod
      effect: Deny
      methods: ["secretmanager.projects.secrets.patch"]
      when: has(request.body.labels.env) && request.body.labels.env == "prod"
    - name: no-force
      effect: Deny
      methods: ["secretmanager.projects.secrets.patch"]
      when: request.verb == "PATCH" && "updateMask" in request.query && request.query.updateMask == "topics"
    - name: add
      effect: RequireApproval
      methods: ["secretmanager.projects.secrets.addVersion"]
      approval: {holdFor: 20s, expiresAfter: 1h}
"#;

/// Answers every part by what its request line says.
fn answers(seen: &Seen) -> Response<Body> {
    let text = String::from_utf8_lossy(&seen.body).into_owned();
    let mut parts = String::new();
    let mut id = "";
    for line in text.lines() {
        let lower = line.to_ascii_lowercase();
        if lower.starts_with("content-id:") {
            id = line[11..].trim().trim_start_matches('<').trim_end_matches('>');
        }
        let Some((_, path)) = line.strip_suffix(" HTTP/1.1").and_then(|l| l.split_once(' ')) else {
            continue;
        };
        let body = match path.ends_with(":access") {
            true => json!({"name": path, "payload": {"data": "c3RhbmQtaW4gc2VjcmV0"}}),
            false => json!({"name": path}),
        };
        // The last first: answers have ids, not places.
        parts = format!(
            "--b\r\nContent-Type: application/http\r\nContent-ID: <response-{id}>\r\n\r\nHTTP/1.1 200 OK\r\n\
             Content-Type: application/json\r\nETag: \"x\"\r\n\r\n{body}\r\n{parts}"
        );
    }
    let mut answer = Response::new(whole(format!("{parts}--b--\r\n")));
    let kind = "multipart/mixed; boundary=b".parse().expect("a header");
    answer.headers_mut().insert("content-type", kind);
    answer
}

async fn gate() -> Result<(Upstream, Standalone)> {
    let upstream = Upstream::plain(answers).await?;
    let gate = Standalone::start(&upstream, POLICY).await?;
    Ok((upstream, gate))
}

/// A batch as client libraries write it: `VERB path` each, with a body for POST, or with the one behind it.
fn batch(requests: &[&str]) -> String {
    let mut body = String::new();
    for (n, request) in requests.iter().enumerate() {
        let empty = match request.starts_with("POST") {
            true => r#"{"payload":{}}"#,
            false => "",
        };
        let (request, content) = request.split_once(" with ").unwrap_or((request, empty));
        body.push_str(&format!(
            "--==7==\r\nContent-Type: application/http\r\nContent-ID: <a1b2+{n}>\r\n\r\n{request} HTTP/1.1\r\n\
             Content-Type: application/json\r\nAuthorization: Bearer of-the-part\r\nContent-Length: {}\r\n\r\n{content}\r\n",
            content.len()
        ));
    }
    body + "--==7==--"
}

async fn send(gate: &Standalone, body: String) -> Result<Answer> {
    let agent = gate.agent("agents/coder")?;
    let mut connection = agent.open(SECRETS, Protocol::Http1).await?;
    let mut request = connection.request("POST", "/batch", whole(body))?;
    let kind = r#"multipart/mixed; boundary="==7==""#.parse()?;
    request.headers_mut().insert("content-type", kind);
    connection.exchange(request).await
}

const GET: &str = "GET /v1/projects/acme/secrets/s";
const ACCESS: &str = "GET /v1/projects/acme/secrets/s/versions/1:access";

#[tokio::test]
async fn every_part_is_answered_and_masked_under_its_own_id() -> Result<()> {
    let (upstream, gate) = gate().await?;
    let answer = send(
        &gate,
        batch(&[
            GET,
            ACCESS,
            "GET https://secretmanager.googleapis.com/v1/projects/acme/secrets/t",
        ]),
    )
    .await?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let text = answer.text();
    let at = |what: &str| text.find(what).unwrap_or(usize::MAX);
    let order = [0, 1, 2].map(|n| at(&format!("<response-a1b2+{n}>")));
    ensure!(
        order[0] < order[1] && order[1] < order[2] && order[2] < usize::MAX,
        "{text}"
    );
    // base64 of [MASKED:secret]
    ensure!(
        text.contains("W01BU0tFRDpzZWNyZXRd") && !text.contains("c3RhbmQt"),
        "{text}"
    );
    ensure!(text.contains("secrets/t"), "{text}");

    let seen = upstream.seen();
    assert_eq!(seen.len(), 1);
    let sent = String::from_utf8_lossy(&seen[0].body).into_owned();
    ensure!(!sent.contains("of-the-part") && !sent.contains("a1b2"), "{sent}");
    ensure!(
        sent.contains("GET /v1/projects/acme/secrets/t HTTP/1.1"),
        "{sent}"
    );
    assert_eq!(
        seen[0].headers["authorization"],
        format!("Bearer {GATEWAY_TOKEN}")
    );
    Ok(())
}

#[tokio::test]
async fn one_part_that_is_denied_or_unclear_denies_the_batch() -> Result<()> {
    let (upstream, gate) = gate().await?;
    let hundred_and_one = [GET; 101];
    let cases: [(&str, Vec<&str>, &str); 8] = [
        (
            "denied by a rule",
            vec![GET, "DELETE /v1/projects/acme/secrets/s"],
            "RULE_DENIED",
        ),
        (
            "another project",
            vec![GET, "GET /v1/projects/other/secrets/s"],
            "NO_RULE_ALLOWS",
        ),
        (
            "another host",
            vec![
                GET,
                "GET https://iam.googleapis.com/v1/projects/acme/serviceAccounts/x",
            ],
            "",
        ),
        (
            "dots",
            vec![GET, "GET /v1/projects/acme/../other/secrets/s"],
            "PATH_DOT_SEGMENT",
        ),
        (
            "an override",
            vec![GET, "GET /v1/projects/acme/secrets/s?$httpMethod=DELETE"],
            "QUERY_METHOD_OVERRIDE",
        ),
        ("a batch in a batch", vec![GET, "POST /batch"], ""),
        ("nothing listed", vec![GET, "GET /v9/x"], "METHOD_NOT_IN_CATALOG"),
        ("one too many", hundred_and_one.to_vec(), ""),
    ];
    for (name, requests, reason) in cases {
        let answer = send(&gate, batch(&requests)).await?;
        let (status, found) = answer.refusal();
        ensure!((400..500).contains(&status), "{name}: {status} {}", answer.text());
        ensure!(reason.is_empty() || found == reason, "{name}: {found}");
    }
    assert_eq!(upstream.seen().len(), 0);
    Ok(())
}

#[tokio::test]
async fn one_part_that_is_held_holds_the_batch_and_the_same_batch_is_known_again() -> Result<()> {
    let (upstream, gate) = gate().await?;
    let requests = [GET, "POST /v1/projects/acme/secrets/s:addVersion"];
    let held = send(&gate, batch(&requests));
    let approve = async { gate.approval("Pending").await?.review("alice", "Approve", "fine") };
    let (answer, approved) = tokio::join!(held, approve);
    approved?;
    let answer = answer?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(upstream.seen().len(), 1);

    // Clients make new ids and boundaries with every try; what is asked for is the same.
    let again = batch(&requests).replace("a1b2", "ffff");
    let (one, other) = tokio::join!(
        tokio::time::timeout(
            std::time::Duration::from_millis(400),
            send(&gate, batch(&requests))
        ),
        tokio::time::timeout(std::time::Duration::from_millis(400), send(&gate, again)),
    );
    ensure!(one.is_err() && other.is_err(), "they wait");
    gate.approval("Pending").await?;
    Ok(())
}

#[tokio::test]
async fn conditions_see_every_part_as_a_call_of_its_own() -> Result<()> {
    let (upstream, gate) = gate().await?;
    let dev = r#"PATCH /v1/projects/acme/secrets/s?updateMask=labels with {"labels":{"env":"dev"}}"#;
    let prod = r#"PATCH /v1/projects/acme/secrets/t?updateMask=labels with {"labels":{"env":"prod"}}"#;
    let topics = r#"PATCH /v1/projects/acme/secrets/t?updateMask=topics with {"labels":{}}"#;
    let twice = r#"PATCH /v1/projects/acme/secrets/t with {"labels":{"env":"prod"},"labels":{"env":"dev"}}"#;
    for (name, parts, expected) in [
        ("one that holds", vec![dev, prod], "RULE_DENIED"),
        ("whatever the order", vec![prod, GET, dev], "RULE_DENIED"),
        ("by a parameter", vec![dev, topics], "RULE_DENIED"),
        (
            "a body that two readers read differently",
            vec![dev, twice],
            "RULE_DENIED",
        ),
    ] {
        let answer = send(&gate, batch(&parts)).await?;
        assert_eq!(answer.refusal(), (403, expected.to_owned()), "{name}");
    }
    assert_eq!(upstream.seen().len(), 0);
    let passed = send(&gate, batch(&[dev, GET, dev])).await?;
    assert_eq!(passed.status, 200, "{}", passed.text());
    Ok(())
}
