//! Requests to Cloud Storage that name a forbidden bucket, as tables.

/// One request: what it tries, its verb, target, headers and body.
pub(super) type Line<'l> = (&'static str, &'l str, &'l str, &'l str, &'l str);

pub(super) const JSON: &str = "Content-Type: application/json\r\n";

pub(super) const COPIES: &[Line<'_>] = &[
    (
        "a copy from a forbidden bucket",
        "POST",
        "/storage/v1/b/vault-1/o/item-1/copyTo/b/open-1/o/item-1",
        "",
        "",
    ),
    (
        "a copy to a forbidden bucket",
        "POST",
        "/storage/v1/b/open-1/o/item-1/copyTo/b/vault-1/o/item-1",
        "",
        "",
    ),
    (
        "a rewrite from a forbidden bucket",
        "POST",
        "/storage/v1/b/vault-1/o/item-1/rewriteTo/b/open-1/o/item-1",
        "",
        "",
    ),
    (
        "a rewrite to a forbidden bucket",
        "POST",
        "/storage/v1/b/open-1/o/item-1/rewriteTo/b/vault-1/o/item-1",
        "",
        "",
    ),
    (
        "a rewrite from an encoded bucket",
        "POST",
        "/storage/v1/b/%76ault-1/o/item-1/rewriteTo/b/open-1/o/item-1",
        "",
        "",
    ),
    (
        "a rewrite to a bucket with more",
        "POST",
        "/storage/v1/b/open-1/o/item-1/rewriteTo/b/vault-1%3Fx/o/item-1",
        "",
        "",
    ),
    (
        "a rewrite with an encoded slash",
        "POST",
        "/storage/v1/b/open-1/o/item-1/rewriteTo/b/vault-1%2Fo%2Fitem-1/o/item-1",
        "",
        "",
    ),
    (
        "a rewrite that goes on",
        "POST",
        "/storage/v1/b/open-1/o/item-1/rewriteTo/b/vault-1/o/item-1?rewriteToken=x",
        "",
        "",
    ),
    (
        "a copy below upload",
        "POST",
        "/upload/storage/v1/b/vault-1/o/item-1/copyTo/b/open-1/o/item-1",
        "",
        "",
    ),
    (
        "a move in a forbidden bucket",
        "POST",
        "/storage/v1/b/vault-1/o/item-1/moveTo/o/item-2",
        "",
        "",
    ),
    (
        "a copy of a folder in a forbidden bucket",
        "POST",
        "/storage/v1/b/vault-1/folders/f/renameTo/folders/g",
        "",
        "",
    ),
];

/// Metadata that names another bucket than its URL.
pub(super) const UPLOADS: &[(&str, &str)] = &[
    (
        "metadata of another bucket",
        r#"{"name":"item-1","bucket":"vault-1"}"#,
    ),
    (
        "metadata with two buckets",
        r#"{"bucket":"open-1","bucket":"vault-1","name":"item-1"}"#,
    ),
    (
        "metadata with two buckets, the forbidden one first",
        r#"{"bucket":"vault-1","bucket":"open-1","name":"item-1"}"#,
    ),
    (
        "metadata with a bucket in other letters",
        r#"{"Bucket":"vault-1","name":"item-1"}"#,
    ),
    (
        "metadata with an escape in its field",
        r#"{"\u0062ucket":"vault-1","name":"item-1"}"#,
    ),
    (
        "metadata with an escape in its bucket",
        r#"{"bucket":"\u0076ault-1","name":"item-1"}"#,
    ),
    ("metadata in a list", r#"[{"bucket":"vault-1","name":"item-1"}]"#),
    (
        "metadata with more behind it",
        r#"{"name":"item-1"}{"bucket":"vault-1","name":"item-1"}"#,
    ),
    (
        "metadata with a list of buckets",
        r#"{"bucket":["vault-1"],"name":"item-1"}"#,
    ),
    (
        "metadata with a comment",
        "{\"name\":\"item-1\",/**/\"bucket\":\"vault-1\"}",
    ),
    (
        "metadata behind a mark of order",
        "\u{feff}{\"name\":\"item-1\",\"bucket\":\"vault-1\"}",
    ),
    (
        "metadata with a bucket in upper case",
        r#"{"name":"item-1","bucket":"VAULT-1"}"#,
    ),
];

pub(super) const BODIES: &[Line<'_>] = &[
    (
        "a composition that names a source elsewhere",
        "POST",
        "/storage/v1/b/open-1/o/item-1/compose",
        JSON,
        r#"{"sourceObjects":[{"name":"item-2","bucket":"vault-1"}],"destination":{"bucket":"vault-1"}}"#,
    ),
    (
        "a composition with two destinations",
        "POST",
        "/storage/v1/b/open-1/o/item-1/compose",
        JSON,
        r#"{"sourceObjects":[{"name":"item-2"}],"destination":{},"Destination":{"bucket":"vault-1"}}"#,
    ),
    (
        "a new bucket",
        "POST",
        "/storage/v1/b?project=acme-dev",
        JSON,
        r#"{"name":"vault-1"}"#,
    ),
    (
        "a new bucket in snake case",
        "POST",
        "/storage/v1/b?project=acme-dev",
        JSON,
        r#"{"Name":"vault-1"}"#,
    ),
    (
        "a form with a key",
        "POST",
        "/open-1",
        "Content-Type: multipart/form-data; boundary=b\r\n",
        "--b\r\nContent-Disposition: form-data; name=\"bucket\"\r\n\r\nvault-1\r\n--b--\r\n",
    ),
];

pub(super) const OTHERS: &[Line<'_>] = &[
    (
        "a bucket in the query",
        "GET",
        "/storage/v1/b/open-1/o/item-1?bucket=vault-1",
        "",
        "",
    ),
    (
        "a destination in the query",
        "POST",
        "/storage/v1/b/open-1/o/item-1/copyTo/b/open-1/o/item-2?destinationBucket=vault-1",
        "",
        "",
    ),
    (
        "a source in the query",
        "POST",
        "/storage/v1/b/open-1/o/item-1/copyTo/b/open-1/o/item-2?sourceBucket=vault-1",
        "",
        "",
    ),
    (
        "a list of a forbidden bucket",
        "GET",
        "/storage/v1/b/vault-1/o?prefix=open-1",
        "",
        "",
    ),
    (
        "steps out of a bucket",
        "GET",
        "/storage/v1/b/open-1/o/../../vault-1/o/item-1",
        "",
        "",
    ),
    (
        "encoded steps out of a bucket",
        "GET",
        "/storage/v1/b/open-1%2F..%2Fvault-1/o/item-1",
        "",
        "",
    ),
    (
        "a bucket with an encoded object",
        "GET",
        "/storage/v1/b/vault-1%2Fo%2Fitem-1",
        "",
        "",
    ),
];

pub(super) const XML: &[Line<'_>] = &[
    ("a forbidden bucket by XML", "GET", "/vault-1/item-1", "", ""),
    (
        "a forbidden bucket in upper case by XML",
        "GET",
        "/VAULT-1/item-1",
        "",
        "",
    ),
    (
        "a forbidden bucket encoded by XML",
        "GET",
        "/%76ault-1/item-1",
        "",
        "",
    ),
    (
        "a forbidden bucket with an encoded slash by XML",
        "GET",
        "/vault-1%2Fitem-1",
        "",
        "",
    ),
    (
        "a forbidden bucket behind two slashes by XML",
        "GET",
        "//vault-1/item-1",
        "",
        "",
    ),
    (
        "a forbidden bucket behind steps by XML",
        "GET",
        "/open-1/../vault-1/item-1",
        "",
        "",
    ),
    (
        "a forbidden bucket behind encoded steps by XML",
        "GET",
        "/open-1/%2E%2E/vault-1/item-1",
        "",
        "",
    ),
    (
        "a list of a forbidden bucket by XML",
        "GET",
        "/vault-1?prefix=open-1",
        "",
        "",
    ),
    (
        "a forbidden bucket before an encoded question mark by XML",
        "GET",
        "/vault-1%3Fx/item-1",
        "",
        "",
    ),
    (
        "a copy from a forbidden bucket by XML",
        "PUT",
        "/open-1/item-1",
        "X-Goog-Copy-Source: /vault-1/item-1\r\n",
        "",
    ),
    (
        "a copy from a forbidden bucket without a slash",
        "PUT",
        "/open-1/item-1",
        "X-Goog-Copy-Source: vault-1/item-1\r\n",
        "",
    ),
    (
        "a copy from an encoded bucket by XML",
        "PUT",
        "/open-1/item-1",
        "X-Goog-Copy-Source: %2Fvault-1%2Fitem-1\r\n",
        "",
    ),
    (
        "a copy of a generation by XML",
        "PUT",
        "/open-1/item-1",
        "X-Goog-Copy-Source: vault-1/item-1?generation=1\r\n",
        "",
    ),
    (
        "a copy in Amazon's form",
        "PUT",
        "/open-1/item-1",
        "X-Amz-Copy-Source: /vault-1/item-1\r\n",
        "",
    ),
    (
        "two sources of a copy",
        "PUT",
        "/open-1/item-1",
        "X-Goog-Copy-Source: open-1/item-2\r\nX-Goog-Copy-Source: vault-1/item-1\r\n",
        "",
    ),
    (
        "a source behind steps",
        "PUT",
        "/open-1/item-1",
        "X-Goog-Copy-Source: open-1/../vault-1/item-1\r\n",
        "",
    ),
    (
        "a source of a part",
        "PUT",
        "/open-1/item-1?partNumber=1&uploadId=x",
        "X-Goog-Copy-Source: vault-1/item-1\r\n",
        "",
    ),
    (
        "a composition by XML",
        "PUT",
        "/open-1/item-1?compose",
        "Content-Type: application/xml\r\n",
        "<ComposeRequest><Component><Name>../vault-1/item-1</Name></Component></ComposeRequest>",
    ),
];

pub(super) const XML_AT_THE_BUCKET: &[Line<'_>] = &[
    (
        "steps out of the host's bucket",
        "GET",
        "/../vault-1/item-1",
        "",
        "",
    ),
    (
        "a JSON path at the host of a bucket",
        "GET",
        "/storage/v1/b/vault-1/o/item-1",
        "",
        "",
    ),
    (
        "an upload at the host of a bucket",
        "POST",
        "/upload/storage/v1/b/vault-1/o?uploadType=media&name=x",
        "",
        "x",
    ),
    (
        "a copy at the host of a bucket",
        "PUT",
        "/item-1",
        "X-Goog-Copy-Source: vault-1/item-1\r\n",
        "",
    ),
    (
        "a batch at the host of a bucket",
        "POST",
        "/batch/storage/v1",
        "Content-Type: multipart/mixed; boundary=b\r\n",
        "--b\r\nContent-Type: application/http\r\n\r\nGET /storage/v1/b/vault-1/o/item-1 HTTP/1.1\r\n\r\n\r\n--b--\r\n",
    ),
    (
        "a URL of another bucket at the host of one",
        "GET",
        "https://vault-1.storage.googleapis.com/item-1",
        "",
        "",
    ),
];
