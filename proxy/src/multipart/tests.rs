//! Bodies as real clients write them, and bodies that two readers would take apart differently.

use std::{collections::VecDeque, convert::Infallible};

use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use proptest::prelude::*;
use serde_json::json;

use super::*;

const TYPE: &str = "multipart/related; boundary=\"XX\"";

fn read(content_type: &str, body: &str) -> Result<Vec<(String, String)>, &'static str> {
    let body = Bytes::copy_from_slice(body.as_bytes());
    let whole = parse(content_type, Kind::Related, &body, Limits::parts(3));
    let split = in_pieces(content_type, &body, 1);
    assert_eq!(whole, split, "byte by byte it must read the same");
    let parts = whole.map_err(|e| e.reason())?;
    Ok(parts
        .iter()
        .map(|p| {
            let media = p.headers.get("content-type").and_then(|v| v.to_str().ok());
            let body = String::from_utf8_lossy(&p.body).into_owned();
            (media.unwrap_or_default().to_owned(), body)
        })
        .collect())
}

/// Reads a body that arrives in pieces of the given size.
fn in_pieces(content_type: &str, body: &Bytes, size: usize) -> Result<Vec<Part>, MultipartError> {
    let boundary = Boundary::of(content_type, Kind::Related)?;
    let mut splitter = Splitter::new(boundary, Limits::parts(3));
    let mut parts: Vec<Part> = Vec::new();
    let mut ended = 0;
    for piece in body.chunks(size) {
        splitter.push(Bytes::copy_from_slice(piece));
        while let Some(event) = splitter.next()? {
            match event {
                Event::Part(headers) => parts.push(Part {
                    headers,
                    body: Bytes::new(),
                }),
                Event::Data(data) => {
                    let part = parts.last_mut().expect("a part is open");
                    part.body = joined(std::mem::take(&mut part.body), data);
                }
                Event::End => ended += 1,
            }
        }
    }
    splitter.finish()?;
    assert_eq!(ended, parts.len(), "every part ends");
    Ok(parts)
}

fn part(media: &str, body: &str) -> (String, String) {
    (media.to_owned(), body.to_owned())
}

#[test]
fn bodies_of_real_clients_are_read() {
    let expected = vec![
        part("application/json", "{\"name\": \"o\"}"),
        part("text/plain", "line\r\nline\n"),
    ];
    let crlf = |boundary: &str, last: &str| {
        format!(
            "--{boundary}\r\nContent-Type: application/json\r\n\r\n{{\"name\": \"o\"}}\r\n--{boundary}\r\n\
             content-type: text/plain\r\n\r\nline\r\nline\n\r\n--{boundary}--{last}"
        )
    };
    let gcloud = "--===============12==\nContent-Type: application/json\nMIME-Version: 1.0\n\n{\"name\": \"o\"}\n\
                  --===============12==\nContent-Type: text/plain\nMIME-Version: 1.0\n\
                  Content-Transfer-Encoding: binary\n\nline\r\nline\n\n--===============12==--";
    let cases = [
        (
            "python",
            "multipart/related; boundary=\"===============12==\"",
            crlf("===============12==", ""),
        ),
        ("node", "multipart/related; boundary=ab-cd", crlf("ab-cd", "")),
        (
            "java",
            "multipart/related; boundary=__END_OF_PART__1__",
            crlf("__END_OF_PART__1__", "\r\n"),
        ),
        (
            "a quoted boundary that holds its quotes",
            "Multipart/Related; boundary='XX'",
            crlf("'XX'", "\r\n"),
        ),
        (
            "gcloud",
            "multipart/related; boundary='===============12=='",
            gcloud.to_owned(),
        ),
        (
            "gcloud, with an end",
            "multipart/related;boundary='===============12=='",
            format!("{gcloud}\n"),
        ),
        (
            "another parameter",
            "multipart/related; type=\"application/json\"; boundary=XX",
            crlf("XX", " \t\r\n"),
        ),
    ];
    for (name, content_type, body) in cases {
        assert_eq!(read(content_type, &body), Ok(expected.clone()), "{name}");
    }
}

#[test]
fn content_may_hold_anything_but_the_delimiter() {
    for content in [
        "",
        "\r\n",
        "\r\n--",
        "\r\n--X",
        "\n--X\r\n-",
        "--",
        "\r",
        "\n",
        "XX",
        "-XX",
        "\r\n\r\n\r\n--\r\n",
    ] {
        let body = format!("--XX\r\n\r\n{content}\r\n--XX--");
        assert_eq!(read(TYPE, &body), Ok(vec![part("", content)]), "{content:?}");
    }
    // The carriage return is content where lines end without one.
    assert_eq!(read(TYPE, "--XX\n\na\r\n--XX--"), Ok(vec![part("", "a\r")]));
}

#[test]
fn content_types_with_two_readings_are_refused() {
    let cases = [
        ("no parameters", "multipart/related", "MULTIPART_NO_BOUNDARY"),
        (
            "another kind",
            "multipart/mixed; boundary=XX",
            "MULTIPART_CONTENT_TYPE",
        ),
        (
            "no multipart",
            "application/json; boundary=XX",
            "MULTIPART_CONTENT_TYPE",
        ),
        (
            "repeated boundary",
            "multipart/related; boundary=XX; boundary=YY",
            "MULTIPART_PARAMETERS",
        ),
        (
            "the same boundary repeated",
            "multipart/related; boundary=XX; Boundary=XX",
            "MULTIPART_PARAMETERS",
        ),
        (
            "extended boundary",
            "multipart/related; boundary=XX; boundary*=utf-8''YY",
            "MULTIPART_PARAMETERS",
        ),
        (
            "continued boundary",
            "multipart/related; boundary*0=X; boundary*1=X",
            "MULTIPART_PARAMETERS",
        ),
        (
            "space before the name's end",
            "multipart/related; boundary =XX",
            "MULTIPART_PARAMETERS",
        ),
        (
            "space before the value",
            "multipart/related; boundary= XX",
            "MULTIPART_PARAMETERS",
        ),
        (
            "escape in quotes",
            "multipart/related; boundary=\"X\\X\"",
            "MULTIPART_PARAMETERS",
        ),
        (
            "open quotes",
            "multipart/related; boundary=\"XX",
            "MULTIPART_PARAMETERS",
        ),
        (
            "more behind the quotes",
            "multipart/related; boundary=\"XX\"Y",
            "MULTIPART_PARAMETERS",
        ),
        (
            "open single quotes",
            "multipart/related; boundary='XX",
            "MULTIPART_PARAMETERS",
        ),
        (
            "more behind the single quotes",
            "multipart/related; boundary='XX'Y",
            "MULTIPART_PARAMETERS",
        ),
        (
            "a parameter in single quotes",
            "multipart/related; boundary='X;a=b'",
            "MULTIPART_PARAMETERS",
        ),
        (
            "single quote inside",
            "multipart/related; boundary=X'X",
            "MULTIPART_PARAMETERS",
        ),
        (
            "single quotes that are not a pair",
            "multipart/related; boundary=\"'XX\"",
            "MULTIPART_BOUNDARY",
        ),
        (
            "two pairs of single quotes",
            "multipart/related; boundary=\"''XX''\"",
            "MULTIPART_BOUNDARY",
        ),
        (
            "equals sign without quotes",
            "multipart/related; boundary=X=X",
            "MULTIPART_PARAMETERS",
        ),
        (
            "comma without quotes",
            "multipart/related; boundary=XX,YY",
            "MULTIPART_PARAMETERS",
        ),
        (
            "empty parameter",
            "multipart/related; boundary=XX;",
            "MULTIPART_PARAMETERS",
        ),
        (
            "empty boundary",
            "multipart/related; boundary=",
            "MULTIPART_PARAMETERS",
        ),
        (
            "empty quoted boundary",
            "multipart/related; boundary=\"\"",
            "MULTIPART_BOUNDARY",
        ),
        (
            "empty single quotes",
            "multipart/related; boundary=''",
            "MULTIPART_BOUNDARY",
        ),
        (
            "space inside",
            "multipart/related; boundary=\"X X\"",
            "MULTIPART_BOUNDARY",
        ),
        (
            "space at the end",
            "multipart/related; boundary=\"XX \"",
            "MULTIPART_BOUNDARY",
        ),
        (
            "only dashes",
            "multipart/related; boundary=--",
            "MULTIPART_BOUNDARY",
        ),
        (
            "too long",
            "multipart/related; boundary=a1234567890123456789012345678901234567890123456789012345678901234567890",
            "MULTIPART_BOUNDARY",
        ),
    ];
    for (name, content_type, reason) in cases {
        assert_eq!(
            read(content_type, "--XX\r\n\r\n\r\n--XX--"),
            Err(reason),
            "{name}"
        );
    }
}

#[test]
fn bodies_with_two_readings_are_refused() {
    const QUOTED: &str = "multipart/related; boundary='XX'";
    let cases = [
        ("nothing", TYPE, "", "MULTIPART_UNFINISHED"),
        (
            "preamble",
            TYPE,
            "hello\r\n--XX\r\n\r\na\r\n--XX--",
            "MULTIPART_PREAMBLE",
        ),
        (
            "empty line before",
            TYPE,
            "\r\n--XX\r\n\r\na\r\n--XX--",
            "MULTIPART_PREAMBLE",
        ),
        (
            "another boundary",
            TYPE,
            "--YY\r\n\r\na\r\n--YY--",
            "MULTIPART_PREAMBLE",
        ),
        (
            "a longer boundary",
            TYPE,
            "--XXX\r\n\r\na\r\n--XXX--",
            "MULTIPART_PREAMBLE",
        ),
        (
            "single quotes out of nowhere",
            TYPE,
            "--'XX'\r\n\r\na\r\n--'XX'--",
            "MULTIPART_PREAMBLE",
        ),
        (
            "padding on the first line",
            TYPE,
            "--XX \r\n\r\na\r\n--XX--",
            "MULTIPART_PREAMBLE",
        ),
        ("no parts", TYPE, "--XX--\r\n", "MULTIPART_NO_PARTS"),
        ("no parts, unquoted", QUOTED, "--XX--\r\n", "MULTIPART_NO_PARTS"),
        (
            "padding",
            TYPE,
            "--XX\r\n\r\na\r\n--XX \r\n\r\nb\r\n--XX--",
            "MULTIPART_STRAY_DELIMITER",
        ),
        (
            "longer delimiter",
            TYPE,
            "--XX\r\n\r\na\r\n--XXX\r\n\r\nb\r\n--XX--",
            "MULTIPART_STRAY_DELIMITER",
        ),
        (
            "delimiter in a line",
            TYPE,
            "--XX\r\n\r\na --XX\r\n\r\nb\r\n--XX--",
            "MULTIPART_STRAY_DELIMITER",
        ),
        (
            "delimiter behind a bare line feed",
            TYPE,
            "--XX\r\n\r\na\n--XX\r\n\r\nb\r\n--XX--",
            "MULTIPART_STRAY_DELIMITER",
        ),
        (
            "delimiter behind a bare return",
            TYPE,
            "--XX\r\n\r\na\r--XX\r\n\r\nb\r\n--XX--",
            "MULTIPART_STRAY_DELIMITER",
        ),
        (
            "delimiter without its own line",
            TYPE,
            "--XX\r\n\r\n--XX--",
            "MULTIPART_STRAY_DELIMITER",
        ),
        (
            "line feed behind the delimiter",
            TYPE,
            "--XX\r\n\r\na\r\n--XX\n\r\nb\r\n--XX--",
            "MULTIPART_STRAY_DELIMITER",
        ),
        (
            "line feed, then both",
            TYPE,
            "--XX\n\na\n--XX\r\n\r\nb\r\n--XX--",
            "MULTIPART_STRAY_DELIMITER",
        ),
        (
            "delimiter in headers",
            TYPE,
            "--XX\r\nA: b\r\n--XX\r\n\r\na\r\n--XX--",
            "MULTIPART_STRAY_DELIMITER",
        ),
        (
            "final delimiter in headers",
            TYPE,
            "--XX\r\nA: --XX--\r\n\r\na\r\n--XX--",
            "MULTIPART_STRAY_DELIMITER",
        ),
        (
            "both readings of the quotes",
            QUOTED,
            "--XX\r\n\r\na\r\n--'XX'\r\n\r\nb\r\n--XX--",
            "MULTIPART_TWO_BOUNDARIES",
        ),
        (
            "both the other way",
            QUOTED,
            "--'XX'\r\n\r\na\r\n--XX\r\n\r\nb\r\n--'XX'--",
            "MULTIPART_TWO_BOUNDARIES",
        ),
        (
            "the other reading in a line",
            QUOTED,
            "--XX\r\n\r\na --'XX'--\r\n--XX--",
            "MULTIPART_TWO_BOUNDARIES",
        ),
        (
            "the other reading in headers",
            QUOTED,
            "--XX\r\nA: --'XX'\r\n\r\na\r\n--XX--",
            "MULTIPART_STRAY_DELIMITER",
        ),
        (
            "no final delimiter",
            TYPE,
            "--XX\r\n\r\na",
            "MULTIPART_UNFINISHED",
        ),
        (
            "an open part",
            TYPE,
            "--XX\r\n\r\na\r\n--XX\r\n",
            "MULTIPART_UNFINISHED",
        ),
        (
            "half a final delimiter",
            TYPE,
            "--XX\r\n\r\na\r\n--XX-",
            "MULTIPART_UNFINISHED",
        ),
        (
            "epilogue",
            TYPE,
            "--XX\r\n\r\na\r\n--XX--\r\nmore",
            "MULTIPART_EPILOGUE",
        ),
        (
            "another body behind",
            TYPE,
            "--XX\r\n\r\na\r\n--XX--\r\n--XX\r\n\r\nb\r\n--XX--",
            "MULTIPART_EPILOGUE",
        ),
        (
            "dashes behind",
            TYPE,
            "--XX\r\n\r\na\r\n--XX---",
            "MULTIPART_EPILOGUE",
        ),
        (
            "too many parts",
            TYPE,
            "--XX\r\n\r\n\r\n--XX\r\n\r\n\r\n--XX\r\n\r\n\r\n--XX\r\n\r\n\r\n--XX--",
            "MULTIPART_TOO_MANY_PARTS",
        ),
        (
            "folded header",
            TYPE,
            "--XX\r\nContent-Type: a/b;\r\n c=d\r\n\r\na\r\n--XX--",
            "MULTIPART_HEADERS",
        ),
        (
            "header that begins with a space",
            TYPE,
            "--XX\r\n Content-Type: a/b\r\n\r\na\r\n--XX--",
            "MULTIPART_HEADERS",
        ),
        (
            "space before the colon",
            TYPE,
            "--XX\r\nContent-Type : a/b\r\n\r\na\r\n--XX--",
            "MULTIPART_HEADERS",
        ),
        (
            "no colon",
            TYPE,
            "--XX\r\nContent-Type\r\n\r\na\r\n--XX--",
            "MULTIPART_HEADERS",
        ),
        (
            "NUL in a header",
            TYPE,
            "--XX\r\nA: b\0c\r\n\r\na\r\n--XX--",
            "MULTIPART_HEADERS",
        ),
        (
            "bare line feed in headers",
            TYPE,
            "--XX\r\nA: b\nC: d\r\n\r\na\r\n--XX--",
            "MULTIPART_HEADERS",
        ),
        (
            "bare return in headers",
            TYPE,
            "--XX\r\nA: b\rC: d\r\n\r\na\r\n--XX--",
            "MULTIPART_HEADERS",
        ),
        (
            "return in headers of line feeds",
            TYPE,
            "--XX\nA: b\r\nC: d\n\na\n--XX--",
            "MULTIPART_HEADERS",
        ),
        (
            "beyond ASCII",
            TYPE,
            "--XX\r\nA: \u{e9}\r\n\r\na\r\n--XX--",
            "MULTIPART_HEADERS",
        ),
        (
            "headers without an end",
            TYPE,
            "--XX\r\nA: b\r\n--XX--",
            "MULTIPART_UNFINISHED",
        ),
        (
            "two types",
            TYPE,
            "--XX\r\nContent-Type: a/b\r\ncontent-type: a/b\r\n\r\na\r\n--XX--",
            "MULTIPART_REPEATED_HEADER",
        ),
        (
            "base64",
            TYPE,
            "--XX\r\nContent-Transfer-Encoding: base64\r\n\r\nYQ==\r\n--XX--",
            "MULTIPART_ENCODED_PART",
        ),
        (
            "quoted-printable",
            TYPE,
            "--XX\r\nContent-Transfer-Encoding: Quoted-Printable\r\n\r\na\r\n--XX--",
            "MULTIPART_ENCODED_PART",
        ),
        (
            "two transfer encodings",
            TYPE,
            "--XX\r\nContent-Transfer-Encoding: binary\r\nContent-Transfer-Encoding: base64\r\n\r\na\r\n--XX--",
            "MULTIPART_REPEATED_HEADER",
        ),
        (
            "content coding",
            TYPE,
            "--XX\r\nContent-Encoding: gzip\r\n\r\na\r\n--XX--",
            "MULTIPART_ENCODED_PART",
        ),
        (
            "chunked",
            TYPE,
            "--XX\r\nTransfer-Encoding: chunked\r\n\r\na\r\n--XX--",
            "MULTIPART_ENCODED_PART",
        ),
        (
            "nested",
            TYPE,
            "--XX\r\nContent-Type: Multipart/mixed; boundary=YY\r\n\r\na\r\n--XX--",
            "MULTIPART_NESTED",
        ),
        (
            "length too small",
            TYPE,
            "--XX\r\nContent-Length: 0\r\n\r\na\r\n--XX--",
            "MULTIPART_PART_LENGTH",
        ),
        (
            "length with a sign",
            TYPE,
            "--XX\r\nContent-Length: +1\r\n\r\na\r\n--XX--",
            "MULTIPART_PART_LENGTH",
        ),
        (
            "two lengths",
            TYPE,
            "--XX\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na\r\n--XX--",
            "MULTIPART_REPEATED_HEADER",
        ),
    ];
    for (name, content_type, body, reason) in cases {
        assert_eq!(read(content_type, body), Err(reason), "{name}");
    }
}

#[test]
fn headers_are_capped() {
    let with = |field: String| read(TYPE, &format!("--XX\r\n{field}\r\n\r\na\r\n--XX--")).map(|p| p.len());
    assert_eq!(with(format!("A: {}", "b".repeat(8000))), Ok(1));
    assert_eq!(
        with(format!("A: {}", "b".repeat(8192))),
        Err("MULTIPART_HEAD_TOO_LARGE")
    );
    assert_eq!(with(vec!["a: b"; 64].join("\r\n")), Ok(1));
    assert_eq!(with(vec!["a: b"; 65].join("\r\n")), Err("MULTIPART_HEADERS"));
}

#[test]
fn there_is_one_content_type() {
    let mut headers = HeaderMap::new();
    assert_eq!(content_type(&headers), Err(MultipartError::ContentType));
    headers.append("content-type", http::HeaderValue::from_static(TYPE));
    assert_eq!(content_type(&headers), Ok(TYPE));
    headers.append("content-type", http::HeaderValue::from_static(TYPE));
    assert_eq!(content_type(&headers), Err(MultipartError::ContentType));
}

/// The body of an upload that arrives frame by frame; the queue shows what was not asked for yet.
fn arriving(frames: VecDeque<Bytes>) -> impl Body0 {
    let stream = futures::stream::iter(frames.into_iter().map(|f| Ok::<_, Infallible>(Frame::data(f))));
    StreamBody::new(stream)
}

trait Body0: http_body::Body<Data = Bytes, Error = Infallible> + Unpin {}
impl<B: http_body::Body<Data = Bytes, Error = Infallible> + Unpin> Body0 for B {}

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
async fn broken<B>(content_type: &str, mut rebuilt: Rebuilt<B>) -> MultipartError
where
    B: Body0,
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
    fn no_body_makes_the_parser_panic(
        body in prop::collection::vec(prop::sample::select(b"-X'\r\n: aC{}\0\xff".to_vec()), 0..200),
        quoted in any::<bool>(),
        size in 1_usize..20,
    ) {
        let content_type = if quoted { "multipart/related; boundary='X'" } else { "multipart/related; boundary=X" };
        let starts = Bytes::from([b"--X\r\n\r\n", body.as_slice()].concat());
        for body in [Bytes::from(body), starts] {
            let whole = parse(content_type, Kind::Related, &body, Limits::parts(3));
            prop_assert_eq!(&whole, &in_pieces(content_type, &body, size));
        }
    }

    #[test]
    fn no_content_type_makes_the_parser_panic(value in "multipart/related; ?[a-z*]{0,3}boundary ?=['\"]?[X'\"=;\\- ]{0,8}['\"]?") {
        if let Ok(boundary) = Boundary::of(&value, Kind::Related) {
            prop_assert!(value.contains(&boundary.spelled));
        }
    }

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
