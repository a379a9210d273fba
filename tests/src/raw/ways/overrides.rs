//! Harmless requests that ask for another verb, another target or another host on the side.

use super::{super::Attempt, Case, Speaker, request};

const HEADERS: &[(&str, &str)] = &[
    ("X-HTTP-Method-Override", "an override"),
    ("X-HTTP-Method", "another override"),
    ("X-Method-Override", "a third override"),
    ("x-http-method-OVERRIDE", "an override in other case"),
];
const PARAMETERS: &[(&str, &str)] = &[
    ("$httpMethod", "$httpMethod"),
    ("%24httpMethod", "%24httpMethod"),
    ("$HTTPMETHOD", "$HTTPMETHOD"),
    ("httpMethod", "httpMethod"),
    ("%24%68ttpMethod", "an encoded $httpMethod"),
    ("%2524httpMethod", "a $httpMethod encoded twice"),
];
const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";

pub(super) fn ways(case: &Case, speaker: Speaker<'_>) -> Vec<Attempt> {
    let (host, path, verb) = (case.host.as_str(), case.path.as_str(), case.verb);
    let mut found = Vec::new();
    let mut add = |way, bytes| found.push(request(way, case, bytes));
    for outer in ["GET", "POST"].into_iter().filter(|outer| *outer != verb) {
        for (header, way) in HEADERS {
            let line = format!("{header}: {verb}\r\n");
            add(*way, speaker.request(outer, path, host, &line, ""));
        }
        for (parameter, way) in PARAMETERS {
            let target = format!("{path}?a=b&{parameter}={verb}");
            add(*way, speaker.request(outer, &target, host, "", ""));
        }
        for (way, query) in [
            (
                "$httpMethod twice, the harmful one last",
                format!("$httpMethod={outer}&$httpMethod={verb}"),
            ),
            (
                "$httpMethod twice, the harmful one first",
                format!("$httpMethod={verb}&$httpMethod={outer}"),
            ),
        ] {
            add(
                way,
                speaker.request(outer, &format!("{path}?{query}"), host, "", ""),
            );
        }
        let folded = format!("X-A: b\r\n X-HTTP-Method-Override: {verb}\r\n");
        add(
            "a folded override",
            speaker.request(outer, path, host, &folded, ""),
        );
        let bare = format!("X-A: b\nX-HTTP-Method-Override: {verb}\r\n");
        add(
            "an override behind LF",
            speaker.request(outer, path, host, &bare, ""),
        );
        let bare = format!("X-A: b\rX-HTTP-Method-Override: {verb}\r\n");
        add(
            "an override behind CR",
            speaker.request(outer, path, host, &bare, ""),
        );
        let spaced = format!("X-HTTP-Method-Override : {verb}\r\n");
        add(
            "an override with a space",
            speaker.request(outer, path, host, &spaced, ""),
        );
        let twice = format!("X-HTTP-Method-Override: {outer}\r\nX-HTTP-Method-Override: {verb}\r\n");
        add("two overrides", speaker.request(outer, path, host, &twice, ""));
        let kept = format!("Connection: close, X-A\r\nX-HTTP-Method-Override: {verb}\r\n");
        add(
            "an override of one hop",
            speaker.request(outer, path, host, &kept, ""),
        );
    }
    let form = format!("_method={verb}&%24httpMethod={verb}&httpMethod={verb}");
    add(
        "a form with a verb",
        speaker.request("POST", path, host, FORM, &form),
    );
    let long = format!("{FORM}X-HTTP-Method-Override: GET\r\n");
    add(
        "a long GET with a verb",
        speaker.request("POST", path, host, &long, &form),
    );
    add(
        "a long GET of a neighbour with a verb",
        speaker.request("POST", &case.sibling, host, &long, &form),
    );
    let injected = format!("a=b&x=y HTTP/1.1\r\nHost: {host}\r\n\r\n{verb} {path}");
    add(
        "a long GET with a line end",
        speaker.request("POST", &case.sibling, host, &long, &injected),
    );
    let rewritten = format!("{FORM}X-HTTP-Method-Override: GET\r\nX-HTTP-Method-Override: {verb}\r\n");
    add(
        "a long GET with two overrides",
        speaker.request("POST", path, host, &rewritten, "a=b"),
    );
    add(
        "a long GET of the method",
        speaker.request("POST", path, host, &long, "a=b"),
    );

    for (way, line) in [
        ("X-Original-URL", format!("X-Original-URL: {path}\r\n")),
        ("X-Rewrite-URL", format!("X-Rewrite-URL: {path}\r\n")),
        ("X-Original-URI", format!("X-Original-URI: {path}\r\n")),
        (":path as a header", format!(":path: {path}\r\n")),
        (
            "X-Goog-Request-Params",
            format!("X-Goog-Request-Params: name={}\r\n", &path[1..]),
        ),
    ] {
        let line = format!("{line}X-HTTP-Method: {verb}\r\n");
        add(way, speaker.request("GET", &case.sibling, host, &line, ""));
        let only = line.split_inclusive("\r\n").next().unwrap_or_default();
        add(way, speaker.request("GET", &case.sibling, host, only, ""));
    }
    for (way, query) in [
        ("callback", "callback=f"),
        ("$callback", "$callback=f"),
        ("alt=media", "alt=media"),
        ("$alt=proto", "%24alt=proto"),
        ("alt=sse", "alt=sse"),
        ("two alts", "alt=json&$alt=media"),
        ("$ct", "$ct=application/json"),
        ("access_token", "access_token=x"),
        ("$access_token", "%24access_token=x"),
        ("oauth_token", "oauth_token=x"),
        ("key", "key=AIza"),
        ("$key", "$key=AIza"),
        ("userProject", "userProject=victim"),
        ("fields", "fields=*"),
        ("$unknown", "$unknown=x"),
        ("upload_id", "upload_id=foreign"),
        ("$outputDefaults", "$outputDefaults=true"),
        ("an empty query", ""),
        ("a semicolon in the query", "a=b;c=d"),
        ("a line end in the query", "a=b%0d%0aX-HTTP-Method:DELETE"),
    ] {
        let target = format!("{path}?{query}");
        add(way, speaker.request(verb, &target, host, "", ""));
    }
    found
}
