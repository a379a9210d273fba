//! Ways round the gate inside one target: system parameters, encodings, wildcards, and headers that repeat or override
//! what the target says.

use anyhow::{Result, ensure};
use turnpike_tests::bypass::{Bench, row};

const STORAGE: &str = "storage.googleapis.com";
const SECRETS: &str = "secretmanager.googleapis.com";
const IAM: &str = "iam.googleapis.com";
const FUNCTIONS: &str = "cloudfunctions.googleapis.com";
const BUCKET: &str = "/storage/v1/b/acme-dev-data";
const CLOSE: &str = "Connection: close\r\n";
const ALLOWED: &[&str] = &[
    "{name: buckets, effect: Allow, methods: [storage.buckets.get, storage.objects.get], resources: ['projects/_/buckets/acme-dev-data', 'projects/_/buckets/acme-dev-data/**']}",
    "{name: read, effect: Allow, methods: [secretmanager.projects.secrets.get, secretmanager.projects.secrets.versions.get, iam.projects.serviceAccounts.get, cloudfunctions.projects.locations.functions.list], resources: ['projects/acme-dev/secrets/**', 'projects/acme-dev/serviceAccounts/**', 'projects/acme-dev/locations/us-central1', 'projects/acme-dev/locations/us-central1/**']}",
];

/// `GET`s of one host: a name, the target, what is told, and the target that arrives, if any.
async fn check(host: &str, cases: &[(&'static str, &str, &str, Option<&str>)]) -> Result<()> {
    let bench = Bench::start(ALLOWED).await?;
    let rows: Vec<_> = cases
        .iter()
        .map(|&(name, target, told, arrives)| {
            let bytes = bench.request(&format!("GET {target}"), host, CLOSE, "");
            let arrived: Vec<_> = arrives
                .iter()
                .map(|target| format!("GET {host} {target}"))
                .collect();
            let arrived: Vec<_> = arrived.iter().map(String::as_str).collect();
            row(name, host, bytes, told, &arrived)
        })
        .collect();
    bench.check(&rows).await
}

#[tokio::test]
async fn system_parameters_by_one_table() -> Result<()> {
    let override_ = "400 QUERY_METHOD_OVERRIDE";
    // The query, what is told, and the query that arrives.
    let cases = [
        ("", "200", Some("")),
        ("?alt=json", "200", Some("?alt=json")),
        ("?$alt=json", "200", Some("?$alt=json")),
        (
            "?%24alt=json%3Benum-encoding%3Dint",
            "200",
            Some("?%24alt=json%3Benum-encoding%3Dint"),
        ),
        ("?alt=media", "403 MEDIA_NOT_OFFERED", None),
        ("?alt=proto", "400 QUERY_ALT_NOT_ALLOWED", None),
        ("?$alt=sse", "400 QUERY_ALT_NOT_ALLOWED", None),
        ("?ALT=proto", "400 QUERY_ALT_NOT_ALLOWED", None),
        ("?alt=json&$alt=media", "400 QUERY_PARAMETER_REPEATED", None),
        ("?$httpMethod=DELETE", override_, None),
        ("?httpMethod=DELETE", override_, None),
        ("?%24httpMethod=DELETE", override_, None),
        ("?%24%68ttpMethod=DELETE", override_, None),
        ("?$HTTPMETHOD=DELETE", override_, None),
        ("?%2524httpMethod=DELETE", "400 PATH_DOUBLE_ENCODING", None),
        ("?callback=f", "200", Some("")),
        ("?$callback=f&projection=full", "200", Some("?projection=full")),
        ("?ct=text/plain", "200", Some("")),
        ("?$ct=text/plain", "200", Some("")),
        ("?%24ct=text/plain", "200", Some("")),
        (
            "?access_token=a&oauth_token=b&bearer_token=c&key=d",
            "200",
            Some(""),
        ),
        ("?$access_token=a&%24key=d&$apiKey=e", "200", Some("")),
        ("?ACCESS_TOKEN=a&Key=d", "200", Some("")),
        ("?userProject=other&$userProject=other", "200", Some("")),
        (
            "?fields=id&$fields=name&prettyPrint=false",
            "200",
            Some("?fields=id&$fields=name&prettyPrint=false"),
        ),
        ("?$.xgafv=2", "200", Some("?$.xgafv=2")),
        ("?$unheardOf=1", "400 QUERY_SYSTEM_PARAMETER_UNKNOWN", None),
        ("?$$alt=media", "400 QUERY_SYSTEM_PARAMETER_UNKNOWN", None),
        ("?a=b;$httpMethod=DELETE", "400 SEMICOLON", None),
        ("?a=%00", "400 CONTROL_CHARACTER", None),
        ("?a=%zz", "400 BAD_ESCAPE", None),
        ("?a=%c0%ae", "400 NOT_UTF8", None),
    ];
    let bench = Bench::start(ALLOWED).await?;
    let rows = cases.map(|(query, told, arrives)| {
        let bytes = bench.request(&format!("GET {BUCKET}{query}"), STORAGE, CLOSE, "");
        let arrived = arrives.map(|query| format!("GET {STORAGE} {BUCKET}{query}"));
        row(query, STORAGE, bytes, told, arrived.as_deref().as_slice())
    });
    bench.check(&rows).await
}

/// A parameter that a method does not have could be a field of what its body holds, behind the back of who looks there.
#[tokio::test]
async fn parameters_that_the_method_does_not_have() -> Result<()> {
    const RUN: &str = "run.googleapis.com";
    const SERVICE: &str = "/v2/projects/acme-dev/locations/us-central1/services/web";
    let rule = "{name: deploy, effect: Allow, methods: [run.projects.locations.services.patch], \
                when: 'request.body.ingress == \"INGRESS_TRAFFIC_INTERNAL_ONLY\"'}";
    let bench = Bench::start(&[rule]).await?;
    let unknown = "403 UNKNOWN_PARAMETER";
    let cases = [
        ("", "200", true),
        ("?updateMask=ingress&allow_missing=true&$alt=json", "200", true),
        ("?service.ingress=INGRESS_TRAFFIC_ALL", unknown, false),
        ("?ingress=INGRESS_TRAFFIC_ALL", unknown, false),
        ("?%69ngress=INGRESS_TRAFFIC_ALL", unknown, false),
        ("?updateMask=ingress&ingress=INGRESS_TRAFFIC_ALL", unknown, false),
        ("?UpdateMask=ingress", unknown, false),
        ("?updateMask.paths=ingress", unknown, false),
        ("?serviceId=web2", "403 QUERY_NAMES_ANOTHER_RESOURCE", false),
        ("?pageSize=1", unknown, false),
        ("?upload_id=x", "403 UPLOAD_SESSION_NOT_OURS", false),
        (
            "?$ingress=INGRESS_TRAFFIC_ALL",
            "400 QUERY_SYSTEM_PARAMETER_UNKNOWN",
            false,
        ),
    ];
    let body = r#"{"ingress":"INGRESS_TRAFFIC_INTERNAL_ONLY"}"#;
    let lines = format!(
        "Content-Type: application/json\r\nContent-Length: {}\r\n{CLOSE}",
        body.len()
    );
    let rows = cases.map(|(query, told, arrives)| {
        let bytes = bench.request(&format!("PATCH {SERVICE}{query}"), RUN, &lines, body);
        let arrived = arrives.then(|| format!("PATCH {RUN} {SERVICE}{query} {body}"));
        row(query, RUN, bytes, told, arrived.as_deref().as_slice())
    });
    bench.check(&rows).await
}

#[tokio::test]
async fn headers_that_override_the_verb() -> Result<()> {
    let bench = Bench::start(ALLOWED).await?;
    let names = ["X-HTTP-Method-Override", "x-http-method", "X-Method-Override"];
    for verb in ["DELETE", "GET", ""] {
        let rows = names.map(|name| {
            let lines = format!("{name}: {verb}\r\n{CLOSE}");
            let bytes = bench.request(&format!("GET {BUCKET}"), STORAGE, &lines, "");
            row(name, STORAGE, bytes, "400 METHOD_OVERRIDE", &[])
        });
        bench.check(&rows).await?;
    }
    Ok(())
}

#[tokio::test]
async fn encodings_of_paths() -> Result<()> {
    check(
        STORAGE,
        &[
            (
                "an encoded letter is that letter",
                "/storage/v1/b/%61cme-dev-data",
                "200",
                Some(BUCKET),
            ),
            (
                "escapes in lower case",
                &format!("{BUCKET}/o/a%2fb"),
                "200",
                Some("/storage/v1/b/acme-dev-data/o/a%2Fb"),
            ),
            (
                "a slash of an object",
                &format!("{BUCKET}/o/a%2Fb"),
                "200",
                Some("/storage/v1/b/acme-dev-data/o/a%2Fb"),
            ),
            (
                "dots inside an object",
                &format!("{BUCKET}/o/b%2F..%2Fc"),
                "200",
                Some("/storage/v1/b/acme-dev-data/o/b%2F..%2Fc"),
            ),
            (
                "a segment of dots",
                &format!("{BUCKET}/o/../../other"),
                "400 PATH_DOT_SEGMENT",
                None,
            ),
            (
                "encoded dots",
                &format!("{BUCKET}/%2e%2E/other"),
                "400 PATH_DOT_SEGMENT",
                None,
            ),
            (
                "half encoded dots",
                "/storage/v1/b/.%2e/b/other",
                "400 PATH_DOT_SEGMENT",
                None,
            ),
            (
                "dots with a parameter",
                "/storage/v1/b/..;x/b/other",
                "400 SEMICOLON",
                None,
            ),
            (
                "encoded twice",
                "/storage/v1/b/%252e%252e/b/other",
                "400 PATH_DOUBLE_ENCODING",
                None,
            ),
            (
                "a slash encoded twice",
                &format!("{BUCKET}/o/a%252Fb"),
                "400 PATH_DOUBLE_ENCODING",
                None,
            ),
            (
                "an empty segment",
                "/storage/v1//b/acme-dev-data",
                "400 PATH_EMPTY_SEGMENT",
                None,
            ),
            (
                "a slash at the end",
                &format!("{BUCKET}/"),
                "400 PATH_EMPTY_SEGMENT",
                None,
            ),
            (
                "two slashes at the beginning",
                &format!("/{BUCKET}"),
                "400 PATH_EMPTY_SEGMENT",
                None,
            ),
            (
                "a parameter of a path",
                &format!("{BUCKET};x=y"),
                "400 SEMICOLON",
                None,
            ),
            (
                "a backslash",
                "/storage/v1/b/acme-dev-data\\..\\other",
                "400 BACKSLASH",
                None,
            ),
            ("NUL", &format!("{BUCKET}%00"), "400 CONTROL_CHARACTER", None),
            (
                "a line end",
                &format!("{BUCKET}%0d%0a"),
                "400 CONTROL_CHARACTER",
                None,
            ),
            ("half an escape", &format!("{BUCKET}%2"), "400 BAD_ESCAPE", None),
            (
                "an overlong slash",
                "/storage/v1/b/a%c0%afb",
                "400 NOT_UTF8",
                None,
            ),
            (
                "a bucket with a slash",
                "/storage/v1/b/acme-dev-data%2Fo%2Fx",
                "403 UNSAFE_RESOURCE_NAME",
                None,
            ),
            (
                "a bucket with a query",
                "/storage/v1/b/acme-dev-data%3Falt=media",
                "403 UNSAFE_RESOURCE_NAME",
                None,
            ),
            (
                "a path in upper case",
                "/STORAGE/V1/B/acme-dev-data",
                "403 METHOD_NOT_IN_CATALOG",
                None,
            ),
        ],
    )
    .await
}

#[tokio::test]
async fn verbs_of_google_s_own_in_disguise() -> Result<()> {
    let version = "/v1/projects/acme-dev/secrets/db/versions/1";
    let at = |end: &str| format!("{version}{end}");
    check(
        SECRETS,
        &[
            ("what is allowed", version, "200", Some(version)),
            ("the verb itself", &at(":access"), "403 NO_RULE_ALLOWS", None),
            ("an encoded colon", &at("%3Aaccess"), "403 NO_RULE_ALLOWS", None),
            ("an encoded letter", &at(":%61ccess"), "403 NO_RULE_ALLOWS", None),
            (
                "an encoded slash",
                "/v1/projects/acme-dev/secrets/db%2Fversions%2F1:access",
                "403 CUSTOM_VERB_NOT_IN_CATALOG",
                None,
            ),
            (
                "an unheard-of verb",
                &at(":steal"),
                "403 CUSTOM_VERB_NOT_IN_CATALOG",
                None,
            ),
        ],
    )
    .await
}

#[tokio::test]
async fn wildcards_match_no_literal() -> Result<()> {
    let own = "/v1/projects/-/serviceAccounts/ci@acme-dev.iam.gserviceaccount.com";
    check(
        IAM,
        &[
            ("the project of the address", own, "200", Some(own)),
            (
                "another's",
                "/v1/projects/-/serviceAccounts/ci@other.iam.gserviceaccount.com",
                "403 NO_RULE_ALLOWS",
                None,
            ),
            (
                "another's below this project",
                "/v1/projects/acme-dev/serviceAccounts/ci@other.iam.gserviceaccount.com",
                "403 NO_RULE_ALLOWS",
                None,
            ),
            (
                "a number, which tells no project",
                "/v1/projects/-/serviceAccounts/104857600000000000000",
                "403 NO_RULE_ALLOWS",
                None,
            ),
            (
                "an encoded wildcard",
                "/v1/projects/%2D/serviceAccounts/ci@other.iam.gserviceaccount.com",
                "403 NO_RULE_ALLOWS",
                None,
            ),
        ],
    )
    .await?;
    let here = "/v2/projects/acme-dev/locations/us-central1/functions";
    check(
        FUNCTIONS,
        &[
            ("one location", here, "200", Some(here)),
            (
                "all locations",
                "/v2/projects/acme-dev/locations/-/functions",
                "403 NO_RULE_ALLOWS",
                None,
            ),
            (
                "all projects",
                "/v2/projects/-/locations/us-central1/functions",
                "403 NO_RULE_ALLOWS",
                None,
            ),
        ],
    )
    .await
}

#[tokio::test]
async fn routing_headers_authorise_nothing() -> Result<()> {
    let bench = Bench::start(ALLOWED).await?;
    let own = "/v1/projects/acme-dev/secrets/db";
    let other = "/v1/projects/other/secrets/db";
    let ask = |target: &str, named: &str| {
        let lines = format!("x-goog-request-params: name={named}\r\nx-goog-user-project: other\r\n{CLOSE}");
        bench.request(&format!("GET {target}"), SECRETS, &lines, "")
    };
    let arrived = format!("GET {SECRETS} {own}");
    bench
        .check(&[
            row(
                "the header names what is allowed",
                SECRETS,
                ask(other, "projects/acme-dev/secrets/db"),
                "403 NO_RULE_ALLOWS",
                &[],
            ),
            row(
                "the header names another",
                SECRETS,
                ask(own, "projects%2Fother%2Fsecrets%2Fdb"),
                "200",
                &[&arrived],
            ),
        ])
        .await?;
    for seen in bench.upstream.seen() {
        for name in ["x-goog-request-params", "x-goog-user-project"] {
            ensure!(!seen.headers.contains_key(name), "{name} arrived");
        }
    }
    Ok(())
}

/// What decodes a path before it looks for a query would find one here, even where every name is allowed.
#[tokio::test]
async fn names_that_hold_an_override() -> Result<()> {
    let bench = Bench::start(&["{name: all, effect: Allow, methods: ['**.get']}"]).await?;
    let secret = "/v1/projects/acme-dev/secrets/db";
    let object = format!("{BUCKET}/o/what%3Fnow&then");
    let cases = [
        ("a bucket", STORAGE, format!("{BUCKET}%3F%24httpMethod=DELETE")),
        (
            "an object, as one of several",
            STORAGE,
            format!("{BUCKET}/o/a%3Fb=c%26httpmethod=DELETE"),
        ),
        ("a secret", SECRETS, format!("{secret}%3f$HTTPMethod=DELETE")),
        (
            "a segment further on",
            SECRETS,
            format!("{secret}%3Fa=b/versions/1&$httpMethod=DELETE"),
        ),
    ];
    let rows = cases.map(|(name, host, target)| {
        let bytes = bench.request(&format!("GET {target}"), host, CLOSE, "");
        row(name, host, bytes, "400 QUERY_METHOD_OVERRIDE", &[])
    });
    bench.check(&rows).await?;
    let bytes = bench.request(&format!("GET {object}"), STORAGE, CLOSE, "");
    let arrived = format!("GET {STORAGE} {object}");
    let legal = row(
        "an object with a question mark",
        STORAGE,
        bytes,
        "200",
        &[&arrived],
    );
    bench.check(&[legal]).await
}
