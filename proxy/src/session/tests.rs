//! What is handed out opens for its agent only, for its own URL only, and only until its end.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderValue};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};
use smallvec::SmallVec;
use turnpike_policy::{
    call::Call,
    caller::{Caller, Identity},
    canonical::Target,
    catalog::Catalog,
};

use super::{OpenedSession, Sealer, SessionError};

const START: &str =
    "https://storage.googleapis.com/upload/storage/v1/b/reports/o?uploadType=resumable&name=big.bin";
const SESSION: &str = "https://storage.googleapis.com/upload/storage/v1/b/reports/o?uploadType=resumable&name=big.bin&upload_id=ABg5-real_id";
const GENERATE: &str =
    "https://cloudfunctions.googleapis.com/v2/projects/acme/locations/us/functions:generateUploadUrl";
const V4: &str = "https://storage.googleapis.com/gcf-v2-uploads/f/x.zip?X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Date=20261124T120000Z&X-Goog-Expires=1800&X-Goog-Signature=00ff";

fn catalog() -> &'static Catalog {
    Catalog::embedded().expect("the embedded catalogue loads")
}

fn sealer() -> Sealer {
    Sealer::new(&[7; 32], catalog()).expect("keys are derived")
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

fn later(hours: i64) -> Timestamp {
    now() + SignedDuration::from_hours(hours)
}

fn target(verb: &str, url: &str) -> Target {
    Target::from_url(verb, url).expect("is canonical")
}

fn calls(verb: &str, url: &str) -> SmallVec<[Call; 1]> {
    let found = catalog().classify(&target(verb, url)).expect("is a method");
    std::iter::once(found.call).chain(found.also).collect()
}

/// The URL that the agent coder gets for a session.
fn sealed_session() -> String {
    let url = sealer().seal_location(&caller("coder"), &calls("POST", START), None, SESSION, now());
    text(&url.expect("is sealed"))
}

fn text(value: &HeaderValue) -> String {
    value.to_str().expect("is text").to_owned()
}

fn open(agent: &str, verb: &str, url: &str, at: Timestamp) -> Result<Option<OpenedSession>, SessionError> {
    sealer().open(&caller(agent), &target(verb, url), at)
}

/// The URL that goes upstream, or the reason why none does.
fn upstream(agent: &str, verb: &str, url: &str, at: Timestamp) -> String {
    match open(agent, verb, url, at) {
        Ok(Some(opened)) => format!(
            "https://{}{}",
            opened.target.host(),
            opened.target.path_and_query()
        ),
        Ok(None) => "no session".to_owned(),
        Err(error) => error.reason().to_owned(),
    }
}

#[test]
fn the_agent_gets_a_url_of_the_same_shape_without_the_id() {
    let url = sealed_session();
    assert!(url.starts_with(
        "https://storage.googleapis.com/upload/storage/v1/b/reports/o?uploadType=resumable&name=big.bin&upload_id=tp1-"
    ));
    assert!(!url.contains("ABg5"), "{url}");
    assert_ne!(url, sealed_session(), "each is sealed under a nonce of its own");
}

#[test]
fn sessions_open_for_their_agent_and_url_and_nothing_else() {
    let url = sealed_session();
    let token = url.rsplit_once('=').expect("has a token").1.to_owned();
    let swapped = |base: &str| format!("{base}{token}");
    let cases = [
        ("as it was handed out", "coder", "PUT", url.clone(), 1, SESSION),
        (
            "asking how far it came, or ending it",
            "coder",
            "DELETE",
            url.clone(),
            1,
            SESSION,
        ),
        (
            "without what the URL repeats",
            "coder",
            "PUT",
            swapped("https://storage.googleapis.com/upload/storage/v1/b/reports/o?upload_id="),
            1,
            SESSION,
        ),
        (
            "another agent's",
            "other",
            "PUT",
            url.clone(),
            1,
            "UPLOAD_SESSION_OF_ANOTHER_AGENT",
        ),
        (
            "after a week",
            "coder",
            "PUT",
            url.clone(),
            7 * 24,
            "UPLOAD_SESSION_EXPIRED",
        ),
        (
            "a raw id of Google's",
            "coder",
            "PUT",
            SESSION.to_owned(),
            1,
            "UPLOAD_SESSION_NOT_OURS",
        ),
        (
            "on another bucket",
            "coder",
            "PUT",
            swapped("https://storage.googleapis.com/upload/storage/v1/b/prod/o?upload_id="),
            1,
            "UPLOAD_SESSION_OF_ANOTHER_TARGET",
        ),
        (
            "on another host",
            "coder",
            "PUT",
            swapped("https://www.googleapis.com/upload/storage/v1/b/reports/o?upload_id="),
            1,
            "UPLOAD_SESSION_OF_ANOTHER_TARGET",
        ),
        (
            "with another object's name",
            "coder",
            "PUT",
            swapped("https://storage.googleapis.com/upload/storage/v1/b/reports/o?name=prod.bin&upload_id="),
            1,
            "UPLOAD_SESSION_OF_ANOTHER_TARGET",
        ),
        (
            "with a parameter that it did not have",
            "coder",
            "PUT",
            format!("{url}&predefinedAcl=publicRead"),
            1,
            "UPLOAD_SESSION_OF_ANOTHER_TARGET",
        ),
        (
            "twice, once raw",
            "coder",
            "PUT",
            format!("{url}&upload_id=ABg5"),
            1,
            "UPLOAD_SESSION_NOT_OURS",
        ),
        (
            "spelled otherwise",
            "coder",
            "PUT",
            swapped("https://storage.googleapis.com/upload/storage/v1/b/reports/o?Upload_ID="),
            1,
            "UPLOAD_SESSION_NOT_OURS",
        ),
        (
            "an escaped name of the parameter, raw",
            "coder",
            "PUT",
            "https://storage.googleapis.com/upload/storage/v1/b/reports/o?upload%5Fid=ABg5".to_owned(),
            1,
            "UPLOAD_SESSION_NOT_OURS",
        ),
        (
            "cut short",
            "coder",
            "PUT",
            url[..url.len() - 8].to_owned(),
            1,
            "UPLOAD_SESSION_TAMPERED",
        ),
        (
            "no session at all",
            "coder",
            "POST",
            START.to_owned(),
            1,
            "no session",
        ),
    ];
    for (what, agent, verb, url, hours, expected) in cases {
        assert_eq!(upstream(agent, verb, &url, later(hours)), expected, "{what}");
    }
}

#[test]
fn what_one_replica_seals_another_opens_and_a_stranger_does_not() {
    let url = target("PUT", &sealed_session());
    let open = |material: &[u8]| {
        let sealer = Sealer::new(material, catalog()).expect("keys are derived");
        sealer
            .open(&caller("coder"), &url, now())
            .map(|opened| opened.is_some())
            .map_err(|error| error.reason())
    };
    assert_eq!(open(&[7; 32]), Ok(true));
    assert_eq!(open(&[8; 32]), Err("UPLOAD_SESSION_TAMPERED"));
}

#[test]
fn agents_of_the_same_name_elsewhere_are_others() {
    let oidc = |issuer: &str, claim: &str| Caller {
        identity: Identity::Oidc {
            issuer: issuer.to_owned(),
            subject: "coder".to_owned(),
            audiences: vec!["turnpike".to_owned()],
            claims: BTreeMap::from([("run".to_owned(), claim.to_owned())]),
        },
        ..caller("coder")
    };
    let sealer = sealer();
    let begun = calls("POST", START);
    let url = sealer.seal_location(&oidc("https://a.example", "1"), &begun, None, SESSION, now());
    let url = target("PUT", &text(&url.expect("is sealed")));
    let reason = |caller: &Caller| {
        sealer
            .open(caller, &url, now())
            .map(|_| ())
            .map_err(|e| e.reason())
    };
    assert_eq!(reason(&oidc("https://a.example", "2")), Ok(()));
    for other in [oidc("https://b.example", "1"), caller("coder")] {
        assert_eq!(reason(&other), Err("UPLOAD_SESSION_OF_ANOTHER_AGENT"));
    }
}

#[test]
fn a_part_is_the_call_that_the_upload_began_as() {
    // The metadata named the object, so Google's URL does not.
    let session = "https://storage.googleapis.com/upload/storage/v1/b/reports/o?upload_id=x";
    let begun = calls("POST", START);
    let url = sealer().seal_location(&caller("coder"), &begun, None, session, now());
    let url = text(&url.expect("is sealed"));
    let opened = open("coder", "PUT", &url, now())
        .expect("opens")
        .expect("is a session");
    assert_eq!(
        opened.resource(),
        Some("projects/_/buckets/reports/objects/big.bin")
    );
    let mut part = calls("PUT", session);
    opened.narrow(&mut part).expect("is the same call");
    assert_eq!(part, begun);
    let others = [
        "https://storage.googleapis.com/upload/storage/v1/b/reports/o?name=other&upload_id=x",
        "https://storage.googleapis.com/upload/storage/v1/b/report/o?upload_id=x",
        "https://www.googleapis.com/upload/drive/v3/files?upload_id=x",
    ];
    for other in others {
        let mut calls = calls("PUT", other);
        let error = opened.narrow(&mut calls).expect_err("is another call");
        assert_eq!(error.reason(), "UPLOAD_SESSION_OF_ANOTHER_TARGET", "{other}");
    }
}

#[test]
fn urls_that_are_not_of_the_call_are_not_handed_out() {
    let urls = [
        "https://storage.googleapis.com/upload/storage/v1/b/prod/o?upload_id=x",
        "https://storage.googleapis.com/upload/storage/v1/b/reports/o?name=other&upload_id=x",
        "https://storage.googleapis.com/upload/storage/v1/b/reports/o?name=big.bin",
        "https://storage.googleapis.com/upload/storage/v1/b/reports/o?upload_id=x&upload_id=y",
        "https://evil.example/upload/storage/v1/b/reports/o?upload_id=x",
        "/upload/storage/v1/b/reports/o?upload_id=x",
        "https://www.googleapis.com/upload/drive/v3/files?upload_id=x",
    ];
    for url in urls {
        let sealed = sealer().seal_location(&caller("coder"), &calls("POST", START), None, url, now());
        assert_eq!(
            sealed.map_err(|error| error.reason()),
            Err("UPLOAD_SESSION_UNSEALABLE"),
            "{url}"
        );
    }
}

#[test]
fn headers_of_answers() {
    let seal = |pairs: &[(&'static str, &str)]| {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_str(value).expect("is a value"));
        }
        let count = sealer().seal_headers(&caller("coder"), &calls("POST", START), None, &mut headers, now());
        count
            .map(|count| (count, headers))
            .map_err(|error| error.reason())
    };
    let (count, headers) = seal(&[
        ("location", SESSION),
        ("x-goog-upload-url", SESSION),
        ("x-goog-upload-control-url", SESSION),
        ("x-guploader-uploadid", "ABg5-real_id"),
        ("x-goog-upload-status", "active"),
    ])
    .expect("all are sealed");
    assert_eq!(count, 3);
    let names: Vec<_> = headers.keys().map(|n| n.as_str().to_owned()).collect();
    assert_eq!(headers.len(), 4, "{names:?}");
    for (name, value) in &headers {
        assert!(!text(value).contains("ABg5"), "{name}");
        if name != "x-goog-upload-status" {
            assert_eq!(upstream("coder", "PUT", &text(value), now()), SESSION, "{name}");
        }
    }
    let elsewhere = "https://storage.googleapis.com/storage/v1/b/reports/o/x";
    let (count, headers) = seal(&[("location", elsewhere)]).expect("is no session");
    assert_eq!((count, text(&headers["location"])), (0, elsewhere.to_owned()));
    let refused = [
        (
            "location",
            "https://evil.example/?upload_id=x",
            "UPLOAD_SESSION_UNSEALABLE",
        ),
        (
            "location",
            "https://storage.googleapis.com/x?upload%5fid=x",
            "UPLOAD_SESSION_UNSEALABLE",
        ),
        ("location", V4, "SIGNED_URL_UNSEALABLE"),
        ("x-goog-upload-url", elsewhere, "UPLOAD_SESSION_UNSEALABLE"),
    ];
    for (name, value, reason) in refused {
        assert_eq!(seal(&[(name, value)]).map(|_| ()), Err(reason), "{name}: {value}");
    }
}

#[test]
fn the_xml_api_hands_out_sessions_too() {
    let session = "https://reports.storage.googleapis.com/big.bin?upload_id=ABg5";
    let begun = calls("POST", "https://reports.storage.googleapis.com/big.bin");
    let url = sealer().seal_location(&caller("coder"), &begun, None, session, now());
    let url = text(&url.expect("is sealed"));
    assert_eq!(upstream("coder", "PUT", &url, now()), session);
    let other = url.replace("big.bin", "other.bin");
    assert_eq!(
        upstream("coder", "PUT", &other, now()),
        "UPLOAD_SESSION_OF_ANOTHER_TARGET"
    );
}

/// What the agent coder gets of an answer: masked as the plan for signed URLs does, then with its own URLs.
fn reissued(request: (&str, &str), answer: &Value) -> (usize, Value) {
    let sealed = sealer()
        .seal_signed_urls(
            &caller("coder"),
            &target(request.0, request.1),
            &calls(request.0, request.1),
            answer,
            now(),
        )
        .expect("is sealed");
    let mut masked = answer.clone();
    for pointer in ["/uploadUrl", "/response/upload_url"] {
        if let Some(value) = masked.pointer_mut(pointer) {
            *value = json!("[MASKED:signed-url]");
        }
    }
    let count = sealed.put(&mut masked);
    (count, masked)
}

fn sealed_upload_url() -> String {
    let (count, answer) = reissued(("POST", GENERATE), &json!({"uploadUrl": V4}));
    assert_eq!(count, 1);
    answer["uploadUrl"].as_str().expect("is text").to_owned()
}

#[test]
fn signed_urls_are_handed_out_as_ours() {
    let url = sealed_upload_url();
    assert!(url.starts_with("https://storage.googleapis.com/gcf-v2-uploads/f/x.zip?turnpike-signed=tp1-"));
    assert!(!url.contains("00ff"));
    // What another method answers, another field holds, or lies elsewhere, stays as the masker left it.
    let get = "https://cloudfunctions.googleapis.com/v2/projects/acme/locations/us/functions/f";
    let mask = json!({"uploadUrl": "[MASKED:signed-url]"});
    assert_eq!(
        reissued(("GET", get), &json!({"uploadUrl": V4})),
        (0, mask.clone())
    );
    for elsewhere in [
        "https://evil.example/x?X-Goog-Signature=00",
        "https://storage.googleapis.com/b/x",
        "not a URL",
    ] {
        assert_eq!(
            reissued(("POST", GENERATE), &json!({"uploadUrl": elsewhere})),
            (0, mask.clone())
        );
    }
    let (count, nested) = reissued(
        ("POST", GENERATE),
        &json!({"response": {"upload_url": V4}, "other": V4}),
    );
    assert_eq!((count, &nested["other"]), (1, &json!(V4)));
}

#[test]
fn what_a_policy_masks_for_its_own_reasons_stays_masked() {
    let answer = json!({"uploadUrl": V4});
    let request = target("POST", GENERATE);
    let sealed = sealer()
        .seal_signed_urls(
            &caller("coder"),
            &request,
            &calls("POST", GENERATE),
            &answer,
            now(),
        )
        .expect("is sealed");
    let mut masked = json!({"uploadUrl": "[MASKED:policy]"});
    assert_eq!(sealed.put(&mut masked), 0);
    assert_eq!(masked, json!({"uploadUrl": "[MASKED:policy]"}));
}

#[test]
fn signed_urls_open_for_their_agent_verb_and_url() {
    let url = sealed_upload_url();
    let token = url.rsplit_once('=').expect("has a token").1.to_owned();
    let soon = now() + SignedDuration::from_mins(19);
    let past = now() + SignedDuration::from_mins(20);
    let open = |agent: &str, verb: &str, url: &str, at: Timestamp| match sealer().open_signed(
        &caller(agent),
        &target(verb, url),
        at,
    ) {
        Ok(Some(opened)) => {
            assert_eq!(opened.calls, calls("POST", GENERATE));
            format!(
                "https://{}{}",
                opened.target.host(),
                opened.target.path_and_query()
            )
        }
        Ok(None) => "none".to_owned(),
        Err(error) => error.reason().to_owned(),
    };
    let elsewhere = format!("https://storage.googleapis.com/gcf-v2-uploads/f/y.zip?turnpike-signed={token}");
    let cases = [
        ("as it was handed out", "coder", "PUT", url.clone(), soon, V4),
        (
            "after its end, which V4 says",
            "coder",
            "PUT",
            url.clone(),
            past,
            "SIGNED_URL_EXPIRED",
        ),
        (
            "another agent's",
            "other",
            "PUT",
            url.clone(),
            soon,
            "SIGNED_URL_OF_ANOTHER_AGENT",
        ),
        (
            "another verb",
            "coder",
            "GET",
            url.clone(),
            soon,
            "SIGNED_URL_OF_ANOTHER_TARGET",
        ),
        (
            "another object",
            "coder",
            "PUT",
            elsewhere,
            soon,
            "SIGNED_URL_OF_ANOTHER_TARGET",
        ),
        (
            "with one parameter more",
            "coder",
            "PUT",
            format!("{url}&acl"),
            soon,
            "SIGNED_URL_OF_ANOTHER_TARGET",
        ),
        (
            "a session's token",
            "coder",
            "PUT",
            sealed_session()
                .replace("upload_id", "x")
                .replace("x=tp1", "turnpike-signed=tp1"),
            soon,
            "SIGNED_URL_OF_ANOTHER_TARGET",
        ),
        (
            "a session's token alone",
            "coder",
            "PUT",
            format!(
                "https://storage.googleapis.com/gcf-v2-uploads/f/x.zip?turnpike-signed={}",
                sealed_session().rsplit_once('=').expect("has a token").1
            ),
            soon,
            "SIGNED_URL_TAMPERED",
        ),
        ("Google's own", "coder", "PUT", V4.to_owned(), soon, "none"),
    ];
    for (what, agent, verb, url, at, expected) in cases {
        assert_eq!(open(agent, verb, &url, at), expected, "{what}");
    }
}

#[test]
fn a_request_that_names_a_handed_out_url_names_googles() {
    let create = "https://cloudfunctions.googleapis.com/v1/projects/acme/locations/us/functions";
    let restore = |agent: &str, url: &str| {
        let mut body = json!({"name": "f", "sourceUploadUrl": url});
        sealer()
            .restore_signed_urls(&caller(agent), &calls("POST", create), &mut body, now())
            .map(|count| (count, body["sourceUploadUrl"].clone()))
            .map_err(|error| error.reason())
    };
    let url = sealed_upload_url();
    assert_eq!(restore("coder", &url), Ok((1, json!(V4))));
    assert_eq!(
        restore("coder", "gs://mine/x.zip"),
        Ok((0, json!("gs://mine/x.zip")))
    );
    assert_eq!(restore("other", &url), Err("SIGNED_URL_OF_ANOTHER_AGENT"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// A token with one byte changed, whichever, never opens.
    #[test]
    fn a_token_that_was_tampered_with_never_opens(at in any::<prop::sample::Index>(), to in "[A-Za-z0-9_-]") {
        let url = sealed_session();
        let start = url.find("tp1-").expect("has a token");
        let at = start + at.index(url.len() - start);
        let mut changed = url.clone();
        changed.replace_range(at..=at, &to);
        prop_assume!(changed != url);
        prop_assert!(open("coder", "PUT", &changed, now()).is_err());
    }

    /// Another agent never opens one, whatever it is called.
    #[test]
    fn another_agent_never_opens_one(namespace in "[a-z0-9:,-]{1,12}", name in "[a-z0-9:,-]{1,12}") {
        let other = Caller {
            identity: Identity::ServiceAccount { namespace, name },
            ..caller("coder")
        };
        prop_assume!(other != caller("coder"));
        let url = target("PUT", &sealed_session());
        let error = sealer().open(&other, &url, now()).expect_err("is another's");
        prop_assert_eq!(error.reason(), "UPLOAD_SESSION_OF_ANOTHER_AGENT");
    }
}
