//! Uploads that are read as they arrive and written anew, and those that hide what they name.

use std::{collections::VecDeque, convert::Infallible};

use http_body_util::StreamBody;
use proptest::prelude::*;
use serde_json::json;

use super::*;

const TYPE: &str = "multipart/related; boundary=\"XX\"";

/// The body of an upload that arrives frame by frame.
fn arriving(frames: VecDeque<Bytes>) -> impl InFrames {
    let stream = futures::stream::iter(frames.into_iter().map(|f| Ok::<_, Infallible>(Frame::data(f))));
    StreamBody::new(stream)
}

trait InFrames: http_body::Body<Data = Bytes, Error = Infallible> + Unpin {}
impl<B: http_body::Body<Data = Bytes, Error = Infallible> + Unpin> InFrames for B {}

fn frames(body: &[u8], size: usize) -> VecDeque<Bytes> {
    body.chunks(size).map(Bytes::copy_from_slice).collect()
}

fn upload(metadata: &str, media: &str) -> String {
    format!(
        "--XX\r\nContent-Type: application/json\r\n\r\n{metadata}\r\n--XX\r\nContent-Type: text/plain\r\n\r\n\
         {media}\r\n--XX--\r\n"
    )
}

#[tokio::test]
async fn an_upload_is_rebuilt_as_it_arrives() {
    let body = upload(
        "{\"name\": \"a\\u002fb\",\n \"metadata\": {\"k\": [1, 2.5, null, true]}}",
        "media\r\nof --X it",
    );
    for size in [1, 2, 3, 7, 50, 1000] {
        let arriving = arriving(frames(body.as_bytes(), size));
        let related = Related::begin(TYPE, arriving).await.expect("it is one");
        let metadata = json!({"name": "a/b", "metadata": {"k": [1, 2.5, null, true]}});
        assert_eq!(serde_json::Value::Object(related.metadata.clone()), metadata);
        let (content_type, rebuilt) = related.rebuild().expect("it can be written");
        let sent = rebuilt.collect().await.expect("it is whole").to_bytes();
        let content_type = content_type.to_str().expect("text");
        let boundary = content_type.split_once('=').expect("a boundary").1;
        let expected = format!(
            "--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n\
             {{\"name\":\"a/b\",\"metadata\":{{\"k\":[1,2.5,null,true]}}}}\r\n--{boundary}\r\n\
             Content-Type: text/plain\r\n\r\nmedia\r\nof --X it\r\n--{boundary}--\r\n"
        );
        assert_eq!(String::from_utf8_lossy(&sent), expected, "in frames of {size}");
        // Read whole, it gets a boundary that follows from the content.
        let whole = WholeRelated::parse(content_type, &sent).expect("it reads as it was written");
        let first = WholeRelated::parse(TYPE, &Bytes::from(body.clone())).expect("it is one");
        assert_eq!(whole, first);
        assert_eq!(whole.rebuild(), first.rebuild());
    }
}

#[tokio::test]
async fn uploads_that_hide_what_they_name_are_refused() {
    let json = "--XX\r\nContent-Type: application/json\r\n\r\n";
    let media = "\r\n--XX\r\nContent-Type: text/plain\r\n\r\nm\r\n--XX--";
    let cases = [
        (
            "a name twice",
            upload("{\"name\": \"a\", \"name\": \"b\"}", "m"),
            "UPLOAD_METADATA_REPEATS",
        ),
        (
            "a name twice, once escaped",
            upload("{\"name\": \"a\", \"n\\u0061me\": \"b\"}", "m"),
            "UPLOAD_METADATA_REPEATS",
        ),
        (
            "a name twice, further down",
            upload("{\"a\": [{\"b\": 1, \"b\": 2}]}", "m"),
            "UPLOAD_METADATA_REPEATS",
        ),
        ("two objects", upload("{}{}", "m"), "UPLOAD_METADATA_NOT_JSON"),
        ("no object", upload("[]", "m"), "UPLOAD_METADATA_NOT_JSON"),
        ("a comment", upload("{} // x", "m"), "UPLOAD_METADATA_NOT_JSON"),
        (
            "a byte order mark",
            upload("\u{feff}{}", "m"),
            "UPLOAD_METADATA_NOT_JSON",
        ),
        ("nothing", upload("", "m"), "UPLOAD_METADATA_NOT_JSON"),
        (
            "too deep",
            upload(
                &format!("{{\"a\": {}1{}}}", "[".repeat(200), "]".repeat(200)),
                "m",
            ),
            "UPLOAD_METADATA_NOT_JSON",
        ),
        (
            "too large",
            upload(&format!("{{\"a\": \"{}\"}}", "x".repeat(MAX_METADATA)), "m"),
            "UPLOAD_METADATA_TOO_LARGE",
        ),
        (
            "no type",
            format!("--XX\r\n\r\n{{}}{media}"),
            "UPLOAD_METADATA_NOT_JSON",
        ),
        (
            "another type",
            format!("--XX\r\nContent-Type: application/xml\r\n\r\n{{}}{media}"),
            "UPLOAD_METADATA_NOT_JSON",
        ),
        (
            "another charset",
            format!("--XX\r\nContent-Type: application/json; charset=utf-7\r\n\r\n{{}}{media}"),
            "UPLOAD_METADATA_NOT_JSON",
        ),
        (
            "one part",
            format!("{json}{{}}\r\n--XX--"),
            "UPLOAD_NOT_TWO_PARTS",
        ),
        (
            "three parts",
            format!("{json}{{}}\r\n--XX\r\n\r\nm\r\n--XX\r\n\r\n{{}}\r\n--XX--"),
            "UPLOAD_NOT_TWO_PARTS",
        ),
        (
            "no end",
            format!("{json}{{}}\r\n--XX\r\n\r\nm"),
            "MULTIPART_UNFINISHED",
        ),
        (
            "more behind the end",
            format!("{json}{{}}{media}{media}"),
            "MULTIPART_EPILOGUE",
        ),
    ];
    for (name, body, reason) in cases {
        for size in [1024, body.len()] {
            let begun = Related::begin(TYPE, arriving(frames(body.as_bytes(), size))).await;
            let error = match begun {
                Err(error) => error,
                Ok(related) => {
                    let (content_type, rebuilt) = related.rebuild().expect("metadata can be written");
                    broken(content_type.to_str().expect("text"), rebuilt).await
                }
            };
            assert_eq!(error.reason(), reason, "{name}, in frames of {size}");
        }
        let whole = WholeRelated::parse(TYPE, &Bytes::from(body)).map_err(|e| match e {
            MultipartError::TooManyParts(_) => "UPLOAD_NOT_TWO_PARTS",
            other => other.reason(),
        });
        assert_eq!(whole.map(|_| ()), Err(reason), "{name}, whole");
    }
}

/// Reads a rebuilt upload that must break off; what came before must not be complete.
async fn broken<B>(content_type: &str, mut rebuilt: Rebuilt<Media<B>>) -> MultipartError
where
    B: InFrames,
{
    let mut sent = Vec::new();
    loop {
        match rebuilt.frame().await.expect("it does not end well") {
            Ok(frame) => sent.extend_from_slice(&frame.into_data().expect("only data")),
            Err(error) => {
                assert!(rebuilt.frame().await.is_none(), "nothing follows");
                let complete = WholeRelated::parse(content_type, &Bytes::from(sent));
                assert_eq!(complete, Err(MultipartError::Unfinished));
                return *error.downcast().expect("it is ours");
            }
        }
    }
}

#[tokio::test]
async fn media_is_never_held_back_but_for_what_may_be_a_delimiter() {
    let mut body = "--XX\r\nContent-Type: application/json\r\n\r\n{}\r\n--XX\r\n\r\n"
        .as_bytes()
        .to_vec();
    body.extend_from_slice(b"plain");
    let mut all = VecDeque::from([Bytes::from(body)]);
    all.extend([&b"text\r\n"[..], b"--X", b"y", b"\r\n--XX--"].map(Bytes::from_static));
    let related = Related::begin(TYPE, arriving(all)).await.expect("it is one");
    let mut media = related.media;
    let mut seen = Vec::new();
    while let Some(frame) = media.frame().await {
        seen.push(frame.expect("it is whole").into_data().expect("only data"));
    }
    assert_eq!(seen, ["plain", "text", "\r\n--Xy"]);
}

proptest! {
    #[test]
    fn what_is_rebuilt_reads_the_same(
        names in prop::collection::vec("[a-z\"\\\\\u{1}\u{e9}]{0,4}", 0..4),
        media in prop::collection::vec(any::<u8>(), 0..300),
        typed in any::<bool>(),
    ) {
        let upload = WholeRelated {
            metadata: names.into_iter().map(|n| (n.clone(), json!({"value": n}))).collect(),
            media_type: typed.then(|| http::HeaderValue::from_static("a/b; c=\"d\"")),
            media: Bytes::from(media),
        };
        let (content_type, body) = upload.rebuild().expect("it can be written");
        let content_type = content_type.to_str().expect("text");
        prop_assert_eq!(WholeRelated::parse(content_type, &body), Ok(upload));
    }
}
