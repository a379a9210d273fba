//! Ways round the gate by another form of the same call: another host of the service, the legacy host, a form in the
//! place of a query, a body in codings upon codings, and methods that hold a language of their own.

use std::io::Write as _;

use anyhow::Result;
use flate2::{Compression, write::GzEncoder};
use turnpike_tests::bypass::{Bench, How, Row, row};

const STORAGE: &str = "storage.googleapis.com";
const SECRETS: &str = "secretmanager.googleapis.com";
const BUCKET: &str = "/storage/v1/b/acme-dev-data";
const SECRET: &str = "/v1/projects/acme-dev/secrets/db";
const CLOSE: &str = "Connection: close\r\n";
const ALLOWED: &[&str] = &[
    "{name: use, effect: Allow, methods: [secretmanager.projects.secrets.get, storage.buckets.get, storage.buckets.list, storage.buckets.patch, compute.instances.list, bigquery.datasets.get, firebasedataconnect.projects.locations.services.executeGraphqlRead]}",
    "{name: never, effect: Deny, methods: ['secretmanager.**.access', storage.buckets.delete, compute.instances.delete, bigquery.datasets.delete]}",
];
const DENIED: &str = "403 RULE_DENIED";
const NO_RULE: &str = "403 NO_RULE_ALLOWS";

/// On every host the allowed call arrives, and the denied one is denied by its rule: it is known for what it is.
async fn same_on(hosts: &[&'static str], allowed: &str, denied: &str) -> Result<()> {
    let bench = Bench::start(ALLOWED).await?;
    let mut rows = Vec::new();
    for &host in hosts {
        let good = bench.request(&format!("GET {allowed}"), host, CLOSE, "");
        let bad = bench.request(denied, host, CLOSE, "");
        rows.push(row(host, host, good, "200", &[&format!("GET {host} {allowed}")]));
        rows.push(row(host, host, bad, DENIED, &[]));
    }
    bench.check(&rows).await
}

#[tokio::test]
async fn every_host_of_a_service_is_under_the_same_rule() -> Result<()> {
    let hosts = [
        SECRETS,
        "secretmanager.mtls.googleapis.com",
        "secretmanager.us-central1.rep.googleapis.com",
        "secretmanager.eu.rep.mtls.googleapis.com",
        "us-central1-secretmanager.googleapis.com",
        "content-secretmanager.googleapis.com",
        "secretmanager-mine.p.googleapis.com",
    ];
    same_on(&hosts, SECRET, &format!("GET {SECRET}/versions/1:access")).await
}

#[tokio::test]
async fn legacy_hosts_are_under_the_same_rule() -> Result<()> {
    let buckets = [
        STORAGE,
        "www.googleapis.com",
        "content-storage.googleapis.com",
        "storage.mtls.googleapis.com",
        "storage-mine.p.googleapis.com",
    ];
    same_on(&buckets, BUCKET, &format!("DELETE {BUCKET}")).await?;
    let instances = "/compute/v1/projects/acme-dev/zones/us-central1-a/instances";
    let delete = format!("DELETE {instances}/vm");
    same_on(
        &["compute.googleapis.com", "www.googleapis.com"],
        instances,
        &delete,
    )
    .await?;
    let dataset = "/bigquery/v2/projects/acme-dev/datasets/sales";
    let delete = format!("DELETE {dataset}");
    same_on(
        &["bigquery.googleapis.com", "www.googleapis.com"],
        dataset,
        &delete,
    )
    .await
}

#[tokio::test]
async fn a_form_in_the_place_of_a_query_is_that_get() -> Result<()> {
    let bench = Bench::start(ALLOWED).await?;
    let form = |line: &str, host: &str, verb: &str, more: &str, body: &str| {
        let headers = format!(
            "X-HTTP-Method-Override: {verb}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\
             {more}{CLOSE}",
            body.len()
        );
        bench.request(&format!("POST {line}"), host, &headers, body)
    };
    let list = format!("GET {STORAGE} /storage/v1/b?project=acme-dev&prefix=a");
    let access = format!("{SECRET}/versions/1:access");
    bench
        .check(&[
            row(
                "a query in the body",
                STORAGE,
                form("/storage/v1/b", STORAGE, "GET", "", "project=acme-dev&prefix=a"),
                "200",
                &[&list],
            ),
            row(
                "a query in both",
                STORAGE,
                form("/storage/v1/b?project=acme-dev", STORAGE, "GET", "", "prefix=a"),
                "200",
                &[&list],
            ),
            row(
                "two projects",
                STORAGE,
                form(
                    "/storage/v1/b?project=acme-dev",
                    STORAGE,
                    "GET",
                    "",
                    "project=other",
                ),
                "403 QUERY_PARAMETER_REPEATED",
                &[],
            ),
            row(
                "a denied method",
                SECRETS,
                form(&access, SECRETS, "GET", "", "alt=json"),
                DENIED,
                &[],
            ),
            row(
                "an override in the form",
                STORAGE,
                form(BUCKET, STORAGE, "GET", "", "$httpMethod=DELETE"),
                "400 QUERY_METHOD_OVERRIDE",
                &[],
            ),
            row(
                "another form of the answer",
                STORAGE,
                form(BUCKET, STORAGE, "GET", "", "alt=proto"),
                "400 QUERY_ALT_NOT_ALLOWED",
                &[],
            ),
            row(
                "a fragment in the form",
                STORAGE,
                form(BUCKET, STORAGE, "GET", "", "a=b#c"),
                "400 FORM_MALFORMED",
                &[],
            ),
            row(
                "a line end in the form",
                STORAGE,
                form(BUCKET, STORAGE, "GET", "", "a=b\r\nc"),
                "400 FORM_MALFORMED",
                &[],
            ),
            row(
                "another verb",
                STORAGE,
                form(BUCKET, STORAGE, "DELETE", "", "a=b"),
                "400 METHOD_OVERRIDE",
                &[],
            ),
            row(
                "two verbs",
                STORAGE,
                form(
                    BUCKET,
                    STORAGE,
                    "GET",
                    "X-HTTP-Method-Override: DELETE\r\n",
                    "a=b",
                ),
                "400 METHOD_OVERRIDE",
                &[],
            ),
            row(
                "a packed form",
                STORAGE,
                form(BUCKET, STORAGE, "GET", "Content-Encoding: gzip\r\n", "a=b"),
                "400 METHOD_OVERRIDE",
                &[],
            ),
        ])
        .await
}

#[tokio::test]
async fn graphql_has_a_rule_of_its_own() -> Result<()> {
    let bench = Bench::start(ALLOWED).await?;
    let host = "firebasedataconnect.googleapis.com";
    let service = "/v1/projects/acme-dev/locations/us-central1/services/shop";
    let body = r#"{"query":"mutation { user_deleteMany(all: true) }"}"#;
    let ask = |end: &str| {
        let headers = format!(
            "Content-Type: application/json\r\nContent-Length: {}\r\n{CLOSE}",
            body.len()
        );
        bench.request(&format!("POST {service}{end}"), host, &headers, body)
    };
    let read = format!("POST {host} {service}:executeGraphqlRead {body}");
    bench
        .check(&[
            row(
                "the method that only reads",
                host,
                ask(":executeGraphqlRead"),
                "200",
                &[&read],
            ),
            row(
                "the method that writes too",
                host,
                ask(":executeGraphql"),
                NO_RULE,
                &[],
            ),
            row(
                "a mutation by name",
                host,
                ask("/connectors/c:executeMutation"),
                NO_RULE,
                &[],
            ),
            row(
                "a verb in another case",
                host,
                ask(":EXECUTEGRAPHQL"),
                "403 VERB_NOT_IN_CATALOG",
                &[],
            ),
        ])
        .await
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

/// Bodies that name what is called are read through their codings, within caps.
#[tokio::test]
async fn codings_hide_nothing_from_bodies_that_are_read() -> Result<()> {
    let bench = Bench::start(ALLOWED).await?;
    let patch = |name, coding: &str, body: &[u8], told: &str, arrived: &[&str]| {
        let headers = format!(
            "Content-Type: application/json\r\nContent-Encoding: {coding}\r\nContent-Length: {}\r\n{CLOSE}",
            body.len()
        );
        let mut bytes = bench
            .request(&format!("PATCH {BUCKET}"), STORAGE, &headers, "")
            .into_bytes();
        bytes.extend_from_slice(body);
        Row {
            name,
            how: How::Tunnel {
                connect: Some(STORAGE.to_owned()),
                sni: STORAGE.to_owned(),
                bytes,
            },
            told: told.to_owned(),
            arrived: arrived.iter().map(|&line| line.to_owned()).collect(),
        }
    };
    let harmless = br#"{"labels":{"a":"b"}}"#;
    let sharing = br#"{"acl":[{"entity":"allUsers","role":"READER"}]}"#;
    let arrived = format!("PATCH {STORAGE} {BUCKET} {}", String::from_utf8_lossy(harmless));
    let bomb = gzip(&gzip(&vec![b' '; 64 << 20])?)?;
    bench
        .check(&[
            patch("one coding", "gzip", &gzip(harmless)?, "200", &[&arrived]),
            patch(
                "the same twice",
                "gzip, gzip",
                &gzip(&gzip(harmless)?)?,
                "200",
                &[&arrived],
            ),
            patch("sharing", "identity", sharing, NO_RULE, &[]),
            patch("sharing in one coding", "gzip", &gzip(sharing)?, NO_RULE, &[]),
            patch(
                "sharing in two",
                "gzip, gzip",
                &gzip(&gzip(sharing)?)?,
                NO_RULE,
                &[],
            ),
            patch(
                "an unheard-of coding",
                "rot13",
                sharing,
                "400 CODING_UNKNOWN",
                &[],
            ),
            patch("not what it says", "gzip", sharing, "400 CODING_BROKEN", &[]),
            patch(
                "one coding less than it says",
                "gzip, gzip",
                &gzip(sharing)?,
                "400 CODING_BROKEN",
                &[],
            ),
            patch(
                "one coding more than it says",
                "gzip",
                &gzip(&gzip(sharing)?)?,
                "400 UPLOAD_METADATA_NOT_JSON",
                &[],
            ),
            patch(
                "many codings",
                "gzip, gzip, gzip, gzip, gzip, gzip, gzip, gzip, gzip",
                sharing,
                "400 CODING_TOO_OFTEN",
                &[],
            ),
            patch("a bomb", "gzip, gzip", &bomb, "400 CODING_TOO_LARGE", &[]),
        ])
        .await
}
