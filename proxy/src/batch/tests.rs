//! Batches as real clients write them, batches that hide a call, and answers that do not fit their batch.

use http::{HeaderMap, HeaderValue, Method};
use proptest::prelude::*;

use super::*;
use crate::{egress::Canonical, normalise::normalise};
use bytes::Bytes;

const HOST: &str = "storage.googleapis.com";
const TYPE: &str = "multipart/mixed; boundary=XX";

fn batch_target() -> Target {
    Target::new("POST", HOST, "/batch/storage/v1").expect("a target")
}

fn typed(content_type: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let value = HeaderValue::from_str(content_type).expect("a value");
    headers.insert("content-type", value);
    headers
}

fn read(content_type: &str, body: &str) -> Result<Vec<InnerRequest>, BatchError> {
    let body = Bytes::copy_from_slice(body.as_bytes());
    parse(&batch_target(), &typed(content_type), &body, Caps::GOOGLE)
}

/// What a call of a batch is, in short: its id, its first line, its headers by name, its body.
fn told(request: &InnerRequest) -> (Option<String>, String, String, String) {
    let text = |v: &HeaderValue| v.to_str().expect("text").to_owned();
    let mut headers: Vec<String> = request
        .parts
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", text(value)))
        .collect();
    headers.sort_unstable();
    (
        request.content_id.as_ref().map(text),
        format!("{} {}", request.parts.method, request.parts.uri),
        headers.join("\n"),
        String::from_utf8_lossy(&request.body).into_owned(),
    )
}

fn call(id: Option<&str>, line: &str, headers: &str, body: &str) -> (Option<String>, String, String, String) {
    (
        id.map(str::to_owned),
        line.to_owned(),
        headers.to_owned(),
        body.to_owned(),
    )
}

#[test]
fn batches_of_real_clients_are_read() {
    let python_storage = "--===============12==\nContent-Type: application/http\nMIME-Version: 1.0\n\n\
        DELETE https://storage.googleapis.com/storage/v1/b/b/o/a%2Fb?prettyPrint=false HTTP/1.1\n\
        Accept-Encoding: gzip\nUser-Agent: gcloud-python/3\n\n\n\
        --===============12==\nContent-Type: application/http\nMIME-Version: 1.0\n\n\
        PATCH https://storage.googleapis.com/storage/v1/b/b/o/c HTTP/1.1\nContent-Length: 22\n\
        Content-Type: application/json\n\n{\"contentType\": \"a/b\"}\n--===============12==--\n";
    let googleapiclient = "--===============12==\nContent-Type: application/http\nMIME-Version: 1.0\n\
        Content-Transfer-Encoding: binary\nContent-ID: <0b0f + 1>\n\n\
        GET /storage/v1/b?alt=json HTTP/1.1\nContent-Type: application/json\nMIME-Version: 1.0\n\
        authorization: Bearer inner\nHost: storage.googleapis.com\n\n\n\
        --===============12==\nContent-Type: application/http\nMIME-Version: 1.0\n\
        Content-Transfer-Encoding: binary\nContent-ID: <0b0f +\n a-long-id>\n\n\
        POST /storage/v1/b?alt=json HTTP/1.1\nContent-Type: application/json\nMIME-Version: 1.0\n\
        Host: storage.googleapis.com\ncontent-length: 8\n\n{\"a\": 1}\n--===============12==--";
    let java = "--__END_OF_PART__1__\r\nContent-Length: 42\r\nContent-Type: application/http\r\ncontent-id: 1\r\n\
        content-transfer-encoding: binary\r\n\r\nGET https://storage.googleapis.com/storage/v1/b HTTP/1.1\r\n\r\n\r\n\
        --__END_OF_PART__1__--\r\n"
        .replace("Content-Length: 42", &format!("Content-Length: {}", "GET https://storage.googleapis.com/storage/v1/b HTTP/1.1\r\n\r\n".len()));
    let documented = "--XX\r\nContent-Type: application/http\r\nContent-ID: <item1:1@example.com>\r\n\r\n\
        GET /storage/v1/b/b\r\n\r\n--XX\r\nContent-Type: application/http\r\n\r\n\
        PUT /storage/v1/b/b\r\nIf-Match: \"etag\"\r\nContent-Type: application/json\r\n\r\n{}\r\n\r\n--XX--";
    let host = "host: storage.googleapis.com";
    let cases = [
        (
            "python-storage",
            "multipart/mixed; boundary=\"===============12==\"",
            python_storage,
            [
                call(
                    None,
                    "DELETE https://storage.googleapis.com/storage/v1/b/b/o/a%2Fb?prettyPrint=false",
                    "accept-encoding: gzip\nhost: storage.googleapis.com\nuser-agent: gcloud-python/3",
                    "",
                ),
                call(
                    None,
                    "PATCH https://storage.googleapis.com/storage/v1/b/b/o/c",
                    "content-length: 22\ncontent-type: application/json\nhost: storage.googleapis.com",
                    "{\"contentType\": \"a/b\"}",
                ),
            ]
            .to_vec(),
        ),
        (
            "googleapiclient, whose long ids are folded and whose tokens are dropped",
            "multipart/mixed; boundary=\"===============12==\"",
            googleapiclient,
            [
                call(
                    Some("<0b0f + 1>"),
                    "GET /storage/v1/b?alt=json",
                    "content-type: application/json\nhost: storage.googleapis.com\nmime-version: 1.0",
                    "",
                ),
                call(
                    Some("<0b0f + a-long-id>"),
                    "POST /storage/v1/b?alt=json",
                    "content-length: 8\ncontent-type: application/json\nhost: storage.googleapis.com\nmime-version: 1.0",
                    "{\"a\": 1}",
                ),
            ]
            .to_vec(),
        ),
        (
            "java",
            "multipart/mixed; boundary=__END_OF_PART__1__",
            &java,
            [call(Some("1"), "GET https://storage.googleapis.com/storage/v1/b", host, "")].to_vec(),
        ),
        (
            "the documentation, without versions and empty lines",
            TYPE,
            documented,
            [
                call(Some("<item1:1@example.com>"), "GET /storage/v1/b/b", host, ""),
                call(
                    None,
                    "PUT /storage/v1/b/b",
                    "content-type: application/json\nhost: storage.googleapis.com\nif-match: \"etag\"",
                    "{}\r\n",
                ),
            ]
            .to_vec(),
        ),
    ];
    for (name, content_type, body, expected) in cases {
        let requests = read(content_type, body).map(|r| r.iter().map(told).collect::<Vec<_>>());
        assert_eq!(requests, Ok(expected), "{name}");
    }
}

/// A batch of one call.
fn of(inner: &str) -> String {
    format!("--XX\r\nContent-Type: application/http\r\n\r\n{inner}\r\n--XX--")
}

#[test]
fn calls_that_two_readers_would_take_for_different_ones_are_refused() {
    let post = |head: &str, body: &str| of(&format!("POST /storage/v1/b HTTP/1.1\r\n{head}\r\n\r\n{body}"));
    let get = |target: &str| of(&format!("GET {target} HTTP/1.1\r\n\r\n"));
    let cases = [
        (
            "no type",
            "--XX\r\n\r\nGET /a HTTP/1.1\r\n\r\n\r\n--XX--".to_owned(),
            "BATCH_PART_NOT_HTTP",
        ),
        (
            "another type",
            "--XX\r\nContent-Type: message/http\r\n\r\nGET /a HTTP/1.1\r\n\r\n--XX--".to_owned(),
            "BATCH_PART_NOT_HTTP",
        ),
        (
            "a batch of multipart",
            "--XX\r\nContent-Type: multipart/mixed; boundary=Y\r\n\r\n--Y--\r\n--XX--".to_owned(),
            "MULTIPART_NESTED",
        ),
        ("nothing", of(""), "BATCH_PART_FIRST_LINE"),
        (
            "an empty line first",
            of("\r\nGET /a HTTP/1.1\r\n\r\n"),
            "BATCH_PART_FIRST_LINE",
        ),
        (
            "a tab in the line",
            of("GET\t/a HTTP/1.1\r\n\r\n"),
            "BATCH_PART_FIRST_LINE",
        ),
        (
            "two spaces",
            of("GET  /a HTTP/1.1\r\n\r\n"),
            "BATCH_PART_FIRST_LINE",
        ),
        (
            "a space in the target",
            of("GET /a /b HTTP/1.1\r\n\r\n"),
            "BATCH_PART_FIRST_LINE",
        ),
        (
            "a space at the end",
            of("GET /a HTTP/1.1 \r\n\r\n"),
            "BATCH_PART_FIRST_LINE",
        ),
        ("HTTP/1.0", of("GET /a HTTP/1.0\r\n\r\n"), "BATCH_PART_FIRST_LINE"),
        ("HTTP/2", of("GET /a HTTP/2\r\n\r\n"), "BATCH_PART_FIRST_LINE"),
        (
            "a bare return in the line",
            of("GET /a\rGET /b HTTP/1.1\r\n\r\n"),
            "BATCH_PART_FIRST_LINE",
        ),
        (
            "beyond ASCII",
            of("GET /\u{e9} HTTP/1.1\r\n\r\n"),
            "BATCH_PART_FIRST_LINE",
        ),
        (
            "an answer",
            of("HTTP/1.1 200 OK\r\n\r\n"),
            "BATCH_PART_FIRST_LINE",
        ),
        (
            "CONNECT",
            of("CONNECT storage.googleapis.com:443 HTTP/1.1\r\n\r\n"),
            "BATCH_PART_VERB",
        ),
        (
            "a verb in lower case",
            of("delete /a HTTP/1.1\r\n\r\n"),
            "BATCH_PART_VERB",
        ),
        ("TRACE", of("TRACE /a HTTP/1.1\r\n\r\n"), "BATCH_PART_VERB"),
        ("no slash", get("storage/v1/b"), "BATCH_PART_TARGET"),
        ("a star", get("*"), "BATCH_PART_TARGET"),
        (
            "http",
            get("http://storage.googleapis.com/storage/v1/b"),
            "BATCH_PART_TARGET",
        ),
        ("a fragment", get("/storage/v1/b#c"), "BATCH_PART_TARGET"),
        (
            "another host",
            get("https://compute.googleapis.com/storage/v1/b"),
            "BATCH_PART_ANOTHER_HOST",
        ),
        (
            "another host in Host",
            of("GET /storage/v1/b HTTP/1.1\r\nHost: compute.googleapis.com\r\n\r\n"),
            "BATCH_PART_ANOTHER_HOST",
        ),
        (
            "two hosts",
            of(
                "GET /storage/v1/b HTTP/1.1\r\nHost: storage.googleapis.com\r\nHost: storage.googleapis.com\r\n\r\n",
            ),
            "BATCH_PART_REPEATED_HEADER",
        ),
        (
            "a user in the host",
            get("https://a@storage.googleapis.com/storage/v1/b"),
            "HOST_USERINFO",
        ),
        (
            "another port",
            get("https://storage.googleapis.com:444/storage/v1/b"),
            "PORT_NOT_443",
        ),
        ("dots", get("/storage/v1/b/../c"), "PATH_DOT_SEGMENT"),
        ("two slashes", get("//storage/v1/b"), "PATH_EMPTY_SEGMENT"),
        (
            "a batch",
            of("POST /batch/storage/v1 HTTP/1.1\r\n\r\n"),
            "BATCH_PART_IS_BATCH",
        ),
        (
            "a batch, escaped",
            of("POST /%62atch HTTP/1.1\r\n\r\n"),
            "BATCH_PART_IS_BATCH",
        ),
        (
            "an upload",
            of("POST /upload/storage/v1/b/b/o?name=a HTTP/1.1\r\n\r\nx"),
            "BATCH_PART_MEDIA",
        ),
        (
            "an upload, escaped",
            of("POST /%75pload/storage/v1/b/b/o HTTP/1.1\r\n\r\nx"),
            "BATCH_PART_MEDIA",
        ),
        (
            "a resumable upload",
            of("PUT /resumable/upload/storage/v1/b/b/o HTTP/1.1\r\n\r\nx"),
            "BATCH_PART_MEDIA",
        ),
        (
            "an upload by parameter",
            of("POST /storage/v1/b/b/o?uploadType=media HTTP/1.1\r\n\r\nx"),
            "BATCH_PART_MEDIA",
        ),
        (
            "an upload by id",
            of("PUT /storage/v1/b/b/o?%75pload_id=a HTTP/1.1\r\n\r\nx"),
            "BATCH_PART_MEDIA",
        ),
        (
            "an upload by protocol",
            of("POST /storage/v1/b/b/o?upload_protocol=raw HTTP/1.1\r\n\r\nx"),
            "BATCH_PART_MEDIA",
        ),
        (
            "a download",
            get("/storage/v1/b/b/o/c?alt=media"),
            "BATCH_PART_MEDIA",
        ),
        (
            "a download by path",
            get("/download/storage/v1/b/b/o/c"),
            "BATCH_PART_MEDIA",
        ),
        (
            "a GET with a body",
            of("GET /storage/v1/b HTTP/1.1\r\n\r\nGET /storage/v1/c HTTP/1.1\r\n\r\n"),
            "BATCH_PART_UNEXPECTED_BODY",
        ),
        (
            "two calls in a part",
            of("POST /a HTTP/1.1\r\nContent-Length: 0\r\n\r\nDELETE /b HTTP/1.1\r\n\r\n"),
            "BATCH_PART_LENGTH",
        ),
        (
            "a length too large",
            post("Content-Length: 3", "{}"),
            "BATCH_PART_LENGTH",
        ),
        (
            "a length too small",
            post("Content-Length: 1", "{}"),
            "BATCH_PART_LENGTH",
        ),
        (
            "a length with a sign",
            post("Content-Length: +2", "{}"),
            "BATCH_PART_LENGTH",
        ),
        (
            "a list of lengths",
            post("Content-Length: 2, 2", "{}"),
            "BATCH_PART_LENGTH",
        ),
        (
            "two lengths",
            post("Content-Length: 2\r\nContent-Length: 2", "{}"),
            "BATCH_PART_REPEATED_HEADER",
        ),
        (
            "two types",
            post("Content-Type: a/b\r\nContent-Type: c/d", "{}"),
            "BATCH_PART_REPEATED_HEADER",
        ),
        (
            "chunked",
            post("Transfer-Encoding: chunked", "2\r\n{}\r\n0\r\n\r\n"),
            "BATCH_PART_CODED",
        ),
        (
            "length and chunked",
            post("Content-Length: 2\r\nTransfer-Encoding: identity", "{}"),
            "BATCH_PART_CODED",
        ),
        (
            "compressed",
            post("Content-Encoding: gzip", "{}"),
            "BATCH_PART_CODED",
        ),
        ("a folded header", post("A: b\r\n c", "{}"), "BATCH_PART_HEADERS"),
        ("a header without a colon", post("A", "{}"), "BATCH_PART_HEADERS"),
        (
            "a space before the colon",
            post("Content-Length : 2", "{}"),
            "BATCH_PART_HEADERS",
        ),
        (
            "another line end in headers",
            post("A: b\nContent-Length: 0", "{}"),
            "BATCH_PART_HEADERS",
        ),
        (
            "another empty line in headers",
            post("A: b\n\n", "{}"),
            "BATCH_PART_HEADERS",
        ),
        ("NUL in a header", post("A: b\0", "{}"), "BATCH_PART_HEADERS"),
    ];
    for (name, body, reason) in cases {
        let reasons = read(TYPE, &body).map(|r| r.len()).map_err(|e| e.reason());
        assert_eq!(reasons, Err(reason), "{name}");
    }
}

#[test]
fn one_bad_call_is_named() {
    let good = "--XX\r\nContent-Type: application/http\r\n\r\nGET /storage/v1/b HTTP/1.1\r\n\r\n\r\n";
    let bad = "--XX\r\nContent-Type: application/http\r\n\r\nPOST /batch HTTP/1.1\r\n\r\n\r\n";
    let error = read(TYPE, &format!("{good}{bad}{good}--XX--")).map(|r| r.len());
    assert_eq!(error, Err(Malady::Batch.of(1)));
    assert_eq!(
        Malady::Batch.of(1).to_string(),
        "call 2 of the batch: it is a batch itself"
    );
}

#[test]
fn two_calls_have_two_ids() {
    let part = "--XX\r\nContent-Type: application/http\r\nContent-ID: a\r\n\r\nGET /storage/v1/b HTTP/1.1\r\n\r\n\r\n";
    let error = read(TYPE, &format!("{part}{part}--XX--")).map(|r| r.len());
    assert_eq!(error, Err(Malady::RepeatedId.of(1)));
}

#[test]
fn batches_are_capped() {
    let of = |calls: usize| {
        let part = "--XX\r\nContent-Type: application/http\r\n\r\nGET /storage/v1/b HTTP/1.1\r\n\r\n\r\n";
        let body = part.repeat(calls) + "--XX--";
        read(TYPE, &body).map(|r| r.len())
    };
    assert_eq!(of(1), Ok(1));
    assert_eq!(of(100), Ok(100));
    assert_eq!(of(101), Err(BatchError::TooManyCalls(100)));
    let large = Bytes::from(vec![b' '; Caps::GOOGLE.bytes + 1]);
    let error = parse(&batch_target(), &typed(TYPE), &large, Caps::GOOGLE).map(|r| r.len());
    assert_eq!(error, Err(BatchError::TooLarge(Caps::GOOGLE.bytes)));
}

#[test]
fn a_batch_is_posted_to_one_of_two_paths() {
    let cases = [
        ("POST", "/batch", Ok(1)),
        ("POST", "/batch/storage/v1", Ok(1)),
        ("POST", "/%62atch/storage/v1", Ok(1)),
        ("POST", "/batch/storage", Err(BatchError::Path)),
        ("POST", "/batch/storage/v1/b", Err(BatchError::Path)),
        ("POST", "/storage/v1/b", Err(BatchError::Path)),
        ("PUT", "/batch", Err(BatchError::Verb)),
        ("POST", "/batch?fields=a", Err(BatchError::Query)),
    ];
    let body = Bytes::from(of("GET /storage/v1/b HTTP/1.1\r\n\r\n"));
    for (verb, path, expected) in cases {
        let target = Target::new(verb, HOST, path).expect("a target");
        let read = parse(&target, &typed(TYPE), &body, Caps::GOOGLE).map(|r| r.len());
        assert_eq!(read, expected, "{verb} {path}");
    }
    let target = Target::new("POST", HOST, "/batch/storage/v1").expect("a target");
    assert_eq!(api(&target), Ok(Some(("storage", "v1"))));
    let target = Target::new("POST", HOST, "/batch").expect("a target");
    assert_eq!(api(&target), Ok(None));
}

fn canonical(requests: &[InnerRequest]) -> Vec<Canonical> {
    let normalised = requests.iter().map(|r| normalise(&r.parts, HOST));
    normalised.map(|c| c.expect("it is canonical")).collect()
}

fn written(requests: &[InnerRequest]) -> (String, Bytes) {
    let canonical = canonical(requests);
    let both: Vec<_> = canonical.iter().zip(requests.iter().map(|r| &r.body)).collect();
    let (content_type, body) = rebuild(&both).expect("it can be written");
    (content_type.to_str().expect("text").to_owned(), body)
}

#[test]
fn a_batch_is_written_anew_in_one_form() {
    let body = "--XX\nContent-Type: application/http\nContent-ID: <theirs>\n\n\
        DELETE https://storage.googleapis.com/storage/v1/b/%62/o/a%2Fb?key=secret HTTP/1.1\n\
        User-Agent: u\nAuthorization: Bearer inner\nX-Goog-User-Project: theirs\nCookie: a=b\n\
        Accept-Encoding: gzip\nx-unknown: y\nConnection: if-match\nIf-Match: *\n\n\n\
        --XX\nContent-Type: application/http; msgtype=request\n\n\
        PATCH /storage/v1/b/b\nContent-Type: application/json\n\n{\"a\":\r\n1}\n--XX--";
    let requests = read(TYPE, body).expect("it is a batch");
    let (content_type, sent) = written(&requests);
    let boundary = content_type.split_once('=').expect("a boundary").1;
    let expected = format!(
        "--{boundary}\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\
         Content-ID: <turnpike+0>\r\n\r\nDELETE /storage/v1/b/b/o/a%2Fb HTTP/1.1\r\nuser-agent: u\r\n\r\n\r\n\
         --{boundary}\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\
         Content-ID: <turnpike+1>\r\n\r\nPATCH /storage/v1/b/b HTTP/1.1\r\ncontent-type: application/json\r\n\
         content-length: 9\r\n\r\n{{\"a\":\r\n1}}\r\n--{boundary}--\r\n"
    );
    assert_eq!(String::from_utf8_lossy(&sent), expected);
    // The same calls make the same bytes, and what was written reads as what it was.
    assert_eq!(written(&requests), (content_type.clone(), sent.clone()));
    let again = parse(&batch_target(), &typed(&content_type), &sent, Caps::GOOGLE).expect("it is a batch");
    assert_eq!(written(&again), (content_type, sent));
}

const ANSWER: &str = "--batch_a-b_c\r\nContent-Type: application/http\r\nContent-ID: <response-turnpike+1>\r\n\r\n\
    HTTP/1.1 404 Not Found\r\nVary: Origin\r\nContent-Type: application/json; charset=UTF-8\r\n\
    Content-Length: 5\r\n\r\n{\"\":0}\r\n--batch_a-b_c\r\nContent-Type: application/http\r\n\
    Content-ID: <response-turnpike+0>\r\n\r\nHTTP/1.1 204 No Content\r\nETag: \"e\"\r\nSet-Cookie: a=b\r\n\r\n\r\n\
    --batch_a-b_c--\r\n";
const ANSWER_TYPE: &str = "multipart/mixed; boundary=batch_a-b_c";

fn answer(text: &str, calls: usize) -> Result<Vec<InnerAnswer>, BatchError> {
    parse_answer(ANSWER_TYPE, &Bytes::copy_from_slice(text.as_bytes()), calls)
}

#[test]
fn answers_find_their_calls_and_go_back_in_order() {
    let text = ANSWER
        .replace("{\"\":0}", "{\"\":0}\r\n")
        .replace("Length: 5", "Length: 6");
    let mut answers = answer(&text, 2).expect("it is an answer");
    let found: Vec<_> = answers
        .iter()
        .map(|a| (a.index, a.status.as_u16(), a.body.as_ref()))
        .collect();
    assert_eq!(found, [(0, 204, &b""[..]), (1, 404, b"{\"\":0}")]);
    for a in answers.iter_mut().filter(|a| a.index == 1) {
        a.body = Bytes::from_static(b"masked");
    }
    let ids = [
        Some(HeaderValue::from_static("<0b0f + a b>")),
        Some(HeaderValue::from_static("1")),
    ];
    let (content_type, body) = rebuild_answer(&answers, &ids).expect("it can be written");
    let boundary = content_type
        .to_str()
        .expect("text")
        .split_once('=')
        .expect("a boundary")
        .1;
    let expected = format!(
        "--{boundary}\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\
         Content-ID: <response-0b0f + a b>\r\n\r\nHTTP/1.1 204 No Content\r\netag: \"e\"\r\n\r\n\r\n\
         --{boundary}\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\
         Content-ID: response-1\r\n\r\nHTTP/1.1 404 Not Found\r\ncontent-type: application/json; charset=UTF-8\r\n\
         vary: Origin\r\ncontent-length: 6\r\n\r\nmasked\r\n--{boundary}--\r\n"
    );
    assert_eq!(String::from_utf8_lossy(&body), expected);
    // Where the agent gave no ids, it finds its calls by their order.
    let (_, body) = rebuild_answer(&answers, &[None, None]).expect("it can be written");
    assert!(!String::from_utf8_lossy(&body).contains("Content-ID"));
    let short = rebuild_answer(&answers[..1], &ids).map(|_| ());
    assert_eq!(short, Err(BatchError::AnswerMissing(1)));
    assert_eq!(
        rebuild_answer(&answers, &[None]).map(|_| ()),
        Err(BatchError::AnswerUnknown)
    );
}

#[test]
fn answers_that_do_not_fit_are_refused() {
    let good = ANSWER.replace("Length: 5", "Length: 6");
    assert_eq!(answer(&good, 2).map(|a| a.len()), Ok(2));
    let cases = [
        ("one too many", good.clone(), 1, "BATCH_ANSWER_UNKNOWN"),
        ("one missing", good.clone(), 3, "BATCH_ANSWER_MISSING"),
        (
            "twice the same",
            good.replace("turnpike+1", "turnpike+0"),
            2,
            "BATCH_ANSWER_REPEATED",
        ),
        (
            "another id",
            good.replace("turnpike+1", "turnpike+2"),
            2,
            "BATCH_ANSWER_UNKNOWN",
        ),
        (
            "a longer number",
            good.replace("turnpike+1", "turnpike+01"),
            2,
            "BATCH_ANSWER_UNKNOWN",
        ),
        (
            "no brackets",
            good.replace("<response-turnpike+1>", "response-turnpike+1"),
            2,
            "BATCH_ANSWER_UNKNOWN",
        ),
        (
            "no id",
            good.replace("Content-ID: <response-turnpike+1>\r\n", ""),
            2,
            "BATCH_ANSWER_UNKNOWN",
        ),
        ("a wrong length", ANSWER.to_owned(), 2, "BATCH_PART_LENGTH"),
        (
            "no status",
            good.replace("404 Not Found", "Not Found"),
            2,
            "BATCH_PART_FIRST_LINE",
        ),
        (
            "an interim status",
            good.replace("404 Not Found", "100 Continue"),
            2,
            "BATCH_PART_FIRST_LINE",
        ),
        (
            "a request",
            good.replace("HTTP/1.1 404 Not Found", "GET / HTTP/1.1"),
            2,
            "BATCH_PART_FIRST_LINE",
        ),
        (
            "chunked",
            good.replace("Vary: Origin", "Transfer-Encoding: chunked"),
            2,
            "BATCH_PART_CODED",
        ),
        (
            "compressed",
            good.replace("Vary: Origin", "Content-Encoding: gzip"),
            2,
            "BATCH_PART_CODED",
        ),
        (
            "another type",
            good.replacen("application/http", "text/html", 1),
            2,
            "BATCH_PART_NOT_HTTP",
        ),
        (
            "cut off",
            good.replace("--batch_a-b_c--\r\n", ""),
            2,
            "MULTIPART_UNFINISHED",
        ),
    ];
    for (name, text, calls, reason) in cases {
        assert_eq!(
            answer(&text, calls).map(|a| a.len()).map_err(|e| e.reason()),
            Err(reason),
            "{name}"
        );
    }
}

proptest! {
    #[test]
    fn no_batch_makes_the_parser_panic(inner in "(GET|POST|DELETE)? ?(/|https://)?[a-z%/?&=:# ]{0,12}( HTTP/1.1)?[\r\n :A-Ca0-9-]{0,40}") {
        // A part that reads is written so that it reads the same again.
        if let Ok(requests) = read(TYPE, &of(&inner)) {
            let all = requests.iter().map(|r| normalise(&r.parts, HOST)).collect::<Result<Vec<_>, _>>();
            if all.is_ok() {
                let (content_type, sent) = written(&requests);
                let again = parse(&batch_target(), &typed(&content_type), &sent, Caps::GOOGLE);
                prop_assert_eq!(written(&again.expect("it is a batch")), (content_type, sent));
            }
        }
    }

    #[test]
    fn no_answer_makes_the_parser_panic(inner in "(HTTP/1.1 [0-9]{1,3} ?)?[\r\n :A-Ca0-9-]{0,40}") {
        let text = format!(
            "--batch_a-b_c\r\nContent-Type: application/http\r\nContent-ID: <response-turnpike+0>\r\n\r\n{inner}\r\n--batch_a-b_c--"
        );
        if let Ok(answers) = answer(&text, 1) {
            let ids = [Some(HeaderValue::from_static("<turnpike+0>"))];
            let (content_type, body) = rebuild_answer(&answers, &ids).expect("it can be written");
            let again = parse_answer(content_type.to_str().expect("text"), &body, 1).expect("it is an answer");
            let told = |a: &[InnerAnswer]| a.iter().map(|a| (a.status, a.body.clone())).collect::<Vec<_>>();
            prop_assert_eq!(told(&again), told(&answers));
        }
    }

    #[test]
    fn what_is_written_reads_the_same(
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 1..5),
    ) {
        let requests: Vec<InnerRequest> = bodies.into_iter().map(|body| {
            let request = http::Request::builder()
                .method(Method::POST)
                .uri("/storage/v1/b")
                .header("host", HOST)
                .header("content-type", "application/json");
            let (parts, ()) = request.body(()).expect("a request").into_parts();
            InnerRequest { content_id: None, parts, body: Bytes::from(body) }
        }).collect();
        let (content_type, sent) = written(&requests);
        let again = parse(&batch_target(), &typed(&content_type), &sent, Caps::GOOGLE).expect("it is a batch");
        let bodies = |r: &[InnerRequest]| r.iter().map(|r| r.body.clone()).collect::<Vec<_>>();
        prop_assert_eq!(bodies(&again), bodies(&requests));
    }
}
