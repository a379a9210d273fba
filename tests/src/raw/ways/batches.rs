//! Batches with the harmful method in a part, or where somebody could take it for one.

use super::{super::Attempt, Case, Speaker, request};

pub(super) fn ways(case: &Case, speaker: Speaker<'_>) -> Vec<Attempt> {
    let (host, path, verb) = (case.host.as_str(), case.path.as_str(), case.verb);
    let harmful = format!("{verb} {path} HTTP/1.1\r\n\r\n");
    let harmless = format!("GET {} HTTP/1.1\r\n\r\n", case.sibling);
    let part =
        |inner: &str| format!("--b\r\nContent-Type: application/http\r\nContent-ID: <1>\r\n\r\n{inner}\r\n");
    let second = |inner: &str| part(inner).replace("<1>", "<2>");
    let own = format!("GET {} HTTP/1.1\r\n", case.sibling);
    let away = if case.service == "storage" {
        "pubsub.googleapis.com"
    } else {
        "storage.googleapis.com"
    };
    let bodies: Vec<(&'static str, String)> = vec![
        ("a denied part", part(&harmful)),
        (
            "a denied part behind an allowed one",
            part(&harmless) + &second(&harmful),
        ),
        (
            "a denied part before an allowed one",
            part(&harmful) + &second(&harmless),
        ),
        (
            "a part with an absolute URL",
            part(&format!("{verb} https://{host}{path} HTTP/1.1\r\n\r\n")),
        ),
        (
            "a part with the URL of another host",
            part(&format!("{verb} https://{away}{path} HTTP/1.1\r\n\r\n")),
        ),
        (
            "a part with another Host",
            part(&format!("{verb} {path} HTTP/1.1\r\nHost: {away}\r\n\r\n")),
        ),
        (
            "a part with a token of its own",
            part(&format!(
                "{verb} {path} HTTP/1.1\r\nAuthorization: Bearer x\r\n\r\n"
            )),
        ),
        (
            "a part with an override",
            part(&format!(
                "{own}X-HTTP-Method-Override: {verb}\r\nX-Rewrite-URL: {path}\r\n\r\n"
            )),
        ),
        (
            "a part with $httpMethod",
            part(&format!("GET {path}?$httpMethod={verb} HTTP/1.1\r\n\r\n")),
        ),
        (
            "a part with dot steps",
            part(&format!(
                "GET {}{}{path} HTTP/1.1\r\n\r\n",
                case.sibling,
                "/..".repeat(case.sibling.matches('/').count())
            )),
        ),
        (
            "a part without a version",
            part(&format!("{verb} {path}\r\n\r\n")),
        ),
        (
            "a part with a lower case verb",
            part(&format!("{} {path} HTTP/1.1\r\n\r\n", verb.to_ascii_lowercase())),
        ),
        (
            "a part with a verb behind a space",
            part(&format!(" {verb} {path} HTTP/1.1\r\n\r\n")),
        ),
        (
            "a second request in a part",
            part(&format!("{harmless}{harmful}")),
        ),
        (
            "a second request behind a length",
            part(&format!("{own}Content-Length: 0\r\n\r\n{harmful}")),
        ),
        (
            "a second request in chunks",
            part(&format!(
                "{own}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{harmful}"
            )),
        ),
        (
            "a batch in a batch",
            part(
                "POST /batch HTTP/1.1\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\nContent-Type: application/http\r\n\r\n",
            ) + &harmful
                + "--c--\r\n",
        ),
        (
            "a part in base64",
            format!(
                "--b\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: base64\r\n\r\n{harmful}\r\n"
            ),
        ),
        (
            "a part of another type",
            format!("--b\r\nContent-Type: text/plain\r\n\r\n{harmful}\r\n"),
        ),
        ("a part without a type", format!("--b\r\n\r\n{harmful}\r\n")),
        (
            "a part before the first boundary",
            format!("{}{}", part(&harmful).replacen("--b\r\n", "", 1), part(&harmless)),
        ),
        ("a part with LF alone", part(&harmful).replace("\r\n", "\n")),
        (
            "a boundary with LF alone",
            part(&harmless) + &format!("\n--b\nContent-Type: application/http\n\n{harmful}"),
        ),
        (
            "a boundary that goes on",
            part(&harmless) + &format!("--bb\r\nContent-Type: application/http\r\n\r\n{harmful}\r\n"),
        ),
        (
            "a boundary with a space",
            part(&harmless) + &format!("--b \r\nContent-Type: application/http\r\n\r\n{harmful}\r\n"),
        ),
        (
            "a boundary in quotes of its own",
            part(&harmless) + &format!("--\"b\"\r\nContent-Type: application/http\r\n\r\n{harmful}\r\n"),
        ),
        ("the same id twice", part(&harmless) + &part(&harmful)),
    ];
    let behind = format!("{}--b--\r\n{}", part(&harmless), part(&harmful));
    let version = path.trim_start_matches('/').split('/').next().unwrap_or("v1");
    let kind = "Content-Type: multipart/mixed; boundary=b\r\n";
    let places = ["/batch".to_owned(), format!("/batch/{}/{version}", case.service)];
    let mut found = Vec::new();
    let mut add = |way, place: &str, kind: &str, body: &str| {
        found.push(request(
            way,
            case,
            speaker.request("POST", place, host, kind, body),
        ));
    };
    for place in &places {
        for (way, body) in &bodies {
            add(*way, place, kind, &format!("{body}--b--\r\n"));
        }
        add("a part behind the last boundary", place, kind, &behind);
        add("a batch without an end", place, kind, &part(&harmful));
    }
    let body = format!("{}--b--\r\n", part(&harmful));
    let mixed = format!(
        "{}--b--\r\n--c\r\nContent-Type: application/http\r\n\r\n{harmful}--c--\r\n",
        part(&harmless)
    );
    for (way, kind) in [
        (
            "two types",
            "Content-Type: application/json\r\nContent-Type: multipart/mixed; boundary=b\r\n",
        ),
        (
            "multipart/related",
            "Content-Type: multipart/related; boundary=b\r\n",
        ),
        (
            "a batch in upper case",
            "Content-Type: MULTIPART/MIXED; BOUNDARY=b\r\n",
        ),
        ("no boundary", "Content-Type: multipart/mixed\r\n"),
    ] {
        add(way, "/batch", kind, &body);
    }
    for (way, kind) in [
        (
            "two boundaries",
            "Content-Type: multipart/mixed; boundary=b; boundary=c\r\n",
        ),
        (
            "an encoded boundary",
            "Content-Type: multipart/mixed; boundary=b; boundary*=utf-8''c\r\n",
        ),
        (
            "a continued boundary",
            "Content-Type: multipart/mixed; boundary*0=c; boundary=b\r\n",
        ),
    ] {
        add(way, "/batch", kind, &mixed);
    }
    add("a batch in /batch/..", &format!("/batch/..{path}"), kind, &body);
    add("a batch at a method", &case.sibling, kind, &body);
    add(
        "a batch by an override",
        "/batch",
        &format!("{kind}X-HTTP-Method-Override: GET\r\n"),
        &body,
    );
    found
}
