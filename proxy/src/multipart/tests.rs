//! Bodies as real clients write them, and bodies that two readers would take apart differently.

use proptest::prelude::*;

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
}
