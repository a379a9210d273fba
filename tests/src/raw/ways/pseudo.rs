//! Fields of HTTP/2 that say two things, or that HTTP/1 would read otherwise.

use super::{
    super::{Attempt, How},
    Case, Speaker,
};

type Fields = Vec<(String, String)>;

pub(super) fn ways(case: &Case, speaker: Speaker<'_>) -> Vec<Attempt> {
    let (host, path, verb) = (case.host.as_str(), case.path.as_str(), case.verb);
    let sibling = case.sibling.as_str();
    let base = || speaker.fields("GET", sibling, host);
    let with = |more: &[(&str, &str)]| {
        let mut fields = base();
        fields.extend(more.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())));
        fields
    };
    // The harmful method itself, with more.
    let harmful = |more: &[(&str, &str)]| {
        let mut fields = speaker.fields(verb, path, host);
        fields.extend(more.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())));
        fields
    };
    let first = |more: &[(&str, &str)]| {
        let mut fields: Fields = more
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect();
        fields.extend(base());
        fields
    };
    let set = |name: &str, value: &str| {
        let mut fields = speaker.fields(verb, path, host);
        for field in fields.iter_mut().filter(|(n, _)| n == name) {
            value.clone_into(&mut field.1);
        }
        fields
    };
    let without = |name: &str| {
        let mut fields = speaker.fields(verb, path, host);
        fields.retain(|(n, _)| n != name);
        fields
    };
    let inner = String::from_utf8_lossy(&speaker.request(verb, path, host, "", "")).into_owned();
    let other = "www.googleapis.com";
    let injected = format!("{sibling} HTTP/1.1\r\nhost: {host}\r\n\r\n{verb} {path}");
    let value = format!("a\r\nx-http-method-override: {verb}\r\nx-rewrite-url: {path}");
    let fields: Vec<(&'static str, Fields)> = vec![
        (":path twice, the harmful one last", with(&[(":path", path)])),
        (":path twice, the harmful one first", first(&[(":path", path)])),
        (
            ":method twice, the harmful one last",
            with(&[(":method", verb), (":path", path)]),
        ),
        (
            ":method twice, the harmful one first",
            first(&[(":method", verb), (":path", path)]),
        ),
        (":authority twice", harmful(&[(":authority", other)])),
        (":authority of another host", set(":authority", other)),
        (
            ":authority with a user",
            set(":authority", &format!("{other}@{host}")),
        ),
        (
            ":authority with a port",
            set(":authority", &format!("{host}:443")),
        ),
        (
            ":authority with another port",
            set(":authority", &format!("{host}:80")),
        ),
        (
            ":authority with a full stop",
            set(":authority", &format!("{host}.")),
        ),
        (
            ":authority in upper case",
            set(":authority", &host.to_ascii_uppercase()),
        ),
        ("host of another host", harmful(&[("host", other)])),
        ("no :authority and a host", {
            let mut f = without(":authority");
            f.push(("host".into(), host.into()));
            f
        }),
        ("no :authority", without(":authority")),
        ("no :path", without(":path")),
        ("no :method", without(":method")),
        ("no :scheme", without(":scheme")),
        (":scheme http", set(":scheme", "http")),
        ("an empty :path", set(":path", "")),
        (":path without a slash", set(":path", &path[1..])),
        (":path as a URL", set(":path", &format!("https://{host}{path}"))),
        (
            ":path with an authority",
            set(":path", &format!("//{host}{path}")),
        ),
        (":path with an asterisk", set(":path", "*")),
        (":path with a fragment", set(":path", &format!("{path}#x"))),
        (":path with a line end", set(":path", &injected)),
        (
            ":path with a space",
            set(":path", &format!("{sibling} {verb} {path}")),
        ),
        (":path with NUL", set(":path", &format!("{path}\0"))),
        (":path with a tab", set(":path", &format!("{path}\t"))),
        (":method CONNECT", set(":method", "CONNECT")),
        (
            ":method CONNECT as it should be",
            vec![
                (":method".into(), "CONNECT".into()),
                (":authority".into(), format!("{host}:443")),
            ],
        ),
        (
            ":method in lower case",
            set(":method", &verb.to_ascii_lowercase()),
        ),
        (
            ":method with a line end",
            set(":method", &format!("GET {sibling} HTTP/1.1\r\n\r\n{verb}")),
        ),
        (":protocol", {
            let mut f = first(&[(":protocol", "websocket")]);
            f.iter_mut()
                .filter(|(n, _)| n == ":method")
                .for_each(|(_, v)| *v = "CONNECT".into());
            f
        }),
        (":status", harmful(&[(":status", "200")])),
        (
            "an unknown pseudo-header",
            first(&[(":x-rewrite-url", path), (":x-http-method", verb)]),
        ),
        ("a pseudo-header behind a header", {
            let mut f = without(":path");
            f.push((":path".into(), path.into()));
            f
        }),
        (
            "a name in upper case",
            with(&[("X-HTTP-METHOD-OVERRIDE", verb), ("X-REWRITE-URL", path)]),
        ),
        (
            "an override",
            with(&[("x-http-method-override", verb), ("x-rewrite-url", path)]),
        ),
        (
            "a name with a space",
            with(&[("x-http-method-override ", verb), ("x-rewrite-url ", path)]),
        ),
        (
            "a name with a colon",
            with(&[(
                &format!("x-a: b\r\nx-rewrite-url: {path}\r\nx-http-method-override"),
                verb,
            )]),
        ),
        ("an empty name", harmful(&[("", "x")])),
        ("a value with a line end", with(&[("x-goog-a", &value)])),
        ("a value with LF", with(&[("x-goog-a", &value.replace('\r', ""))])),
        ("a value with CR", with(&[("x-goog-a", &value.replace('\n', ""))])),
        ("a value with NUL", harmful(&[("x-goog-a", "a\0b")])),
        (
            "a value with a space before it",
            harmful(&[("x-goog-a", " \t a")]),
        ),
        ("transfer-encoding", harmful(&[("transfer-encoding", "chunked")])),
        ("connection", harmful(&[("connection", "x-goog-a, close")])),
        ("keep-alive", harmful(&[("keep-alive", "timeout=9")])),
        (
            "upgrade",
            harmful(&[("upgrade", "h2c"), ("http2-settings", "AAMAAABk")]),
        ),
        ("te", harmful(&[("te", "chunked")])),
        ("proxy-connection", harmful(&[("proxy-connection", "keep-alive")])),
        (
            "two lengths",
            with(&[("content-length", "0"), ("content-length", "9")]),
        ),
    ];
    let stream = |way, fields, body: Option<&str>, trailers: Fields| Attempt {
        way,
        how: How::Stream {
            host: case.host.clone(),
            fields,
            body: body.map(|b| b.as_bytes().to_vec()),
            trailers,
        },
    };
    let mut found: Vec<Attempt> = fields
        .into_iter()
        .map(|(way, fields)| stream(way, fields, None, Vec::new()))
        .collect();
    found.push(stream(
        "a length shorter than DATA",
        with(&[("content-length", "0")]),
        Some(&inner),
        Vec::new(),
    ));
    found.push(stream(
        "a length longer than DATA",
        with(&[("content-length", "9999")]),
        Some(&inner),
        Vec::new(),
    ));
    found.push(stream(
        "transfer-encoding with DATA",
        with(&[("transfer-encoding", "chunked")]),
        Some(&format!("0\r\n\r\n{inner}")),
        Vec::new(),
    ));
    found.push(stream("DATA without a length", base(), Some(&inner), Vec::new()));
    let trailers: &[&[(&str, &str)]] = &[
        &[("x-http-method-override", verb), ("x-rewrite-url", path)],
        &[(":path", path), (":method", verb)],
        &[("content-length", "9"), ("transfer-encoding", "chunked")],
    ];
    for fields in trailers {
        let fields = fields
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect();
        found.push(stream("trailers", base(), Some("{}"), fields));
    }
    found
}
