//! Ways round the gate by the fields of HTTP/2: pseudo-headers twice, late, empty or unheard of, and names and values
//! that HTTP/1 would read as something else. A stream is answered or reset; nothing of it is passed on in doubt.

use anyhow::{Result, ensure};
use turnpike_tests::{
    bypass::{Bench, How, Row},
    turnpike::standalone::client::{Protocol, whole},
};

const STORAGE: &str = "storage.googleapis.com";
const SECRETS: &str = "secretmanager.googleapis.com";
const BUCKET: &str = "/storage/v1/b/acme-dev-data";
const ALLOWED: &[&str] =
    &["{name: read, effect: Allow, methods: [storage.buckets.get, storage.buckets.patch]}"];
const GET: &str = "GET storage.googleapis.com /storage/v1/b/acme-dev-data";

type Fields = Vec<(String, String)>;

/// Fields with one more at a place.
fn with(mut fields: Fields, at: usize, name: &str, value: &str) -> Fields {
    fields.insert(at, (name.to_owned(), value.to_owned()));
    fields
}

/// Fields with another value of one.
fn set(mut fields: Fields, name: &str, value: &str) -> Fields {
    for field in fields.iter_mut().filter(|field| field.0 == name) {
        value.clone_into(&mut field.1);
    }
    fields
}

fn without(mut fields: Fields, name: &str) -> Fields {
    fields.retain(|field| field.0 != name);
    fields
}

fn stream(name: &'static str, fields: Fields, told: &str, arrived: &[&str]) -> Row {
    Row {
        name,
        how: How::Stream {
            host: STORAGE.to_owned(),
            fields,
            body: None,
            trailers: Vec::new(),
        },
        told: told.to_owned(),
        arrived: arrived.iter().map(|&line| line.to_owned()).collect(),
    }
}

#[tokio::test]
async fn pseudo_headers_that_are_not_one_each() -> Result<()> {
    let bench = Bench::start(ALLOWED).await?;
    let good = || bench.fields("GET", BUCKET, STORAGE);
    let bad = [
        ("two paths", with(good(), 4, ":path", "/storage/v1/b/other")),
        ("the same path twice", with(good(), 4, ":path", BUCKET)),
        ("two methods", with(good(), 1, ":method", "DELETE")),
        ("two authorities", with(good(), 3, ":authority", SECRETS)),
        ("two schemes", with(good(), 2, ":scheme", "http")),
        ("a path behind a field", with(good(), 5, ":path", BUCKET)),
        (
            "a method behind a field",
            with(without(good(), ":method"), 4, ":method", "GET"),
        ),
        (
            "an authority behind a field",
            with(without(good(), ":authority"), 4, ":authority", STORAGE),
        ),
        ("no path", without(good(), ":path")),
        ("no method", without(good(), ":method")),
        ("no scheme", without(good(), ":scheme")),
        ("an empty path", set(good(), ":path", "")),
        ("an empty method", set(good(), ":method", "")),
        ("a status", with(good(), 4, ":status", "200")),
        ("an unheard-of pseudo-header", with(good(), 4, ":host", SECRETS)),
        (
            "a protocol without CONNECT",
            with(good(), 4, ":protocol", "websocket"),
        ),
        (
            "extended CONNECT",
            with(set(good(), ":method", "CONNECT"), 4, ":protocol", "websocket"),
        ),
        ("CONNECT with a path", set(good(), ":method", "CONNECT")),
    ];
    let rows = bad.map(|(name, fields)| stream(name, fields, "refused", &[]));
    bench.check(&rows).await
}

#[tokio::test]
async fn fields_that_http1_would_read_as_something_else() -> Result<()> {
    let bench = Bench::start(ALLOWED).await?;
    let good = || bench.fields("GET", BUCKET, STORAGE);
    let more = |name, value| with(good(), 5, name, value);
    let bad = [
        ("a name in upper case", more("X-Goog-Meta-A", "b")),
        ("a name with a space", more("x goog", "b")),
        ("a name with a colon", more("x:goog", "b")),
        ("an empty name", more("", "b")),
        ("a name with CR and LF", more("x-a\r\nhost", "b")),
        (
            "a value with CR and LF",
            more("x-goog-meta-a", "b\r\nx-http-method-override: DELETE"),
        ),
        ("a value with LF", more("x-goog-meta-a", "b\nhost: c")),
        ("a value with NUL", more("x-goog-meta-a", "b\0c")),
        ("Connection", more("connection", "close")),
        ("Proxy-Connection", more("proxy-connection", "close")),
        ("Keep-Alive", more("keep-alive", "1")),
        ("Transfer-Encoding", more("transfer-encoding", "chunked")),
        ("Upgrade", more("upgrade", "websocket")),
        ("TE with a coding", more("te", "gzip")),
        (
            "a path with a space",
            set(good(), ":path", &format!("{BUCKET} HTTP/1.1")),
        ),
        (
            "a path with CR and LF",
            set(good(), ":path", &format!("{BUCKET}\r\nx: y")),
        ),
        ("a path with LF", set(good(), ":path", &format!("{BUCKET}\nx: y"))),
        ("a path with NUL", set(good(), ":path", &format!("{BUCKET}\0"))),
        ("a method with a space", set(good(), ":method", "GET /x")),
        (
            "an authority with a space",
            set(good(), ":authority", "storage.googleapis.com x"),
        ),
        (
            "an authority with CR and LF",
            set(good(), ":authority", "storage.googleapis.com\r\nx: y"),
        ),
        (
            "two lengths",
            with(more("content-length", "1"), 6, "content-length", "2"),
        ),
        ("a length that is none", more("content-length", "+1")),
        ("a length without a body", more("content-length", "5")),
    ];
    let rows = bad.map(|(name, fields)| stream(name, fields, "refused", &[]));
    bench.check(&rows).await?;
    bench
        .check(&[
            stream("TE: trailers", more("te", "trailers"), "answered", &[GET]),
            stream(
                "a fragment is left out",
                set(good(), ":path", &format!("{BUCKET}#x")),
                "answered",
                &[GET],
            ),
            stream("nothing odd", good(), "answered", &[GET]),
            stream(
                "no authority and the same host",
                more_host(without(good(), ":authority"), STORAGE),
                "answered",
                &[GET],
            ),
        ])
        .await
}

fn more_host(fields: Fields, host: &str) -> Fields {
    let end = fields.len();
    with(fields, end, "host", host)
}

/// Lengths that lie about DATA, and what stands behind it.
#[tokio::test]
async fn bodies_and_trailers() -> Result<()> {
    let bench = Bench::start(ALLOWED).await?;
    let patch = || {
        with(
            bench.fields("PATCH", BUCKET, STORAGE),
            5,
            "content-type",
            "application/json",
        )
    };
    let fields = |pairs: &[(&str, &str)]| -> Fields {
        let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        pairs.iter().map(owned).collect()
    };
    let row = |name, fields, body: &str, trailers, told: &str, arrived: &[&str]| Row {
        name,
        how: How::Stream {
            host: STORAGE.to_owned(),
            fields,
            body: Some(body.as_bytes().to_vec()),
            trailers,
        },
        told: told.to_owned(),
        arrived: arrived.iter().map(|&line| line.to_owned()).collect(),
    };
    let arrived = format!("PATCH {STORAGE} {BUCKET} {{}}");
    let override_ = fields(&[
        ("x-http-method-override", "DELETE"),
        ("authorization", "Bearer own"),
    ]);
    bench
        .check(&[
            row(
                "a body and trailers",
                patch(),
                "{}",
                override_,
                "answered",
                &[&arrived],
            ),
            row(
                "a pseudo-header in trailers ends with them",
                patch(),
                "{}",
                fields(&[(":path", "/x")]),
                "answered",
                &[&arrived],
            ),
            row(
                "Connection in trailers",
                patch(),
                "{}",
                fields(&[("connection", "close")]),
                "refused",
                &[],
            ),
            row(
                "more than the length",
                with(patch(), 6, "content-length", "1"),
                "{}",
                Vec::new(),
                "refused",
                &[],
            ),
            row(
                "less than the length",
                with(patch(), 6, "content-length", "3"),
                "{}",
                Vec::new(),
                "refused",
                &[],
            ),
        ])
        .await?;
    let seen = bench.upstream.seen();
    ensure!(
        seen.iter()
            .all(|s| !s.headers.contains_key("x-http-method-override")),
        "{seen:?}"
    );
    Ok(())
}

/// What the protocol allows and the gate does not, with the reason that the agent reads.
#[tokio::test]
async fn targets_that_are_told_why() -> Result<()> {
    let bench = Bench::start(ALLOWED).await?;
    let streams = [
        ("another authority", bench.fields("GET", BUCKET, SECRETS)),
        (
            "a user",
            bench.fields("GET", BUCKET, "user@storage.googleapis.com"),
        ),
        (
            "another port",
            bench.fields("GET", BUCKET, "storage.googleapis.com:80"),
        ),
        (
            "a full stop",
            bench.fields("GET", BUCKET, "storage.googleapis.com."),
        ),
        ("an address", bench.fields("GET", BUCKET, "127.0.0.1")),
        (
            "another host beside",
            more_host(bench.fields("GET", BUCKET, STORAGE), SECRETS),
        ),
        (
            "two hosts beside",
            more_host(more_host(bench.fields("GET", BUCKET, STORAGE), STORAGE), SECRETS),
        ),
        ("a method in lower case", bench.fields("get", BUCKET, STORAGE)),
        ("TRACE", bench.fields("TRACE", BUCKET, STORAGE)),
        (
            "CONNECT",
            without(
                without(bench.fields("CONNECT", BUCKET, STORAGE), ":path"),
                ":scheme",
            ),
        ),
        ("a denied method", bench.fields("DELETE", BUCKET, STORAGE)),
    ];
    let rows = streams.map(|(name, fields)| stream(name, fields, "answered", &[]));
    bench.check(&rows).await?;

    let mut connection = bench.agent.open(STORAGE, Protocol::Http2).await?;
    let cases = [
        ("GET", SECRETS, (421, "AUTHORITY_MISMATCH")),
        ("GET", "user@storage.googleapis.com", (400, "HOST_USERINFO")),
        ("GET", "storage.googleapis.com:80", (400, "PORT_NOT_443")),
        ("GET", "storage.googleapis.com.", (400, "HOST_TRAILING_DOT")),
        ("DELETE", STORAGE, (403, "NO_RULE_ALLOWS")),
    ];
    for (verb, authority, (status, reason)) in cases {
        let mut request = connection.request(verb, BUCKET, whole(""))?;
        *request.uri_mut() = format!("https://{authority}{BUCKET}").parse()?;
        let found = connection.exchange(request).await?.refusal();
        assert_eq!(found, (status, reason.to_owned()), "{verb} {authority}");
    }
    assert_eq!(bench.upstream.seen().len(), 0);
    Ok(())
}
