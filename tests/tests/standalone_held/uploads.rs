//! Uploads that begin before their content is there: what a person approves is all of it, and nothing is at Google's
//! before.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::Response;
use serde_json::{Value, json};
use turnpike_tests::{
    gcloud::{Gcloud, Settings},
    process::temp_dir,
    standin::{Options, Standin},
    turnpike::standalone::{
        GATEWAY_TOKEN, Standalone,
        client::{Answer, Body, Protocol, whole},
        upstream::{Seen, Upstream},
    },
};

use crate::{CODER, POLICY, STORAGE, approve, call, content, held_for};

const FUNCTIONS: &str = "cloudfunctions.googleapis.com";
/// What Google's session would be: a credential.
const SESSION: &str = "stand-in-session";
const SIGNATURE: &str = "stand-in-signature";
const JSON: (&str, &str) = ("content-type", "application/json");
const START: &str = "/resumable/upload/storage/v1/b/held/o?uploadType=resumable";

/// Google, as far as these tests go. A signed URL is for another object each time.
fn answer(seen: &Seen) -> Response<Body> {
    let reply = |value: Value| {
        let mut answer = Response::new(whole(value.to_string()));
        let kind = http::HeaderValue::from_static("application/json");
        answer.headers_mut().insert("content-type", kind);
        answer
    };
    if seen.line.contains("uploadType=resumable") && !seen.line.contains("upload_id=") {
        let target = seen.line.splitn(3, ' ').nth(2).unwrap_or_default();
        let location = format!("https://{STORAGE}{target}&upload_id={SESSION}");
        let mut answer = Response::new(whole(""));
        let location = location.parse().expect("a header");
        answer.headers_mut().insert("location", location);
        return answer;
    }
    if seen.line.contains("generateUploadUrl") {
        let object = seen
            .headers
            .get("x-goog-api-client")
            .map(|v| v.to_str().unwrap_or("?"));
        let url = format!(
            "https://{STORAGE}/gcf-upload/{}.zip?X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Date=20991231T000000Z\
             &X-Goog-Expires=1800&X-Goog-Signature={SIGNATURE}",
            object.unwrap_or("source")
        );
        return reply(json!({"uploadUrl": url}));
    }
    reply(json!({"kind": "storage#object"}))
}

async fn gate(policy: &str) -> Result<(Upstream, Standalone)> {
    let upstream = Upstream::plain(answer).await?;
    let gate = Standalone::start(&upstream, policy).await?;
    Ok((upstream, gate))
}

async fn send(
    gate: &Standalone,
    agent: &str,
    (verb, path): (&str, &str),
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Result<Answer> {
    call(
        gate,
        agent,
        Protocol::Http1,
        (verb, STORAGE, path),
        headers,
        whole(body),
    )
    .await
}

/// Begins an upload, and gives the path of its session.
async fn begin(gate: &Standalone, start: &str, headers: &[(&str, &str)], metadata: &Value) -> Result<String> {
    let begun = send(gate, CODER, ("POST", start), headers, metadata.to_string()).await?;
    ensure!(begun.status == 200, "{}", begun.text());
    let location = begun.headers["location"].to_str()?;
    let path = location.strip_prefix(&format!("https://{STORAGE}"));
    Ok(path.context("the same host")?.to_owned())
}

fn boundary(seen: &Seen) -> Result<String> {
    let kind = seen.headers["content-type"].to_str()?;
    let boundary = kind.strip_prefix("multipart/related; boundary=");
    Ok(boundary.with_context(|| kind.to_owned())?.to_owned())
}

#[tokio::test]
async fn an_upload_that_waits_for_a_person_is_one_upload_in_the_end() -> Result<()> {
    let (upstream, gate) = gate(POLICY).await?;
    let metadata = json!({"name": "a", "metadata": {"team": "data"}});
    let given = [
        JSON,
        ("x-upload-content-type", "image/png"),
        ("x-goog-if-generation-match", "7"),
        ("user-agent", "test/1"),
    ];
    let session = begin(&gate, &format!("{START}&fields=name"), &given, &metadata).await?;
    let sent = content(300_000);

    // How far it has come, as gcloud asks when it goes on.
    let asked = send(
        &gate,
        CODER,
        ("PUT", &session),
        &[("content-range", "bytes */*")],
        "",
    )
    .await?;
    assert_eq!((asked.status, asked.headers.get("range")), (308, None));
    let refusals = [
        (
            "another agent",
            "agents/other",
            "bytes 0-9/10",
            (403, "UPLOAD_SESSION_OF_ANOTHER_AGENT"),
        ),
        ("a piece", CODER, "bytes 0-9/20", (403, "UPLOAD_SESSION_NOT_HELD")),
        (
            "the end of one",
            CODER,
            "bytes 10-19/20",
            (403, "UPLOAD_SESSION_NOT_HELD"),
        ),
        (
            "of unknown length",
            CODER,
            "bytes 0-9/*",
            (403, "UPLOAD_SESSION_NOT_HELD"),
        ),
        (
            "of another length",
            CODER,
            "bytes 0-10/11",
            (400, "BODY_BROKE_OFF"),
        ),
    ];
    for (name, agent, range, (status, reason)) in refusals {
        let range = ("content-range", range);
        let refused = send(&gate, agent, ("PUT", &session), &[range], "ten bytes.").await?;
        assert_eq!(refused.refusal(), (status, reason.to_owned()), "{name}");
    }
    assert_eq!((gate.approvals()?.len(), upstream.seen().len()), (0, 0));

    let last = format!("bytes 0-{}/{}", sent.len() - 1, sent.len());
    let brought = [("content-range", last.as_str()), ("content-type", "image/png")];
    let (answer, request) = tokio::join!(
        send(&gate, CODER, ("PUT", &session), &brought, sent.clone()),
        approve(&gate)
    );
    let (answer, request) = (answer?, request?);
    assert_eq!(
        (answer.status, answer.json()),
        (200, json!({"kind": "storage#object"}))
    );
    let asked = &request.value["spec"]["call"];
    let shown: Value = serde_json::from_str(asked["body"].as_str().context("it is shown")?)?;
    assert_eq!(shown["metadata"], metadata);
    assert_eq!(
        (&shown["media"]["bytes"], &shown["media"]["contentType"]),
        (&json!(sent.len()), &json!("image/png"))
    );
    let path = "/upload/storage/v1/b/held/o?uploadType=multipart&fields=name";
    assert_eq!(asked["url"], format!("https://{STORAGE}{path}"));

    let [seen] = <[Seen; 1]>::try_from(upstream.seen()).map_err(|seen| anyhow::anyhow!("{seen:#?}"))?;
    assert_eq!(seen.line, format!("POST {STORAGE} {path}"));
    assert_eq!(seen.headers["x-goog-if-generation-match"], "7");
    ensure!(!seen.headers.contains_key("content-range"), "{:?}", seen.headers);
    let boundary = boundary(&seen)?;
    let head = format!(
        "--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{metadata}\r\n--{boundary}\r\n\
         Content-Type: image/png\r\n\r\n"
    );
    let expected = [
        head.as_bytes(),
        &sent,
        format!("\r\n--{boundary}--\r\n").as_bytes(),
    ]
    .concat();
    ensure!(seen.body == expected, "other bytes went upstream");
    let trail = gate.trail("outcome allow APPROVED").await?;
    let later = trail
        .iter()
        .filter(|line| *line == "held hold HELD_LATER storage.objects.insert");
    assert_eq!(later.count(), 2, "{trail:#?}");
    Ok(())
}

#[tokio::test]
async fn an_approval_is_for_the_upload_whichever_session_brings_it() -> Result<()> {
    let (upstream, gate) = gate(&held_for("500ms")).await?;
    let pending = (403, "APPROVAL_PENDING".to_owned());
    let bring = async |metadata: Value, start: &str, sent: &'static str| {
        let session = begin(&gate, start, &[JSON], &metadata).await?;
        send(&gate, CODER, ("PUT", &session), &[], sent).await
    };
    let first = bring(json!({"name": "a"}), START, "content").await?;
    assert_eq!(first.refusal(), pending);
    let request = gate.approval("Pending").await?;
    // Whatever differs is another upload, and waits for its own approval.
    for (metadata, start, sent) in [
        (json!({"name": "a"}), START.to_owned(), "other content"),
        (json!({"name": "b"}), START.to_owned(), "content"),
        (
            json!({"name": "a", "contentType": "text/html"}),
            START.to_owned(),
            "content",
        ),
        (
            json!({"name": "a"}),
            format!("{START}&ifGenerationMatch=0"),
            "content",
        ),
    ] {
        assert_eq!(bring(metadata, &start, sent).await?.refusal(), pending);
    }
    assert_eq!(gate.approvals()?.len(), 5);
    assert_eq!(upstream.seen().len(), 0);
    request.review("alice", "Approve", "fine")?;
    gate.approval("Approved").await?;
    let answer = bring(json!({"name": "a"}), START, "content").await?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let again = bring(json!({"name": "a"}), START, "content").await?;
    assert_eq!(again.refusal(), pending, "it is spent");
    assert_eq!(upstream.seen().len(), 1);
    Ok(())
}

#[tokio::test]
async fn what_is_decided_is_what_the_policies_say_when_the_content_comes() -> Result<()> {
    let (upstream, gate) = gate(POLICY).await?;
    let free = "/upload/storage/v1/b/free/o?uploadType=resumable";
    let promised = begin(&gate, START, &[JSON], &json!({"name": "a"})).await?;
    let begun = begin(
        &gate,
        free,
        &[JSON],
        &json!({"name": "a", "metadata": {"k": "v"}}),
    )
    .await?;
    ensure!(
        begun.contains("upload_id=") && !begun.contains(SESSION),
        "{begun}"
    );
    assert_eq!(upstream.seen().len(), 1);

    // From now on the one may pass, and the other has to wait.
    let swapped = POLICY.replace("buckets/free/", "buckets/x/");
    let swapped = swapped
        .replace("buckets/held/", "buckets/free/")
        .replace("buckets/x/", "buckets/held/");
    let before = gate.log()?.matches("policies are in force").count();
    gate.write_policy("test", &swapped)?;
    turnpike_tests::process::eventually(turnpike_tests::turnpike::standalone::PATIENCE, || async {
        let now = gate.log()?.matches("policies are in force").count();
        ensure!(now > before, "the policy does not count yet");
        Ok(())
    })
    .await?;
    let passed = send(&gate, CODER, ("PUT", &promised), &[], "content").await?;
    assert_eq!(passed.status, 200, "{}", passed.text());
    let seen = upstream.seen().pop().context("it arrived")?;
    assert_eq!(
        seen.line,
        format!("POST {STORAGE} /upload/storage/v1/b/held/o?uploadType=multipart")
    );
    ensure!(seen.body.windows(7).any(|w| w == b"content"), "{:?}", seen.body);

    let asked = send(
        &gate,
        CODER,
        ("PUT", &begun),
        &[("content-range", "bytes */7")],
        "",
    )
    .await?;
    assert_eq!((asked.status, asked.headers.get("range")), (308, None));
    let piece = [("content-range", "bytes 0-6/14")];
    let refused = send(&gate, CODER, ("PUT", &begun), &piece, "content").await?;
    assert_eq!(refused.refusal(), (403, "UPLOAD_SESSION_NOT_HELD".to_owned()));
    assert_eq!(upstream.seen().len(), 2);
    let range = [("content-range", "bytes 0-6/7")];
    let (answer, request) = tokio::join!(
        send(&gate, CODER, ("PUT", &begun), &range, "content"),
        approve(&gate)
    );
    let (answer, request) = (answer?, request?);
    assert_eq!(answer.status, 200, "{}", answer.text());
    ensure!(
        !request.value.to_string().contains(SESSION),
        "{:#}",
        request.value
    );
    let seen = upstream.seen().pop().context("it arrived")?;
    assert_eq!(
        seen.line,
        format!("POST {STORAGE} /upload/storage/v1/b/free/o?uploadType=multipart")
    );
    ensure!(
        !seen.line.contains(SESSION) && seen.body.windows(7).any(|w| w == b"content"),
        "{seen:?}"
    );
    Ok(())
}

#[tokio::test]
async fn content_for_a_signed_url_is_held_by_its_bytes_and_shown_without_the_signature() -> Result<()> {
    let (upstream, gate) = gate(&held_for("2s")).await?;
    let ask = "/v1/projects/acme/locations/l/functions:generateUploadUrl";
    // Each one gets a URL for another object.
    let handed_out = async |number: &str| {
        let given = [JSON, ("x-goog-api-client", number)];
        let target = ("POST", FUNCTIONS, ask);
        let asked = call(&gate, CODER, Protocol::Http1, target, &given, whole("{}"));
        let (answer, approved) = tokio::join!(asked, approve(&gate));
        approved?;
        let url = answer?.json()["uploadUrl"].as_str().context("a URL")?.to_owned();
        let path = url
            .strip_prefix(&format!("https://{STORAGE}"))
            .context("the same host")?;
        Ok::<_, anyhow::Error>(path.to_owned())
    };
    let zip = [("content-type", "application/zip")];
    let sent = content(200_000);
    let url = handed_out("one").await?;
    let pending = send(&gate, CODER, ("PUT", &url), &zip, sent.clone()).await?;
    assert_eq!(pending.refusal(), (403, "APPROVAL_PENDING".to_owned()));
    let request = gate.approval("Pending").await?;
    let asked = &request.value["spec"]["call"];
    assert_eq!(asked["url"], format!("https://{STORAGE}/gcf-upload/one.zip"));
    assert_eq!(
        (&asked["verb"], &asked["bodyBytes"]),
        (&json!("PUT"), &json!(200_000))
    );
    request.review("alice", "Approve", "fine")?;
    gate.approval("Approved").await?;

    // Another URL of the same method for the same project, and the same bytes: the approval is for them.
    let url = handed_out("two").await?;
    let other = send(&gate, CODER, ("PUT", &url), &zip, content(200_001)).await?;
    assert_eq!(other.refusal(), (403, "APPROVAL_PENDING".to_owned()));
    let answer = send(&gate, CODER, ("PUT", &url), &zip, sent.clone()).await?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let puts: Vec<Seen> = upstream
        .seen()
        .into_iter()
        .filter(|s| s.line.starts_with("PUT"))
        .collect();
    let [put] = <[Seen; 1]>::try_from(puts).map_err(|seen| anyhow::anyhow!("{seen:#?}"))?;
    ensure!(
        put.line.contains("two.zip") && put.line.contains(SIGNATURE),
        "{}",
        put.line
    );
    ensure!(
        put.body == sent && !put.headers.contains_key("authorization"),
        "{:?}",
        put.headers
    );
    for approval in gate.approvals()? {
        ensure!(
            !approval.value.to_string().contains(SIGNATURE),
            "{:#}",
            approval.value
        );
    }
    Ok(())
}

#[tokio::test]
async fn gcloud_copies_a_file_once_it_is_approved_at_once_or_when_it_is_run_again() -> Result<()> {
    let tls = temp_dir("standin")?;
    let standin = Standin::start(Options {
        tls_dir: Some(tls.path().to_owned()),
        require_token: Some(GATEWAY_TOKEN.to_owned()),
        ..Options::default()
    })
    .await?;
    let policy = POLICY.replace("buckets/held/", "buckets/acme-dev-data/");
    let gate = Standalone::start(&standin, &policy).await?;
    let gcloud = Gcloud::new(&Settings {
        proxy: &format!("http://{}", gate.listen()),
        ca_pem: &gate.ca_pem()?,
        token: &gate.token(CODER)?,
        project: "acme-dev",
    })?;
    let file = gcloud.dir().join("big.bin");
    std::fs::write(&file, content(20 << 20))?;
    let file = file.to_str().context("UTF-8")?;
    let uploads = || {
        let requests = standin.requests().into_iter().filter(|r| r.method != "GET");
        requests.map(|r| r.line()).collect::<Vec<_>>()
    };
    let upload = "POST storage.googleapis.com/upload/storage/v1/b/acme-dev-data/o";

    let copy = ["storage", "cp", file, "gs://acme-dev-data/one.bin"];
    let look = async {
        let request = gate.approval("Pending").await?;
        ensure!(
            uploads().is_empty(),
            "something of it is at Google's: {:?}",
            uploads()
        );
        request.review("alice", "Approve", "fine")?;
        Ok(request)
    };
    let (copied, request) = tokio::join!(gcloud.run(&copy), look);
    let request = request?;
    copied?.success()?;
    let shown = request.value["spec"]["call"]["body"].as_str().unwrap_or_default();
    ensure!(shown.contains("one.bin") && shown.contains("20971520"), "{shown}");
    assert_eq!(uploads().len(), 1);
    ensure!(uploads()[0].starts_with(upload), "{:?}", uploads());

    // Nobody is there at first: gcloud says what to do, and goes on where it was once it is run again.
    gate.write_policy("test", &policy.replace("holdFor: 60s", "holdFor: 1s"))?;
    turnpike_tests::process::eventually(turnpike_tests::turnpike::standalone::PATIENCE, || async {
        let taken = gate.log()?.matches("policies are in force").count();
        ensure!(taken > 1, "the policy does not count yet");
        Ok(())
    })
    .await?;
    let copy = ["storage", "cp", file, "gs://acme-dev-data/two.bin"];
    let refused = gcloud.run(&copy).await?.failure()?;
    ensure!(
        refused.contains("Turnpike holds this call for approval"),
        "{refused}"
    );
    approve(&gate).await?;
    gate.approval("Approved").await?;
    gcloud.run(&copy).await?.success()?;
    assert_eq!(uploads().len(), 2);
    assert_eq!(gate.approvals()?.len(), 2);
    Ok(())
}
