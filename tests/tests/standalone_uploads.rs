//! Storage in all its forms, standalone: uploads whose object the body names, sessions and signed URLs that only the
//! agent they were handed to can use, and the XML API under the same rules.

use anyhow::{Context as _, Result, ensure};
use http::Response;
use serde_json::json;
use turnpike_tests::turnpike::standalone::{
    GATEWAY_TOKEN, Standalone,
    client::{Answer, Body, Protocol, whole},
    upstream::{Seen, Upstream},
};

const STORAGE: &str = "storage.googleapis.com";
const FUNCTIONS: &str = "cloudfunctions.googleapis.com";
/// What Google's session would be: a credential.
const SESSION: &str = "stand-in-session";
const SIGNATURE: &str = "stand-in-signature";

const POLICY: &str = r#"
apiVersion: turnpike.dev/v1alpha1
kind: AgentPolicy
metadata: {name: all, namespace: agents}
spec:
  agents: [{serviceAccount: {name: coder}}, {serviceAccount: {name: other}}]
  rules:
    - {name: ours, effect: Allow, methods: ["storage.objects.*", "storage.buckets.get"], resources: ["projects/_/buckets/ours/**", "projects/_/buckets/ours"]}
    - {name: kept, effect: Deny, methods: ["storage.objects.*"], resources: ["projects/_/buckets/ours/objects/kept/**"]}
    - {name: read, effect: Allow, methods: ["storage.objects.get", "storage.objects.copy"], resources: ["projects/_/buckets/theirs/objects/public/**"]}
    - {name: functions, effect: Allow, methods: ["cloudfunctions.**"], resources: ["projects/acme/**"]}
"#;

fn answer(seen: &Seen) -> Response<Body> {
    let json = |value: serde_json::Value| {
        let mut answer = Response::new(whole(value.to_string()));
        let kind = http::HeaderValue::from_static("application/json");
        answer.headers_mut().insert("content-type", kind);
        answer
    };
    if seen.line.contains("uploadType=resumable") && !seen.line.contains("upload_id=") {
        let target = seen.line.splitn(3, ' ').nth(2).unwrap_or_default();
        let location = format!("https://{STORAGE}{target}&upload_id={SESSION}");
        let mut answer = Response::new(whole(""));
        let headers = answer.headers_mut();
        headers.insert("location", location.parse().expect("a header"));
        headers.insert("x-guploader-uploadid", SESSION.parse().expect("a header"));
        return answer;
    }
    if seen.line.contains("generateUploadUrl") {
        let url = format!(
            "https://{STORAGE}/gcf-upload/source.zip?X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Date=20991231T000000Z\
             &X-Goog-Expires=1800&X-Goog-Signature={SIGNATURE}"
        );
        return json(json!({"uploadUrl": url}));
    }
    json(json!({"kind": "storage#object"}))
}

async fn gate() -> Result<(Upstream, Standalone)> {
    let upstream = Upstream::plain(answer).await?;
    let gate = Standalone::start(&upstream, POLICY).await?;
    Ok((upstream, gate))
}

/// One request of an agent, with these headers.
async fn call(
    gate: &Standalone,
    agent: &str,
    (verb, host, path): (&str, &str, &str),
    headers: &[(&str, &str)],
    body: &str,
) -> Result<Answer> {
    let mut connection = gate.agent(agent)?.open(host, Protocol::Http1).await?;
    let mut request = connection.request(verb, path, whole(body.to_owned()))?;
    for (name, value) in headers {
        let name = http::HeaderName::try_from(*name)?;
        request.headers_mut().insert(name, value.parse()?);
    }
    connection.exchange(request).await
}

const CODER: &str = "agents/coder";
const JSON: (&str, &str) = ("content-type", "application/json");
const RELATED: (&str, &str) = ("content-type", "multipart/related; boundary=b");

fn related(metadata: &str, content: &str) -> String {
    format!(
        "--b\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{metadata}\r\n--b\r\nContent-Type: text/plain\r\n\r\n\
         {content}\r\n--b--"
    )
}

#[tokio::test]
async fn the_object_is_found_wherever_it_is_named_and_must_be_one() -> Result<()> {
    let (upstream, gate) = gate().await?;
    let multipart = "/upload/storage/v1/b/ours/o?uploadType=multipart";
    let named = format!("{multipart}&name=a");
    let resumable = "/upload/storage/v1/b/ours/o?uploadType=resumable";
    let compose = "/storage/v1/b/ours/o/all/compose";
    let cases = [
        (
            "named in the metadata",
            multipart,
            RELATED,
            related(r#"{"name":"a"}"#, "x"),
            (200, "not Turnpike's"),
        ),
        (
            "named twice, the same",
            &named,
            RELATED,
            related(r#"{"name":"a","bucket":"ours"}"#, "x"),
            (200, "not Turnpike's"),
        ),
        (
            "a rule keeps it",
            multipart,
            RELATED,
            related(r#"{"name":"kept/a"}"#, "x"),
            (403, "RULE_DENIED"),
        ),
        (
            "an escape hides it",
            multipart,
            RELATED,
            related(r#"{"n\u0061me":"kept/a"}"#, "x"),
            (403, "RULE_DENIED"),
        ),
        (
            "two names",
            &named,
            RELATED,
            related(r#"{"name":"kept/a"}"#, "x"),
            (400, "BODY_NAMES_ANOTHER_RESOURCE"),
        ),
        (
            "another bucket",
            &named,
            RELATED,
            related(r#"{"bucket":"theirs"}"#, "x"),
            (400, "BODY_NAMES_ANOTHER_RESOURCE"),
        ),
        (
            "a name that stands twice",
            multipart,
            RELATED,
            related(r#"{"name":"a","name":"kept/a"}"#, "x"),
            (400, "UPLOAD_METADATA_REPEATS"),
        ),
        (
            "kinds that differ",
            "/upload/storage/v1/b/ours/o?uploadType=media&name=a",
            RELATED,
            related("{}", "x"),
            (400, "UPLOAD_KIND_CONTRADICTS"),
        ),
        (
            "more after the end",
            multipart,
            RELATED,
            related(r#"{"name":"a"}"#, "x") + "\r\n--b\r\n\r\n",
            (400, "MULTIPART_EPILOGUE"),
        ),
        (
            "a start that names what is kept",
            resumable,
            JSON,
            r#"{"name":"kept/a"}"#.to_owned(),
            (403, "RULE_DENIED"),
        ),
        (
            "sources that may be read",
            compose,
            JSON,
            r#"{"sourceObjects":[{"name":"a"},{"name":"b"}]}"#.to_owned(),
            (200, "not Turnpike's"),
        ),
        (
            "a source that may not",
            compose,
            JSON,
            r#"{"sourceObjects":[{"name":"a"},{"name":"kept/b"}]}"#.to_owned(),
            (403, "RULE_DENIED"),
        ),
        (
            "shared with everybody by the query",
            "/upload/storage/v1/b/ours/o?uploadType=media&name=a&predefinedAcl=publicRead",
            ("content-type", "text/plain"),
            "x".to_owned(),
            (403, "NO_RULE_ALLOWS"),
        ),
        (
            "shared with everybody by the metadata",
            multipart,
            RELATED,
            related(
                r#"{"name":"a","acl":[{"entity":"allUsers","role":"READER"}]}"#,
                "x",
            ),
            (403, "NO_RULE_ALLOWS"),
        ),
        (
            "JSON under another name",
            "/storage/v1/b/ours/o",
            ("content-type", "application/x-protobuf"),
            "x".to_owned(),
            (415, "CONTENT_TYPE_UNKNOWN"),
        ),
    ];
    let mut reached = 0;
    for (name, path, content_type, body, (status, reason)) in cases {
        let answer = call(&gate, CODER, ("POST", STORAGE, path), &[content_type], &body).await?;
        assert_eq!(
            answer.refusal(),
            (status, reason.to_owned()),
            "{name}: {}",
            answer.text()
        );
        reached += usize::from(status == 200);
    }
    let seen = upstream.seen();
    assert_eq!(
        seen.iter().filter(|s| !s.body.is_empty()).count(),
        reached,
        "{seen:#?}"
    );
    let sent = String::from_utf8_lossy(&seen[0].body).into_owned();
    ensure!(
        sent.contains("turnpike") && !sent.contains("--b\r\n") && sent.contains(r#"{"name":"a"}"#),
        "{sent}"
    );
    Ok(())
}

#[tokio::test]
async fn a_session_is_of_one_agent_and_one_object() -> Result<()> {
    let (upstream, gate) = gate().await?;
    let start = "/upload/storage/v1/b/ours/o?uploadType=resumable";
    let begun = call(&gate, CODER, ("POST", STORAGE, start), &[JSON], r#"{"name":"a"}"#).await?;
    let location = begun.headers["location"].to_str()?.to_owned();
    let everything = format!("{:?}{}", begun.headers, begun.text());
    ensure!(
        !everything.contains(SESSION),
        "the agent has Google's session: {everything}"
    );
    let path = location
        .strip_prefix("https://storage.googleapis.com")
        .context("the same host")?;

    let before = upstream.seen().len();
    let raw = format!("{start}&upload_id={SESSION}");
    let moved = path.replace("/b/ours/", "/b/theirs/");
    let renamed = format!("{path}&name=kept/a");
    let refusals = [
        (
            "another agent",
            "agents/other",
            path,
            "UPLOAD_SESSION_OF_ANOTHER_AGENT",
        ),
        ("Google's own", CODER, &raw, "UPLOAD_SESSION_NOT_OURS"),
        (
            "another bucket",
            CODER,
            &moved,
            "UPLOAD_SESSION_OF_ANOTHER_TARGET",
        ),
        (
            "another name",
            CODER,
            &renamed,
            "UPLOAD_SESSION_OF_ANOTHER_TARGET",
        ),
    ];
    for (name, agent, path, reason) in refusals {
        let answer = call(&gate, agent, ("PUT", STORAGE, path), &[], "content").await?;
        assert_eq!(answer.refusal(), (403, reason.to_owned()), "{name}");
    }
    assert_eq!(upstream.seen().len(), before);

    let answer = call(&gate, CODER, ("PUT", STORAGE, path), &[], "content").await?;
    assert_eq!(answer.status, 200);
    let seen = upstream.seen();
    let last = seen.last().context("it arrived")?;
    assert_eq!(last.line, format!("PUT {STORAGE} {start}&upload_id={SESSION}"));
    assert_eq!(&last.body[..], b"content");
    let topic = std::fs::read_to_string(gate.path().join("audit/topic.jsonl"));
    ensure!(
        !topic.unwrap_or_default().contains(SESSION),
        "the session is on record"
    );
    Ok(())
}

#[tokio::test]
async fn a_signed_url_is_of_one_agent_and_goes_up_without_a_token() -> Result<()> {
    let (upstream, gate) = gate().await?;
    let ask = "/v1/projects/acme/locations/l/functions:generateUploadUrl";
    let handed_out = call(&gate, CODER, ("POST", FUNCTIONS, ask), &[JSON], "{}").await?;
    let url = handed_out.json()["uploadUrl"]
        .as_str()
        .context("a URL")?
        .to_owned();
    ensure!(
        !handed_out.text().contains(SIGNATURE),
        "the agent has Google's URL: {url}"
    );
    let path = url
        .strip_prefix("https://storage.googleapis.com")
        .context("the same host")?;

    let before = upstream.seen().len();
    let raw = format!("/gcf-upload/source.zip?X-Goog-Signature={SIGNATURE}");
    let refusals = [
        (
            "another agent",
            "agents/other",
            "PUT",
            path,
            "SIGNED_URL_OF_ANOTHER_AGENT",
        ),
        ("another verb", CODER, "GET", path, "SIGNED_URL_OF_ANOTHER_TARGET"),
        ("Google's own", CODER, "PUT", &raw, "SIGNED_URL_NOT_OURS"),
    ];
    for (name, agent, verb, path, reason) in refusals {
        let answer = call(&gate, agent, (verb, STORAGE, path), &[], "").await?;
        assert_eq!(answer.refusal(), (403, reason.to_owned()), "{name}");
    }
    assert_eq!(upstream.seen().len(), before);

    let zip = ("content-type", "application/zip");
    let answer = call(&gate, CODER, ("PUT", STORAGE, path), &[zip], "zip").await?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let create = "/v1/projects/acme/locations/l/functions";
    let body = json!({"name": "projects/acme/locations/l/functions/f", "sourceUploadUrl": url}).to_string();
    let created = call(&gate, CODER, ("POST", FUNCTIONS, create), &[JSON], &body).await?;
    assert_eq!(created.status, 200, "{}", created.text());
    let seen = upstream.seen();
    let [.., put, post] = seen.as_slice() else {
        anyhow::bail!("{seen:#?}")
    };
    ensure!(
        put.line.contains(SIGNATURE) && !put.headers.contains_key("authorization"),
        "{put:#?}"
    );
    let given_back = String::from_utf8_lossy(&post.body).into_owned();
    ensure!(
        given_back.contains(SIGNATURE),
        "Google knows its own URL: {given_back}"
    );
    assert_eq!(post.headers["authorization"], format!("Bearer {GATEWAY_TOKEN}"));
    Ok(())
}

/// What is tried; verb, host and path; headers; the status, and the reason or what is on record.
type Request<'a> = (
    &'a str,
    (&'a str, &'a str, &'a str),
    &'a [(&'a str, &'a str)],
    u16,
    &'a str,
);

#[tokio::test]
async fn the_xml_api_is_under_the_same_rules() -> Result<()> {
    let (upstream, gate) = gate().await?;
    const HOST: &str = "ours.storage.googleapis.com";
    let cases: [Request<'_>; 12] = [
        (
            "path style",
            ("GET", STORAGE, "/ours/a/b"),
            &[],
            200,
            "storage.objects.get",
        ),
        (
            "a bucket as a host",
            ("GET", HOST, "/a"),
            &[],
            200,
            "storage.objects.get",
        ),
        ("a write", ("PUT", HOST, "/a"), &[], 200, "storage.objects.insert"),
        (
            "a copy of what may be read",
            ("PUT", HOST, "/a"),
            &[("x-goog-copy-source", "theirs/public/a")],
            200,
            "storage.objects.copy",
        ),
        (
            "a copy of what may not",
            ("PUT", HOST, "/a"),
            &[("x-goog-copy-source", "theirs/a")],
            403,
            "NO_RULE_ALLOWS",
        ),
        (
            "a copy in Amazon's words",
            ("PUT", HOST, "/a"),
            &[("x-amz-copy-source", "theirs/a")],
            403,
            "STORAGE_XML_HEADER",
        ),
        (
            "what is kept",
            ("DELETE", HOST, "/kept/a"),
            &[],
            403,
            "RULE_DENIED",
        ),
        (
            "what is kept, encoded",
            ("DELETE", STORAGE, "/ours/kept%2Fa"),
            &[],
            403,
            "RULE_DENIED",
        ),
        (
            "another bucket",
            ("GET", "theirs.storage.googleapis.com", "/a"),
            &[],
            403,
            "NO_RULE_ALLOWS",
        ),
        (
            "another bucket's host in path style",
            ("GET", STORAGE, "/theirs/a"),
            &[],
            403,
            "NO_RULE_ALLOWS",
        ),
        (
            "many at once",
            ("POST", HOST, "/?delete"),
            &[],
            403,
            "STORAGE_XML_BODY",
        ),
        (
            "nobody's parameter",
            ("GET", HOST, "/a?torrent"),
            &[],
            403,
            "STORAGE_XML_PARAMETER",
        ),
    ];
    let mut reached = 0;
    for (name, request, headers, status, what) in cases {
        let answer = call(&gate, CODER, request, headers, "").await?;
        match status {
            200 => {
                reached += 1;
                assert_eq!(answer.status, 200, "{name}: {}", answer.text());
                gate.trail(&format!("outcome allow RULE_ALLOWED {what} 200"))
                    .await
                    .context(name)?;
            }
            _ => assert_eq!(
                answer.refusal(),
                (status, what.to_owned()),
                "{name}: {}",
                answer.text()
            ),
        }
    }
    assert_eq!(upstream.seen().len(), reached);
    Ok(())
}
