//! Canonical targets, and the refusals of all that is not one.

use turnpike_policy::canonical::Target;

/// `VERB HOST TARGET` where it is taken, as it goes upstream; the reason where not.
fn canonical(verb: &str, host: &str, target: &str) -> String {
    match Target::new(verb, host, target) {
        Ok(target) => format!("{} {} {}", target.verb(), target.host(), target.path_and_query()),
        Err(e) => e.reason().to_owned(),
    }
}

/// Compares what becomes of each path with what should.
fn check(cases: &[(&str, &str)]) {
    let expected: Vec<_> = cases
        .iter()
        .map(|(path, result)| (*path, (*result).to_owned()))
        .collect();
    let actual: Vec<_> = cases
        .iter()
        .map(|(path, _)| {
            let result = canonical("GET", "h.googleapis.com", path);
            (
                *path,
                result
                    .strip_prefix("GET h.googleapis.com ")
                    .unwrap_or(&result)
                    .to_owned(),
            )
        })
        .collect();
    assert_eq!(expected, actual);
}

#[test]
fn paths() {
    check(&[
        ("/", "/"),
        ("/v1/projects/acme", "/v1/projects/acme"),
        // Unreserved characters are decoded, hexadecimal digits are upper case, reserved ones stay.
        ("/v1/%70rojects/%61cme", "/v1/projects/acme"),
        ("/b/x/o/a%2fb%3a%c3%a9", "/b/x/o/a%2Fb%3A%C3%A9"),
        ("/b/x/o/file%2Etxt", "/b/x/o/file.txt"),
        ("/b/x/o/b%2F..%2Fc", "/b/x/o/b%2F..%2Fc"),
        ("/b/x/o/b%2F%2E%2e%2Fc", "/b/x/o/b%2F..%2Fc"),
        ("/b/x/o/100%25", "/b/x/o/100%25"),
        ("/b/x/o/a%2520b", "/b/x/o/a%2520b"),
        ("/b/x/o/a%3Bb%5Cc%20d", "/b/x/o/a%3Bb%5Cc%20d"),
        ("/v1/a:get,b=c!$&'()*+@~-_.", "/v1/a:get,b=c!$&'()*+@~-_."),
        ("/v1/...", "/v1/..."),
        ("", "PATH_NOT_ABSOLUTE"),
        ("*", "PATH_NOT_ABSOLUTE"),
        ("v1/projects", "PATH_NOT_ABSOLUTE"),
        ("https://h.googleapis.com/v1", "PATH_NOT_ABSOLUTE"),
        ("//v1", "PATH_EMPTY_SEGMENT"),
        ("/v1//projects", "PATH_EMPTY_SEGMENT"),
        ("/v1/projects/", "PATH_EMPTY_SEGMENT"),
        ("/v1/../v2", "PATH_DOT_SEGMENT"),
        ("/v1/.", "PATH_DOT_SEGMENT"),
        ("/v1/%2e%2e/v2", "PATH_DOT_SEGMENT"),
        ("/v1/.%2E/v2", "PATH_DOT_SEGMENT"),
        ("/v1/%2E", "PATH_DOT_SEGMENT"),
        ("/v1/a%252Fb", "PATH_DOUBLE_ENCODING"),
        ("/v1/%252e%252e", "PATH_DOUBLE_ENCODING"),
        ("/v1/%25252e", "PATH_DOUBLE_ENCODING"),
        ("/v1/%2541", "PATH_DOUBLE_ENCODING"),
        ("/v1/%25%32%65%25%32%65", "PATH_DOUBLE_ENCODING"),
        ("/v1/a%252%46b", "PATH_DOUBLE_ENCODING"),
        ("/v1/a%25%32Fb", "PATH_DOUBLE_ENCODING"),
        ("/v1/a;b", "SEMICOLON"),
        ("/v1/..;/v2", "SEMICOLON"),
        ("/v1/a\\b", "BACKSLASH"),
        ("/v1/a b", "SPACE"),
        ("/v1/a\tb", "CONTROL_CHARACTER"),
        ("/v1/a\0b", "CONTROL_CHARACTER"),
        ("/v1/a%00b", "CONTROL_CHARACTER"),
        ("/v1/a%0d%0aHost:x", "CONTROL_CHARACTER"),
        ("/v1/a%7f", "CONTROL_CHARACTER"),
        ("/v1/\u{e9}", "NON_ASCII"),
        ("/v1/%ff", "NOT_UTF8"),
        ("/v1/%c0%af", "NOT_UTF8"),
        ("/v1/%", "BAD_ESCAPE"),
        ("/v1/%4", "BAD_ESCAPE"),
        ("/v1/%zz", "BAD_ESCAPE"),
        ("/v1/%+4", "BAD_ESCAPE"),
        ("/v1/a#b", "FRAGMENT"),
        ("/v1/<x>", "ILLEGAL_CHARACTER"),
        ("/v1/{x}", "ILLEGAL_CHARACTER"),
    ]);
}

#[test]
fn queries() {
    check(&[
        ("/x?a=1&b=2", "/x?a=1&b=2"),
        ("/x?", "/x"),
        ("/x?&&a&", "/x?a"),
        ("/x?a=b=c", "/x?a=b=c"),
        ("/x?a=?/:@", "/x?a=?/:@"),
        ("/x?q=a+b%20c%2B", "/x?q=a+b%20c%2B"),
        // Credentials of the client, JSONP and the override of the content type stay here.
        (
            "/x?key=k&access_token=t&oauth_token=o&bearer_token=b&a=1",
            "/x?a=1",
        ),
        (
            "/x?%6bey=k&Access_Token=t&accessToken=t&$key=k&%24access_token=t",
            "/x",
        ),
        ("/x?callback=f&$callback=g&%24ct=text/html&$ct=x", "/x"),
        ("/x?ct=1", "/x"),
        ("/x?alt=json", "/x?alt=json"),
        (
            "/x?%24alt=json%3Benum-encoding%3Dint",
            "/x?%24alt=json%3Benum-encoding%3Dint",
        ),
        ("/x?$alt=json;enum-encoding=int", "/x?$alt=json;enum-encoding=int"),
        ("/x?alt=media", "/x?alt=media"),
        ("/x?alt=proto", "QUERY_ALT_NOT_ALLOWED"),
        ("/x?$alt=sse", "QUERY_ALT_NOT_ALLOWED"),
        ("/x?ALT=proto", "QUERY_ALT_NOT_ALLOWED"),
        ("/x?%61lt=proto", "QUERY_ALT_NOT_ALLOWED"),
        ("/x?alt=", "QUERY_ALT_NOT_ALLOWED"),
        ("/x?alt=json&$alt=media", "QUERY_PARAMETER_REPEATED"),
        ("/x?alt=media&%24alt=media", "/x?alt=media&%24alt=media"),
        ("/x?$httpMethod=DELETE", "QUERY_METHOD_OVERRIDE"),
        ("/x%3f%24httpmethod=DELETE", "QUERY_METHOD_OVERRIDE"),
        ("/x%3Fa=b/y&$httpMethod=DELETE", "QUERY_METHOD_OVERRIDE"),
        ("/x?%24httpMethod=DELETE", "QUERY_METHOD_OVERRIDE"),
        ("/x?httpmethod=DELETE", "QUERY_METHOD_OVERRIDE"),
        ("/x?%2524httpMethod=DELETE", "PATH_DOUBLE_ENCODING"),
        ("/x?a%25=1", "PATH_DOUBLE_ENCODING"),
        ("/x?a=%2525", "/x?a=%2525"),
        ("/x?$unknown=1", "QUERY_SYSTEM_PARAMETER_UNKNOWN"),
        (
            "/x?$.xgafv=2&$fields=a&quotaUser=u&prettyPrint=false",
            "/x?$.xgafv=2&$fields=a&quotaUser=u&prettyPrint=false",
        ),
        (
            "/x?uploadType=media&upload_protocol=raw&upload_id=1",
            "/x?uploadType=media&upload_protocol=raw&upload_id=1",
        ),
        ("/x?a=1;b=2", "SEMICOLON"),
        ("/x?a;b=2", "SEMICOLON"),
        ("/x?a=1%3Bb", "/x?a=1%3Bb"),
        ("/x?a=%00", "CONTROL_CHARACTER"),
        ("/x?a=%0A", "/x?a=%0A"),
        ("/x?a=%ff", "NOT_UTF8"),
        ("/x?a=%f", "BAD_ESCAPE"),
        ("/x?a=\u{e9}", "NON_ASCII"),
        ("/x?a=b c", "SPACE"),
        ("/x?a=1#f", "FRAGMENT"),
    ]);
}

#[test]
fn hosts_and_verbs() {
    let cases = [
        ("GET", "Storage.GoogleAPIs.com", "GET storage.googleapis.com /x"),
        (
            "GET",
            "storage.googleapis.com:443",
            "GET storage.googleapis.com /x",
        ),
        ("GET", "10.0.0.1", "GET 10.0.0.1 /x"),
        ("GET", "[2001:DB8::1]:443", "GET [2001:db8::1] /x"),
        (
            "GET",
            "my_bucket.storage.googleapis.com",
            "GET my_bucket.storage.googleapis.com /x",
        ),
        ("GET", "", "HOST_MISSING"),
        ("GET", ":443", "HOST_MISSING"),
        ("GET", "storage.googleapis.com:80", "PORT_NOT_443"),
        ("GET", "storage.googleapis.com:0443", "PORT_NOT_443"),
        ("GET", "storage.googleapis.com:", "PORT_NOT_443"),
        ("GET", "storage.googleapis.com:443:443", "PORT_NOT_443"),
        ("GET", "x@storage.googleapis.com", "HOST_USERINFO"),
        ("GET", "storage.googleapis.com.", "HOST_TRAILING_DOT"),
        ("GET", "storage..googleapis.com", "HOST_MALFORMED"),
        ("GET", "storage.googleapis.com/x", "HOST_MALFORMED"),
        ("GET", "storage.google%61pis.com", "HOST_MALFORMED"),
        ("GET", "[::1", "HOST_MALFORMED"),
        ("GET", "[::1]x", "HOST_MALFORMED"),
        ("GET", "[x]", "HOST_MALFORMED"),
        ("get", "h", "VERB_MALFORMED"),
        ("", "h", "VERB_MALFORMED"),
        ("GET ", "h", "VERB_MALFORMED"),
        ("M-SEARCH", "h", "VERB_MALFORMED"),
    ];
    let actual: Vec<_> = cases
        .iter()
        .map(|(verb, host, _)| canonical(verb, host, "/x"))
        .collect();
    assert_eq!(actual, cases.map(|(_, _, expected)| expected.to_owned()));
}

#[test]
fn urls() {
    let cases = [
        ("https://h.googleapis.com/x?a=1", "GET h.googleapis.com /x?a=1"),
        ("HTTPS://H.googleapis.com", "GET h.googleapis.com /"),
        ("https://h.googleapis.com?x=/y", "PATH_NOT_ABSOLUTE"),
        ("https://h.googleapis.com#f", "FRAGMENT"),
        ("http://h.googleapis.com/x", "SCHEME_NOT_HTTPS"),
        ("h.googleapis.com/x", "SCHEME_NOT_HTTPS"),
        ("https://u:p@h.googleapis.com/x", "HOST_USERINFO"),
        ("https:///x", "HOST_MISSING"),
        ("\u{20ac}\u{20ac}\u{20ac}", "SCHEME_NOT_HTTPS"),
    ];
    let actual = cases.map(|(url, _)| match Target::from_url("GET", url) {
        Ok(target) => format!("{} {} {}", target.verb(), target.host(), target.path_and_query()),
        Err(e) => e.reason().to_owned(),
    });
    assert_eq!(actual, cases.map(|(_, expected)| expected.to_owned()));
}

#[test]
fn limits() {
    let segments = |n: usize| "/a".repeat(n);
    assert_eq!(
        Target::new("GET", "h", &segments(256))
            .map(|t| t.segment_count())
            .ok(),
        Some(256)
    );
    assert_eq!(canonical("GET", "h", &segments(257)), "PATH_TOO_MANY_SEGMENTS");
    assert_eq!(
        canonical("GET", "h", &format!("/x?a={}", "a".repeat(16 * 1024))),
        "TARGET_TOO_LONG"
    );
}

#[test]
fn parameters_are_decoded_in_their_order() {
    let target = Target::new("GET", "h", "/x?b=1%2F2&key=k&a=x+y&b=1%2f2&c=1&c=2").expect("a target");
    let pairs: Vec<_> = target.query_pairs().map(|(n, v)| format!("{n}={v}")).collect();
    assert_eq!(pairs, ["b=1/2", "a=x y", "b=1/2", "c=1", "c=2"]);
    let value = |name| {
        target
            .query_value(name)
            .map(|v| v.map(|v| v.into_owned()))
            .map_err(|e| e.reason())
    };
    assert_eq!(value("b"), Ok(Some("1/2".to_owned())));
    assert_eq!(value("key"), Ok(None));
    assert_eq!(value("c"), Err("QUERY_PARAMETER_REPEATED"));
}
