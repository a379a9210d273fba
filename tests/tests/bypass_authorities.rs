//! Ways round the gate by names of hosts: CONNECT, SNI, `Host` and the target itself must name one host of Google's.
//! `standalone_protocol` has the plain cases; these are the odd spellings, other proxies' ways, and other data planes.

use anyhow::{Result, ensure};
use turnpike_tests::bypass::{Bench, How, Row, row};

const STORAGE: &str = "storage.googleapis.com";
const SECRETS: &str = "secretmanager.googleapis.com";
const BUCKET: &str = "/storage/v1/b/acme-dev-data";
const ALLOWED: &[&str] = &["{name: read, effect: Allow, methods: [storage.buckets.get]}"];
const GET: &str = "GET storage.googleapis.com /storage/v1/b/acme-dev-data";
const CLOSE: &str = "Connection: close\r\n";
const MISMATCH: &str = "421 AUTHORITY_MISMATCH";

#[tokio::test]
async fn host_in_every_spelling() -> Result<()> {
    let bench = Bench::start(ALLOWED).await?;
    let cases: [(&'static str, &str, &str, &[&str]); 19] = [
        ("the host itself", STORAGE, "200", &[GET]),
        ("upper case", "STORAGE.GoogleAPIs.com", "200", &[GET]),
        ("its port", "storage.googleapis.com:443", "200", &[GET]),
        (
            "a port with a zero",
            "storage.googleapis.com:0443",
            "400 PORT_NOT_443",
            &[],
        ),
        (
            "an empty port",
            "storage.googleapis.com:",
            "400 PORT_NOT_443",
            &[],
        ),
        (
            "two ports",
            "storage.googleapis.com:443:443",
            "400 PORT_NOT_443",
            &[],
        ),
        (
            "a full stop",
            "storage.googleapis.com.",
            "400 HOST_TRAILING_DOT",
            &[],
        ),
        (
            "a full stop and a port",
            "storage.googleapis.com.:443",
            "400 HOST_TRAILING_DOT",
            &[],
        ),
        ("an address", "127.0.0.1", MISMATCH, &[]),
        ("an address of IPv6", "[::1]", MISMATCH, &[]),
        ("half an address of IPv6", "[::1", "400 HOST_MALFORMED", &[]),
        ("a number", "2130706433", MISMATCH, &[]),
        ("punycode", "xn--storage-x0a.googleapis.com", MISMATCH, &[]),
        (
            "wide letters",
            "\u{ff53}torage.googleapis.com",
            "400 HOST_MALFORMED",
            &[],
        ),
        (
            "a comma",
            "storage.googleapis.com, run.googleapis.com",
            "400 HOST_MALFORMED",
            &[],
        ),
        (
            "a space",
            "storage.googleapis.com run.googleapis.com",
            "400 HOST_MALFORMED",
            &[],
        ),
        ("a path", "storage.googleapis.com/x", "400 HOST_MALFORMED", &[]),
        ("an escape", "storage%2egoogleapis.com", "400 HOST_MALFORMED", &[]),
        ("nothing", "", "400 HOST_MISSING", &[]),
    ];
    let rows = cases.map(|(name, host, told, arrived)| {
        let bytes = bench.request(&format!("GET {BUCKET}"), host, CLOSE, "");
        row(name, STORAGE, bytes, told, arrived)
    });
    bench.check(&rows).await
}

#[tokio::test]
async fn absolute_form_in_every_spelling() -> Result<()> {
    let bench = Bench::start(ALLOWED).await?;
    let cases: [(&'static str, &str, &str, &str, &[&str]); 12] = [
        (
            "the host itself",
            "https://storage.googleapis.com",
            STORAGE,
            "200",
            &[GET],
        ),
        (
            "upper case",
            "HTTPS://STORAGE.GOOGLEAPIS.COM",
            STORAGE,
            "200",
            &[GET],
        ),
        (
            "its port, where Host has none",
            "https://storage.googleapis.com:443",
            STORAGE,
            "200",
            &[GET],
        ),
        (
            "plain HTTP is TLS upstream",
            "http://storage.googleapis.com",
            STORAGE,
            "200",
            &[GET],
        ),
        (
            "another port",
            "https://storage.googleapis.com:8443",
            STORAGE,
            MISMATCH,
            &[],
        ),
        (
            "the port of plain HTTP",
            "http://storage.googleapis.com:80",
            "storage.googleapis.com:80",
            "400 PORT_NOT_443",
            &[],
        ),
        (
            "a user",
            "https://user@storage.googleapis.com",
            STORAGE,
            MISMATCH,
            &[],
        ),
        (
            "a user, and in Host",
            "https://user@storage.googleapis.com",
            "user@storage.googleapis.com",
            "400 HOST_USERINFO",
            &[],
        ),
        (
            "a host as user",
            "https://storage.googleapis.com@evil.example",
            STORAGE,
            MISMATCH,
            &[],
        ),
        (
            "a full stop",
            "https://storage.googleapis.com.",
            "storage.googleapis.com.",
            "400 HOST_TRAILING_DOT",
            &[],
        ),
        (
            "another host, and Host its own",
            "https://secretmanager.googleapis.com",
            STORAGE,
            MISMATCH,
            &[],
        ),
        (
            "another scheme",
            "ftp://storage.googleapis.com",
            STORAGE,
            "200",
            &[GET],
        ),
    ];
    let rows = cases.map(|(name, target, host, told, arrived)| {
        let bytes = bench.request(&format!("GET {target}{BUCKET}"), host, CLOSE, "");
        row(name, STORAGE, bytes, told, arrived)
    });
    bench.check(&rows).await?;
    bench
        .check(&[
            row(
                "an asterisk",
                STORAGE,
                bench.request("OPTIONS *", STORAGE, CLOSE, ""),
                "400 PATH_NOT_ABSOLUTE",
                &[],
            ),
            row(
                "a target without a slash",
                STORAGE,
                bench.request("GET storage/v1/b/acme-dev-data", STORAGE, CLOSE, ""),
                "400",
                &[],
            ),
        ])
        .await
}

#[tokio::test]
async fn headers_that_name_another_host_go_nowhere() -> Result<()> {
    let bench = Bench::start(ALLOWED).await?;
    let names = [
        "X-Forwarded-Host",
        "X-Forwarded-Server",
        "X-Forwarded-Proto",
        "Forwarded",
        "X-Host",
        "X-Original-Host",
        "X-Original-URL",
        "X-Rewrite-URL",
        "Proxy-Connection",
        "X-Goog-IAP-Anything",
    ];
    let rows = names.map(|name| {
        let bytes = bench.request(
            &format!("GET {BUCKET}"),
            STORAGE,
            &format!("{name}: {SECRETS}\r\n{CLOSE}"),
            "",
        );
        row(name, STORAGE, bytes, "200", &[GET])
    });
    bench.check(&rows).await?;
    let seen = bench.upstream.seen();
    for name in names.iter().filter(|name| !name.starts_with("X-Goog-")) {
        ensure!(
            seen.iter().all(|s| !s.headers.contains_key(*name)),
            "{name} arrived"
        );
    }
    Ok(())
}

/// What is tried, the names in CONNECT, SNI and Host, what the agent gets, and what arrives.
type Names<'a> = (
    &'static str,
    Option<&'a str>,
    &'a str,
    &'a str,
    &'a str,
    &'a [&'a str],
);

#[tokio::test]
async fn connect_sni_and_host_must_agree() -> Result<()> {
    let bench = Bench::start(ALLOWED).await?;
    let bytes = |host: &str| {
        bench
            .request(&format!("GET {BUCKET}"), host, CLOSE, "")
            .into_bytes()
    };
    let cases: [Names<'_>; 8] = [
        ("all agree", Some(STORAGE), STORAGE, STORAGE, "200", &[GET]),
        ("no CONNECT", None, STORAGE, STORAGE, "200", &[GET]),
        (
            "SNI in upper case",
            Some(STORAGE),
            "STORAGE.GOOGLEAPIS.COM",
            STORAGE,
            "200",
            &[GET],
        ),
        ("no SNI", Some(STORAGE), "127.0.0.1", STORAGE, "no TLS", &[]),
        ("no SNI and no CONNECT", None, "127.0.0.1", STORAGE, "no TLS", &[]),
        ("another SNI", Some(STORAGE), SECRETS, SECRETS, "no TLS", &[]),
        (
            "SNI of no host of Google's",
            Some(STORAGE),
            "evil.example",
            STORAGE,
            "no TLS",
            &[],
        ),
        ("another Host", Some(SECRETS), SECRETS, STORAGE, MISMATCH, &[]),
    ];
    let rows = cases.map(|(name, connect, sni, host, told, arrived)| Row {
        name,
        how: How::Tunnel {
            connect: connect.map(str::to_owned),
            sni: sni.to_owned(),
            bytes: bytes(host),
        },
        told: told.to_owned(),
        arrived: arrived.iter().map(|&line| line.to_owned()).collect(),
    });
    bench.check(&rows).await
}

#[tokio::test]
async fn connect_to_what_is_not_google_s_apis() -> Result<()> {
    let bench = Bench::start(&["{name: all, effect: Allow, methods: ['**']}"]).await?;
    let unknown = "403 HOST_UNKNOWN";
    let cases: [(&'static str, &str, &str); 30] = [
        ("an API without a port", "storage.googleapis.com", "200"),
        ("an API as a URL", "https://storage.googleapis.com:443", "200"),
        ("no API as a URL", "https://evil.example:443", unknown),
        ("a tunnel of IAP", "tunnel.cloudproxy.app:443", unknown),
        ("a service of Cloud Run", "shop-abc123-uc.a.run.app:443", unknown),
        (
            "a function",
            "us-central1-acme-dev.cloudfunctions.net:443",
            unknown,
        ),
        (
            "a registry of packages",
            "us-central1-docker.pkg.dev:443",
            unknown,
        ),
        ("the old registry", "gcr.io:443", unknown),
        ("a site of App Engine", "acme-dev.appspot.com:443", unknown),
        ("Firebase's database", "acme-dev.firebaseio.com:443", unknown),
        ("content of users", "storage.googleusercontent.com:443", unknown),
        ("Google's sites", "www.google.com:443", unknown),
        ("the console", "console.cloud.google.com:443", unknown),
        ("clients6", "clients6.google.com:443", unknown),
        (
            "the metadata server",
            "metadata.google.internal:80",
            "400 PORT_NOT_443",
        ),
        ("its address", "169.254.169.254:443", unknown),
        ("private", "private.googleapis.com:443", unknown),
        ("restricted", "restricted.googleapis.com:443", unknown),
        ("googleapis.com itself", "googleapis.com:443", unknown),
        ("p.googleapis.com", "p.googleapis.com:443", unknown),
        ("a sandbox", "storage.sandbox.googleapis.com:443", unknown),
        (
            "a name with another end",
            "storage.googleapis.com.evil.example:443",
            unknown,
        ),
        (
            "a name with another beginning",
            "evil.example?storage.googleapis.com:443",
            "400",
        ),
        ("a number for an address", "2130706433:443", unknown),
        ("an address with zeros", "0177.0.0.1:443", unknown),
        (
            "an address of IPv6 that holds one of IPv4",
            "[::ffff:127.0.0.1]:443",
            unknown,
        ),
        ("punycode", "xn--storage-x0a.googleapis.com:443", unknown),
        ("a user", "user@storage.googleapis.com:443", "400 HOST_USERINFO"),
        (
            "a host as user",
            "storage.googleapis.com@evil.example:443",
            "400 HOST_USERINFO",
        ),
        ("two ports", "storage.googleapis.com:443:443", "400"),
    ];
    let rows = cases.map(|(name, authority, told)| Row {
        name,
        how: How::Connect(authority.to_owned()),
        told: told.to_owned(),
        arrived: Vec::new(),
    });
    bench.check(&rows).await
}

/// What other proxies do with a request on their port: nothing of it is done here.
#[tokio::test]
async fn no_other_method_of_proxying() -> Result<()> {
    let bench = Bench::start(ALLOWED).await?;
    let plain = |name, line: &str, told: &str| Row {
        name,
        how: How::Plain(bench.request(line, STORAGE, CLOSE, "").into_bytes()),
        told: told.to_owned(),
        arrived: Vec::new(),
    };
    let cases = [
        plain(
            "absolute-form by http",
            &format!("GET http://{STORAGE}{BUCKET}"),
            "400 PLAINTEXT",
        ),
        plain(
            "absolute-form by https",
            &format!("GET https://{STORAGE}{BUCKET}"),
            "400 PLAINTEXT",
        ),
        plain(
            "to no host of Google's",
            "GET http://evil.example/",
            "400 PLAINTEXT",
        ),
        plain(
            "to the metadata server",
            "GET http://169.254.169.254/computeMetadata/v1/",
            "400 PLAINTEXT",
        ),
        plain("origin-form", &format!("DELETE {BUCKET}"), "400 PLAINTEXT"),
        plain(
            "the health check of another host",
            &format!("GET http://{STORAGE}/healthz"),
            "400 PLAINTEXT",
        ),
        plain("OPTIONS", "OPTIONS *", "400 PLAINTEXT"),
        plain("TRACE", &format!("TRACE http://{STORAGE}/"), "400 PLAINTEXT"),
        plain(
            "CONNECT in lower case",
            &format!("connect {STORAGE}:443"),
            "400 PLAINTEXT",
        ),
        plain("CONNECT with a path", &format!("CONNECT {STORAGE}:443/x"), "400"),
        plain(
            "GET of an authority",
            &format!("GET {STORAGE}:443"),
            "400 PLAINTEXT",
        ),
    ];
    bench.check(&cases).await
}
