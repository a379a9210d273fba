//! The methods of the XML API, each with the JSON method that does the same.
//!
//! From Google's reference of the XML API. What is not here is refused: a parameter that is not in the list of its
//! row may turn the request into another one.

use super::Level;

/// What a row asks of a policy: a method, and the JSON request that names the same resources. `{b}` and `{o}` stand
/// for bucket and object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    /// The method's id.
    pub(super) method: &'static str,
    /// `VERB PATH?QUERY` below `storage.googleapis.com/storage/v1/`.
    pub(super) json: &'static str,
    /// Whether the JSON request is one of another method that acts on the same place: a whole list of grants is
    /// replaced, and the deleted ones are named nowhere.
    pub(super) borrowed: bool,
}

const fn is(method: &'static str, json: &'static str) -> Reading {
    Reading {
        method,
        json,
        borrowed: false,
    }
}

const fn within(method: &'static str, json: &'static str) -> Reading {
    Reading {
        method,
        json,
        borrowed: true,
    }
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy)]
pub(super) enum Outcome {
    /// All of these must be allowed.
    Calls(&'static [Reading]),
    /// The request names in its body what it acts on. A method of the JSON API does the same.
    Instead(&'static str, &'static str),
}

/// One method of the XML API.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    /// What the path names.
    pub(super) level: Level,
    /// HTTP verb.
    pub(super) verb: &'static str,
    /// The parameter that makes the request this method; empty for the method without any.
    pub(super) by: &'static str,
    /// Parameters that must be there too.
    pub(super) needs: &'static [&'static str],
    /// Parameters that may be there.
    pub(super) takes: &'static [&'static str],
    /// What becomes of it.
    pub(super) outcome: Outcome,
}

/// Parameters that choose a method by their presence have no value, but for these.
pub(super) const VALUED: &[&str] = &["uploadId", "upload_id"];

const LISTING: &[&str] = &[
    "continuation-token",
    "delimiter",
    "encoding-type",
    "fetch-owner",
    "generation-marker",
    "key-marker",
    "list-type",
    "marker",
    "max-keys",
    "prefix",
    "start-after",
    "version-id-marker",
    "versions",
];

const UPLOADS: &[&str] = &[
    "delimiter",
    "encoding-type",
    "key-marker",
    "max-uploads",
    "prefix",
    "upload-id-marker",
];

/// How the answer is to be labelled; they change nothing of what it is.
const CONTENT: &[&str] = &[
    "generation",
    "response-content-disposition",
    "response-content-type",
];

const GET_BUCKET: Outcome = Outcome::Calls(&[is("storage.buckets.get", "GET b/{b}")]);
const PATCH_BUCKET: Outcome = Outcome::Calls(&[is("storage.buckets.patch", "PATCH b/{b}")]);
const INSERT: Outcome = Outcome::Calls(&[is("storage.objects.insert", "POST b/{b}/o?name={o}")]);

const fn row(
    level: Level,
    verb: &'static str,
    by: &'static str,
    takes: &'static [&'static str],
    outcome: Outcome,
) -> Row {
    Row {
        level,
        verb,
        by,
        needs: &[],
        takes,
        outcome,
    }
}

/// All methods, but for those of HMAC keys, which `?Action=` names.
pub(super) static ROWS: &[Row] = &[
    // GET Service. Whose buckets, a header says.
    row(
        Level::Service,
        "GET",
        "",
        &[],
        Outcome::Calls(&[is("storage.buckets.list", "GET b")]),
    ),
    // GET Bucket: objects, uploads under way, access, and one part of the metadata at a time.
    row(
        Level::Bucket,
        "GET",
        "",
        LISTING,
        Outcome::Calls(&[is("storage.objects.list", "GET b/{b}/o")]),
    ),
    row(
        Level::Bucket,
        "GET",
        "uploads",
        UPLOADS,
        Outcome::Calls(&[is("storage.objects.list", "GET b/{b}/o")]),
    ),
    row(
        Level::Bucket,
        "GET",
        "acl",
        &[],
        Outcome::Calls(&[is("storage.bucketAccessControls.list", "GET b/{b}/acl")]),
    ),
    row(
        Level::Bucket,
        "GET",
        "defaultObjectAcl",
        &[],
        Outcome::Calls(&[is(
            "storage.defaultObjectAccessControls.list",
            "GET b/{b}/defaultObjectAcl",
        )]),
    ),
    row(Level::Bucket, "GET", "billing", &[], GET_BUCKET),
    row(Level::Bucket, "GET", "cors", &[], GET_BUCKET),
    row(Level::Bucket, "GET", "encryption", &[], GET_BUCKET),
    row(Level::Bucket, "GET", "encryptionConfig", &[], GET_BUCKET),
    row(Level::Bucket, "GET", "lifecycle", &[], GET_BUCKET),
    row(Level::Bucket, "GET", "location", &[], GET_BUCKET),
    row(Level::Bucket, "GET", "logging", &[], GET_BUCKET),
    row(Level::Bucket, "GET", "object-lock", &[], GET_BUCKET),
    row(Level::Bucket, "GET", "storageClass", &[], GET_BUCKET),
    row(Level::Bucket, "GET", "tagging", &[], GET_BUCKET),
    row(Level::Bucket, "GET", "versioning", &[], GET_BUCKET),
    row(Level::Bucket, "GET", "website", &[], GET_BUCKET),
    row(Level::Bucket, "GET", "websiteConfig", &[], GET_BUCKET),
    row(Level::Bucket, "HEAD", "", &[], GET_BUCKET),
    // PUT Bucket: create it, replace its access, or replace one part of its metadata.
    row(
        Level::Bucket,
        "PUT",
        "",
        &[],
        Outcome::Calls(&[is("storage.buckets.insert", "POST b")]),
    ),
    row(
        Level::Bucket,
        "PUT",
        "acl",
        &[],
        Outcome::Calls(&[
            is("storage.bucketAccessControls.insert", "POST b/{b}/acl"),
            within("storage.bucketAccessControls.delete", "POST b/{b}/acl"),
            is("storage.buckets.patch", "PATCH b/{b}"),
        ]),
    ),
    row(
        Level::Bucket,
        "PUT",
        "defaultObjectAcl",
        &[],
        Outcome::Calls(&[
            is(
                "storage.defaultObjectAccessControls.insert",
                "POST b/{b}/defaultObjectAcl",
            ),
            within(
                "storage.defaultObjectAccessControls.delete",
                "POST b/{b}/defaultObjectAcl",
            ),
            is("storage.buckets.patch", "PATCH b/{b}"),
        ]),
    ),
    row(Level::Bucket, "PUT", "billing", &[], PATCH_BUCKET),
    row(Level::Bucket, "PUT", "cors", &[], PATCH_BUCKET),
    row(Level::Bucket, "PUT", "encryption", &[], PATCH_BUCKET),
    row(Level::Bucket, "PUT", "encryptionConfig", &[], PATCH_BUCKET),
    row(Level::Bucket, "PUT", "lifecycle", &[], PATCH_BUCKET),
    row(Level::Bucket, "PUT", "logging", &[], PATCH_BUCKET),
    row(Level::Bucket, "PUT", "object-lock", &[], PATCH_BUCKET),
    row(Level::Bucket, "PUT", "storageClass", &[], PATCH_BUCKET),
    row(Level::Bucket, "PUT", "tagging", &[], PATCH_BUCKET),
    row(Level::Bucket, "PUT", "versioning", &[], PATCH_BUCKET),
    row(Level::Bucket, "PUT", "website", &[], PATCH_BUCKET),
    row(Level::Bucket, "PUT", "websiteConfig", &[], PATCH_BUCKET),
    row(
        Level::Bucket,
        "DELETE",
        "",
        &[],
        Outcome::Calls(&[is("storage.buckets.delete", "DELETE b/{b}")]),
    ),
    // POST Bucket: several objects are deleted, or an HTML form names the object that it uploads.
    row(
        Level::Bucket,
        "POST",
        "delete",
        &[],
        Outcome::Instead("a delete of several objects", "storage.objects.delete"),
    ),
    row(
        Level::Bucket,
        "POST",
        "",
        &[],
        Outcome::Instead("an upload by an HTML form", "storage.objects.insert"),
    ),
    // GET Object, HEAD Object.
    row(
        Level::Object,
        "GET",
        "",
        CONTENT,
        Outcome::Calls(&[is("storage.objects.get", "GET b/{b}/o/{o}")]),
    ),
    row(
        Level::Object,
        "HEAD",
        "",
        CONTENT,
        Outcome::Calls(&[is("storage.objects.get", "GET b/{b}/o/{o}")]),
    ),
    row(
        Level::Object,
        "GET",
        "acl",
        &["generation"],
        Outcome::Calls(&[is("storage.objectAccessControls.list", "GET b/{b}/o/{o}/acl")]),
    ),
    // The parts of a multipart upload are an object in the making.
    row(
        Level::Object,
        "GET",
        "uploadId",
        &["encoding-type", "max-parts", "part-number-marker"],
        INSERT,
    ),
    // PUT Object: upload, replace the access, compose; copies differ by a header.
    row(Level::Object, "PUT", "", &[], INSERT),
    row(
        Level::Object,
        "PUT",
        "acl",
        &["generation"],
        Outcome::Calls(&[
            is("storage.objectAccessControls.insert", "POST b/{b}/o/{o}/acl"),
            within("storage.objectAccessControls.delete", "POST b/{b}/o/{o}/acl"),
            is("storage.objects.patch", "PATCH b/{b}/o/{o}"),
        ]),
    ),
    row(
        Level::Object,
        "PUT",
        "compose",
        &[],
        Outcome::Instead("a compose of several objects", "storage.objects.compose"),
    ),
    Row {
        needs: &["partNumber"],
        ..row(Level::Object, "PUT", "uploadId", &[], INSERT)
    },
    // The session of a resumable upload: whatever the verb, it is the upload's.
    row(Level::Object, "PUT", "upload_id", &[], INSERT),
    row(Level::Object, "DELETE", "upload_id", &[], INSERT),
    // POST Object: begin a resumable upload (a header says so), begin and end a multipart upload.
    row(Level::Object, "POST", "", &[], INSERT),
    row(Level::Object, "POST", "uploads", &[], INSERT),
    row(Level::Object, "POST", "uploadId", &[], INSERT),
    // DELETE Object, and the end of a multipart upload without an object.
    row(
        Level::Object,
        "DELETE",
        "",
        &["generation"],
        Outcome::Calls(&[is("storage.objects.delete", "DELETE b/{b}/o/{o}")]),
    ),
    row(Level::Object, "DELETE", "uploadId", &[], INSERT),
];
