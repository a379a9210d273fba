//! What policies say besides rules, over the wire: conditions, risk, and secrets in requests.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use turnpike_tests::{
    process::eventually,
    standin::{Options, Standin},
    turnpike::standalone::{
        PATIENCE, Standalone,
        client::{Agent, Protocol, whole},
    },
};

const POLICY: &str = r#"
apiVersion: turnpike.dev/v1alpha1
kind: AgentPolicy
metadata: {name: coder, namespace: agents}
spec:
  agents: [{serviceAccount: {name: coder}}]
  risk: {denyAbove: 60, weights: {public-access: 90}}
  secrets: {requests: Deny, unscannable: Deny}
  rules:
    - name: all
      effect: Allow
      methods: ["group:storage.read", "storage.**", "secretmanager.**"]
    - name: no-prod
      effect: Deny
      methods: ["storage.buckets.patch"]
      when: has(request.body.labels.env) && request.body.labels.env == "prod"
      message: Production buckets are changed by the platform team.
    - name: ask-late
      effect: RequireApproval
      methods: ["storage.buckets.delete"]
      when: request.query.force == "true"
      approval: {holdFor: 0s}
"#;

const STORAGE: &str = "storage.googleapis.com";

async fn gate() -> Result<(Standin, Standalone)> {
    let standin = Standin::start(Options::default()).await?;
    let gate = Standalone::start(&standin, POLICY).await?;
    Ok((standin, gate))
}

async fn patch(agent: &Agent, body: &Value) -> Result<(u16, String)> {
    let url = format!("{STORAGE}/storage/v1/b/acme-dev-data");
    Ok(agent.call("PATCH", &url, &body.to_string()).await?.refusal())
}

/// The audit log, once it holds these texts.
async fn on_record(gate: &Standalone, texts: &[&str]) -> Result<String> {
    let log = gate.path().join("audit/topic.jsonl");
    eventually(PATIENCE, || async {
        let record = std::fs::read_to_string(&log)?.replace("\\\"", "\"");
        for text in texts {
            ensure!(record.contains(text), "{text} is not on record: {record}");
        }
        Ok(record)
    })
    .await
}

/// Something that looks like a key and is none.
fn key() -> String {
    let kind = ["-----BEGIN ", "PRIVATE", " KEY-----"].concat();
    let line = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj";
    let end = ["-----END ", "PRIVATE", " KEY-----"].concat();
    format!("{kind}\n{}\n{end}\n", [line; 8].join("\n"))
}

#[tokio::test]
async fn conditions_read_the_body_and_fail_closed() -> Result<()> {
    let (_standin, gate) = gate().await?;
    let agent = gate.agent("agents/coder")?;
    let denied = |reason: &str| (403, reason.to_owned());
    assert_eq!(patch(&agent, &json!({"labels": {"env": "dev"}})).await?.0, 200);
    assert_eq!(
        patch(&agent, &json!({"labels": {"env": "prod"}})).await?,
        denied("RULE_DENIED")
    );
    // A body that the condition trips over is taken for the worse.
    let tripped = patch(&agent, &json!({"labels": "prod"})).await?;
    assert_eq!(tripped, denied("RULE_DENIED"));
    on_record(&gate, &["\"condition\":\"failed\"", "\"condition\":\"holds\""]).await?;
    Ok(())
}

/// Rules that speak of what other forms of a call have elsewhere.
const FORMS: &str = r#"
apiVersion: turnpike.dev/v1alpha1
kind: AgentPolicy
metadata: {name: coder, namespace: agents}
spec:
  agents: [{serviceAccount: {name: coder}}]
  rules:
    - {name: all, effect: Allow, methods: ["storage.**"]}
    - name: verb
      effect: Deny
      methods: ["storage.objects.delete"]
      when: request.verb == "DELETE"
    - name: public
      effect: Deny
      methods: ["storage.objects.insert"]
      when: has(request.query.predefinedAcl) && request.query.predefinedAcl.startsWith("public")
"#;

/// A rule holds whatever form a call has: what stands elsewhere in it is taken for the worse.
#[tokio::test]
async fn no_form_of_a_call_passes_a_condition_by() -> Result<()> {
    let standin = Standin::start(Options::default()).await?;
    let gate = Standalone::start(&standin, FORMS).await?;
    let agent = gate.agent("agents/coder")?;
    let object = "/storage/v1/b/acme-dev-data/o/nothing";
    let upload = "/upload/storage/v1/b/acme-dev-data/o?uploadType=media&name=new";
    let public = format!("{upload}&predefinedAcl=publicRead");
    let part =
        format!("--b\r\nContent-Type: application/http\r\n\r\nDELETE {object} HTTP/1.1\r\n\r\n\r\n--b--\r\n");
    let batch = ("content-type", "multipart/mixed; boundary=b");
    let text = ("content-type", "text/plain");
    let rows = [
        ("DELETE", object, text, "", (403, "RULE_DENIED")),
        (
            "POST",
            "/batch/storage/v1",
            batch,
            part.as_str(),
            (403, "RULE_DENIED"),
        ),
        ("POST", public.as_str(), text, "hello", (403, "RULE_DENIED")),
        (
            "PUT",
            "/acme-dev-data/new",
            ("x-goog-acl", "public-read"),
            "hello",
            (403, "RULE_DENIED"),
        ),
        ("POST", upload, text, "hello", (200, "")),
    ];
    for (verb, path, (name, value), body, (status, reason)) in rows {
        let mut connection = agent.open(STORAGE, Protocol::Http1).await?;
        let mut request = connection.request(verb, path, whole(body.to_owned()))?;
        request.headers_mut().insert(name, value.parse()?);
        let answer = connection.exchange(request).await?;
        let told = match answer.status {
            200 => (200, String::new()),
            _ => answer.refusal(),
        };
        assert_eq!(
            told,
            (status, reason.to_owned()),
            "{verb} {path}: {}",
            answer.text()
        );
    }
    let arrived: Vec<String> = standin.requests().into_iter().map(|r| r.method).collect();
    assert_eq!(arrived, ["POST"]);
    Ok(())
}

#[tokio::test]
async fn a_bucket_that_becomes_public_is_too_risky() -> Result<()> {
    let (standin, gate) = gate().await?;
    let agent = gate.agent("agents/coder")?;
    let url = format!("{STORAGE}/storage/v1/b/acme-dev-data/iam");
    let policy = |member: &str| {
        json!({"bindings": [{"role": "roles/storage.objectViewer", "members": [member]}]}).to_string()
    };
    let public = agent.call("PUT", &url, &policy("allUsers")).await?;
    assert_eq!(
        public.refusal(),
        (403, "RISK_DENIED".to_owned()),
        "{}",
        public.text()
    );
    assert!(public.text().contains("public"), "{}", public.text());
    assert!(standin.requests().iter().all(|r| r.method != "PUT"));
    let own = agent.call("PUT", &url, &policy("user:ann@example.com")).await?;
    // It passes, and the stand-in does not know the method.
    assert_eq!(own.status, 404, "{}", own.text());
    assert!(standin.requests().iter().any(|r| r.method == "PUT"));
    Ok(())
}

#[tokio::test]
async fn a_risk_alone_sees_parameters_and_headers() -> Result<()> {
    const RISK_ALONE: &str = r#"
apiVersion: turnpike.dev/v1alpha1
kind: AgentPolicy
metadata: {name: coder, namespace: agents}
spec:
  agents: [{serviceAccount: {name: coder}}]
  risk: {denyAbove: 99, weights: {public-access: 100}}
  rules: [{name: all, effect: Allow, methods: ["storage.**", "compute.**"]}]
"#;
    let standin = Standin::start(Options::default()).await?;
    let gate = Standalone::start(&standin, RISK_ALONE).await?;
    let agent = gate.agent("agents/coder")?;
    let bucket = "storage.googleapis.com/storage/v1/b/acme-dev-data";
    let object = "storage.googleapis.com/upload/storage/v1/b/acme-dev-data/o?uploadType=media&name=a";
    for (verb, url) in [
        ("PATCH", format!("{bucket}?predefinedAcl=publicRead")),
        ("PATCH", format!("{bucket}?predefinedAcl=PUBLIC_READ")),
        ("PATCH", format!("{bucket}?predefinedDefaultObjectAcl=publicRead")),
        ("POST", format!("{object}&predefinedAcl=publicRead")),
    ] {
        let answer = agent.call(verb, &url, "{}").await?;
        assert_eq!(answer.refusal(), (403, "RISK_DENIED".to_owned()), "{verb} {url}");
    }
    assert_eq!(standin.requests().len(), 0);
    let own = agent
        .call("PATCH", &format!("{bucket}?predefinedAcl=private"), "{}")
        .await?;
    assert_eq!(own.status, 200, "{}", own.text());
    Ok(())
}

#[tokio::test]
async fn a_key_does_not_leave_in_an_object_or_a_secret() -> Result<()> {
    let (standin, gate) = gate().await?;
    let agent = gate.agent("agents/coder")?;
    let upload = format!("{STORAGE}/upload/storage/v1/b/acme-dev-data/o?uploadType=media&name=notes.txt");
    let refused = agent.call("POST", &upload, &key()).await?;
    assert_eq!(
        refused.refusal(),
        (403, "SECRET_IN_REQUEST".to_owned()),
        "{}",
        refused.text()
    );
    assert!(!refused.text().contains("MIIEvQ"), "the value is told");
    let harmless = agent.call("POST", &upload, "notes of a meeting").await?;
    assert_eq!(harmless.status, 200, "{}", harmless.text());
    let bodies: Vec<_> = standin
        .requests()
        .into_iter()
        .filter(|r| r.method == "POST")
        .collect();
    assert_eq!(bodies.len(), 1);
    let record = on_record(&gate, &["\"kind\":\"private-key\"", "\"hash\":\"hmac:"]).await?;
    assert!(!record.contains("MIIEvQ"), "the value is on record");
    Ok(())
}
