//! Names of hosts that do not agree, or are no host of Google's.

use super::{
    super::{Attempt, How},
    Case, Speaker,
};

pub(super) fn ways(case: &Case, speaker: Speaker<'_>) -> Vec<Attempt> {
    let (host, path, verb) = (case.host.as_str(), case.path.as_str(), case.verb);
    let other = match case.service {
        "bigquery" => "pubsub.googleapis.com",
        _ => "bigquery.googleapis.com",
    };
    let mut found = Vec::new();
    let mut shared = |way, connect: &str, bytes| {
        let host = connect.to_owned();
        found.push(Attempt {
            way,
            how: How::Request { host, bytes },
        });
    };
    let full = format!("https://{host}{path}");
    shared(
        "Host of another connection",
        other,
        speaker.request(verb, path, host, "", ""),
    );
    shared(
        "absolute-form of another connection",
        other,
        speaker.request(verb, &full, host, "", ""),
    );
    shared(
        "absolute-form against Host",
        other,
        speaker.request(verb, &full, other, "", ""),
    );
    shared(
        "Host against absolute-form",
        other,
        speaker.request(verb, &format!("https://{other}{path}"), host, "", ""),
    );
    shared(
        "absolute-form by http",
        host,
        speaker.request(verb, &format!("http://{host}{path}"), host, "", ""),
    );
    shared(
        "absolute-form in upper case",
        host,
        speaker.request(verb, &full.to_ascii_uppercase(), host, "", ""),
    );
    shared(
        "absolute-form with a user",
        other,
        speaker.request(verb, &format!("https://{other}@{host}{path}"), other, "", ""),
    );
    shared(
        "absolute-form with a host as user",
        other,
        speaker.request(verb, &format!("https://{host}@{other}{path}"), other, "", ""),
    );
    let also = format!("Host: {host}\r\n");
    shared("two Hosts", other, speaker.request(verb, path, other, &also, ""));
    for (way, line) in [
        ("X-Forwarded-Host", format!("X-Forwarded-Host: {host}\r\n")),
        ("Forwarded", format!("Forwarded: host={host}\r\n")),
        ("X-Host", format!("X-Host: {host}\r\n")),
        ("X-Original-Host", format!("X-Original-Host: {host}\r\n")),
        (":authority as a header", format!(":authority: {host}\r\n")),
    ] {
        shared(way, other, speaker.request(verb, path, other, &line, ""));
        let target = format!("/bigquery/v2/projects?x={path}");
        shared(way, other, speaker.request("GET", &target, other, &line, ""));
    }
    for (way, spelled) in [
        ("Host with a user", format!("{other}@{host}")),
        ("Host as a user", format!("{host}@{other}")),
        ("Host with another port", format!("{host}:80")),
        ("Host with port 443", format!("{host}:443")),
        ("Host with two ports", format!("{host}:443:80")),
        ("Host with a full stop", format!("{host}.")),
        ("Host in upper case", host.to_ascii_uppercase()),
        ("Host with a space", format!("{other} {host}")),
        ("Host with a comma", format!("{other}, {host}")),
        ("Host with a path", format!("{other}/{host}")),
        ("Host in wide letters", host.replacen('g', "\u{ff47}", 1)),
        ("Host in punycode", format!("xn--{host}")),
        ("Host as an address", "127.0.0.1".to_owned()),
        ("Host as an address of IPv6", "[::1]".to_owned()),
        ("no Host", String::new()),
    ] {
        shared(way, host, speaker.request(verb, path, &spelled, "", ""));
    }
    // Connections of their own: what is not theirs must not be reached on any of them.
    let mut alone = |way, connect: Option<String>, sni: &str| {
        found.push(Attempt {
            way,
            how: How::Bytes {
                connect,
                sni: sni.to_owned(),
                bytes: speaker.request(verb, path, host, "Connection: close\r\n", ""),
            },
        });
    };
    alone("SNI against CONNECT", Some(format!("{other}:443")), host);
    alone("CONNECT against SNI", Some(format!("{host}:443")), other);
    alone(
        "SNI of no host of Google's",
        Some(format!("{host}:443")),
        "evil.example",
    );
    alone("no SNI", Some(format!("{host}:443")), "127.0.0.1");
    alone("no SNI and no CONNECT", None, "127.0.0.1");
    alone("no CONNECT", None, host);
    for (way, connect) in [
        ("CONNECT to an address", "127.0.0.1:443".to_owned()),
        ("CONNECT to an address of IPv6", "[::1]:443".to_owned()),
        ("CONNECT to an address as a number", "2130706433:443".to_owned()),
        ("CONNECT to the metadata server", "169.254.169.254:80".to_owned()),
        ("CONNECT to no host of Google's", "evil.example:443".to_owned()),
        (
            "CONNECT to a name that ends alike",
            format!("{host}.evil.example:443"),
        ),
        (
            "CONNECT to a name that begins alike",
            "evilgoogleapis.com:443".to_owned(),
        ),
        ("CONNECT to another port", format!("{host}:80")),
        ("CONNECT without a port", host.to_owned()),
        ("CONNECT with a user", format!("user@{host}:443")),
        ("CONNECT with a full stop", format!("{host}.:443")),
        ("CONNECT with a path", format!("{host}:443/x")),
        (
            "CONNECT to a tunnel of IAP",
            "tunnel.cloudproxy.app:443".to_owned(),
        ),
        ("CONNECT to run.app", "service-abc-uc.a.run.app:443".to_owned()),
        (
            "CONNECT to cloudfunctions.net",
            "us-central1-acme-dev.cloudfunctions.net:443".to_owned(),
        ),
        ("CONNECT to pkg.dev", "us-central1-docker.pkg.dev:443".to_owned()),
    ] {
        alone(way, Some(connect), host);
    }
    let mut plain = |way, bytes| {
        found.push(Attempt {
            way,
            how: How::Plain(bytes),
        });
    };
    for (way, target) in [
        ("proxied by http", format!("http://{host}{path}")),
        ("proxied by https", full),
        ("in plain text", path.to_owned()),
        ("proxied by ftp", format!("ftp://{host}{path}")),
        ("proxied without a scheme", format!("//{host}{path}")),
    ] {
        plain(
            way,
            speaker.request(verb, &target, host, "Connection: close\r\n", ""),
        );
    }
    let h2 = format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{verb} {path}");
    plain("h2c on the port", h2.into_bytes());
    plain(
        "a method of WebDAV",
        speaker.request(
            "PROPFIND",
            &format!("http://{host}{path}"),
            host,
            "Connection: close\r\n",
            "",
        ),
    );
    plain("SOCKS 5", b"\x05\x01\x00".to_vec());
    plain("SOCKS 4", b"\x04\x01\x01\xbb\x7f\x00\x00\x01\x00".to_vec());
    plain(
        "the PROXY protocol",
        b"PROXY TCP4 127.0.0.1 127.0.0.1 1 443\r\n".to_vec(),
    );
    found
}
