//! What is sealed of an upload's beginning opens for its agent only, and says the same upload.

use serde_json::json;
use turnpike_policy::{caller::Identity, catalog::Catalog};

use super::*;

type Pairs = [(&'static str, &'static str)];

const START: &str = "https://storage.googleapis.com/resumable/upload/storage/v1/b/reports/o?uploadType=resumable&name=a%2Fb&ifGenerationMatch=0";

fn sealer() -> Sealer {
    Sealer::new(&[7; 32], Catalog::embedded().expect("it loads")).expect("keys are derived")
}

fn caller(name: &str) -> Caller {
    Caller {
        identity: Identity::ServiceAccount {
            namespace: "agents".to_owned(),
            name: name.to_owned(),
        },
        issuer: "https://kubernetes.default.svc".to_owned(),
        session: "pod".to_owned(),
        pod: None,
    }
}

fn now() -> Timestamp {
    "2026-11-24T12:10:00Z".parse().expect("is a time")
}

fn target(verb: &str, url: &str) -> Target {
    Target::from_url(verb, url).expect("is canonical")
}

fn headers(pairs: &Pairs) -> HeaderMap {
    let pair = |(name, value): &(&'static str, &'static str)| {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    pairs.iter().map(pair).collect()
}

fn metadata(value: Value) -> Map<String, Value> {
    value.as_object().cloned().expect("an object")
}

fn opening(url: &str, given: &Pairs) -> Option<Opening> {
    let metadata = metadata(json!({"contentType": "text/plain"}));
    Opening::of(&target("POST", url), &headers(given), &["user-agent"], metadata)
}

fn sealed() -> String {
    let opening = opening(START, &[]).expect("it can be sealed");
    let url = sealer().promise(&caller("coder"), &opening, now());
    url.expect("it is sealed").to_str().expect("text").to_owned()
}

#[test]
fn an_upload_is_the_same_in_one_request() {
    let given = [
        ("content-type", "application/json"),
        ("user-agent", "gcloud"),
        ("x-upload-content-type", "image/png"),
        ("x-upload-content-length", "7"),
        ("x-goog-encryption-algorithm", "AES256"),
    ];
    let one = opening(START, &given).expect("it can be sealed").in_one();
    let one = one.expect("it is an upload");
    assert_eq!(
        (one.target.verb(), one.target.host(), one.target.path_and_query()),
        (
            "POST",
            "storage.googleapis.com",
            "/upload/storage/v1/b/reports/o?uploadType=multipart&name=a%2Fb&ifGenerationMatch=0".to_owned()
        )
    );
    assert_eq!(one.headers, headers(&[("x-goog-encryption-algorithm", "AES256")]));
    assert_eq!(one.metadata, metadata(json!({"contentType": "text/plain"})));
    assert_eq!(one.media_type, Some(HeaderValue::from_static("image/png")));
}

#[test]
fn what_cannot_be_made_one_request_is_not_sealed() {
    const LONG: &str = match std::str::from_utf8(&[b'x'; LONGEST]) {
        Ok(text) => text,
        Err(_) => "",
    };
    let base = "https://storage.googleapis.com/upload/storage/v1/b/reports/o";
    let url = |query: &str| format!("{base}?{query}");
    let cases: [(&str, String, &Pairs, bool); 9] = [
        ("as libraries do", url("uploadType=resumable&name=a"), &[], true),
        ("no kind", url("name=a"), &[], false),
        ("another kind", url("uploadType=media&name=a"), &[], false),
        ("another protocol", url("upload_protocol=resumable"), &[], false),
        (
            "two kinds",
            url("uploadType=resumable&upload_protocol=resumable"),
            &[],
            false,
        ),
        (
            "another name of the kind",
            url("%24uploadType=resumable"),
            &[],
            false,
        ),
        (
            "another protocol in the headers",
            url("uploadType=resumable"),
            &[("x-goog-upload-command", "start")],
            false,
        ),
        (
            "two types of the content",
            url("uploadType=resumable"),
            &[("x-upload-content-type", "a/b"), ("x-upload-content-type", "c/d")],
            false,
        ),
        (
            "too long",
            url("uploadType=resumable"),
            &[("x-goog-meta", LONG)],
            false,
        ),
    ];
    for (name, url, given, sealed) in cases {
        assert_eq!(opening(&url, given).is_some(), sealed, "{name}");
    }
}

#[test]
fn a_promise_is_of_one_agent_for_one_url_until_its_end() {
    let url = sealed();
    let (base, token) = url.split_once("?turnpike-upload=").expect("a token alone");
    assert_eq!(
        base,
        "https://storage.googleapis.com/resumable/upload/storage/v1/b/reports/o"
    );
    let found = sealer().open_promised(&caller("coder"), &target("PUT", &url), now());
    assert_eq!(found.expect("it opens"), opening(START, &[]));
    let week = SignedDuration::from_hours(7 * 24);
    let middle = token.len() / 2;
    let other = if token[middle..].starts_with('A') {
        "B"
    } else {
        "A"
    };
    let tampered = format!(
        "{base}?turnpike-upload={}{other}{}",
        &token[..middle],
        &token[middle + 1..]
    );
    let cases = [
        (
            "another agent",
            "other",
            "PUT",
            url.clone(),
            now(),
            "UPLOAD_SESSION_OF_ANOTHER_AGENT",
        ),
        (
            "after a week",
            "coder",
            "PUT",
            url.clone(),
            now() + week,
            "UPLOAD_SESSION_EXPIRED",
        ),
        (
            "another verb",
            "coder",
            "POST",
            url.clone(),
            now(),
            "UPLOAD_SESSION_OF_ANOTHER_TARGET",
        ),
        (
            "another bucket",
            "coder",
            "PUT",
            url.replace("/reports/", "/prod/"),
            now(),
            "UPLOAD_SESSION_OF_ANOTHER_TARGET",
        ),
        (
            "with more",
            "coder",
            "PUT",
            format!("{url}&name=c"),
            now(),
            "UPLOAD_SESSION_OF_ANOTHER_TARGET",
        ),
        (
            "altered",
            "coder",
            "PUT",
            tampered,
            now(),
            "UPLOAD_SESSION_TAMPERED",
        ),
        (
            "made up",
            "coder",
            "PUT",
            format!("{base}?turnpike-upload=abc"),
            now(),
            "UPLOAD_SESSION_NOT_OURS",
        ),
        (
            "spelled otherwise",
            "coder",
            "PUT",
            url.replace("turnpike-upload", "Turnpike-Upload"),
            now(),
            "UPLOAD_SESSION_OF_ANOTHER_TARGET",
        ),
    ];
    for (name, agent, verb, url, at, expected) in cases {
        let found = sealer().open_promised(&caller(agent), &target(verb, &url), at);
        let found = match found {
            Ok(Some(_)) => "opened",
            Ok(None) => "none of ours",
            Err(error) => error.reason(),
        };
        assert_eq!(found, expected, "{name}");
    }
    // It is no token of another kind, and none of those is one.
    let session = format!("{base}?uploadType=resumable&upload_id={token}");
    let found = sealer().open(&caller("coder"), &target("PUT", &session), now());
    assert_eq!(
        found.map(|_| ()).map_err(|e| e.reason()),
        Err("UPLOAD_SESSION_TAMPERED")
    );
    let signed = format!("{base}?turnpike-signed={token}");
    let found = sealer().open_signed(&caller("coder"), &target("PUT", &signed), now());
    assert_eq!(
        found.map(|_| ()).map_err(|e| e.reason()),
        Err("SIGNED_URL_TAMPERED")
    );
}
