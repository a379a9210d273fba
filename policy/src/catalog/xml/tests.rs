//! The XML API against the JSON API, and the ways round that it would offer.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::{
    Level, Outcome, ROWS, VALUED,
    table::{Reading, Row},
};
use crate::{
    call::{Call, Scope},
    canonical::Target,
    catalog::{Catalog, Classified, Unlisted},
};

fn catalog() -> &'static Catalog {
    Catalog::embedded().expect("the embedded catalogue loads")
}

/// Classifies a request with its headers.
fn classify(verb: &str, url: &str, headers: &[(&str, &str)]) -> Result<Classified, Unlisted> {
    let target = Target::from_url(verb, url).expect("a canonical target");
    let found = catalog().classify(&target)?;
    let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes()));
    catalog().storage_xml_headers(&target, found, headers)
}

fn calls(found: &Classified) -> Vec<&Call> {
    std::iter::once(&found.call).chain(&found.also).collect()
}

/// `METHOD NAME[ below]` for each resource of each call, with ` + ` before further resources and ` & ` before
/// further calls; a refusal is its code.
fn describe(found: &Result<Classified, Unlisted>) -> String {
    let found = match found {
        Ok(found) => found,
        Err(error) => return error.reason().to_owned(),
    };
    let call = |call: &&Call| {
        let resources: Vec<_> = call
            .resources
            .iter()
            .map(|r| {
                format!(
                    "{}{}",
                    r.name,
                    if r.scope == Scope::Below { " below" } else { "" }
                )
            })
            .collect();
        format!("{} {}", call.method, resources.join(" + "))
    };
    calls(found).iter().map(call).collect::<Vec<_>>().join(" & ")
}

/// Compares `VERB URL [HEADER: VALUE, HEADER: VALUE]` lines, each followed by what it is.
fn check(table: &str) {
    let lines: Vec<_> = table.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    assert_eq!(lines.len() % 2, 0, "a request and its calls on two lines");
    let (mut expected, mut actual) = (String::new(), String::new());
    for pair in lines.chunks(2) {
        let mut words = pair[0].splitn(3, ' ');
        let (verb, url) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let headers: Vec<_> = words
            .next()
            .map(|list| list.split(", ").filter_map(|h| h.split_once(": ")).collect())
            .unwrap_or_default();
        let _ = writeln!(expected, "{}\n  {}", pair[0], pair[1]);
        let _ = writeln!(
            actual,
            "{}\n  {}",
            pair[0],
            describe(&classify(verb, url, &headers))
        );
    }
    if expected != actual {
        println!("{actual}");
    }
    assert_eq!(expected, actual);
}

/// The request of a row, in path style or on the bucket's host.
fn request(row: &Row, on_bucket_host: bool) -> String {
    let parameters = std::iter::once(row.by)
        .filter(|by| !by.is_empty())
        .chain(row.needs.iter().copied());
    let query: Vec<_> = parameters
        .map(|name| match VALUED.contains(&name) || row.needs.contains(&name) {
            true => format!("{name}=7"),
            false => name.to_owned(),
        })
        .collect();
    let object = if row.level == Level::Object { "a/b%20c" } else { "" };
    let base = match (row.level, on_bucket_host) {
        (Level::Service, _) => "https://storage.googleapis.com/".to_owned(),
        (_, true) => format!("https://acme.data.storage.googleapis.com/{object}"),
        (Level::Object, false) => format!("https://storage.googleapis.com/acme.data/{object}"),
        (Level::Bucket, false) => "https://storage.googleapis.com/acme.data".to_owned(),
    };
    match query.is_empty() {
        true => base,
        false => format!("{base}?{}", query.join("&")),
    }
}

/// What the JSON API's own template for the method is taken for, with the same bucket and object.
fn json_call(reading: &Reading) -> Call {
    let method = catalog()
        .methods()
        .find(|m| m.id == reading.method)
        .expect("a method of the catalogue");
    let mut stars = ["acme.data", "a%2Fb%20c", "entity"].into_iter();
    let path: String = method
        .template
        .split('/')
        .map(|segment| match segment {
            "*" => format!("/{}", stars.next().expect("at most three variables")),
            literal => format!("/{literal}"),
        })
        .collect();
    let query = if reading.method == "storage.objects.insert" {
        "?name=a%2Fb%20c"
    } else {
        ""
    };
    let target =
        Target::new(method.verb, "storage.googleapis.com", &format!("{path}{query}")).expect("is canonical");
    catalog().classify(&target).expect("is a method").call
}

#[test]
fn every_row_is_what_the_json_api_calls_the_same_thing() {
    let mut compared = 0;
    for row in ROWS {
        for on_bucket_host in [false, true] {
            let url = request(row, on_bucket_host);
            let found = classify_without_headers(row.verb, &url);
            let Outcome::Calls(readings) = row.outcome else {
                assert_eq!(describe(&found), "STORAGE_XML_BODY", "{} {url}", row.verb);
                continue;
            };
            let found = found.unwrap_or_else(|e| panic!("{} {url}: {e}", row.verb));
            let found = calls(&found);
            assert_eq!(found.len(), readings.len(), "{} {url}", row.verb);
            for (call, reading) in found.into_iter().zip(readings) {
                let json = json_call(reading);
                assert_eq!(
                    (call.method, call.index, call.traits, call.version),
                    (json.method, json.index, json.traits, json.version),
                    "{} {url}",
                    row.verb
                );
                if reading.borrowed {
                    // The entries of a list that is replaced: the JSON call names one, this is all of them.
                    let [all, one] = [&call.resources[0], &json.resources[0]];
                    assert_eq!(all.scope, Scope::Below, "{} {url}", row.verb);
                    let (parent, _) = one
                        .name
                        .rsplit_once(&format!("/{}/", one.kind))
                        .expect("an entry");
                    assert_eq!(parent, all.name, "{} {url}", row.verb);
                } else {
                    assert_eq!(call.resources, json.resources, "{} {url}", row.verb);
                }
                compared += 1;
            }
        }
    }
    assert!(compared > 80, "{compared} readings were compared");
}

fn classify_without_headers(verb: &str, url: &str) -> Result<Classified, Unlisted> {
    catalog().classify(&Target::from_url(verb, url).expect("a canonical target"))
}

#[test]
fn every_other_parameter_is_refused_at_every_row() {
    let strangers = [
        "policy",
        "notification",
        "torrent",
        "alt=media",
        "uploadType=media",
        "name=x",
        "prettyPrint=false",
        "x=1",
    ];
    for row in ROWS {
        for stranger in strangers {
            let url = request(row, false);
            let joint = if url.contains('?') { '&' } else { '?' };
            let found = classify_without_headers(row.verb, &format!("{url}{joint}{stranger}"));
            let error = found.expect_err("a stranger");
            assert_eq!(
                error.reason(),
                "STORAGE_XML_PARAMETER",
                "{} {url} {stranger}",
                row.verb
            );
            let name = stranger.split('=').next().unwrap_or(stranger);
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}

#[test]
fn objects_and_buckets() {
    check(
        r"
GET https://storage.googleapis.com/reports/2026/q1.csv
  storage.objects.get projects/_/buckets/reports/objects/2026/q1.csv
GET https://storage.googleapis.com/reports/2026%2Fq1.csv
  storage.objects.get projects/_/buckets/reports/objects/2026/q1.csv
GET https://reports.storage.googleapis.com/2026/q1.csv
  storage.objects.get projects/_/buckets/reports/objects/2026/q1.csv
HEAD https://logs.acme.example.storage.googleapis.com/a+b
  storage.objects.get projects/_/buckets/logs.acme.example/objects/a+b
PUT https://storage.googleapis.com/reports/a+b%26c
  storage.objects.insert projects/_/buckets/reports/objects/a+b&c
PUT https://storage.googleapis.com/reports/x?partNumber=1&uploadId=7
  storage.objects.insert projects/_/buckets/reports/objects/x
GET https://storage.us-east1.rep.googleapis.com/reports/x
  storage.objects.get projects/_/buckets/reports/objects/x
GET https://reports.storage.googleapis.com/?list-type=2&prefix=2026%2F
  storage.objects.list projects/_/buckets/reports
DELETE https://storage.googleapis.com/reports
  storage.buckets.delete projects/_/buckets/reports
PUT https://storage.googleapis.com/reports/x?acl
  storage.objectAccessControls.insert projects/_/buckets/reports/objects/x below & storage.objectAccessControls.delete projects/_/buckets/reports/objects/x below & storage.objects.patch projects/_/buckets/reports/objects/x
PUT https://reports.storage.googleapis.com/?cors
  storage.buckets.patch projects/_/buckets/reports
GET https://storage.googleapis.com/ x-goog-project-id: acme-dev
  storage.buckets.list projects/acme-dev
PUT https://storage.googleapis.com/reports x-goog-project-id: acme-dev
  storage.buckets.insert projects/acme-dev below
GET https://storage.googleapis.com/
  storage.buckets.list projects/_
",
    );
}

#[test]
fn hmac_keys() {
    check(
        r"
POST https://storage.googleapis.com/?Action=CreateAccessKey&UserName=x%40acme-dev.iam.gserviceaccount.com
  storage.projects.hmacKeys.create projects/acme-dev below
POST https://storage.googleapis.com/?Action=CreateAccessKey&UserName=1-compute%40developer.gserviceaccount.com
  storage.projects.hmacKeys.create projects/- below
POST https://storage.googleapis.com/?Action=CreateAccessKey
  STORAGE_XML_PARAMETER
GET https://storage.googleapis.com/?Action=ListAccessKeys x-goog-project-id: acme-dev
  storage.projects.hmacKeys.list projects/acme-dev
POST https://storage.googleapis.com/?Action=UpdateAccessKey&AccessKeyId=GOOG1X&Status=Inactive
  storage.projects.hmacKeys.update projects/-/hmacKeys/GOOG1X
POST https://storage.googleapis.com/?Action=DeleteAccessKey&AccessKeyId=GOOG1X x-goog-project-id: acme-dev
  storage.projects.hmacKeys.delete projects/acme-dev/hmacKeys/GOOG1X
POST https://storage.googleapis.com/?Action=DeleteAccessKey&AccessKeyId=a%2F..%2Fb
  UNSAFE_RESOURCE_NAME
POST https://storage.googleapis.com/?Action=DeleteAccessKey&AccessKeyId=G&UserName=x%40acme-dev.iam.gserviceaccount.com x-goog-project-id: acme-prod
  PROJECT_CONFLICT
GET https://storage.googleapis.com/?Action=CreateAccessKey&UserName=x%40acme-dev.iam.gserviceaccount.com
  METHOD_NOT_IN_CATALOG
POST https://storage.googleapis.com/?Action=GetRole
  METHOD_NOT_IN_CATALOG
",
    );
}

#[test]
fn headers_that_make_another_call() {
    check(
        r"
PUT https://storage.googleapis.com/mine/x x-goog-copy-source: /theirs/secret/plan.txt
  storage.objects.copy projects/_/buckets/mine/objects/x + projects/_/buckets/theirs/objects/secret/plan.txt
PUT https://mine.storage.googleapis.com/x x-goog-copy-source: theirs/a%20b, x-goog-metadata-directive: REPLACE
  storage.objects.copy projects/_/buckets/mine/objects/x + projects/_/buckets/theirs/objects/a b & storage.objects.copy projects/_/buckets/mine/objects/x + projects/_/buckets/theirs/objects/a%20b
PUT https://storage.googleapis.com/mine/x x-goog-copy-source: theirs/a, x-goog-acl: public-read
  storage.objects.copy projects/_/buckets/mine/objects/x + projects/_/buckets/theirs/objects/a & storage.objectAccessControls.insert projects/_/buckets/mine/objects/x below
PUT https://storage.googleapis.com/mine/x x-goog-acl: public-read
  storage.objects.insert projects/_/buckets/mine/objects/x & storage.objectAccessControls.insert projects/_/buckets/mine/objects/x below
PUT https://storage.googleapis.com/mine x-goog-acl: public-read, x-goog-project-id: acme-dev
  storage.buckets.insert projects/acme-dev below & storage.bucketAccessControls.insert projects/_/buckets/mine below
POST https://storage.googleapis.com/mine/x x-goog-resumable: start
  storage.objects.insert projects/_/buckets/mine/objects/x
POST https://storage.googleapis.com/mine/x
  STORAGE_XML_BODY
GET https://storage.googleapis.com/mine/x x-goog-copy-source: theirs/a
  STORAGE_XML_HEADER
PUT https://storage.googleapis.com/mine/x x-goog-copy-source: theirs/a, x-goog-copy-source: mine/a
  STORAGE_XML_HEADER
PUT https://storage.googleapis.com/mine/x x-goog-copy-source: theirs/../mine/a
  STORAGE_XML_HEADER
PUT https://storage.googleapis.com/mine/x x-goog-copy-source: theirs/a%2F..%2Fb
  STORAGE_XML_HEADER
PUT https://storage.googleapis.com/mine/x x-goog-copy-source: theirs
  STORAGE_XML_HEADER
PUT https://storage.googleapis.com/mine/x x-goog-copy-source: theirs/a+b
  STORAGE_XML_HEADER
PUT https://storage.googleapis.com/mine/x?acl x-goog-copy-source: theirs/a
  STORAGE_XML_HEADER
PUT https://storage.googleapis.com/mine/x x-goog-metadata-directive: REPLACE
  STORAGE_XML_HEADER
PUT https://storage.googleapis.com/mine/x x-amz-copy-source: theirs/a
  STORAGE_XML_HEADER
DELETE https://storage.googleapis.com/mine/x x-goog-bypass-governance-retention: true
  STORAGE_XML_HEADER
GET https://storage.googleapis.com/mine/x x-goog-brand-new: 1
  STORAGE_XML_HEADER
GET https://storage.googleapis.com/mine/x x-goog-acl: public-read
  STORAGE_XML_HEADER
GET https://storage.googleapis.com/ x-goog-project-id: -
  STORAGE_XML_HEADER
GET https://storage.googleapis.com/ x-goog-project-id: acme/../prod
  STORAGE_XML_HEADER
",
    );
}

#[test]
fn ways_round() {
    check(
        r"
POST https://storage.googleapis.com/reports?delete
  STORAGE_XML_BODY
PUT https://storage.googleapis.com/reports/x?compose
  STORAGE_XML_BODY
POST https://reports.storage.googleapis.com/
  STORAGE_XML_BODY
GET https://storage.googleapis.com/reports/x?X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Signature=00
  SIGNED_URL_NOT_OURS
GET https://storage.googleapis.com/reports/x?GoogleAccessId=a%40b&Expires=1&Signature=x
  SIGNED_URL_NOT_OURS
GET https://storage.googleapis.com/reports/x?x-amz-credential=x
  SIGNED_URL_NOT_OURS
GET https://storage.googleapis.com/storage/v1/b/reports/o/x?X-Goog-Signature=00
  SIGNED_URL_NOT_OURS
GET https://reports.storage.googleapis.com/x?X-%47oog-Signature=00
  SIGNED_URL_NOT_OURS
PUT https://storage.googleapis.com/reports/x?%61cl
  STORAGE_XML_PARAMETER
PUT https://storage.googleapis.com/reports?acl&cors
  STORAGE_XML_PARAMETER
PUT https://storage.googleapis.com/reports?acl=cors
  STORAGE_XML_PARAMETER
DELETE https://storage.googleapis.com/reports?lifecycle
  STORAGE_XML_PARAMETER
PUT https://storage.googleapis.com/reports/x?uploadId=7
  STORAGE_XML_PARAMETER
PUT https://storage.googleapis.com/reports/x?upload_id=
  STORAGE_XML_PARAMETER
GET https://storage.googleapis.com/reports/a%2F..%2Fx
  UNSAFE_RESOURCE_NAME
GET https://storage.googleapis.com/reports%2Fx/y
  METHOD_NOT_IN_CATALOG
GET https://storage.googleapis.com/Reports/y
  METHOD_NOT_IN_CATALOG
OPTIONS https://storage.googleapis.com/reports/y
  STORAGE_XML_API
PATCH https://storage.googleapis.com/reports/y
  STORAGE_XML_API
PUT https://reports.storage.googleapis.com/storage/v1/b/prod
  STORAGE_XML_API
POST https://reports.storage.googleapis.com/upload/storage/v1/b/prod/o
  STORAGE_XML_API
POST https://reports.storage.googleapis.com/batch/storage/v1
  STORAGE_XML_API
PUT https://reports.storage.googleapis.com/upload/2026/x.csv
  storage.objects.insert projects/_/buckets/reports/objects/upload/2026/x.csv
POST https://storage.googleapis.com/google.storage.v2.Storage/DeleteBucket
  METHOD_NOT_IN_CATALOG
GET https://b.storage.us-east1.rep.googleapis.com/x
  HOST_NOT_IN_CATALOG
GET https://reports.commondatastorage.googleapis.com/x
  HOST_NOT_IN_CATALOG
GET https://c.storage.googleapis.com/x
  HOST_NOT_IN_CATALOG
GET https://reports.storage-download.googleapis.com/x
  HOST_NOT_IN_CATALOG
",
    );
}

#[test]
fn hosts_of_buckets_are_intercepted_and_no_others() {
    let hosts = [
        ("reports.storage.googleapis.com", true),
        ("logs.acme.example.storage.googleapis.com", true),
        ("storage.googleapis.com", true),
        ("-x.storage.googleapis.com", false),
        ("a..b.storage.googleapis.com", false),
        ("x.storage.googleapis.com", false),
        ("reports.storage.googleapis.com.evil.example", false),
        ("reports.storage.mtls.googleapis.com", false),
    ];
    for (host, google) in hosts {
        assert_eq!(catalog().is_google_host(host), google, "{host}");
    }
}

proptest! {
    /// Whatever an object is called, both styles and the JSON API name the same one, or all refuse it.
    #[test]
    fn an_object_has_one_name(name in "[a-zA-Z0-9 /%+&=:~é._-]{1,24}") {
        let encoded: Vec<_> = name
            .split('/')
            .map(|part| percent_encoding::utf8_percent_encode(part, percent_encoding::NON_ALPHANUMERIC).to_string())
            .collect();
        let path = Target::new("GET", "storage.googleapis.com", &format!("/reports/{}", encoded.join("/")));
        let host = Target::new("GET", "reports.storage.googleapis.com", &format!("/{}", encoded.join("/")));
        let json = Target::new(
            "GET",
            "storage.googleapis.com",
            &format!("/storage/v1/b/reports/o/{}", encoded.join("%2F")),
        );
        if let Ok(path) = path {
            let found = catalog().classify(&path).expect("an object");
            let json = catalog().classify(&json.expect("is canonical too")).expect("an object");
            prop_assert_eq!(&found, &json);
            let host = host.expect("is canonical too");
            if !super::looks_like_json(&host) {
                prop_assert_eq!(&catalog().classify(&host).expect("an object"), &json);
            }
        }
    }
}
