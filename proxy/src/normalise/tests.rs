//! What goes upstream of a request, and which requests do not.

use http::Request;

use super::normalise;

const HOST: &str = "storage.googleapis.com";

type Headers<'a> = Vec<(&'a str, &'a str)>;

/// `VERB URI` with headers, on a connection for [`HOST`]: the target and the headers that pass, or the status
/// and reason of the refusal.
fn check(line: &str, headers: &[(&str, &str)]) -> Result<(String, Vec<String>), (u16, &'static str)> {
    let (verb, uri) = line.split_once(' ').unwrap();
    let mut request = Request::builder().method(verb).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    match normalise(&parts, HOST) {
        Ok(canonical) => {
            assert_eq!(canonical.host, HOST);
            let target = format!("{} {}", canonical.method, canonical.uri);
            let passed = canonical
                .headers
                .iter()
                .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())));
            Ok((target, passed.collect()))
        }
        Err(refusal) => Err((refusal.http.as_u16(), refusal.reason)),
    }
}

#[test]
fn one_spelling_goes_upstream_and_no_credential_with_it() {
    let own = ("host", HOST);
    let cases: Vec<(&str, Headers<'_>, &str, Vec<&str>)> = vec![
        (
            "GET /b/x",
            vec![own],
            "GET https://storage.googleapis.com/b/x",
            vec![],
        ),
        (
            "GET /b/x",
            vec![("host", "Storage.GoogleAPIs.com:443")],
            "GET https://storage.googleapis.com/b/x",
            vec![],
        ),
        // HTTP/2 has no Host header, and may have one.
        (
            "GET https://storage.googleapis.com/b/x",
            vec![],
            "GET https://storage.googleapis.com/b/x",
            vec![],
        ),
        (
            "GET https://storage.googleapis.com/b/x",
            vec![("host", "storage.googleapis.com:443")],
            "GET https://storage.googleapis.com/b/x",
            vec![],
        ),
        (
            "GET /b/%7e%2f?access_token=x&fields=a&key=y",
            vec![own],
            "GET https://storage.googleapis.com/b/~%2F?fields=a",
            vec![],
        ),
        (
            "POST /b",
            vec![
                own,
                ("authorization", "Bearer x"),
                ("proxy-authorization", "Basic x"),
                ("cookie", "x"),
                ("x-goog-api-key", "x"),
                ("x-goog-iam-authorization-token", "x"),
                ("x-goog-user-project", "x"),
                ("x-forwarded-for", "x"),
                ("content-length", "3"),
                ("transfer-encoding", "chunked"),
                ("connection", "close, X-Secret-Hop"),
                ("x-secret-hop", "x"),
                ("te", "trailers"),
                ("expect", "100-continue"),
                ("content-type", "application/json"),
                ("x-goog-meta-a", "1"),
                ("x-goog-meta-a", "2"),
            ],
            "POST https://storage.googleapis.com/b",
            vec![
                "content-type: application/json",
                "x-goog-meta-a: 1",
                "x-goog-meta-a: 2",
            ],
        ),
    ];
    for (line, headers, target, passed) in cases {
        let passed = passed.into_iter().map(str::to_owned).collect();
        assert_eq!(
            check(line, &headers),
            Ok((target.to_owned(), passed)),
            "{line} {headers:?}"
        );
    }
}

#[test]
fn what_could_be_two_requests_is_none() {
    let own = ("host", HOST);
    let cases: Vec<(&str, Headers<'_>, (u16, &str))> = vec![
        ("GET /b", vec![], (400, "HOST_MISSING")),
        ("GET /b", vec![own, own], (400, "HOST_REPEATED")),
        (
            "GET /b",
            vec![("host", "run.googleapis.com")],
            (421, "AUTHORITY_MISMATCH"),
        ),
        (
            "GET /b",
            vec![("host", "storage.googleapis.com.")],
            (400, "HOST_TRAILING_DOT"),
        ),
        (
            "GET /b",
            vec![("host", "storage.googleapis.com:80")],
            (400, "PORT_NOT_443"),
        ),
        (
            "GET /b",
            vec![("host", "a@storage.googleapis.com")],
            (400, "HOST_USERINFO"),
        ),
        (
            "GET /b",
            vec![("host", "storage.googleapis.com\u{fc}")],
            (400, "HOST_MALFORMED"),
        ),
        (
            "GET https://run.googleapis.com/b",
            vec![own],
            (421, "AUTHORITY_MISMATCH"),
        ),
        (
            "GET https://run.googleapis.com/b",
            vec![("host", "run.googleapis.com")],
            (421, "AUTHORITY_MISMATCH"),
        ),
        (
            "GET /b",
            vec![own, ("x-http-method-override", "DELETE")],
            (400, "METHOD_OVERRIDE"),
        ),
        (
            "GET /b",
            vec![own, ("x-http-method", "DELETE")],
            (400, "METHOD_OVERRIDE"),
        ),
        (
            "GET /b",
            vec![own, ("x-method-override", "DELETE")],
            (400, "METHOD_OVERRIDE"),
        ),
        (
            "GET /b?$httpMethod=DELETE",
            vec![own],
            (400, "QUERY_METHOD_OVERRIDE"),
        ),
        ("GET /b", vec![own, ("upgrade", "h2c")], (400, "UPGRADE")),
        ("GET /b/../c", vec![own], (400, "PATH_DOT_SEGMENT")),
        ("GET //b", vec![own], (400, "PATH_EMPTY_SEGMENT")),
        ("OPTIONS *", vec![own], (400, "PATH_NOT_ABSOLUTE")),
        ("get /b", vec![own], (400, "VERB_MALFORMED")),
    ];
    for (line, headers, expected) in cases {
        assert_eq!(
            check(line, &headers).map(|_| ()),
            Err(expected),
            "{line} {headers:?}"
        );
    }
}
